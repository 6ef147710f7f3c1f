"""Makes the rows that say what a load test measured: method, engine, sweep, load and this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version

from harness.access.connect import LiveMethods
from harness.access.methods import method_facts
from harness.config.sweep import SweepSpec
from harness.core.bench_records import BenchRun
from harness.loadtest.load_profile import LoadProfile
from harness.loadtest.metrics import Objective
from harness.loadtest.traffic import TrafficSettings
from harness.running.locked_keys import spec_json


def run_row(
    run_id: str,
    name: str,
    spec: SweepSpec,
    live: LiveMethods,
    *,
    load: Mapping[str, object],
    reported: Mapping[str, str],
    label: str | None,
    wall_s: float,
) -> BenchRun:
    """Returns the row of one method in one run.

    load     as `load_facts` returns it
    reported what a server that this run did not start says of itself
    wall_s   when the run began, in seconds since 1970"""
    route = live.routes[name]
    facts = method_facts(route.method, spec.methods()[name][1], live.servers.started.get(name))
    if reported:
        facts["engine_json"] = json.dumps(dict(reported))
    return BenchRun(
        run_id=run_id,
        sweep=spec.name,
        spec_json=spec_json(spec),
        profile_json=json.dumps(load),
        host_json=json.dumps(host_facts()),
        version=version("lightbulb"),
        label=label,
        started_at=wall_s,
        **facts,
    )


def facts_of(row: BenchRun) -> dict[str, object]:
    """Returns the row's fields as plain data, without the sweep file; a field of JSON has no suffix."""
    facts: dict[str, object] = {}
    for name, value in row._asdict().items():
        if name.endswith("_json") and value is not None:
            facts[name.removesuffix("_json")] = json.loads(value)
        elif name not in ("run_id", "method"):
            facts[name.removesuffix("_json")] = value
    del facts["spec"]
    return facts


def load_facts(
    profile: LoadProfile,
    traffic: TrafficSettings,
    objective: Objective,
    *,
    stream: bool,
    distinct_prompts: int,
) -> dict[str, object]:
    """Returns what decides the work of a run, as plain data; two runs with equal facts offer equal work.

    distinct_prompts   of a file or of games; 0: each prompt is new"""
    return {
        "profile": dataclasses.asdict(profile),
        "traffic": {
            name: str(value) if isinstance(value, os.PathLike) else value
            for name, value in dataclasses.asdict(traffic).items()
        },
        "objective": dataclasses.asdict(objective),
        "stream": stream,
        "distinct_prompts": distinct_prompts,
    }


def host_facts() -> dict[str, object]:
    """Returns facts of this machine, on which the client runs."""
    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "memory_gib": round(pages * page_size / 2**30, 1),
        "python": platform.python_version(),
    }

"""Turns a store's load tests into plain values for the page's script: runs, their levels of load, and the
server's own samples.

Computes nothing but means of the samples of a stage; the figures are those that the bench stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from harness.core.bench_records import BenchRun, BenchStage
from harness.store.bench_queries import bench_runs, bench_stages
from harness.store.query_server import Readable

RUNS_MAX = 40  # methods of runs on a page: the newest


def bench_values(connection: Readable) -> list[dict[str, object]]:
    """Returns the methods of all load tests, the newest first."""
    runs = bench_runs(connection)[-RUNS_MAX:]
    if not runs:
        return []
    stages: dict[tuple[str, str], list[BenchStage]] = {}
    for stage in bench_stages(connection):
        stages.setdefault((stage.run_id, stage.method), []).append(stage)
    return [_run(run, stages.get((run.run_id, run.method), ())) for run in reversed(runs)]


def _run(run: BenchRun, stages: Iterable[BenchStage]) -> dict[str, object]:
    figures = [json.loads(stage.figures_json) for stage in stages if stage.figures_json is not None]
    return {
        "run": run.run_id,
        "method": run.method,
        "label": run.label,
        "at": run.started_at,
        "facts": _facts(run),
        "stages": sorted((_stage(one) for one in figures), key=lambda one: (str(one["loop"]), one["level"])),
    }


def _facts(run: BenchRun) -> list[list[str]]:
    """Returns what was measured, as pairs of a name and a value."""
    host, load = json.loads(run.host_json), json.loads(run.profile_json)
    profile, traffic = load["profile"], load["traffic"]
    return [
        ["model", f"{run.served_model} at {run.base_url}"],
        ["provider", f"{run.provider}, {run.dialect}"],
        ["engine", _engine(json.loads(run.engine_json) if run.engine_json else {})],
        ["sweep", run.sweep],
        ["lightbulb", run.version],
        [
            "client",
            f"{host['name']}: {host['system']}, {host['processors']} processors, {host['memory_gib']} GiB",
        ],
        ["sent", _sent(traffic, load)],
        [
            "arrivals",
            f"{profile['arrivals']}, burstiness {profile['burstiness']:g}, ramp {profile['ramp_s']:g} s",
        ],
        ["repeats of each level", f"{profile['repeats']}"],
    ]


def _engine(facts: Mapping[str, object]) -> str:
    """Returns the facts of an engine that the run started, or what another server says of itself."""
    reported = {
        "version": facts.get("reported_version"),
        "page": facts.get("reported_by"),
        "server": facts.get("reported_server"),
    }
    known = [f"{name} {value}" for name, value in reported.items() if value is not None]
    if known:
        return f"not started by this run; it reports {', '.join(known)}"
    started = [f"{name} {value}" for name, value in facts.items() if isinstance(value, str)]
    return ", ".join(started) or "not started by this run"


def _sent(traffic: Mapping[str, object], load: Mapping[str, object]) -> str:
    if traffic["sessions"]:
        kind = "whole games"
    elif traffic["trace"]:
        kind = f"trace {traffic['trace']}"
    elif traffic["prompt_tokens"]:
        kind = "random prompts"
    else:
        kind = f"{load['distinct_prompts']} distinct prompts of {traffic['prompts'] or 'the games'}"
    streamed = "streamed" if load["stream"] else "not streamed"
    unique = ", each with a line of its own" if traffic["unique_prefix"] else ""
    shared = f", the first {traffic['shared_prefix']} tokens shared" if traffic["shared_prefix"] else ""
    return f"{kind}{unique}{shared}, {streamed}"


def _stage(one: Mapping[str, object]) -> dict[str, object]:
    """Returns what the charts and the table show of a stage."""
    stage, figures, server = _part(one, "stage"), _part(one, "figures"), _part(one, "server")
    saturation, window = _part(one, "saturation"), _part(one, "window")
    rates = (
        "requests_per_s",
        "output_tokens_per_s",
        "goodput_per_s",
        "goodput_share",
        "in_flight",
        "cached_share",
    )
    return {
        "loop": stage.get("loop"),
        "level": stage.get("level"),
        "repeat": stage.get("repeat"),
        "answered": one.get("answered"),
        "errors": one.get("errors"),
        "refused": one.get("refused"),
        "cpu_share": one.get("cpu_share"),
        "lag_s": one.get("lag_s"),
        "window": window.get("note"),
        "offered_per_s": saturation.get("offered_per_s"),
        "achieved_per_s": saturation.get("achieved_per_s"),
        "saturated": saturation.get("saturated"),
        **{name: figures.get(name) for name in rates},
        **{name: _quantiles(figures, name) for name in ("ttft_s", "tpot_s", "itl_s", "e2e_s")},
        "by_turn": [_turn(turn) for turn in _list(figures, "by_turn")],
        "prompt_tokens": _part(figures, "prompt_tokens").get("mean"),
        "completion_tokens": _part(figures, "completion_tokens").get("mean"),
        "running": _part(server, "running").get("mean"),
        "waiting": _part(server, "waiting").get("mean"),
        "cache_use": _part(server, "cache_use").get("max"),
        "prefix_hit_share": server.get("prefix_hit_share"),
    }


def _turn(turn: Mapping[str, object]) -> dict[str, object]:
    """Returns what the page shows of a turn of sessions."""
    return {
        "turn": turn.get("turn"),
        "last": turn.get("last"),
        "ttft_s": _quantiles(turn, "ttft_s"),
        "prompt_tokens": _part(turn, "prompt_tokens").get("mean"),
        "cached_share": turn.get("cached_share"),
    }


def _quantiles(figures: Mapping[str, object], name: str) -> dict[str, object]:
    found = _part(figures, name)
    return {key: found.get(key) for key in ("n", "mean", "p50", "p90", "p99")}


def _part(values: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Returns a part; empty where it is missing or null."""
    part = values.get(name)
    return part if isinstance(part, Mapping) else {}


def _list(values: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """Returns the parts of a list; none where it is missing or null."""
    parts = values.get(name)
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []

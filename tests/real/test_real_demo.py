"""The demonstration on a machine on which vLLM cannot be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from backends.local.engine_kinds import engine_kind
from backends.local.environments import install
from backends.local.machine import cache_folder, this_machine
from backends.local.weights import prepare


@pytest.mark.real
@pytest.mark.timeout(3600)
def test_without_vllm_the_demonstration_plays_through_llama_cpp(tmp_path: Path) -> None:
    """pip knows no index, so that vLLM's packages cannot be had; llama.cpp and the weights are in the cache.
    The demonstration says in one sentence what is missing, plays two files of the same weights and ends with
    a verdict and exit code 0."""
    llamacpp = install(engine_kind("llamacpp", this_machine()), print)
    weights = [
        prepare("bundled:smollm2-135m-instruct", quantisation, llamacpp, print).path
        for quantisation in (None, "Q8_0")
    ]
    cache = tmp_path / "cache"
    for folder in ("engines", "weights"):
        (cache / folder).mkdir(parents=True)
    engine = llamacpp.python.parents[1]
    (cache / "engines" / engine.name).symlink_to(engine)
    for path in (cache_folder() / "weights").iterdir():
        if any(path.name.startswith(weight.name) for weight in weights):
            (cache / "weights" / path.name).symlink_to(path)
    played = subprocess.run(
        (sys.executable, "-m", "harness", "demo", "--folder", str(tmp_path / "demo")),
        env=os.environ | {"LIGHTBULB_CACHE": str(cache), "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    missing = [line for line in played.stderr.splitlines() if "plays through llamacpp instead" in line]
    assert len(missing) == 1
    assert "vllm" in missing[0]
    assert any(verdict in played.stderr for verdict in ("DIFFERENT", "EQUIVALENT", "INCONCLUSIVE"))
    with duckdb.connect(str(tmp_path / "demo" / "demo-1.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT method, arm, count(*) FROM episodes WHERE status = 'finished' GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    assert rows == [
        (f"smollm2-135m{model}/llamacpp-{method}", arm, 44)
        for model in ("-free", "")
        for method, arm in (("q4_1", "again"), ("q4_1", "main"), ("q8_0", "main"))
    ]

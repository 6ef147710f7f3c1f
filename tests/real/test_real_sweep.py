"""The main job on a real model: two vLLM servers, two games, killed in the middle, resumed, judged."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from tests.replay import disagreements

SWEEP = """
name = "real"
seed = 11
[games.taboo]
items = 8
[games.wordle]
items = 6
[models.smollm2-135m.methods.bf16]
engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "bfloat16" }
constrain = true
concurrency = 4
[models.smollm2-135m.methods.f32]
engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "float32" }
constrain = true
concurrency = 4
"""


def lightbulb(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "harness", *map(str, arguments)], capture_output=True, text=True, timeout=600)


def rows(store: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()


def processes(*words: str) -> dict[int, list[str]]:
    """Process id -> command line, of those whose command line holds all these words."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        if all(word in line for word in words):
            found[int(entry.parent.name)] = line
    return found


def servers(store: Path) -> list[int]:
    """Processes that serve this store's sweep, their keepers included: found by the ports that its rows name."""
    ports = set()
    for (facts,) in rows(store, "SELECT engine_json FROM methods WHERE engine_json IS NOT NULL"):
        command = shlex.split(json.loads(str(facts))["command"])
        ports.add(command[command.index("--port") + 1])
    assert ports
    return [process for port in ports for process in processes("--port", port)]


def wait_for_calls(process: subprocess.Popen[str], wal: Path, size: int) -> None:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and not (wal.exists() and wal.stat().st_size > size):
        assert process.poll() is None, "the run ended by itself"
        time.sleep(0.1)


@pytest.mark.real
@pytest.mark.timeout(1800)
def test_a_real_sweep_killed_resumed_and_judged(tmp_path: Path) -> None:
    """Killed in mid-play we leave no server behind. A server that is killed closes its own method's gate, with its log's last lines,
    and holds up nobody else. The resumed sweep plays only what is missing; every stored reply reproduces its score; constrained
    replies keep their form; the audit gives a verdict."""
    sweep = tmp_path / "real.toml"
    sweep.write_text(SWEEP)
    store = tmp_path / "real.duckdb"
    process = subprocess.Popen([sys.executable, "-m", "harness", "run", str(sweep)], text=True)
    wait_for_calls(process, store.with_suffix(".duckdb.wal"), 45_000)
    os.kill(process.pid, 9)
    process.wait()
    kept = rows(store, "SELECT episode_id, turn, reply FROM calls WHERE error_class IS NULL")
    assert kept
    assert rows(store, "SELECT count(*) FROM episodes")[0][0] != 28, "it was done before it was killed"
    deadline = time.monotonic() + 60
    while servers(store) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert servers(store) == []

    process = subprocess.Popen([sys.executable, "-m", "harness", "run", str(sweep)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    heard = next(line for line in process.stderr if "smollm2-135m/f32, done" in line)  # play has begun
    for pid, line in processes("--dtype", "float32", "--port").items():
        if not any("keeper" in word for word in line):
            os.kill(pid, 9)
    said = heard + process.communicate(timeout=600)[1]
    assert process.returncode == 3, said
    assert "smollm2-135m/f32: stopped early: The server of smollm2-135m died" in said
    assert rows(store, "SELECT count(*) FROM episodes WHERE method LIKE '%/bf16' AND status = 'finished'") == [(14,)]
    assert rows(store, "SELECT count(*) FROM episodes WHERE status = 'failed'") == [(0,)]

    resumed = lightbulb("run", sweep)
    assert resumed.returncode == 0, resumed.stderr
    assert servers(store) == []
    assert rows(store, "SELECT method, count(*), count(DISTINCT episode_id) FROM episodes GROUP BY ALL ORDER BY ALL") == [
        ("smollm2-135m/bf16", 14, 14),
        ("smollm2-135m/f32", 14, 14),
    ]
    again = rows(store, "SELECT episode_id, turn FROM calls WHERE error_class IS NULL GROUP BY ALL HAVING count(*) > 1")
    assert again == [], "a stored reply was asked for again"
    assert set(kept) <= set(rows(store, "SELECT episode_id, turn, reply FROM calls"))
    assert disagreements(store) == []
    broken = rows(store, "SELECT DISTINCT violation FROM turns WHERE violation IS NOT NULL")
    assert not any("CLUE:" in str(why) or "GUESS:" in str(why) for (why,) in broken)
    (facts,) = {str(json.loads(str(one))["weights_sha256"]) for (one,) in rows(store, "SELECT engine_json FROM methods")}
    assert len(facts) == 64
    for column in ("ask_hash", "reply", "finish_reason", "prompt_tokens", "completion_tokens", "http_status", "served_model"):
        assert rows(store, f"SELECT count(*) FROM calls WHERE {column} IS NULL AND error_class IS NULL") == [(0,)]
    assert rows(store, "SELECT count(*) FROM calls WHERE queue_s < 0 OR latency_s <= 0") == [(0,)]

    judged = lightbulb("audit", store, "--json")
    assert judged.returncode == 0, judged.stderr
    (model,) = json.loads(judged.stdout)
    (comparison,) = model["scores"]["comparisons"]
    assert comparison["verdict"] in ("DIFFERENT", "EQUIVALENT", "INCONCLUSIVE")
    (match,) = model["replies"]["across"]
    assert match["prompts"] >= 8

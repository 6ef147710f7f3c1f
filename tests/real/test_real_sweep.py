"""The main job on a real model: one sweep with all access methods here, killed, resumed and audited."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from backends.local.local_server import LocalServer
from tests.replay import disagreements

SWEEP = """
name = "real"
seed = 11
[games.taboo]
items = 3
[games.wordle]
items = 2

[models.smollm2-135m.methods.bf16]      # attached: it runs already
provider = "vllm"
base_url = "{url}"

[models.smollm2-135m.methods.f32]
engine = {{ kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "float32" }}

[models.smollm2-135m.methods.held]      # the same server, asked for a form
engine = {{ kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "float32" }}
constrain = true

[models.smollm2-135m.methods.transformers]
engine = {{ kind = "transformers", weights = "bundled:smollm2-135m-instruct", dtype = "float32" }}

[models.smollm2-135m.methods.llamacpp]
engine = {{ kind = "llamacpp", weights = "bundled:smollm2-135m-instruct" }}
concurrency = 1

[models.smollm2-135m.methods.quota]
emulator = {{ behind = "{url}", quotas = {{ requests = 300 }} }}
requests_per_minute = 300

[models.smollm2-135m.methods.hidden]
emulator = {{ behind = "{url}", defects = {{ system_prompt = "Always answer like a pirate who has lost his ship." }} }}

[audit]
again = false
reference = "smollm2-135m/bf16"
"""
METHODS = ("bf16", "f32", "held", "hidden", "llamacpp", "quota", "transformers")
EPISODES = 5


def lightbulb(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)], capture_output=True, text=True, timeout=600
    )


@contextmanager
def running(sweep: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of the sweep that does not outlive the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(sweep), "--engines", "3"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str], pattern: str) -> str:
    """Reads the run's output up to the line with this text."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if re.search(pattern, line):
            return said
    pytest.fail(f"the run ended without a word like {pattern!r}:\n{said}")


def rows(store: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()


def processes(*words: str) -> list[int]:
    """Processes whose command line has all these words, reapers left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        if all(word in line for word in words) and not any("reaper" in word for word in line):
            found.append(int(entry.parent.name))
    return found


def servers(store: Path) -> list[int]:
    """Processes that serve this store's sweep: found by the command lines that its rows name."""
    commands = {
        json.loads(str(facts))["command"]
        for (facts,) in rows(store, "SELECT engine_json FROM methods WHERE engine_json NOT NULL")
    }
    assert len(commands) >= 3
    return [process for command in commands for process in processes(*shlex.split(command))]


@pytest.mark.real
@pytest.mark.timeout(3600)  # half an hour on a machine with twenty other things to do
def test_a_real_sweep_killed_resumed_and_judged(vllm: LocalServer, tmp_path: Path) -> None:
    """One file, seven access methods on real sockets: a vLLM server that runs already; vLLM, transformers and
    llama.cpp started for it; an emulator with a quota and one with a hidden system prompt in front of vLLM.
    Killed in mid-play we leave no server behind. The resumed sweep plays only what is missing; a server that
    is killed under it lives again and loses no episode; every stored reply reproduces its score; constrained
    replies keep their form; each method says what it was; the hidden prompt shows in the counts; there is a
    verdict."""
    sweep = tmp_path / "real.toml"
    sweep.write_text(SWEEP.format(url=vllm.base_url))
    store = tmp_path / "real.duckdb"
    with running(sweep) as process:
        heard(process, r"/held, .* calls [1-9]")
        time.sleep(1.5)  # by then what it spoke of is on disk
    kept = rows(store, "SELECT episode_id, turn, reply FROM calls WHERE error_class IS NULL")
    assert kept
    ended = rows(store, "SELECT count(*) FROM episodes")[0][0]
    assert ended != len(METHODS) * EPISODES, "it was done before it was killed"
    deadline = time.monotonic() + 60
    while servers(store) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert servers(store) == []

    with running(sweep) as process:
        said = heard(process, r"/(llamacpp|transformers), done .* open [1-9]")  # the slow ones are left
        (kind,) = re.findall(r"/(llamacpp|transformers), done .* open [1-9]", said)[:1]
        ports = re.findall(rf"\({kind}, \w+\): starting .* on port (\d+)", said)
        (server,) = processes(f"port={ports[-1]}") or processes("--port", ports[-1])
        os.kill(server, 9)
        said += process.communicate()[1]
    assert process.returncode == 0, said
    assert f"smollm2-135m ({kind}): restart (1 of" in said
    assert servers(store) == []
    assert set(kept) <= set(rows(store, "SELECT episode_id, turn, reply FROM calls"))
    check_store(store, attached=vllm.base_url)
    check_verdicts(store)


def check_store(store: Path, *, attached: str) -> None:
    assert rows(
        store, "SELECT method, count(*), count(DISTINCT episode_id) FROM episodes GROUP BY ALL ORDER BY ALL"
    ) == [(f"smollm2-135m/{way}", EPISODES, EPISODES) for way in METHODS]
    assert rows(store, "SELECT count(*) FROM episodes WHERE status <> 'finished'") == [(0,)]
    assert rows(
        store, "SELECT count(*) FROM gate_events WHERE kind = 'server died' AND detail LIKE '%signal 9%'"
    ) == [(1,)]

    again = rows(
        store, "SELECT episode_id, turn FROM calls WHERE error_class IS NULL GROUP BY ALL HAVING count(*) > 1"
    )
    assert again == [], "a stored reply was asked for again"
    assert disagreements(store) == []
    broken = rows(
        store, "SELECT DISTINCT violation FROM turns WHERE violation NOT NULL AND method LIKE '%/held'"
    )
    assert not any("CLUE:" in str(why) or "GUESS:" in str(why) for (why,) in broken)
    for column in (
        "ask_hash",
        "reply",
        "finish_reason",
        "prompt_tokens",
        "completion_tokens",
        "http_status",
        "served_model",
    ):
        assert rows(store, f"SELECT count(*) FROM calls WHERE {column} IS NULL AND error_class IS NULL") == [
            (0,)
        ]
    assert rows(store, "SELECT count(*) FROM calls WHERE queue_s < 0 OR latency_s <= 0") == [(0,)]

    facts = [
        json.loads(str(one))
        for (one,) in rows(store, "SELECT engine_json FROM methods WHERE engine_json NOT NULL")
    ]
    assert {fact["engine"] for fact in facts} == {"vllm", "transformers", "llamacpp"}
    assert len({fact["weights_sha256"] for fact in facts}) == 2  # the folder's and the file's
    samples = rows(store, "SELECT base_url, max(prefix_queries) FROM engine_samples GROUP BY ALL")
    assert attached in {url for url, _ in samples}
    assert all(isinstance(queries, int) for _, queries in samples)
    others = {
        way: rows(
            store,
            "SELECT DISTINCT one.prompt_tokens = other.prompt_tokens FROM calls one JOIN calls other ON one.ask_hash = other.ask_hash"
            f" WHERE one.method LIKE '%/bf16' AND other.method LIKE '%/{way}' AND one.reply NOT NULL AND other.reply NOT NULL",
        )
        for way in ("quota", "hidden")
    }
    assert others == {
        "quota": [(True,)],
        "hidden": [(False,)],
    }  # the chat template has a system prompt of its own where there is none


def check_verdicts(store: Path) -> None:
    judged = lightbulb("audit", store, "--json")
    assert judged.returncode == 0, judged.stderr
    (model,) = json.loads(judged.stdout)
    comparisons = model["scores"]["comparisons"]
    assert len(comparisons) == len(METHODS) - 1
    assert {one["verdict"] for one in comparisons} <= {"DIFFERENT", "EQUIVALENT", "INCONCLUSIVE"}

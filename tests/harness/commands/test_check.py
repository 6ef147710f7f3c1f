"""The command `check` as a user runs it: real processes, real sockets, emulated providers with defects."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.bots import rows
from tests.command import command, lightbulb

SWEEP = """
name = "c"
[games.taboo]
items = 6
[models.m.methods.honest]
emulator = {{ quotas = {{ requests = 6000 }} }}
price_input_usd_per_mtok = 1.0
price_output_usd_per_mtok = 2.0
[models.m.methods.deaf]
emulator = {{ defects = {{ temperature = 1.0, max_tokens_ignored = true }} }}
price_input_usd_per_mtok = 1.0
price_output_usd_per_mtok = 2.0
{more}
"""


def sweep(folder: Path, more: str = "") -> Path:
    path = folder / "c.toml"
    path.write_text(SWEEP.format(more=more))
    return path


@contextmanager
def emulating(*arguments: str, env: dict[str, str]) -> Iterator[str]:
    """The base URL of an emulator in a process of its own."""
    process = subprocess.Popen(
        command("emulate", "--port", "0", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **env},
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_check_names_the_defects_of_a_deaf_provider_and_the_audit_names_them_as_causes(
    tmp_path: Path,
) -> None:
    """An emulator that ignores temperature and max_tokens is found out, the honest one is not; what it cost
    is said before and after; the rows stay in the store, and once the sweep is played there `audit` says what
    the difference comes from."""
    path = sweep(tmp_path)
    store = tmp_path / "c.duckdb"
    ran = lightbulb("check", path, "--store", store, "--json")
    assert ran.returncode == 0, ran.stderr
    honest, deaf = (json.loads(line) for line in ran.stdout.splitlines())
    assert honest["method"] == "m/honest"
    assert honest["limits"] == {"requests": 6000}
    assert [one["subject"] for one in honest["findings"] if one["answer"] == "broken"] == []
    answers = {one["subject"]: one["answer"] for one in honest["findings"]}
    assert (answers["own tokenizer"], answers["thoughts"], answers["effort"]) == ("kept", "kept", "untested")
    broken = {one["subject"]: one["sentence"] for one in deaf["findings"] if one["answer"] == "broken"}
    assert "temperature 0 is not served" in broken["temperature"]
    assert "the maximum was 6 tokens" in broken["max tokens"]
    assert "stop" not in broken
    assert "2 access methods: the check needs at most about 314 calls" in ran.stderr
    spent = honest["spent"]
    assert spent["cost_usd"] == pytest.approx((spent["prompt_tokens"] + 2 * spent["completion_tokens"]) / 1e6)
    assert rows(store, "SELECT method, count(*) >= 154 FROM probes GROUP BY ALL ORDER BY ALL") == [
        ("m/deaf", True),
        ("m/honest", True),
    ]
    assert lightbulb("run", path, "--store", store).returncode == 0
    audited = lightbulb("audit", store).stdout
    assert "Cause at m/deaf: max tokens ignored (the maximum was 6 tokens" in audited
    assert "temperature not served" in audited
    assert "Cause at m/honest" not in audited


def test_a_difference_fails_a_check_on_request(tmp_path: Path) -> None:
    """A provider that ignores what it is asked: exit code 5, only when asked for."""
    path = sweep(tmp_path)
    assert lightbulb("check", path, "--fail-on-difference").returncode == 5
    assert lightbulb("check", path, "--no-probes", "--fail-on-difference").returncode == 0


def test_a_check_adds_up_the_prices_that_are_known(tmp_path: Path) -> None:
    """One of two methods has prices: the lines before and after name its dollars and that they are not all;
    the table has a cost for it and a dash for the other."""
    path = sweep(tmp_path)
    text = path.read_text("utf-8")
    prices = "price_input_usd_per_mtok = 1.0\nprice_output_usd_per_mtok = 2.0\n"
    assert text.count(prices) == 2
    path.write_text(text.replace(prices, "", 1), "utf-8")
    ended = lightbulb("check", path)
    before, after = (line for line in ended.stderr.splitlines() if "tokens out" in line)
    for line in (before, after):
        assert re.search(r"tokens out, \$0\.\d{4}, and the calls without a known price", line)
    costs = {line.split()[0]: line.split()[-1] for line in ended.stdout.splitlines()[1:3]}
    assert costs["m/honest"] == "-"
    assert float(costs["m/deaf"].removeprefix("$")) > 0


def test_check_says_where_the_way_ends(tmp_path: Path) -> None:
    """An unknown name, a dead port and a wrong model are reported of their methods; the others are
    checked."""
    more = """
[models.m.methods.nowhere]
base_url = "https://no-such-host.invalid/v1"
[models.m.methods.closed]
base_url = "http://127.0.0.1:9/v1"
[models.m.methods.misnamed]
emulator = { served = "another" }
"""
    ran = lightbulb("check", sweep(tmp_path, more), "--no-probes")
    assert ran.returncode == 3
    assert "m/nowhere: name: no-such-host.invalid" in ran.stdout
    assert "m/closed: connection:" in ran.stdout
    assert "m/misnamed: model: serves another, not m" in ran.stdout
    assert ran.stdout.count("NOT REACHED") == 3
    assert not (tmp_path / "c.duckdb").exists()


def test_check_says_that_a_key_is_wrong(tmp_path: Path) -> None:
    """A provider that wants a key refuses a wrong one by name, and the key is printed nowhere."""
    more = """
[models.m.methods.locked]
base_url = "{url}"
key_env = "LOCKED_KEY"
"""
    with emulating("--key-env", "LOCKED_KEY", env={"LOCKED_KEY": "sk-right-one"}) as url:
        ran = lightbulb(
            "check", sweep(tmp_path, more.format(url=url)), "--no-probes", env={"LOCKED_KEY": "sk-wrong-one"}
        )
    assert ran.returncode == 3
    assert "m/locked: models: HTTP 401: Incorrect API key provided." in ran.stdout
    assert "sk-wrong-one" not in ran.stdout + ran.stderr


VERIFIED = """
name = "v"
[games.taboo]
items = 1
[models.m.methods.thinking]
emulator = { thoughts = 100 }
reasoning_effort = "medium"
[models.m.methods.deaf]
emulator = { thoughts = 100, defects = { effort_ignored = true } }
reasoning_effort = "medium"
[models.m.methods.miscounting]
emulator = { defects = { prompt_tokens_factor = 1.1 } }
[models.m.methods.leaking]
emulator = { thoughts = 4, defects = { thoughts_leaked = 0.5 } }
[models.m.methods.crowded]
emulator = { latency = { first_s = 0.05 }, defects = { load_noise = 1.0 } }
concurrency = 64
[models.m.methods.changing]
emulator = { defects = { served_changes = 0.2 } }
[models.m.methods.elsewhere]
emulator = { defects = { upstream_changes = 0.2 } }
"""


def test_check_finds_what_verifiers_look_for_over_sockets(tmp_path: Path) -> None:
    """Each planted fault breaks its own subject and no other; an honest model that thinks breaks none."""
    path = tmp_path / "v.toml"
    path.write_text(VERIFIED)
    ran = lightbulb("check", path, "--json")
    assert ran.returncode == 0, ran.stderr
    subjects = {"effort", "thoughts", "own tokenizer", "load", "one server"}
    broken = {}
    for line in ran.stdout.splitlines():
        check = json.loads(line)
        found = {one["subject"] for one in check["findings"] if one["answer"] == "broken"}
        broken[check["method"].removeprefix("m/")] = found & subjects
    assert broken == {
        "thinking": set(),
        "deaf": {"effort"},
        "miscounting": {"own tokenizer"},
        "leaking": {"thoughts"},
        "crowded": {"load"},
        "changing": {"one server"},
        "elsewhere": {"one server"},
    }


def test_a_store_that_cannot_be_opened_is_refused_before_the_first_call(tmp_path: Path) -> None:
    """Hundreds of calls are not made for rows that no file can hold."""
    with emulating(env={}) as url:
        path = tmp_path / "c.toml"
        path.write_text(
            f'name = "c"\n[games.taboo]\nitems = 1\n[models.m.methods.a]\nbase_url = "{url}"\n'
            "lists_models = false\n"
        )
        ran = lightbulb("check", path, "--store", tmp_path / "absent" / "c.duckdb")
        with urlopen(f"{url.removesuffix('/v1')}/emulator/statistics") as answer:
            statistics = json.load(answer)
    assert ran.returncode == 2
    assert "absent/c.duckdb: cannot be used" in ran.stderr
    assert statistics["requests"] == 0, statistics

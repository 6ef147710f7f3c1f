"""Sweeps with `logprobs = N`: stored rows, what providers refuse, and what audit and drift make of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bots import rows
from tests.command import lightbulb

SWEEP = """
name = "t"
repeats = 2
[games.taboo]
items = 8
[games.referencegame]
items = 8
[models.m.methods.a]
emulator = {{ {first} }}
logprobs = 3
stream = true
[models.m.methods.b]
emulator = {{ {second} }}
logprobs = 2
[models.m.methods.c]
emulator = {{ }}
"""


def play(folder: Path, *, first: str = "", second: str = "", name: str = "t") -> Path:
    """Plays the sweep with these emulators; returns the store."""
    folder.mkdir(exist_ok=True)
    sweep = folder / f"{name}.toml"
    sweep.write_text(SWEEP.format(first=first, second=second))
    store = folder / f"{name}.duckdb"
    ended = lightbulb("run", sweep, "--store", store)
    assert ended.returncode == 0, ended.stderr
    return store


def test_each_reply_has_a_row(tmp_path: Path) -> None:
    """Whole or streamed, a reply has the log-probabilities of all its tokens; a method without the key has
    none."""
    store = play(tmp_path)
    calls = rows(store, "SELECT method, count(*) FROM calls WHERE method <> 'm/c' GROUP BY ALL ORDER BY ALL")
    assert rows(store, "SELECT method, count(*) FROM logprobs GROUP BY ALL ORDER BY ALL") == calls
    found = rows(
        store,
        "SELECT method, tokens, first_token, first_logprob, logprob_sum, tokens_json, reply"
        " FROM logprobs JOIN calls USING (episode_id, attempt, turn, try_number, method)",
    )
    for method, tokens, first, first_logprob, total, listed, reply in found:
        told = json.loads(str(listed))
        assert len(told) == tokens
        assert "".join(text for text, _, _ in told) == reply
        assert told[0][0] == first
        assert told[0][1] == pytest.approx(first_logprob, abs=1e-5)
        assert sum(value for _, value, _ in told) == pytest.approx(total, abs=1e-3)
        assert {len(top) for _, _, top in told} == {3 if method == "m/a" else 2}


def test_the_audit_compares_first_tokens(tmp_path: Path) -> None:
    """Noise on the weights is found in the first tokens; an equal method and the A/A replicate are not."""
    same = json.loads(lightbulb("audit", play(tmp_path / "same"), "--json").stdout)[0]["first_tokens"]
    assert {one["method"] for one in same} == {"m/b", "m/a (again)"}
    assert all(one["p"] == 1 and one["spread"] == 0 for one in same)
    store = play(tmp_path / "noisy", second="defects = { weights_noise = 0.1 }")
    noisy = {
        one["method"]: one
        for one in json.loads(lightbulb("audit", store, "--json").stdout)[0]["first_tokens"]
    }
    assert noisy["m/b"]["p"] <= 0.001
    assert noisy["m/b"]["prompts"] == 16
    assert noisy["m/a (again)"]["p"] == 1
    (line,) = (one for one in lightbulb("audit", store).stdout.splitlines() if " for m/b, and " in one)
    assert line.startswith("The mean log-probability of the first token is ")
    assert (
        f"mean absolute difference within prompts is {noisy['m/b']['spread']:.4f} (16 prompts, p = " in line
    )


def test_drift_compares_first_tokens(tmp_path: Path) -> None:
    """A later day with changed weights differs; an unchanged day does not."""
    days = [play(tmp_path, name="one"), play(tmp_path, name="two")]
    days.append(play(tmp_path, name="three", first="defects = { weights_noise = 0.1 }"))
    drifts = json.loads(lightbulb("drift", *days, "--json").stdout)
    of_a = next(one["replies"]["days"] for one in drifts if one["replies"]["method"] == "m/a")
    assert [day["first_tokens"] and day["first_tokens"]["p"] for day in of_a][:2] == [None, 1]
    assert of_a[2]["first_tokens"]["p"] <= 0.001
    of_c = next(one["replies"]["days"] for one in drifts if one["replies"]["method"] == "m/c")
    assert [day["first_tokens"] for day in of_c] == [None] * 3


def test_what_a_provider_makes_of_the_key(tmp_path: Path) -> None:
    """A provider that refuses it is named with its words; one that drops it leaves no row."""
    sweep = tmp_path / "t.toml"
    sweep.write_text(SWEEP.format(first='defects = { logprobs = "refused" }', second=""))
    checked = lightbulb("check", sweep)
    assert checked.returncode != 0
    assert "logprobs is not supported" in " ".join((checked.stdout + checked.stderr).split())
    store = play(tmp_path / "dropped", second='defects = { logprobs = "dropped" }')
    assert rows(store, "SELECT DISTINCT method FROM logprobs") == [("m/a",)]


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ('provider = "anthropic"', "openai_chat and completions only"),
        ('provider = "groq"', "is not supported yet"),
        ('provider = "openai"\nserved_name = "o3"', "is not for reasoning models"),
    ],
)
def test_where_they_cannot_be_had(tmp_path: Path, keys: str, why: str) -> None:
    """A sweep that asks for what its provider is known not to give is refused before a call."""
    sweep = tmp_path / "t.toml"
    sweep.write_text(
        f'name = "t"\n[games.taboo]\n[models.m.methods.a]\ntemperature = "unset"\nlogprobs = 1\n{keys}\n'
    )
    ended = lightbulb("plan", sweep)
    assert ended.returncode == 2
    assert why in " ".join(ended.stderr.split())

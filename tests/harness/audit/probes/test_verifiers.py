"""The questions of vendors' verifiers: thoughts, effort, own token counts, load, one served model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.audit.probes.interpret import ProbeFinding, interpret_probes
from harness.core.emulation import Defects, Emulation
from harness.core.records import ProbeRecord
from tests.harness.audit.probed import probed
from tests.harness.audit.probes.verifiers import FAULTS, THINKING


def findings(rows: tuple[ProbeRecord, ...]) -> dict[str, ProbeFinding]:
    return {one.subject: one for one in interpret_probes(rows, {})}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    """Three providers with the fault are found, each by the fault's own subject."""
    subject, emulation, effort = FAULTS[fault]
    for seed in range(3):
        found = findings(probed(replace(emulation, seed=seed), effort=effort))
        assert found[subject].answer == "broken", found[subject]


def test_an_honest_provider_that_thinks_is_not_blamed() -> None:
    """Long thoughts leave no text within a probe's tokens: subjects that need text are untested with that
    reason, none is broken, and effort is kept."""
    found = findings(probed(THINKING, effort="medium"))
    assert not [one for one in found.values() if one.answer == "broken"]
    assert found["effort"].answer == "kept"
    assert 4 < found["effort"].figures["ratio"] < 9
    assert "thoughts may take more tokens" in found["temperature"].sentence
    assert found["own tokenizer"].answer == "kept"


def test_noise_that_is_the_same_alone_and_under_load_is_no_finding() -> None:
    """Batches that change one reply of five at any load are not blamed on load."""
    for seed in range(5):
        found = findings(probed(Emulation(seed=seed, noise=0.2)))
        assert found["load"].answer != "broken"


def test_another_reply_throughout_under_load_is_found() -> None:
    """A crowd whose replies agree with each other and not with those alone is broken."""
    rows = probed(Emulation())
    other = [row._replace(reply=f"Other {row.reply}") if row.kind == "crowd" else row for row in rows]
    found = findings(tuple(other))["load"]
    assert found.answer == "broken"
    assert (found.figures["alone"], found.figures["across"]) == (1.0, 0.0)


def test_a_crowd_that_could_not_gather_is_untested() -> None:
    """A method that may have four calls in flight says nothing of load."""
    rows = tuple(row._replace(in_flight=min(row.in_flight or 1, 4)) for row in probed(Emulation()))
    found = findings(rows)["load"]
    assert (found.answer, found.sentence) == ("untested", "only 4 calls could be in flight together")


def test_own_counts_name_a_constant_and_a_factor() -> None:
    """A hidden prompt is so many tokens a prompt; a wrong tokenizer is a factor."""
    hidden = findings(probed(Emulation(defects=Defects(system_prompt="Be brief, be kind, be quick."))))
    assert "every prompt has 11 tokens more than those that our own" in hidden["own tokenizer"].sentence
    factor = findings(probed(Emulation(defects=Defects(prompt_tokens_factor=1.1))))
    assert "1.10 times the tokens that our own" in factor["own tokenizer"].sentence
    unknown = tuple(row._replace(own_prompt_tokens=None) for row in probed(Emulation()))
    assert findings(unknown)["own tokenizer"].answer == "untested"


def test_thoughts_that_reach_the_maximum_are_unclear() -> None:
    """Equal lengths say nothing if most thoughts are cut at the maximum."""
    rows = tuple(
        row._replace(finish_reason="length", completion_tokens=2048, reasoning_tokens=2048)
        if row.kind == "effort"
        else row
        for row in probed(THINKING, effort="low")
    )
    assert findings(rows)["effort"].answer == "unclear"


def test_thoughts_repeat_as_replies_do() -> None:
    """One seed gives one length of thoughts, and so does temperature 0; other seeds give others."""

    def lengths(kind: str, seeds: int) -> dict[tuple[str, int | None], set[int | None]]:
        found: dict[tuple[str, int | None], set[int | None]] = {}
        for row in probed(Emulation(thoughts=10), effort="low"):
            if row.kind == kind:
                found.setdefault((row.name, row.seed), set()).add(row.reasoning_tokens)
        assert len(found) >= seeds
        return found

    assert all(len(one) == 1 for one in lengths("greedy", 1).values())
    seeds = lengths("seed", 5)
    assert all(len(one) == 1 for one in seeds.values())
    assert len(set().union(*seeds.values())) > 2


def test_thoughts_of_a_reply_are_counted_within_the_maximum() -> None:
    """The emulator thinks .4 times as long at low effort and 2.5 times as long at high, on average."""
    rows = [row for row in probed(THINKING, effort="low") if row.kind == "effort"]
    means = {
        effort: sum(row.reasoning_tokens or 0 for row in rows if row.reasoning_effort == effort) / 12
        for effort in ("low", "high")
    }
    assert 30 < means["low"] < 55
    assert 190 < means["high"] < 330
    assert all((row.completion_tokens or 0) > (row.reasoning_tokens or 0) > 0 for row in rows)

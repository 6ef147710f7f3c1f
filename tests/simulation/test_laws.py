"""Hundreds of seeded sweeps under faults, outages, changing quotas, jumping clocks, kills and stops keep
every law."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.emulator.simulated import Behaviour
from harness.core.records import CallRecord, EpisodeRecord
from harness.limits.gate import GateLimits
from harness.simulation import simulate
from tests.simulation.laws import SweepRemains, breaches, broken, case_of, play

SEEDS, AT_ONCE = 300, 25


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_law_is_kept(first: int) -> None:
    """Quotas, one finished row a key, nothing twice, nothing asked again, scores of an undisturbed play, no
    failure a score."""
    found = {seed: broken_laws for seed in range(first, first + AT_ONCE) if (broken_laws := breaches(seed))}
    told = "\n".join(f"python -m tests.simulation.laws {seed}   # {laws[0]}" for seed, laws in found.items())
    assert not found, f"reproduce with\n{told}"


@pytest.fixture(scope="module")
def left() -> SweepRemains:
    """A case that was cut more than once."""
    case = next(case for case in map(case_of, range(100)) if len(case.cuts) > 1)
    return simulate(lambda: play(case), seed=case.seed)


def test_a_cut_case_is_sound(left: SweepRemains) -> None:
    """The case that the next tests spoil keeps every law before."""
    assert left.runs > 1
    assert not list(broken(left))


def test_a_row_twice_is_found(left: SweepRemains) -> None:
    """One finished episode's row stored a second time breaks two laws."""
    row = next(row for row in left.rows if isinstance(row, EpisodeRecord) and row.status == "finished")
    found = list(broken(replace(left, rows=[*left.rows, row])))
    assert any("2 finished rows" in law for law in found)
    assert any("ends of an attempt" in law for law in found)


def test_a_lost_row_is_found(left: SweepRemains) -> None:
    """Without its last reply an episode's turns are not all there."""
    last = next(row for row in reversed(left.rows) if isinstance(row, CallRecord) and row.error_class is None)
    assert any(
        "have replies" in law
        for law in broken(replace(left, rows=[row for row in left.rows if row is not last]))
    )


def test_another_score_is_found(left: SweepRemains) -> None:
    """A score that its replies do not earn."""
    row = next(row for row in left.rows if isinstance(row, EpisodeRecord) and row.status == "finished")
    wrong = row._replace(score=(row.score or 0.0) + 1.0)
    assert any(
        "it ends otherwise" in law
        for law in broken(replace(left, rows=[wrong if one is row else one for one in left.rows]))
    )


def test_a_failure_with_a_score_is_found(left: SweepRemains) -> None:
    """A provider's failure may not earn 0 either."""
    row = next(row for row in left.rows if isinstance(row, EpisodeRecord))
    wrong = row._replace(status="failed", score=0.0)
    assert any(
        "a failed episode has a score" in law for law in broken(replace(left, rows=[*left.rows, wrong]))
    )


def declared(limits: GateLimits, behaviour: Behaviour) -> bool:
    return limits.requests is not None and not behaviour.quota_changes


def test_a_spent_quota_is_found() -> None:
    """One request too many in some 60 seconds."""
    case = next(
        case
        for case in map(case_of, range(100))
        if all(declared(*method) for method in case.methods.values())
    )
    left = simulate(lambda: play(case), seed=case.seed)
    assert not list(broken(left))
    for name, (limits, _) in case.methods.items():
        left.providers[name].arrivals.extend([1e6] * int(1 + (limits.requests or 0)))
    assert any("are allowed" in law for law in broken(left))


def test_a_failure_that_nobody_was_served_is_found(left: SweepRemains) -> None:
    """An episode that failed at calls of which none was refused while others were served."""
    end_s, row = next(
        (at_s, row) for at_s, row in reversed(left.timed_rows) if isinstance(row, EpisodeRecord)
    )
    call = next(row for row in left.rows if isinstance(row, CallRecord))
    failed = row._replace(status="failed", outcome=None, score=None, attempt=9, turns=0)
    refused = call._replace(
        episode_id=row.episode_id, attempt=9, turn=0, error_class="RateLimited", reply=None, latency_s=0.1
    )
    rows = [(end_s + 1_000.0 + number, refused._replace(try_number=number)) for number in range(5)]
    spoiled = replace(left, rows=[*left.rows, failed], timed_rows=[*left.timed_rows, *rows])
    assert any("failed though nobody was served" in law for law in broken(spoiled))

"""Episodes that end make interim analyses due, and analyses end the play of methods."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from harness.audit.scores.evidence import AuditRules
from harness.audit.scores.interim_state import (
    EpisodeResult,
    InterimDesign,
    ModelInterimAnalyses,
    look_record,
)

RULES = AuditRules(margin=3.0, margin_played=5.0, margin_game=10.0, alpha=0.05, seed=1)
BLOCKS = tuple(
    tuple(f"{game}:{block}:{item}" for item in range(25) for game in ("taboo", "wordle"))
    for block in range(4)
)


def _analyses(*methods: str, repeats: int = 1) -> ModelInterimAnalyses:
    return ModelInterimAnalyses(
        InterimDesign(
            model="m",
            reference="m/a",
            methods=methods or ("m/b",),
            blocks=BLOCKS,
            repeats=repeats,
            rules=RULES,
        )
    )


def _play(
    analyses: ModelInterimAnalyses, method: str, blocks: range, *, score: float = 50.0, repeats: int = 1
) -> bool:
    """Ends every episode of these blocks with this score; returns whether the last one made an analysis
    due."""
    due = False
    for block in blocks:
        for repeat in range(repeats):
            for item in BLOCKS[block]:
                due = analyses.record_end(method, item, repeat, EpisodeResult("lost", score))
    return due


def test_an_analysis_is_due_when_both_have_played_its_items() -> None:
    """Both methods have to end all repeats of the block."""
    analyses = _analyses(repeats=2)
    assert not _play(analyses, "m/b", range(2), repeats=2)
    assert analyses.run_due() == []
    assert not _play(analyses, "m/a", range(1), repeats=1)
    assert analyses.record_end("m/a", BLOCKS[0][0], 1, EpisodeResult("lost", 50.0)) is False
    assert _play(analyses, "m/a", range(1), repeats=2)
    ((method, result),) = analyses.run_due()
    assert (method, result.look, result.items) == ("m/b", 1, 50)
    assert analyses.run_due() == []


def test_equal_methods_are_settled_before_the_end() -> None:
    """Equal scores everywhere: EQUIVALENT before the last block, and then both methods are settled. Items of
    later blocks that a fast method has played already do not count."""
    analyses = _analyses()
    _play(analyses, "m/b", range(4))
    for block in range(4):
        _play(analyses, "m/a", range(block, block + 1))
        for _, result in analyses.run_due():
            assert result.items == 50 * result.look
        if analyses.is_settled("m/b"):
            break
    assert analyses.verdicts["m/b"].verdict == "EQUIVALENT"
    assert analyses.is_settled("m/a")
    assert 1 <= block < 3


def test_the_sequential_monitor_stops_a_gross_difference_within_a_block() -> None:
    """A method that loses 90 points everywhere is settled after a few first plays, before its first
    analysis."""
    analyses = _analyses("m/b", "m/c")
    for item in BLOCKS[0][:40]:
        analyses.record_end("m/a", item, 0, EpisodeResult("success", 100.0))
        analyses.record_end("m/c", item, 0, EpisodeResult("success", 100.0))
        if analyses.record_end("m/b", item, 0, EpisodeResult("lost", 10.0)):
            break
    ((method, result),) = analyses.run_due()
    assert (method, result.kind, result.verdict) == ("m/b", "tripwire", "DIFFERENT")
    assert analyses.is_settled("m/b")
    assert not analyses.is_settled("m/a")
    assert result.low < -90 < result.high or result.se == 0


def test_the_order_of_the_plan_decides_not_that_of_arrival() -> None:
    """Gross differences that arrive first wait for the items planned before them."""
    analyses = _analyses()
    for item in BLOCKS[0][10:]:
        analyses.record_end("m/a", item, 0, EpisodeResult("success", 100.0))
        assert not analyses.record_end("m/b", item, 0, EpisodeResult("lost", 0.0))
    assert analyses.run_due() == []


def test_failed_episodes_end_but_do_not_count() -> None:
    """An analysis does not wait for failed episodes; a method without a finished episode gets no verdict."""
    analyses = _analyses("m/b", "m/c")
    _play(analyses, "m/a", range(1))
    _play(analyses, "m/b", range(1))
    analyses.record_end("m/b", BLOCKS[0][3], 0, EpisodeResult(None, None))
    for item in BLOCKS[0]:
        analyses.record_end("m/c", item, 0, EpisodeResult(None, None))
    ((method, result),) = analyses.run_due()
    assert (method, result.items) == ("m/b", 49)
    assert "m/c" not in analyses.verdicts


def test_a_resumed_sweep_continues_with_the_next_analysis() -> None:
    """Analyses are not made again, verdicts stay, and the same episodes lead to the same next analysis."""
    rng = np.random.default_rng(3)
    scores = {
        (method, item): float(rng.integers(0, 101))
        for block in BLOCKS
        for item in block
        for method in ("m/a", "m/b")
    }

    def episodes(blocks: range) -> Iterator[tuple[str, str, int, EpisodeResult]]:
        for (method, item), score in scores.items():
            if int(item.split(":")[1]) in blocks:
                yield method, item, 0, EpisodeResult("lost", score)

    through, first, resumed = _analyses(), _analyses(), _analyses()
    rows = []
    for one in episodes(range(1)):
        first.record_end(*one)
    for method, result in first.run_due():
        rows.append(look_record(result, first.design, method, run_id="0001", at=1.0))
    resumed.restore(rows)
    for analyses in (through, resumed):
        for one in episodes(range(4)):
            analyses.record_end(*one)
    assert resumed.run_due() == through.run_due()[1:]
    settled = _analyses()
    settled.restore([look_record(through.verdicts["m/b"], through.design, "m/b", run_id="0001", at=1.0)])  # type: ignore[arg-type]
    assert settled.is_settled("m/b")


@pytest.mark.parametrize("method", ["m/a", "m/b"])
def test_methods_keep_in_step(method: str) -> None:
    """No method begins the second block before the first analysis, unless the episodes it waits for cannot
    end."""
    analyses, item = _analyses(), BLOCKS[1][0]
    other = "m/b" if method == "m/a" else "m/a"
    assert not analyses.must_wait(method, BLOCKS[0][0], idle=False)
    assert analyses.must_wait(method, item, idle=False)
    _play(analyses, method, range(1))
    assert analyses.must_wait(method, item, idle=True)
    analyses.close(other)
    assert not analyses.must_wait(method, item, idle=True)
    back = _analyses()
    assert not back.must_wait(method, item, idle=True)
    _play(back, "m/a", range(1))
    _play(back, "m/b", range(1))
    assert back.must_wait(method, item, idle=True)
    back.run_due()
    assert not back.must_wait(method, item, idle=False)

"""From episodes that come home to looks, and from looks to lanes that end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from harness.audit.scores.interim import Rules
from harness.running.early_stopping import Design, Ended, ModelInterimAnalyses, look_record

RULES = Rules(margin=3.0, margin_played=5.0, margin_game=10.0, alpha=0.05, seed=1)
BLOCKS = tuple(
    tuple(f"{game}:{block}:{item}" for item in range(25) for game in ("taboo", "wordle"))
    for block in range(4)
)


def _looks(*methods: str, repeats: int = 1) -> ModelInterimAnalyses:
    return ModelInterimAnalyses(
        Design(
            model="m",
            reference="m/a",
            methods=methods or ("m/b",),
            blocks=BLOCKS,
            repeats=repeats,
            rules=RULES,
        )
    )


def _play(
    looks: ModelInterimAnalyses, method: str, blocks: range, *, score: float = 50.0, repeats: int = 1
) -> bool:
    """Every episode of these blocks, each with this score; whether the last one made a look due."""
    due = False
    for block in blocks:
        for repeat in range(repeats):
            for item in BLOCKS[block]:
                due = looks.hear(method, item, repeat, Ended("lost", score))
    return due


def test_a_look_falls_due_when_both_have_played_its_items() -> None:
    """All repeats of the block, through both ways: not before."""
    looks = _looks(repeats=2)
    assert not _play(looks, "m/b", range(2), repeats=2)
    assert looks.take_due() == []
    assert not _play(looks, "m/a", range(1), repeats=1)
    assert looks.hear("m/a", BLOCKS[0][0], 1, Ended("lost", 50.0)) is False
    assert _play(looks, "m/a", range(1), repeats=2)
    ((method, look),) = looks.take_due()
    assert (method, look.look, look.items) == ("m/b", 1, 50)
    assert looks.take_due() == []


def test_what_plays_alike_is_settled_before_the_end() -> None:
    """Equal scores everywhere: EQUIVALENT as soon as nothing large can hide, and then both lanes are over; items of later looks that a
    fast method has played already do not count."""
    looks = _looks()
    _play(looks, "m/b", range(4))
    for block in range(4):
        _play(looks, "m/a", range(block, block + 1))
        for _, look in looks.take_due():
            assert look.items == 50 * look.look
        if looks.over("m/b"):
            break
    assert looks.verdicts["m/b"].verdict == "EQUIVALENT"
    assert looks.over("m/a")
    assert 1 <= block < 3


def test_a_gross_difference_trips_in_mid_block() -> None:
    """A method that loses 90 points everywhere is over after a few first plays, before its first look."""
    looks = _looks("m/b", "m/c")
    for item in BLOCKS[0][:40]:
        looks.hear("m/a", item, 0, Ended("success", 100.0))
        looks.hear("m/c", item, 0, Ended("success", 100.0))
        if looks.hear("m/b", item, 0, Ended("lost", 10.0)):
            break
    ((method, look),) = looks.take_due()
    assert (method, look.kind, look.verdict) == ("m/b", "tripwire", "DIFFERENT")
    assert looks.over("m/b")
    assert not looks.over("m/a")
    assert look.low < -90 < look.high or look.se == 0


def test_the_order_of_the_plan_decides_not_that_of_arrival() -> None:
    """Gross differences that come home first wait for the items planned before them."""
    looks = _looks()
    for item in BLOCKS[0][10:]:
        looks.hear("m/a", item, 0, Ended("success", 100.0))
        assert not looks.hear("m/b", item, 0, Ended("lost", 0.0))
    assert looks.take_due() == []


def test_failed_episodes_end_but_do_not_count() -> None:
    """A look does not wait for what the provider spoilt; a method of which nothing finished is never judged."""
    looks = _looks("m/b", "m/c")
    _play(looks, "m/a", range(1))
    _play(looks, "m/b", range(1))
    looks.hear("m/b", BLOCKS[0][3], 0, Ended(None, None))
    for item in BLOCKS[0]:
        looks.hear("m/c", item, 0, Ended(None, None))
    ((method, look),) = looks.take_due()
    assert (method, look.items) == ("m/b", 49)
    assert "m/c" not in looks.verdicts


def test_a_resumed_sweep_goes_on_where_it_looked() -> None:
    """Looks taken are not taken again, verdicts stand, and the same episodes lead to the same next look."""
    rng = np.random.default_rng(3)
    scores = {
        (method, item): float(rng.integers(0, 101))
        for block in BLOCKS
        for item in block
        for method in ("m/a", "m/b")
    }

    def episodes(blocks: range) -> Iterator[tuple[str, str, int, Ended]]:
        for (method, item), score in scores.items():
            if int(item.split(":")[1]) in blocks:
                yield method, item, 0, Ended("lost", score)

    through, first, resumed = _looks(), _looks(), _looks()
    rows = []
    for one in episodes(range(1)):
        first.hear(*one)
    for method, look in first.take_due():
        rows.append(look_record(look, first.design, method, run_id="0001", at=1.0))
    resumed.restore(rows)
    for looks in (through, resumed):
        for one in episodes(range(4)):
            looks.hear(*one)
    assert resumed.take_due() == through.take_due()[1:]
    settled = _looks()
    settled.restore([look_record(through.verdicts["m/b"], through.design, "m/b", run_id="0001", at=1.0)])  # type: ignore[arg-type]
    assert settled.over("m/b")


@pytest.mark.parametrize("method", ["m/a", "m/b"])
def test_lanes_keep_in_step(method: str) -> None:
    """Nobody begins the second block before the first look is taken, unless what it waits for will not come."""
    looks, item = _looks(), BLOCKS[1][0]
    other = "m/b" if method == "m/a" else "m/a"
    assert not looks.ahead(method, BLOCKS[0][0], idle=False)
    assert looks.ahead(method, item, idle=False)
    _play(looks, method, range(1))
    assert looks.ahead(method, item, idle=True)
    looks.leave(other)
    assert not looks.ahead(method, item, idle=True)
    back = _looks()
    assert not back.ahead(method, item, idle=True)
    _play(back, "m/a", range(1))
    _play(back, "m/b", range(1))
    assert back.ahead(method, item, idle=True)
    back.take_due()
    assert not back.ahead(method, item, idle=False)

"""Figures hold the findings' numbers and nobody else's words."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from harness.audit.replies.reply_audit import compare_replies
from harness.audit.scores.findings import Audit
from harness.audit.scores.score_audit import audit
from harness.report import figures
from tests.harness.audit.automaton import FOUR_BIT, TRUE, ask
from tests.harness.audit.simulator import CLEAN, DEAD_GAME, NEW_ABORTS, simulate


@pytest.fixture(scope="module")
def found() -> Audit:
    scores = simulate(
        "strong",
        [CLEAN, CLEAN, DEAD_GAME, NEW_ABORTS, CLEAN],
        np.random.default_rng(1),
        repeats=3,
        greedy=True,
    )
    return audit(scores, "m0", again="m4", seed=1, draws=399)


def test_every_method_has_its_row_and_every_game_its_cell(found: Audit) -> None:
    """Forest: the second self first, then each method; heat map: methods times games; pairs: all of them; all
    drawn as SVG."""
    rows = figures.forest(found).to_dict()["datasets"]
    forest_rows = next(values for values in rows.values() if len(values) == 4)
    assert [row["method"] for row in forest_rows] == ["m4", "m1", "m2", "m3"]
    for row, one in zip(forest_rows[1:], found.comparisons, strict=True):
        assert (row["difference"], row["low"], row["high"]) == (
            one.points.difference,
            one.points.low,
            one.points.high,
        )
    cells = next(iter(figures.heat_map(found).to_dict()["datasets"].values()))
    assert len(cells) == 3 * 7
    dead = next(cell for cell in cells if (cell["row"], cell["game"]) == ("m2", "taboo"))
    assert dead["mark"] == "✕", "nothing of it was played"
    assert len(found.pairs) == 6 * 7
    assert found.spread is not None
    drawings = [
        figures.forest(found),
        figures.heat_map(found),
        figures.pair_map(found.pairs),
        figures.dumbbell(found.comparisons[1], found.reference),
        figures.variance_shares(found.spread),
    ]
    for drawing in drawings:
        svg = figures.as_svg(drawing)
        assert svg.startswith("<svg")
        assert "<script" not in svg
    assert "m2" in figures.as_svg(drawings[0])


def test_items_that_moved_furthest_are_shown(found: Audit) -> None:
    """The dead game's items, from most lost to most gained, their episodes as aborted."""
    furthest = found.comparisons[1].furthest
    moved = [round(item.method - item.reference, 6) for item in furthest]
    assert len(furthest) == 40
    assert moved == sorted(moved)
    assert moved[0] == -100
    assert furthest[0].label.startswith("taboo")
    assert furthest[0].played_method == 0


def test_curves_start_together_and_part() -> None:
    """Both start at 1 or just below; with coarse weights pairs across part sooner."""
    (match,) = compare_replies(
        ask([TRUE, FOUR_BIT], prompts=30, repeats=3, seed=2), "m0", seed=1, draws=99
    ).across
    (rows,) = figures.survival(match).to_dict()["datasets"].values()
    last = {row["pair"]: row["share"] for row in rows}
    assert last["one reply of each method"] < last["two replies of one method"] - 0.2
    assert figures.as_svg(figures.survival(match)).startswith("<svg")


def test_hostile_names_stay_text(found: Audit) -> None:
    """A method named like markup is drawn as letters."""
    hostile = replace(
        found,
        comparisons=tuple(
            replace(one, method=f"m/<script>{i}\x1b") for i, one in enumerate(found.comparisons)
        ),
    )
    svg = figures.as_svg(figures.forest(hostile))
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", svg)

"""The audit of scores, end to end."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from harness.audit.scores.arrays import (
    ABORTED,
    FAILED,
    LOST,
    SUCCESS,
    EpisodeColumns,
    FloatArray,
    ScoreArray,
    score_array,
)
from harness.audit.scores.findings import Audit
from harness.audit.scores.score_audit import audit
from harness.core.errors import AuditError
from harness.core.plain_data import as_json
from tests.harness.audit.simulator import (
    CLEAN,
    DEAD_GAME,
    NEW_ABORTS,
    QUANTISATION,
    Defect,
    from_games,
    game_of,
    simulate,
)

NAN = float("nan")
DRAWS = 999


def _simulated(*defects: Defect, repeats: int = 3, greedy: bool = True, seed: int = 11) -> ScoreArray:
    return simulate("strong", defects, np.random.default_rng(seed), repeats=repeats, greedy=greedy)


def _columns(scores: ScoreArray) -> EpisodeColumns:
    """Returns the rows that give this array."""
    words = {SUCCESS: "success", LOST: "lost", ABORTED: "aborted", FAILED: None}
    rows = [
        (
            method,
            game.game,
            item,
            repeat,
            words[int(game.outcome[m, i, repeat])],
            float(game.score[m, i, repeat]),
        )
        for game in scores.games
        for m, method in enumerate(scores.methods)
        for i, item in enumerate(game.items)
        for repeat in range(scores.repeats)
    ]
    method, game_name, item, repeat, outcome, score = (list(column) for column in zip(*rows, strict=True))
    return EpisodeColumns(
        method=method,
        game=game_name,
        item=item,
        repeat=repeat,
        outcome=outcome,
        score=score,
        batch=repeat,
        calls=[4] * len(rows),
    )


def test_each_method_gets_the_verdict_it_deserves() -> None:
    """One model three times and three defects: equal ones are EQUIVALENT, a dead game, new aborts and coarse
    weights are DIFFERENT."""
    found = audit(
        _simulated(CLEAN, CLEAN, DEAD_GAME, NEW_ABORTS, QUANTISATION, CLEAN),
        "m0",
        again="m5",
        seed=1,
        draws=DRAWS,
    )
    assert [comparison.verdict for comparison in found.comparisons] == [
        "EQUIVALENT",
        "DIFFERENT",
        "DIFFERENT",
        "DIFFERENT",
    ]
    equal, dead, aborts, weights = found.comparisons
    assert re.search(r"largest part is in taboo: -[0-9.]+ points due to format", dead.sentence)
    assert min(aborts.played.p, *(game.p_played for game in aborts.games)) <= 0.05
    assert "points due to quality" in weights.sentence
    assert equal.label == "EQUIVALENT within ±3"
    assert dead.scope == "these runs"
    assert found.calibrated
    assert found.again is not None
    assert found.again.sentence.startswith("The two runs of the reference differ by ")
    assert found.unsupported == ("imagegame", "taboo")
    assert found.spread is not None
    assert "adjusted for 4 methods by Holm" in dead.sentence


def test_one_run_speaks_of_itself() -> None:
    """With one session every verdict states the scope "these runs"."""
    found = audit(_simulated(CLEAN, CLEAN, DEAD_GAME, repeats=1), "m0", seed=1, draws=DRAWS)
    assert all("for these runs only" in comparison.sentence for comparison in found.comparisons)
    assert found.comparisons[1].games[3].played_discordance is not None
    assert found.spread is None


def _from_summary(
    games: dict[str, tuple[int, tuple[float, float], tuple[float, float]]], rng: np.random.Generator
) -> ScoreArray:
    """Scores with these percentages played and mean scores, reference and method, a game (items, ..., ...):
    as many 100s as it takes and one remainder, in an order of their own for each method in referencegame and
    in the same order elsewhere."""
    built = []
    for game, (items, *figures) in games.items():
        rows = []
        for played, quality in figures:
            kept = round(items * played / 100)
            points = quality * kept
            row = np.clip(points - 100 * np.arange(items), 0, 100)
            row[kept:] = NAN
            rows.append(rng.permutation(row) if game == "referencegame" else row)
        built.append(game_of(game, np.stack(rows)[..., None]))
    return from_games(built, 1)


def test_a_game_beyond_its_margin_is_different_whatever_the_mean() -> None:
    """The published 8B row through Anyscale: referencegame 46.1 -> 27.2, hidden by small gains elsewhere. The
    mean alone is inside the margin; the game makes it DIFFERENT."""
    scores = _from_summary(
        {
            "imagegame": (40, (0.0, 0.0), (0.0, 0.0)),
            "privateshared": (50, (96.0, 58.91), (94.0, 59.96)),
            "referencegame": (180, (100.0, 46.11), (100.0, 27.22)),
            "taboo": (60, (100.0, 37.78), (100.0, 38.33)),
            "wordle": (30, (86.67, 0.0), (93.33, 3.57)),
            "wordle_withclue": (30, (83.33, 14.0), (83.33, 14.8)),
            "wordle_withcritic": (30, (66.67, 0.83), (60.0, 8.98)),
        },
        np.random.default_rng(3),
    )
    (found,) = audit(scores, "m0", margin=6.0, margin_played=10.0, seed=1, draws=DRAWS).comparisons
    assert found.points.difference == pytest.approx(-1.4, abs=0.1)
    assert found.p_equivalence <= 0.05
    assert found.verdict == "DIFFERENT"
    reference = next(game for game in found.games if game.game == "referencegame")
    assert reference.difference == pytest.approx(-18.9, abs=0.05)
    assert reference.beyond
    assert "The largest part is in referencegame: -18.9 points due to quality." in found.sentence
    (lenient,) = audit(
        scores, "m0", margin=6.0, margin_played=10.0, margin_game=20.0, seed=1, draws=DRAWS
    ).comparisons
    assert lenient.verdict == "EQUIVALENT"
    assert "The difference is not 0" in lenient.sentence


def test_a_model_that_scores_nothing_is_not_called_the_same() -> None:
    """All scores 0 through both: difference 0, finite everywhere, inconclusive for 20 items a game, and what
    would settle it is said."""
    zeros = [game_of(game, np.zeros((2, 20, 1))) for game in ("taboo", "wordle")]
    (found,) = audit(from_games(zeros, 1), "m0", seed=1, draws=DRAWS).comparisons
    assert (found.points.difference, found.p_joint, found.verdict) == (0.0, 1.0, "INCONCLUSIVE")
    assert found.sentence == (
        "The difference between m1 and m0 is between -8.8 and +8.8 points. This range is too wide for a "
        "decision. It also allows for differences on rare items that were not played. To decide with the margin of "
        "3 points, play about 99 items, each played once (792 calls). This result holds for these runs only; at "
        "another time it may be different."
    )
    assert (found.points.low, found.points.high) == pytest.approx((-8.8, 8.8), abs=0.05)
    enough = [game_of(game, np.zeros((2, 60, 1))) for game in ("taboo", "wordle")]
    assert audit(from_games(enough, 1), "m0", seed=1, draws=DRAWS).comparisons[0].verdict == "EQUIVALENT"


@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("score", [0.0, 100.0, NAN])
def test_the_smallest_audits_are_finite(items: int, score: float) -> None:
    """One game, one or two items, all lost, won or aborted: a sentence, bounds on the scale, JSON without
    NaN."""
    scores = from_games([game_of("taboo", np.full((2, items, 1), score))], 1)
    found = audit(scores, "m0", seed=1, draws=DRAWS)
    (comparison,) = found.comparisons
    assert comparison.verdict == "INCONCLUSIVE"
    assert -100 <= comparison.points.low <= 0 <= comparison.points.high <= 100
    assert comparison.points.high - comparison.points.low > 50
    json.dumps(as_json(found), allow_nan=False)


def test_nothing_to_compare_is_refused() -> None:
    """A reference alone, and a reference without episodes, are errors with a sentence."""
    scores = _simulated(CLEAN, CLEAN)
    with pytest.raises(AuditError, match="compares access methods"):
        audit(scores, "m0", again="m1", seed=1)
    with pytest.raises(AuditError, match="no episodes of the access method 'x'"):
        audit(scores, "x", seed=1, draws=DRAWS)


def _plain(found: Audit) -> object:
    return json.loads(json.dumps(as_json(found), allow_nan=False))


def test_the_order_of_rows_changes_nothing() -> None:
    """Rows shuffled give the same audit, to the last digit."""
    columns = _columns(_simulated(CLEAN, QUANTISATION, repeats=2))
    order = np.random.default_rng(1).permutation(len(columns.method))
    names = ("method", "game", "item", "repeat", "outcome", "score", "batch", "calls")
    shuffled = EpisodeColumns(**{name: [getattr(columns, name)[i] for i in order] for name in names})
    assert _plain(audit(score_array(columns), "m0", seed=1, draws=DRAWS)) == _plain(
        audit(score_array(shuffled), "m0", seed=1, draws=DRAWS)
    )


def test_the_names_of_methods_change_only_names() -> None:
    """Renamed methods keep their figures, p's and verdicts."""
    scores = _simulated(CLEAN, QUANTISATION, CLEAN)
    named = replace(scores, methods=("reference", "x", "y"))
    text = json.dumps(as_json(audit(scores, "m0", seed=1, draws=DRAWS)))
    for old, new in zip(scores.methods, named.methods, strict=True):
        text = re.sub(rf"\b{old}\b", new, text)
    assert json.loads(text) == _plain(audit(named, "reference", seed=1, draws=DRAWS))


def test_swapping_method_and_reference_flips_signs_only() -> None:
    """b against a is minus a against b: estimates and bounds change sign, p's and verdicts stay."""
    scores = _simulated(CLEAN, NEW_ABORTS, repeats=1)
    (there,), (back,) = (
        audit(scores, reference, seed=1, draws=DRAWS).comparisons for reference in ("m0", "m1")
    )
    assert there.points.difference == pytest.approx(-back.points.difference)
    assert (there.points.low, there.points.high) == pytest.approx((-back.points.high, -back.points.low))
    assert (there.p_joint, there.verdict) == (back.p_joint, back.verdict)
    assert there.p_equivalence == pytest.approx(back.p_equivalence)
    assert there.clemscore.supported == pytest.approx(-(back.clemscore.supported or NAN))
    for a, b in zip(there.games, back.games, strict=True):
        assert (a.form, a.play) == pytest.approx((-b.form, -b.play))
        assert (a.p_points, a.p_played) == (b.p_points, b.p_played)


def _doubled(scores: ScoreArray) -> ScoreArray:
    games = tuple(
        replace(
            game,
            outcome=np.concatenate([game.outcome] * 2, axis=2),
            score=np.concatenate([game.score] * 2, axis=2),
        )
        for game in scores.games
    )
    return replace(
        scores, games=games, batches=(*scores.batches, *(batch + scores.repeats for batch in scores.batches))
    )


def test_repeats_repeated_verbatim_add_nothing() -> None:
    """Every repeat twice over: the same estimates, intervals no narrower, the same p by relabelling."""
    scores = _simulated(CLEAN, NEW_ABORTS, repeats=2)
    once, twice = (audit(array, "m0", seed=1, draws=DRAWS) for array in (scores, _doubled(scores)))
    a, b = once.comparisons[0], twice.comparisons[0]
    assert a.points.difference == pytest.approx(b.points.difference)
    assert b.points.high - b.points.low >= a.points.high - a.points.low - 1e-9
    assert a.p_joint == b.p_joint
    for single, double in zip(once.methods, twice.methods, strict=True):
        assert single.clemscore == double.clemscore
        for game, again in zip(single.games, double.games, strict=True):
            assert (again.played_high or 0) - (again.played_low or 0) >= (game.played_high or 0) - (
                game.played_low or 0
            ) - 1e-9


def test_a_constant_added_to_all_changes_no_difference() -> None:
    """Ten points more for every played episode of both: differences in points, where all is played, stay as
    they are."""
    rng = np.random.default_rng(9)
    base: FloatArray = np.round(80 * rng.random((2, 40, 2)), 3)
    plain, raised = (
        audit(from_games([game_of("g", base + shift)], 2), "m0", seed=1, draws=DRAWS).comparisons[0]
        for shift in (0.0, 10.0)
    )
    assert plain.points.difference == pytest.approx(raised.points.difference)
    assert (plain.points.low, plain.p_joint) == pytest.approx((raised.points.low, raised.p_joint))
    assert plain.clemscore.supported == pytest.approx(raised.clemscore.supported)


def test_the_worth_of_repeats_does_not_depend_on_the_scale() -> None:
    """Scores of a hundredth have repeats that are worth the same number of independent ones."""
    rng = np.random.default_rng(3)
    score = np.clip(50 + 8 * rng.normal(size=(2, 40, 1)) + 8 * rng.normal(size=(2, 40, 3)), 1, 99)
    whole, small = (
        audit(from_games([game_of("g", score * scale)], 3), "m0", seed=1, draws=99).comparisons[0]
        for scale in (1.0, 0.01)
    )
    assert whole.repeats_effective is not None
    assert 1.2 < whole.repeats_effective < 2.5
    assert small.repeats_effective == pytest.approx(whole.repeats_effective)

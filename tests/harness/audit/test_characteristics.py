"""Size, training and access method against score: the published figures, and planted ones."""

from __future__ import annotations

from math import log10
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.csv_tables import model_facts, score_rows
from harness.audit.characteristics import (
    Characteristics,
    GameAverages,
    MethodDifference,
    ModelFacts,
    ScoreRow,
    by_size,
    characterise,
)
from harness.core.errors import AuditError

DATA = Path(__file__).parent / "data"
EPISODES = {
    "taboo": 60, "wordle": 30, "wordle_withclue": 30, "wordle_withcritic": 30, "imagegame": 40, "referencegame": 180, "privateshared": 50,
}  # fmt: skip


def _counted(row: ScoreRow) -> ScoreRow:
    """The row with the episodes that its published averages were made of."""
    games = tuple(
        GameAverages(
            game=game.game,
            played=game.played,
            quality=game.quality,
            std=game.std,
            episodes=29 if (row.method, game.game) == ("groq", "wordle_withcritic") else EPISODES[game.game],
        )
        for game in row.games
    )
    return ScoreRow(model=row.model, method=row.method, clemscore=row.clemscore, games=games)


@pytest.fixture(scope="module")
def published() -> Characteristics:
    rows = [_counted(row) for row in score_rows(DATA / "published_scores.csv")]
    return characterise(rows, model_facts(DATA / "model_facts.csv"), reference="huggingface-local")


def test_the_published_shares_of_variance(published: Characteristics) -> None:
    """Size explains .570 over 17 models, with training tokens .681, over 39 models with rumoured sizes .730,
    without them .234."""
    assert [(fit.models, round(fit.r2, 3)) for fit in published.fits] == [
        (17, 0.570),
        (17, 0.681),
        (39, 0.730),
        (30, 0.234),
        (9, 0.365),
    ]


def test_how_far_the_published_fits_can_be_believed(published: Characteristics) -> None:
    """Intervals as wide as they are, leave-one-out ranges, prediction worse with tokens than without, one
    rumoured row that carries them."""
    size, tokens, every, stated, _ = published.fits
    assert [fit.r2_without for fit in (size, tokens, every, stated)] == [
        pytest.approx(pair, abs=0.005)
        for pair in ((0.396, 0.705), (0.596, 0.763), (0.707, 0.771), (0.173, 0.317))
    ]
    assert [round(fit.q2, 2) for fit in (size, tokens, every, stated)] == [0.46, 0.41, 0.70, 0.13]
    # Whole families are harder to predict than single models, whose siblings a fit has seen.
    assert [(fit.families, round(fit.q2_family or 0.0, 2)) for fit in (every, stated)] == [
        (15, 0.59),
        (13, 0.06),
    ]
    assert (size.r2_low, size.r2_high) == pytest.approx((0.14, 0.85), abs=0.03)
    assert (tokens.r2_low, tokens.r2_high) == pytest.approx((0.37, 0.89), abs=0.03)
    assert (every.r2_low, every.r2_high) == pytest.approx((0.54, 0.85), abs=0.03)
    assert (stated.r2_low, stated.r2_high) == pytest.approx((0.02, 0.51), abs=0.03)
    slope = tokens.slopes[1]
    assert (slope.value, slope.low, slope.high) == pytest.approx(
        (0.69, -0.22, 1.64), abs=0.3
    )  # some draws miss the row that carries it
    assert (tokens.influential[0].model, round(tokens.influential[0].cook, 2)) == (
        "gemini-1.5-pro-latest",
        1.75,
    )


def test_the_published_brackets_of_size(published: Characteristics) -> None:
    """Standard deviations 7.8, 3.7, 12.4, 14.2 below 10, 50, 100 and above; 36 % of the variance within."""
    assert [round(bracket.sd or 0, 1) for bracket in published.brackets] == [7.8, 3.7, 12.4, 14.2]
    assert round(published.within, 2) == 0.36


def _method(found: Characteristics, model: str, method: str) -> MethodDifference:
    return next(one for one in found.methods if (one.model, one.method) == (model, method))


@pytest.mark.parametrize(
    ("model", "method", "clemscore", "supported", "points", "error"),
    [
        ("llama-3-70b-instruct", "groq", 4.23, -0.3, 0.7, 2.4),
        ("llama-3-70b-instruct", "llama.cpp q8", 3.77, -2.1, -0.8, 2.3),
        ("llama-3-70b-instruct", "llama.cpp q4", -1.54, -1.5, -1.2, 2.2),
        ("llama-3-70b-instruct", "together", 0.09, 0.1, 0.5, 2.3),
        ("llama-3-70b-instruct", "anyscale", -0.85, -0.9, -0.5, 2.3),
        ("llama-3-8b-instruct", "anyscale", -0.67, -0.7, -1.4, 2.1),
        ("llama-3-8b-instruct", "llama.cpp q8", 0.55, 0.5, -0.1, 2.1),
        ("llama-3-8b-instruct", "llama.cpp q4", -8.24, -2.9, -8.1, 2.0),
    ],
)
def test_the_published_access_methods(
    published: Characteristics,
    model: str,
    method: str,
    clemscore: float,
    supported: float,
    points: float,
    error: float,
) -> None:
    """Against local play: clemscore as published to two decimals, on common support and in points earned to
    one, with the latter's error.

    Llama-3-8B's Q4 file broke the form of a whole game: its -8.2 as published is -2.9 over the games that
    both could play."""
    found = _method(published, model, method)
    assert (round(found.clemscore, 2), round(found.supported or 0, 1), round(found.points or 0, 1)) == (
        clemscore,
        supported,
        points,
    )
    assert round(found.se or 0, 1) == error


def test_what_names_say_of_quantisation() -> None:
    """A level of quantisation is read as a word of its own, whatever its case; a model's version is none."""
    names = [
        "llama.cpp q4",
        "llama.cpp Q8_0",
        "vllm-awq",
        "local 4-bit",
        "int8",
        "groq",
        "q-learning",
        "v1.5",
        "huggingface-local",
    ]
    found = [ScoreRow(model="m", method=name, clemscore=0).quantisation for name in names]
    assert found == ["q4", "q8_0", "awq", "4-bit", "int8", None, None, None, None]


@pytest.mark.parametrize(
    ("stated", "bits", "quantisation"),
    [
        ("Q8_0", None, "q8_0"),
        (None, 4.5, "4.5 bits"),
        ("Q4_K", 4.5, "q4_k"),
        ("BF16", None, None),
        ("Q8_0", 16.0, None),
        (None, 16.01, None),
    ],
)
def test_a_stated_quantisation_counts_not_the_name(
    stated: str | None, bits: float | None, quantisation: str | None
) -> None:
    """Weights of sixteen bits are as published, whatever the method is called."""
    row = ScoreRow(model="m", method="q4", clemscore=0, stated=stated, bits=bits)
    assert row.quantisation == quantisation


def _facts(model: int, size: float) -> ModelFacts:
    return ModelFacts(model=f"m{model}", parameters_billions=size, tokens_trillions=None, guessed=False)


def _planted(sd: float, seed: int) -> Characteristics:
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(-0.3, 2.3, 60)
    rows = [
        ScoreRow(
            model=f"m{i}",
            method=method,
            clemscore=float(np.clip(20 + 10 * log10(size) + sd * rng.normal(), 0, 100)),
        )
        for i, size in enumerate(sizes)
        for method in ("there", "q4")
    ]
    return characterise(
        rows, [_facts(i, size) for i, size in enumerate(sizes.tolist())], reference=None, draws=500
    )


def test_a_planted_slope_is_recovered() -> None:
    """Ten points a decade, for a model as a whole: 60 models are 60 points, not 120, and the interval holds
    the truth."""
    fit, quantised = _planted(4.0, 3).fits
    assert abs(quantised.slopes[1].value) < 3 * quantised.slopes[1].se
    assert fit.models == 60
    assert fit.slopes[0].low < 10 < fit.slopes[0].high
    assert fit.slopes[0].value == pytest.approx(10, abs=1.5)
    assert fit.q2 <= fit.r2


def test_a_line_without_noise_explains_all() -> None:
    """R² and Q² are 1, and leaving a model out changes nothing."""
    fit, _ = _planted(0.0, 4).fits
    assert (fit.r2, fit.q2, *fit.r2_without) == pytest.approx((1, 1, 1, 1))


def test_too_few_models_carry_no_line() -> None:
    """Four are refused, and so are models all alike in size or in score."""
    rows = [ScoreRow(model=f"m{i}", method="a", clemscore=float(i)) for i in range(6)]
    facts = [_facts(i, 7.0 + i) for i in range(6)]
    with pytest.raises(AuditError, match="4 models have both"):
        characterise(rows[:4], facts, reference=None)
    with pytest.raises(AuditError, match="do not differ enough"):
        characterise(rows, [_facts(i, 7.0) for i in range(6)], reference=None)
    with pytest.raises(AuditError, match="nothing to explain"):
        characterise(
            [ScoreRow(model=row.model, method="a", clemscore=5.0) for row in rows], facts, reference=None
        )


def sized(*pairs: tuple[float, float]) -> tuple[list[ScoreRow], list[ModelFacts]]:
    """Models of so many billions of parameters, each with a score."""
    names = [f"m{place}" for place in range(len(pairs))]
    rows = [
        ScoreRow(model=name, method="here", clemscore=score)
        for name, (_, score) in zip(names, pairs, strict=True)
    ]
    facts = [
        ModelFacts(model=name, parameters_billions=size, tokens_trillions=None, guessed=False)
        for name, (size, _) in zip(names, pairs, strict=True)
    ]
    return rows, facts


def test_size_alone_is_a_line() -> None:
    """Ten points a decade, exactly: that slope through that point, R² of one, an interval without width.
    Quantised methods stand aside."""
    rows, facts = sized((0.1, 10), (1, 20), (10, 30), (100, 40), (1000, 50))
    rows.append(ScoreRow(model="m0", method="q4", clemscore=0.0))
    found = by_size(rows, facts)
    assert found is not None
    points, fit = found
    (slope,) = fit.slopes
    assert [point.score for point in points] == [10, 20, 30, 40, 50]
    assert (slope.value, slope.low, slope.high, fit.intercept, fit.r2) == pytest.approx((10, 10, 10, -70, 1))


@pytest.mark.parametrize(
    "pairs",
    [
        ((1, 10), (10, 20), (20, 30), (30, 40)),
        ((1, 10), (1, 20), (1, 30), (1, 40), (1, 50)),
        ((1, 9), (2, 9), (3, 9), (4, 9), (5, 9)),
    ],
    ids=["four models", "one size", "one score"],
)
def test_too_little_is_no_line(pairs: tuple[tuple[float, float], ...]) -> None:
    """Few models, or models that do not differ, say nothing of size."""
    assert by_size(*sized(*pairs)) is None


def _row_of(model: str, method: str, score: float, **averages: float) -> ScoreRow:
    game = GameAverages(game="g", played=100.0, quality=50.0, std=50.0, episodes=200, **averages)  # type: ignore[arg-type]
    return ScoreRow(model=model, method=method, clemscore=score, games=(game,))


def test_quantisation_is_a_term() -> None:
    """Six points less in each quantised variant are the coefficient, whatever the models' own scores."""
    rng = np.random.default_rng(5)
    rows, facts = [], []
    for i, size in enumerate((1, 3, 7, 13, 34, 70, 100)):
        own = 20 + 10 * log10(size) + 5 * float(rng.normal())
        rows += [
            ScoreRow(model=f"m{i}", method="there", clemscore=own),
            ScoreRow(model=f"m{i}", method="llama q4", clemscore=own - 6 + 0.5 * float(rng.normal())),
        ]
        facts.append(_facts(i, size))
    found = characterise(rows, facts, reference=None, draws=200)
    fit = found.fits[-1]
    assert (fit.models, [slope.term for slope in fit.slopes][1]) == (14, "quantised")
    assert fit.slopes[1].value == pytest.approx(-6, abs=0.6)
    assert [point.quantisation for point in found.variants] == ["q4"] * 7


def test_names_are_joined_without_case_and_that_is_said() -> None:
    """A model that is spelt otherwise in capitals only is joined; two that differ in case alone are not."""
    rows = [ScoreRow(model=f"M{i}", method="a", clemscore=float(i)) for i in range(7)]
    facts = [
        *(_facts(i, 7.0 + i) for i in range(6)),
        ModelFacts(model="M5", parameters_billions=3.0, tokens_trillions=None, guessed=False),
    ]
    found = characterise(rows, facts, reference=None, draws=50)
    assert found.respelled == tuple((f"M{i}", f"m{i}") for i in range(5))
    assert [point.parameters_billions for point in found.points][-1] == 3.0
    assert found.without_facts == ("M6",)


def test_errors_rest_on_items() -> None:
    """200 episodes of 20 items at temperature 0 are 20 values: the error is sqrt(10) times as wide, and an
    error over items that a store knows comes first."""
    facts = [_facts(i, 7.0 + i) for i in range(6)]
    rows = [ScoreRow(model=f"m{i}", method="a", clemscore=float(i)) for i in range(6)]

    def error(**averages: float) -> float:
        pair = [_row_of("m0", "a", 10.0, **averages), _row_of("m0", "b", 12.0, **averages)]
        (method,) = characterise([*rows[1:], *pair], facts, reference=None, draws=50).methods
        assert method.se is not None
        return method.se

    assert error(items=20) == pytest.approx(10**0.5 * error(), rel=0.03)
    assert error(se=3.0, items=20) == pytest.approx(3 * 2**0.5)

"""Relates scores to model size and training, and compares a model's access methods and quantisations.

Knows a table of scores and a table of facts; nothing of episodes. Keeps: a model is one point, however often
it was reached; every share of variance stands beside its interval, what single rows do to it and how well it
predicts a row it has not seen. Does not promise: causes. Averages are not paired by item, so nothing here is
a verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log10, sqrt

import numpy as np

from harness.audit.regression import DRAWS, Regression, fit_line
from harness.audit.scores.clemscore import SUPPORT_EPISODES, SUPPORT_SHARE
from harness.core.errors import AuditError

VARIANTS_MIN = 3  # quantised variants: with fewer the term rests on single models
ROWS_MIN = 5  # with fewer models leave-one-out ranges of a fit with three coefficients are not defined
BRACKETS = ((0.0, 10.0), (10.0, 50.0), (50.0, 100.0), (100.0, float("inf")))  # billions of parameters
FULL_BITS = 16.0  # weights of so many bits are as they were published
_FULL = frozenset(
    ("none", "f16", "bf16", "f32", "fp16", "fp32", "float16", "bfloat16", "float32", "half", "float", "auto")
)
_QUANTISED = re.compile(
    r"(?:^|[^a-z0-9])(i?q[2-8](?:_[a-z0-9_]+)?|int[248]|fp[48]|nf4|awq|gptq|[248]-?bits?)(?:$|[^a-z0-9])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GameAverages:
    """One game through one method: percent played, mean main score of those played and its sample deviation,
    None where unknown.

    episodes  scored ones; None where not known: then no error can be given
    items     played; None where not known. Repeats at temperature 0 are copies, so that errors rest on items
    se        standard error of the mean points over items; None where not known: then it is estimated"""

    game: str
    played: float
    quality: float | None
    std: float | None
    episodes: int | None
    items: int | None = None
    se: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One model through one access method.

    stated  the quantisation of its weights and bits their mean number of bits, as the table states them"""

    model: str
    method: str
    clemscore: float
    games: tuple[GameAverages, ...] = ()
    stated: str | None = None
    bits: float | None = None

    @property
    def quantisation(self) -> str | None:
        """Returns the quantisation of the weights; None if they are not quantised.

        Where neither a quantisation nor bits are stated, the method's name is asked for one."""
        if self.stated is None and self.bits is None:
            found = _QUANTISED.search(self.method)
            return found[1].lower() if found else None
        if self.bits is not None and self.bits >= FULL_BITS:
            return None
        if self.stated is None:
            return f"{self.bits:g} bits"
        return None if self.stated.lower() in _FULL else self.stated.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The facts of a model; None where unknown.

    guessed  its size is not stated by its makers
    family   models of one family are alike beyond size and training"""

    model: str
    parameters_billions: float | None
    tokens_trillions: float | None
    guessed: bool
    family: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model as a point of a fit.

    quantisation  of a quantised variant that stands beside its model `of`; None: the model itself
    bits          mean number of bits per weight of a variant, where stated"""

    model: str
    score: float
    parameters_billions: float
    tokens_trillions: float | None
    guessed: bool
    family: str | None = None
    quantisation: str | None = None
    of: str | None = None
    bits: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """The models of one class of size; sd None for a single one."""

    low_billions: float
    high_billions: float
    models: int
    score_min: float
    score_max: float
    sd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDifference:
    """One access method of a model less its reference, in points; one run each, unpaired.

    clemscore  as published
    supported  the same over the games that both played at least five times and in one case of twenty; None
               where counts are not known
    points     macro difference of points earned, 0 for what was aborted; se over items, as if the two runs
               were independent; None where not known"""

    model: str
    method: str
    reference: str
    quantisation: str | None
    clemscore: float
    supported: float | None
    points: float | None
    se: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristics:
    """Everything that the two tables show together.

    variants    quantised access methods of models that have one that is not, as points
    within      share of the variance of scores that lies inside size brackets
    respelled   (model in the scores, model in the facts): equal but for upper and lower case
    without_facts, without_size  models in the score table that no fit could use"""

    points: tuple[Point, ...]
    variants: tuple[Point, ...]
    fits: tuple[Regression, ...]
    brackets: tuple[Bracket, ...]
    within: float
    methods: tuple[MethodDifference, ...]
    respelled: tuple[tuple[str, str], ...]
    without_facts: tuple[str, ...]
    without_size: tuple[str, ...]


def characterise(
    scores: Sequence[ScoreRow],
    facts: Iterable[ModelFacts],
    *,
    reference: str | None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Characteristics:
    """Fits score to size and training, and compares brackets of size and each model's access methods.

    reference  the access method that stands for a model that has it; None, or not had: the mean of those not
               quantised
    raises     AuditError if fewer than five models have a size and a score"""
    by_model = _by_model(scores)
    known, respelled = _joined(by_model, facts)
    points = tuple(_points(by_model, known, reference))
    if len(points) < ROWS_MIN:
        raise AuditError(
            f"{len(points)} models have both a score and a number of parameters; the fit needs {ROWS_MIN}. "
            "Do both tables use the same model names?"
        )
    variants = tuple(_variants(by_model, known))
    fits = tuple(_fits(points, variants, seed, draws))
    brackets, within = _brackets(points)
    return Characteristics(
        points=points,
        variants=variants,
        fits=fits,
        brackets=brackets,
        within=within,
        methods=tuple(
            difference for rows in by_model.values() for difference in _differences(rows, reference)
        ),
        respelled=respelled,
        without_facts=tuple(model for model in by_model if model not in known),
        without_size=tuple(
            model for model in by_model if model in known and known[model].parameters_billions is None
        ),
    )


def by_size(
    scores: Sequence[ScoreRow], facts: Iterable[ModelFacts], *, seed: int = 0, draws: int = DRAWS
) -> tuple[tuple[Point, ...], Regression] | None:
    """Fits score to size alone; None with fewer than five models, or if all have one size or one score."""
    points = tuple(_points(_by_model(scores), {one.model: one for one in facts}, None))
    if (
        len(points) < ROWS_MIN
        or len({one.parameters_billions for one in points}) < 2
        or len({one.score for one in points}) < 2
    ):
        return None
    return points, _fit("models with a size", points, [SIZE], seed, draws)


def _by_model(scores: Iterable[ScoreRow]) -> dict[str, list[ScoreRow]]:
    found: dict[str, list[ScoreRow]] = {}
    for row in scores:
        found.setdefault(row.model, []).append(row)
    return found


def _joined(
    models: Iterable[str], facts: Iterable[ModelFacts]
) -> tuple[dict[str, ModelFacts], tuple[tuple[str, str], ...]]:
    """Returns the facts of each model of the scores, and the pairs of names that differ in case only.

    Case is ignored where no name agrees exactly and one alone agrees without it."""
    exact = {one.model: one for one in facts}
    folded: dict[str, list[str]] = {}
    for name in exact:
        folded.setdefault(name.casefold(), []).append(name)
    found: dict[str, ModelFacts] = {}
    respelled = []
    for model in models:
        alike = folded.get(model.casefold(), [])
        if model in exact:
            found[model] = exact[model]
        elif len(alike) == 1:
            found[model] = exact[alike[0]]
            respelled.append((model, alike[0]))
    return found, tuple(respelled)


def _variants(by_model: Mapping[str, Sequence[ScoreRow]], known: Mapping[str, ModelFacts]) -> Iterable[Point]:
    """Yields the quantised access methods of models that have one that is not quantised."""
    for model, rows in by_model.items():
        fact = known.get(model)
        if fact is None or fact.parameters_billions is None or all(row.quantisation for row in rows):
            continue
        for row in rows:
            if row.quantisation is not None:
                yield Point(
                    model=f"{model} {row.method}",
                    score=row.clemscore,
                    parameters_billions=fact.parameters_billions,
                    tokens_trillions=fact.tokens_trillions,
                    guessed=fact.guessed,
                    family=fact.family or model,
                    quantisation=row.quantisation,
                    of=model,
                    bits=row.bits,
                )


def _points(
    by_model: Mapping[str, Sequence[ScoreRow]], known: Mapping[str, ModelFacts], reference: str | None
) -> Iterable[Point]:
    for model, rows in by_model.items():
        fact = known.get(model)
        if fact is not None and fact.parameters_billions is not None:
            stand_in = _standing_for(rows, reference)
            yield Point(
                model=model,
                score=sum(row.clemscore for row in stand_in) / len(stand_in),
                parameters_billions=fact.parameters_billions,
                tokens_trillions=fact.tokens_trillions,
                guessed=fact.guessed,
                family=fact.family,
            )


def _standing_for(rows: Sequence[ScoreRow], reference: str | None) -> Sequence[ScoreRow]:
    return (
        [row for row in rows if row.method == reference]
        or [row for row in rows if row.quantisation is None]
        or rows
    )


SIZE, TOKENS, QUANTISED = "log10 parameters", "training tokens (trillions)", "quantised"
_FACTS: Mapping[str, Callable[[Point], float | None]] = {
    SIZE: lambda point: log10(point.parameters_billions * 1e9),
    TOKENS: lambda point: point.tokens_trillions,
    QUANTISED: lambda point: float(point.quantisation is not None),
}


# --- fits -----------------------------------------------------------------------------------------------


def _fits(points: Sequence[Point], variants: Sequence[Point], seed: int, draws: int) -> Iterable[Regression]:
    trained = [point for point in points if point.tokens_trillions is not None]
    stated = [point for point in points if not point.guessed]
    if len(trained) >= ROWS_MIN:
        yield _fit("models with known training tokens", trained, [SIZE], seed, draws)
        yield _fit("models with known training tokens", trained, [SIZE, TOKENS], seed, draws)
    yield _fit("models with a size, guessed or stated", points, [SIZE], seed, draws)
    if ROWS_MIN <= len(stated) < len(points):
        yield _fit("models with a stated size", stated, [SIZE], seed, draws)
    with_variants = [point for point in points if any(one.of == point.model for one in variants)]
    if len(variants) >= VARIANTS_MIN and len({point.parameters_billions for point in with_variants}) > 1:
        pairs = [*with_variants, *variants]
        yield _fit("quantised variants and their models", pairs, [SIZE, QUANTISED], seed, draws)


def _fit(over: str, points: Sequence[Point], terms: Sequence[str], seed: int, draws: int) -> Regression:
    """Fits these points; models of one family are dependent, a model of unknown family is its own family."""
    known = any(point.family is not None for point in points)
    return fit_line(
        over,
        [point.model for point in points],
        np.array([point.score for point in points]),
        {term: np.array([_FACTS[term](point) for point in points], dtype=np.float64) for term in terms},
        families=[point.family or point.model for point in points] if known else None,
        seed=seed,
        draws=draws,
    )


def _brackets(points: Sequence[Point]) -> tuple[tuple[Bracket, ...], float]:
    found, within = [], 0.0
    for low, high in BRACKETS:
        scores = np.array([point.score for point in points if low <= point.parameters_billions < high])
        if len(scores) == 0:
            continue
        within += float(((scores - scores.mean()) ** 2).sum())
        found.append(
            Bracket(
                low_billions=low,
                high_billions=high,
                models=len(scores),
                score_min=float(scores.min()),
                score_max=float(scores.max()),
                sd=float(scores.std(ddof=1)) if len(scores) > 1 else None,
            )
        )
    every = np.array([point.score for point in points])
    return tuple(found), within / float(((every - every.mean()) ** 2).sum())


# --- access methods of one model ------------------------------------------------------------------------


def _differences(rows: Sequence[ScoreRow], reference: str | None) -> Iterable[MethodDifference]:
    """Compares every other access method with the reference, or with the first that is not quantised."""
    if len(rows) < 2:
        return
    base = _standing_for(rows, reference)[0]
    for row in rows:
        if row is base:
            continue
        points, se = _points_apart(base, row)
        yield MethodDifference(
            model=row.model,
            method=row.method,
            reference=base.method,
            quantisation=row.quantisation,
            clemscore=row.clemscore - base.clemscore,
            supported=_supported_apart(base, row),
            points=points,
            se=se,
        )


def _common(a: ScoreRow, b: ScoreRow) -> list[tuple[GameAverages, GameAverages]]:
    of_a = {game.game: game for game in a.games}
    return [(of_a[game.game], game) for game in b.games if game.game in of_a]


def _supported_apart(a: ScoreRow, b: ScoreRow) -> float | None:
    """Returns the difference of clemscores with qualities averaged over the games that both could play; None
    without counts or such a game."""
    games = _common(a, b)
    support = [(x, y) for x, y in games if _supports(x) and _supports(y)]
    if not support or any(game.episodes is None for pair in games for game in pair):
        return None
    score = []
    for side in (0, 1):
        played = sum(pair[side].played for pair in games) / len(games)
        score.append(played / 100 * sum(pair[side].quality or 0.0 for pair in support) / len(support))
    return score[1] - score[0]


def _supports(game: GameAverages) -> bool:
    played = _played(game)
    return played is not None and played >= max(SUPPORT_EPISODES, SUPPORT_SHARE * (game.episodes or 0))


def _played(game: GameAverages) -> int | None:
    return None if game.episodes is None else round(game.played / 100 * game.episodes)


def _points_apart(a: ScoreRow, b: ScoreRow) -> tuple[float | None, float | None]:
    """Returns the macro difference of points and its standard error for independent runs."""
    games = _common(a, b)
    if not games:
        return None, None
    difference = sum(_earned(y) - _earned(x) for x, y in games) / len(games)
    variances = [_error_squared(game) for pair in games for game in pair]
    known = [value for value in variances if value is not None]
    return difference, sqrt(sum(known)) / len(games) if len(known) == len(variances) else None


def _earned(game: GameAverages) -> float:
    return game.played / 100 * (game.quality or 0.0)


def _error_squared(game: GameAverages) -> float | None:
    """Returns the variance of the mean of points over items; None where neither items nor episodes are known.

    Without the error itself, repeats count as copies of their item where the number of items is known."""
    if game.se is not None:
        return game.se**2
    n = game.items or game.episodes
    if n is None or n < 2:
        return None
    played = round(game.played / 100 * n)
    if played == 0:
        return 0.0
    quality, std = game.quality or 0.0, game.std or 0.0
    square = max(played - 1, 0) * std**2 + played * quality**2
    return max(0.0, (square - n * (played / n * quality) ** 2) / (n - 1)) / n

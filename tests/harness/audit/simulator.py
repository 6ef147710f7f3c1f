"""Scores with a known truth: seven games, items of unequal difficulty, methods with known defects.

A model of data, not data. A method's episode keeps the form, and then plays so well, as two logits say: the
game's, the item's, the method's defect. At temperature 0 a repeat takes the item's common draw of chance nine
times in ten, through every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.audit.scores.arrays import ABORTED, LOST, SUCCESS, FloatArray, GameScores, ScoreArray

GAMES = (
    "imagegame",
    "privateshared",
    "referencegame",
    "taboo",
    "wordle",
    "wordle_withclue",
    "wordle_withcritic",
)
ITEMS = (40, 50, 180, 60, 30, 30, 30)
FORM_SD, QUALITY_SD, CORRELATION = 1.5, 1.8, 0.3
COMMON_DRAW = 0.9
LEVELS = {
    "binary": np.array([0.0, 100.0]),
    "taboo": np.array([0.0, 100 / 3, 50.0, 100.0]),
    "wordle": np.array([0.0, 20.0, 30.0, 50.0, 100.0]),
    "graded": np.linspace(0.0, 100.0, 26),
}
SCALES = ("graded", "graded", "binary", "taboo", "wordle", "wordle", "wordle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model: each game's share played and how good its play is, as a logit."""

    played: tuple[float, ...]
    quality: tuple[float, ...]


PROFILES = {
    "strong": Profile(
        played=(0.0, 1.0, 1.0, 0.967, 0.833, 0.933, 0.93), quality=(0.0, 1.6, 0.7, 1.4, -4.0, -2.0, -1.4)
    ),
    "mid": Profile(
        played=(0.25, 0.59, 1.0, 0.9, 0.8, 0.85, 0.75), quality=(-1.0, -0.5, 0.0, 0.3, -4.5, -2.5, -2.0)
    ),
    "weak": Profile(
        played=(0.01, 0.05, 0.6, 0.81, 0.5, 0.3, 0.2), quality=(-2.0, -2.0, -0.7, -2.0, -6.0, -4.0, -3.5)
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """The defect of a method; by default none.

    quality, form  logit shifts, per game name or in every game under "all"
    aborted        share of episodes newly aborted; dead: games never playable
    run_sd         sd of a logit shift of quality drawn anew for each repeat"""

    quality: dict[str, float] = field(default_factory=dict)
    form: dict[str, float] = field(default_factory=dict)
    aborted: float = 0.0
    dead: tuple[str, ...] = ()
    run_sd: float = 0.0


CLEAN = Defect()
MILD_QUANTISATION = Defect(quality={"all": -0.25})
QUANTISATION = Defect(quality={"all": -0.5})
NEW_ABORTS = Defect(aborted=0.05)
ONE_GAME = Defect(quality={"referencegame": -1.2})
DEAD_GAME = Defect(dead=("taboo",))


def simulate(
    profile: str,
    defects: Sequence[Defect],
    rng: np.random.Generator,
    *,
    repeats: int,
    greedy: bool,
    items: Sequence[int] = ITEMS,
) -> ScoreArray:
    """One audit's scores, a method a defect, named m0, m1, ...; each repeat a batch of its own.

    greedy  temperature 0: chance is mostly common to all plays of an item"""
    model = PROFILES[profile]
    runs = np.stack([rng.normal(0, defect.run_sd, repeats) for defect in defects])
    games = tuple(
        _game(name, n, share, quality, scale, defects, runs, rng, greedy)
        for name, n, share, quality, scale in zip(
            GAMES, items, model.played, model.quality, SCALES, strict=True
        )
    )
    return from_games(games, repeats)


def from_games(games: Sequence[GameScores], repeats: int, calls: float = 4.0) -> ScoreArray:
    """A score array of methods m0, m1, ... whose repeats are batches apart."""
    methods = tuple(f"m{index}" for index in range(len(games[0].outcome)))
    unknown = np.full(len(methods), np.nan)
    return ScoreArray(
        methods=methods,
        games=tuple(games),
        batches=tuple(range(repeats)),
        calls_per_episode=np.full(len(methods), calls),
        cost_per_episode_usd=unknown,
    )


def game_of(game: str, score: npt.ArrayLike) -> GameScores:
    """A game from its scores alone, (methods, items, repeats): NaN is aborted, 100 success."""
    values = np.asarray(score, dtype=np.float64)
    outcome = np.where(np.isnan(values), ABORTED, np.where(values == 100, SUCCESS, LOST)).astype(np.int8)
    return GameScores(
        game=game, items=tuple(f"{game}:{i}" for i in range(values.shape[1])), outcome=outcome, score=values
    )


def _game(
    name: str,
    items: int,
    share: float,
    quality: float,
    scale: str,
    defects: Sequence[Defect],
    runs: FloatArray,
    rng: np.random.Generator,
    greedy: bool,
) -> GameScores:
    shape = (len(defects), items, runs.shape[1])
    common = rng.normal(size=(2, items))
    of_form = FORM_SD * common[0]
    of_quality = QUALITY_SD * (CORRELATION * common[0] + np.sqrt(1 - CORRELATION**2) * common[1])
    form_shift = np.array([defect.form.get(name, defect.form.get("all", 0.0)) for defect in defects])
    quality_shift = np.array([defect.quality.get(name, defect.quality.get("all", 0.0)) for defect in defects])

    keeps = _chance(shape, rng, greedy) < _logistic(
        _marginal_logit(share) + of_form[:, None] + form_shift[:, None, None]
    )
    keeps &= rng.random(shape) >= np.array([defect.aborted for defect in defects])[:, None, None]
    keeps &= ~np.array([name in defect.dead for defect in defects])[:, None, None]
    if share == 0:
        keeps[:] = False
    latent = quality + of_quality[:, None] + quality_shift[:, None, None] + runs[:, None, :]
    draw = np.clip(_chance(shape, rng, greedy), 1e-12, 1 - 1e-12)
    levels = LEVELS[scale]
    reached = np.floor(_logistic(latent + np.log(draw / (1 - draw))) * len(levels)).astype(np.int64)
    score = levels[np.minimum(reached, len(levels) - 1)]
    return game_of(name, np.where(keeps, score, np.nan))


def _chance(shape: tuple[int, ...], rng: np.random.Generator, greedy: bool) -> FloatArray:
    fresh = rng.random(shape)
    if not greedy:
        return fresh
    common = rng.random((1, shape[1], 1))
    return np.where(rng.random(shape) < COMMON_DRAW, common, fresh)


def _logistic(x: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _marginal_logit(share: float) -> float:
    """The logit whose mean over item effects is about this share (probit approximation of the
    logistic-normal)."""
    if share in (0.0, 1.0):
        return 12.0 * (2 * share - 1)
    return float(np.log(share / (1 - share)) * np.sqrt(1 + 0.346 * FORM_SD**2))

"""Clemscore: as published, and on a support that two methods have in common.

Knows the published rule and its two weaknesses: it rounds before it averages, and a game without a played
episode leaves the average of qualities, so that a single played episode brings it back with full weight.
Keeps: both figures, never one alone. Does not promise: that a difference of clemscores is small when the
difference of scores is; test the latter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import (
    ABORTED,
    FAILED,
    UNSCORED,
    BoolArray,
    FloatArray,
    GameScores,
    ScoreArray,
)
from harness.audit.scores.contrasts import PairedGame
from harness.audit.scores.intervals import POINTS_MAX, mean_interval, share_interval, strata, total

# With fewer played episodes, or a smaller share of them, the mean quality of a game rests on a few lucky
# items.
SUPPORT_EPISODES = 5
SUPPORT_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Clemscore:
    """The published figure; None where the rule leaves nothing to average.

    played   mean over games of the percentage played
    quality  mean over games with a played episode of the mean main score"""

    value: float | None
    played: float | None
    quality: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GameFigures:
    """One game through one method as the published tables print it, with 1 - alpha intervals over items.

    episodes  with a score, aborted included; 0 leaves the game out of clemscore; None, like the next two,
              where only averages are known
    aborted   among these; unscored: finished without a score, not among these
    played    percent, quality in [0, 100]: rounded; quality None when nothing was played
    std       sample standard deviation of the main score over played episodes, None below two
    items     with a scored episode
    points_se  standard error of the mean points over items, None below two"""

    game: str
    episodes: int | None = 0
    aborted: int | None = 0
    unscored: int | None = 0
    played: float | None = None
    played_low: float | None = None
    played_high: float | None = None
    quality: float | None = None
    quality_low: float | None = None
    quality_high: float | None = None
    std: float | None = None
    items: int | None = None
    points_se: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFigures:
    """One method's scores.

    episodes   finished, aborted and unscored included; None, like the other counts, where only averages are
               known
    low, high  1 - alpha interval of the published clemscore, for the games it was averaged over
    supported  clemscore over the games every compared method could play, not rounded"""

    method: str
    episodes: int | None
    aborted: int | None
    unscored: int | None
    failed: int | None
    clemscore: Clemscore
    low: float | None
    high: float | None
    supported: float | None
    games: tuple[GameFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClemscoreDifference:
    """Method minus reference in clemscore points: as published, and on common support with its 1 - alpha
    interval."""

    published: float | None
    supported: float | None
    low: float | None
    high: float | None


def round2(x: FloatArray) -> FloatArray:
    """Rounds to two decimals, ties to even on the product with 100: as numpy and pandas do, unlike Python."""
    return np.rint(100 * x) / 100


def _rounded(x: float) -> float:
    return float(round2(np.array(float(x))))


def clemscore(played: FloatArray, quality: FloatArray) -> Clemscore:
    """Returns clemscore from each game's percentage played and mean main score, both unrounded or already
    rounded.

    played   (games,), NaN for a game without scored episodes: it is skipped
    quality  (games,), NaN for a game without played episodes: it is skipped in the second average only
    source   clembench v1.6 evaluation; identical in clemcore 3.7.2"""
    counted = np.isfinite(played)
    good = counted & np.isfinite(quality)
    if not counted.any():
        return Clemscore(value=None, played=None, quality=None)
    mean_played = _rounded(round2(played[counted]).mean())
    if not good.any():
        return Clemscore(value=None, played=mean_played, quality=None)
    mean_quality = _rounded(round2(quality[good]).mean())
    value = _rounded(mean_played / 100 * mean_quality)
    return Clemscore(value=value, played=mean_played, quality=mean_quality)


def method_figures(scores: ScoreArray, method: str, support: BoolArray, alpha: float) -> MethodFigures:
    """Returns a method's table row: each game, clemscore as published with its interval, clemscore on common
    support.

    support  the games of the common support, (games,)
    alpha    the intervals have level 1 - alpha
    source   percentage played: Wilson at the effective sample size; quality: the same with Student's
             quantile, for the ratio estimator linearised over items; clemscore: both intervals of all games,
             combined. Items are the sampling units, repeats are not."""
    m = scores.index(method)
    sums = [_item_sums(game, m) for game in scores.games]
    games = tuple(
        _game_figures(game, m, item_sums, alpha) for game, item_sums in zip(scores.games, sums, strict=True)
    )
    published = clemscore(*_figures(games))
    shares = [(played / tries, points / tries) for tries, played, points in sums]
    present = [(p, q) for p, q in shares if len(p)]
    low, high = _clemscore_interval(published, games, [len(tries) for tries, _, _ in sums], alpha)
    own = support & np.array([len(p) > 0 for p, _ in shares])
    return MethodFigures(
        method=method,
        episodes=sum(int(game.finished[m].sum()) for game in scores.games),
        aborted=_count(scores, m, ABORTED),
        unscored=_count(scores, m, UNSCORED),
        failed=_count(scores, m, FAILED),
        clemscore=published,
        low=low,
        high=high,
        supported=_influence(present, own[[len(p) > 0 for p, _ in shares]])[0] if own.any() else None,
        games=games,
    )


def _clemscore_interval(
    published: Clemscore, games: Sequence[GameFigures], items: Sequence[int], alpha: float
) -> tuple[float | None, float | None]:
    """Returns the 1 - alpha interval of a clemscore from those of its games; None where there is no
    clemscore.

    Around an average, and around the product of both averages, the distances of the bounds add in squares. So
    a game in which all plays ended alike widens the interval on its open side, where the observed variance
    alone gives no width.

    items    of each game, with a scored episode
    source   averages: MOVER, Zou & Donner (2008), Statist. Med. 27; the product: the delta method with the
             same distances. The products of the bounds themselves would cover more than 97 % and be a third
             wider"""
    if published.value is None or published.played is None or published.quality is None:
        return None, None
    shares = [
        (game.played, *_share_bounds(game, n, alpha))
        for game, n in zip(games, items, strict=True)
        if game.played is not None
    ]
    qualities = [
        (game.quality, game.quality_low or 0.0, game.quality_high or 0.0)
        for game in games
        if game.quality is not None
    ]
    down_played, up_played = _distances(shares)
    down_quality, up_quality = _distances(qualities)
    played, quality = published.played / 100, published.quality
    down = np.hypot(quality * down_played / 100, played * down_quality)
    up = np.hypot(quality * up_played / 100, played * up_quality)
    return max(0.0, published.value - float(down)), min(POINTS_MAX, published.value + float(up))


def _share_bounds(game: GameFigures, items: int, alpha: float) -> tuple[float, float]:
    """Returns the bounds of a game's percentage played; one-sided and exact where all or no plays were
    played."""
    hidden = POINTS_MAX * (1 - alpha ** (1 / items))
    if game.aborted == 0:
        return POINTS_MAX - hidden, POINTS_MAX
    if game.aborted == game.episodes:
        return 0.0, hidden
    return game.played_low or 0.0, game.played_high or 0.0


def _distances(games: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Returns how far the bounds of an average lie below and above it, from (value, low, high) of its
    terms."""
    values = np.array(games)
    return (
        float(np.sqrt(((values[:, 0] - values[:, 1]) ** 2).sum())) / len(values),
        float(np.sqrt(((values[:, 2] - values[:, 0]) ** 2).sum())) / len(values),
    )


def _count(scores: ScoreArray, m: int, code: int) -> int:
    return sum(int((game.outcome[m] == code).sum()) for game in scores.games)


def summary_figures(method: str, games: Sequence[GameFigures]) -> MethodFigures:
    """Returns a method's table row where only the averages of games are known: without intervals and common
    support."""
    return MethodFigures(
        method=method,
        episodes=None,
        aborted=None,
        unscored=None,
        failed=None,
        clemscore=clemscore(*_figures(games)),
        low=None,
        high=None,
        supported=None,
        games=tuple(games),
    )


def no_figures(method: str) -> MethodFigures:
    """Returns the table row of a method of which no episode counts yet."""
    return MethodFigures(
        method=method,
        episodes=0,
        aborted=0,
        unscored=0,
        failed=0,
        clemscore=Clemscore(value=None, played=None, quality=None),
        low=None,
        high=None,
        supported=None,
        games=(),
    )


def _item_sums(game: GameScores, m: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Returns scored episodes, played episodes and the sum of their scores, each (items with a scored
    episode,)."""
    scored = game.scored[m]
    tries = scored.sum(axis=1).astype(np.float64)
    played = (scored & (game.outcome[m] != ABORTED)).sum(axis=1).astype(np.float64)
    points = np.nan_to_num(np.where(scored, game.score[m], 0.0)).sum(axis=1)
    kept = tries > 0
    return tries[kept], played[kept], points[kept]


def _game_figures(
    game: GameScores, m: int, sums: tuple[FloatArray, FloatArray, FloatArray], alpha: float
) -> GameFigures:
    tries, played, points = sums
    unscored = int((game.outcome[m] == UNSCORED).sum())
    if not len(tries):
        return GameFigures(game=game.game, unscored=unscored)
    share = played.sum() / tries.sum()
    low, high = share_interval(played, tries, alpha)
    quality = std = None
    quality_low = quality_high = None
    if played.sum() > 0:
        mean = float(points.sum() / played.sum())
        reached = played > 0
        influence = (points - mean * played)[reached] / (played[reached].mean())
        quality_low, quality_high = mean_interval(mean, influence, alpha)
        quality = _rounded(mean)
        values = game.score[m][np.isfinite(game.score[m])]
        std = _rounded(values.std(ddof=1)) if len(values) > 1 else None
    return GameFigures(
        game=game.game,
        episodes=int(tries.sum()),
        aborted=int((game.outcome[m] == ABORTED).sum()),
        unscored=unscored,
        played=_rounded(100 * share),
        played_low=100 * low,
        played_high=100 * high,
        quality=quality,
        quality_low=quality_low,
        quality_high=quality_high,
        std=std,
        items=len(tries),
        points_se=float((points / tries).std(ddof=1) / len(tries) ** 0.5) if len(tries) > 1 else None,
    )


def _figures(games: Sequence[GameFigures]) -> tuple[FloatArray, FloatArray]:
    played = np.array([np.nan if game.played is None else game.played for game in games])
    quality = np.array([np.nan if game.quality is None else game.quality for game in games])
    return played, quality


def common_support(scores: ScoreArray, methods: Sequence[str]) -> BoolArray:
    """Returns the games in which each of these methods played at least five episodes and 5 % of its scored
    ones, (games,)."""
    index = [scores.index(method) for method in methods]
    support = np.ones(len(scores.games), dtype=np.bool_)
    for place, game in enumerate(scores.games):
        scored = game.scored[index]
        played = (scored & (game.outcome[index] != ABORTED)).sum(axis=(1, 2))
        enough = np.maximum(SUPPORT_EPISODES, SUPPORT_SHARE * scored.sum(axis=(1, 2)))
        support[place] = bool((played >= enough).all())
    return support


def supported_difference(
    games: Sequence[PairedGame], contrast: int, support: BoolArray, alpha: float
) -> tuple[float, float, float] | None:
    """Returns the difference of clemscores over the supported games with its interval, or None without a
    common item.

    contrast  its row in the games' arrays
    support   the games of the common support, (games,)

    source    influence values of the product of averages, then the stratified t; a game whose items are all
              alike adds in squares how far it may still move the difference, as in `_clemscore_interval`"""
    pairs_a, pairs_b, kept = [], [], []
    for game, supported in zip(games, support, strict=True):
        shared = game.shared[contrast]
        if shared.any():
            pairs_a.append((game.played_a[contrast, shared], game.points_a[contrast, shared]))
            pairs_b.append((game.played_b[contrast, shared], game.points_b[contrast, shared]))
            kept.append(supported and game.played_a[contrast].any() and game.played_b[contrast].any())
    if not any(kept):
        return None
    value_a, influence_a = _influence(pairs_a, np.array(kept))
    value_b, influence_b = _influence(pairs_b, np.array(kept))
    influence = [b - a for a, b in zip(influence_a, influence_b, strict=True)]
    hidden = _hidden(influence, pairs_a + pairs_b, np.array(kept), alpha)
    reach = float(np.hypot(_reach(influence, alpha), hidden))
    difference = value_b - value_a
    return difference, max(-POINTS_MAX, difference - reach), min(POINTS_MAX, difference + reach)


def _influence(
    games: Sequence[tuple[FloatArray, FloatArray]], support: BoolArray
) -> tuple[float, list[FloatArray]]:
    """Returns clemscore over the supported games, and each item's influence on it, by game.

    games    for each game (share of repeats played in [0, 1], mean points), each (items,)
    support  which of them count, at least one"""
    played = np.array([p.mean() for p, _ in games])
    points = np.array([q.mean() for _, q in games])
    quality = np.divide(points, played, out=np.zeros(len(games)), where=support)
    mean_played, mean_quality, supported = played.mean(), quality.sum() / support.sum(), support.sum()
    influence = []
    for (p, q), p_mean, q_mean, inside in zip(games, played, quality, support, strict=True):
        value = mean_quality * (p - p_mean) / len(games)
        if inside:
            value = value + mean_played * (q - q_mean * p) / (p_mean * supported)
        influence.append(value)
    return float(mean_played * mean_quality), influence


def _hidden(
    influence: Sequence[FloatArray],
    games: Sequence[tuple[FloatArray, FloatArray]],
    support: BoolArray,
    alpha: float,
) -> float:
    """Returns how far the games in which every item has the same influence may still move clemscore.

    games    of both methods, as in `_influence`: their largest averages bound the effect of an item"""
    played = max(float(p.mean()) for p, _ in games)
    quality = max(float(q.sum() / p.sum()) if p.any() else 0.0 for p, q in games)
    squares = 0.0
    for values, inside in zip(influence, support.tolist(), strict=True):
        if np.ptp(values) <= 1e-9:
            share = 1 - alpha ** (1 / len(values))
            by_format = share * quality / len(influence)
            by_play = share * POINTS_MAX * played / support.sum() if inside else 0.0
            squares += by_format**2 + by_play**2
    return float(np.sqrt(squares))


def _reach(influence: Sequence[FloatArray], alpha: float) -> float:
    """Returns half the width of Student's interval for a sum of per-game means of these values."""
    scaled = [(value * len(influence))[None] for value in influence]
    whole = total(strata(scaled, [np.ones(value.shape, dtype=np.bool_) for value in scaled]))
    return float(stats.t.ppf(1 - alpha / 2, whole.df[0]) * whole.se[0])

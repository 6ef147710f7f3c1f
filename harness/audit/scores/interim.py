"""May a running sweep stop? Four looks at growing shares of the items, and a tripwire between them.

Knows one contrast's episodes so far; nothing of sweeps or clocks. Keeps: however often it is asked, the chance that one and the same
model is ever called different stays below alpha, a tenth of which is the tripwire's; a false "equivalent" likewise.
Does not promise: fixed-sample intervals; after a stop the repeated interval of the looks is the honest one, and it is wider."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import exp, log, pi, sqrt
from typing import Literal

import numpy as np
from scipy import optimize, stats

from harness.audit.scores.arrays import FloatArray, GameScores, ScoreArray
from harness.audit.scores.contrasts import ENDPOINTS, pair
from harness.audit.scores.evidence import AuditRules
from harness.audit.scores.findings import Audit, Comparison
from harness.audit.scores.intervals import Strata, equivalence_interval, equivalence_p, strata, total
from harness.audit.scores.sign_flips import DRAWS, sign_flip_test
from harness.audit.verdicts import Verdict, decide, label
from harness.core.records import LookRecord

TRIPWIRE_SHARE = 0.1  # of alpha
DRAWS_MAX = 49_999  # the first look's level is 3 in 100,000: below it there is the tripwire
DIFFERENCE_SD = (
    25.0  # points: an item's typical difference between two plays of one model; only tunes the tripwire
)
EQUIVALENCE_SHARE = (
    1 / 3
)  # before it, rare losses may not have shown at all: no tail of a t is right so far out
GRID = 241  # nodes of the recursive integration: constants are right to four digits


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaSpending:
    """What each look may spend, for one method.

    shares       of the items that are played at each look, rising to 1
    difference   levels of the joint test; they add up to alpha less the tripwire's share, so no assumption is needed
    equivalence  one-sided levels of both tests against the margin; 0 before a third of the items
    repeated     two-sided levels of the repeated intervals: all of them hold the truth with 1 - alpha
    tripwire     1 / this is the value at which the e-process stops"""

    shares: tuple[float, ...]
    difference: tuple[float, ...]
    equivalence: tuple[float, ...]
    repeated: tuple[float, ...]
    tripwire: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimResult:
    """One look at one method against the reference; differences in points.

    kind            "look", or "tripwire" where the e-process stopped the play before the look
    look            its number, from 1; for the tripwire of the look it forestalled
    share           of the items that are played
    low, high       repeated 1 - alpha interval; equivalence_*: the repeated interval of the equivalence claim
    p_difference, p_equivalence  as they are; level_* what they must not exceed at this look, after Holm
    e_value         of the tripwire so far, its highest; e_stop: what it must reach
    verdict         INCONCLUSIVE: go on, or after the last look, stay so"""

    kind: Literal["look", "tripwire"]
    look: int
    looks: int
    share: float
    items: int
    difference: float
    se: float
    low: float
    high: float
    equivalence_low: float
    equivalence_high: float
    p_difference: float
    level_difference: float
    p_equivalence: float
    level_equivalence: float
    e_value: float
    e_stop: float
    verdict: Verdict

    @property
    def settled(self) -> bool:
        return self.verdict != "INCONCLUSIVE"

    @property
    def last(self) -> bool:
        return self.settled or self.look == self.looks


@cache
def spending(shares: tuple[float, ...], alpha: float) -> AlphaSpending:
    """How alpha is spent over looks at these shares of the items: little at first, nearly all of it at the end.

    source  O'Brien & Fleming (1979), Biometrics 35; levels by the recursion of Armitage, McPherson & Rowe (1969)"""
    time = np.array(shares, dtype=np.float64)
    early = int((time < EQUIVALENCE_SHARE).sum())
    late = 2 * stats.norm.sf(_constant(time, (1 - TRIPWIRE_SHARE) * alpha, two_sided=True) / np.sqrt(time))
    return AlphaSpending(
        shares=tuple(time.tolist()),
        difference=tuple(((1 - TRIPWIRE_SHARE) * alpha * late / late.sum()).tolist()),
        equivalence=(
            *[0.0] * early,
            *stats.norm.sf(_constant(time[early:], alpha, two_sided=False) / np.sqrt(time[early:])).tolist(),
        ),
        repeated=tuple((2 * stats.norm.sf(_constant(time, alpha, two_sided=True) / np.sqrt(time))).tolist()),
        tripwire=TRIPWIRE_SHARE * alpha,
    )


def _constant(time: FloatArray, alpha: float, *, two_sided: bool) -> float:
    """The c for which a Brownian path passes c (or +-c) at one of these times with probability alpha."""
    return float(optimize.brentq(lambda c: _crossing(time, c, two_sided) - alpha, 0.1, 6.0, xtol=1e-6))


def _crossing(time: FloatArray, c: float, two_sided: bool) -> float:
    node = np.linspace(-c if two_sided else -8.0, c, GRID)
    weight = np.full(GRID, node[1] - node[0])
    weight[[0, -1]] /= 2
    inside = np.array([1.0])
    came_from = np.array([0.0])
    crossed = 0.0
    for step in np.diff(time, prepend=0.0):
        sd = sqrt(step)
        crossed += float((inside * stats.norm.sf((c - came_from) / sd)).sum())
        if two_sided:
            crossed += float((inside * stats.norm.cdf((-c - came_from) / sd)).sum())
        inside = weight * (
            np.exp(-(((node[:, None] - came_from) / sd) ** 2) / 2) / (sd * sqrt(2 * pi)) @ inside
        )
        came_from = node
    return crossed


def interim_analysis(
    scores: ScoreArray,
    reference: str,
    method: str,
    *,
    number: int,
    spent: AlphaSpending,
    rules: AuditRules,
    open_difference: int,
    open_equivalence: int,
    e_value: float,
    draws: int | None = None,
) -> InterimResult:
    """One look at the items that both methods have played to the end.

    scores            of these items only, both methods
    number            of the look, from 1
    draws             of the joint test; None: as many as the level asks for
    open_difference   methods not yet called different, this one included: Holm's divisor; open_equivalence likewise
    raises            AuditError if the methods have no finished item in common
    source            several hypotheses over several looks: Maurer & Bretz (2013), Statist. Biopharm. Res. 5"""
    alpha = rules.alpha
    level_difference = spent.difference[number - 1] / open_difference
    level_equivalence = spent.equivalence[number - 1] / open_equivalence
    games = pair(scores, reference, (method,))
    shared = [game.shared for game in games]
    differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
    enough = draws or min(DRAWS_MAX, max(DRAWS, round(2 / level_difference)))
    flips = sign_flip_test(differences, shared, [game.game for game in games], rules.seed, enough)
    points, played = (strata(values, shared) for values in differences)
    p_equivalence = max(
        float(equivalence_p(points, rules.margin)[0]), float(equivalence_p(played, rules.margin_played)[0])
    )
    beyond = (flips.adjusted[0, 0, 1:] <= level_difference) & (np.abs(points.mean[0]) > rules.margin_game)
    p_difference = float(flips.joint[0])
    found = _measured(points, spent, number, level_equivalence)
    return replace(
        found,
        p_difference=p_difference,
        level_difference=level_difference,
        p_equivalence=p_equivalence,
        e_value=e_value,
        e_stop=open_difference / spent.tripwire,
        verdict=decide(
            p_difference=p_difference * alpha / level_difference,
            p_equivalence=p_equivalence * alpha / level_equivalence if level_equivalence > 0 else 1.0,
            alpha=alpha,
            game_beyond=bool(beyond.any()),
        ),
    )


def sequential_alarm(
    scores: ScoreArray,
    reference: str,
    method: str,
    *,
    number: int,
    spent: AlphaSpending,
    share: float,
    e_value: float,
    open_difference: int,
) -> InterimResult:
    """The tripwire's finding: different, whatever the next look would say.

    scores  of the items' first plays
    share   of the items that were played once"""
    games = pair(scores, reference, (method,))
    points = strata([game.difference("points") for game in games], [game.shared for game in games])
    level = 2 * float(stats.norm.sf(_z(spent.repeated[-1]) / sqrt(share)))
    early = replace(spent, repeated=(level,) * len(spent.shares), shares=(share,) * len(spent.shares))
    found = _measured(points, early, number, spent.equivalence[0])
    return replace(
        found, kind="tripwire", e_value=e_value, e_stop=open_difference / spent.tripwire, verdict="DIFFERENT"
    )


def _z(two_sided: float) -> float:
    return float(stats.norm.isf(two_sided / 2))


def _measured(points: Strata, spent: AlphaSpending, number: int, level_equivalence: float) -> InterimResult:
    """Estimate and intervals; what tests say is filled in by who made them."""
    whole = total(points)
    tail = spent.repeated[number - 1] / 2
    reach = float(stats.t.isf(tail, whole.df[0]) * whole.se[0])
    low, high = float(whole.estimate[0]) - reach, float(whole.estimate[0]) + reach
    if whole.se[0] == 0:
        low, high = (float(bound[0]) for bound in equivalence_interval(points, tail))
    equivalence_low, equivalence_high = -100.0, 100.0
    if level_equivalence > 0:
        equivalence_low, equivalence_high = (
            float(bound[0]) for bound in equivalence_interval(points, level_equivalence)
        )
    return InterimResult(
        kind="look",
        look=number,
        looks=len(spent.shares),
        share=spent.shares[number - 1],
        items=int(points.n.sum()),
        difference=float(whole.estimate[0]),
        se=float(whole.se[0]),
        low=max(-100.0, low),
        high=min(100.0, high),
        equivalence_low=max(-100.0, equivalence_low),
        equivalence_high=min(100.0, equivalence_high),
        p_difference=1.0,
        level_difference=0.0,
        p_equivalence=1.0,
        level_equivalence=level_equivalence,
        e_value=1.0,
        e_stop=1 / spent.tripwire,
        verdict="INCONCLUSIVE",
    )


def sentence(look: InterimResult, *, method: str, reference: str, margin: float) -> str:
    """What a look says."""
    when = f"at look {look.look} of {look.looks}, {100 * look.share:.0f} % of the items"
    span = f"[{look.low:+.1f}, {look.high:+.1f}]"
    if look.kind == "tripwire":
        return (
            f"{method} differs from {reference}: {look.difference:+.1f} points {span} after the first plays of {look.items} items; "
            f"evidence {look.e_value:,.0f} to 1, {look.e_stop:,.0f} were needed."
        )
    if look.verdict == "DIFFERENT":
        return (
            f"{method} differs from {reference}: {look.difference:+.1f} points {span} {when} "
            f"(p {look.p_difference:.2g}, {look.level_difference:.2g} was allowed)."
        )
    if look.verdict == "EQUIVALENT":
        open_span = f"[{look.equivalence_low:+.1f}, {look.equivalence_high:+.1f}]"
        return f"{method} is equivalent to {reference} within {margin:g} points: {look.difference:+.1f} {open_span} {when}."
    return (
        f"{method} may lie anywhere from {look.low:+.1f} to {look.high:+.1f} points off {reference} {when}."
    )


def after_looks(found: Audit, taken: Sequence[LookRecord]) -> Audit:
    """The audit of a sweep that may stop early: its verdicts are those of its looks, with their intervals.

    taken  in order; what failed episodes may hide still speaks first"""
    last = {row.method: row for row in taken if row.reference == found.reference}
    return replace(
        found, comparisons=tuple(_as_seen(found, one, last.get(one.method)) for one in found.comparisons)
    )


def _as_seen(found: Audit, comparison: Comparison, row: LookRecord | None) -> Comparison:
    if comparison.missing is not None and comparison.verdict == "INCONCLUSIVE":
        return comparison
    if row is None:
        waiting = f"{comparison.method} has not been looked at yet: a quarter of the items has to be played through both ways first."
        return replace(comparison, verdict="INCONCLUSIVE", label="INCONCLUSIVE", sentence=waiting, plan=None)
    look = InterimResult(**{name: getattr(row, name) for name in InterimResult.__slots__})
    of_method = comparison.p_batches is not None and (
        look.verdict != "DIFFERENT" or comparison.p_batches <= found.alpha
    )
    said = sentence(look, method=comparison.method, reference=found.reference, margin=found.margin)
    more = (
        " Its play is not over."
        if not look.last
        else ""
        if of_method or not look.settled
        else " Scope: these runs."
    )
    shown = {
        name: getattr(look, name)
        for name in ("difference", "se", "low", "high", "equivalence_low", "equivalence_high")
    }
    return replace(
        comparison,
        points=replace(comparison.points, **shown),
        p_difference=look.p_difference,
        verdict=look.verdict,
        label=label(look.verdict, margin=found.margin, low=look.low, high=look.high, missing_data=False),
        scope="the access method" if of_method else "these runs",
        sentence=said + more,
        plan=comparison.plan if look.last and not look.settled else None,
    )


class SequentialMonitor:
    """An e-process against "labels do not matter": it may be read after every item, and rarely rises if they do not.

    Each item adds the weighted difference of its first plays, in the order of the plan: an order that no outcome can change.
    Under the flip null it is a supermartingale from 1, so it ever reaches 1 / level with probability at most the level, whatever the tails.

    items   of each game in the plan
    source  cosh y <= exp(y^2 / 2), mixed over a normal: Robbins (1970), Ann. Math. Statist. 41; Howard et al. (2020), Probab. Surv. 17"""

    def __init__(self, items: Sequence[int]) -> None:
        games = sum(count > 0 for count in items)
        self._weights = [sum(items) / (games * count) if count else 0.0 for count in items]
        planned = sum(
            count * (weight * DIFFERENCE_SD) ** 2 for count, weight in zip(items, self._weights, strict=True)
        )
        self._rate = 6 / planned
        self._sum = 0.0
        self._square = 0.0
        self.highest = 1.0

    def add(self, game: int, difference: float) -> None:
        """The next item of this game: the method's points less the reference's."""
        x = self._weights[game] * difference
        self._sum += x
        self._square += x * x
        self.highest = max(self.highest, self.value)

    @property
    def value(self) -> float:
        """The evidence now; `highest` is what counts."""
        spread = 1 + self._rate * self._square
        return exp(min(700.0, self._rate * self._sum**2 / (2 * spread) - log(spread) / 2))


def first_items(scores: ScoreArray, blocks: Sequence[Iterable[str]], number: int) -> ScoreArray:
    """The episodes of the items of the first looks only."""
    wanted = {item for block in blocks[:number] for item in block}
    games = []
    for game in scores.games:
        kept = np.array([item in wanted for item in game.items], dtype=np.bool_)
        if kept.any():
            items = tuple(item for item, inside in zip(game.items, kept.tolist(), strict=True) if inside)
            games.append(
                GameScores(
                    game=game.game, items=items, outcome=game.outcome[:, kept], score=game.score[:, kept]
                )
            )
    return replace(scores, games=tuple(games))

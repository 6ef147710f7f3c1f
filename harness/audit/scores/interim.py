"""Interim analyses of a sweep that is being played: four at growing shares of the items, and a sequential
monitor between them.

Knows one contrast's episodes so far; nothing of sweeps or clocks. Keeps: over all analyses together, one and
the same model is called different with a probability below alpha, a tenth of which is spent on the monitor; a
false "equivalent" likewise. Does not promise: fixed-sample intervals; after a stop the repeated interval is
the valid one, and it is wider.

Stored texts keep the words of the first version: an analysis is a "look", the monitor's alarm a
"tripwire"."""

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
from harness.audit.scores.findings import Audit, Comparison, SetAside
from harness.audit.scores.intervals import Strata, equivalence_interval, equivalence_p, strata, total
from harness.audit.scores.sign_flips import DRAWS, DRAWS_MAX, sign_flip_test
from harness.audit.scores.verdict_sentences import RUNS_ONLY
from harness.audit.verdicts import Verdict, decide, format_p, label
from harness.core.records import LookRecord

TRIPWIRE_SHARE = 0.1  # of alpha: the monitor finds gross defects only, which need little of it
# Points: an item's typical difference between two plays of one model, as the simulator has it; it tunes the
# power of the monitor, not its error.
DIFFERENCE_SD = 25.0
# No EQUIVALENT before this share of the items: rare losses may not have occurred yet, and the far tail of a t
# is not exact.
EQUIVALENCE_SHARE = 1 / 3
GRID = 241  # nodes of the recursive integration: constants are correct to four digits


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaSpending:
    """The levels of each analysis, for one method.

    shares       of the items that are played at each analysis, rising to 1
    difference   levels of the joint test; they add up to alpha minus the monitor's share, so no assumption is
                 needed
    equivalence  one-sided levels of both tests against the margin; 0 before a third of the items
    repeated     two-sided levels of the repeated intervals: all of them hold the truth with 1 - alpha
    tripwire     the monitor stops at an e-value of 1 / this"""

    shares: tuple[float, ...]
    difference: tuple[float, ...]
    equivalence: tuple[float, ...]
    repeated: tuple[float, ...]
    tripwire: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimResult:
    """One analysis of one method against the reference; differences in points.

    kind         "look", or "tripwire" where the sequential monitor stopped the play before the analysis
    look         number of the analysis, from 1; for the monitor the one that would have been next
    share        of the items that are played
    low, high    repeated 1 - alpha interval; equivalence_*: the repeated interval of the equivalence claim
    p_difference, p_equivalence  unadjusted; level_*: what they must not exceed in this analysis, after Holm
    e_value      highest value of the monitor so far; e_stop: the value at which it stops
    verdict      INCONCLUSIVE: the play continues; after the last analysis it is final"""

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
    """Returns how alpha is spent over analyses at these shares of the items: little at first, nearly all at
    the end.

    source  O'Brien & Fleming (1979), Biometrics 35; levels by the recursion of Armitage, McPherson & Rowe
            (1969)"""
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
    """Returns the c for which a Brownian path passes c (or +-c) at one of these times with probability
    alpha."""
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
    """Analyses the items of which both methods have ended every play.

    scores           of these items only, both methods
    number           of the analysis, from 1
    spent            the levels of all analyses
    open_difference  methods not yet called different, this one included: Holm's divisor; open_equivalence
                     likewise
    e_value          of the monitor so far
    draws            of the joint test; None: as many as the level asks for
    raises           AuditError if the methods have no finished item in common
    source           several hypotheses over several analyses: Maurer & Bretz (2013), Statist. Biopharm. Res.
                     5"""
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
    """Returns the monitor's finding: DIFFERENT before the next analysis.

    scores           of the first plays of items
    number           of the next analysis
    spent            the levels of all analyses
    share            of the items that were played once
    e_value          of the monitor
    open_difference  methods not yet called different: Holm's divisor"""
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
    """Returns estimate and intervals; the caller fills in the tests."""
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
    """Returns the sentence of an analysis."""
    when = f"at interim analysis {look.look} of {look.looks}, with {100 * look.share:.0f} % of the items"
    span = f"[{look.low:+.1f}, {look.high:+.1f}]"
    if look.kind == "tripwire":
        return (
            f"{method} differs from {reference} by {look.difference:+.1f} points {span} after the "
            f"first plays of {look.items} items (e-value {look.e_value:,.0f}; "
            f"a value of {look.e_stop:,.0f} stops the method)."
        )
    if look.verdict == "DIFFERENT":
        return (
            f"{method} differs from {reference} by {look.difference:+.1f} points {span} {when} "
            f"(p {format_p(look.p_difference)}, significance level {look.level_difference:.2g})."
        )
    if look.verdict == "EQUIVALENT":
        open_span = f"[{look.equivalence_low:+.1f}, {look.equivalence_high:+.1f}]"
        return (
            f"{method} is equivalent to {reference} within {margin:g} points {when}: "
            f"the difference is {look.difference:+.1f} points {open_span}."
        )
    return (
        f"No verdict yet on {method} {when}: the difference from {reference} is between {look.low:+.1f} and "
        f"{look.high:+.1f} points."
    )


def with_interim_verdicts(audit: Audit, made: Sequence[LookRecord]) -> Audit:
    """Returns the audit of a sweep that may stop early: its verdicts and intervals are those of its interim
    analyses.

    made  in order; a verdict left open by missing data stays open"""
    last = {row.method: row for row in made if row.reference == audit.reference}
    return replace(
        audit,
        comparisons=tuple(
            _with_interim_verdict(audit, comparison, last.get(comparison.method))
            for comparison in audit.comparisons
        ),
        set_aside=tuple(
            _with_early_verdict(audit, aside, last.get(aside.method)) for aside in audit.set_aside
        ),
    )


def _with_early_verdict(audit: Audit, aside: SetAside, row: LookRecord | None) -> SetAside:
    """Returns the method with the verdict of the sequential monitor, which may stop it within its first
    block."""
    if row is None or row.verdict == "INCONCLUSIVE" or aside.reason != "unfinished":
        return aside
    result = InterimResult(**{name: getattr(row, name) for name in InterimResult.__slots__})
    words = sentence(result, method=aside.method, reference=audit.reference, margin=audit.margin)
    return replace(
        aside,
        verdict=result.verdict,
        label=label(result.verdict, margin=audit.margin, low=result.low, high=result.high),
        low=result.low,
        high=result.high,
        sentence=f"{words}{RUNS_ONLY}",
    )


def _with_interim_verdict(audit: Audit, comparison: Comparison, row: LookRecord | None) -> Comparison:
    if comparison.missing is not None and comparison.verdict == "INCONCLUSIVE":
        return comparison
    if row is None:
        waiting = (
            f"There is no interim analysis of {comparison.method} yet: "
            "both methods must first play a quarter of the items."
        )
        return replace(comparison, verdict="INCONCLUSIVE", label="INCONCLUSIVE", sentence=waiting, plan=None)
    look = InterimResult(**{name: getattr(row, name) for name in InterimResult.__slots__})
    words = sentence(look, method=comparison.method, reference=audit.reference, margin=audit.margin)
    more = " The method is still being played." if not look.last else RUNS_ONLY if look.settled else ""
    shown = {
        name: getattr(look, name)
        for name in ("difference", "se", "low", "high", "equivalence_low", "equivalence_high")
    }
    return replace(
        comparison,
        points=replace(comparison.points, **shown),
        p_difference=look.p_difference,
        verdict=look.verdict,
        label=label(look.verdict, margin=audit.margin, low=look.low, high=look.high),
        scope="these runs",
        sentence=words + more,
        plan=comparison.plan if look.last and not look.settled else None,
    )


class SequentialMonitor:
    """An e-process against the null hypothesis of the sign-flip test; it may be read after every item.

    Each item adds the weighted difference of its first plays, in the order of the plan, which no outcome can
    change. Under the null hypothesis it is a supermartingale that starts at 1, so it ever reaches 1 / level
    with probability at most the level, whatever the distribution.

    items   of each game in the plan
    source  cosh y <= exp(y^2 / 2), mixed over a normal: Robbins (1970), Ann. Math. Statist. 41; Howard et al.
            (2020), Probab. Surv. 17"""

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
        """Adds the next item of this game: the method's points minus the reference's."""
        x = self._weights[game] * difference
        self._sum += x
        self._square += x * x
        self.highest = max(self.highest, self.value)

    @property
    def value(self) -> float:
        """Returns the e-value now; `highest` is the one that decides."""
        spread = 1 + self._rate * self._square
        return exp(min(700.0, self._rate * self._sum**2 / (2 * spread) - log(spread) / 2))


def first_items(scores: ScoreArray, blocks: Sequence[Iterable[str]], number: int) -> ScoreArray:
    """Returns the episodes of the items of the first `number` blocks only."""
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

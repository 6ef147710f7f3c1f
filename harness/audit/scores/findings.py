"""The shapes of what an audit of scores finds: one frozen Audit holds everything. Knows no estimate and no
test."""

from __future__ import annotations

from dataclasses import dataclass

from harness.audit.scores.clemscore import ClemscoreDifference, MethodFigures
from harness.audit.scores.contrasts import Discordance
from harness.audit.scores.pairs import PairFinding
from harness.audit.scores.sample_size import SampleSizePlan
from harness.audit.scores.variance import SelfAgreement, VarianceParts
from harness.audit.verdicts import Scope, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One macro endpoint, method minus reference: points, or percent of episodes played.

    low, high            1 - alpha interval: Student's; where all differences are equal, the hidden bound
    equivalence_low, equivalence_high  1 - 2 alpha interval of the equivalence claim, hidden bound included
    open_low, open_high  the range that an inconclusive verdict leaves open: the same at 1 - alpha / methods
    hidden               how far games whose differences are all equal may move the mean over games, at level
                         alpha
    p                    adjusted p of the macro statistic
    p_equivalence        p of "the difference is at or beyond the margin" """

    difference: float
    se: float
    df: float
    low: float
    high: float
    equivalence_low: float
    equivalence_high: float
    open_low: float
    open_high: float
    hidden: float
    margin: float
    p: float
    p_equivalence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GameFinding:
    """One game of one contrast; differences in the score of that game, method minus reference.

    low, high   1 - alpha interval
    p_points, p_played  adjusted over all games and both endpoints
    form, play  the two parts of the difference
    played_*    percent of episodes; quality_* mean main score of those played, None where none was
    beyond      p_points is at most alpha and the difference larger than the margin for one game
    p_equivalence  of "this game's difference is at or beyond the margin for one game"; equivalent: it is at
                   most alpha, so that a difference within this margin is claimed for the game by itself
    played_discordance, success_discordance  exact McNemar counts; None with repeats"""

    game: str
    items: int
    difference: float
    low: float
    high: float
    p_points: float
    p_played: float
    form: float
    play: float
    played_reference: float
    played_method: float
    quality_reference: float | None
    quality_method: float | None
    beyond: bool
    p_equivalence: float
    equivalent: bool
    played_discordance: Discordance | None
    success_discordance: Discordance | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFinding:
    """One item: each method's mean score over the repeats that both finished, and the share of them it
    played."""

    label: str
    reference: float
    method: float
    played_reference: float
    played_method: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """The verdicts at both extremes of the failed episodes; computed only where failures are many or uneven.

    failed_*     plays that failed, or are absent from an import
    low, high    the union of the 1 - alpha intervals at both extremes
    worst, best  the difference if every failed episode had ended at its worst, or best, for the method
    verdict_worst, verdict_best  the verdicts in these cases"""

    failed_reference: int
    failed_method: int
    p_uneven: float
    worst: float
    best: float
    low: float
    high: float
    verdict_worst: Verdict
    verdict_best: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimShare:
    """The interim analysis of an unfinished sweep: its number, of how many, and its share of the planned
    plays."""

    number: int
    of: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A planned method without a comparison. Holm counts it with p = 1.

    reason     "unfinished": no look block has ended for both methods; "nothing finished", "no common item",
               or "left out" by the command
    low, high  bounds of the difference in mean score with every play that has not ended at 0 and at 100; None
               unless unfinished"""

    method: str
    verdict: Verdict
    label: str
    reason: str
    low: float | None
    high: float | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One method against the reference.

    items              compared; items_dropped: finished by only one of the two
    p_joint            of "nothing differs", by sign flips; p_difference after Holm over methods
    p_equivalence      the larger of both endpoints'; p_equivalence_holm after Holm over methods
    p_batches          of "the mean difference over batches is 0"; None below three batches
    p_sessions         the larger p of items and sessions, after Holm; None below three sessions
    p_sessions_equivalence  likewise for the claim of equivalence
    apart_in_time      hardly any of the two methods' plays were at the same time, so that a change of the
                       service between them looks like a difference of the methods
    reason             why the verdict is INCONCLUSIVE, if not for too little data: "missing data", "nothing
                       played"
    interim            the interim analysis of an unfinished sweep that the verdict rests on
    never_played       games of which neither method played an episode: they count 0 for both
    left_out           (game, method): games that this method never scored, or never played; they do not count
    plan               what would settle it; only when inconclusive
    agreement          how often repeats disagree; None with one repeat
    repeats_effective  how many independent repeats carry the same information; None with one
    furthest           the items with the largest differences, at most 40, from most lost to most gained"""

    method: str
    items: int
    items_dropped: int
    repeats: int
    points: Estimate
    played: Estimate
    clemscore: ClemscoreDifference
    games: tuple[GameFinding, ...]
    p_joint: float
    p_difference: float
    p_equivalence: float
    p_equivalence_holm: float
    p_batches: float | None
    p_sessions: float | None
    p_sessions_equivalence: float | None
    apart_in_time: bool
    reason: str | None
    interim: InterimShare | None
    never_played: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    agreement: SelfAgreement | None
    repeats_effective: float | None
    furthest: tuple[ItemFinding, ...]
    verdict: Verdict
    label: str
    scope: Scope
    sentence: str
    plan: SampleSizePlan | None
    missing: Missing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The whole audit of scores.

    family       how many methods Holm counts: those compared and those set aside
    sessions     in which the repeats were played
    methods      every method's own figures, the reference first
    comparisons  every other method against the reference, in order of name
    set_aside    the planned methods without a comparison
    again        the reference against its A/A replicate; None where it was not played
    calibrated   False if the reference differs from itself: then no verdict is reliable
    support      games in which every compared method played enough for clemscore on common support
    unsupported  the other games: they still count in the percentage played and in points
    spread       the components of the variance of points; None with gaps or one repeat
    pairs        every two methods in every game, exploratory"""

    reference: str
    alpha: float
    margin: float
    margin_played: float
    margin_game: float
    seed: int
    draws: int
    repeats: int
    batches: int
    family: int
    sessions: int
    methods: tuple[MethodFigures, ...]
    comparisons: tuple[Comparison, ...]
    set_aside: tuple[SetAside, ...]
    again: Comparison | None
    calibrated: bool
    support: tuple[str, ...]
    unsupported: tuple[str, ...]
    spread: VarianceParts | None
    pairs: tuple[PairFinding, ...]

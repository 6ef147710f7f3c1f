"""Do the replies of an access method come from the weights of the reference?

Stored replies were scored by the reference, each token after the true prompt and the tokens before it. At
temperature 0 the statistic is the mean margin by token; above it, the histogram of places of tokens, which is
uniform for the reference's own sampler. The null is the reference's own replies, scored in the same way.
Keeps: items are exchanged as wholes; a method without a test is INCONCLUSIVE with its reason; no method is
CONSISTENT with scores by which the reference's own tokens are not its most likely ones. Does not promise: to
see what changes no token, such as a cap of the length, or to tell weights from the arithmetic that computes
them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import numpy as np

from harness.audit.scores.arrays import FloatArray
from harness.audit.verdicts import CALIBRATION_ALPHA, format_p, holm
from harness.audit.weights.item_tests import (
    bootstrap_excess,
    histogram_distance,
    mean_distance,
    mean_excess,
    moments,
    permutation_p,
    rate_high,
)
from harness.audit.weights.token_measures import CAP_TESTED, Place
from harness.core.seeds import derive_seed

WeightsVerdict = Literal["CONSISTENT", "DEVIATES", "INCONCLUSIVE"]
Kind = Literal["greedy", "sampled"]
MARGIN_UNLIKE = 0.01  # share of tokens; see docs/audit.md for what changes of weights cause
ITEMS_MIN = 5  # of a method and of the reference: a p-value of 5 % needs them
BINS = 10  # of the histogram of places


@dataclass(frozen=True, slots=True, kw_only=True)
class RescoredReply:
    """One stored reply as the reference scores it.

    method    the A/A replicate has a name of its own
    margins   of its tokens, in nats;  ranks  of its tokens, 1: the most likely one
    places    of its tokens; empty at temperature 0
    joined    its border to the prompt has other tokens in one text
    retokenised   its text has another number of tokens than its provider counted, apart from the end"""

    method: str
    item: str
    turn: int
    margins: Sequence[float]
    ranks: Sequence[int]
    places: Sequence[Place] = ()
    joined: bool = False
    retokenised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSampling:
    """The sampling that a method was asked for, as far as this audit depends on it.

    temperature   None: not stated
    alike         what else must be equal in the reference for a comparison"""

    temperature: float | None
    alike: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFinding:
    """One method's replies beside the reference's own.

    kind       "greedy": margins; "sampled": places in the distribution; None: not tested
    margin, reference_margin   mean by token, in nats; excess: the difference, with its 95 % interval
    tested     the same of margins cut at CAP_TESTED, which p is about; None above temperature 0
    unlike, reference_unlike   shares of tokens that are not the reference's most likely ones
    unlike_high                upper 95 % bound of the difference of these shares; None above temperature 0
    p, p_holm  of "the same weights", by margins cut at CAP_TESTED, for this method alone and after Holm;
               None: not tested
    first_turn, first_token   the first turn, and the median place in a reply, of a token whose margin is
                              larger than every margin of the reference's own; None if there is none
    joined     replies of which the border to the prompt has other tokens in one text
    retokenised   replies whose text has another number of tokens than the provider counted
    reason     why it was not tested"""

    method: str
    kind: Kind | None
    items: int
    replies: int
    tokens: int
    margin: float
    reference_margin: float
    excess: float
    low: float | None
    high: float | None
    tested: float | None
    tested_low: float | None
    tested_high: float | None
    unlike: float
    reference_unlike: float
    unlike_high: float | None
    p: float | None
    p_holm: float | None
    first_turn: int | None
    first_token: float | None
    joined: int
    retokenised: int
    verdict: WeightsVerdict
    reason: str | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFindings:
    """Every method of one model beside the replies of the reference.

    again       the reference's A/A replicate; None where it was not played
    calibrated  False if the reference's two runs differ: no verdict is valid"""

    reference: str
    rescored_at: float
    alpha: float
    margin_unlike: float
    methods: tuple[WeightsFinding, ...]
    again: WeightsFinding | None
    calibrated: bool


@dataclass(frozen=True, slots=True)
class _Sample:
    """One method's replies as arrays by item, (items, 2): sums with their counts of tokens.

    tested   margins cut at CAP_TESTED;  places   (items, BINS)"""

    replies: Sequence[RescoredReply]
    margins: FloatArray
    tested: FloatArray
    unlike: FloatArray
    places: FloatArray

    @property
    def tokens(self) -> int:
        return int(self.margins[:, 1].sum())


def audit_weights(
    replies: Iterable[RescoredReply],
    reference: str,
    asked: Mapping[str, AskedSampling],
    *,
    again: str | None,
    rescored_at: float,
    alpha: float,
    seed: int,
    left_out: Container[str] = (),
) -> WeightsFindings | None:
    """Returns the findings of every method with scored replies; None if the reference has none.

    reference    the method whose weights scored;  again  the name of its A/A replicate
    asked        method -> its sampling; the replicate has the reference's
    rescored_at  when, in seconds since 1970
    left_out     methods without a verdict; Holm counts them with p = 1
    source       margins of replies: Token-DiFR, arXiv 2511.20621; the null and the test are ours"""
    by_method: dict[str, list[RescoredReply]] = {}
    for reply in replies:
        by_method.setdefault(reply.method, []).append(reply)
    if reference not in by_method:
        return None
    rng = np.random.default_rng(derive_seed(seed, "audit", "weights", "places"))
    samples = {name: _sample(listed, rng) for name, listed in sorted(by_method.items())}
    own = samples[reference]
    findings = [
        _finding(name, sample, own, asked[reference], asked[name], seed)
        for name, sample in samples.items()
        if name not in (reference, again)
    ]
    replicate = None
    if again in samples:
        replicate = _finding(
            again, samples[again], own, asked[reference], asked[reference], seed, two_sided=True
        )
    return WeightsFindings(
        reference=reference,
        rescored_at=rescored_at,
        alpha=alpha,
        margin_unlike=MARGIN_UNLIKE,
        methods=tuple(_with_verdicts(findings, reference, alpha, left_out)),
        again=None if replicate is None else replace(replicate, sentence=_again_sentence(replicate)),
        calibrated=replicate is None or replicate.p is None or replicate.p >= CALIBRATION_ALPHA,
    )


def _sample(replies: Sequence[RescoredReply], rng: np.random.Generator) -> _Sample:
    items = {item: number for number, item in enumerate(dict.fromkeys(reply.item for reply in replies))}
    margins, tested, unlike = (np.zeros((len(items), 2)) for _ in range(3))
    places = np.zeros((len(items), BINS))
    for reply in replies:
        row = items[reply.item]
        margins[row] += sum(reply.margins), len(reply.margins)
        tested[row] += sum(min(value, CAP_TESTED) for value in reply.margins), len(reply.margins)
        unlike[row] += sum(rank > 1 for rank in reply.ranks), len(reply.ranks)
        if reply.places:
            low, high = np.array(reply.places).T
            drawn = low + rng.random(len(low)) * (high - low)
            places[row] += np.bincount(np.minimum((drawn * BINS).astype(int), BINS - 1), minlength=BINS)
    return _Sample(replies, margins, tested, unlike, places)


def _finding(
    name: str,
    sample: _Sample,
    own: _Sample,
    of_reference: AskedSampling,
    of_method: AskedSampling,
    seed: int,
    *,
    two_sided: bool = False,
) -> WeightsFinding:
    """Returns the figures of one method, before its verdict.

    own        the reference's replies
    two_sided  a smaller margin counts, too"""
    kind, reason = _kind(sample, own, of_reference, of_method)
    rng = np.random.default_rng(derive_seed(seed, "audit", "weights", name))
    excess = _share(sample.margins) - _share(own.margins)
    low = high = tested = tested_low = tested_high = unlike_high = p = None
    if kind == "greedy":
        statistic = mean_distance if two_sided else mean_excess
        p = permutation_p(moments(own.tested), moments(sample.tested), statistic, rng)
        low, high = _interval(bootstrap_excess(own.margins, sample.margins, rng))
        unlike = float(np.quantile(bootstrap_excess(own.unlike, sample.unlike, rng), 0.95))
        count, tokens = sample.unlike.sum(axis=0)
        unlike_high = max(unlike, rate_high(count, tokens, 0.05) - _share(own.unlike))
        tested = _share(sample.tested) - _share(own.tested)
        tested_low, tested_high = _interval(bootstrap_excess(own.tested, sample.tested, rng))
    elif kind == "sampled":
        p = permutation_p(own.places, sample.places, histogram_distance, rng)
    first_turn, first_token = _first_apart(sample, own) if kind == "greedy" else (None, None)
    return WeightsFinding(
        method=name,
        kind=kind,
        items=len(sample.margins),
        replies=len(sample.replies),
        tokens=sample.tokens,
        margin=_share(sample.margins),
        reference_margin=_share(own.margins),
        excess=excess,
        low=low,
        high=high,
        tested=tested,
        tested_low=tested_low,
        tested_high=tested_high,
        unlike=_share(sample.unlike),
        reference_unlike=_share(own.unlike),
        unlike_high=unlike_high,
        p=p,
        p_holm=None,
        first_turn=first_turn,
        first_token=first_token,
        joined=sum(reply.joined for reply in sample.replies),
        retokenised=sum(reply.retokenised for reply in sample.replies),
        verdict="INCONCLUSIVE",
        reason=reason,
        sentence="",
    )


def _kind(
    sample: _Sample, own: _Sample, of_reference: AskedSampling, of_method: AskedSampling
) -> tuple[Kind | None, str | None]:
    """Returns which test is valid; None with the reason if none is."""
    if of_method.temperature is None:
        return None, "the temperature of the method is not stated"
    if of_method != of_reference:
        return None, "the method and the reference have different sampling or a different constraint"
    if len(own.margins) < ITEMS_MIN:
        return None, f"fewer than {ITEMS_MIN} items of the reference"
    if len(sample.margins) < ITEMS_MIN or not sample.tokens:
        return None, f"fewer than {ITEMS_MIN} items of this method"
    if of_method.temperature == 0:
        return "greedy", None
    if sample.places.any() and own.places.any():
        return "sampled", None
    return None, "above temperature 0, only a temperature of at most 1 without top_k and penalties is tested"


def _interval(drawn: FloatArray) -> tuple[float, float]:
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def _share(sums: FloatArray) -> float:
    return float(sums[:, 0].sum() / max(sums[:, 1].sum(), 1.0))


def _first_apart(sample: _Sample, own: _Sample) -> tuple[int | None, float | None]:
    """Returns the first turn, and the median token, where a margin exceeds all of the reference's."""
    largest = max((value for reply in own.replies for value in reply.margins), default=0.0)
    found = [
        (reply.turn, place)
        for reply in sample.replies
        if (place := next((n for n, value in enumerate(reply.margins) if value > largest), None)) is not None
    ]
    if not found:
        return None, None
    return min(turn for turn, _ in found), float(median(place for _, place in found))


# --- verdicts -----------------------------------------------------------------------------------------------


def _with_verdicts(
    findings: Sequence[WeightsFinding], reference: str, alpha: float, left_out: Container[str]
) -> Iterator[WeightsFinding]:
    """Yields the findings with verdicts. Holm's correction counts every method that was tested. A method that
    is left out counts with p = 1 and has no finding."""
    tested = {one.method: 1.0 if one.method in left_out else one.p for one in findings if one.p is not None}
    adjusted = dict(zip(tested, holm([*tested.values()]), strict=True))
    for one in findings:
        if one.method in left_out:
            continue
        p = adjusted.get(one.method)
        verdict: WeightsVerdict = "INCONCLUSIVE"
        if p is not None and p <= alpha:
            verdict = "DEVIATES"
        elif one.unlike_high is not None and one.unlike_high < MARGIN_UNLIKE and _is_own(one):
            verdict = "CONSISTENT"
        judged = replace(one, p_holm=p, verdict=verdict)
        yield replace(judged, sentence=_sentence(judged, reference))


def _is_own(one: WeightsFinding) -> bool:
    """Returns whether the weights that scored look like those of the reference, by its own replies."""
    return one.reference_unlike < MARGIN_UNLIKE


def _sentence(one: WeightsFinding, reference: str) -> str:
    size = f"{one.tokens:,} tokens of {one.items:,} items"
    if one.kind is None or one.p_holm is None:
        return (
            f"The weights of {reference} scored the tokens of this method's replies, but no test is possible: "
            f"{one.reason}."
        )
    if one.kind == "sampled":
        result = (
            "The tokens of this method have other ranks in the reference's weights than the tokens of the reference"
            if one.verdict == "DEVIATES"
            else "No difference was found, and this test cannot confirm that there is none"
        )
        return (
            f"{result} ({size}, p {format_p(one.p_holm)}). Above temperature 0, and without a seed that "
            "both methods share, only this test of ranks is possible."
        )
    figures = (
        f"{size}: the mean token margin is {one.margin:.4f} nats for this method and "
        f"{one.reference_margin:.4f} nats for the reference, p {format_p(one.p_holm)}"
    )
    if one.verdict == "DEVIATES":
        return (
            f"Other weights than those of {reference}, another precision or another engine wrote these replies ({figures}). "
            f"By the reference's weights another token was more likely for {100 * one.unlike:.1f} % of the tokens of "
            f"this method, and for {100 * one.reference_unlike:.1f} % of the tokens of the reference.{_where(one)}"
        )
    if one.verdict == "CONSISTENT":
        return (
            "With 95 % confidence, tokens that are not the most likely ones by the weights of "
            f"{reference} are at most {100 * MARGIN_UNLIKE:g} of 100 more frequent in the replies of this method "
            f"than in those of the reference ({figures})."
        )
    if not _is_own(one):
        return (
            f"No method can be shown to have the weights of {reference}: for {100 * one.reference_unlike:.1f} % "
            f"of the reference's own tokens another token was more likely ({figures}). Possible causes: the "
            "server that scored has other weights or another chat template than the reference, or the replies "
            "were forced into a format."
        )
    return f"There are too few tokens to decide about the weights ({figures})."


def _where(one: WeightsFinding) -> str:
    if one.first_turn is None or one.first_token is None:
        return ""
    return (
        f" The first clear difference is in turn {one.first_turn}. A reply with such a difference has its first "
        f"one after {one.first_token:g} tokens (median)."
    )


def _again_sentence(one: WeightsFinding) -> str:
    if one.p is None:
        return "The reference's two runs were not compared by the reference's weights."
    return (
        f"The reference's two runs have mean token margins of {one.reference_margin:.4f} and {one.margin:.4f} nats "
        f"({one.tokens:,} tokens in the second run, p {format_p(one.p)})."
    )

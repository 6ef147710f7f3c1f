"""Identical prompts: do replies come from one distribution, within a method and across methods?

This test works even where all scores of a small model are equal. A prompt is one whole history, put for one
item, in any turn. A comparison turn by turn would blame the third turn for a difference of the first; a
comparison of histories does not.
Keeps: every prompt counts once, however many replies it has; a turn's p is valid given everything before that
turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from scipy import stats

from harness.audit import verdicts
from harness.audit.replies import sentences
from harness.audit.replies.classifier import ClassifierTest, hardly_repeats, tell_apart
from harness.audit.replies.columns import PromptReplies, ReplyColumns, gather
from harness.audit.replies.divergence import Divergence, diverge
from harness.audit.replies.kernels import KERNELS
from harness.audit.replies.label_permutation import DRAWS, permutation_test
from harness.audit.replies.prompt_pairs import ComparedPrompts, blocks_of, compare_prompts, diverging_pairs
from harness.audit.replies.sentences import Ratio
from harness.audit.replies.settle import prompts_to_settle
from harness.audit.scores.arrays import BoolArray, FloatArray, IntArray
from harness.audit.scores.intervals import share_interval
from harness.audit.verdicts import Verdict
from harness.core.errors import AuditError
from harness.core.seeds import derive_seed

TURNS_MAX = 12  # later turns share hardly a history: `turns[].comparable` falls with every turn


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfMatch:
    """One method's replies.

    share, low, high  of pairs of replies to one prompt that are equal, mean over prompts with two replies or
                      more; None without any
    length            mean, in bytes; endings: finish reasons, as shares"""

    method: str
    prompts: int
    share: float | None
    low: float | None
    high: float | None
    length: float
    endings: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFinding:
    """One measure of similarity: the discrepancy between methods, and its p by permutation of labels within
    prompts."""

    kernel: str
    discrepancy: float
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinding:
    """One turn of the episodes.

    comparable  share of the method's calls whose history the reference met too
    prompts     with a reply of each and three in all; informative: those of them whose replies are not all
                equal
    p           of the largest standardised kernel; None where no prompt is informative"""

    turn: int
    comparable: float
    prompts: int
    informative: int
    p: float | None
    kernels: tuple[KernelFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossMatch:
    """One method's replies compared with the reference's.

    share, low, high  of pairs, one reply of each, that are equal: mean over common prompts with its 1 - alpha
                      interval
    p           of "one distribution", over turns; None where no prompt has three replies; p_difference after
                Holm
    p_equivalence     of "they part at least margin times as often across, or are equal at least 5 percent
                      rarer", and, where replies hardly repeat, of "10 of 100 replies can be told apart";
                      _holm after Holm
    prompts_to_settle how many prompts would settle it; only when inconclusive
    pairs, pairs_equal   how many pairs there are, one reply of each, and how many of them are equal
    divergence  None where no prompt has two replies of each
    classifier  None unless less than half of the pairs of replies of one method are equal"""

    method: str
    prompts: int
    share: float
    low: float
    high: float
    p: float | None
    p_difference: float | None
    p_equivalence: float | None
    p_equivalence_holm: float | None
    pairs: int
    pairs_equal: int
    divergence: Divergence | None
    classifier: ClassifierTest | None
    turns: tuple[TurnFinding, ...]
    verdict: Verdict | None
    label: str
    prompts_to_settle: int | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFindings:
    """Every method with itself, every other method with the reference.

    again       the reference with its A/A replicate, which measures chance; None where it was not played
    calibrated  False if the reference's replies differ from its own
    left_out    methods without a common prompt"""

    reference: str
    margin: float
    alpha: float
    within: tuple[SelfMatch, ...]
    across: tuple[CrossMatch, ...]
    again: CrossMatch | None
    calibrated: bool
    left_out: tuple[str, ...]


def compare_replies(
    columns: ReplyColumns,
    reference: str,
    *,
    again: str | None = None,
    margin: float = 1.5,
    alpha: float = 0.05,
    seed: int,
    draws: int = DRAWS,
    levels: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    family: int = 0,
) -> ReplyFindings:
    """Compares every method's replies to identical prompts with the reference's.

    again   the name under which the reference was played a second time
    margin  how many times as often replies may part across methods as within them
    levels  of methods in an interim analysis, for DIFFERENT and for EQUIVALENT; the others have alpha
    family  how many methods were planned; Holm counts those without a p-value with p = 1
    raises  AuditError if the reference has no reply
    source  shares: Wilson at the effective number of prompts; turns joined by Fisher's sum; the first turn
            and the later ones each at half the level, for the first has most prompts in common"""
    replies = gather(columns)
    if reference not in replies.names:
        raise AuditError(f"There are no replies through the reference {reference!r}.")
    a = replies.names.index(reference)
    within = tuple(_self_match(replies, m, name, alpha) for m, name in enumerate(replies.names))
    matches, left_out = [], []
    for m, name in enumerate(replies.names):
        common = (replies.count[a] > 0) & (replies.count[m] > 0)
        if m != a and common.any():
            matches.append(_cross_match(replies, a, m, common, margin, alpha, seed, draws))
        elif m != a:
            left_out.append(name)
    replicate = next((match for match in matches if match.method == again), None)
    counted = [match for match in matches if match.method != again]
    return ReplyFindings(
        reference=reference,
        margin=margin,
        alpha=alpha,
        within=within,
        across=tuple(_with_verdicts(counted, reference, margin, alpha, levels, family)),
        again=None
        if replicate is None
        else replace(replicate, sentence=sentences.reference_again(_ratio(replicate), p=replicate.p)),
        calibrated=replicate is None or replicate.p is None or replicate.p >= verdicts.CALIBRATION_ALPHA,
        left_out=tuple(left_out),
    )


# --- one method ---------------------------------------------------------------------------------------------


def _self_match(replies: PromptReplies, m: int, name: str, alpha: float) -> SelfMatch:
    rows = replies.method == m
    ended = np.bincount(replies.ending[rows], minlength=len(replies.endings)) / rows.sum()
    repeated = replies.count[m] >= 2
    share = low = high = None
    if repeated.any():
        n = replies.count[m][repeated]
        equal = (replies.matching_pairs(m, m)[repeated] - n) / (n * (n - 1))
        share, (low, high) = float(equal.mean()), _prompt_interval(equal, n, alpha)
    return SelfMatch(
        method=name,
        prompts=int(repeated.sum()),
        share=share,
        low=low,
        high=high,
        length=float(replies.size[rows].mean()),
        endings=tuple(
            (word, float(part)) for word, part in zip(replies.endings, ended, strict=True) if part > 0
        ),
    )


def _prompt_interval(share: FloatArray, replies: IntArray, alpha: float) -> tuple[float, float]:
    """Returns Wilson's interval with prompts as units, each worth at most its replies."""
    worth = np.full(len(share), replies.mean())
    return share_interval(share * worth, worth, alpha)


# --- two methods --------------------------------------------------------------------------------------------


def _cross_match(
    replies: PromptReplies,
    a: int,
    b: int,
    common: BoolArray,
    margin: float,
    alpha: float,
    seed: int,
    draws: int,
) -> CrossMatch:
    share = replies.matching_pairs(a, b)[common] / (replies.count[a] * replies.count[b])[common]
    low, high = _prompt_interval(share, np.minimum(replies.count[a], replies.count[b])[common], alpha)
    informative = np.flatnonzero(replies.informative(a, b))
    compared = compare_prompts(replies, a, b, informative)
    turns = tuple(_turns(replies, a, b, compared, seed, draws))
    divergence = _divergence(replies, a, b, compared, margin, alpha, seed)
    classifier = _classifier(replies, a, b, informative, divergence, alpha, seed)
    return CrossMatch(
        method=replies.names[b],
        prompts=len(share),
        share=float(share.mean()),
        low=low,
        high=high,
        p=_joined(turns),
        p_difference=None,
        p_equivalence=_p_equivalence(divergence, classifier),
        p_equivalence_holm=None,
        pairs=int((replies.count[a] * replies.count[b])[common].sum()),
        pairs_equal=int(replies.matching_pairs(a, b)[common].sum()),
        divergence=divergence,
        classifier=classifier,
        turns=turns,
        verdict=None,
        label="not compared",
        prompts_to_settle=None,
        sentence="",
    )


def _turns(
    replies: PromptReplies, a: int, b: int, compared: Sequence[ComparedPrompts], seed: int, draws: int
) -> Iterator[TurnFinding]:
    count_a, count_b = replies.count[a], replies.count[b]
    both, testable = (count_a > 0) & (count_b > 0), replies.testable(a, b)
    for turn in range(min(TURNS_MAX, int(replies.turn_of.max(initial=-1)) + 1)):
        here = replies.turn_of == turn
        calls = int(count_b[here].sum())
        if not calls:
            continue
        blocks = blocks_of(compared, here)
        informative = sum(len(block.similarity) for block in blocks)
        rng = np.random.default_rng(derive_seed(seed, "audit", "replies", turn))
        result = permutation_test(blocks, rng, draws) if blocks else None
        # A prompt whose replies are all equal adds nothing to the sum, but counts in the mean.
        share_informative = informative / max(int((here & testable).sum()), 1)
        yield TurnFinding(
            turn=turn,
            comparable=float(count_b[here & both].sum() / calls),
            prompts=int((here & testable).sum()),
            informative=informative,
            p=result.p if result else None,
            kernels=tuple(
                KernelFinding(kernel=name, discrepancy=value * share_informative, p=p)
                for name, value, p in zip(KERNELS, result.discrepancy, result.p_kernels, strict=True)
            )
            if result
            else (),
        )


def _joined(turns: Sequence[TurnFinding]) -> float | None:
    """Returns one p of all turns: the first and the later ones, each at half the level.

    returns  1 where all replies are equal; None where no prompt could be tested"""
    if not any(turn.prompts for turn in turns):
        return None
    first = [turn.p for turn in turns if turn.turn == 0 and turn.p is not None]
    later = [turn.p for turn in turns if turn.turn > 0 and turn.p is not None]
    parts = [*first, *([float(stats.combine_pvalues(later, method="fisher").pvalue)] if later else [])]
    return min(1.0, len(parts) * min(parts)) if parts else 1.0


def _divergence(
    replies: PromptReplies,
    a: int,
    b: int,
    compared: Sequence[ComparedPrompts],
    margin: float,
    alpha: float,
    seed: int,
) -> Divergence | None:
    """Measures divergence over the prompts with two replies of each method; None with fewer than two such
    prompts."""
    chosen = np.flatnonzero((replies.count[a] >= 2) & (replies.count[b] >= 2))
    if len(chosen) < 2:
        return None
    pairs = diverging_pairs(replies, a, b, compared, chosen)
    rng = np.random.default_rng(derive_seed(seed, "audit", "divergence"))
    return diverge(pairs, replies.item_of[chosen], margin, alpha, rng)


def _classifier(
    replies: PromptReplies,
    a: int,
    b: int,
    informative: IntArray,
    divergence: Divergence | None,
    alpha: float,
    seed: int,
) -> ClassifierTest | None:
    """Runs the classifier test where replies hardly repeat: there rho and the excess are near 1 and 0 for any
    methods."""
    if divergence is None or not hardly_repeats(divergence):
        return None
    twice = informative[np.minimum(replies.count[a], replies.count[b])[informative] >= 2]
    rng = np.random.default_rng(derive_seed(seed, "audit", "classifier"))
    return tell_apart(replies, a, b, twice, alpha, rng)


def _p_equivalence(divergence: Divergence | None, classifier: ClassifierTest | None) -> float | None:
    """Returns the largest p of all that an equivalence needs."""
    if divergence is None:
        return None
    if not hardly_repeats(divergence):
        return divergence.p_equivalence
    return max(divergence.p_equivalence, classifier.p_equivalence) if classifier else 1.0


# --- verdicts -----------------------------------------------------------------------------------------------


def _with_verdicts(
    matches: Sequence[CrossMatch],
    reference: str,
    margin: float,
    alpha: float,
    levels: Mapping[str, tuple[float, float]],
    family: int,
) -> Iterator[CrossMatch]:
    """Yields the comparisons with their verdicts, by Holm over the planned methods.

    A p of an interim analysis is multiplied by alpha over its level, so that alpha is the bound everywhere.
    margin, alpha, levels, family  as in `compare_replies`"""
    at_alpha = {match.method: (alpha, alpha) for match in matches} | dict(levels)
    difference = _holm(
        {match.method: _scaled(match.p, alpha, at_alpha[match.method][0]) for match in matches}, family
    )
    equivalence = _holm(
        {
            match.method: _scaled(match.p_equivalence, alpha, at_alpha[match.method][1])
            for match in matches
            if match.p is not None
        },
        family,
    )
    for match in matches:
        if match.method not in difference:
            yield replace(match, sentence=sentences.not_compared(reference, match.share, match.prompts))
            continue
        p_difference, p_equivalence = difference[match.method], equivalence.get(match.method, 1.0)
        verdict = verdicts.decide(
            p_difference=p_difference, p_equivalence=p_equivalence, alpha=alpha, game_beyond=False
        )
        needed = (
            prompts_to_settle(
                match.divergence, match.classifier, margin, alpha / max(family, len(difference))
            )
            if verdict == "INCONCLUSIVE"
            else None
        )
        yield replace(
            match,
            p_difference=p_difference,
            p_equivalence_holm=p_equivalence,
            verdict=verdict,
            label=_label(verdict, match, margin),
            prompts_to_settle=needed,
            sentence=_sentence(verdict, match, p_difference, alpha, margin, needed),
        )


def _scaled(p: float | None, alpha: float, level: float) -> float | None:
    """Returns p times alpha over its level, at most 1; 1 where the level is 0."""
    if p is None or level == alpha:
        return p
    return min(1.0, p * alpha / level) if level > 0 else 1.0


def _holm(p_by_method: Mapping[str, float | None], family: int) -> dict[str, float]:
    """Adjusts the known p-values for a family of so many; methods without one count with p = 1."""
    known = {method: p for method, p in p_by_method.items() if p is not None}
    without = [1.0] * max(0, family - len(known))
    return dict(zip(known, verdicts.holm([*known.values(), *without]), strict=False))


def _label(verdict: Verdict, match: CrossMatch, margin: float) -> str:
    if verdict != "EQUIVALENT":
        return verdict
    known = "10 of 100 replies" if match.classifier else f"divergence ratio {margin:g}"
    return f"EQUIVALENT (margin: {known})"


def _sentence(
    verdict: Verdict, match: CrossMatch, p: float, alpha: float, margin: float, needed: int | None
) -> str:
    divergence = match.divergence
    if divergence is not None and hardly_repeats(divergence):
        return sentences.hardly_repeating(
            verdict,
            match.classifier,
            self_match=divergence.self_match,
            p=p,
            alpha=alpha,
            prompts_to_settle=needed,
        )
    return sentences.verdict_sentence(
        verdict, _ratio(match), p=p, alpha=alpha, margin=margin, prompts_to_settle=needed
    )


def _ratio(match: CrossMatch) -> Ratio | None:
    divergence = match.divergence
    if divergence is None or divergence.rho is None or divergence.low is None or divergence.high is None:
        return None
    return Ratio(rho=divergence.rho, low=divergence.low, high=divergence.high)

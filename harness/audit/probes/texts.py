"""Answers from replies: stop text, temperature, seed, letters, configurations, one model, same words. Pure.

Knows rows of probes; compares replies with replies, and needs no model that obeys. Keeps: chance decides only
the labels of permutation tests, from fixed seeds. Thresholds marked "emulated" are from `python -m
bench.probes`: 20 emulated providers for each planted defect; "noisy batches" add a deviation of .05 to every
logit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from harness.audit.probes.asks import SEED, TOPICS
from harness.audit.probes.rows import Answer, Reading, answered, percent, texts_of, untested
from harness.audit.scores.arrays import BoolArray, FloatArray
from harness.core.records import ProbeRecord

DRAWS = 999  # the smallest p is .001
P_CERTAIN = 0.01  # two subjects use it: one honest method in fifty gets a false finding
P_NONE = 0.05  # above it the usual test sees no difference
GREEDY_MATCH = 0.6
"""Pairs of replies at temperature 0 that are equal where it is served. Emulated: .79 and more with noisy
batches, .00 where it is not served, .52 to .80 where a fifth or a third of the requests go to a second
model."""
NOT_GREEDY_MATCH = 0.5  # below it temperature 0 is not served; between the two nothing is claimed
CACHED_MATCH = 0.9  # at temperature 1. Emulated: 1.0 for a greedy or cached method, .00 else
SEED_KEPT, SEED_IGNORED = 0.3, 0.15
"""How much more often replies are equal with one seed than with several. Emulated: 1.0 where the seed is
served, .33 to 1.0 with a second model behind the name, .00 where it is ignored. Four replies make six pairs:
one is .17."""
# Share of replies that begin with a small letter. Emulated: 1.0 if planted, else .00.
SMALL_HERE, SMALL_THERE = 0.9, 0.5
LETTERS_MIN = 10  # replies; of ten capitals at one half the chance of nine small ones is .01
STRAYS = 0.05
"""Share of greedy replies that differ from the most frequent reply to their prompt and are still no sign of a
second model. Emulated: 0 to .05 with a logit noise of .02;
.11 and more with a second model for a fifth of the requests."""
EARLY = 0.25
"""Part of a reply within which a second model's reply differs from the most frequent one. Emulated: a second
model differs in the first words, a near-tie of one model anywhere in the reply."""
SAME_WORDS = 0.1
"""How much rarer replies may be equal across methods than within. Emulated: .01 for noisy batches, .75 or
more for other weights."""


def stop(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that replies end where the stop text would have come."""
    asked = answered(rows, "stop")
    if not asked:
        return untested(rows, "stop")
    unclear = False
    for row in asked:
        text, reply = row.stop or "", row.reply or ""
        whole = [other.reply or "" for other in answered(rows, "greedy") if other.name == row.name]
        expected = {other[: other.find(text)].rstrip() for other in whole if text in other}
        if text in reply:
            fault = "ends with the stop text" if reply.endswith(text) else "goes on after the stop text"
            return "broken", f"a reply {fault} ({text.strip()!r})", {}
        unclear = unclear or reply.rstrip() not in expected
    if unclear:
        words = "replies already differ before the stop text; the test needs equal replies at temperature 0"
        return "unclear", words, {}
    return "kept", "replies end where the stop text would have come", {}


def temperature(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that replies at temperature 0 are equal more often than at 1."""
    prompts = [
        (_replies(rows, "greedy", topic), _replies(rows, "warm", topic)) for topic in range(len(TOPICS))
    ]
    prompts = [(cold, warm) for cold, warm in prompts if len(cold) >= 2 and len(warm) >= 2]
    if not prompts:
        return untested(rows, "warm" if answered(rows, "greedy") else "greedy")
    cold = float(np.mean([match(replies) for replies, _ in prompts]))
    warm = float(np.mean([match(replies) for _, replies in prompts]))
    p = permutation_p(prompts, excess_match, np.random.default_rng(1))
    figures = {"match at 0": cold, "match at 1": warm, "p": p}
    words = (
        f"{percent(cold)} of pairs of replies are equal at temperature 0 and {percent(warm)} at 1"
        f" (p = {p:.3f})"
    )
    if p <= P_CERTAIN and cold >= GREEDY_MATCH:
        return "kept", words, figures
    if p > P_NONE and warm >= CACHED_MATCH:
        return (
            "broken",
            f"{words}: the most likely token is always chosen, or the answers come from a cache",
            figures,
        )
    if p > P_NONE and cold < NOT_GREEDY_MATCH:
        return "broken", f"{words}: temperature 0 is not served", figures
    if cold < GREEDY_MATCH:
        return (
            "unclear",
            f"{words}: the temperature may be higher than requested, or batching adds noise",
            figures,
        )
    return "unclear", words, figures


def seed(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that replies with one seed are equal more often than with several."""
    asked = answered(rows, "seed")
    same = [row.reply for row in asked if row.reply and row.name == str(SEED)]
    others = [row.reply for row in asked if row.reply and row.name != str(SEED)]
    if len(same) < 2 or len(others) < 2:
        return untested(rows, "seed")
    within, across = match(same), match([same[0], *others])
    figures = {"same seed": within, "other seeds": across}
    words = (
        f"at temperature 1 {percent(within)} of pairs of replies are equal with one seed and "
        f"{percent(across)} with several"
    )
    if across >= CACHED_MATCH:
        return "unclear", f"{words}: replies do not vary, so a seed changes nothing", figures
    if within > across + SEED_KEPT:
        return "kept", words, figures  # less than always may be the noise that temperature 0 shows too
    if within <= across + SEED_IGNORED:
        return "broken", f"{words}: the seed is ignored", figures
    return "unclear", words, figures


def letters(own: Sequence[ProbeRecord], reference: Sequence[ProbeRecord]) -> Reading:
    """Checks that replies do not begin with a small letter where the reference's begin with a capital."""
    here, there = _begins_small(own), _begins_small(reference)
    if len(here) < LETTERS_MIN:
        return "untested", "too few replies begin with a letter", {}
    share = sum(here) / len(here)
    if share < SMALL_HERE:
        return "kept", f"{percent(1 - share)} of the replies begin with a capital", {"small": share}
    words = f"{percent(share)} of the replies begin with a small letter"
    if len(there) >= LETTERS_MIN and sum(there) / len(there) <= SMALL_THERE:
        words = f"{words}, and {percent(sum(there) / len(there))} of the reference's"
        return "broken", words, {"small": share}
    return "unclear", words, {"small": share}


def one_server(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that all answers name one served model, upstream and fingerprint."""
    replies = [row for row in rows if row.reply is not None]
    named = Counter((row.served_model, row.upstream, row.system_fingerprint) for row in replies)
    if not replies:
        return untested(rows, "greedy")
    if len(named) > 1:
        counts = ", ".join(f"{' '.join(filter(None, name))} ({n})" for name, n in named.most_common())
        words = f"answers name {len(named)} configurations: {counts}"
        return "broken", words, {"configurations": len(named)}
    (only,) = named
    if not only[1] and not only[2]:
        return "untested", "answers do not name the configuration that gave them", {}
    words = f"all answers name one configuration: {' '.join(filter(None, only))}"
    return "kept", words, {"configurations": 1}


def one_model(own: Sequence[ProbeRecord], reference: Sequence[ProbeRecord]) -> Reading:
    """Checks that no second greedy reply comes back to a prompt.

    A second model has one greedy reply of its own to each prompt: it is repeated, it differs early from the
    usual one, and the reference does not have both. Noise gives another reply each time."""
    asked = repeated = times_repeated = strays = noisy = 0
    for topic in range(len(TOPICS)):
        replies = Counter(_replies(own, "greedy", topic))
        known = set(_replies(reference, "greedy", topic))
        if replies.total() < 2:
            continue
        asked += replies.total()
        (usual, _), *others = replies.most_common()
        if not others:
            continue
        (other, times), here = others[0], sum(count for _, count in others)
        strays += here
        noisy += times == 1 < here
        early = _common(usual, other) < EARLY * len(usual)
        if times >= 2 and 2 * times > here and early and not known >= {usual, other}:
            repeated, times_repeated = repeated + 1, times_repeated + times
    if asked < 2:
        return untested(own, "greedy")
    figures = {"replies": asked, "not the usual one": strays, "prompts with a second one": repeated}
    words = f"{strays} of {asked} greedy replies differ from the most frequent reply to the same prompt"
    if repeated >= 2:
        words = (
            f"at temperature 0, {repeated} of {len(TOPICS)} prompts have a second reply that occurs repeatedly "
            f"({times_repeated} times in all)"
        )
        return "broken", words, figures
    if not repeated and (strays <= asked * STRAYS or noisy):
        return "kept", f"{words}: there is no sign of a second model", figures
    return "unclear", f"{words}: there may be several models, or batching adds noise", figures


def same_words(own: Sequence[ProbeRecord], reference: Sequence[ProbeRecord]) -> Reading:
    """Checks that greedy replies are equal as often across the two methods as within.

    Replies are compared up to the length of the shortest: lengths have their own probes."""
    prompts = []
    for topic in range(len(TOPICS)):
        here, there = (_replies(rows, "greedy", topic) for rows in (own, reference))
        if len(here) >= 2 and len(there) >= 2:
            shortest = min(filter(None, map(len, [*here, *there])), default=0)
            prompts.append(([reply[:shortest] for reply in here], [reply[:shortest] for reply in there]))
    if not prompts:
        return "untested", "needs a reference's replies to the same prompts", {}
    within = float(np.mean([(match(here) + match(there)) / 2 for here, there in prompts]))
    across = float(np.mean([np.mean([a == b for a in here for b in there]) for here, there in prompts]))
    p = permutation_p(prompts, rarer_across, np.random.default_rng(2))
    figures = {"within": within, "across": across, "p": p}
    words = (
        f"at temperature 0, {percent(within)} of pairs of replies of one method are equal, and "
        f"{percent(across)} of pairs with one reply of each method (p = {p:.3f})"
    )
    answer: Answer = "broken" if p <= P_CERTAIN else "kept" if across >= within - SAME_WORDS else "unclear"
    return answer, words, figures


def _replies(rows: Sequence[ProbeRecord], kind: str, topic: int) -> list[str]:
    return texts_of(rows, kind, str(topic))


def _begins_small(rows: Sequence[ProbeRecord]) -> list[bool]:
    kinds = ("greedy", "warm", "seed", "long")
    replies = [row.reply.strip() for row in rows if row.reply and row.kind in kinds]
    return [reply[0].islower() for reply in replies if reply and reply[0].isalpha()]


def match(replies: Sequence[str]) -> float:
    """Returns the share of pairs that are equal."""
    pairs = list(combinations(replies, 2))
    return sum(one == other for one, other in pairs) / len(pairs)


def _common(one: str, other: str) -> int:
    """Counts the characters on which two texts agree from the start."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


# --- permutation of labels within prompts -------------------------------------------------------------------

Statistic = Callable[[FloatArray, BoolArray], FloatArray]
"""A function of labels and equal that returns one value for each labelling.

labels    (labellings, replies): 1 for a reply of the first group
equal     (replies, replies): true for two equal replies"""


def permutation_p(
    prompts: Sequence[tuple[Sequence[str], Sequence[str]]], statistic: Statistic, rng: np.random.Generator
) -> float:
    """Returns the p of "both groups of replies come from one source": (1 + count) / (draws + 1).

    prompts    the two groups of each; statistics add up over prompts"""
    sums = np.zeros(DRAWS + 1)
    for first, second in prompts:
        replies = [*first, *second]
        equal = np.array([[one == other for other in replies] for one in replies], dtype=np.bool_)
        sums += statistic(_labellings(len(first), len(replies), rng), equal)
    return float((1 + np.sum(sums[1:] >= sums[0] - 1e-12)) / (DRAWS + 1))


def excess_match(labels: FloatArray, equal: BoolArray) -> FloatArray:
    """Returns how much more often replies of the first group are equal to each other than those of the
    second."""
    other = equal & ~np.eye(len(equal), dtype=np.bool_)
    first = labels.sum(axis=1)
    second = equal.shape[0] - first
    inside = np.einsum("di,ij,dj->d", labels, other, labels) / (first * (first - 1))
    outside = np.einsum("di,ij,dj->d", 1 - labels, other, 1 - labels) / (second * (second - 1))
    return np.asarray(inside - outside)


def rarer_across(labels: FloatArray, equal: BoolArray) -> FloatArray:
    """Returns minus the number of equal pairs with one reply of each group."""
    return np.asarray(-np.einsum("di,ij,dj->d", labels, equal, 1 - labels))


def _labellings(size: int, replies: int, rng: np.random.Generator) -> FloatArray:
    """Returns (1 + DRAWS, replies), 1 for the first group: first the labels as they are, then random ones."""
    identity = np.zeros((1, replies))
    identity[0, :size] = 1
    order = np.argsort(rng.random((DRAWS, replies)), axis=1)
    return np.concatenate([identity, (order < size).astype(np.float64)])

"""Can replies of two methods to one prompt be told apart? A classifier two-sample test, for replies that
hardly repeat.

Two classifiers look at each reply, its similarity to the reference's other replies to the same prompt, its
length, its finish reason and its character n-grams: - one learns on other prompts to tell the two methods
apart: its AUC must stay below .55; - one learns from the reference alone to tell replies to this prompt from
replies to other prompts ("foreign" ones):
  the share of such replies among the method's must stay below .10.
Knows arrays of replies; nothing of verdicts. Keeps: exchangeable replies give an AUC of .5 and a share of 0,
whatever the prompts are; no classifier is tested on a prompt, or another prompt of its item, that it learned
the labels of.
Does not promise: to notice a difference that these features do not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import expit

from harness.audit.replies.columns import PromptReplies
from harness.audit.replies.divergence import Divergence
from harness.audit.replies.kernels import character_ngrams
from harness.audit.replies.prompt_pairs import similarity_of
from harness.audit.scores.arrays import FloatArray, IntArray

AUC_MARGIN = 0.55  # 10 of 100 replies told apart with certainty, and chance for the others
SHARE_MARGIN = 0.10
SELF_MATCH_MIN = 0.5
"""Pairs of replies of one method that are equal, below which an equivalence rests on this test. At .5 or more
a margin of .05 on equal pairs bounds the share of other replies below .10; below it that margin allows
more."""
SEPARATION_MIN = 0.6
"""AUC of the second classifier, below which its share is not reported. Measured on replies that do not depend
on the prompt: .53 to .55, and shares far outside of 0 to 1."""
FOREIGN = 3  # replies to other prompts that are drawn for each prompt
CANDIDATES = 16  # prompts of which the one with the most similar replies gives a foreign one: a hard case
FOLDS = 20  # with five, the deviation of the AUC of identical methods is larger by a sixth
RESAMPLES = 60  # with planted foreign replies; their mean and deviation are used
COMPONENTS = 64  # of the n-grams; 16 or 200 change the deviation of the AUC by a tenth
PAIRS_MAX = 200_000  # compared pairs of replies: bounds time at some seconds
_RIDGE = 0.05  # of the mean variance of a feature


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierTest:
    """The result of two classifiers that try to distinguish the methods' replies.

    auc, auc_high       chance that the first ranks a reply of the method above one of the reference, and its
                        1 - alpha bound
    share, share_high   share of foreign replies among the method's less that among the reference's, and its
                        bound; None where the separation is below SEPARATION_MIN
    separation          chance that the second ranks a foreign reply above one of the reference: .5 means it
                        has no power
    p_auc, p_share      of "the AUC is at least .55" and "the share is at least .10" """

    prompts: int
    auc: float
    auc_high: float
    share: float | None
    share_high: float | None
    separation: float
    p_auc: float
    p_share: float

    @property
    def p_equivalence(self) -> float:
        """Returns the larger p, because both hypotheses must be rejected (Berger 1982, intersection-union
        test)."""
        return max(self.p_auc, self.p_share)


def hardly_repeats(divergence: Divergence) -> bool:
    """Returns whether replies repeat so rarely that an equivalence needs this test: rho is then near 1 and
    the excess near 0 for any two methods."""
    return divergence.self_match < SELF_MATCH_MIN


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Prompts with `first` replies of the reference and `second` of the method, `total` in all.

    item        (prompts,)
    similarity  (prompts, total + FOREIGN, total, measures): of a reply, or a foreign one, to each reply
    text        (prompts, total + FOREIGN, features): log length and components of the n-grams"""

    first: int
    second: int
    item: IntArray
    similarity: FloatArray
    text: FloatArray

    @property
    def total(self) -> int:
        return self.first + self.second

    def as_labelled(self) -> tuple[IntArray, IntArray]:
        """Returns the places of the reference's and of the method's replies, (prompts, first) and (prompts,
        second)."""
        places = np.tile(np.arange(self.total), (len(self.item), 1))
        return places[:, : self.first], places[:, self.first :]

    def planted(self, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Returns random labels, with one in ten of the method's replies replaced by a foreign one."""
        order = np.argsort(rng.random((len(self.item), self.total)), axis=1)
        method = order[:, self.first :]
        foreign = self.total + rng.integers(FOREIGN, size=method.shape)
        return order[:, : self.first], np.where(rng.random(method.shape) < SHARE_MARGIN, foreign, method)

    def features(self, reference: IntArray, replies: IntArray) -> FloatArray:
        """Returns each reply's mean and largest similarity to the reference's other replies, (prompts,
        replies, features).

        A reply of the method is compared with one reply fewer than there are, as those of the reference are:
        so that exchangeable replies have exchangeable features."""
        row = np.arange(len(self.item))[:, None, None]
        measured = self.similarity[row, replies[:, :, None], reference[:, None, :]]
        own = replies[:, :, None] == reference[:, None, :]
        left_out = np.where(own.any(axis=2), own.argmax(axis=2), np.arange(replies.shape[1]) % self.first)
        kept = np.arange(self.first) != left_out[:, :, None]
        mean = np.where(kept[..., None], measured, 0.0).sum(axis=2) / (self.first - 1)
        return np.concatenate([mean, np.where(kept[..., None], measured, -np.inf).max(axis=2)], axis=2)


def tell_apart(
    replies: PromptReplies, a: int, b: int, prompts: IntArray, alpha: float, rng: np.random.Generator
) -> ClassifierTest | None:
    """Tests methods a, the reference, and b on prompts with two replies of each or more that are not all
    equal.

    prompts  ascending; a random part of them is used where they have more than PAIRS_MAX pairs
    returns  None with fewer than FOLDS items
    source   Lopez-Paz & Oquab (2017), ICLR; bounds over items, whose prompts stay together"""
    prompts = _affordable(replies, a, b, prompts, rng)
    if len(np.unique(replies.item_of[prompts])) < FOLDS:
        return None
    blocks = [*_blocks(replies, a, b, prompts, rng)]
    items, fold = np.unique(np.concatenate([block.item for block in blocks]), return_inverse=True)
    fold = (rng.permutation(len(items)) % FOLDS)[fold.reshape(-1)]
    auc = _over_items(blocks, _learned_auc(blocks, fold))
    reach = float(stats.t.ppf(1 - alpha, len(items) - 1)) / np.sqrt(len(items))
    weights, separation, gap = _foreign_classifier(blocks)
    share = share_high = None
    p_share = 1.0
    if separation >= SEPARATION_MIN:
        observed = _over_items(blocks, _shares(blocks, weights, [block.as_labelled() for block in blocks]))
        share = float(observed.mean()) / gap
        share_high = share + reach * float(observed.std(ddof=1)) / gap
        p_planted = _p_below_planted(float(observed.mean()), _planted_means(blocks, weights, rng))
        p_share = max(_p_below(observed, SHARE_MARGIN * gap), p_planted)
    return ClassifierTest(
        prompts=len(prompts),
        auc=float(auc.mean()),
        auc_high=float(auc.mean() + reach * auc.std(ddof=1)),
        share=share,
        share_high=share_high,
        separation=separation,
        p_auc=_p_below(auc, AUC_MARGIN),
        p_share=p_share,
    )


def _planted_means(blocks: Sequence[_Block], weights: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Returns the statistic of the shares under random labels with 10 of 100 foreign replies planted,
    (RESAMPLES,)."""
    return np.array(
        [
            _over_items(blocks, _shares(blocks, weights, [block.planted(rng) for block in blocks])).mean()
            for _ in range(RESAMPLES)
        ]
    )


def _affordable(
    replies: PromptReplies, a: int, b: int, prompts: IntArray, rng: np.random.Generator
) -> IntArray:
    total = replies.count[a][prompts] + replies.count[b][prompts]
    order = rng.permutation(len(prompts))
    within = np.cumsum((total * (total + FOREIGN))[order]) <= PAIRS_MAX
    return np.sort(prompts[order[within]])


def _over_items(blocks: Sequence[_Block], by_block: Sequence[FloatArray]) -> FloatArray:
    """Returns the mean over each item's prompts of a value a prompt, (items,)."""
    _, item = np.unique(np.concatenate([block.item for block in blocks]), return_inverse=True)
    item = item.reshape(-1)
    return np.asarray(np.bincount(item, weights=np.concatenate(by_block)) / np.bincount(item))


def _p_below(values: FloatArray, margin: float) -> float:
    """Returns the p of "the mean is at least the margin", by Student's t over items."""
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    if error < 1e-12:
        return 0.0 if values.mean() < margin else 1.0
    return float(stats.t.cdf((values.mean() - margin) / error, len(values) - 1))


def _p_below_planted(share: float, planted: FloatArray) -> float:
    """Returns the p of "it is one more sample with planted replies", by the t of one future value."""
    spread = float(planted.std(ddof=1)) * np.sqrt(1 + 1 / len(planted))
    return float(stats.t.cdf((share - planted.mean()) / spread, len(planted) - 1))


# --- features -----------------------------------------------------------------------------------------------


def _blocks(
    replies: PromptReplies, a: int, b: int, prompts: IntArray, rng: np.random.Generator
) -> Iterator[_Block]:
    """Yields the prompts by their numbers of replies."""
    vectors = _whitened(character_ngrams(replies.texts))
    foreign = _foreign_rows(replies, a, b, prompts, vectors, rng)
    counts = np.stack([replies.count[a][prompts], replies.count[b][prompts]])
    shapes, group = np.unique(counts, axis=1, return_inverse=True)
    for index, (first, second) in enumerate(shapes.T.tolist()):
        chosen = group.reshape(-1) == index
        own = np.concatenate(
            [
                replies.start[m][prompts[chosen]][:, None] + np.arange(count)
                for m, count in ((a, first), (b, second))
            ],
            axis=1,
        )
        rows = np.concatenate([own, foreign[chosen]], axis=1)
        place = replies.place[rows]
        yield _Block(
            first=first,
            second=second,
            item=replies.item_of[prompts[chosen]],
            similarity=_similarity(replies, rows, own, vectors),
            text=np.concatenate(
                [np.log1p(replies.size[rows])[..., None], vectors[place][..., :COMPONENTS]], axis=2
            ),
        )


def _whitened(vectors: FloatArray) -> FloatArray:
    """Returns the vectors on their principal components, largest first, each of variance near 1.

    A tenth of the mean variance is added to each, so that a component without variance stays small."""
    centred = vectors - vectors.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    variance, axes = np.maximum(variance[::-1], 0.0), axes[:, ::-1]
    return np.asarray(centred @ (axes / np.sqrt(variance + 0.1 * max(float(variance.mean()), 1e-12))))


def _foreign_rows(
    replies: PromptReplies, a: int, b: int, prompts: IntArray, vectors: FloatArray, rng: np.random.Generator
) -> IntArray:
    """Draws replies of the reference to prompts of other items, (prompts, FOREIGN) rows.

    Of several candidates the prompt with the most similar replies gives one: a reply to a prompt of another
    game would be told apart by its format alone. The method's replies say what is similar: the reference's
    own would make the chosen ones more similar to them than they are to each other."""
    count = len(prompts)
    theirs, ours = (_centres(replies, m, prompts, vectors) for m in (a, b))
    candidate = rng.integers(count, size=(count, FOREIGN, CANDIDATES))
    likeness = np.einsum("pd,pfcd->pfc", ours, theirs[candidate])
    item = replies.item_of[prompts]
    likeness[item[candidate] == item[:, None, None]] = -np.inf
    chosen = prompts[np.take_along_axis(candidate, likeness.argmax(axis=2)[..., None], axis=2)[..., 0]]
    drawn = rng.integers(2**31, size=chosen.shape) % replies.count[a][chosen]
    return np.asarray(replies.start[a][chosen] + drawn)


def _centres(replies: PromptReplies, m: int, prompts: IntArray, vectors: FloatArray) -> FloatArray:
    """Returns the direction of the mean vector of a method's replies to each prompt, (prompts, places)."""
    centre = np.stack(
        [
            vectors[replies.place[start : start + number]].mean(axis=0)
            for start, number in zip(replies.start[m][prompts], replies.count[m][prompts], strict=True)
        ]
    )
    return np.asarray(centre / np.maximum(np.linalg.norm(centre, axis=1, keepdims=True), 1e-12))


def _similarity(replies: PromptReplies, rows: IntArray, own: IntArray, vectors: FloatArray) -> FloatArray:
    """Returns six measures for each row of a prompt and each of its replies: prefix, position, words,
    n-grams, length, finish reason."""
    shape = (*rows.shape, own.shape[1])
    left = np.broadcast_to(rows[:, :, None], shape).reshape(-1)
    right = np.broadcast_to(own[:, None, :], shape).reshape(-1)
    table, _ = similarity_of(replies, left, right)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    ngrams = np.einsum("pid,pjd->pij", unit[replies.place[rows]], unit[replies.place[own]])
    length = -np.abs(np.log1p(replies.size[left]) - np.log1p(replies.size[right]))
    return np.concatenate(
        [
            table[:, 1:4].reshape(*shape, 3),
            ngrams[..., None],
            length.reshape(shape)[..., None],
            table[:, 5].reshape(shape)[..., None],
        ],
        axis=3,
    )


# --- the classifier of two methods --------------------------------------------------------------------------


def _learned_auc(blocks: Sequence[_Block], fold: IntArray) -> list[FloatArray]:
    """Returns the AUC within each prompt by ridge regression on the prompts of other folds, a value a prompt.

    fold  (prompts,) of all blocks in a row"""
    ends = np.cumsum([len(block.item) for block in blocks])[:-1]
    folds = np.split(fold, ends)
    inputs = _centred_inputs(blocks)
    columns = inputs[0].shape[2]
    gram, shift = np.zeros((FOLDS, columns, columns)), np.zeros((FOLDS, columns))
    for block, values, part in zip(blocks, inputs, folds, strict=True):
        label = np.repeat([-1 / block.first, 1 / block.second], [block.first, block.second])
        for k in range(FOLDS):
            chosen = values[part == k].reshape(-1, columns)
            gram[k] += chosen.T @ chosen
            shift[k] += np.einsum("pid,i->d", values[part == k], label)
    others = gram.sum(axis=0) - gram
    ridge = _RIDGE * np.trace(others, axis1=1, axis2=2)[:, None, None] / columns * np.eye(columns)
    weights = np.linalg.solve(others + ridge, (shift.sum(axis=0) - shift)[..., None])[..., 0]
    return [
        _auc(np.einsum("pid,pd->pi", values, weights[part]), block.first)
        for block, values, part in zip(blocks, inputs, folds, strict=True)
    ]


def _centred_inputs(blocks: Sequence[_Block]) -> list[FloatArray]:
    """Returns the features of all replies less their prompt's mean, of variance 1, (prompts, replies,
    features) each."""
    inputs = []
    for block in blocks:
        reference, method = block.as_labelled()
        every = np.concatenate([reference, method], axis=1)
        values = np.concatenate([block.features(reference, every), block.text[:, : block.total]], axis=2)
        inputs.append(values - values.mean(axis=1, keepdims=True))
    flat = np.concatenate([values.reshape(-1, values.shape[2]) for values in inputs])
    spread = np.maximum(flat.std(axis=0), 1e-9)
    return [values / spread for values in inputs]


def _auc(score: FloatArray, first: int) -> FloatArray:
    """Returns the share of pairs in which the method's reply scores higher, ties half, (prompts,)."""
    above = score[:, first:, None] - score[:, None, :first]
    return np.asarray(((above > 0) + 0.5 * (above == 0)).mean(axis=(1, 2)))


# --- the classifier of foreign replies ----------------------------------------------------------------------


def _foreign_classifier(blocks: Sequence[_Block]) -> tuple[FloatArray, float, float]:
    """Learns to tell the reference's replies to a prompt from its replies to other prompts, by logistic
    regression.

    returns  weights, the intercept last, for a share of foreign replies of SHARE_MARGIN; the AUC; the
             difference of the mean probabilities"""
    own, foreign = [], []
    for block in blocks:
        reference, _ = block.as_labelled()
        strange = np.tile(np.arange(block.total, block.total + FOREIGN), (len(block.item), 1))
        own.append(block.features(reference, reference))
        foreign.append(block.features(reference, strange))
    columns = own[0].shape[2]
    flat = [np.concatenate([part.reshape(-1, columns) for part in parts]) for parts in (own, foreign)]
    weights = _logistic(*flat)
    scores = [_with_one(part) @ weights for part in flat]
    ranks = stats.rankdata(np.concatenate(scores))[len(scores[0]) :]
    below = (ranks.sum() - len(ranks) * (len(ranks) + 1) / 2) / (len(scores[0]) * len(scores[1]))
    gap = float(expit(scores[1]).mean() - expit(scores[0]).mean())
    return weights, float(below), max(gap, 1e-6)


def _logistic(own: FloatArray, foreign: FloatArray) -> FloatArray:
    """Returns weights of a logistic regression with classes weighted 1 - SHARE_MARGIN and SHARE_MARGIN
    (Newton's method)."""
    values = _with_one(np.concatenate([own, foreign]))
    spread = np.append(values[:, :-1].std(axis=0), 1.0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    values = values / scale
    label = np.repeat([0.0, 1.0], [len(own), len(foreign)])
    counted = np.repeat(
        [(1 - SHARE_MARGIN) / len(own), SHARE_MARGIN / len(foreign)], [len(own), len(foreign)]
    )
    weights = np.zeros(values.shape[1])
    weights[-1] = np.log(SHARE_MARGIN / (1 - SHARE_MARGIN))
    penalty = np.append(np.full(values.shape[1] - 1, 1e-4), 0.0)
    for _ in range(20):  # it converges in six to ten
        probability = expit(values @ weights)
        slope = values.T @ (counted * (label - probability)) - penalty * weights
        curve = (values.T * (counted * probability * (1 - probability))) @ values + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curve, slope)
        weights = weights + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
    return np.asarray(weights / scale)


def _with_one(values: FloatArray) -> FloatArray:
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)


def _shares(
    blocks: Sequence[_Block], weights: FloatArray, labels: Sequence[tuple[IntArray, IntArray]]
) -> list[FloatArray]:
    """Returns the mean probability of being foreign of the method's replies less that of the reference's, a
    value a prompt."""
    differences = []
    for block, (reference, method) in zip(blocks, labels, strict=True):
        own, other = (
            expit(block.features(reference, replies) @ weights[:-1] + weights[-1]).mean(axis=1)
            for replies in (reference, method)
        )
        differences.append(other - own)
    return differences

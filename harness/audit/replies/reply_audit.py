"""Identical prompts: do replies come from one distribution, within a method and across methods?

Speaks even where a small model's scores are all alike. A prompt is one whole history, put for one item; the same in any turn. Comparing
turn with turn would blame the third for what the first did; comparing history with history does not.
Keeps: every prompt counts once, however often it was asked; a turn's p is valid given all that was said before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import stats

from harness.audit import verdicts
from harness.audit.replies.divergence import MARGIN_MATCH, Divergence, Pairs, diverge, items_to_prove_alike
from harness.audit.replies.kernels import KERNELS, Texts, likeness, prepare
from harness.audit.replies.label_permutation import DRAWS, Block, pairs_of, permutation_test, randomised_p
from harness.audit.scores.arrays import BoolArray, Column, FloatArray, IntArray
from harness.audit.scores.intervals import share_interval
from harness.audit.verdicts import Verdict
from harness.core.errors import AuditError
from harness.core.seeds import derive_seed

TURNS_MAX = 12  # later turns have hardly a history in common
NOT_SAID = "not said"
_PAIRS_AT_ONCE = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyColumns:
    """Replies, column by column, lists or numpy arrays of one length: one row a call that brought one.

    item     the puzzle; turn: of the episode, from 0
    ask_hash of the whole history: equal hash, identical prompt
    reply    the reply's text or a key that stands for it
    size     of the reply, in bytes of UTF-8
    ending   why it ended, in the words of its provider's dialect; None: not said
    names, endings, texts  what stands behind keys of methods, endings and replies; empty where these stand for themselves. Rows of a
             method without a name are left out; texts may lack those of prompts that all were answered alike"""

    method: Column
    item: Column
    turn: Column
    ask_hash: Column
    reply: Column
    size: Column
    ending: Column
    names: Mapping[Any, str] = field(default_factory=dict)
    endings: Mapping[Any, str | None] = field(default_factory=dict)
    texts: Mapping[Any, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfMatch:
    """One method's replies.

    share, low, high  of pairs of replies to one prompt that agree, mean over prompts asked at least twice; None without any
    length            mean, in bytes; endings: why replies ended, as shares"""

    method: str
    prompts: int
    share: float | None
    low: float | None
    high: float | None
    length: float
    endings: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFinding:
    """One way to compare replies: the discrepancy between methods, and the p of none, by relabelling within prompts."""

    kernel: str
    discrepancy: float
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinding:
    """One turn of the episodes.

    comparable  share of the method's calls whose history the reference met too
    prompts     with a reply of each and three in all; informative: of these, where not all replies are alike
    p           by the largest of the kernels; None where nothing could tell"""

    turn: int
    comparable: float
    prompts: int
    informative: int
    p: float | None
    kernels: tuple[KernelFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossMatch:
    """One method's replies held against the reference's.

    share, low, high  of pairs, one reply of each, that agree: mean over common prompts with its 1 - alpha interval
    p           of "one distribution", over turns; None where no prompt has three replies; p_difference after Holm
    p_equivalence     of "they part at least margin times as often across, or agree at least 5 percent rarer"; _holm after Holm
    prompts_to_settle how many it takes; only when inconclusive
    divergence  None where no prompt was asked twice through both"""

    method: str
    prompts: int
    share: float
    low: float
    high: float
    p: float | None
    p_difference: float | None
    p_equivalence: float | None
    p_equivalence_holm: float | None
    divergence: Divergence | None
    turns: tuple[TurnFinding, ...]
    verdict: Verdict | None
    label: str
    prompts_to_settle: int | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFindings:
    """Every method with itself, every other method with the reference.

    again       the reference with its second self: what is chance in all the others; None where it was not played
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replies:
    """All rows in order of prompt, method and reply; prompts are numbered.

    start, asked  (methods, prompts): where a method's replies to a prompt begin, and how many there are
    reply, size, ending  (rows,): codes and bytes;  place (rows,): of the reply's text among `texts`, -1 where it is not needed:
                  all replies to the prompt, of whatever method, are alike, or there are not three"""

    names: tuple[str, ...]
    start: IntArray
    asked: IntArray
    reply: IntArray
    size: IntArray
    ending: IntArray
    endings: tuple[str, ...]
    place: IntArray
    texts: Texts
    item_of: IntArray
    turn_of: IntArray
    method: IntArray

    def agreeing(self, a: int, b: int) -> FloatArray:
        """Pairs (a reply of a, a reply of b) that agree, (prompts,)."""
        answers = int(self.reply.max(initial=-1)) + 1
        times = [np.bincount(self.reply[self.method == m], minlength=answers) for m in (a, b)]
        prompt_of = np.zeros(answers, dtype=np.int64)
        prompt_of[self.reply] = np.repeat(np.arange(self.asked.shape[1]), self.asked.sum(axis=0))
        return np.bincount(prompt_of, weights=times[0] * times[1], minlength=self.asked.shape[1]).astype(
            np.float64
        )


def compare_replies(
    columns: ReplyColumns,
    reference: str,
    *,
    again: str | None = None,
    margin: float = 1.5,
    alpha: float = 0.05,
    seed: int,
    draws: int = DRAWS,
) -> ReplyFindings:
    """Agreement of replies to identical prompts, and whether labels matter.

    again   the name under which the reference was played a second time
    margin  how many times as often replies may part across methods as within them
    raises  AuditError if the reference has no reply
    source  shares: Wilson at the effective number of prompts; turns joined by Fisher's sum; the first turn and the later ones each at
            half the level, for the first has most prompts in common"""
    replies = _gather(columns)
    if reference not in replies.names:
        raise AuditError(f"There are no replies through the reference {reference!r}.")
    a = replies.names.index(reference)
    within = tuple(_self_match(replies, m, name, alpha) for m, name in enumerate(replies.names))
    found, left_out = [], []
    for m, name in enumerate(replies.names):
        common = (replies.asked[a] > 0) & (replies.asked[m] > 0)
        if m != a and common.any():
            found.append(_cross_match(replies, a, m, common, margin, alpha, seed, draws))
        elif m != a:
            left_out.append(name)
    twin = next((match for match in found if match.method == again), None)
    counted = [match for match in found if match.method != again]
    return ReplyFindings(
        reference=reference,
        margin=margin,
        alpha=alpha,
        within=within,
        across=tuple(_judged(counted, reference, margin, alpha)),
        again=None if twin is None else replace(twin, sentence=verdicts.replies_again(*_rho(twin), p=twin.p)),
        calibrated=twin is None or twin.p is None or twin.p >= verdicts.CALIBRATION_ALPHA,
        left_out=tuple(left_out),
    )


# --- rows become prompts ------------------------------------------------------------------------------------------------------


def sample_p(
    columns: ReplyColumns, one: str, other: str, rng: np.random.Generator, draws: int = DRAWS
) -> float | None:
    """p of "the replies under both names come from one source", for names that are samples of one method; exactly uniform if so.

    returns  None where no prompt has a reply of each and three in all; by a coin where all replies agree: then anything is as likely"""
    replies = _gather(columns)
    if one not in replies.names or other not in replies.names:
        return None
    a, b = replies.names.index(one), replies.names.index(other)
    testable = _testable(replies, a, b)
    informative = testable & _told_apart(replies, a, b)
    if not informative.any():
        return 1 - float(rng.random()) if testable.any() else None
    return randomised_p(
        _blocks(_compared(replies, a, b, np.flatnonzero(informative)), informative), rng, draws
    )


def _gather(columns: ReplyColumns) -> _Replies:
    came = _came(columns.reply)
    if columns.names:
        came &= np.isin(np.asarray(columns.method), np.array([*columns.names]))
    names, method = _named(columns.method, came, columns.names)
    endings, ending = _named(columns.ending, came, columns.endings)
    _, asked = _coded(columns.ask_hash, came)
    _, item = _coded(columns.item, came)
    answers, answer = _coded(columns.reply, came)
    turn, size = (np.asarray(column, dtype=np.int64)[came] for column in (columns.turn, columns.size))
    _, first, prompt = np.unique(
        asked * (item.max(initial=0) + 1) + item, return_index=True, return_inverse=True
    )
    order = np.argsort((prompt * len(names) + method) * len(answers) + answer, kind="stable")
    counts = np.bincount(method * len(first) + prompt, minlength=len(names) * len(first)).reshape(
        len(names), len(first)
    )
    start = (np.concatenate([[0], np.cumsum(counts.T.reshape(-1))[:-1]])).reshape(len(first), len(names)).T
    said = np.unique(prompt * (len(answers) + 1) + answer, return_inverse=True)[1].reshape(-1)
    told = _varied(prompt, answer, len(first)) & (counts.sum(axis=0) > 2)
    place, texts = _texts(answers, answer, told[prompt], columns.texts)
    return _Replies(
        names=names,
        start=start,
        asked=counts,
        reply=said[order],
        size=size[order],
        ending=ending[order],
        endings=endings,
        place=place[order],
        texts=texts,
        item_of=item[first],
        turn_of=turn[first],
        method=method[order],
    )


def _came(column: Column) -> BoolArray:
    """Rows that have a reply."""
    if isinstance(column, np.ndarray) and column.dtype != np.object_:
        return ~np.ma.getmaskarray(column)
    return np.fromiter(
        (reply is not None and reply is not np.ma.masked for reply in column),
        dtype=np.bool_,
        count=len(column),
    )


def _named(
    column: Column, kept: BoolArray, behind: Mapping[Any, str | None]
) -> tuple[tuple[str, ...], IntArray]:
    """The distinct names, sorted, and each kept row's place among them; what was not said has a name too."""
    keys, code = _coded(column if behind else [word or NOT_SAID for word in column], kept)
    words = [behind[key] or NOT_SAID for key in keys] if behind else list(keys)
    names = tuple(sorted(set(words)))
    return names, np.array([names.index(word) for word in words], dtype=np.int64)[code]


def _coded(column: Column, kept: BoolArray) -> tuple[tuple[Any, ...], IntArray]:
    """The distinct values, sorted, and each kept row's place among them."""
    if isinstance(column, np.ndarray) and column.dtype != np.object_:
        values = np.asarray(column)[kept]
        names, code = np.unique(values, return_inverse=True)
        return tuple(names.tolist()), code.reshape(-1).astype(np.int64)
    listed = [value for value, keep in zip(column, kept, strict=True) if keep]
    known = sorted(set(listed))
    place = {name: index for index, name in enumerate(known)}
    return tuple(known), np.fromiter(map(place.__getitem__, listed), dtype=np.int64, count=len(listed))


def _varied(prompt: IntArray, code: IntArray, prompts: int) -> BoolArray:
    """Prompts with two different codes, (prompts,)."""
    varied = np.zeros(prompts, dtype=np.bool_)
    one = np.zeros(prompts, dtype=np.int64)
    one[prompt] = code
    varied[prompt[one[prompt] != code]] = True
    return varied


def _texts(
    answers: Sequence[object], answer: IntArray, needed: BoolArray, texts: Mapping[Any, str]
) -> tuple[IntArray, Texts]:
    """Each row's place among the prepared texts, -1 where it is not needed."""
    wanted = np.unique(answer[needed])
    place = np.full(len(answers), -1, dtype=np.int64)
    place[wanted] = np.arange(len(wanted))
    keys = [answers[code] for code in wanted.tolist()]
    return np.where(needed, place[answer], -1), prepare([texts[key] if texts else str(key) for key in keys])


# --- one method ---------------------------------------------------------------------------------------------------------------


def _self_match(replies: _Replies, m: int, name: str, alpha: float) -> SelfMatch:
    rows = replies.method == m
    ended = np.bincount(replies.ending[rows], minlength=len(replies.endings)) / rows.sum()
    several = replies.asked[m] >= 2
    share = low = high = None
    if several.any():
        n = replies.asked[m][several]
        agree = (replies.agreeing(m, m)[several] - n) / (n * (n - 1))
        share, (low, high) = float(agree.mean()), _prompt_interval(agree, n, alpha)
    return SelfMatch(
        method=name,
        prompts=int(several.sum()),
        share=share,
        low=low,
        high=high,
        length=float(replies.size[rows].mean()),
        endings=tuple(
            (word, float(part)) for word, part in zip(replies.endings, ended, strict=True) if part > 0
        ),
    )


def _prompt_interval(share: FloatArray, replies: IntArray, alpha: float) -> tuple[float, float]:
    """Wilson's interval with prompts as units, each worth at most its replies."""
    worth = np.full(len(share), replies.mean())
    return share_interval(share * worth, worth, alpha)


# --- two methods --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """Prompts that the reference was asked `first` times and the method `second` times, every pair of their replies, in the order of
    `pairs_of`.

    prompts     (prompts,)
    similarity  (prompts, pairs, kernels)
    agree       (prompts, pairs): the same text
    common      (prompts, pairs): bytes before the first difference"""

    first: int
    second: int
    prompts: IntArray
    similarity: FloatArray
    agree: BoolArray
    common: IntArray


def _cross_match(
    replies: _Replies, a: int, b: int, common: BoolArray, margin: float, alpha: float, seed: int, draws: int
) -> CrossMatch:
    share = replies.agreeing(a, b)[common] / (replies.asked[a] * replies.asked[b])[common]
    low, high = _prompt_interval(share, np.minimum(replies.asked[a], replies.asked[b])[common], alpha)
    informative = _testable(replies, a, b) & _told_apart(replies, a, b)
    compared = _compared(replies, a, b, np.flatnonzero(informative))
    turns = tuple(_turns(replies, a, b, compared, seed, draws))
    divergence = _divergence(replies, a, b, compared, margin, alpha, seed)
    return CrossMatch(
        method=replies.names[b],
        prompts=len(share),
        share=float(share.mean()),
        low=low,
        high=high,
        p=_joined(turns),
        p_difference=None,
        p_equivalence=divergence.p_equivalence if divergence else None,
        p_equivalence_holm=None,
        divergence=divergence,
        turns=turns,
        verdict=None,
        label="not compared",
        prompts_to_settle=None,
        sentence="",
    )


def _testable(replies: _Replies, a: int, b: int) -> BoolArray:
    """Prompts with a reply of each and three in all, (prompts,)."""
    asked_a, asked_b = replies.asked[a], replies.asked[b]
    return np.asarray((asked_a > 0) & (asked_b > 0) & (asked_a + asked_b >= 3))


def _told_apart(replies: _Replies, a: int, b: int) -> BoolArray:
    """Prompts to which these two methods gave more than one reply or ending between them, (prompts,)."""
    rows = (replies.method == a) | (replies.method == b)
    prompts = replies.asked.shape[1]
    prompt = np.repeat(np.arange(prompts), replies.asked.sum(axis=0))[rows]
    return _varied(prompt, replies.reply[rows], prompts) | _varied(prompt, replies.ending[rows], prompts)


def _turns(
    replies: _Replies, a: int, b: int, compared: Sequence[_Compared], seed: int, draws: int
) -> Iterator[TurnFinding]:
    asked_a, asked_b = replies.asked[a], replies.asked[b]
    both, testable = (asked_a > 0) & (asked_b > 0), _testable(replies, a, b)
    for turn in range(min(TURNS_MAX, int(replies.turn_of.max(initial=-1)) + 1)):
        here = replies.turn_of == turn
        calls = int(asked_b[here].sum())
        if not calls:
            continue
        blocks = _blocks(compared, here)
        informative = sum(len(block.similarity) for block in blocks)
        rng = np.random.default_rng(derive_seed(seed, "audit", "replies", turn))
        result = permutation_test(blocks, rng, draws) if blocks else None
        whole = informative / max(
            int((here & testable).sum()), 1
        )  # prompts answered alike add nothing, and count
        yield TurnFinding(
            turn=turn,
            comparable=float(asked_b[here & both].sum() / calls),
            prompts=int((here & testable).sum()),
            informative=informative,
            p=result.p if result else None,
            kernels=tuple(
                KernelFinding(kernel=name, discrepancy=value * whole, p=p)
                for name, value, p in zip(KERNELS, result.discrepancy, result.p_kernels, strict=True)
            )
            if result
            else (),
        )


def _blocks(compared: Sequence[_Compared], wanted: BoolArray) -> list[Block]:
    """Of the prompts that are wanted, (prompts of all,)."""
    return [
        Block(first=one.first, second=one.second, similarity=one.similarity[wanted[one.prompts]])
        for one in compared
        if wanted[one.prompts].any()
    ]


def _joined(turns: Sequence[TurnFinding]) -> float | None:
    """One p of all turns: the first and the later ones, each at half the level; 1 where every reply agreed, None where none could."""
    if not any(turn.prompts for turn in turns):
        return None
    first = [turn.p for turn in turns if turn.turn == 0 and turn.p is not None]
    later = [turn.p for turn in turns if turn.turn > 0 and turn.p is not None]
    parts = [*first, *([float(stats.combine_pvalues(later, method="fisher").pvalue)] if later else [])]
    return min(1.0, len(parts) * min(parts)) if parts else 1.0


def _compared(replies: _Replies, a: int, b: int, prompts: IntArray) -> list[_Compared]:
    return [_compare(replies, a, b, *shape) for shape in _shapes(replies, a, b, prompts)]


def _shapes(replies: _Replies, a: int, b: int, prompts: IntArray) -> Iterator[tuple[int, int, IntArray]]:
    """The prompts by how often each method was asked, in pieces that fit into memory."""
    shape, group = np.unique(
        np.stack([replies.asked[a][prompts], replies.asked[b][prompts]]), axis=1, return_inverse=True
    )
    for index, (first, second) in enumerate(shape.T.tolist()):
        chosen = prompts[group.reshape(-1) == index]
        step = max(1, _PAIRS_AT_ONCE // max(1, (first + second) * (first + second - 1) // 2))
        for start in range(0, len(chosen), step):
            yield first, second, chosen[start : start + step]


def _compare(replies: _Replies, a: int, b: int, first: int, second: int, prompts: IntArray) -> _Compared:
    """The rows of each prompt, the reference's before the method's, pair by pair."""
    rows = np.concatenate(
        [
            replies.start[a][prompts][:, None] + np.arange(first),
            replies.start[b][prompts][:, None] + np.arange(second),
        ],
        axis=1,
    )
    left, right = (rows[:, place].reshape(-1) for place in pairs_of(first + second))
    shape = (len(prompts), -1)
    table, common = _similarity(replies, left, right)
    return _Compared(
        first=first,
        second=second,
        prompts=prompts,
        similarity=table.reshape(*shape, len(KERNELS)),
        agree=(replies.reply[left] == replies.reply[right]).reshape(shape),
        common=common.reshape(shape),
    )


def _similarity(replies: _Replies, left: IntArray, right: IntArray) -> tuple[FloatArray, IntArray]:
    """Of pairs of rows: every kernel, (pairs, kernels), and the bytes before the first difference, (pairs,)."""
    table = np.ones((len(left), len(KERNELS)))
    common = replies.size[left].copy()
    apart = np.flatnonzero(replies.reply[left] != replies.reply[right])
    one, other = replies.place[left[apart]], replies.place[right[apart]]
    texts = len(replies.texts.size)
    key, where = np.unique(
        np.minimum(one, other) * max(texts, 1) + np.maximum(one, other), return_inverse=True
    )
    found = likeness(replies.texts, key // max(texts, 1), key % max(texts, 1))
    where = where.reshape(-1)
    table[apart, 0] = 0.0
    for kernel, values in ((1, found.prefix), (2, found.position), (3, found.words)):
        table[apart, kernel] = values[where]
    table[:, 4] = -np.abs(replies.size[left] - replies.size[right])
    table[:, 5] = replies.ending[left] == replies.ending[right]
    common[apart] = found.common[where]
    return table, common


def _divergence(
    replies: _Replies, a: int, b: int, compared: Sequence[_Compared], margin: float, alpha: float, seed: int
) -> Divergence | None:
    """Over the prompts that both were asked at least twice; None without two. Those not compared were answered alike."""
    twice = (replies.asked[a] >= 2) & (replies.asked[b] >= 2)
    chosen = np.flatnonzero(twice)
    if len(chosen) < 2:
        return None
    alike = twice.copy()
    for one in compared:
        alike[one.prompts] = False
    parts = [
        _pairs(one.first, one.second, one.prompts, one.common, ~one.agree)
        for one in compared
        if min(one.first, one.second) >= 2
    ]
    for first, second, prompts in _shapes(replies, a, b, np.flatnonzero(alike)):
        size = replies.size[replies.start[a][prompts]][:, None]
        parts.append(_pairs(first, second, prompts, size, np.zeros_like(size, dtype=np.bool_)))
    prompt, kind, common, parted = (np.concatenate([part[k] for part in parts]) for k in range(4))
    pairs = Pairs(prompt=np.searchsorted(chosen, prompt), kind=kind, common=common, parted=parted)
    rng = np.random.default_rng(derive_seed(seed, "audit", "divergence"))
    return diverge(pairs, replies.item_of[chosen], margin, alpha, rng)


def _pairs(
    first: int, second: int, prompts: IntArray, common: IntArray, parted: BoolArray
) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """A row each pair: prompt, kind (0 within the reference, 1 within the method, 2 across), common bytes, parted."""
    one, other = pairs_of(first + second)
    kind = np.where(other < first, 0, np.where(one >= first, 1, 2))
    shape = (len(prompts), len(one))
    return (
        np.repeat(prompts, len(one)),
        np.tile(kind, len(prompts)),
        np.broadcast_to(common, shape).reshape(-1),
        np.broadcast_to(parted, shape).reshape(-1),
    )


# --- verdicts -----------------------------------------------------------------------------------------------------------------


def _judged(found: Sequence[CrossMatch], reference: str, margin: float, alpha: float) -> Iterator[CrossMatch]:
    """The comparisons with their verdicts, by Holm over the methods that could be compared."""
    tested = [match for match in found if match.p is not None]
    different = dict(
        zip(
            [match.method for match in tested],
            verdicts.holm([match.p or 0.0 for match in tested]),
            strict=True,
        )
    )
    known = [match for match in tested if match.p_equivalence is not None]
    alike = dict(
        zip(
            [match.method for match in known],
            verdicts.holm([match.p_equivalence or 0.0 for match in known]),
            strict=True,
        )
    )
    for match in found:
        if match.method not in different:
            yield replace(
                match, sentence=verdicts.replies_not_compared(reference, match.share, match.prompts)
            )
            continue
        p_difference, p_equivalence = different[match.method], alike.get(match.method, 1.0)
        verdict = verdicts.decide(
            p_difference=p_difference, p_equivalence=p_equivalence, alpha=alpha, game_beyond=False
        )
        needed = _prompts_to_settle(match, margin, alpha / len(tested)) if verdict == "INCONCLUSIVE" else None
        yield replace(
            match,
            p_difference=p_difference,
            p_equivalence_holm=p_equivalence,
            verdict=verdict,
            label=f"EQUIVALENT within {margin:g} times" if verdict == "EQUIVALENT" else verdict,
            prompts_to_settle=needed,
            sentence=verdicts.replies(
                verdict,
                *_rho(match),
                p=p_difference,
                detectable=p_difference <= alpha,
                margin=margin,
                prompts_to_settle=needed,
            ),
        )


def _rho(match: CrossMatch) -> tuple[float | None, float | None, float | None]:
    found = match.divergence
    return (found.rho, found.low, found.high) if found else (None, None, None)


def _prompts_to_settle(match: CrossMatch, margin: float, alpha: float) -> int | None:
    """Prompts, asked as often as now, that settle it in four audits of five: taking the ratio for 1 if that is believable, else as seen."""
    found = match.divergence
    if found is None:
        return None
    excess_error = (found.excess_high - found.excess_low) / 2 / float(stats.norm.ppf(0.95))
    if excess_error < 1e-9:
        return max(items_to_prove_alike(alpha), found.prompts + 1)
    reach = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(0.9))
    needed = 0.0
    for error, room, seen in (
        (found.error, float(np.log(margin)), abs(float(np.log(found.rho)))),
        (excess_error, MARGIN_MATCH, abs(found.excess)),
    ):
        if reach * error <= room:  # it was precise enough for methods truly alike, and these are not quite
            room = max(room - seen, seen, 0.02 * room)
        needed = max(needed, found.prompts * (reach * error / room) ** 2)
    return max(int(np.ceil(needed)), found.prompts + 1)

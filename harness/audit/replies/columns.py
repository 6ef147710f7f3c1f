"""Reply columns become arrays in order of prompt.

A prompt is one whole history, put for one item; an identical history in any turn is the same prompt.
Knows rows of replies; nothing of similarity, tests or verdicts. Keeps: the order of the rows, the names of
methods and the keys of texts change no figure. Does not promise: texts of prompts whose replies are all
equal, or that have fewer than three; no comparison reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.audit.replies.kernels import Texts, prepare
from harness.audit.scores.arrays import BoolArray, Column, FloatArray, IntArray

NOT_REPORTED = "not said"  # the stored word for a finish reason that the provider did not send


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyColumns:
    """Replies, column by column, lists or numpy arrays of one length: one row a call that returned one.

    item     the item; turn: of the episode, from 0
    ask_hash of the whole history: equal hash, identical prompt
    reply    the reply's text or a key that stands for it
    size     of the reply, in bytes of UTF-8
    ending   the finish reason in the words of the provider's dialect; None: not reported
    names, endings, texts  the values behind keys of methods, endings and replies; empty where the columns
                           hold values. Rows of a method without a name are left out; texts may lack those of
                           prompts whose replies are all equal"""

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
class PromptReplies:
    """All rows in order of prompt, method and reply; prompts are numbered.

    start, count  (methods, prompts): the first row of a method's replies to a prompt, and how many there are
    reply, size, ending  (rows,): codes and bytes
    place         (rows,): of the reply's text among `texts`; -1 where all replies to the prompt are equal, or
                  there are not three
    item_of, turn_of     (prompts,): codes;  method (rows,): codes"""

    names: tuple[str, ...]
    start: IntArray
    count: IntArray
    reply: IntArray
    size: IntArray
    ending: IntArray
    endings: tuple[str, ...]
    place: IntArray
    texts: Texts
    item_of: IntArray
    turn_of: IntArray
    method: IntArray

    def matching_pairs(self, a: int, b: int) -> FloatArray:
        """Counts pairs (a reply of a, a reply of b) with equal text, (prompts,)."""
        codes = int(self.reply.max(initial=-1)) + 1
        times = [np.bincount(self.reply[self.method == m], minlength=codes) for m in (a, b)]
        prompt_of = np.zeros(codes, dtype=np.int64)
        prompt_of[self.reply] = np.repeat(np.arange(self.count.shape[1]), self.count.sum(axis=0))
        return np.bincount(prompt_of, weights=times[0] * times[1], minlength=self.count.shape[1]).astype(
            np.float64
        )

    def testable(self, a: int, b: int) -> BoolArray:
        """Marks prompts with a reply of each method and three in all, (prompts,)."""
        count_a, count_b = self.count[a], self.count[b]
        return np.asarray((count_a > 0) & (count_b > 0) & (count_a + count_b >= 3))

    def informative(self, a: int, b: int) -> BoolArray:
        """Marks testable prompts whose replies or endings from these two methods are not all equal,
        (prompts,)."""
        rows = (self.method == a) | (self.method == b)
        prompts = self.count.shape[1]
        prompt = np.repeat(np.arange(prompts), self.count.sum(axis=0))[rows]
        return self.testable(a, b) & (
            _varied(prompt, self.reply[rows], prompts) | _varied(prompt, self.ending[rows], prompts)
        )


def gather(columns: ReplyColumns) -> PromptReplies:
    """Sorts the rows that hold a reply by prompt, method and reply."""
    present = _present(columns.reply)
    if columns.names:
        present &= np.isin(np.asarray(columns.method), np.array([*columns.names]))
    names, method = _named(columns.method, present, columns.names)
    endings, ending = _named(columns.ending, present, columns.endings)
    _, history = _coded(columns.ask_hash, present)
    _, item = _coded(columns.item, present)
    keys, reply = _coded(columns.reply, present)
    turn, size = (np.asarray(column, dtype=np.int64)[present] for column in (columns.turn, columns.size))
    _, first, prompt = np.unique(
        history * (item.max(initial=0) + 1) + item, return_index=True, return_inverse=True
    )
    order = np.argsort((prompt * len(names) + method) * len(keys) + reply, kind="stable")
    counts = np.bincount(method * len(first) + prompt, minlength=len(names) * len(first)).reshape(
        len(names), len(first)
    )
    start = (np.concatenate([[0], np.cumsum(counts.T.reshape(-1))[:-1]])).reshape(len(first), len(names)).T
    code = np.unique(prompt * (len(keys) + 1) + reply, return_inverse=True)[1].reshape(-1)
    compared = _varied(prompt, reply, len(first)) & (counts.sum(axis=0) > 2)
    place, texts = _texts(keys, reply, compared[prompt], columns.texts)
    return PromptReplies(
        names=names,
        start=start,
        count=counts,
        reply=code[order],
        size=size[order],
        ending=ending[order],
        endings=endings,
        place=place[order],
        texts=texts,
        item_of=item[first],
        turn_of=turn[first],
        method=method[order],
    )


def _present(column: Column) -> BoolArray:
    if isinstance(column, np.ndarray) and column.dtype != np.object_:
        return ~np.ma.getmaskarray(column)
    return np.fromiter(
        (reply is not None and reply is not np.ma.masked for reply in column),
        dtype=np.bool_,
        count=len(column),
    )


def _named(
    column: Column, kept: BoolArray, values: Mapping[Any, str | None]
) -> tuple[tuple[str, ...], IntArray]:
    """Returns the distinct names, sorted, and each kept row's place among them; None becomes a name too."""
    keys, code = _coded(column if values else [word or NOT_REPORTED for word in column], kept)
    words = [values[key] or NOT_REPORTED for key in keys] if values else list(keys)
    names = tuple(sorted(set(words)))
    return names, np.array([names.index(word) for word in words], dtype=np.int64)[code]


def _coded(column: Column, kept: BoolArray) -> tuple[tuple[Any, ...], IntArray]:
    """Returns the distinct values, sorted, and each kept row's place among them."""
    if isinstance(column, np.ndarray) and column.dtype != np.object_:
        values = np.asarray(column)[kept]
        names, code = np.unique(values, return_inverse=True)
        return tuple(names.tolist()), code.reshape(-1).astype(np.int64)
    listed = [value for value, keep in zip(column, kept, strict=True) if keep]
    known = sorted(set(listed))
    place = {name: index for index, name in enumerate(known)}
    return tuple(known), np.fromiter(map(place.__getitem__, listed), dtype=np.int64, count=len(listed))


def _varied(prompt: IntArray, code: IntArray, prompts: int) -> BoolArray:
    """Marks prompts with two different codes, (prompts,)."""
    varied = np.zeros(prompts, dtype=np.bool_)
    last = np.zeros(prompts, dtype=np.int64)
    last[prompt] = code
    varied[prompt[last[prompt] != code]] = True
    return varied


def _texts(
    keys: Sequence[object], reply: IntArray, needed: BoolArray, texts: Mapping[Any, str]
) -> tuple[IntArray, Texts]:
    """Returns each row's place among the prepared texts, -1 where it is not needed, and these texts."""
    wanted = np.unique(reply[needed])
    place = np.full(len(keys), -1, dtype=np.int64)
    place[wanted] = np.arange(len(wanted))
    chosen = [keys[code] for code in wanted.tolist()]
    return np.where(needed, place[reply], -1), prepare([texts[key] if texts else str(key) for key in chosen])

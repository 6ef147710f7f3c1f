"""Measures how similar two replies are.

Knows texts as bytes; nothing of prompts, methods or chance. Keeps: equal texts are never handed in, they are
alike by definition.
Does not promise: to look beyond the first 512 bytes of a reply, or to tell two rare words apart that fall
into one place of 128."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.audit.scores.arrays import FloatArray, IntArray

BYTES_MAX = 512
WORD_PLACES = 128
_PLACE_BITS = 57  # 64 less the 7 that number 128 places
NGRAM_PLACES = 256
_NGRAM_BITS = 56  # 64 less the 8 that number 256 places
_ROWS = 4_096  # texts and pairs looked at together: some ten MB
_PAIRS = 20_000

KERNELS = ("match", "prefix", "position", "words", "length", "ending")
"""same text; share of it before the first difference; share of positions that agree; cosine of the square
roots of word counts; minus the difference in length; same finish reason"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Distinct replies, made ready.

    raw    (texts, width) their UTF-8, zeros behind the end
    size   (texts,) bytes, not cut
    words  (texts, 128) unit vectors of the square roots of word counts; all 0 without a word"""

    raw: npt.NDArray[np.uint8]
    size: IntArray
    words: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """The similarity of pairs of different texts, (pairs,) each: bytes before the first difference, and the
    kernels that look into the text."""

    common: IntArray
    prefix: FloatArray
    position: FloatArray
    words: FloatArray


def prepare(texts: Sequence[str]) -> Texts:
    """Returns the texts as arrays."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    size = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    width = int(min(BYTES_MAX, size.max(initial=1))) + 1  # one zero behind every text ends its last word
    cut = [text[: width - 1] for text in encoded]
    raw = np.array(cut, dtype=f"S{width}").view(np.uint8).reshape(len(cut), width)
    words = np.zeros((len(raw), WORD_PLACES), dtype=np.float32)
    for start in range(0, len(raw), _ROWS):
        words[start : start + _ROWS] = _words(raw[start : start + _ROWS])
    return Texts(raw=raw, size=size, words=words)


def _words(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Returns the square roots of the word counts of each text, scaled to length 1. A hash of its bytes puts
    a word into one of 128 places."""
    flat = raw.reshape(-1)
    inside = np.flatnonzero(flat > ord(" "))
    if not len(inside):
        return np.zeros((len(raw), WORD_PLACES), dtype=np.float32)
    # of each word, among the bytes that are inside one
    begins = np.flatnonzero(np.diff(inside, prepend=-2) > 1)
    first = inside[begins]
    place_in_word = inside - np.repeat(first, np.diff(begins, append=len(inside)))
    factor = np.asarray(np.random.default_rng(0).integers(1, 2**63, size=raw.shape[1]), dtype=np.uint64)
    hashed = np.add.reduceat(flat[inside].astype(np.uint64) * factor[place_in_word], begins)
    places = (first // raw.shape[1]) * WORD_PLACES + (hashed >> np.uint64(_PLACE_BITS)).astype(np.int64)
    counts = (
        np.bincount(places, minlength=len(raw) * WORD_PLACES)
        .reshape(len(raw), WORD_PLACES)
        .astype(np.float32)
    )
    return np.asarray(np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)))


def character_ngrams(texts: Texts) -> FloatArray:
    """Returns unit vectors of the square roots of the counts of 1, 2 and 3 bytes in a row, (texts, 256).

    Each n-gram falls into one of 256 places by a hash of its bytes."""
    vectors = np.zeros((len(texts.raw), NGRAM_PLACES))
    for start in range(0, len(vectors), _ROWS):
        vectors[start : start + _ROWS] = _ngrams(texts.raw[start : start + _ROWS])
    return vectors


def _ngrams(raw: npt.NDArray[np.uint8]) -> FloatArray:
    factor = np.random.default_rng(0).integers(1, 2**63, size=3, dtype=np.uint64) | np.uint64(1)
    wide = raw.astype(np.uint64)
    counts = np.zeros(len(raw) * NGRAM_PLACES)
    for length in range(1, min(3, raw.shape[1]) + 1):
        hashed = np.full((len(raw), raw.shape[1] - length + 1), length, dtype=np.uint64)
        for place in range(length):
            hashed = hashed * factor[place] + wide[:, place : place + hashed.shape[1]]
        hashed = hashed * factor[2]
        inside = raw[:, length - 1 :] > 0  # zeros stand behind the end only
        place_of = (hashed >> np.uint64(_NGRAM_BITS)).astype(np.int64)
        place_of += np.arange(len(raw))[:, None] * NGRAM_PLACES
        counts += np.bincount(place_of[inside], minlength=len(counts))
    vectors = np.sqrt(counts.reshape(len(raw), NGRAM_PLACES))
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def likeness(texts: Texts, one: IntArray, other: IntArray) -> Likeness:
    """Computes the similarity of the pairs (one[i], other[i]) of different texts."""
    parts = [
        _likeness(texts, one[start : start + _PAIRS], other[start : start + _PAIRS])
        for start in range(0, len(one), _PAIRS)
    ]
    common, prefix, position, words = (
        np.concatenate([part[k] for part in parts]) if parts else np.zeros(0) for k in range(4)
    )
    return Likeness(common=common.astype(np.int64), prefix=prefix, position=position, words=words)


def _likeness(
    texts: Texts, one: IntArray, other: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    width = texts.raw.shape[1]
    agree = texts.raw[one] == texts.raw[other]
    size_one, size_other = (np.minimum(texts.size[place], width - 1) for place in (one, other))
    longer = np.maximum(np.maximum(size_one, size_other), 1)
    common = np.where(agree.all(axis=1), longer, agree.argmin(axis=1))
    position = (agree.sum(axis=1) - (width - longer)) / longer
    words = np.einsum("ij,ij->i", texts.words[one], texts.words[other])
    return common.astype(np.float64), common / longer, position, words.astype(np.float64)

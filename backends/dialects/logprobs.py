"""Reads the log-probabilities of a reply's tokens, in both forms of OpenAI's API. Pure.

Chat completions list objects with a token, its log-probability and the most likely alternatives; plain
completions list tokens, log-probabilities and alternatives beside each other, and some servers use one form
in the other's place. Keeps: what is malformed is left out, because the reply stands without it.
Source: the API references of /v1/chat/completions and /v1/completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf

from backends.dialects.responses import logprob_or_none, text_or_none
from harness.core.vocabulary import TokenLogprob


def read_logprobs(parts: Sequence[object]) -> tuple[TokenLogprob, ...] | None:
    """Returns the tokens of these `logprobs` objects, in order; None if they hold none.

    parts   one object of a whole answer, or one for each event of a stream"""
    tokens = tuple(token for part in parts if isinstance(part, dict) for token in _tokens(part))
    return tokens or None


def _tokens(part: Mapping[str, object]) -> Iterator[TokenLogprob]:
    content = part.get("content")
    if isinstance(content, list):
        for entry in content:
            if isinstance(entry, dict):
                listed = entry.get("top_logprobs")
                pairs = [_pair(other) for other in listed] if isinstance(listed, list) else []
                yield from _token(entry.get("token"), entry.get("logprob"), pairs)
        return
    texts, logprobs, tops = part.get("tokens"), part.get("token_logprobs"), part.get("top_logprobs")
    if not isinstance(texts, list) or not isinstance(logprobs, list):
        return
    alternatives = tops if isinstance(tops, list) else []
    for place, (text, logprob) in enumerate(zip(texts, logprobs, strict=False)):
        top = alternatives[place] if place < len(alternatives) else None
        yield from _token(text, logprob, list(top.items()) if isinstance(top, dict) else [])


def _pair(entry: object) -> tuple[object, object]:
    return (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)


def _token(text: object, logprob: object, pairs: Sequence[tuple[object, object]]) -> Iterator[TokenLogprob]:
    """Yields the token, or nothing if it has no text or no finite log-probability."""
    token, value = text_or_none(text), _logprob(logprob)
    if token is None or value is None:
        return
    known = ((text_or_none(other), _logprob(number)) for other, number in pairs)
    top = tuple((other, number) for other, number in known if other is not None and number is not None)
    yield TokenLogprob(token, value, top)


def _logprob(value: object) -> float | None:
    """Returns the log-probability; None if it is not one, or minus infinity."""
    logprob = logprob_or_none(value)
    return None if logprob == -inf else logprob

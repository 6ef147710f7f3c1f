"""Writes and reads the requests by which a server scores a reply that another method wrote: one for token
ids, then a completion with `prompt_logprobs`. Pure.

The prompt is sent as token ids, because in one text a tokeniser may join the last characters of the prompt
and the first ones of the reply.
Source: vLLM's reference of /tokenize and of /v1/completions; recorded with vLLM 0.32."""

from __future__ import annotations

from collections.abc import Sequence

from backends.dialects.responses import HttpResponse, logprob_or_none
from harness.core.vocabulary import ScoredToken

TOKENIZE_PATH = "/tokenize"  # beside the folder /v1, not in it
FLOOR = -9999.0  # vLLM sends this number for a log-probability of minus infinity


def tokenize_body(served_name: str, text: str) -> dict[str, object]:
    """Returns the request for the token ids of a text that a chat template made."""
    return {"model": served_name, "prompt": text, "add_special_tokens": False}


def read_token_ids(answer: HttpResponse) -> list[int] | None:
    """Returns the token ids; None if the answer has none."""
    body = answer.json() if answer.succeeded else None
    ids = body.get("tokens") if isinstance(body, dict) else None
    return ids if isinstance(ids, list) and all(type(one) is int for one in ids) else None


def scoring_body(served_name: str, ids: Sequence[int], *, top: int) -> dict[str, object]:
    """Returns the request to score these tokens, each with so many of the most likely ones."""
    return {
        "model": served_name,
        "prompt": list(ids),
        "prompt_logprobs": top,
        "max_tokens": 1,
        "temperature": 0,
    }


def read_scores(answer: HttpResponse, ids: Sequence[int], *, start: int) -> tuple[ScoredToken, ...] | None:
    """Returns the scores of the tokens from place `start` on; None if one has no possible log-probability or
    rank."""
    body = answer.json()
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    entries = choice.get("prompt_logprobs") if isinstance(choice, dict) else None
    if not isinstance(entries, list) or len(entries) != len(ids):
        return None
    tokens = [_token(entry, str(number)) for entry, number in zip(entries[start:], ids[start:], strict=True)]
    return None if None in tokens else tuple(token for token in tokens if token is not None)


def _token(entry: object, number: str) -> ScoredToken | None:
    scored = entry.get(number) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(scored, dict):
        return None
    logprob, rank = _logprob(scored), scored.get("rank")
    if logprob is None or type(rank) is not int or rank < 1:
        return None
    others = [_logprob(other) for key, other in entry.items() if key != number and isinstance(other, dict)]
    top = [value for value in others if value is not None]
    if rank <= len(top) + 1:  # else it is listed although it is none of the most likely
        top.append(logprob)
    if len(top) < len(others) or (top and max(top) == FLOOR):
        return None
    return ScoredToken(
        str(scored.get("decoded_token") or ""), logprob, rank, tuple(sorted(top, reverse=True))
    )


def _logprob(entry: dict[str, object]) -> float | None:
    value = logprob_or_none(entry.get("logprob"))
    return None if value is None else max(FLOOR, value)

"""Turns the scored tokens of a reply into its row, by the sampling that the reply was asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from harness.audit.weights.token_measures import TEMPERATURE_MAX, margin, place
from harness.core.records import RescoreRecord
from harness.core.vocabulary import ScoredToken
from harness.store.rescore_queries import StoredReply

TOP_GREEDY = 1  # tokens that are listed at each place: the best one decides at temperature 0
TOP_SAMPLED = 20  # what vLLM allows unless it is started with another --max-logprobs


def is_sampled(sampling: Mapping[str, Any]) -> bool:
    """Says whether replies to this sampling have places in a distribution that is known."""
    temperature = sampling.get("temperature")
    return (
        temperature is not None
        and 0 < temperature <= TEMPERATURE_MAX
        and not any(sampling.get(name) for name in ("top_k", "frequency_penalty", "presence_penalty"))
    )


def row_of(
    reply: StoredReply,
    tokens: Sequence[ScoredToken],
    sampling: Mapping[str, Any],
    *,
    joined: bool,
    reference: str,
    engine_json: str | None,
    rescored_at: float,
) -> RescoreRecord:
    """Returns the row of a scored reply.

    tokens     as the reference scores them;  sampling  that the reply was asked for
    joined     see ReplyTokens
    reference, engine_json, rescored_at   as in the record"""
    margins = [round(margin(token), 5) for token in tokens]
    listed: list[tuple[float, ...]] = [
        (value, token.rank) for value, token in zip(margins, tokens, strict=True)
    ]
    if is_sampled(sampling):
        temperature, top_p = float(sampling["temperature"]), float(sampling.get("top_p") or 1.0)
        places = (place(token, temperature=temperature, top_p=top_p) for token in tokens)
        listed = [
            (*entry, round(low, 6), round(high, 6)) for entry, (low, high) in zip(listed, places, strict=True)
        ]
    return RescoreRecord(
        rescored_at=rescored_at,
        reference=reference,
        engine_json=engine_json,
        method=reply.method,
        episode_id=reply.episode_id,
        attempt=reply.attempt,
        turn=reply.turn,
        ask_hash=reply.ask_hash,
        tokens=len(tokens),
        joined=joined,
        margin_sum=sum(margins),
        unlike=sum(token.rank > 1 for token in tokens),
        tokens_json=orjson.dumps(listed).decode(),
    )

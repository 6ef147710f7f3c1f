"""Reads the replies that a reference's weights are to score, and the scores.

Knows the tables; computes nothing. Keeps: a reply of a cross-play of two methods is never among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from harness.core.vocabulary import Message
from harness.store.planned_plays import ITEM, PlayCounts, counted_condition
from harness.store.query_server import Readable


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """A good reply with its prompt.

    method     that wrote it;  finish_reason  in its provider's words
    tokens     by its provider, or a quarter of its characters
    scored     this reference has scored it"""

    method: str
    item: str
    episode_id: str
    attempt: int
    turn: int
    ask_hash: str
    messages: tuple[Message, ...]
    reply: str
    finish_reason: str | None
    tokens: int
    scored: bool


class ScoredRow(NamedTuple):
    """A row of `rescores` with its play. tokens_json: as in the record; reported: tokens by the provider."""

    method: str
    arm: str
    item: str
    turn: int
    joined: bool
    tokens_json: str
    reported: int | None


def sampling_of_methods(connection: Readable) -> dict[str, tuple[Mapping[str, Any], bool]]:
    """Returns method -> the sampling that its sweep asks for, and whether replies were constrained."""
    rows = connection.execute("SELECT method, sampling_json, constrain FROM methods_latest").fetchall()
    return {method: (orjson.loads(sampling or "{}"), bool(constrain)) for method, sampling, constrain in rows}


def last_sweep(connection: Readable) -> Mapping[str, Any] | None:
    """Returns the sweep of the last run, as JSON; None if the store has imports only."""
    rows = connection.execute("SELECT spec_json FROM sweeps ORDER BY run_id DESC").fetchall()
    sweeps = (orjson.loads(text) for (text,) in rows)
    return next((sweep for sweep in sweeps if "models" in sweep), None)


def replies_of_model(connection: Readable, model: str, reference: str) -> list[StoredReply]:
    """Returns the replies of every method of this model that this reference can score.

    A reply with separate thoughts is left out, also if the provider counts them without showing them: its
    tokens follow thoughts that are not in the prompt."""
    rows = connection.execute(
        f"""
        WITH plays AS (SELECT episode_id, attempt, method, {ITEM} AS item FROM last_episodes WHERE model = ?)
        SELECT calls.method, item, episode_id, attempt, turn, calls.ask_hash, prompts.messages, reply,
            finish_reason, coalesce(completion_tokens, ceil(length(reply) / 4)::BIGINT),
            (episode_id, attempt, turn) IN (
                SELECT (episode_id, attempt, turn) FROM rescores WHERE reference = ?)
        FROM calls JOIN plays USING (episode_id, attempt) JOIN prompts USING (episode_id, attempt, turn)
        WHERE plays.method = calls.method AND error_class IS NULL AND reply <> '' AND reasoning IS NULL
            AND coalesce(reasoning_tokens, 0) = 0
        ORDER BY calls.method, episode_id, turn""",
        [model, reference],
    ).fetchall()
    return [
        StoredReply(
            method=method,
            item=item,
            episode_id=episode_id,
            attempt=attempt,
            turn=turn,
            ask_hash=ask_hash,
            messages=tuple(Message(one["role"], one["content"]) for one in messages),
            reply=reply,
            finish_reason=finish_reason,
            tokens=tokens,
            scored=scored,
        )
        for (
            method,
            item,
            episode_id,
            attempt,
            turn,
            ask_hash,
            messages,
            reply,
            finish_reason,
            tokens,
            scored,
        ) in rows
    ]


def references_of_scores(connection: Readable) -> dict[str, float]:
    """Returns reference -> when it scored last, in seconds since 1970."""
    return dict(
        connection.execute("SELECT reference, max(rescored_at) FROM rescores GROUP BY reference").fetchall()
    )


def scored_rows(
    connection: Readable,
    reference: str,
    counts: Mapping[tuple[str, str], PlayCounts] = MappingProxyType({}),
) -> list[ScoredRow]:
    """Returns what this reference scored.

    counts   restrict the replies of unfinished sweeps to whole look blocks"""
    counting, parameters = counted_condition(counts.values())
    rows = connection.execute(
        f"""
        WITH counted AS (
            SELECT episode_id, attempt, arm, {ITEM} AS item FROM last_episodes WHERE {counting})
        SELECT rescores.method, arm, item, turn, joined, tokens_json, completion_tokens
        FROM rescores JOIN counted USING (episode_id, attempt) JOIN calls USING (episode_id, attempt, turn)
        WHERE reference = ? AND error_class IS NULL ORDER BY ALL""",
        [*parameters, reference],
    ).fetchall()
    return [ScoredRow(*row) for row in rows]

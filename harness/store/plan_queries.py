"""Reads from a store what plans need: the lengths of episodes, the times of servers, the quotas that they
stated.

Knows the tables; computes nothing beyond sums."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from harness.store.planned_plays import counted_condition, play_counts
from harness.store.query_server import Readable

PLAYS_MAX = 20  # of one item by one method; more plays would not change a plan
CHARACTERS_A_TOKEN = 4  # where a provider did not count tokens
_QUOTA = re.compile(r"quota: ([\d,]+) ([a-z ]+)/min")
_NO_QUOTA = re.compile(r"no quota on (\w+)")
_QUOTA_BEFORE_0_2 = re.compile(r"(\w+): ([\d.e+]+) a minute")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRow:
    """One finished episode: its turns' seats and tokens, in order. item: the name that EpisodePlan gives
    it."""

    method: str
    model: str
    game: str
    experiment: str
    item: str
    seats: Sequence[str]
    prompt_tokens: Sequence[int]
    reply_tokens: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRows:
    """The answered calls of one gate as columns, in the order in which they were sent.

    failed   share of its calls that failed for a reason other than a quota
    quotas   quota -> its last known value per minute"""

    gate: str
    methods: tuple[str, ...]
    sent_at: Sequence[float]
    latency_s: Sequence[float]
    prompt_tokens: Sequence[int]
    reply_tokens: Sequence[int]
    failed: float
    quotas: dict[str, float]


def plays(connection: Readable, *, every: bool = False) -> list[PlayRow]:
    """Returns up to PLAYS_MAX finished episodes of each item by each method.

    Of an unfinished sweep only whole look blocks count, because short plays end first: see planned_plays.py;
    with `every` all count, which is right where every play that began has ended.
    If a provider did not count tokens, CHARACTERS_A_TOKEN characters count as one token."""
    counting, parameters = counted_condition(() if every else play_counts(connection).values())
    rows = connection.execute(
        f"""
        WITH chosen AS (
            SELECT episode_id, attempt, method, model, game, experiment,
                   concat_ws(':', game, rules, instance_set, experiment, instance, content_hash) AS item
            FROM last_episodes WHERE status = 'finished' AND {counting}
            QUALIFY row_number() OVER (PARTITION BY method, item ORDER BY episode_id) <= {PLAYS_MAX})
        SELECT chosen.method, model, game, experiment, item, list(seat ORDER BY calls.turn),
               list(prompt_tokens ORDER BY calls.turn),
               list(coalesce(completion_tokens, ceil(length(reply) / {CHARACTERS_A_TOKEN})::BIGINT, 0)
                    ORDER BY calls.turn),
               list((chosen.episode_id, chosen.attempt, calls.turn) ORDER BY calls.turn)
        FROM chosen JOIN calls USING (episode_id, attempt)
        JOIN turns ON turns.episode_id = calls.episode_id AND turns.attempt = calls.attempt
            AND turns.turn = calls.turn
        WHERE calls.error_class IS NULL
        GROUP BY chosen.episode_id, chosen.method, model, game, experiment, item
        ORDER BY chosen.method, item, chosen.episode_id""",
        parameters,
    ).fetchall()
    uncounted = any(None in prompt_tokens for *_, prompt_tokens, _, _ in rows)
    estimates = _prompt_estimates(connection) if uncounted else {}
    return [
        PlayRow(
            method=method,
            model=model,
            game=game,
            experiment=experiment,
            item=item,
            seats=seats,
            prompt_tokens=[
                estimates[turn] if counted is None else counted
                for turn, counted in zip(turns, prompt_tokens, strict=True)
            ],
            reply_tokens=reply_tokens,
        )
        for method, model, game, experiment, item, seats, prompt_tokens, reply_tokens, turns in rows
    ]


def _prompt_estimates(connection: Readable) -> dict[tuple[str, int, int], int]:
    """Returns (episode, attempt, turn) -> tokens of the prompt, for episodes with a call whose provider did
    not count them. A prompt is the beginning of the seat's former one and what was added."""
    rows = connection.execute(
        """
        SELECT episode_id, attempt, turn, seat, history_kept,
               list_transform(from_json(added_json, '[{"text":"VARCHAR"}]'), lambda one: length(one."text"))
        FROM turns SEMI JOIN (SELECT * FROM calls WHERE prompt_tokens IS NULL AND error_class IS NULL) AS calls
            USING (episode_id, attempt)
        ORDER BY episode_id, attempt, turn"""
    ).fetchall()
    estimates: dict[tuple[str, int, int], int] = {}
    prompts: dict[tuple[str, int, str], list[int]] = {}
    for episode_id, attempt, turn, seat, kept, added in rows:
        prompt = [*prompts.get((episode_id, attempt, seat), ())[:kept], *added]
        prompts[episode_id, attempt, seat] = prompt
        estimates[episode_id, attempt, turn] = ceil(sum(prompt) / CHARACTERS_A_TOKEN)
    return estimates


def engine_starts(connection: Readable) -> dict[str, float]:
    """Returns method -> seconds in which its engine became ready, mean over its starts."""
    rows = connection.execute(
        "SELECT method, avg((engine_json ->> 'ready_s')::DOUBLE) FROM methods"
        " WHERE engine_json ->> 'ready_s' IS NOT NULL GROUP BY method"
    ).fetchall()
    return dict(rows)


def servers(connection: Readable) -> list[ServerRows]:
    """Returns the calls of each gate that the store's methods used."""
    gates: dict[str, list[str]] = {}
    for method, gate in connection.execute(
        "SELECT method, max(coalesce(gate, method)) FROM methods GROUP BY method ORDER BY 1"
    ).fetchall():
        gates.setdefault(gate, []).append(method)
    return [
        rows for gate, methods in gates.items() if (rows := _server(connection, gate, methods)) is not None
    ]


def _server(connection: Readable, gate: str, methods: Sequence[str]) -> ServerRows | None:
    of_gate = f"method IN ({', '.join('?' * len(methods))})"
    rows = connection.execute(
        "SELECT sent_at, latency_s, coalesce(prompt_tokens, 0),"
        " coalesce(completion_tokens, ceil(length(reply) / 4)::BIGINT, 0)"
        f" FROM calls WHERE error_class IS NULL AND {of_gate} ORDER BY ALL",
        list(methods),
    ).fetchall()
    if not rows:
        return None
    failed = connection.execute(
        "SELECT avg((error_class IS NOT NULL AND error_class <> 'RateLimited')::INT) FROM calls"
        f" WHERE {of_gate}",
        list(methods),
    ).fetchall()
    stated = connection.execute(
        "SELECT detail FROM gate_events WHERE kind = 'quota' AND gate = ? ORDER BY \"at\"", [gate]
    ).fetchall()
    sent_at, latency_s, prompt_tokens, reply_tokens = zip(*rows, strict=True)
    return ServerRows(
        gate=gate,
        methods=tuple(methods),
        sent_at=sent_at,
        latency_s=latency_s,
        prompt_tokens=prompt_tokens,
        reply_tokens=reply_tokens,
        failed=failed[0][0],
        quotas=_quotas(detail for (detail,) in stated),
    )


def _quotas(details: Iterable[str]) -> dict[str, float]:
    """Returns the last figure of each quota from gate events' texts, as this version writes them or as 0.1.0
    did."""
    quotas: dict[str, float] = {}
    for detail in details:
        if match := _QUOTA.match(detail):
            quotas[match[2].replace(" ", "_")] = float(match[1].replace(",", ""))
        elif match := _NO_QUOTA.match(detail):
            quotas.pop(match[1], None)
        elif match := _QUOTA_BEFORE_0_2.match(detail):
            quotas[match[1]] = float(match[2])
    return quotas

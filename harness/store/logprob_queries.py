"""Reads the log-probabilities that providers stated.

Knows the tables; computes nothing. Keeps: a method without a row is absent, as in older stores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from harness.store.planned_plays import ITEM, PlayCounts, counted_condition
from harness.store.query_server import Readable


def first_logprobs(
    connection: Readable, counts: Mapping[tuple[str, str], PlayCounts] = MappingProxyType({})
) -> dict[tuple[str, str], dict[str, list[float]]]:
    """Returns (method, arm) -> prompt -> the log-probability of the first token of each reply to a first ask.

    Replies with thoughts are left out: their first token is a thought's.
    counts   restrict the replies of unfinished sweeps to whole look blocks"""
    counting, parameters = counted_condition(counts.values())
    rows = connection.execute(
        f"""
        WITH counted AS (
            SELECT episode_id, attempt, arm, {ITEM} AS item FROM last_episodes WHERE {counting})
        SELECT logprobs.method, arm, concat_ws(' ', item, logprobs.ask_hash), list(first_logprob ORDER BY first_logprob)
        FROM logprobs JOIN counted USING (episode_id, attempt)
            JOIN calls USING (episode_id, attempt, turn, try_number)
        WHERE turn = 0 AND calls.error_class IS NULL AND calls.reasoning IS NULL GROUP BY ALL ORDER BY ALL""",
        parameters,
    ).fetchall()
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for method, arm, prompt, values in rows:
        found.setdefault((method, arm), {})[prompt] = values
    return found

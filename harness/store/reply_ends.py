"""The table of finish reasons in SQL: which stored replies a failure or a filter cut, and which have no known
end.

Versions before 0.2.0 took any end of an answer for good. No row is rewritten: the view `last_episodes` shows
a play that rests on a cut reply as failed, and an unfinished one is played anew. A reply without a known end
is kept and counted. Ends that the last sweep over the store declares good (`good_ends`) stay good."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harness.core.finish_reasons import (
    FAILED_PARTS,
    FAILED_WORDS,
    FILTERED_PARTS,
    FILTERED_WORDS,
    GOOD,
    NONE_WORDS,
)
from harness.store.query_server import Readable

CUT_REASON = "a failure or a filter of the provider cut a reply"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


# As `_normalised` of harness/core/finish_reasons.py; RE2 has no lookahead.
_WORD = r"""regexp_replace(trim(regexp_replace(lower(
    regexp_replace({}, '([a-z0-9])([A-Z])', '\1_\2', 'g')), '[^a-z0-9]+', '_', 'g'), '_'),
    '^(?:candidate_)?(?:finish|stop|end)_?reason_(.)', '\1')"""

# Each distinct end of each method, so that the words are compared a few times and not for every call.
_ENDS = f"""
    declared AS (
        SELECT model.key || '/' || way.key AS method,
               unnest(from_json(way.value -> 'good_ends', '["VARCHAR"]')) AS good_end
        FROM (SELECT spec_json FROM sweeps WHERE json_exists(spec_json, '$.models')
              ORDER BY run_id DESC LIMIT 1),
             json_each(spec_json, '$.models') AS model, json_each(model.value, '$.methods') AS way),
    ends AS (
        SELECT method, finish_reason, {_WORD.format("finish_reason")} AS word,
               (method, word) IN (SELECT method, {_WORD.format("good_end")} FROM declared) AS is_declared
        FROM (SELECT DISTINCT method, finish_reason FROM calls WHERE error_class IS NULL)),
    judged AS (
        SELECT method, finish_reason, CASE
            WHEN coalesce(lower(trim(finish_reason)) IN ({_listed(NONE_WORDS)}), true)
                THEN if((method, '') IN (FROM declared), 'good', 'none')
            WHEN word IN ({_listed(GOOD)}) OR is_declared THEN 'good'
            WHEN word IN ({_listed(FILTERED_WORDS | FAILED_WORDS)})
                OR regexp_matches(word, '{"|".join((*FILTERED_PARTS, *FAILED_PARTS))}') THEN 'cut'
            ELSE 'unknown' END AS kind
        FROM ends)"""

CUT_PLAYS = f"""
    WITH {_ENDS}
    SELECT DISTINCT episode_id, attempt FROM calls
    WHERE error_class IS NULL
        AND (method, finish_reason) IN (SELECT method, finish_reason FROM judged WHERE kind = 'cut')"""


class KeptReplies(NamedTuple):
    """The replies of one method's last plays. unknown: those with no end, or one that is not known."""

    method: str
    arm: str
    replies: int
    unknown: int


def kept_replies(connection: Readable) -> list[KeptReplies]:
    """Returns the counts of the methods that have replies without a known end; imports have none that
    count."""
    rows = connection.execute(
        f"""
        WITH {_ENDS}, counted AS (
            SELECT calls.method, arm, finish_reason, count(*) AS replies
            FROM calls JOIN last_episodes USING (episode_id, attempt)
            WHERE error_class IS NULL AND http_status IS NOT NULL GROUP BY ALL)
        SELECT counted.method, arm, sum(replies)::BIGINT,
               coalesce(sum(replies) FILTER (kind IN ('none', 'unknown')), 0)::BIGINT AS unknown
        FROM counted JOIN judged ON judged.method = counted.method
            AND judged.finish_reason IS NOT DISTINCT FROM counted.finish_reason
        GROUP BY ALL HAVING unknown > 0 ORDER BY ALL"""
    ).fetchall()
    return [KeptReplies(*row) for row in rows]

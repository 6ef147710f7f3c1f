"""Reads the rows for scores and audits, and one transcript.

Knows the tables; computes nothing. The rows from which a run continues: resuming.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import compress
from types import MappingProxyType
from typing import NamedTuple

import orjson

from harness.core.errors import StoreError
from harness.core.records import (
    WATCH_KIND,
    LookRecord,
    ProbeRecord,
    SummaryRecord,
    Transcript,
    TranscriptTurn,
)
from harness.core.reply_problems import THOUGHTS_END, TOOL_REASONS, ReplyCounts
from harness.core.vocabulary import Message
from harness.store.planned_plays import ITEM, PlayCounts, counted_condition, play_counts
from harness.store.query_server import Readable


def methods_of_models(connection: Readable) -> dict[str, list[str]]:
    """Returns model -> its access methods, both in the order of the sweeps."""
    rows = connection.execute(
        "SELECT model, method FROM methods"
    ).fetchall()  # DuckDB keeps the order in which rows came
    models: dict[str, list[str]] = {}
    for model, method in dict.fromkeys(rows):
        models.setdefault(model, []).append(method)
    return models


def stated_weights(connection: Readable) -> dict[str, tuple[str | None, float | None]]:
    """Returns access method -> quantisation and mean bits per weight, as its last sweep states them."""
    rows = connection.execute(
        "SELECT method, quantisation, bits FROM methods WHERE quantisation IS NOT NULL OR bits IS NOT NULL"
    ).fetchall()
    return {method: (quantisation, bits) for method, quantisation, bits in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChoices:
    """The audit decisions of the store's latest sweep. Defaults hold for stores of versions without the
    key."""

    seed: int
    reference: str | None = None
    margin: float = 3.0
    margin_played: float = 5.0
    margin_game: float = 10.0
    margin_replies: float = 1.5
    alpha: float = 0.05
    stop: str = "end"


def audit_choices(connection: Readable) -> AuditChoices:
    """Returns the decisions of the latest sweep, and the latest reference that a sweep states: a part of a
    merged store may have been played without it.

    raises  StoreError if the store holds no sweep"""
    rows = connection.execute("SELECT spec_json FROM sweeps ORDER BY run_id DESC").fetchall()
    if not rows:
        raise StoreError("the store holds no sweep yet; play one with `lightbulb run SWEEP.toml`")
    specs = [orjson.loads(text) for (text,) in rows]
    known = {field.name for field in fields(AuditChoices)}
    choices = {name: value for name, value in specs[0]["audit"].items() if name in known}
    references = (spec["audit"].get("reference") for spec in specs)
    choices["reference"] = next((reference for reference in references if reference is not None), None)
    return AuditChoices(seed=specs[0]["seed"], **choices)


def looks(connection: Readable) -> list[LookRecord]:
    """Returns the interim analyses of sweeps that may stop early, in order."""
    names = ", ".join(f'"{name}"' for name in LookRecord._fields)
    rows = connection.execute(f'SELECT {names} FROM looks ORDER BY "at", look').fetchall()
    return [LookRecord(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A stored audit plan. references: model -> reference; first_call_at: time of the first call after it,
    None if there was none."""

    plan_hash: str
    references: Mapping[str, str]
    made_at: float
    first_call_at: float | None


def audit_plans(connection: Readable) -> list[StoredPlan]:
    """Returns the distinct plans, oldest first."""
    rows = connection.execute("""
        SELECT plan_hash, any_value(plan_json), min(made_at) AS made,
               (SELECT min(sent_at) FROM calls WHERE calls.run_id >= min(audit_plans.run_id))
        FROM audit_plans GROUP BY plan_hash ORDER BY made""").fetchall()
    return [
        StoredPlan(hash_, orjson.loads(text)["references"], made, first) for hash_, text, made, first in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstReply:
    """The reply to the first ask of an episode, with the provider's statements about it."""

    method: str
    item: str
    ask_hash: str
    reply: str
    ending: str | None
    prompt_tokens: int | None
    served_model: str | None
    fingerprint: str | None
    sent_at: float
    first_logprob: float | None


def replies_to_first_asks(connection: Readable) -> list[FirstReply]:
    """Returns the replies by which days are compared, without those of A/A replicates.

    Of an unfinished sweep it returns those in whole look blocks: see planned_plays.py."""
    counting, parameters = counted_condition(play_counts(connection).values())
    rows = connection.execute(
        f"""
        WITH counted AS (SELECT * FROM last_episodes WHERE arm = 'main' AND {counting})
        SELECT calls.method, {ITEM}, calls.ask_hash, reply, finish_reason, prompt_tokens, served_model,
               system_fingerprint, sent_at, if(reasoning IS NULL, first_logprob, NULL)
        FROM calls JOIN counted USING (episode_id, attempt)
            LEFT JOIN logprobs USING (episode_id, attempt, turn, try_number)
        WHERE turn = 0 AND calls.error_class IS NULL ORDER BY ALL""",
        parameters,
    ).fetchall()
    names = [field.name for field in fields(FirstReply)]
    return [FirstReply(**dict(zip(names, row, strict=True))) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class GameLength:
    """The mean length of an episode of one game."""

    calls: float
    prompt_tokens: float
    reply_tokens: float


def game_lengths(connection: Readable) -> dict[str, GameLength]:
    """Returns the mean lengths of games whose calls have token counts.

    Of an unfinished sweep only whole look blocks count, because short plays end first: see planned_plays.py.
    A game without any is not in the result."""
    counting, parameters = counted_condition(play_counts(connection).values())
    rows = connection.execute(
        f"""
        WITH counted AS (SELECT * FROM last_episodes WHERE status = 'finished' AND {counting})
        SELECT game, count(*) / count(DISTINCT episode_id), sum(prompt_tokens) / count(DISTINCT episode_id),
               coalesce(sum(completion_tokens), 0) / count(DISTINCT episode_id)
        FROM calls JOIN counted USING (episode_id, attempt)
        GROUP BY game HAVING count(prompt_tokens) > 0""",
        parameters,
    ).fetchall()
    return {
        game: GameLength(calls=calls, prompt_tokens=prompt_tokens, reply_tokens=reply_tokens)
        for game, calls, prompt_tokens, reply_tokens in rows
    }


class ImportedEpisode(NamedTuple):
    """The last attempt of an episode that was imported. outcome: None if it failed."""

    method: str
    game: str
    rules: str
    experiment: str
    instance: str
    content_hash: str
    seating: str
    outcome: str | None
    score: float | None
    attempt: int
    has_transcript: bool


def imported_episodes(connection: Readable, instance_set: str) -> list[ImportedEpisode]:
    """Returns every episode of this instance set."""
    rows = connection.execute(
        """
        SELECT method, game, rules, experiment, instance, content_hash, seating, outcome, score, attempt,
               episode_id IN (SELECT episode_id FROM calls)
        FROM last_episodes WHERE instance_set = ?""",
        [instance_set],
    ).fetchall()
    return [ImportedEpisode(*row) for row in rows]


def summaries(connection: Readable) -> list[SummaryRecord]:
    """Returns the imported averages, by method and game."""
    names = ", ".join(f'"{name}"' for name in SummaryRecord._fields)
    rows = connection.execute(f"SELECT {names} FROM summaries ORDER BY method, game").fetchall()
    return [SummaryRecord(*row) for row in rows]


def probes(connection: Readable) -> list[ProbeRecord]:
    """Returns the rows of each method's last check."""
    names = ", ".join(f'"{name}"' for name in ProbeRecord._fields)
    rows = connection.execute(f"""
        SELECT {names} FROM probes WHERE kind <> '{WATCH_KIND}' QUALIFY check_at = max(check_at) OVER (PARTITION BY method)
            ORDER BY method, kind, name, number
        """).fetchall()
    return [ProbeRecord(*row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRows:
    """The last attempts of a store's episodes as columns of equal length.

    session  0 in stores that are older than sessions, and for imports
    score   None if the episode has none
    calls   None if the episode was imported without a transcript
    started_at, finished_at  0 for an imported episode without times"""

    model: Sequence[str]
    method: Sequence[str]
    arm: Sequence[str]
    game: Sequence[str]
    item: Sequence[str]
    repeat: Sequence[int]
    batch: Sequence[int]
    session: Sequence[int]
    status: Sequence[str]
    outcome: Sequence[str | None]
    score: Sequence[float | None]
    calls: Sequence[int | None]
    started_at: Sequence[float]
    finished_at: Sequence[float]

    def counted(self, counts: Mapping[tuple[str, str], PlayCounts]) -> EpisodeRows:
        """Returns the rows that count for scores and audits; all but those of unfinished sweeps do."""
        if all(found.counts_all for found in counts.values()):
            return self
        everything = PlayCounts(method="", arm="", planned=0, ended=0, failed=0)
        kept = [
            counts.get((method, arm), everything).counts(item, repeat)
            for method, arm, item, repeat in zip(self.method, self.arm, self.item, self.repeat, strict=True)
        ]
        return EpisodeRows(
            **{column.name: [*compress(getattr(self, column.name), kept)] for column in fields(EpisodeRows)}
        )


def episode_rows(connection: Readable) -> EpisodeRows:
    """Returns the episodes from which scores and audits are computed."""
    # fetchnumpy takes half the time of fetchall, which makes tuples
    columns = connection.execute("""
        SELECT model, method, arm, game, concat_ws(':', game, rules, instance_set, experiment, instance,
            content_hash) AS item, repeat,
               batch, coalesce(session, 0) AS session, status, outcome, score, nullif(turns, 0) AS calls,
               started_at, finished_at
        FROM last_episodes ORDER BY ALL""").fetchnumpy()
    return EpisodeRows(**{name: column.tolist() for name, column in columns.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRows:
    """Every reply of the last attempts as columns of numbers; equal values have equal numbers.

    size      bytes of the reply
    players   number in `player` -> (method, arm)
    endings   number in `ending` -> finish reason; None: not reported
    texts     number in `reply` -> text, for asks with different replies"""

    player: Sequence[int]
    item: Sequence[int]
    turn: Sequence[int]
    ask: Sequence[int]
    reply: Sequence[int]
    size: Sequence[int]
    ending: Sequence[int]
    players: Mapping[int, tuple[str, str]]
    endings: Mapping[int, str | None]
    texts: Mapping[int, str]


def reply_rows(
    connection: Readable, counts: Mapping[tuple[str, str], PlayCounts] = MappingProxyType({})
) -> ReplyRows:
    """Returns the replies that are compared for identical prompts. Cross-play of two methods is not
    included.

    counts   restrict the replies of unfinished sweeps to whole look blocks"""
    counting, parameters = counted_condition(counts.values())
    columns = connection.execute(
        f"""
        WITH shown AS (
            SELECT episode_id, attempt, {_number("method, arm")} AS player,
                   {_number("game, rules, instance_set, experiment, instance, content_hash")} AS item
            FROM last_episodes WHERE {counting})
        SELECT player, item, turn, {_number("ask_hash")} AS ask, {_number("reply")} AS reply,
            strlen(calls.reply) AS size,
               {_number("finish_reason")} AS ending
        FROM calls JOIN shown USING (episode_id, attempt) WHERE error_class IS NULL""",
        parameters,
    ).fetchnumpy()
    players = connection.execute(f"""
        SELECT {_number("method, arm")}, method, arm
        FROM (SELECT DISTINCT method FROM calls), (SELECT DISTINCT arm FROM episodes)""").fetchall()
    endings = connection.execute(
        f"SELECT {_number('finish_reason')}, finish_reason FROM calls GROUP BY finish_reason"
    ).fetchall()
    varied = connection.execute(f"""
        WITH replies AS (SELECT ask_hash, reply, {_number("reply")} AS number FROM calls
            WHERE error_class IS NULL),
        varied AS (
            SELECT ask_hash FROM replies GROUP BY ask_hash HAVING count(*) > 2 AND min(number) <> max(number))
        SELECT number, any_value(reply) AS reply
        FROM replies SEMI JOIN varied USING (ask_hash) GROUP BY number""").fetchnumpy()
    return ReplyRows(
        **columns,
        players={number: (method, arm) for number, method, arm in players},
        endings=dict(endings),
        texts=dict(zip(varied["number"].tolist(), varied["reply"].tolist(), strict=True)),
    )


def _number(columns: str) -> str:
    """Returns SQL for a number that identifies the values of these columns: 63 bits of a hash, which fit into
    int64.

    The probability that two of a million texts share a number is 5e-8."""
    return f"CAST(hash({columns}) >> 1 AS BIGINT)"


def nothing_but_aborts(connection: Readable) -> list[tuple[str, int, str, str]]:
    """Returns the methods with five or more ended episodes of which all aborted.

    returns  (method, episodes, most frequent reason, id of one episode)"""
    return connection.execute(
        """
        SELECT method, (sum(n) OVER of_method)::BIGINT, reason, episode FROM (
            SELECT method, reason, count(*) AS n, min(episode_id) AS episode, bool_and(outcome = 'aborted') AS
            aborted FROM scores GROUP BY ALL)
        WINDOW of_method AS (PARTITION BY method)
        QUALIFY bool_and(aborted) OVER of_method AND sum(n) OVER of_method >= 5
            AND row_number() OVER (PARTITION BY method ORDER BY n DESC, reason) = 1
        ORDER BY method"""
    ).fetchall()


def reply_counts(connection: Readable) -> dict[str, ReplyCounts]:
    """Returns method -> the counts of its good replies in the last run that hint at a wrong set-up."""
    rows = connection.execute(
        """
        SELECT method, count(*), count(*) FILTER (contains(reply, ?)),
               count(*) FILTER (trim(reply) = '' AND coalesce(reasoning, '') <> '' AND NOT called),
               count(*) FILTER (trim(reply) = '' AND called)
        FROM (SELECT *, coalesce(list_contains(?, lower(finish_reason)), false) AS called FROM calls)
        WHERE error_class IS NULL AND run_id = (SELECT max(run_id) FROM calls) GROUP BY method ORDER BY method""",
        [THOUGHTS_END, list(TOOL_REASONS)],
    ).fetchall()
    return {
        method: ReplyCounts(
            replies=replies, with_thoughts=with_thoughts, only_thoughts=only_thoughts, tool_calls=tool_calls
        )
        for method, replies, with_thoughts, only_thoughts, tool_calls in rows
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodTime:
    """The seconds of an access method over all runs, in five parts, and two details; time_breakdown.py
    defines them."""

    method: str
    seconds: float
    provider_s: float
    quota_s: float
    backing_off_s: float
    own_cpu_s: float
    starved_s: float
    at_limit_s: float
    tail_s: float
    tail_calls: int


def time_by_method(connection: Readable) -> list[MethodTime]:
    names = [field.name for field in fields(MethodTime)]
    sums = ", ".join(f"sum({name})" for name in names[1:])
    rows = connection.execute(
        f"SELECT method, {sums} FROM time_by_method GROUP BY method ORDER BY method"
    ).fetchall()
    return [MethodTime(**dict(zip(names, row, strict=True))) for row in rows]


def transcript(connection: Readable, episode: str) -> Transcript:
    """Returns the last attempt of the episode whose id or key starts with this text.

    raises  StoreError if there is none, or more than one"""
    found = connection.execute(
        "SELECT episode_id, attempt, key, status, outcome, score, reason FROM last_episodes"
        " WHERE starts_with(episode_id, ?) OR starts_with(key, ?) ORDER BY key LIMIT 6",
        [episode, episode],
    ).fetchall()
    if not found:
        raise StoreError(
            f"no episode's id or key starts with {episode!r}; `lightbulb sql STORE 'FROM scores'` lists them"
        )
    if len(found) > 1:
        some = "\n".join(f"  {row[0]}  {row[2]}" for row in found[:5])
        raise StoreError(f"several episodes start with {episode!r}; give more of the id:\n{some}")
    episode_id, attempt, key, status, outcome, score, reason = found[0]
    turns = [
        _transcript_turn(*row) for row in connection.execute(_ANSWERED, [episode_id, attempt]).fetchall()
    ]
    left = [
        _transcript_turn(*row) for row in connection.execute(_UNANSWERED, [episode_id, attempt]).fetchall()
    ]
    unanswered = left[-1] if left and status == "failed" else None
    return Transcript(
        key=key,
        status=status,
        outcome=outcome,
        score=score,
        reason=reason,
        turns=tuple(turns),
        unanswered=unanswered,
    )


_ANSWERED = """
    SELECT seat, method, added_json, reply, violation
    FROM transcripts WHERE episode_id = ? AND attempt = ? ORDER BY turn"""
_UNANSWERED = """
    SELECT seat, method, added_json, '', NULL FROM turns ANTI JOIN transcripts USING (episode_id, attempt,
        turn)
    WHERE episode_id = ? AND attempt = ? ORDER BY turn"""


def _transcript_turn(seat: str, method: str, added: str, reply: str, violation: str | None) -> TranscriptTurn:
    messages = tuple(Message(one["role"], one["text"]) for one in orjson.loads(added))
    return TranscriptTurn(seat=seat, method=method, added=messages, reply=reply, violation=violation)

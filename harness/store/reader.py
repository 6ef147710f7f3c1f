"""Rows out of a store: what scores and audits are made of, one transcript.

Knows the tables; computes nothing. What a run needs that goes on: resuming.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import orjson

from harness.core.errors import StoreError
from harness.core.records import LookRecord, ProbeRecord, SummaryRecord, Transcript, TranscriptTurn
from harness.core.vocabulary import Message
from harness.store.query_server import Readable


def methods_of_models(connection: Readable) -> dict[str, list[str]]:
    """Model -> its access methods, both in the order in which sweeps named them."""
    rows = connection.execute(
        "SELECT model, method FROM methods"
    ).fetchall()  # DuckDB keeps the order in which rows came
    models: dict[str, list[str]] = {}
    for model, method in dict.fromkeys(rows):
        models.setdefault(model, []).append(method)
    return models


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChoices:
    """What the store's latest sweep fixed for its audit before it was played; the defaults are those of its time for older stores."""

    seed: int
    reference: str | None = None
    margin: float = 3.0
    margin_played: float = 5.0
    margin_game: float = 10.0
    margin_replies: float = 1.5
    alpha: float = 0.05
    stop: str = "end"


def audit_choices(connection: Readable) -> AuditChoices:
    """raises  StoreError if no sweep was ever begun here"""
    rows = connection.execute("SELECT spec_json FROM sweeps ORDER BY run_id DESC LIMIT 1").fetchall()
    if not rows:
        raise StoreError("the store holds no sweep yet; `lightbulb run SWEEP.toml` plays one")
    spec = orjson.loads(rows[0][0])
    known = {field.name for field in fields(AuditChoices)}
    return AuditChoices(
        seed=spec["seed"], **{name: value for name, value in spec["audit"].items() if name in known}
    )


def looks(connection: Readable) -> list[LookRecord]:
    """What sweeps that may stop early saw, in order."""
    names = ", ".join(f'"{name}"' for name in LookRecord._fields)
    rows = connection.execute(f'SELECT {names} FROM looks ORDER BY "at", look').fetchall()
    return [LookRecord(*row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlan:
    """An audit's plan as a run left it. first_call_at: of the store's first call after it; None if there was none."""

    plan_hash: str
    made_at: float
    first_call_at: float | None


def audit_plans(connection: Readable) -> list[StoredPlan]:
    """The distinct plans, oldest first."""
    rows = connection.execute("""
        SELECT plan_hash, min(made_at) AS made,
               (SELECT min(sent_at) FROM calls WHERE calls.run_id >= min(audit_plans.run_id))
        FROM audit_plans GROUP BY plan_hash ORDER BY made""").fetchall()
    return [
        StoredPlan(plan_hash=plan_hash, made_at=made, first_call_at=first) for plan_hash, made, first in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstReply:
    """The reply to the first ask of an episode, and what its provider told beside it."""

    method: str
    item: str
    ask_hash: str
    reply: str
    ending: str | None
    prompt_tokens: int | None
    served_model: str | None
    fingerprint: str | None
    sent_at: float


def replies_to_first_asks(connection: Readable) -> list[FirstReply]:
    """What days are compared by; a reference's second self is not in it."""
    rows = connection.execute("""
        SELECT calls.method, concat_ws(':', game, rules, instance_set, experiment, instance, content_hash), calls.ask_hash, reply,
               finish_reason, prompt_tokens, served_model, system_fingerprint, sent_at
        FROM calls JOIN last_episodes USING (episode_id, attempt)
        WHERE turn = 0 AND calls.error_class IS NULL AND arm = 'main' ORDER BY ALL""").fetchall()
    names = [field.name for field in fields(FirstReply)]
    return [FirstReply(**dict(zip(names, row, strict=True))) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class GameLength:
    """Of an episode of one game, on average."""

    calls: float
    prompt_tokens: float
    reply_tokens: float


def game_lengths(connection: Readable) -> dict[str, GameLength]:
    """Of the games whose calls' tokens were counted."""
    rows = connection.execute("""
        SELECT game, count(*) / count(DISTINCT episode_id), sum(prompt_tokens) / count(DISTINCT episode_id),
               coalesce(sum(completion_tokens), 0) / count(DISTINCT episode_id)
        FROM calls JOIN last_episodes USING (episode_id, attempt)
        WHERE status = 'finished' GROUP BY game HAVING count(prompt_tokens) > 0""").fetchall()
    return {
        game: GameLength(calls=calls, prompt_tokens=read, reply_tokens=written)
        for game, calls, read, written in rows
    }


def known_outcomes(connection: Readable, instance_set: str) -> dict[tuple[str, ...], tuple[object, ...]]:
    """(method, game, rules, experiment, instance) -> (outcome, score), for every episode of this instance set."""
    rows = connection.execute(
        "SELECT method, game, rules, experiment, instance, outcome, score FROM episodes WHERE instance_set = ?",
        [instance_set],
    ).fetchall()
    return {tuple(row[:5]): tuple(row[5:]) for row in rows}


def summaries(connection: Readable) -> list[SummaryRecord]:
    """What was imported as averages only, by method and game."""
    names = ", ".join(f'"{name}"' for name in SummaryRecord._fields)
    rows = connection.execute(f"SELECT {names} FROM summaries ORDER BY method, game").fetchall()
    return [SummaryRecord(*row) for row in rows]


def probes(connection: Readable) -> list[ProbeRecord]:
    """The rows of each method's last check."""
    names = ", ".join(f'"{name}"' for name in ProbeRecord._fields)
    rows = connection.execute(f"""
        SELECT {names} FROM probes QUALIFY check_at = max(check_at) OVER (PARTITION BY method) ORDER BY method, kind, name, number
        """).fetchall()
    return [ProbeRecord(*row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRows:
    """The last attempts of a store's episodes as columns of equal length; score is None where a row has none, calls where nobody
    counted them."""

    model: Sequence[str]
    method: Sequence[str]
    arm: Sequence[str]
    game: Sequence[str]
    item: Sequence[str]
    repeat: Sequence[int]
    batch: Sequence[int]
    status: Sequence[str]
    outcome: Sequence[str | None]
    score: Sequence[float | None]
    calls: Sequence[int | None]


def episode_rows(connection: Readable) -> EpisodeRows:
    """What scores and audits are computed from."""
    columns = connection.execute("""
        SELECT model, method, arm, game, concat_ws(':', game, rules, instance_set, experiment, instance, content_hash) AS item, repeat,
               batch, status, outcome, score, nullif(turns, 0) AS calls
        FROM last_episodes ORDER BY ALL""").fetchnumpy()  # half the time of rows, which become tuples first
    return EpisodeRows(**{name: column.tolist() for name, column in columns.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRows:
    """Every reply of the last attempts as columns of numbers, which stand for what they are about.

    players  the (method, arm) behind each number of `player`; endings: why replies ended, None: not said
    size     of the reply in bytes
    texts    the replies behind their numbers, of those asks that were not always answered alike"""

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


def reply_rows(connection: Readable) -> ReplyRows:
    """What the comparison of replies to identical prompts is computed from. What two methods said to each other is no part of it."""
    columns = connection.execute(f"""
        WITH shown AS (
            SELECT episode_id, attempt, {_number("method, arm")} AS player,
                   {_number("game, rules, instance_set, experiment, instance, content_hash")} AS item
            FROM last_episodes)
        SELECT player, item, turn, {_number("ask_hash")} AS ask, {_number("reply")} AS reply, strlen(calls.reply) AS size,
               {_number("finish_reason")} AS ending
        FROM calls JOIN shown USING (episode_id, attempt) WHERE error_class IS NULL""").fetchnumpy()
    players = connection.execute(f"""
        SELECT {_number("method, arm")}, method, arm
        FROM (SELECT DISTINCT method FROM calls), (SELECT DISTINCT arm FROM episodes)""").fetchall()
    endings = connection.execute(
        f"SELECT {_number('finish_reason')}, finish_reason FROM calls GROUP BY finish_reason"
    ).fetchall()
    told = connection.execute(f"""
        WITH replies AS (SELECT ask_hash, reply, {_number("reply")} AS said FROM calls WHERE error_class IS NULL),
        varied AS (SELECT ask_hash FROM replies GROUP BY ask_hash HAVING count(*) > 2 AND min(said) <> max(said))
        SELECT said, any_value(reply) AS reply FROM replies SEMI JOIN varied USING (ask_hash) GROUP BY said""").fetchnumpy()
    return ReplyRows(
        **columns,
        players={number: (method, arm) for number, method, arm in players},
        endings=dict(endings),
        texts=dict(zip(told["said"].tolist(), told["reply"].tolist(), strict=True)),
    )


def _number(columns: str) -> str:
    """SQL for a number that stands for these columns: 63 bits of a hash, so that it is an int64 to all who read it. Two of a million texts
    share one with a chance of one in eighteen million."""
    return f"CAST(hash({columns}) >> 1 AS BIGINT)"


def nothing_but_aborts(connection: Readable) -> list[tuple[str, int, str, str]]:
    """(method, episodes, commonest reason, an episode's id) of the methods of which five or more ended, and every one aborted."""
    return connection.execute(
        """
        SELECT method, (sum(n) OVER of_method)::BIGINT, reason, episode FROM (
            SELECT method, reason, count(*) AS n, min(episode_id) AS episode, bool_and(outcome = 'aborted') AS aborted
            FROM scores GROUP BY ALL)
        WINDOW of_method AS (PARTITION BY method)
        QUALIFY bool_and(aborted) OVER of_method AND sum(n) OVER of_method >= 5
            AND row_number() OVER (PARTITION BY method ORDER BY n DESC, reason) = 1
        ORDER BY method"""
    ).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodTime:
    """What an access method's seconds went to, over all runs: the five parts add up to them. What each is: store/why.py."""

    method: str
    seconds: float
    provider_s: float
    quota_s: float
    backing_off_s: float
    own_cpu_s: float
    starved_s: float


def time_by_method(connection: Readable) -> list[MethodTime]:
    names = [field.name for field in fields(MethodTime)]
    sums = ", ".join(f"sum({name})" for name in names[1:])
    rows = connection.execute(
        f"SELECT method, {sums} FROM time_by_method GROUP BY method ORDER BY method"
    ).fetchall()
    return [MethodTime(**dict(zip(names, row, strict=True))) for row in rows]


def transcript(connection: Readable, episode: str) -> Transcript:
    """The last attempt of the episode whose id, or whose key, starts so.

    raises  StoreError if none or several do"""
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


_ANSWERED = "SELECT seat, method, added_json, reply, violation FROM transcripts WHERE episode_id = ? AND attempt = ? ORDER BY turn"
_UNANSWERED = """
    SELECT seat, method, added_json, '', NULL FROM turns ANTI JOIN transcripts USING (episode_id, attempt, turn)
    WHERE episode_id = ? AND attempt = ? ORDER BY turn"""


def _transcript_turn(seat: str, method: str, added: str, reply: str, violation: str | None) -> TranscriptTurn:
    messages = tuple(Message(one["role"], one["text"]) for one in orjson.loads(added))
    return TranscriptTurn(seat=seat, method=method, added=messages, reply=reply, violation=violation)

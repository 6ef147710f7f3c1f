"""Flat rows: what a run leaves behind, one class a table, one field a column.

Times `*_at` are seconds since 1970; durations `*_s` are seconds. JSON fields hold text that is already encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from harness.core.vocabulary import Message


class SweepRecord(NamedTuple):
    """One run of a sweep over this store."""

    run_id: str
    name: str
    spec_json: str
    spec_hash: str
    seed: int
    version: str
    started_at: float


class ModelRecord(NamedTuple):
    run_id: str
    model: str
    parameters: float | None


class MethodRecord(NamedTuple):
    """An access method as a run used it; `served_model` and `engine_json` are what was proved of it, not what was claimed.

    gate           the name its quota's events go by; None of methods that were imported
    sampling_json  what the sweep asks for
    request_json   what is sent besides the prompt; its max tokens stand for an ask that leaves them open"""

    run_id: str
    method: str
    model: str
    provider: str
    dialect: str
    base_url: str
    served_model: str
    sampling_json: str
    constrain: bool
    concurrency: int
    engine_json: str | None
    gate: str | None = None
    request_json: str | None = None


class EpisodeRecord(NamedTuple):
    """One episode's end. `outcome` and what follows from it are None when status is "failed": the provider's doing, never a score.
    Status "abandoned" is no end: a recorded play whose asks are no longer the game's, and which a new attempt replaces.

    attempt   0 for the first play; a failed episode that is played again adds a row with the next
    turns     asks; 0 too where an imported episode came without a transcript, whose times are then 0"""

    episode_id: str
    attempt: int
    run_id: str
    key: str
    game: str
    rules: str
    instance_set: str
    experiment: str
    instance: str
    content_hash: str
    method: str
    model: str
    seating: str
    arm: str
    batch: int
    repeat: int
    status: str
    outcome: str | None
    score: float | None
    reason: str
    requests: int
    parsed: int
    violated: int
    metrics_json: str
    turns: int
    started_at: float
    finished_at: float


class TurnRecord(NamedTuple):
    """One ask and what the game said of its reply; the reply itself stands in the calls. The last turn of a failed episode has none.

    ask_hash       chained over the messages: identical history, identical hash
    history_kept   how many messages of this seat's previous ask still stand
    added_json     the messages after those: [{"role", "text"}, ...]
    violation      None if the reply kept the form"""

    episode_id: str
    attempt: int
    turn: int
    seat: str
    method: str
    ask_hash: str
    history_kept: int
    added_json: str
    violation: str | None


class CallRecord(NamedTuple):
    """One request on the wire.

    queue_s      from ready to sent: waiting at the gate, and under the ceiling on the wire
    quota_s      of that, for a quota or under the ceiling; rest_s: for the end of a gate's rest; else it was for a place in the window
    latency_s    from sent to answered
    error_class  None if a reply came, else the class of errors.py
    reasoning    the model's thoughts where the provider shows them apart; `reply` never holds them
    reasoning_tokens, cached_tokens   the parts of completion_tokens and of prompt_tokens that were thoughts, and known from before
    upstream     who answered behind a router
    cost_usd     by the sweep's prices, or as the provider says; None: not known
    ttft_s, chunks, gap_s_*   of a streamed reply; see Pace"""

    episode_id: str
    attempt: int
    turn: int
    try_number: int
    run_id: str
    method: str
    ask_hash: str
    reply: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    served_model: str | None
    request_id: str | None
    http_status: int | None
    error_class: str | None
    error_text: str | None
    queue_s: float
    latency_s: float
    sent_at: float
    quota_s: float | None = None
    rest_s: float | None = None
    reasoning: str | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    upstream: str | None = None
    system_fingerprint: str | None = None
    cost_usd: float | None = None
    ttft_s: float | None = None
    chunks: int | None = None
    gap_s_median: float | None = None
    gap_s_p95: float | None = None
    gap_s_max: float | None = None


class AuditPlanRecord(NamedTuple):
    """What the audit of this store decided before a run's first call, and the hash that its verdicts quote."""

    run_id: str
    plan_hash: str
    plan_json: str
    made_at: float


class SummaryRecord(NamedTuple):
    """What others published of one method and game where they published no episodes: averages, rounded to two decimals.

    played        percent of the scored episodes
    quality       mean main score of those played, and its standard deviation; None where nothing was played or it was not published"""

    run_id: str
    method: str
    model: str
    game: str
    played: float
    quality: float | None
    quality_std: float | None


class GateEvent(NamedTuple):
    """A gate changed its mind: what it did and why."""

    run_id: str
    gate: str
    kind: str
    detail: str
    at: float


class PulseRecord(NamedTuple):
    """How late the run's event loop was over the second or so before `at`: on average, and at worst."""

    run_id: str
    at: float
    lag_s: float
    lag_s_max: float


class EngineSample(NamedTuple):
    """What a model server on this machine told of its load while a run used it; see ServerLoad. `base_url` is that of its methods."""

    run_id: str
    base_url: str
    running: int
    waiting: int
    cache_use: float | None
    prefix_queries: int | None
    prefix_hits: int | None
    at: float


class LookRecord(NamedTuple):
    """One look of a sweep that may stop early: a method against its reference, over the items played by then. Differences in points.

    kind            "look", or "tripwire": play was stopped before the look of this number
    share           of the items that were played, items: how many of them count
    low, high       the repeated interval, which holds at all looks together; equivalence_*: that of the equivalence claim
    p_*, level_*    what was found, and what it had to be at most to settle the question at this look
    e_value, e_stop the tripwire's highest evidence so far, and what it must reach
    verdict         DIFFERENT and EQUIVALENT end the play; INCONCLUSIVE goes on, unless it was the last look"""

    run_id: str
    model: str
    method: str
    reference: str
    kind: str
    look: int
    looks: int
    share: float
    items: int
    difference: float
    se: float
    low: float
    high: float
    equivalence_low: float
    equivalence_high: float
    p_difference: float
    level_difference: float
    p_equivalence: float
    level_equivalence: float
    e_value: float
    e_stop: float
    verdict: str
    at: float


class ProbeRecord(NamedTuple):
    """One short question that `lightbulb check` put to an access method, and its answer; no game, no score.

    check_at            when the check began: rows of one check have it in common
    kind, name, number  which probe, which of its questions, which time it was put
    stop                the one stop text that was asked for
    reply               None where no answer came, and then error_class says why"""

    check_at: float
    method: str
    model: str
    kind: str
    name: str
    number: int
    temperature: float | None
    seed: int | None
    stop: str | None
    tokens_max: int
    reply: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    served_model: str | None
    upstream: str | None
    system_fingerprint: str | None
    latency_s: float
    cost_usd: float | None
    error_class: str | None
    error_text: str | None


class BenchStage(NamedTuple):
    """One stage of `lightbulb bench`: the load that was offered, and what the client itself spent. loop: "closed", level then calls in
    flight; or "open", level then requests a second. refused: why its figures are the client's and not printed; None if they are good."""

    run_id: str
    stage: int
    method: str
    loop: str
    level: float
    requests: int
    wall_s: float
    cpu_share: float
    lag_s: float
    lag_s_max: float
    refused: str | None
    at: float


class BenchRequest(NamedTuple):
    """One request of a stage. Seconds since the stage began: due (its moment in the schedule), sent, first piece with text, done."""

    run_id: str
    stage: int
    method: str
    due_s: float
    sent_s: float
    first_s: float | None
    done_s: float
    prompt_tokens: int | None
    completion_tokens: int | None
    gap_s_median: float | None
    error_class: str | None


Record = (
    BenchStage
    | BenchRequest
    | SweepRecord
    | ModelRecord
    | MethodRecord
    | EpisodeRecord
    | TurnRecord
    | CallRecord
    | SummaryRecord
    | AuditPlanRecord
    | GateEvent
    | PulseRecord
    | EngineSample
    | LookRecord
    | ProbeRecord
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptTurn:
    """One turn as it is read back: the messages its seat newly saw, its reply, and what the game made of that."""

    seat: str
    method: str
    added: tuple[Message, ...]
    reply: str
    violation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One episode as it is read back. unanswered: the ask that a failed one ended with, its reply empty."""

    key: str
    status: str
    outcome: str | None
    score: float | None
    reason: str
    turns: tuple[TranscriptTurn, ...]
    unanswered: TranscriptTurn | None = None

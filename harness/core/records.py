"""Rows of the store: one class is one table, one field is one column.

Times `*_at` are seconds since 1970; durations `*_s` are seconds. Fields `*_json` hold encoded JSON text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from harness.core.bench_records import BenchRequest, BenchRun, BenchStage
from harness.core.vocabulary import Message


class SweepRecord(NamedTuple):
    """One run of a sweep over this store.

    planned_json  the plays that the sweep plans, as config/audit_plan.py writes them; None for an import and
                  in the rows of older versions"""

    run_id: str
    name: str
    spec_json: str
    spec_hash: str
    seed: int
    version: str
    started_at: float
    planned_json: str | None = None


class ModelRecord(NamedTuple):
    run_id: str
    model: str
    parameters: float | None


class MethodRecord(NamedTuple):
    """An access method as a run used it. `served_model` and `engine_json` were verified with the server.

    gate           the name of its gate in gate_events; None of imported methods
    sampling_json  the sampling parameters of the sweep
    request_json   the request without the prompt; its max tokens are those of an ask without a limit
    quantisation, bits  of the weights, as the sweep file or the engine states them"""

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
    quantisation: str | None = None
    bits: float | None = None


class EpisodeRecord(NamedTuple):
    """The end of one episode.

    status    "finished"; "failed": a provider's failure, with outcome and score None; "abandoned": a recorded
              play whose asks are no longer the game's, which a new attempt replaces
    attempt   0 for the first play; another play of a failed episode adds a row with the next number
    turns     number of asks; 0, as the times are, if an episode was imported without a transcript
    session   the sweep's session, from 0; None in older stores and for imports: all are one session"""

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
    session: int | None = None


class TurnRecord(NamedTuple):
    """One ask and the game's check of its reply. The reply is in `calls`; the last turn of a failed episode
    has none.

    ask_hash       hash of the messages: equal messages have equal hashes
    history_kept   number of messages of this seat's previous ask that this ask starts with
    added_json     the messages after those: [{"role", "text"}, ...]
    violation      None if the reply had the right format"""

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

    queue_s      from ready to sent: the wait at the gate and at the rate limiter of the host
    quota_s      the part of queue_s for a quota or for the rate limiter
    rest_s       the part of queue_s for a pause of the gate; the remaining part is for a place in the window
    latency_s    from sent to answered
    error_class  None if a reply came, else the class of errors.py
    reasoning    the model's thoughts, if the provider returns them separately; `reply` does not contain them
    reasoning_tokens, cached_tokens   the part of completion_tokens for thoughts, the part of prompt_tokens
                                      from a cache
    upstream     the provider behind a router that answered
    cost_usd     by the sweep's prices, or as the provider states; None: not known
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


class LogprobRecord(NamedTuple):
    """The log-probabilities of one call's reply, as the provider states them; only with `logprobs = N`.

    tokens         number of tokens with a log-probability; thoughts may be among them
    first_token, first_logprob   of the reply
    logprob_sum    of all tokens
    tokens_json    [[token, log-probability, [[token, log-probability], ...]], ...]: each token with the most
                   likely ones, rounded to five decimals"""

    episode_id: str
    attempt: int
    turn: int
    try_number: int
    run_id: str
    method: str
    ask_hash: str
    tokens: int
    first_token: str
    first_logprob: float
    logprob_sum: float
    tokens_json: str


class AuditPlanRecord(NamedTuple):
    """The audit plan, fixed before a run's first call, and the hash that verdicts quote."""

    run_id: str
    plan_hash: str
    plan_json: str
    made_at: float


class SummaryRecord(NamedTuple):
    """Published averages of one method and game without episodes, rounded to two decimals.

    played        percent of the scored episodes
    quality, quality_std   mean and standard deviation of the main score of played episodes; None if nothing
                           was played
                  or nothing was published"""

    run_id: str
    method: str
    model: str
    game: str
    played: float
    quality: float | None
    quality_std: float | None


class GateEvent(NamedTuple):
    """A change of a gate's state and its cause."""

    run_id: str
    gate: str
    kind: str
    detail: str
    at: float


class PulseRecord(NamedTuple):
    """The mean and the maximum delay of the run's event loop in the second or so before `at`."""

    run_id: str
    at: float
    lag_s: float
    lag_s_max: float


class EngineSample(NamedTuple):
    """The load of a model server on this machine during a run; see ServerLoad. `base_url` is that of its
    methods."""

    run_id: str
    base_url: str
    running: int
    waiting: int
    cache_use: float | None
    prefix_queries: int | None
    prefix_hits: int | None
    at: float


class LookRecord(NamedTuple):
    """One interim analysis of a sweep that may stop early: a method against its reference. Differences are in
    points.

    kind              "look"; "tripwire": the sequential monitor stopped play before the interim analysis of
                      this number
    share, items      the share of the items that were played, and the number of items in the analysis
    low, high         the repeated confidence interval, which holds over all interim analyses
    equivalence_*     the interval of the equivalence claim
    p_*, level_*      p-values, and the levels that they must not exceed for a verdict
    e_value, e_stop   the highest e-value of the sequential monitor so far, and the value at which it stops
                      play
    verdict           DIFFERENT and EQUIVALENT end play; INCONCLUSIVE continues, except at the last
                      analysis"""

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


WATCH_KIND = "watch"  # of the probes of a watch: `name` is the hash of a prompt, the reply one token


class ProbeRecord(NamedTuple):
    """One short prompt of `lightbulb check` to an access method, and its reply; no game, no score.

    check_at            start of the check, the same in all rows of one check; of a day of a watch likewise
    kind, name, number  the probe, its prompt, and the number of the try
    stop                the stop text of the request
    reply               None if there was none; error_class then names the cause
    reasoning_effort    of the request; None: the sweep's
    reasoning_tokens    the part of completion_tokens for thoughts
    own_prompt_tokens   the prompt's tokens by the tokenizer of the weights; None: the weights are not known
    in_flight           calls of this probe in flight when it was sent, itself included"""

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
    reasoning_effort: str | None = None
    reasoning_tokens: int | None = None
    own_prompt_tokens: int | None = None
    in_flight: int | None = None


class RescoreRecord(NamedTuple):
    """One stored reply as the weights of a reference score it, token by token.

    rescored_at  start of the rescoring, the same in all its rows
    reference    the access method whose weights scored; engine_json: the proof of its engine, if it has one
    method       that wrote the reply; the place is that of its call
    joined       prompt and reply in one text have other tokens at their border; it was scored with its own
    margin_sum   sum over tokens: log-probability of the most likely token minus that of the said one, at most
                 5 each
    unlike       number of tokens that are not the most likely ones
    tokens_json  [[margin, rank], ...]; above temperature 0 [[margin, rank, low, high], ...]: the probability
                 before and up to the token in the distribution that was to be sampled"""

    rescored_at: float
    reference: str
    engine_json: str | None
    method: str
    episode_id: str
    attempt: int
    turn: int
    ask_hash: str
    tokens: int
    joined: bool
    margin_sum: float
    unlike: int
    tokens_json: str


Record = (
    BenchRun
    | BenchStage
    | BenchRequest
    | SweepRecord
    | ModelRecord
    | MethodRecord
    | EpisodeRecord
    | TurnRecord
    | CallRecord
    | LogprobRecord
    | SummaryRecord
    | AuditPlanRecord
    | GateEvent
    | PulseRecord
    | EngineSample
    | LookRecord
    | ProbeRecord
    | RescoreRecord
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptTurn:
    """One turn as the store holds it: the new messages, the reply, and the game's check of it."""

    seat: str
    method: str
    added: tuple[Message, ...]
    reply: str
    violation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One episode as the store holds it. unanswered: the last ask of a failed episode, with an empty
    reply."""

    key: str
    status: str
    outcome: str | None
    score: float | None
    reason: str
    turns: tuple[TranscriptTurn, ...]
    unanswered: TranscriptTurn | None = None

"""Makes one call: through its gate, to its backend, and perhaps again. Each try leaves a CallRecord.

Only this file retries. A refused or unserved try counts only if the gate served a call that was sent after
the try before it: what a provider says of all calls is the gate's affair, where calls wait until it serves
again or closes. A pause before another try is full jitter from the call's own random stream, and at least the
provider's Retry-After, on the clock that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, log
from random import Random
from typing import Literal, NamedTuple

import orjson
import tenacity

from harness.core.errors import (
    AccountRefused,
    AllRefused,
    BudgetSpent,
    CallError,
    ConnectFailed,
    Garbled,
    GateClosing,
    ModelUnknown,
    RateLimited,
    Rejected,
    TimedOut,
    TransientCallError,
    Unavailable,
    UnknownEnd,
)
from harness.core.protocols import Backend, Clock, RecordSink
from harness.core.records import CallRecord, LogprobRecord
from harness.core.vocabulary import AccessMethod, Completion, Prompt, TokenLogprob, storable
from harness.limits.admission import CallGate, CallResult
from harness.limits.estimates import CallCost
from harness.limits.waits import WaitTimes
from harness.scheduler.refusals import Refusals
from harness.scheduler.spending import SpendingBudget
from harness.scheduler.watchdog import Watchdog

NO_INFORMATION = CallResult(kind="other")
FEW_FAIL = 0.1  # six tries fail by chance once in a million calls
MANY_FAIL = 0.5  # of more, twenty tries are enough


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The limits of the tries of one call.

    tries_max      failed tries that end a call, of those in a time in which the gate served others; more
                   where usually more than a tenth of the calls fail
    deadline_s     no try begins later than this after the first; a time in which the gate serves no one does
                   not count
    wait_max_s     upper bound of the jittered pause; Retry-After may exceed it
    wait_first_s   upper bound of the first pause; it doubles from try to try"""

    tries_max: int = 6
    deadline_s: float = 600.0
    wait_max_s: float = 30.0
    wait_first_s: float = 0.5

    def tries_at(self, usual: float) -> int:
        """Returns how many failed tries end a call where usually this share of calls fails.

        Above FEW_FAIL so many that by chance they are as rare as `tries_max` of them are at FEW_FAIL: the
        call is then not to blame for what happens to all."""
        if usual <= FEW_FAIL:
            return self.tries_max
        return int(self.tries_max * log(FEW_FAIL) / log(min(usual, MANY_FAIL)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An access method made live.

    gate      of the quota that it draws on; other methods of the account may share it
    account   all gates of the same key: a refused account closes them all
    alone     whether every method at this gate asks for this model: only then does an unknown model close the
              gate
    sole      whether no other method uses this gate: only then do refusals of all its calls close the gate
    key_users   names of all methods of the same key"""

    method: AccessMethod
    gate: CallGate
    backend: Backend
    account: tuple[CallGate, ...] = ()
    alone: bool = True
    sole: bool = True
    key_users: tuple[str, ...] = ()

    def close(self, reason: GateClosing, *, key_works: bool) -> None:
        """Closes the gates that the reason concerns, and no others.

        key_works   a call with this key was answered in this run: the refusal of an account is then that of
                    one method, such as of one upstream behind a gateway"""
        if (isinstance(reason, ModelUnknown) and not self.alone) or (
            isinstance(reason, AllRefused) and not self.sole
        ):
            return
        self.gate.close(reason)
        if isinstance(reason, AccountRefused) and not key_works:
            for gate in self.account:
                gate.close(reason)


class CallPlace(NamedTuple):
    """The place of a call in the sweep."""

    run_id: str
    episode_id: str
    attempt: int
    turn: int
    ask_hash: str


class _Tries:
    """The failed tries of one call.

    failed    how many there were
    pause_s   before the next one"""

    def __init__(
        self, policy: RetryPolicy, gate: CallGate, clock: Clock, started_s: float, jitter: Random
    ) -> None:
        self.failed = 0
        self.pause_s = 0.0
        self._counted = 0
        self._policy = policy
        self._gate = gate
        self._clock = clock
        self._since_s = started_s  # where the deadline counts from
        self._last_s = started_s
        self._jitter = jitter

    def allow_another(self, error: BaseException) -> bool:
        """Takes a failed try and sets the pause after it; False: the call ends with this error."""
        if not isinstance(error, TransientCallError):
            return False
        policy, now_s = self._policy, self._clock.now()
        jitter_s = self._jitter.uniform(
            0.0, min(policy.wait_max_s, policy.wait_first_s * 2.0 ** min(self.failed, 60))
        )
        self.failed += 1
        own = isinstance(error, Garbled) or self._gate.served_since(self._last_s)
        self._last_s = now_s
        asked_s = error.retry_after_s
        self.pause_s = max(asked_s, jitter_s) if asked_s is not None and isfinite(asked_s) else jitter_s
        if not own:
            self._since_s = now_s
            return True
        self._counted += 1
        tries = policy.tries_at(self._gate.usual_failures)
        return self._counted < tries and now_s + jitter_s - self._since_s <= policy.deadline_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Makes calls; holds what all calls of a run have in common."""

    sink: RecordSink
    clock: Clock
    policy: RetryPolicy
    budget: SpendingBudget
    watchdog: Watchdog = field(default_factory=Watchdog)
    refusals: Refusals = field(default_factory=Refusals)

    async def call(
        self,
        route: Route,
        prompt: Prompt,
        place: CallPlace,
        *,
        remainder: float,
        chance: Callable[[], Random],
    ) -> Completion:
        """Returns the provider's completion.

        remainder  turns this episode has ahead: its priority at the gate
        chance     makes the random stream of the pauses, if one is needed
        raises     CallError: that of the last try; GateClosing also when the gate is closed"""
        started_s = self.clock.now()
        # tenacity takes 25 us of CPU a call, where a whole turn takes some 200: it begins once a try has
        # failed
        try:
            return await self._try(route, prompt, place, 0, remainder, started_s)
        except TransientCallError as error:
            tries = _Tries(self.policy, route.gate, self.clock, started_s, chance())
            if not tries.allow_another(error):
                raise

        async def pause_and_try() -> Completion:
            await route.gate.rest(tries.pause_s)
            return await self._try(route, prompt, place, tries.failed, remainder, self.clock.now())

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(tries.allow_another), sleep=self.clock.sleep
        )
        return await retrying(pause_and_try)

    async def _try(
        self, route: Route, prompt: Prompt, place: CallPlace, number: int, remainder: float, ready: float
    ) -> Completion:
        clock, gate, method = self.clock, route.gate, route.method.name
        size, kind = _size(prompt), prompt.kind
        tokens_max = route.method.sampling.tokens_max or prompt.reply_format.tokens_max
        if self.budget.exhausted or self.refusals.closings:
            self._refuse_if_over(method)
        admission = await gate.enter(
            remainder, gate.estimates.expect(kind, characters=size, tokens_max=tokens_max)
        )
        if self.budget.exhausted or self.refusals.closings:  # calls of others, while this turn waited
            try:
                self._refuse_if_over(method)
            except (BudgetSpent, AllRefused):
                gate.leave(admission, NO_INFORMATION)
                raise
        self.budget.begin_call(method)
        sent = clock.now()
        sent_at = clock.wall()
        sent_number = self.watchdog.call_sent(gate, method, place.episode_id, place.turn, sent)
        completion, failure = None, None
        answer = NO_INFORMATION
        try:
            completion = await route.backend.complete(prompt)
            answer = _result_of_completion(completion)
            self.refusals.note_answer(method)
        except CallError as error:
            failure = error
            answer = _result_of_failure(error)
        finally:
            answered = clock.now()
            self.watchdog.call_returned(sent_number, answered)
            gate.leave(admission, answer)
        if answer.cost is not None:
            gate.estimates.learn(kind, characters=size, cost=answer.cost)
        reason: CallError | None = failure
        if isinstance(failure, Rejected | UnknownEnd):
            reason = self.refusals.note_refusal(method, failure) or failure
        if isinstance(reason, GateClosing):
            route.close(reason, key_works=any(map(self.refusals.answered, route.key_users)))
        cost_usd = _cost_usd(route.method, completion) if completion else None
        self.budget.end_call(
            method, tokens=int(answer.cost.tokens) if answer.cost else 0, cost_usd=cost_usd or 0.0
        )
        times = _times(completion or failure, admission.waited, ready, sent, answered, sent_at)
        record = _record(route, place, number, completion, failure, times, cost_usd=cost_usd)
        if completion is None or completion.logprobs is None:
            await self.sink.put(record)
        else:
            await self.sink.put(record, _logprobs(record, completion.logprobs))
        if reason is not None:
            raise reason from (None if reason is failure else failure)
        assert completion is not None
        return completion

    def _refuse_if_over(self, method: str) -> None:
        """Raises BudgetSpent or AllRefused if the method may make no more calls."""
        self.budget.may_call(method)
        self.refusals.check(method)


_CAUSES: Mapping[type[CallError], str] = {
    ConnectFailed: "connection errors",
    TimedOut: "timeouts",
    Unavailable: "service errors",
    Garbled: "broken responses",
}
"""Says how an event names a failure that has no HTTP status."""


def _size(prompt: Prompt) -> int:
    return sum([len(text) for _, text in prompt.messages])


def _result_of_completion(completion: Completion) -> CallResult:
    cost = None
    if completion.prompt_tokens is not None and completion.completion_tokens is not None:
        cost = CallCost(1.0, float(completion.prompt_tokens), float(completion.completion_tokens))
    return CallResult("clean", cost, completion.headers)


def _result_of_failure(error: CallError) -> CallResult:
    """Returns what a failure says of limits: too fast, no service, or nothing. A garbled answer says nothing:
    it was served."""
    pause_s = error.retry_after_s if isinstance(error, TransientCallError) else None
    cause = f"HTTP {error.status}" if error.status else _CAUSES.get(type(error), type(error).__name__)
    kind: Literal["limited", "unserved", "other"] = (
        "limited"
        if isinstance(error, RateLimited)
        else "unserved"
        if isinstance(error, (Unavailable, TimedOut))
        else "other"
    )
    return CallResult(kind=kind, headers=error.headers, retry_after_s=pause_s, cause=cause, error=str(error))


def _times(
    answer: Completion | CallError | None,
    waited: WaitTimes,
    ready_s: float,
    sent_s: float,
    answered_s: float,
    sent_at: float,
) -> tuple[float, float, float, float, float]:
    """Returns a record's queue_s, latency_s, sent_at, quota_s and rest_s. The request was sent once the rate
    limiter of its host had let it pass."""
    held_s = answer.held_s if answer else 0.0
    return (
        sent_s - ready_s + held_s,
        answered_s - sent_s - held_s,
        sent_at + held_s,
        waited.quota_s + held_s,
        waited.rest_s,
    )


def _record(
    route: Route,
    place: CallPlace,
    number: int,
    completion: Completion | None,
    failure: CallError | None,
    times: tuple[float, float, float, float, float],
    *,
    cost_usd: float | None,
) -> CallRecord:
    kept = failure.completion if isinstance(failure, UnknownEnd) else completion
    met = kept or Completion(
        text="",
        http_status=failure.status if failure else None,
        request_id=failure.request_id if failure else None,
    )
    record = CallRecord(  # by position: it is made for every call, and names would take twice as long
        place.episode_id, place.attempt, place.turn, number, place.run_id, route.method.name, place.ask_hash,
        storable(kept.text) if kept else None,
        met.finish_reason and storable(met.finish_reason),
        met.prompt_tokens, met.completion_tokens,
        met.served_model and storable(met.served_model),
        met.request_id and storable(met.request_id),
        met.http_status,
        type(failure).__name__ if failure else None,
        storable(str(failure)) if failure else None,
        *times,
        met.reasoning and storable(met.reasoning),
        met.reasoning_tokens, met.cached_tokens,
        met.upstream and storable(met.upstream),
        met.system_fingerprint and storable(met.system_fingerprint),
        cost_usd,
    )  # fmt: skip
    if (pace := met.pace) is None:
        return record
    return record._replace(
        ttft_s=pace.ttft_s,
        chunks=pace.chunks,
        gap_s_median=pace.gap_s_median,
        gap_s_p95=pace.gap_s_p95,
        gap_s_max=pace.gap_s_max,
    )


def _logprobs(call: CallRecord, tokens: Sequence[TokenLogprob]) -> LogprobRecord:
    """Returns the row of these log-probabilities beside the row of their call."""
    return LogprobRecord(
        episode_id=call.episode_id,
        attempt=call.attempt,
        turn=call.turn,
        try_number=call.try_number,
        run_id=call.run_id,
        method=call.method,
        ask_hash=call.ask_hash,
        tokens=len(tokens),
        first_token=storable(tokens[0].text),
        first_logprob=tokens[0].logprob,
        logprob_sum=sum(token.logprob for token in tokens),
        tokens_json=orjson.dumps(
            [
                (
                    storable(text),
                    round(logprob, 5),
                    [(storable(other), round(value, 5)) for other, value in top],
                )
                for text, logprob, top in tokens
            ]
        ).decode(),
    )


def _cost_usd(method: AccessMethod, met: Completion) -> float | None:
    """Returns the cost by the sweep's prices if it has any: they are what the user pays."""
    if method.prices is None:
        return met.cost_usd
    return method.prices.cost_usd(
        prompt_tokens=met.prompt_tokens,
        cached_tokens=met.cached_tokens,
        completion_tokens=met.completion_tokens,
    )

"""Admits the calls of one provider quota: those of one access method, or of several that share it.

Knows the quota, the window and the clock; nothing of games, episodes or HTTP. Keeps: no more calls are in
flight than the window allows, and no more is spent than the quotas allow. A quota is what the sweep states,
or what the provider reports, which wins; where neither does, it is learned from refusals. Of the turns that
wait, the one with the most turns ahead of its episode goes first. A call that pauses before another try holds
no place in the window, but counts as work to come, so that no new episode is begun in its stead. Refusals and
missing service make the window smaller; many of them in a row make the gate rest. A closed gate admits no one
and raises its reason in all who wait. Does not promise: fairness between gates; they do not know each
other."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import anyio

from harness.core.errors import GateClosing, NotServed
from harness.core.protocols import Clock
from harness.limits.admission import Admission, CallResult, GateStatistics, Signal, Ticket
from harness.limits.congestion import Congestion
from harness.limits.estimates import CallCost, Estimates
from harness.limits.headers import Quota, read_reports
from harness.limits.token_bucket import JITTER_S, TokenBucket
from harness.limits.waits import LONG_WAIT_S, NO_WAIT, Cause, WaitMeter, WaitTimes, describe_pause, elapsed

WINDOW_START = 8  # calls before the first answer; few enough for a free tier, doubled within a round trip
# without one good answer: outages that end by themselves mostly end within a quarter of an hour
PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """The limits that a sweep states.

    concurrency   calls in flight at most
    at_once       calls in flight before the first answer
    patience_s    a gate closes when no call was served for so long, or when it is asked for a longer pause
    the others    quotas a minute; None: not stated"""

    concurrency: int
    at_once: int = WINDOW_START
    patience_s: float = PATIENCE_S
    requests: float | None = None
    tokens: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None


class Gate:
    """See the module's header. `run_timer` must run in a task as long as the gate is used.

    on_event    (kind, detail) is called when a limit changes, a pause begins or the gate is closed
    jitter_s    by so much one admitted request may arrive later than another
    estimates   what calls will cost, learned from what they did
    closed      why it admits no one any more; `closing` is set then"""

    def __init__(
        self,
        name: str,
        limits: GateLimits,
        *,
        clock: Clock,
        on_event: Callable[[str, str], None],
        jitter_s: float = JITTER_S,
    ) -> None:
        self.name = name
        self.estimates = Estimates()
        self._jitter_s = jitter_s
        self._clock = clock
        self._on_event = on_event
        self._congestion = Congestion(start=limits.at_once, ceiling=limits.concurrency, on_event=on_event)
        self._reports_quotas = False  # whether the provider's headers report quotas
        now_s = clock.now()
        self._budgets: dict[Quota, TokenBucket] = {
            quota: TokenBucket(limit, now_s, jitter_s=jitter_s)
            for quota in get_args(Quota)
            if (limit := getattr(limits, quota)) is not None
        }
        # a heap: the longest remainder first, then the order of arrival
        self._queue: list[tuple[float, int, Ticket]] = []
        self._waits = WaitMeter(now_s)
        self._numbers = 0
        self._waiting = 0
        self._in_flight = 0
        self._sent = CallCost(requests=0.0)
        self._calls = 0
        self._resting = self._unbegun = 0  # what rests includes what is not begun
        self._rest_until_s = now_s
        self._rest_cause = ""
        self.closed: GateClosing | None = None
        self.closing = anyio.Event()
        self._wanting: anyio.Event | None = None  # of the lanes that wait to begin an episode
        self._patience_s = limits.patience_s
        self._reported_wait_until_s = now_s
        self._due_s: float | None = None
        self._alarm_s: float | None = None
        self._alarm = anyio.Event()

    # --- turns ----------------------------------------------------------------------------------------------

    async def enter(self, remainder: float, cost: CallCost) -> Admission:
        """Waits for a place in the window and for the quotas.

        remainder   turns ahead of the turn's episode; the turn with the most goes first
        raises      GateClosing once the gate is closed"""
        if self.closed:
            raise self.closed.copied()
        now_s = self._clock.now()
        if not self._waiting and self._in_flight < self._congestion.room and self._wait_s(cost, now_s) <= 0.0:
            return self._reserve(cost, now_s)
        called = anyio.Event()
        ticket = self.enter_later(remainder, cost, called)
        try:
            await called.wait()
        except BaseException:
            if ticket.admission is not None:
                self.leave(ticket.admission, CallResult(kind="other"))
            else:
                self.withdraw(ticket)
            raise
        if ticket.admission is None:
            assert self.closed is not None
            raise self.closed.copied()
        return ticket.admission

    def enter_later(self, remainder: float, cost: CallCost, called: Signal) -> Ticket:
        """Queues a turn; `called` is set once it is admitted or the gate is closed, perhaps at once."""
        now_s = self._clock.now()
        self._numbers += 1
        ticket = Ticket(cost, called, self._waits.sums(now_s))
        heapq.heappush(self._queue, (-remainder, self._numbers, ticket))
        self._waiting += 1
        self._admit(now_s)
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Takes a turn that was not called out of the queue."""
        ticket.left = True
        self._waiting -= 1

    def give_back(self, admission: Admission) -> None:
        """Takes back what was admitted and surely not sent."""
        self._in_flight -= 1
        self._congestion.left(admission.sent_s)
        for quota, budget in self._budgets.items():
            budget.settle(getattr(admission.cost, quota), 0.0)
        self._admit(self._clock.now())
        self._signal_if_wanting()

    def leave(self, admission: Admission, answer: CallResult) -> None:
        """Gives the place back, learns from the answer, and admits the next turns."""
        now_s = self._clock.now()
        self._calls += 1
        if answer.kind == "clean":
            self._congestion.served(
                number=admission.number,
                sent_s=admission.sent_s,
                sent_with=admission.in_flight,
                now_s=now_s,
                in_flight=self._in_flight,
            )
        elif answer.kind in ("limited", "unserved"):
            self._learn_from_failure(admission, answer, now_s)
        self._in_flight -= 1
        self._congestion.left(admission.sent_s)
        if answer.cost is not None:
            for quota, budget in self._budgets.items():
                budget.settle(getattr(admission.cost, quota), getattr(answer.cost, quota))
        if answer.headers:
            self._learn_from_headers(admission, answer.headers, now_s)
        if self._queue or answer.kind != "clean":
            self._admit(now_s)
        self._signal_if_wanting()

    def hand_on(self, admission: Admission, answer: CallResult) -> Admission:
        """Ends a call whose place another process has given to the next one."""
        self._in_flight -= 1  # the next one is sent when this one is no longer in flight
        following = self._reserve(admission.cost, self._clock.now())
        self._in_flight += 1
        self.leave(admission, answer)
        return following

    async def rest(self, seconds: float) -> None:
        """Pauses before another try; holds no place in the window and counts as work to come.

        raises  GateClosing as soon as the gate is closed"""
        self._resting += 1
        self._set_alarm(self._due_s)
        try:
            with anyio.move_on_after(seconds):
                await self.closing.wait()
        finally:
            self._resting -= 1
            self._signal_if_wanting()
        if self.closed:
            raise self.closed.copied()

    def rest_elsewhere(self, change: int, *, unbegun: int = 0) -> None:
        """Counts work to come in other processes: calls that pause, and episodes before their first turn."""
        self._resting += change + unbegun
        self._unbegun += unbegun
        self._set_alarm(self._due_s)
        self._signal_if_wanting()

    async def run_timer(self) -> None:
        """Admits turns when only time was missing: a quota refills, a rest ends. Closes a gate that serves no
        one."""
        while True:
            self._alarm = anyio.Event()
            if self._alarm_s is None:
                await self._alarm.wait()
            else:
                with anyio.move_on_after(max(0.0, self._alarm_s - self._clock.now())):
                    await self._alarm.wait()
            now_s = self._clock.now()
            self._close_if_silent(now_s)
            self._admit(now_s)

    # --- admission: no await between reading, choosing and reserving ----------------------------------------

    def _admit(self, now_s: float) -> None:
        """Admits turns while there are room and quota; sets the alarm if only time is missing."""
        due_s = None
        while self._queue and self._in_flight < self._congestion.room:
            ticket = self._queue[0][2]
            if not ticket.left:
                wait_s = self._wait_s(ticket.cost, now_s)
                if wait_s > 0.0:
                    due_s = now_s + wait_s
                    if wait_s > LONG_WAIT_S:
                        self._close_or_note_reported_wait(ticket.cost, now_s)
                    break
                self._waiting -= 1
                ticket.admission = self._reserve(
                    ticket.cost, now_s, self._waits.sums(now_s).since(ticket.came)
                )
                ticket.called.set()
            heapq.heappop(self._queue)
        self._waits.set_cause(self._cause(due_s, now_s), now_s)
        self._congestion.note_learned_quota()  # a period of it may have ended
        self._due_s = due_s
        self._set_alarm(due_s)

    def _set_alarm(self, due_s: float | None) -> None:
        """Sets when `run_timer` wakes: when a turn may be admitted, or when silence has lasted too long."""
        since_s = self._congestion.silent_since_s
        if since_s is not None and self.closed is None and self._waiting + self._resting + self._in_flight:
            due_s = since_s + self._patience_s if due_s is None else min(due_s, since_s + self._patience_s)
        if due_s != self._alarm_s:
            self._alarm_s = due_s
            self._alarm.set()

    def _wait_s(self, cost: CallCost, now_s: float) -> float:
        wait_s = max(self._rest_until_s - now_s, self._congestion.learned.wait_s(now_s))
        for quota, budget in self._budgets.items():
            wait_s = max(wait_s, budget.wait_s(getattr(cost, quota), now_s))
        return wait_s

    def _cause(self, due_s: float | None, now_s: float) -> Cause:
        """Returns what the queue waits for."""
        if due_s is None:
            return "rest" if self._congestion.probing else "place"
        return "rest" if now_s < due_s <= self._rest_until_s + 1e-9 else "quota"

    def _reserve(self, cost: CallCost, now_s: float, waited: WaitTimes = NO_WAIT) -> Admission:
        self._in_flight += 1
        before = self._sent
        self._sent = sent = CallCost(
            before.requests + cost.requests,
            before.input_tokens + cost.input_tokens,
            before.output_tokens + cost.output_tokens,
        )
        self._congestion.sent(sent_with=self._in_flight, now_s=now_s)
        for quota, budget in self._budgets.items():
            budget.spend(getattr(cost, quota), now_s)
        return Admission(cost, now_s, self._in_flight, self._congestion.sent_calls, sent, waited)

    # --- learning -------------------------------------------------------------------------------------------

    def _learn_from_failure(self, admission: Admission, answer: CallResult, now_s: float) -> None:
        pause_s = self._congestion.failed(
            number=admission.number,
            sent_s=admission.sent_s,
            sent_with=admission.in_flight,
            limited=answer.kind == "limited",
            retry_after_s=answer.retry_after_s,
            quota_known=self._reports_quotas,
            cause=answer.cause,
            error=answer.error,
            now_s=now_s,
            in_flight=self._in_flight,
        )
        asked_s = answer.retry_after_s or 0.0
        if self._patience_s < asked_s < float("inf"):
            self._close_for_pause(asked_s, answer.cause)
        elif pause_s > 0.0 and now_s + pause_s > self._rest_until_s:
            if now_s + pause_s / 2 > self._rest_until_s:  # not for each of the calls that were in flight
                self._on_event(
                    "rest", f"pausing {describe_pause(pause_s, self._clock.wall())} ({answer.cause})"
                )
            self._rest_until_s, self._rest_cause = now_s + pause_s, answer.cause

    def _learn_from_headers(self, admission: Admission, headers: Mapping[str, str], now_s: float) -> None:
        for quota, report in read_reports(headers, self._clock.wall()).items():
            self._reports_quotas = True
            if quota not in self._budgets:
                if report.limit is None or report.limit < 1.0:
                    continue
                self._budgets[quota] = TokenBucket(report.limit, now_s, jitter_s=self._jitter_s)
                self._announce_reported_quota(quota, report.limit)
            spent_since = getattr(self._sent, quota) - getattr(admission.sent, quota)
            if self._budgets[quota].take_report(
                report, spent_since=spent_since, sent_s=admission.sent_s, now_s=now_s
            ):
                self._announce_reported_quota(quota, self._budgets[quota].per_minute)

    def _announce_reported_quota(self, quota: Quota, limit: float) -> None:
        self._on_event("quota", f"quota: {limit:,.0f} {quota.replace('_', ' ')}/min (from response headers)")

    @property
    def usual_failures(self) -> float:
        """The usual share of calls that are refused or not served."""
        return self._congestion.usual_failures

    def served_since(self, moment_s: float) -> bool:
        """Returns whether a call that was sent since then was served."""
        return self._congestion.served_since(moment_s)

    @property
    def served_sent_s(self) -> float:
        """Returns when the latest of the served calls was sent."""
        return self._congestion.served_sent_s

    @property
    def is_metered(self) -> bool:
        """Returns whether calls wait for more than a place: for a quota or the end of a pause."""
        paced = self._budgets or self._congestion.learned.per_minute is not None or self._congestion.probing
        return bool(paced) or self._wait_s(CallCost(), self._clock.now()) > 0.0

    def update_load(self, running: int, waiting: int) -> None:
        """Takes a server's report: running requests, and those in a standing queue. The window follows it."""
        self._congestion.window.update_load(running=running, waiting=waiting, in_flight=self._in_flight)
        self._admit(self._clock.now())
        self._signal_if_wanting()

    # --- episodes -------------------------------------------------------------------------------------------

    async def wait_until_wants_episodes(self) -> None:
        """Waits until the ready turns no longer suffice to keep the window full.

        raises  GateClosing once the gate is closed"""
        while not self.wants_episodes:
            if self._wanting is None:
                self._wanting = anyio.Event()
            await self._wanting.wait()
        if self.closed:
            raise self.closed.copied()

    @property
    def wants_episodes(self) -> bool:
        """Returns whether fewer turns wait, or pause before another try, than a quarter of the window. A
        closed gate wants episodes, too, so that its callers learn the reason."""
        return self.closed is not None or self._waiting + self._resting < max(
            1, self._congestion.window.size // 4
        )

    def _signal_if_wanting(self) -> None:
        if self._wanting is not None and self.wants_episodes:
            self._wanting.set()
            self._wanting = None

    # --- the end --------------------------------------------------------------------------------------------

    def close(self, reason: GateClosing) -> None:
        """Admits no one any more; raises the reason in all who wait. The first reason stands."""
        if self.closed:
            return
        self.closed = reason
        self.closing.set()
        self._on_event("closed", str(reason))
        for _, _, ticket in self._queue:
            if not ticket.left:
                self._waiting -= 1
                ticket.called.set()
        self._queue.clear()
        self._signal_if_wanting()

    def _close_for_pause(self, pause_s: float, cause: str) -> None:
        """Closes for a pause that is longer than the sweep waits."""
        self.close(
            NotServed(
                f"the provider asks for a pause of {describe_pause(pause_s, self._clock.wall())} ({cause});"
                f" this is longer than patience_s = {self._patience_s:g}"
            )
        )

    def _close_if_silent(self, now_s: float) -> None:
        since_s = self._congestion.silent_since_s
        if since_s is not None and now_s >= since_s + self._patience_s:
            silent = f"no call was served for {elapsed(now_s - since_s)}"
            self.close(NotServed(f"{silent}; the last failure: {self._congestion.last_failure}"))

    def _close_or_note_reported_wait(self, cost: CallCost, now_s: float) -> None:
        """Closes when response headers leave nothing for longer than the sweep waits; announces a shorter
        wait."""
        waits = [
            (budget.reported_wait_s(getattr(cost, quota), now_s), quota)
            for quota, budget in self._budgets.items()
        ]
        wait_s, quota = max(waits, default=(0.0, "requests"))
        cause = f"response headers say that the quota of {quota.replace('_', ' ')} is used up"
        if wait_s > self._patience_s:
            self._close_for_pause(wait_s, cause)
        elif wait_s > LONG_WAIT_S and now_s + wait_s > self._reported_wait_until_s + LONG_WAIT_S:
            self._reported_wait_until_s = now_s + wait_s
            self._on_event("rest", f"pausing {describe_pause(wait_s, self._clock.wall())} ({cause})")

    def note(self, kind: str, detail: str) -> None:
        """Adds an event that was observed elsewhere."""
        self._on_event(kind, detail)

    @property
    def quotas(self) -> dict[str, float]:
        """Quotas a minute that the sweep states or the provider reports."""
        return {quota: budget.per_minute for quota, budget in self._budgets.items()}

    def statistics(self) -> GateStatistics:
        pause_s, cause = self._pause()
        return GateStatistics(
            calls=self._calls,
            in_flight=self._in_flight,
            waiting=self._waiting,
            resting=self._resting - self._unbegun,
            window=self._congestion.room,
            pause_s=pause_s,
            pause_cause=cause,
        )

    def _pause(self) -> tuple[float, str]:
        """Returns how long no call is sent, and why."""
        now_s = self._clock.now()
        rest_s, quota_s = self._rest_until_s - now_s, (self._due_s or now_s) - now_s
        if max(rest_s, quota_s) <= 0.0 or not self._waiting + self._resting:
            return 0.0, ""
        return (quota_s, "a quota is spent") if quota_s > rest_s + 1e-9 else (rest_s, self._rest_cause)

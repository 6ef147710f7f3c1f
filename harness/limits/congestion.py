"""Decides from answers how many calls may be in flight, how fast they may be sent, and when to pause.

Joins the window, the breaker and the learned quota of one gate. A failed call is asked three questions, in
this order: does it say that nobody is served, that calls come too fast, that too many are in flight? Each
change of a limit is an event with the old value, the new one and the evidence. Arithmetic but for the events;
time is an argument."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from harness.limits.breaker import Breaker
from harness.limits.failure_monitor import FailureMonitor
from harness.limits.learned_quota import SHORT_PAUSE_S, SILENCE_S, LearnedQuota
from harness.limits.refused_in_flight import RefusedInFlight
from harness.limits.window import FEW_IN_FLIGHT, UNDONE_MAX, Window, WindowChange

# a learned quota changes by steps of a percent; an event for each says nothing
ANNOUNCED_CUT, ANNOUNCED_RAISE = 0.95, 1.25
PAUSES_COMPARED, PAUSES_DIFFER = 3, 1.2  # so many pauses, the longest by so much longer than the shortest


class Congestion:
    """See the module's header.

    last_failure   the words of the last failed call
    on_event       (kind, detail) is called at every change"""

    def __init__(self, *, start: int, ceiling: int, on_event: Callable[[str, str], None]) -> None:
        self.window = Window(start=start, ceiling=ceiling)
        self.learned = LearnedQuota()
        self.last_failure = ""
        self.sent_calls = 0
        self._refused = RefusedInFlight()
        self._few = FailureMonitor()  # of calls sent with few others in flight
        self._pauses_asked = (float("inf"), 0.0, 0)  # shortest, longest, number
        self._breaker = Breaker()
        self._on_event = on_event
        self.served_sent_s = float("-inf")  # when the latest of the served calls was sent
        self._refused_in_silence = False
        self._opened_s = float("-inf")  # when the breaker opened last; a probe that fails opens nothing
        self._stragglers = 0  # calls in flight that were sent before that
        self._noted_changes = 0
        self._noted_quota: float | None = None

    @property
    def room(self) -> int:
        """The number of calls that may be in flight."""
        return 1 + self._stragglers if self._breaker.open else self.window.size

    @property
    def usual_failures(self) -> float:
        """The usual share of failed calls; while calls are paced, of those refused lately."""
        return max(self.window.usual_failures, self.learned.share_refused)

    @property
    def probing(self) -> bool:
        """True while nobody is served, so that one call at a time may probe."""
        return self._breaker.open

    @property
    def silent_since_s(self) -> float | None:
        """The time of the first failure after which no call was served; None: the last answer was good."""
        return self._breaker.silent_since_s

    def served_since(self, moment_s: float) -> bool:
        """Returns whether a call that was sent since then was served."""
        return self.served_sent_s >= moment_s

    def sent(self, *, sent_with: int, now_s: float) -> None:
        """Takes that a call is sent, as one of so many in flight."""
        self.sent_calls += 1
        sent_with -= self._refused.likely(self.sent_calls)
        self.window.sent(sent_with)
        self.learned.sent(now_s)
        if sent_with <= FEW_IN_FLIGHT * self.window.served_with:
            self._few.sent()

    def served(self, *, number: int, sent_s: float, sent_with: int, now_s: float, in_flight: int) -> None:
        """Takes a served call.

        number      of calls sent when it was sent, itself included
        sent_with   calls in flight when it was sent, itself included
        in_flight   those now"""
        sent_with -= self._refused.beside(number)
        self.window.served(sent_s=sent_s, sent_with=sent_with, now_s=now_s, in_flight=in_flight)
        self.learned.taken(sent_s=sent_s)
        if sent_s > self.served_sent_s:
            self.served_sent_s = sent_s
        if self._breaker.silent_since_s is not None:
            outage = self._breaker.open
            since_s = self._breaker.served(sent_s)
            if since_s is not None and (outage or now_s - since_s > SILENCE_S):
                self.learned.end_silence(since_s=since_s, refused=self._refused_in_silence, now_s=now_s)
        if self.learned.changes != self._noted_changes:
            self.note_learned_quota()

    def failed(
        self,
        *,
        number: int,
        sent_s: float,
        sent_with: int,
        limited: bool,
        retry_after_s: float | None,
        quota_known: bool,
        cause: str,
        error: str,
        now_s: float,
        in_flight: int,
    ) -> float:
        """Takes a failed call; returns for how many seconds no call should be sent.

        limited       it was refused as too fast or too many; else it was not served
        quota_known   the provider reports its quotas, so that none needs to be learned
        cause, error  for events: in short, and in the provider's words
        in_flight     calls in flight now, this one included"""
        pause_s = retry_after_s if retry_after_s is not None and isfinite(retry_after_s) else 0.0
        self.last_failure = error or cause
        sent_with -= self._refused.beside(number)
        self._refused.add(number=number, sent_calls=self.sent_calls)
        if self._breaker.silent_since_s is None:
            self.learned.begin_silence()
            self._refused_in_silence = limited
        was_open = self._breaker.open
        probe_pause_s = self._breaker.failed(sent_s=sent_s, sent_calls=self.sent_calls, now_s=now_s)
        if not self._breaker.open:
            paced = limited and self.learned.per_minute is not None
            change = None
            if not paced:
                change = self.window.failed(
                    sent_s=sent_s, sent_with=sent_with, now_s=now_s, in_flight=in_flight
                )
                if change is not None:
                    self._note_window_change(change, cause)
            if limited and not quota_known:
                of_rate = self._pauses_differ(pause_s)
                self.learned.refused(sent_s=sent_s, now_s=now_s, retry_after_s=retry_after_s, of_rate=of_rate)
                self._suspect_rate(change, sent_with=sent_with, now_s=now_s)
        elif not was_open:
            self._begin_outage(cause, in_flight, now_s)
        self.note_learned_quota()
        # the short pause that one failing call of many is asked for is that call's own, unless calls come too
        # fast
        too_fast = limited and (
            pause_s >= SHORT_PAUSE_S
            or quota_known
            or self.learned.per_minute is not None
            or sent_with <= self.window.served_with
        )
        return max(pause_s, probe_pause_s or 0.0) if too_fast or self._breaker.open else 0.0

    def _begin_outage(self, cause: str, in_flight: int, now_s: float) -> None:
        before = self.window.size
        self.window.restart(now_s=now_s)
        self._stragglers, self._opened_s = in_flight, now_s
        self.learned.stop_test(now_s)
        self._on_event(
            "cut",
            f"sending one call at a time after {self._breaker.in_row} failures in a row ({cause});"
            f" when a call is served again, concurrency begins at {self.window.size} (it was {before})",
        )

    def _pauses_differ(self, pause_s: float) -> bool:
        """Takes a pause that was asked for; returns whether they have different lengths: such pauses are
        computed from the time, so that refusals are of a rate. When a place comes free no provider knows."""
        if pause_s <= 0.0:
            return False
        low_s, high_s, count = self._pauses_asked
        self._pauses_asked = min(low_s, pause_s), max(high_s, pause_s), count + 1
        return count >= PAUSES_COMPARED and high_s > PAUSES_DIFFER * low_s

    def _suspect_rate(self, change: WindowChange | None, *, sent_with: int, now_s: float) -> None:
        """Begins the test of a quota if fewer calls in flight did not help, or calls sent with few are
        refused. change: what the refusal changed at the window."""
        if change is not None and change.is_undone:
            self.learned.suspect(share=change.share, now_s=now_s)
        elif (share := self._share_of_few(sent_with)) is not None:
            self.learned.suspect(share=share, now_s=now_s)

    def _share_of_few(self, sent_with: int) -> float | None:
        """Takes a refused call; returns the share that is refused of those sent with few in flight, if that
        share is larger than usual. It is the usual one from then on."""
        if sent_with > FEW_IN_FLIGHT * self.window.served_with or not self._few.failed(sent_with):
            return None
        share = self._few.share(0)
        self._few.accept(min(share, UNDONE_MAX))
        return share

    def left(self, sent_s: float) -> None:
        """Takes that a call sent then is no longer in flight."""
        if self._stragglers and sent_s <= self._opened_s:
            self._stragglers -= 1

    def note_learned_quota(self) -> None:
        """Announces a change of the learned quota; of small steps only what they come to."""
        if self.learned.changes == self._noted_changes:
            return
        self._noted_changes = self.learned.changes
        former, figure = self._noted_quota, self.learned.per_minute
        if self.learned.is_tested and figure is not None:
            if former is not None:
                return
            detail = (
                f"pace: {figure:,.0f} requests/min, to test if calls are refused because they come too fast"
            )
        elif figure is None:
            detail = f"no quota on requests is assumed, because {self.learned.forgotten}"
        elif former is not None and ANNOUNCED_CUT * former < figure < ANNOUNCED_RAISE * former:
            return
        else:
            before = "" if former is None else f"; it was {former:,.0f}"
            detail = f"quota: {figure:,.0f} requests/min (learned from refusals{before})"
        self._noted_quota = figure
        self._on_event("quota", detail)

    def _note_window_change(self, change: WindowChange, cause: str) -> None:
        share = f"{change.failed} of {change.calls} recent calls failed"
        if change.is_undone:
            detail = (
                f"concurrency raised again to {change.after} (it was {change.before}), because fewer calls in flight"
                f" did not help: {share} ({cause})"
            )
        else:
            detail = f"concurrency lowered to {change.after} after {cause} (it was {change.before}; {share})"
        self._on_event("cut", detail)

"""Sets how many calls may be in flight: more while they are used and served, fewer on evidence of overload.
Arithmetic.

Growth is slow start (Jacobson, Congestion Avoidance and Control, 1988): one more for each call served, which
doubles the window in a round trip. It counts only while at least 80 % of the window is used, so that idle
hours do not look like capacity (RFC 7661). A window is also a number of connections, so it grows by so many a
second at most.

A cut needs evidence: failures significantly more frequent than usual (failure_monitor.py). Where nearly all
of them were sent with more calls in flight than are typically served together, and nearly all such calls
failed, the provider has so many places: the window becomes that many, and does not grow until it is.
Otherwise it is multiplied by 0.7. Calls sent before a cut belong to the same trouble and count for nothing.
The window then stays as it is until it is known if the cut helped. If fewer calls in flight fail as often as
before, load is not the cause: the cut is undone and the share is taken as usual. Otherwise the window grows
fast to nine tenths of where it was, then by about one a round (the shape of CUBIC: Ha, Rhee & Xu 2008); well
beyond where it was the trouble is over and slow start goes on. A limit that is met again is approached half
as often each time, and near it a smaller rise of failures is evidence.

Where the server reports its load, that rules instead: without a queue the window grows, doubling until the
first queue and by an eighth from then on; a short queue keeps the batch full and the window as it is; of a
longer one our share is taken back."""

from __future__ import annotations

from typing import NamedTuple

from harness.limits.failure_monitor import FailureMonitor

CUT = 0.7  # CUBIC's factor
RECOVERED = 0.9  # of where the window was: up to there it grows fast again
OUTGROWN = 1.1  # of where it was, and one call: beyond that the trouble is over
# served calls; places are sometimes free at the provider before we know, so that one says little
TYPICAL_OF = 32.0
PROBE_SHARE = 0.02  # of the window, added in a round above that; at least one call
ROUNDS_MAX = 16  # a known limit is tried once in so many rounds at least; each trial costs a few refusals
STILL_FAILS = 0.5  # of the former share: a cut that lowers it by less did not help
# calls sent after a cut whose share of failures is compared with that before
COMPARED_MIN, COMPARED_ROUNDS = 16, 4
# above this share of failures a cut is never undone: six tries in a row would fail too often
UNDONE_MAX = 0.35
FEW_IN_FLIGHT = 0.75  # of the calls that are served together: others are not too many at once
NEARLY_ALL = 0.8  # of the failures with too many in flight, and of the calls sent so: places, not chance
# of the former window, after no call was served: full again after two rounds of slow start
RESTART_SHARE = 0.25
USED_SHARE = 0.8
QUEUE_SHARE = 0.1  # of the requests being computed may wait, so that a free place is taken at once
QUEUE_MIN = 2
STEP = 0.125
# opening 1,000 sockets at once stalled a loop for up to a second; providers punish it, too
RAMP_PER_S = 200.0


class WindowChange(NamedTuple):
    """A cut, or a cut undone.

    share    of failures, by which a cut and its undoing are compared
    failed   failed calls that led to the change
    calls    calls that were in flight when the failures began, or were sent since; of a cut undone: calls
             that were sent since the cut"""

    before: int
    after: int
    share: float
    failed: int
    calls: int

    @property
    def is_undone(self) -> bool:
        """Returns whether a cut was undone."""
        return self.after > self.before


class Window:
    """start: the first size; ceiling: the largest.

    size          calls that may be in flight now
    served_with   calls in flight with which the latest served calls were typically sent, if nearly as many as
                  ever"""

    def __init__(self, *, start: int, ceiling: int) -> None:
        self.size = min(start, ceiling)
        self.served_with = 0.0
        self._size = self._start = float(self.size)
        self._ceiling = float(ceiling)
        self._monitor = FailureMonitor()
        self._former = float("inf")  # the size before the last cut; inf: the window has outgrown it
        self._rounds = 1.0  # to grow by one step near the former size
        self._last_cut_s = float("-inf")
        self._undo: WindowChange | None = None
        self._sent = self._failed = 0  # of calls sent after the last cut
        self._any_served = False  # of the same calls
        # since failures became more frequent: the least number in flight that may be too many, the calls sent
        # with so many, those of them that failed, and all that failed
        self._too_many = self._sent_with_too_many = self._failed_with_too_many = self._failed_in_run = 0
        self._run_began_s, self._served_from_before = float("inf"), 0  # calls that were sent before that
        self._follows_server = False
        self._queued = False  # whether the server reported a queue
        self._ramp_size = self._size
        self._ramp_s: float | None = None

    @property
    def usual_failures(self) -> float:
        """The usual share of failed calls."""
        return self._monitor.usual

    def sent(self, sent_with: int) -> None:
        """Takes that a call is sent, as one of so many in flight."""
        self._monitor.sent()
        self._sent += 1
        if sent_with >= self._too_many:
            self._sent_with_too_many += 1

    def served(self, *, sent_s: float, sent_with: int, now_s: float, in_flight: int) -> None:
        """Takes a served call. sent_with: calls in flight when it was sent, itself included; in_flight: those
        now."""
        if sent_s <= self._last_cut_s:
            return
        self._any_served = True
        self._served_from_before += sent_s < self._run_began_s
        if sent_with >= RECOVERED * self.served_with:
            self.served_with += (sent_with - self.served_with) / TYPICAL_OF
        if self._follows_server or in_flight < USED_SHARE * self.size or self._is_held:
            return
        if self._ramp_s is None or now_s - self._ramp_s >= 1.0:
            self._ramp_s, self._ramp_size = now_s, self._size
        self._become(min(self._ceiling, self._ramp_size + RAMP_PER_S, self._grown()))

    @property
    def _is_held(self) -> bool:
        """Returns whether the window must not grow now: calls fail that are sent with more in flight than are
        typically served, or it is open whether the last cut helped, which a larger window would not show."""
        if not self._monitor.quiet and self._has_no_more_places:
            return True
        cut = self._undo
        if cut is None:
            return False
        if self._sent < COMPARED_MIN or (
            self._sent <= COMPARED_ROUNDS * cut.before and not self._monitor.quiet
        ):
            return True
        self._undo = None
        return False

    def _grown(self) -> float:
        size, former = self._size, self._former
        if size >= RECOVERED * former:
            if size <= OUTGROWN * former + 1.0:
                return size + max(1.0, PROBE_SHARE * size) / (size * self._rounds)
            self._former, self._rounds = float("inf"), 1.0
        return size + 1.0

    def failed(self, *, sent_s: float, sent_with: int, now_s: float, in_flight: int) -> WindowChange | None:
        """Takes a call that was refused or not served; returns the change of the window, if that was evidence
        enough. in_flight: calls in flight when it failed, itself included."""
        if sent_s <= self._last_cut_s:
            return None
        self._failed += 1
        if self._monitor.quiet:
            self._run_began_s, self._served_from_before = now_s, 0
            self._too_many, self._sent_with_too_many = sent_with, 0
            self._failed_with_too_many = self._failed_in_run = 0
        typically_served = int(self.served_with + 0.5)
        self._too_many = max(typically_served + 1, min(sent_with, self._too_many))
        self._failed_with_too_many += sent_with > typically_served
        self._failed_in_run += 1
        if not self._monitor.failed(in_flight):
            return None
        share = self._failed / self._sent
        if (
            self._undo is not None
            and share < UNDONE_MAX
            and self._sent <= COMPARED_ROUNDS * self._undo.before
        ):
            if self._sent < COMPARED_MIN:
                return None
            is_found = not 0.0 < self.served_with < FEW_IN_FLIGHT * sent_with  # how many are served together
            if share >= STILL_FAILS * self._undo.share and is_found and not self._has_no_more_places:
                return self._restore(self._undo, now_s)
        return self._cut(now_s)

    def _restore(self, cut: WindowChange, now_s: float) -> WindowChange:
        failed, calls, before = self._failed, self._sent, self.size
        share = failed / calls
        self._monitor.accept(share)
        self._begin_round(now_s)
        self._former, self._undo = float("inf"), None
        self._become(float(cut.before))
        return WindowChange(before, self.size, share, failed, calls)

    @property
    def _has_no_more_places(self) -> bool:
        """Returns whether nearly all failures are of calls sent with more in flight than are typically
        served, nearly all such calls failed, and others are served."""
        failed = self._failed_with_too_many
        return self._any_served and failed >= NEARLY_ALL * max(self._failed_in_run, self._sent_with_too_many)

    def _cut(self, now_s: float) -> WindowChange | None:
        before, share = self.size, self._monitor.share(self._served_from_before)
        failed, calls = self._monitor.counts
        former = self._size
        size = max(1.0, CUT * self._size)
        if self._has_no_more_places:
            size = former = max(1.0, min(self._too_many, self.size) - 1.0)
        if self._any_served or self._former == float("inf"):
            met_again = former >= RECOVERED * self._former
            self._rounds = min(ROUNDS_MAX, 2.0 * self._rounds) if met_again else 1.0
            self._former = former
        self._monitor.reset()
        self._begin_round(now_s)
        self._become(size)
        self.served_with = min(self.served_with, float(self.size))
        if self.size >= before:
            return None
        self._undo = WindowChange(before, self.size, share, failed, calls)
        return self._undo

    def restart(self, *, now_s: float) -> None:
        """Begins slow start again, for calls after a time in which none was served."""
        former = self._size if self._former == float("inf") else self._former
        self._former, self._undo = former, None
        self.served_with = 0.0
        self._monitor.reset()
        self._begin_round(now_s)
        self._become(min(self._ceiling, max(self._start, RESTART_SHARE * former)))

    def _begin_round(self, now_s: float) -> None:
        self._last_cut_s = now_s
        self._sent = self._failed = 0
        self._any_served = False

    def update_load(self, *, running: int, waiting: int, in_flight: int) -> None:
        """Takes a server's report: running requests, a standing queue of waiting ones; of both, in_flight are
        ours."""
        self._follows_server = True
        spare = max(QUEUE_MIN, QUEUE_SHARE * running)
        if waiting > spare:
            share = min(1.0, in_flight / (running + waiting))
            self._queued = True
            self._become(max(1.0, min(self._size, in_flight - share * (waiting - spare))))
        elif waiting == 0 and in_flight >= USED_SHARE * self.size and running >= USED_SHARE * in_flight:
            more = max(1.0, STEP * self._size) if self._queued else min(self._size, RAMP_PER_S)
            self._become(min(self._ceiling, self._size + more))

    def _become(self, size: float) -> None:
        self._size = size
        self.size = int(size)
        self._monitor.near_limit = size >= RECOVERED * self._former

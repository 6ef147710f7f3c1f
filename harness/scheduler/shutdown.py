"""Plays a sweep until it is done or interrupted.

The first Ctrl-C (or SIGTERM, or SIGHUP of a terminal that is closed) closes the gates: calls in flight are
answered and stored, episodes stay where they are, and the same command goes on from there. The second cancels
the calls in flight too. Before play begins, the first ends the preparations. From the third on nothing more
is stopped: the rows of the answered calls are being written."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskStatus

from harness.core.errors import BudgetSpent, Stopped
from harness.limits.gate import Gate
from harness.scheduler.scheduler import Scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """The end of a run.

    closings   lane -> why it ended early, where the reason is not the user's interrupt
    unplayed   lane that ended early -> its episodes that were not played
    budget     whether every lane that ended early did so for a budget
    failures   the most frequent reasons of failed episodes, with their numbers
    again      a process that played ended, so that what it left can be played on once its store is read
    used_s     then, the seconds of a budget's wall_s that were used"""

    finished: int
    failed: int
    pending: int
    interrupted: bool
    closings: dict[str, str] = field(default_factory=dict)
    unplayed: dict[str, int] = field(default_factory=dict)
    budget: bool = False
    failures: tuple[tuple[str, int], ...] = ()
    again: bool = False
    used_s: float = 0.0


HANGUP = getattr(signal, "SIGHUP", None)  # there is none on Windows


def _signals() -> list[signal.Signals]:
    """Returns the signals that stop a run. Under nohup a terminal that is closed does not."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if HANGUP is not None and signal.getsignal(HANGUP) is not signal.SIG_IGN:
        signals.append(HANGUP)
    return signals


class Interrupts:
    """Handles Ctrl-C, SIGTERM and SIGHUP for a whole run, by what the run does at that time.

    interrupted   whether one came"""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.interrupted = False
        self._notify = notify
        self._preparing = anyio.CancelScope()
        self._gates: Sequence[Gate] = ()
        self._playing: anyio.CancelScope | None = None

    async def listen(self, *, task_status: TaskStatus[None]) -> None:
        """Listens as long as the run lasts. Python hands signals to the main thread only; in another thread
        nothing is listened for."""
        if threading.current_thread() is not threading.main_thread():
            task_status.started()
            return
        with anyio.open_signal_receiver(*_signals()) as signals:
            task_status.started()
            async for number in signals:
                if not (self.interrupted and number == HANGUP):  # kernel and shell each send one
                    self.interrupt()

    def preparing(self) -> anyio.CancelScope:
        """Returns the scope around all that is done before and after play; an interrupt before play cancels
        it."""
        return self._preparing

    def playing(self, gates: Sequence[Gate]) -> anyio.CancelScope:
        """Returns the scope around play; the second interrupt cancels it."""
        self._gates = gates
        self._playing = anyio.CancelScope()
        return self._playing

    def interrupt(self) -> None:
        """Does what the next Ctrl-C does."""
        if self._playing is None:
            self._notify("stopping: no episode was started")
            self._preparing.cancel()
        elif not self.interrupted:
            in_flight = sum(gate.statistics().in_flight for gate in self._gates)
            self._notify(f"stopping: waiting for {in_flight} running calls; Ctrl-C again cancels them")
            for gate in self._gates:
                gate.close(Stopped("stopped by the user"))
        elif not self._playing.cancel_called:
            self._notify("stopping at once: running calls are cancelled")
            self._playing.cancel()
        else:
            self._notify("stopping: writing the last rows")
        self.interrupted = True


async def play_until_done_or_stopped(scheduler: Scheduler, interrupts: Interrupts) -> RunEnd:
    """Plays all lanes to their ends, or to an interrupt."""
    gates = {id(gate): gate for lane in scheduler.lanes for gate in lane.gates}
    with interrupts.playing(tuple(gates.values())):
        await scheduler.play_all()
    tallies = scheduler.tallies.values()
    closings = {
        name: tally.closing
        for name, tally in scheduler.tallies.items()
        if tally.closing and not isinstance(tally.closing, Stopped)
    }
    reasons: Counter[str] = Counter()
    for tally in tallies:
        reasons.update(tally.failures)
    return RunEnd(
        finished=sum(tally.finished for tally in tallies),
        failed=sum(tally.failed for tally in tallies),
        pending=sum(tally.pending + tally.put_off + tally.live for tally in tallies),
        interrupted=interrupts.interrupted,
        closings={name: str(closing) for name, closing in closings.items()},
        unplayed={name: scheduler.tallies[name].pending + scheduler.tallies[name].live for name in closings},
        budget=bool(closings) and all(isinstance(closing, BudgetSpent) for closing in closings.values()),
        failures=tuple(reasons.most_common(3)),
    )

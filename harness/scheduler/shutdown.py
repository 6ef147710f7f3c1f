"""The one way to play a sweep and the one clean way to stop it.

A first Ctrl-C (or SIGTERM) closes the gates: calls in flight come home and are stored, episodes stay where they are, and the same
command goes on from there. A second one cancels what is in flight too. Before play begins the first one ends the preparations. From the
third on they are only heard: what came home is being written."""

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
    """How a run ended.

    closings   method -> what barred its way, where something but the user did
    budget     whether it was a budget that barred it everywhere where something did
    failures   the commonest reasons of failed episodes, with their numbers"""

    finished: int
    failed: int
    pending: int
    interrupted: bool
    closings: dict[str, str] = field(default_factory=dict)
    budget: bool = False
    failures: tuple[tuple[str, int], ...] = ()


class Interrupts:
    """Hears Ctrl-C and SIGTERM for a whole run, and does what they mean at that time.

    interrupted   whether one came"""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.interrupted = False
        self._say = say
        self._preparing = anyio.CancelScope()
        self._gates: Sequence[Gate] = ()
        self._playing: anyio.CancelScope | None = None

    async def listen(self, *, task_status: TaskStatus[None]) -> None:
        """Runs as long as the run does. Signals come to a program's main thread only; elsewhere none are heard."""
        if threading.current_thread() is not threading.main_thread():
            task_status.started()
            return
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                self._hear()

    def preparing(self) -> anyio.CancelScope:
        """Around all that is done before and after play; ended by an interrupt before play."""
        return self._preparing

    def playing(self, gates: Sequence[Gate]) -> anyio.CancelScope:
        """Around play; ended by the second interrupt."""
        self._gates = gates
        self._playing = anyio.CancelScope()
        return self._playing

    def _hear(self) -> None:
        if self._playing is None:
            self._say("stopping before anything is played")
            self._preparing.cancel()
        elif not self.interrupted:
            in_flight = sum(gate.statistics().in_flight for gate in self._gates)
            self._say(f"stopping: {in_flight} calls in flight come home first; Ctrl-C again gives them up")
            for gate in self._gates:
                gate.close(Stopped("stopped by the user"))
        elif not self._playing.cancel_called:
            self._say("stopping at once: calls in flight are given up")
            self._playing.cancel()
        else:
            self._say("stopping: the last rows are being written")
        self.interrupted = True


async def play_until_done_or_stopped(scheduler: Scheduler, interrupts: Interrupts) -> RunEnd:
    """Plays all lanes, to their ends or to an interrupt."""
    gates = {id(gate): gate for lane in scheduler.lanes for gate in lane.gates}
    with interrupts.playing(tuple(gates.values())):
        await scheduler.play_all()
    tallies = scheduler.tallies.values()
    barred = {
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
        pending=sum(tally.pending + tally.live for tally in tallies),
        interrupted=interrupts.interrupted,
        closings={name: str(closing) for name, closing in barred.items()},
        budget=bool(barred) and all(isinstance(closing, BudgetSpent) for closing in barred.values()),
        failures=tuple(reasons.most_common(3)),
    )

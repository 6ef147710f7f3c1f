"""The one way to play a sweep and the one clean way to stop it.

A first Ctrl-C (or SIGTERM) closes the gates: calls in flight come home and are stored, episodes stay where they are, and the same
command goes on from there. A second one cancels what is in flight too."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from harness.core.errors import Stopped
from harness.engine.scheduler import Scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended. closings: method -> why its gate closed, for gates that did."""

    finished: int
    failed: int
    pending: int
    interrupted: bool
    closings: dict[str, str]


async def play_until_done_or_stopped(scheduler: Scheduler, *, say: Callable[[str], None]) -> RunEnd:
    """Plays all lanes under the signals described above."""
    gates = {gate.name: gate for lane in scheduler.lanes for gate in lane.gates}
    interrupted = False
    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            nonlocal interrupted
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    if interrupted:
                        say("stopping at once: calls in flight are given up")
                        tasks.cancel_scope.cancel()
                        return
                    interrupted = True
                    in_flight = sum(gate.statistics().in_flight for gate in gates.values())
                    say(f"stopping: {in_flight} calls in flight come home first; Ctrl-C again gives them up")
                    for gate in gates.values():
                        gate.close(Stopped("stopped by the user"))

        tasks.start_soon(listen)
        await scheduler.play_all()
        tasks.cancel_scope.cancel()
    tallies = scheduler.tallies.values()
    return RunEnd(
        finished=sum(tally.finished for tally in tallies),
        failed=sum(tally.failed for tally in tallies),
        pending=sum(tally.pending + tally.live for tally in tallies),
        interrupted=interrupted,
        closings={
            name: str(gate.closed) for name, gate in gates.items() if gate.closed and not isinstance(gate.closed, Stopped)
        },
    )

"""Measures the event loop delay: how much later than asked a sleeping task is woken.

While the loop is busy with our own work, an answer that has arrived is read that much later, so the delay is
our own part of a call's latency. On a virtual clock it is zero."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.protocols import Clock, RecordSink
from harness.core.records import PulseRecord

SLEEP_S = 0.05  # short against a call's latency, and twenty wake-ups a second cost nothing measurable
SLEEPS_A_ROW = 20  # a row about once a second


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLoopDelay:
    """Seconds late over the sleeps of the last row: the mean and the maximum."""

    mean_s: float = 0.0
    max_s: float = 0.0


class DelayMonitor:
    """Measures until it is cancelled.

    delay   that of the last row"""

    def __init__(self, *, run_id: str, clock: Clock, sink: RecordSink) -> None:
        self.delay = EventLoopDelay()
        self._run_id = run_id
        self._clock = clock
        self._sink = sink

    async def measure(self) -> None:
        """Stores a row about once a second."""
        clock = self._clock
        while True:
            late: list[float] = []
            while len(late) < SLEEPS_A_ROW:
                due_s = clock.now() + SLEEP_S
                await clock.sleep(SLEEP_S)
                late.append(max(0.0, clock.now() - due_s))
            self.delay = EventLoopDelay(mean_s=sum(late) / len(late), max_s=max(late))
            self._sink.put_nowait(
                PulseRecord(
                    run_id=self._run_id,
                    at=clock.wall(),
                    lag_s=self.delay.mean_s,
                    lag_s_max=self.delay.max_s,
                )
            )

"""How late the event loop is: a small task that asks to be woken and sees when it is.

While the loop is busy with our own work, every answer that has arrived waits as long to be read; so this is what of a call's latency is
ours. On a virtual clock it is nought."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.protocols import Clock, RecordSink
from harness.core.records import PulseRecord

BEAT_S = 0.05
BEATS_A_ROW = 20  # a row about once a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Seconds late over the last row's beats: on average, and at worst."""

    mean_s: float = 0.0
    max_s: float = 0.0


class Pulse:
    """Beats until it is cancelled; `lag` is the last row's."""

    def __init__(self, *, run_id: str, clock: Clock, sink: RecordSink) -> None:
        self.lag = Lag()
        self._run_id = run_id
        self._clock = clock
        self._sink = sink

    async def beat(self) -> None:
        clock = self._clock
        while True:
            late: list[float] = []
            while len(late) < BEATS_A_ROW:
                due_s = clock.now() + BEAT_S
                await clock.sleep(BEAT_S)
                late.append(max(0.0, clock.now() - due_s))
            self.lag = Lag(mean_s=sum(late) / len(late), max_s=max(late))
            self._sink.put_nowait(
                PulseRecord(
                    run_id=self._run_id, at=clock.wall(), lag_s=self.lag.mean_s, lag_s_max=self.lag.max_s
                )
            )

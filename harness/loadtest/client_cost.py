"""Measures what a stage costs this client: its CPU time and its event loop delay."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass

from harness.core.protocols import Clock

PROBE_S = 0.02  # interval at which the event loop delay is measured


def process_cpu_s() -> float:
    """Returns the CPU seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCost:
    """The client's part in a stage.

    cpu_s       CPU time of this process
    cpu_share   share of one core
    lag_s       mean event loop delay;  lag_s_max  largest, of so many measurements (beats)"""

    cpu_s: float
    cpu_share: float
    lag_s: float
    lag_s_max: float
    beats: int


class ClientMeter:
    """Measures from its making to `cost`.

    cpu_s   returns the CPU seconds used so far"""

    def __init__(self, clock: Clock, cpu_s: Callable[[], float]) -> None:
        self._clock, self._cpu_s = clock, cpu_s
        self._began_at, self._cpu_before = clock.now(), cpu_s()
        self._lags: list[float] = []

    async def measure_delay(self) -> None:
        """Runs until it is cancelled."""
        while True:
            due_at = self._clock.now() + PROBE_S
            await self._clock.sleep(PROBE_S)
            self._lags.append(max(0.0, self._clock.now() - due_at))

    def cost(self) -> ClientCost:
        wall_s, cpu_s = self._clock.now() - self._began_at, self._cpu_s() - self._cpu_before
        lags = self._lags
        return ClientCost(
            cpu_s=cpu_s,
            cpu_share=cpu_s / wall_s if wall_s > 0 else 0.0,
            lag_s=sum(lags) / len(lags) if lags else 0.0,
            lag_s_max=max(lags, default=0.0),
            beats=len(lags),
        )

"""Names what is stuck, and where: calls that have been in flight for too long, gates at which turns wait and nothing moves.

Knows which calls are under way and since when; changes nothing. Deadlines end calls; this says, long before a deadline of minutes has
passed, which ones are on their way to it. Each is named once."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.protocols import Clock
from harness.limits.gate import Gate

LOOK_S = 10.0
LONG_S = 60.0  # slow models take seconds, full queues a minute

UnderWay = tuple[Gate, str, str, int, float]
"""A call that was sent and has not come home: gate, method, episode, turn, when it was sent."""


class Watchdog:
    """Hears of every call that leaves and comes home; `watch` runs until it is cancelled."""

    def __init__(self) -> None:
        self._under_way: dict[int, UnderWay] = {}  # in order of sending
        self._sent = 0
        self._home = 0
        self._told = 0

    def left(self, gate: Gate, method: str, episode_id: str, turn: int, sent_s: float) -> int:
        """A call was sent; hand the number back when it comes home."""
        self._sent += 1
        self._under_way[self._sent] = (gate, method, episode_id, turn, sent_s)
        return self._sent

    def call_returned(self, number: int) -> None:
        self._home += 1
        del self._under_way[number]

    async def watch(self, gates: Sequence[Gate], clock: Clock) -> None:
        quiet_s, home = 0.0, self._home
        while True:
            await clock.sleep(LOOK_S)
            self._name_late_calls(clock.now())
            quiet_s = quiet_s + LOOK_S if self._home == home else 0.0
            home = self._home
            if quiet_s == LONG_S:
                self._name_still_gates(gates)

    def _name_late_calls(self, now_s: float) -> None:
        late: dict[str, list[UnderWay]] = {}
        for number, call in self._under_way.items():
            _, method, _, _, sent_s = call
            if now_s - sent_s < LONG_S:
                break
            if number > self._told:
                late.setdefault(method, []).append(call)
                self._told = number
        for method, calls in late.items():
            gate, _, episode_id, turn, sent_s = calls[0]
            more = f", and {len(calls) - 1} more" if len(calls) > 1 else ""
            gate.note(
                "stuck",
                f"{method}: no answer for {now_s - sent_s:.0f} s: episode {episode_id}, turn {turn}{more}",
            )

    def _name_still_gates(self, gates: Sequence[Gate]) -> None:
        for gate in gates:
            now = gate.statistics()
            if now.waiting or now.resting:
                counts = f"{now.in_flight} in flight, {now.waiting} wait, {now.resting} rest"
                gate.note("still", f"nothing came home for {LONG_S:.0f} s; {counts}")

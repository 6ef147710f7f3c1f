"""Names what is stuck: calls that have been in flight for long, and gates at which turns wait while no call
is answered.

Knows which calls are in flight and since when; changes nothing. Deadlines end calls; the watchdog names them
long before a deadline of minutes has passed. Each call is named once."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.protocols import Clock
from harness.limits.gate import Gate

PERIOD_S = 10.0
LATE_S = 60.0  # slow models take seconds, a full queue at the server up to a minute

SentCall = tuple[Gate, str, str, int, float]
"""A call in flight: gate, method, episode, turn, when it was sent."""


class Watchdog:
    """Is told of every call that is sent and answered; `watch` runs until it is cancelled."""

    def __init__(self) -> None:
        self._in_flight: dict[int, SentCall] = {}  # in order of sending
        self._sent = 0
        self._returned = 0
        self._named = 0

    def call_sent(self, gate: Gate, method: str, episode_id: str, turn: int, sent_s: float) -> int:
        """Notes a call; returns the number by which `call_returned` names it."""
        self._sent += 1
        self._in_flight[self._sent] = (gate, method, episode_id, turn, sent_s)
        return self._sent

    def call_returned(self, number: int) -> None:
        self._returned += 1
        del self._in_flight[number]

    async def watch(self, gates: Sequence[Gate], clock: Clock) -> None:
        quiet_s, returned = 0.0, self._returned
        while True:
            await clock.sleep(PERIOD_S)
            self._name_late_calls(clock.now())
            quiet_s = quiet_s + PERIOD_S if self._returned == returned else 0.0
            returned = self._returned
            if quiet_s == LATE_S:
                self._name_still_gates(gates)

    def _name_late_calls(self, now_s: float) -> None:
        late: dict[str, list[SentCall]] = {}
        for number, call in self._in_flight.items():
            _, method, _, _, sent_s = call
            if now_s - sent_s < LATE_S:
                break
            if number > self._named:
                late.setdefault(method, []).append(call)
                self._named = number
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
                counts = f"{now.in_flight} calls in flight, {now.waiting} waiting, {now.resting} pausing"
                gate.note("still", f"no call was answered for {LATE_S:.0f} s; {counts}")

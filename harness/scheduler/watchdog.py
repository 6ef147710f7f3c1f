"""Names what is stuck: calls that have been in flight for long, methods that answer no call, and gates at
which turns wait while no call is answered.

Knows which calls are in flight and since when; changes nothing. Deadlines end calls; the watchdog names them
long before a deadline of minutes has passed. A method that has answered before is named after ten seconds
without an answer, or after three times the longest that an answer took. Each is named once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.protocols import Clock
from harness.limits.admission import CallGate

PERIOD_S = 2.0
LATE_S = 60.0  # slow models take seconds, a full queue at the server up to a minute

QUIET_S = 10.0  # a server that has died holds its calls open without a word
QUIET_TIMES = 3.0  # of the longest that an answer took: replies differ in length

SentCall = tuple[CallGate, str, str, int, float]
"""A call in flight: gate, method, episode, turn, when it was sent."""


@dataclass(slots=True)
class _Answers:
    """The answers of one method.

    last_s      when the last one came
    longest_s   the longest that one took
    named       whether the silence since the last one was named"""

    last_s: float
    longest_s: float
    named: bool = False


class Watchdog:
    """Is told of every call that is sent and answered; `watch` runs until it is cancelled."""

    def __init__(self) -> None:
        self._in_flight: dict[int, SentCall] = {}  # in order of sending
        self._sent = 0
        self._returned = 0
        self._named = 0
        self._answers: dict[str, _Answers] = {}

    def call_sent(self, gate: CallGate, method: str, episode_id: str, turn: int, sent_s: float) -> int:
        """Notes a call; returns the number by which `call_returned` names it."""
        self._sent += 1
        self._in_flight[self._sent] = (gate, method, episode_id, turn, sent_s)
        return self._sent

    def call_returned(self, number: int, now_s: float) -> None:
        """Notes that a call was answered, well or badly."""
        self._returned += 1
        _, method, _, _, sent_s = self._in_flight.pop(number)
        answers = self._answers.get(method)
        if answers is None:
            self._answers[method] = _Answers(now_s, now_s - sent_s)
            return
        answers.last_s, answers.named = now_s, False
        if now_s - sent_s > answers.longest_s:
            answers.longest_s = now_s - sent_s

    def sent_times(self) -> dict[str, list[float]]:
        """Returns method -> when each of its calls in flight was sent, the oldest first."""
        times: dict[str, list[float]] = {}
        for _, method, _, _, sent_s in self._in_flight.values():
            times.setdefault(method, []).append(sent_s)
        return times

    async def watch(self, gates: Sequence[CallGate], clock: Clock) -> None:
        quiet_s, returned = 0.0, self._returned
        while True:
            await clock.sleep(PERIOD_S)
            now_s = clock.now()
            self._name_late_calls(now_s)
            self._name_silent_methods(now_s)
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

    def _name_silent_methods(self, now_s: float) -> None:
        for method, answers in self._answers.items():
            limit_s = max(QUIET_S, QUIET_TIMES * answers.longest_s)
            if answers.named or now_s - answers.last_s < limit_s:
                continue
            calls = [call for call in self._in_flight.values() if call[1] == method]
            if not calls or now_s - max(answers.last_s, calls[0][4]) < limit_s:
                continue
            answers.named = True
            gate, _, episode_id, turn, sent_s = calls[0]
            gate.note(
                "stuck",
                f"{method}: no answer to any of {len(calls)} calls in flight for"
                f" {now_s - max(answers.last_s, sent_s):.0f} s (the slowest answer so far took"
                f" {answers.longest_s:.1f} s); the oldest: episode {episode_id}, turn {turn}",
            )

    def _name_still_gates(self, gates: Sequence[CallGate]) -> None:
        for gate in gates:
            now = gate.statistics()
            if now.waiting or now.resting:
                counts = f"{now.in_flight} calls in flight, {now.waiting} waiting, {now.resting} pausing"
                gate.note("still", f"no call was answered for {LATE_S:.0f} s; {counts}")

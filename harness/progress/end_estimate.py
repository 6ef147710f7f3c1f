"""Estimates from a run's own figures when each lane and the whole run end, and names the calls it waits for.

Reads gates, meters and the open episodes every few seconds, because an estimate of thirty access methods
takes milliseconds; between these moments the last estimate counts down. Changes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from harness.core.protocols import Clock
from harness.limits.gate import Gate
from harness.progress.meters import Meters
from harness.progress.time_left import (
    NOTHING_LEFT,
    SLOW_TIMES,
    GatePace,
    TimeLeft,
    gate_time,
    lane_time,
    last_of,
)
from harness.progress.turns_left import EpisodeTurns, TurnsLeft

PERIOD_S = 2.0
PACE_WINDOW_S = 120.0  # twice a minute's quota, so that a burst at its start does not decide
PACE_MIN_S = 15.0  # of a full gate: shorter stretches say less than the window and the latency do
CALL_S_MAX = 600.0  # where nobody says how long one call may take
SLOW_MIN_S = 5.0  # nobody wonders about a shorter wait


class EstimatedLane(Protocol):
    """The part of a lane that an estimate reads."""

    @property
    def name(self) -> str: ...
    @property
    def gate(self) -> Gate | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowCalls:
    """Calls of one access method that have been in flight for unusually long; `seconds`: the oldest."""

    method: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEstimate:
    """An estimate at a moment.

    whole      None: no turn has been answered yet, or a lane cannot be estimated
    lanes      by name; a lane that cannot be estimated is absent
    turns      lane -> turns that are left
    slow       calls that are waited for"""

    at_s: float
    whole: TimeLeft | None
    lanes: Mapping[str, TimeLeft]
    turns: Mapping[str, float]
    slow: tuple[SlowCalls, ...]


@dataclass(slots=True)
class _GateHistory:
    """Remembers what a gate had answered at recent moments, all of them with turns that waited."""

    full: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, now_s: float, answered: int, *, is_full: bool) -> None:
        if not is_full:
            self.full.clear()
            return
        self.full.append((now_s, answered))
        while self.full[0][0] < now_s - PACE_WINDOW_S:
            self.full.popleft()

    def a_second(self) -> float | None:
        if not self.full or self.full[-1][0] - self.full[0][0] < PACE_MIN_S:
            return None
        (first_s, before), (last_s, after) = self.full[0], self.full[-1]
        return (after - before) / (last_s - first_s) or None


class EndEstimator:
    """See the module's header.

    sent_times    gives method -> when each of its calls in flight was sent
    call_s_max    how long one call may take"""

    def __init__(
        self,
        lanes: Sequence[EstimatedLane],
        *,
        clock: Clock,
        meters: Meters,
        turns: EpisodeTurns,
        sent_times: Callable[[], Mapping[str, Sequence[float]]],
        call_s_max: float = CALL_S_MAX,
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._meters = meters
        self._turns = turns
        self._sent_times = sent_times
        self._call_s_max = call_s_max
        self._histories: dict[int, _GateHistory] = {}
        self._last: EndEstimate | None = None

    def estimate(self) -> EndEstimate:
        """Returns the estimate, at most PERIOD_S old."""
        now_s = self._clock.now()
        if self._last is None or now_s - self._last.at_s >= PERIOD_S:
            self._last = self._made(now_s, self._sent_times())
        return self._last

    def _made(self, now_s: float, sent_times: Mapping[str, Sequence[float]]) -> EndEstimate:
        by_gate: dict[int, list[EstimatedLane]] = {}
        for lane in self._lanes:
            by_gate.setdefault(id(lane.gate or lane), []).append(lane)
        lanes: dict[str, TimeLeft] = {}
        turns: dict[str, float] = {}
        slow: list[SlowCalls] = []
        gates: list[TimeLeft | None] = []
        for key, sharing in by_gate.items():
            gate = sharing[0].gate
            if gate is not None and gate.closed is not None:
                continue
            pace = self._pace(key, sharing, now_s, sent_times)
            places = pace.window if pace else 1
            left = {lane.name: self._turns.left(lane.name, side_by_side=places) for lane in sharing}
            turns |= {name: one.mean for name, one in left.items()}
            if pace is not None and (fresh := sum(one.never_begun for one in left.values())):
                playing = sum(one.episodes for one in left.values()) - fresh
                pace = replace(pace, playing=max(1, playing))
            gates.append(self._of_gate(left, pace, lanes))
            if pace is not None:
                slow += _slow(sharing, pace, now_s, sent_times)
        known = [one for one in gates if one is not None]
        whole = last_of(known) if len(known) == len(gates) else None
        return EndEstimate(at_s=now_s, whole=whole, lanes=lanes, turns=turns, slow=tuple(slow))

    def _of_gate(
        self, left: Mapping[str, TurnsLeft], pace: GatePace | None, lanes: dict[str, TimeLeft]
    ) -> TimeLeft | None:
        """Returns the time to the end of a gate's lanes, and adds each lane's own."""
        if not any(one.episodes for one in left.values()):
            lanes.update(dict.fromkeys(left, NOTHING_LEFT))
            return NOTHING_LEFT
        if pace is None:
            return None
        whole = gate_time(list(left.values()), pace)
        for name, one in left.items():
            others = [other for beside, other in left.items() if beside != name and other.episodes]
            lanes[name] = (
                lane_time(one, others, pace) if others else whole if one.episodes else gate_time([one], pace)
            )
        return whole

    def _pace(
        self,
        key: int,
        lanes: Sequence[EstimatedLane],
        now_s: float,
        sent_times: Mapping[str, Sequence[float]],
    ) -> GatePace | None:
        """Returns the pace of a gate; None before its first answered turn."""
        gate = lanes[0].gate
        methods = [method for lane in lanes for method in lane.name.split("+")]
        traffic = [self._meters.traffic[method] for method in methods if method in self._meters.traffic]
        turn_s = sorted(seconds for one in traffic for seconds in one.turn_s)
        if not turn_s:
            return None
        games_s = [seconds for one in traffic for seconds in one.game_s]
        ages_s = [now_s - sent_s for method in methods for sent_s in sent_times.get(method, ())]
        slow_s = SLOW_TIMES * turn_s[int(0.95 * len(turn_s))]
        # a slow call counts as one that takes as long again: the answered ones alone look too fast
        turn_s += sorted(min(2 * age_s, self._call_s_max) for age_s in ages_s if age_s > slow_s)
        statistics = gate.statistics() if gate is not None else None
        answered = sum(one.answered for one in traffic)
        history = self._histories.setdefault(key, _GateHistory())
        history.note(now_s, answered, is_full=statistics is not None and statistics.waiting > 0)
        calls = sum(one.calls for one in traffic)
        return GatePace(
            window=statistics.window if statistics is not None else len(lanes),
            turn_s=turn_s,
            game_s=sum(games_s) / max(1, len(games_s)),
            a_second=history.a_second(),
            quota_a_second=self._quota(gate, methods, calls / max(1, answered)) if gate else None,
            pause_s=statistics.pause_s if statistics is not None else 0.0,
            ages_s=ages_s,
            slow_s=slow_s,
            turn_s_max=self._call_s_max,
        )

    def _quota(self, gate: Gate, methods: Sequence[str], tries: float) -> float | None:
        """Returns the turns a second that the known quotas allow.

        tries   calls for each turn"""
        quotas = gate.quotas
        calls = sum(self._meters.requests_a_minute(method) for method in methods)
        tokens = sum(self._meters.tokens_a_minute(method) for method in methods)
        allowed = [quotas["requests"]] if "requests" in quotas else []
        if "tokens" in quotas and calls and tokens:
            allowed.append(quotas["tokens"] * calls / tokens)
        return min(allowed) / 60.0 / max(1.0, tries) if allowed else None


def _slow(
    lanes: Sequence[EstimatedLane],
    pace: GatePace,
    now_s: float,
    sent_times: Mapping[str, Sequence[float]],
) -> list[SlowCalls]:
    """Returns the calls of these lanes that take unusually long."""
    limit_s = max(SLOW_MIN_S, pace.slow_s)
    slow = []
    for method in dict.fromkeys(method for lane in lanes for method in lane.name.split("+")):
        ages = [age_s for sent_s in sent_times.get(method, ()) if (age_s := now_s - sent_s) > limit_s]
        if ages:
            slow.append(SlowCalls(method=method, calls=len(ages), seconds=max(ages)))
    return slow

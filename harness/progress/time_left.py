"""Estimates when a run ends, from the turns that are left and the pace of each gate.

A gate's time has two parts: its turns at the pace that its window, its quotas or the last minute show, and
then the end, in which the last episodes play side by side and the longest of them decides. Open episodes that
have outlived all others play beside both parts. The range is a 90 % interval: 5 % and 95 % quantiles of
lengths, pace and slow calls. Pure arithmetic: no clock, no gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, exp, inf, log, sqrt

from harness.progress.life_table import longest, quantile
from harness.progress.turns_left import TurnsLeft

LEVELS = (0.05, 0.5, 0.95)
Z = 1.645  # of the normal distribution at LEVELS[2]
PACE_DEVIATION = 0.10  # relative; a provider's pace changes by about so much from minute to minute
SLOW_TIMES = 3.0  # a call that takes longer than so many times the 95 % quantile is waited for by name


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLeft:
    """Seconds to an end: the middle estimate, and the 90 % interval."""

    value_s: float
    low_s: float
    high_s: float

    @classmethod
    def of(cls, low_s: float, value_s: float, high_s: float) -> TimeLeft:
        """Returns the estimate with its bounds in order."""
        value_s = max(0.0, value_s)
        return cls(value_s=value_s, low_s=max(0.0, min(low_s, value_s)), high_s=max(high_s, value_s))


NOTHING_LEFT = TimeLeft(value_s=0.0, low_s=0.0, high_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePace:
    """The pace of one gate.

    window         turns that may be in flight at once
    turn_s         how long recent turns took on the wire, in ascending order; their retries are included
    game_s         how long a game takes between a reply and its next ask, on average
    playing        open episodes while others have not begun; None: all have begun
    a_second       turns a second while the gate was full; None: it was not, or not for long enough
    quota_a_second turns a second that the known quotas allow; None: no quota is known
    pause_s        until the gate admits a turn
    ages_s         how long each call has been in flight
    slow_s         the age from which a call is called slow
    turn_s_max     the longest that one call may take"""

    window: int
    turn_s: Sequence[float]
    a_second: float | None
    quota_a_second: float | None
    pause_s: float
    ages_s: Sequence[float]
    slow_s: float
    turn_s_max: float
    game_s: float = 0.0
    playing: int | None = None

    @property
    def mean_s(self) -> float:
        return sum(self.turn_s) / len(self.turn_s)

    @property
    def cycle_s(self) -> float:
        """Returns how long an episode takes from ask to ask."""
        return self.mean_s + self.game_s

    @property
    def turns_a_second(self) -> float:
        """Returns the pace while there are enough turns."""
        fastest = max(1, self.window) / max(1e-6, self.mean_s)
        if self.playing is not None:  # those that the game keeps busy are not in flight
            fastest = min(fastest, self.playing / max(1e-6, self.cycle_s))
        paces = [self.a_second if self.a_second is not None else fastest, self.quota_a_second or inf]
        return max(1e-9, min(paces))


def gate_time(lanes: Sequence[TurnsLeft], pace: GatePace) -> TimeLeft:
    """Returns the time to the end of all these lanes, which share the gate; `pace.turn_s` is not empty."""
    turns = sum(lane.mean for lane in lanes)
    if not any(lane.episodes for lane in lanes):
        return NOTHING_LEFT
    ending = [one for lane in lanes for one in lane.ending]
    # What keeps one of them going keeps all: the longest of them is no longer than each may be.
    outlived = [longest([(1.0, survival)]) for lane in lanes for survival in lane.outlived]
    last_turns = min(turns, sum(plays * sum(survival) for plays, survival in ending))
    before_s = (turns - last_turns) / pace.turns_a_second
    deviation = sqrt(
        sum(lane.variance for lane in lanes) / max(1.0, turns) ** 2
        + PACE_DEVIATION**2
        + 1.0 / max(1.0, len(pace.turn_s))
    )
    lengths, doubt = longest(ending), max(lane.doubt for lane in lanes)
    ends = []
    for level, z in zip(LEVELS, (-Z, 0.0, Z), strict=True):
        end_s = quantile(lengths, level) * exp(z * doubt) * pace.cycle_s
        whole_s = max(
            turns / pace.turns_a_second * exp(z * deviation),
            before_s * exp(z * deviation) + end_s,
            max((quantile(one, level) for one in outlived), default=0.0)
            * exp(z * PACE_DEVIATION)
            * pace.cycle_s,
        )
        ends.append(whole_s + _held_up_s(whole_s, level, turns, pace))
    low_s, value_s, high_s = _with_slow_calls(ends, pace)
    return TimeLeft.of(low_s + pace.pause_s, value_s + pace.pause_s, high_s + pace.pause_s)


def _held_up_s(left_s: float, level: float, turns: float, pace: GatePace) -> float:
    """Returns by how much slow calls hold up the end, at a quantile.

    A call that is sent u seconds before the end and takes longer than u + x holds it up by more than x. With
    calls at a steady rate such calls are a Poisson process, so that x at the level p solves
    rate * E[min((latency - x)+, time left)] = -ln p."""
    rate, allowed = turns / max(left_s, pace.mean_s), -log(level)

    def holding_up(delay_s: float) -> float:
        share = sum(min(turn_s - delay_s, left_s) for turn_s in pace.turn_s if turn_s > delay_s)
        return rate * share / len(pace.turn_s)

    low_s, high_s = pace.mean_s, pace.turn_s[-1]
    if holding_up(low_s) <= allowed:
        return 0.0
    for _ in range(12):
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (middle_s, high_s) if holding_up(middle_s) > allowed else (low_s, middle_s)
    return high_s - pace.mean_s


def _with_slow_calls(ends: Sequence[float], pace: GatePace) -> tuple[float, float, float]:
    """Returns the ends when calls are in flight for unusually long: how long such a call still takes is what
    others that were as slow took; where there were none, as long again as it took so far."""
    low_s, value_s, high_s = ends
    age_s = max(pace.ages_s, default=0.0)
    if age_s <= pace.slow_s:
        return low_s, value_s, high_s
    longer = [turn_s - age_s for turn_s in pace.turn_s if turn_s > age_s]
    at_most_s = max(0.0, pace.turn_s_max - age_s)
    still_s = min(at_most_s, sum(longer) / len(longer) if longer else age_s)
    return low_s, max(value_s, still_s + pace.mean_s), max(high_s, at_most_s + pace.mean_s)


def lane_time(lane: TurnsLeft, others: Sequence[TurnsLeft], pace: GatePace) -> TimeLeft:
    """Returns the time to the end of one lane whose gate serves the others too, each as fast as this one."""
    shared = sum(min(other.mean, lane.mean) for other in others)
    alone = gate_time([lane], pace)
    delay_s = shared / pace.turns_a_second if lane.episodes else 0.0
    return TimeLeft.of(alone.low_s + 0.8 * delay_s, alone.value_s + delay_s, alone.high_s + 1.25 * delay_s)


def last_of(times: Sequence[TimeLeft]) -> TimeLeft:
    """Returns when the last of independent parts ends; each part's end is taken as log-normal."""
    parts = [one for one in times if one.high_s > 0.0]
    if len(parts) < 2:
        return parts[0] if parts else NOTHING_LEFT
    return TimeLeft.of(*(_last_at(parts, level) for level in LEVELS))


def _last_at(parts: Sequence[TimeLeft], level: float) -> float:
    """Returns the moment by which all parts have ended with this probability, by bisection."""
    low_s, high_s = 0.0, 2.0 * max(one.high_s for one in parts)
    for _ in range(30):
        middle_s = (low_s + high_s) / 2
        ended = 1.0
        for one in parts:
            ended *= _ended_by(one, middle_s)
        low_s, high_s = (middle_s, high_s) if ended < level else (low_s, middle_s)
    return high_s


def _ended_by(one: TimeLeft, moment_s: float) -> float:
    if moment_s <= 0.0:
        return 0.0
    if one.value_s <= 0.0:
        return 1.0 if moment_s >= one.high_s else LEVELS[1]
    upper = moment_s >= one.value_s
    bound_s = one.high_s if upper else max(one.low_s, 1e-3 * one.value_s)
    deviation = abs(log(bound_s / one.value_s)) / Z or 1e-6
    return 0.5 * (1.0 + erf(log(moment_s / one.value_s) / deviation / sqrt(2.0)))

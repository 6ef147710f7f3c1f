"""Finds the part of a stage in which its load and its latencies are steady; only this part has figures.

The window ends when the last unit begins: afterwards the load falls. It begins when the load has reached its
level and the first replies have come; then tenths of the remaining requests are left out until one has a
median latency like those of the later half, which is the bound. What comes after it counts, a stall too:
users see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.loadtest.distributions import quantile
from harness.loadtest.generator import StageLoad, TimedRequest

REQUESTS_MIN = 50  # five in each tenth
PARTS = 10
LIKE = 0.15  # medians of five or more requests that differ by less are alike
DRIFT = 0.25  # between the first and the last third of a window


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyWindow:
    """The part of a stage that has figures, in seconds since it began.

    whole    all of the stage, because it has too few requests for a steady state to be found
    steady   the latencies do not drift in it; None: not known
    note     a sentence about it"""

    from_s: float
    to_s: float
    whole: bool
    steady: bool | None
    note: str

    @property
    def seconds(self) -> float:
        return self.to_s - self.from_s

    def has(self, moment_s: float) -> bool:
        """Says whether a moment, in seconds since the stage began, lies in the window."""
        return self.from_s <= moment_s <= self.to_s


def steady_window(load: StageLoad, *, warm_up_s: float | None, cool_down_s: float | None) -> SteadyWindow:
    """Returns the window of a stage.

    warm_up_s, cool_down_s   as the user sets them; None: found"""
    good = sorted((one for one in load.requests if one.error is None), key=lambda one: one.due_at)
    if warm_up_s is not None or cool_down_s is not None:
        return _given(load, good, warm_up_s or 0.0, cool_down_s or 0.0)
    if len(good) < REQUESTS_MIN:
        note = (
            f"{len(good)} requests are too few to find a steady state ({REQUESTS_MIN} are needed): all count"
        )
        return _whole(load, note)
    to_s = load.offered_s
    from_s = max(load.stage.ramp_s, _all_answered_s(load, good))
    inside = [one for one in good if from_s <= one.due_at - load.began_at <= to_s]
    if len(inside) < REQUESTS_MIN:
        return _whole(load, "the stage ended before its load was steady: all requests count; make it longer")
    first = _first_like_the_rest(inside)
    kept = inside[first:]
    if first:
        from_s = kept[0].due_at - load.began_at
    steady, words = _drift(kept)
    left_out = len(good) - len(kept)
    note = f"{from_s:.1f} to {to_s:.1f} s, {left_out} requests before and after it left out; {words}"
    return SteadyWindow(from_s=from_s, to_s=to_s, whole=False, steady=steady, note=note)


def _whole(load: StageLoad, note: str) -> SteadyWindow:
    return SteadyWindow(from_s=0.0, to_s=load.wall_s, whole=True, steady=None, note=note)


def _given(
    load: StageLoad, good: Sequence[TimedRequest], warm_up_s: float, cool_down_s: float
) -> SteadyWindow:
    if warm_up_s == cool_down_s == 0.0:
        return _whole(load, "all requests count, as set")
    to_s = load.offered_s - cool_down_s
    inside = [one for one in good if warm_up_s <= one.due_at - load.began_at <= to_s]
    if not inside:
        return _whole(load, "the stage is shorter than its warm-up and cool-down: all requests count")
    steady, words = _drift(inside)
    note = f"{warm_up_s:g} to {to_s:.1f} s, as set; {words}"
    return SteadyWindow(from_s=warm_up_s, to_s=to_s, whole=False, steady=steady, note=note)


def _all_answered_s(load: StageLoad, good: Sequence[TimedRequest]) -> float:
    """Returns when the first generation was answered: in a closed loop one request for each place, else the
    first request."""
    places = int(load.stage.level) if load.stage.loop == "closed" else 1
    return max(one.done_at for one in good[:places]) - load.began_at


def _latencies(requests: Sequence[TimedRequest]) -> list[float]:
    return [one.done_at - one.due_at for one in requests]


def _first_like_the_rest(inside: Sequence[TimedRequest]) -> int:
    """Returns the place of the first request that counts."""
    step = len(inside) / PARTS
    edges = [round(step * part) for part in range(PARTS + 1)]
    medians = [quantile(_latencies(inside[a:b]), 0.5) for a, b in pairwise(edges)]
    later = medians[PARTS // 2 :]
    low, high = min(later) * (1 - LIKE), max(later) * (1 + LIKE)
    like = (part for part in range(PARTS // 2) if low <= medians[part] <= high)
    return edges[next(like, PARTS // 2)]


def _drift(kept: Sequence[TimedRequest]) -> tuple[bool | None, str]:
    """Says whether the latencies of the last third are like those of the first."""
    third = len(kept) // 3
    if third < REQUESTS_MIN // PARTS:
        return None, "too few requests to say whether it is steady"
    first = quantile(_latencies(kept[:third]), 0.5)
    last = quantile(_latencies(kept[-third:]), 0.5)
    if abs(last - first) <= DRIFT * max(first, last):
        return True, "the latencies are steady"
    return False, f"the latencies are not steady: their median goes from {first:.3g} s to {last:.3g} s"

"""Says whether an open loop offers more than the server answers.

A loop is saturated if requests pile up: in the window clearly more begin than end. Chance alone makes the
difference of two Poisson counts of n each spread by sqrt(2 n); a pile counts from twice that, and from a
twentieth of the arrivals."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from harness.loadtest.generator import StageLoad
from harness.loadtest.steady_window import SteadyWindow

PILE_SHARE = 0.05
PILE_SPREADS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """Offered and achieved load in the window of an open loop or a trace.

    offered_per_s    requests that were due
    achieved_per_s   requests that were answered
    in_flight_from, in_flight_to   requests that were due and not done at the edges of the window"""

    offered_per_s: float
    achieved_per_s: float
    in_flight_from: int
    in_flight_to: int
    saturated: bool


def find_saturation(load: StageLoad, window: SteadyWindow) -> Saturation | None:
    """Returns the offered and achieved load; None for a closed loop, which offers what the server takes."""
    if load.stage.loop == "closed":
        return None
    due = [one.due_at - load.began_at for one in load.requests]
    done = [one.done_at - load.began_at for one in load.requests]
    # Until the first request is answered, requests pile up before any server.
    from_s, to_s = max(window.from_s, min(done, default=0.0)), min(window.to_s, load.offered_s)
    length_s = to_s - from_s
    if length_s <= 0:
        return None
    begun = sum(from_s <= moment <= to_s for moment in due)
    ended = sum(from_s <= moment <= to_s for moment in done)
    before = sum(a < from_s < b for a, b in zip(due, done, strict=True))
    pile = begun - ended
    return Saturation(
        offered_per_s=begun / length_s,
        achieved_per_s=ended / length_s,
        in_flight_from=before,
        in_flight_to=before + pile,
        saturated=pile > max(PILE_SHARE * begun, PILE_SPREADS * sqrt(2 * max(begun, 1))),
    )

"""The load that a stage offers, as values: how requests arrive, how many, how long it takes.

Knows no clock and no chance; arrivals.py draws the moments, generator.py sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Loop = Literal["closed", "open", "trace"]
Arrivals = Literal["poisson", "constant", "gamma"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of load. A unit is a request, or a whole game where sessions are played.

    loop        "closed": level units are in flight; "open": level units a second begin, whatever is in
                flight; "trace": units begin at recorded moments, level times as fast
    requests    units that the stage begins; None: no bound
    seconds     after so long no unit begins any more; None: no bound
    ramp_s      time in which the load grows evenly from 0 to its level
    arrivals    of an open loop: "gamma" has the burstiness, "poisson" is gamma with burstiness 1
    burstiness  shape of the gamma distribution of the gaps; below 1 requests come in bursts
    repeat      number of the repeat of this level, from 0"""

    loop: Loop
    level: float
    requests: int | None
    seconds: float | None = None
    ramp_s: float = 0.0
    arrivals: Arrivals = "poisson"
    burstiness: float = 1.0
    repeat: int = 0

    @property
    def offering_s(self) -> float | None:
        """Returns how long the stage begins units; None if the server or a trace decides."""
        needed_s = None
        if self.loop == "open" and self.requests is not None:
            needed_s = self.requests / self.level + self.ramp_s / 2
        return min((bound for bound in (needed_s, self.seconds) if bound is not None), default=None)

    @property
    def load(self) -> str:
        """Returns the load in words."""
        if self.loop == "closed":
            return f"{self.level:g} in flight"
        if self.loop == "open":
            return f"{self.level:g} a second"
        return f"trace at {self.level:g} times its speed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProfile:
    """All stages of one load test have this in common; see Stage for fields of the same name.

    requests    None: as many as the level needs, see `requests_at`
    warm_up_s   left out of the figures at the start of a stage; None: the program finds the steady state
    cool_down_s left out at the end, before the last unit began; None: 0
    repeats     times that each level is played"""

    requests: int | None = None
    seconds: float | None = None
    ramp_s: float = 0.0
    arrivals: Arrivals = "poisson"
    burstiness: float = 1.0
    warm_up_s: float | None = None
    cool_down_s: float | None = None
    repeats: int = 1

    def stage(self, loop: Loop, level: float, *, repeat: int = 0) -> Stage:
        """Returns the stage of this profile at a level."""
        return Stage(
            loop=loop,
            level=level,
            requests=self.requests_at(loop, level),
            seconds=self.seconds,
            ramp_s=self.ramp_s,
            arrivals=self.arrivals,
            burstiness=self.burstiness,
            repeat=repeat,
        )

    def requests_at(self, loop: Loop, level: float) -> int | None:
        """Returns how many units a stage begins; None if only its time or its trace bounds it.

        By default 100, and at least ten for each place of a closed loop: fewer have no steady state."""
        if self.requests is not None or self.seconds is not None or loop == "trace":
            return self.requests
        return max(REQUESTS_DEFAULT, REQUESTS_A_PLACE * int(level) if loop == "closed" else 0)


REQUESTS_DEFAULT = 100  # the fewest that have a 90th percentile
REQUESTS_A_PLACE = 10

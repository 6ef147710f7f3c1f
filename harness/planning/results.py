"""What a plan says, as frozen shapes. Times are seconds, from the first call to the last episode's end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A middle value and its 80 % interval over seeds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of one limit is used while the method plays.

    limit     "requests", "tokens", "input tokens" or "output tokens" a minute, or "calls in flight"
    allowed   so many; share: of them, on average
    saved_s   what twice as many would save of this gate's own time; None where it was not tried"""

    limit: str
    allowed: float
    share: float
    saved_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPlan:
    """One access method.

    retries       calls beyond one a turn
    cost_usd      None where prices are not known
    wall          its own time, other methods of its gate included
    gate          methods that share its gate, itself included
    uses          every limit of its gate, the most used first
    binding       the limit that sets its pace; None: the episodes' own length does
    saved_s       what the sweep would save without it
    pace_source   where its speed comes from;  lengths  source -> share of its episodes
    rate          calls a minute at equal steps of its time, for the timeline"""

    method: str
    episodes: int
    turns: int
    calls: int
    retries: int
    prompt_tokens: int
    reply_tokens: int
    cost_usd: float | None
    wall: Span
    gate: tuple[str, ...]
    uses: tuple[Use, ...]
    binding: Use | None
    saved_s: float
    pace_source: str
    lengths: dict[str, float]
    rate: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """A whole sweep.

    bottleneck   the method that takes longest
    cost_usd     of those whose prices are known; `unpriced` are the others
    scale        how much smaller the largest simulated gate was than the sweep: 1 is full fidelity
    simulated    calls that were simulated for this answer, in `seeds` plays"""

    name: str
    methods: tuple[MethodPlan, ...]
    episodes: int
    turns: int
    calls: int
    prompt_tokens: int
    reply_tokens: int
    cost_usd: float | None
    unpriced: tuple[str, ...]
    wall: Span
    bottleneck: str
    summary: str
    warnings: tuple[str, ...]
    scale: float
    simulated: int
    seeds: int

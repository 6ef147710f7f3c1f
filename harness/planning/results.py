"""A plan as frozen values, and its pace in words. Times are seconds, from the first call to the end of the
last episode."""

from __future__ import annotations

from dataclasses import dataclass

IN_FLIGHT = "calls in flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A mean and its 80 % prediction interval, over seeds or over samples of a trial."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The use of one limit while the method plays.

    limit     "requests", "tokens", "input tokens" or "output tokens" a minute, or "calls in flight"
    allowed   the limit;  share  of it that is used, on average
    saved_s   what twice the limit would save of the gate's time; None where that was not simulated"""

    limit: str
    allowed: float
    share: float
    saved_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPlan:
    """One access method.

    retries       calls beyond one a turn
    cost_usd      None where prices are not known
    wall          the time of its gate, other methods of the gate included
    gate          the methods that share its gate, itself included
    uses          every limit of its gate, the most used first
    binding       the limit that sets its pace; None: the length of its episodes does
    saved_s       what the sweep would save without this method
    pace_source   where its speed comes from
    lengths       source of the lengths -> share of its episodes
    rate          calls a minute in equal steps of its time, for the timeline"""

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
    cost_usd     of the methods with known prices; `unpriced` are the others
    scale        the largest simulated gate was so many times smaller than the sweep's; 1: everything was
                 simulated
    simulated    calls that were simulated, in `seeds` plays
    sessions     how many sessions share the repeats; `wall` is the time of play in all of them
    gaps_s       the pauses between the sessions, in seconds, on top of `wall`
    turns_of     the methods in the turns of their engines; one turn: all play side by side
    starts_s     the starts of engines, in seconds, on top of `wall`; 0 where they are not known
    trial_s      a trial of so many seconds was played for this plan; None: nothing was
    calls_span   of a plan from a trial: the mean and the interval of the calls; None without a trial"""

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
    sessions: int = 1
    gaps_s: float = 0.0
    turns_of: tuple[tuple[str, ...], ...] = ()
    starts_s: float = 0.0
    trial_s: float | None = None
    calls_span: Span | None = None


def pace_text(method: MethodPlan) -> str:
    """Returns what sets this method's pace: "m/groq: 41 minutes; its limit is 6,000 output tokens a minute;
    with twice that it would need 20 minutes less"."""
    took = duration_text(method.wall.value)
    if method.binding is None:
        most = max((use.share for use in method.uses), default=0.0)
        return (
            f"{method.method}: {took}; no limit slows it (it uses at most {most:.0%} of any limit), so only the "
            "length of its episodes counts"
        )
    use = method.binding
    per = "" if use.limit == IN_FLIGHT else " a minute"
    text = f"{method.method}: {took}; its limit is {use.allowed:,.0f} {use.limit}{per}"
    if use.saved_s is None:
        return text
    return f"{text}; with twice this limit it would need {duration_text(use.saved_s)} less"


def duration_text(seconds: float) -> str:
    """Returns a duration in the unit in which a person gives it."""
    if seconds < 9.95:
        return f"{seconds:.1f} seconds"
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"

"""What a stage of load says of the server, and whether it says it of the server at all.

Keeps: a stage that the client limited has no figures, only the reason; latencies count from the moment a request was due, so that what
waited in the client is in them. Throughput is over the whole stage, first sent to last done, as vLLM's own benchmark counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.loadtest.generator import Stage, StageLoad, TimedRequest

QUANTILES = (0.5, 0.9, 0.95, 0.99)
BEATS_MIN = 10  # fewer say nothing of the client
CPU_MAX = 0.85  # of one core: beyond it the event loop is what is measured
CLIENT_SHARE_MAX = 0.1  # of the median latency that may be the client's own lateness
KNEE_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a request must keep to count as good: seconds to its first piece, and to its end."""

    ttft_s: float
    e2e_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMetrics:
    """Seconds at QUANTILES; empty where nothing was streamed, or nobody counted tokens.

    ttft_s   from due to the first piece
    tpot_s   after the first piece, for each further token
    gap_s    between pieces, each request's median
    e2e_s    from due to done
    waited_s from due to sent: in this client
    goodput  requests a second that kept the objective"""

    requests_per_s: float
    output_tokens_per_s: float | None
    input_tokens_per_s: float | None
    goodput_per_s: float
    ttft_s: tuple[float, ...]
    tpot_s: tuple[float, ...]
    gap_s: tuple[float, ...]
    e2e_s: tuple[float, ...]
    waited_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """A stage, what the client spent on it, and its figures, or why there are none."""

    stage: Stage
    answered: int
    errors: int
    wall_s: float
    cpu_share: float
    lag_s: float
    lag_s_max: float
    figures: LoadMetrics | None
    refused: str | None


def summarise_stage(offered: StageLoad, objective: Objective) -> StageResult:
    good = [shot for shot in offered.shots if shot.error is None]
    refused = _why_not(offered, good)
    return StageResult(
        stage=offered.stage,
        answered=len(good),
        errors=len(offered.shots) - len(good),
        wall_s=offered.wall_s,
        cpu_share=offered.cpu_share,
        lag_s=offered.lag_s,
        lag_s_max=offered.lag_s_max,
        figures=None if refused else _figures(good, objective),
        refused=refused,
    )


def knee(stages: Sequence[StageResult]) -> float | None:
    """The least level of a closed loop that reaches nine tenths of the best throughput; None without two levels that have figures."""
    known = [
        (one.stage.level, one.figures.requests_per_s)
        for one in stages
        if one.figures and one.stage.loop == "closed"
    ]
    if len(known) < 2:
        return None
    best = max(rate for _, rate in known)
    return min(level for level, rate in known if rate >= KNEE_SHARE * best)


def quantiles(values: Sequence[float]) -> tuple[float, ...]:
    """At QUANTILES, between neighbours in proportion; empty for no values."""
    if not values:
        return ()
    ranked = sorted(values)
    found = []
    for share in QUANTILES:
        place = share * (len(ranked) - 1)
        low = int(place)
        high = min(low + 1, len(ranked) - 1)
        found.append(ranked[low] + (ranked[high] - ranked[low]) * (place - low))
    return tuple(found)


def _why_not(offered: StageLoad, good: Sequence[TimedRequest]) -> str | None:
    if not good:
        return "no request was answered"
    if offered.beats < BEATS_MIN:
        return f"it was over in {1000 * offered.wall_s:.0f} ms, before the client's own lateness could be told; more --requests"
    if offered.cpu_share >= CPU_MAX:
        return f"this client used {100 * offered.cpu_share:.0f} % of a core: it, not the server, is what would be measured"
    e2e = quantiles([shot.done_at - shot.due_at for shot in good])[0]
    waited = quantiles([shot.sent_at - shot.due_at for shot in good])[0]
    if offered.lag_s > CLIENT_SHARE_MAX * e2e:
        return f"this client's event loop was {1000 * offered.lag_s:.1f} ms late on average, the median request took {1000 * e2e:.1f} ms"
    if waited > CLIENT_SHARE_MAX * e2e:
        return f"half of the requests waited {1000 * waited:.1f} ms in this client, the median request took {1000 * e2e:.1f} ms"
    return None


def _figures(good: Sequence[TimedRequest], objective: Objective) -> LoadMetrics:
    span_s = max(shot.done_at for shot in good) - min(shot.sent_at for shot in good)
    counted = [shot for shot in good if shot.completion_tokens is not None]
    kept = [shot for shot in good if _keeps(shot, objective)]
    after = [
        (shot.done_at - shot.first_at) / (shot.completion_tokens - 1)
        for shot in good
        if shot.first_at is not None and shot.completion_tokens is not None and shot.completion_tokens > 1
    ]
    return LoadMetrics(
        requests_per_s=len(good) / span_s,
        output_tokens_per_s=sum(shot.completion_tokens or 0 for shot in counted) / span_s
        if counted
        else None,
        input_tokens_per_s=sum(shot.prompt_tokens or 0 for shot in counted) / span_s if counted else None,
        goodput_per_s=len(kept) / span_s,
        ttft_s=quantiles([shot.first_at - shot.due_at for shot in good if shot.first_at is not None]),
        tpot_s=quantiles(after),
        gap_s=quantiles([shot.gap_s_median for shot in good if shot.gap_s_median is not None]),
        e2e_s=quantiles([shot.done_at - shot.due_at for shot in good]),
        waited_s=quantiles([shot.sent_at - shot.due_at for shot in good]),
    )


def _keeps(shot: TimedRequest, objective: Objective) -> bool:
    in_time = shot.first_at is None or shot.first_at - shot.due_at <= objective.ttft_s
    return in_time and shot.done_at - shot.due_at <= objective.e2e_s

"""The metrics of a stage of load, and the reason where the stage measures the client in place of the server.

Keeps: a stage that the client limited has no metrics, only the reason. Latencies count from the moment a
request was due, so that waiting in the client is in them. Throughput is over the whole stage, from the first
request sent to the last done, as in vLLM's benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.loadtest.generator import Stage, StageLoad, TimedRequest

QUANTILES = (0.5, 0.9, 0.95, 0.99)
BEATS_MIN = 10  # fewer measurements give no mean event loop delay
CPU_MAX = 0.85  # of one core: above it the event loop queues requests
CLIENT_SHARE_MAX = 0.1  # share of the median latency that the client's own delay may be
KNEE_SHARE = 0.9  # of the best throughput


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Upper bounds that a request keeps to count for goodput: seconds to its first chunk, and to its end."""

    ttft_s: float
    e2e_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMetrics:
    """Rates of a stage, and seconds at QUANTILES: empty where nothing was streamed or tokens were not
    counted.

    goodput_per_s  requests a second that kept the objective
    ttft_s         from due to the first chunk
    tpot_s         after the first chunk, for each further token
    gap_s          between chunks, each request's median
    e2e_s          from due to done
    waited_s       from due to sent: in this client"""

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
    """A stage and its metrics.

    cpu_share, lag_s, lag_s_max   of this client
    figures   None if the client limited the stage;  refused  why, else None"""

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
    """Returns the stage's metrics, or the reason why it has none."""
    good = [request for request in offered.requests if request.error is None]
    refused = _refusal(offered, good)
    return StageResult(
        stage=offered.stage,
        answered=len(good),
        errors=len(offered.requests) - len(good),
        wall_s=offered.wall_s,
        cpu_share=offered.cpu_share,
        lag_s=offered.lag_s,
        lag_s_max=offered.lag_s_max,
        figures=None if refused else _metrics(good, objective),
        refused=refused,
    )


def knee(stages: Sequence[StageResult]) -> float | None:
    """Returns the least level of a closed loop that reaches nine tenths of the best throughput; None without
    two levels."""
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
    """Returns the values at QUANTILES by linear interpolation; empty for no values."""
    if not values:
        return ()
    ranked = sorted(values)
    values_at = []
    for share in QUANTILES:
        place = share * (len(ranked) - 1)
        low = int(place)
        high = min(low + 1, len(ranked) - 1)
        values_at.append(ranked[low] + (ranked[high] - ranked[low]) * (place - low))
    return tuple(values_at)


def _refusal(offered: StageLoad, good: Sequence[TimedRequest]) -> str | None:
    if not good:
        return "no request was answered"
    if offered.beats < BEATS_MIN:
        return (
            f"it ended after {1000 * offered.wall_s:.0f} ms, which is too short to measure this client's delay; "
            "set more --requests"
        )
    if offered.cpu_share >= CPU_MAX:
        return f"this client used {100 * offered.cpu_share:.0f} % of a core and limited the load"
    e2e = quantiles([request.done_at - request.due_at for request in good])[0]
    waited = quantiles([request.sent_at - request.due_at for request in good])[0]
    if offered.lag_s > CLIENT_SHARE_MAX * e2e:
        return (
            f"this client was too slow: its event loop delay is {1000 * offered.lag_s:.1f} ms on average, and the "
            f"median latency is {1000 * e2e:.1f} ms"
        )
    if waited > CLIENT_SHARE_MAX * e2e:
        return (
            f"this client was too slow: half of the requests waited {1000 * waited:.1f} ms or longer in it, and the "
            f"median latency is {1000 * e2e:.1f} ms"
        )
    return None


def _metrics(good: Sequence[TimedRequest], objective: Objective) -> LoadMetrics:
    span_s = max(request.done_at for request in good) - min(request.sent_at for request in good)
    counted = [request for request in good if request.completion_tokens is not None]
    kept = [request for request in good if _meets(request, objective)]
    after = [
        (request.done_at - request.first_at) / (request.completion_tokens - 1)
        for request in good
        if request.first_at is not None
        and request.completion_tokens is not None
        and request.completion_tokens > 1
    ]
    return LoadMetrics(
        requests_per_s=len(good) / span_s,
        output_tokens_per_s=sum(request.completion_tokens or 0 for request in counted) / span_s
        if counted
        else None,
        input_tokens_per_s=sum(request.prompt_tokens or 0 for request in counted) / span_s
        if counted
        else None,
        goodput_per_s=len(kept) / span_s,
        ttft_s=quantiles(
            [request.first_at - request.due_at for request in good if request.first_at is not None]
        ),
        tpot_s=quantiles(after),
        gap_s=quantiles([request.gap_s_median for request in good if request.gap_s_median is not None]),
        e2e_s=quantiles([request.done_at - request.due_at for request in good]),
        waited_s=quantiles([request.sent_at - request.due_at for request in good]),
    )


def _meets(request: TimedRequest, objective: Objective) -> bool:
    in_time = request.first_at is None or request.first_at - request.due_at <= objective.ttft_s
    return in_time and request.done_at - request.due_at <= objective.e2e_s

"""Computes what a stage measured: rates, latencies and lengths in its window, or why it has no figures.

Keeps: figures exist only where the client did not limit the load. Rates of an open loop count the requests
that end in the window. In a closed loop each request counts with the share of its time that lies in the
window: units that run in step would make a count jump at the window's edges. Latencies are those of the
requests that were due in the window, however late they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.loadtest.distributions import Distribution, describe, quantile
from harness.loadtest.generator import StageLoad, TimedRequest
from harness.loadtest.load_profile import Stage
from harness.loadtest.saturation import Saturation, find_saturation
from harness.loadtest.server_samples import ServerFigures
from harness.loadtest.steady_window import SteadyWindow

BEATS_MIN = 10  # fewer measurements give no mean event loop delay
CPU_MAX = 0.85  # of one core: above it the event loop queues requests
TURNS_ALONE = 10  # later turns of a game are few and alike
CLIENT_SHARE_MAX = 0.1  # share of the median latency that the client's own delay may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Upper bounds, in seconds, that a request keeps to count for goodput; None: no bound.

    ttft_s   to its first chunk;  tpot_s  for each further token;  e2e_s  to its end"""

    ttft_s: float | None = None
    e2e_s: float | None = None
    tpot_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFigures:
    """The requests of one turn of sessions, or of several late ones.

    turn, last     the first and the last of these turns, from 0
    cached_share   of prompt tokens, as the server counts them"""

    turn: int
    last: int
    ttft_s: Distribution
    prompt_tokens: Distribution
    cached_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMetrics:
    """The figures of a window.

    goodput_per_s   requests a second that kept the objective
    goodput_share   of the requests that were due in the window, failed ones included
    ttft_s          from due to the first chunk
    tpot_s          of each request: after the first chunk, for each further token
    itl_s           every gap between two chunks, of all requests together; its n counts gaps
    gap_s           each request's median gap
    e2e_s           from due to done
    waited_s        from due to sent: in this client
    in_flight       mean number of requests from due to done
    cached_share    part of the prompt tokens that the server found in its cache, as its replies say
    by_turn         of sessions: each of the first ten turns, then 11 to 20, 21 to 40 and so on together;
                    empty for single requests"""

    requests_per_s: float
    output_tokens_per_s: float | None
    input_tokens_per_s: float | None
    goodput_per_s: float
    goodput_share: float
    ttft_s: Distribution
    tpot_s: Distribution
    itl_s: Distribution
    gap_s: Distribution
    e2e_s: Distribution
    waited_s: Distribution
    prompt_tokens: Distribution
    completion_tokens: Distribution
    in_flight: float
    cached_share: float | None
    by_turn: tuple[TurnFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """A stage and its metrics.

    answered, errors   of all its requests
    failure   the most frequent class of error, with the words of its first one; None without errors
    cpu_share, lag_s, lag_s_max, cpu_s_a_request   of this client
    saturation   of an open loop
    server       what the server reported
    figures   None if the client limited the stage;  refused  why, else None"""

    stage: Stage
    answered: int
    errors: int
    failure: str | None
    wall_s: float
    cpu_share: float
    lag_s: float
    lag_s_max: float
    cpu_s_a_request: float | None
    window: SteadyWindow
    saturation: Saturation | None
    server: ServerFigures | None
    figures: LoadMetrics | None
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStage:
    """A stage's requests with its window."""

    load: StageLoad
    window: SteadyWindow


def summarise_stage(
    measured: MeasuredStage, objective: Objective, server: ServerFigures | None = None
) -> StageResult:
    """Returns the stage's metrics, or the reason why it has none."""
    load, window = measured.load, measured.window
    answered = sum(one.error is None for one in load.requests)
    refused = refusal(load)
    return StageResult(
        stage=load.stage,
        answered=answered,
        errors=len(load.requests) - answered,
        failure=_most_frequent_failure(load.requests),
        wall_s=load.wall_s,
        cpu_share=load.client.cpu_share,
        lag_s=load.client.lag_s,
        lag_s_max=load.client.lag_s_max,
        cpu_s_a_request=load.client.cpu_s / len(load.requests) if load.requests else None,
        window=window,
        saturation=find_saturation(load, window),
        server=server,
        figures=None if refused else metrics_of([measured], objective),
        refused=refused,
    )


def _most_frequent_failure(requests: Sequence[TimedRequest]) -> str | None:
    classes = Counter(one.error for one in requests if one.error is not None)
    if not classes:
        return None
    ((name, _),) = classes.most_common(1)
    return f"{name}: {next(one.error_text for one in requests if one.error == name)}"


def refusal(load: StageLoad) -> str | None:
    """Returns why a stage has no figures; None if it has."""
    good = [one for one in load.requests if one.error is None]
    client = load.client
    if not load.requests:
        return "no request was due in its time; set a higher rate or more --max-seconds"
    if not good:
        return "no request was answered"
    if client.beats < BEATS_MIN:
        return (
            f"it ended after {1000 * load.wall_s:.0f} ms, which is too short to measure this client's delay; "
            "set more --requests"
        )
    if client.cpu_share >= CPU_MAX:
        return f"this client used {100 * client.cpu_share:.0f} % of a core and limited the load"
    e2e = quantile([one.done_at - one.due_at for one in good], 0.5)
    waited = quantile([one.sent_at - one.due_at for one in good], 0.5)
    if client.lag_s > CLIENT_SHARE_MAX * e2e:
        return (
            f"this client was too slow: its event loop delay is {1000 * client.lag_s:.1f} ms on average, and the "
            f"median latency is {1000 * e2e:.1f} ms"
        )
    if waited > CLIENT_SHARE_MAX * e2e:
        return (
            f"this client was too slow: half of the requests waited {1000 * waited:.1f} ms or longer in it, and the "
            f"median latency is {1000 * e2e:.1f} ms"
        )
    return None


def metrics_of(stages: Sequence[MeasuredStage], objective: Objective) -> LoadMetrics | None:
    """Returns the figures of these stages of one level together; None if no answered request lies in their
    windows."""
    length_s = sum(one.window.seconds for one in stages)
    in_window = [
        request
        for one in stages
        for request in one.load.requests
        if one.window.has(request.due_at - one.load.began_at)
    ]
    due = [one for one in in_window if one.error is None]
    if not due or length_s <= 0:
        return None

    def rate(weight: Callable[[TimedRequest], float | None]) -> float:
        return sum(_weighted(one, weight) for one in stages) / length_s

    counted = any(one.completion_tokens is not None for one in due)
    kept = sum(meets(one, objective) for one in due)
    return LoadMetrics(
        requests_per_s=rate(lambda one: 1.0),
        output_tokens_per_s=rate(lambda one: one.completion_tokens) if counted else None,
        input_tokens_per_s=rate(lambda one: one.prompt_tokens) if counted else None,
        goodput_per_s=rate(lambda one: float(meets(one, objective))),
        goodput_share=kept / len(in_window),
        ttft_s=describe([one.first_at - one.due_at for one in due if one.first_at is not None]),
        tpot_s=describe([value for one in due if (value := tpot_s(one)) is not None]),
        itl_s=describe([gap_s for one in due for gap_s in one.gaps_s]),
        gap_s=describe([one.gap_s_median for one in due if one.gap_s_median is not None]),
        e2e_s=describe([one.done_at - one.due_at for one in due]),
        waited_s=describe([one.sent_at - one.due_at for one in due]),
        prompt_tokens=describe([one.prompt_tokens for one in due if one.prompt_tokens is not None]),
        completion_tokens=describe(
            [one.completion_tokens for one in due if one.completion_tokens is not None]
        ),
        in_flight=sum(_in_flight_s(one) for one in stages) / length_s,
        cached_share=_cached_share(due),
        by_turn=_by_turn(due),
    )


def tpot_s(request: TimedRequest) -> float | None:
    """Returns the seconds for each token after the first chunk; None if not known, or for one token."""
    if request.first_at is None or request.completion_tokens is None or request.completion_tokens < 2:
        return None
    return (request.done_at - request.first_at) / (request.completion_tokens - 1)


def meets(request: TimedRequest, objective: Objective) -> bool:
    """Says whether an answered request keeps every bound; a time that is not known breaks none."""
    per_token = tpot_s(request)
    times = (
        (None if request.first_at is None else request.first_at - request.due_at, objective.ttft_s),
        (per_token, objective.tpot_s),
        (request.done_at - request.due_at, objective.e2e_s),
    )
    return all(taken is None or bound is None or taken <= bound for taken, bound in times)


def _weighted(measured: MeasuredStage, weight: Callable[[TimedRequest], float | None]) -> float:
    """Returns the weights of a stage's answered requests, by their part in the window."""
    load, window = measured.load, measured.window
    total = 0.0
    for one in load.requests:
        if one.error is None and (value := weight(one)):
            total += value * _part(one, load, window)
    return total


def _part(request: TimedRequest, load: StageLoad, window: SteadyWindow) -> float:
    if load.stage.loop != "closed" or request.done_at <= request.due_at:
        return float(window.has(request.done_at - load.began_at))
    return _inside_s(request, load, window) / (request.done_at - request.due_at)


def _inside_s(request: TimedRequest, load: StageLoad, window: SteadyWindow) -> float:
    """Returns the seconds of a request that lie in the window."""
    from_s = max(request.due_at - load.began_at, window.from_s)
    return max(0.0, min(request.done_at - load.began_at, window.to_s) - from_s)


def _in_flight_s(measured: MeasuredStage) -> float:
    return sum(_inside_s(one, measured.load, measured.window) for one in measured.load.requests)


def _cached_share(requests: Sequence[TimedRequest]) -> float | None:
    known = [one for one in requests if one.cached_tokens is not None and one.prompt_tokens]
    if not known:
        return None
    return sum(one.cached_tokens or 0 for one in known) / sum(one.prompt_tokens or 0 for one in known)


def _by_turn(requests: Sequence[TimedRequest]) -> tuple[TurnFigures, ...]:
    turns: dict[tuple[int, int], list[TimedRequest]] = {}
    for one in requests:
        if one.session is not None:
            turns.setdefault(turns_with(one.turn), []).append(one)
    return tuple(
        TurnFigures(
            turn=first,
            last=last,
            ttft_s=describe([one.first_at - one.due_at for one in of_turn if one.first_at is not None]),
            prompt_tokens=describe([one.prompt_tokens for one in of_turn if one.prompt_tokens is not None]),
            cached_share=_cached_share(of_turn),
        )
        for (first, last), of_turn in sorted(turns.items())
    )


def turns_with(turn: int) -> tuple[int, int]:
    """Returns the first and the last of the turns that have one line together with this one."""
    if turn < TURNS_ALONE:
        return turn, turn
    first, count = TURNS_ALONE, TURNS_ALONE
    while turn >= first + count:
        first, count = first + count, 2 * count
    return first, first + count - 1

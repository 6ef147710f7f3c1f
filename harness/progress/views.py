"""What is seen of a sweep while it runs: plain lines now and then, events for machines, or (table.py) a table on a terminal.

Knows lanes, gates, what has passed the meters and how late the loop is; changes nothing. A `Picture` is what all three show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from harness.core.protocols import Clock
from harness.limits.gate import Gate, GateStatistics
from harness.progress.meters import Meters
from harness.progress.pulse import Pulse
from harness.scheduler.scheduler import Tally

PLAIN_PERIOD_S = 10.0
EVENT_PERIOD_S = 1.0
NO_GATE = GateStatistics(calls=0, in_flight=0, waiting=0, resting=0, window=0)

Emit = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """What is shown of one access method, or of a pair, whose calls are its players' and show at their gates.

    done_before   episodes that the store held when the run began
    gate          None: a pair's"""

    name: str
    planned: int
    done_before: int
    tally: Tally
    gate: Gate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePicture:
    """One access method, or a pair of them, at a moment.

    done, failed, planned   episodes: done in all runs, failed in this one, planned in all
    in_flight, window, queue, retrying   calls at its gate: on the wire, allowed there, waiting, pausing before another try; 0 of a pair
    calls, errors, cost_usd   of this run; cost None where no price is known
    limits        quotas a minute, by name, as far as known
    score         mean of this run's scored episodes, as far as there are
    to_go_s       None before anything can be told"""

    method: str
    planned: int
    done: int
    failed: int
    in_flight: int
    window: int
    queue: int
    retrying: int
    calls: int
    errors: int
    requests_a_minute: float
    tokens_a_minute: float
    limits: Mapping[str, float]
    cost_usd: float | None
    score: float | None
    to_go_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GamePicture:
    """One model's mean points in one game, in all runs, by access method; spread: the largest less the smallest, None for one alone."""

    model: str
    game: str
    points: Mapping[str, float]
    spread: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A sweep at a moment. lag_s: how late the event loop was in the last second, on average and at worst."""

    elapsed_s: float
    lag_s: float
    lag_s_max: float
    rows_behind: int
    methods: tuple[LanePicture, ...]
    games: tuple[GamePicture, ...]


class Progress:
    """Takes pictures of lanes."""

    def __init__(
        self,
        lanes: Sequence[LaneView],
        *,
        clock: Clock,
        meters: Meters,
        pulse: Pulse,
        rows_behind: Callable[[], int],
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._meters = meters
        self._pulse = pulse
        self._rows_behind = rows_behind
        self._began = clock.now()

    def picture(self) -> Picture:
        return Picture(
            elapsed_s=self._clock.now() - self._began,
            lag_s=self._pulse.lag.mean_s,
            lag_s_max=self._pulse.lag.max_s,
            rows_behind=self._rows_behind(),
            methods=tuple(map(self._lane, self._lanes)),
            games=self._games(),
        )

    async def lines(self, say: Callable[[str], None]) -> None:
        """Some plain lines now and then, until cancelled."""
        while True:
            await self._clock.sleep(PLAIN_PERIOD_S)
            for line in plain_lines(self.picture()):
                say(line)

    async def events(self, emit: Emit) -> None:
        """A picture a second, until cancelled."""
        while True:
            await self._clock.sleep(EVENT_PERIOD_S)
            emit({"event": "progress", **asdict(self.picture())})

    def _lane(self, lane: LaneView) -> LanePicture:
        tally, gate = lane.tally, lane.gate.statistics() if lane.gate else NO_GATE
        traffic = self._meters.traffic.get(lane.name)
        ended = tally.finished + tally.failed
        left = lane.planned - lane.done_before - ended
        elapsed_s = self._clock.now() - self._began
        return LanePicture(
            method=lane.name,
            planned=lane.planned,
            done=lane.done_before + ended,
            failed=tally.failed,
            in_flight=gate.in_flight,
            window=gate.window,
            queue=gate.waiting,
            retrying=gate.resting,
            calls=traffic.calls if traffic else 0,
            errors=traffic.errors if traffic else 0,
            requests_a_minute=self._meters.requests_a_minute(lane.name),
            tokens_a_minute=self._meters.tokens_a_minute(lane.name),
            limits=lane.gate.quotas if lane.gate else {},
            cost_usd=traffic.cost_usd if traffic else None,
            score=tally.score_sum / tally.scored if tally.scored else None,
            to_go_s=0.0 if not left else left * elapsed_s / ended if ended else None,
        )

    def _games(self) -> tuple[GamePicture, ...]:
        means: dict[tuple[str, str], dict[str, float]] = {}
        for (method, game), points in sorted(self._meters.points.items()):
            whose = (
                method if "+" in method else method.split("/", 1)[0]
            )  # a pair is no access method of either model
            means.setdefault((whose, game), {})[method] = points.points / points.episodes
        return tuple(
            GamePicture(
                model=model,
                game=game,
                points=of,
                spread=max(of.values()) - min(of.values()) if len(of) > 1 else None,
            )
            for (model, game), of in sorted(means.items())
        )


def plain_lines(picture: Picture) -> list[str]:
    """One line an access method, one for the scores, one for ourselves."""
    lines = [", ".join(f"{name} {value}" for name, value in cells(lane).items()) for lane in picture.methods]
    if picture.games:
        lines.append(points(picture))
    return [*lines, ourselves(picture)]


def cells(lane: LanePicture) -> Mapping[str, str]:
    """What is told of an access method, each under its name."""
    tokens = (
        lane.limits.get("tokens")
        or sum(lane.limits.get(name, 0.0) for name in ("input_tokens", "output_tokens"))
        or None
    )
    return {
        "method": lane.method,
        "done": f"{lane.done}/{lane.planned}",
        "failed": str(lane.failed),
        "in flight": f"{lane.in_flight}/{lane.window}" if lane.window else "-",
        "queue": str(lane.queue),
        "retrying": str(lane.retrying),
        "calls": str(lane.calls),
        "errors": str(lane.errors),
        "requests/min": _of_limit(lane.requests_a_minute, lane.limits.get("requests")),
        "tokens/min": _of_limit(lane.tokens_a_minute, tokens),
        "cost": "-" if lane.cost_usd is None else f"${lane.cost_usd:.2f}",
        "score": "-" if lane.score is None else f"{lane.score:.1f}",
        "to go": "-"
        if lane.to_go_s is None
        else _duration(lane.to_go_s)
        if lane.done < lane.planned
        else "done",
    }


def _of_limit(rate: float, limit: float | None) -> str:
    return f"{rate:.0f}" if limit is None else f"{rate:.0f}/{limit:.0f}"


def points(picture: Picture) -> str:
    """Each game's mean over the access methods and, where there are several, how far they lie apart."""
    of_game = []
    for one in picture.games:
        apart = (
            "" if one.spread is None else f" (spread {one.spread:.1f} over {len(one.points)} access methods)"
        )
        of_game.append(f"{one.model} {one.game} {sum(one.points.values()) / len(one.points):.1f}{apart}")
    return f"points: {'; '.join(of_game)}"


def ourselves(picture: Picture) -> str:
    """How the harness itself is doing."""
    lag = f"event loop {1e3 * picture.lag_s:.1f} ms late, at worst {1e3 * picture.lag_s_max:.1f}"
    return f"{picture.elapsed_s:.0f} s; {lag}; {picture.rows_behind} rows on their way to the store"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

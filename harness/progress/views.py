"""Presents a running sweep: plain lines now and then, events for machines, or a table on a terminal.

Knows lanes, gates, what has passed the meters and how late the loop is; changes nothing. A `ProgressSnapshot`
is what all three show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from harness.core.protocols import Clock
from harness.limits.gate import Gate, GateStatistics
from harness.progress.event_loop_delay import DelayMonitor
from harness.progress.meters import Meters
from harness.scheduler.scheduler import Tally

PLAIN_PERIOD_S = 10.0  # a log of an hour stays readable
EVENT_PERIOD_S = 1.0
PAUSE_SHOWN_S = 5.0  # shorter ones are over before they are read
HALF_DAY_S = 43_200.0
NO_GATE = GateStatistics(calls=0, in_flight=0, waiting=0, resting=0, window=0)

Emit = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """The sources of one lane's figures: an access method's lane, or that of a pair of players.

    done_before   episodes that the store held when the run began
    gate          None for a pair: its calls are counted at the gates of its players"""

    name: str
    planned: int
    done_before: int
    tally: Tally
    gate: Gate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSnapshot:
    """One access method, or a pair of players, at a moment.

    done, failed, planned   episodes: done in all runs, failed in this one, planned in all
    open, never_begun       episodes that this run plays now, and those that are still to be begun
    in_flight, window, queue, retrying   calls at its gate: sent, allowed in flight, waiting, pausing before
                                         another try; 0 for a pair
    calls, errors, cost_usd   of this run; cost None where no price is known
    limits        quotas a minute, by name, as far as known
    score         mean score of this run's scored episodes; None: there is none yet
    to_go_s       estimated seconds to the lane's end; None before an episode has ended
    paused_until  seconds since 1970 until which its gate sends no call; None: it does not pause
    pause_cause   why"""

    method: str
    planned: int
    done: int
    failed: int
    open: int
    never_begun: int
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
    paused_until: float | None
    pause_cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GameSnapshot:
    """One model's results in one game, in all runs.

    points   mean score by access method; an aborted episode counts 0
    spread   the largest mean less the smallest; None: there is only one"""

    model: str
    game: str
    points: Mapping[str, float]
    spread: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSnapshot:
    """A sweep at a moment.

    at                 seconds since 1970
    lag_s, lag_s_max   mean and maximum event loop delay of the last second
    rows_behind        rows that are not written yet"""

    at: float
    elapsed_s: float
    lag_s: float
    lag_s_max: float
    rows_behind: int
    methods: tuple[LaneSnapshot, ...]
    games: tuple[GameSnapshot, ...]


class Progress:
    """Takes snapshots of lanes."""

    def __init__(
        self,
        lanes: Sequence[LaneView],
        *,
        clock: Clock,
        meters: Meters,
        delay: DelayMonitor,
        rows_behind: Callable[[], int],
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._meters = meters
        self._delay = delay
        self._rows_behind = rows_behind
        self._began = clock.now()

    def snapshot(self) -> ProgressSnapshot:
        return ProgressSnapshot(
            at=self._clock.wall(),
            elapsed_s=self._clock.now() - self._began,
            lag_s=self._delay.delay.mean_s,
            lag_s_max=self._delay.delay.max_s,
            rows_behind=self._rows_behind(),
            methods=tuple(map(self._lane, self._lanes)),
            games=self._games(),
        )

    async def lines(self, notify: Callable[[str], None]) -> None:
        """Hands out plain lines every ten seconds, until cancelled."""
        while True:
            await self._clock.sleep(PLAIN_PERIOD_S)
            for line in plain_lines(self.snapshot()):
                notify(line)

    async def events(self, emit: Emit) -> None:
        """Hands out an event a second, until cancelled."""
        while True:
            await self._clock.sleep(EVENT_PERIOD_S)
            emit({"event": "progress", **asdict(self.snapshot())})

    def _lane(self, lane: LaneView) -> LaneSnapshot:
        tally, gate = lane.tally, lane.gate.statistics() if lane.gate else NO_GATE
        traffic = self._meters.traffic.get(lane.name)
        ended = tally.finished + tally.failed
        left = lane.planned - lane.done_before - ended
        elapsed_s = self._clock.now() - self._began
        return LaneSnapshot(
            method=lane.name,
            planned=lane.planned,
            done=lane.done_before + ended,
            failed=tally.failed,
            open=tally.live,
            never_begun=max(0, left - tally.live),
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
            paused_until=self._clock.wall() + gate.pause_s if gate.pause_s else None,
            pause_cause=gate.pause_cause,
        )

    def _games(self) -> tuple[GameSnapshot, ...]:
        means: dict[tuple[str, str], dict[str, float]] = {}
        for (method, game), scores in sorted(self._meters.scores.items()):
            # a pair is no access method of either model
            model = method if "+" in method else method.split("/", 1)[0]
            means.setdefault((model, game), {})[method] = scores.total / scores.episodes
        return tuple(
            GameSnapshot(
                model=model,
                game=game,
                points=by_method,
                spread=max(by_method.values()) - min(by_method.values()) if len(by_method) > 1 else None,
            )
            for (model, game), by_method in sorted(means.items())
        )


def plain_lines(snapshot: ProgressSnapshot) -> list[str]:
    """Returns one line for each access method, one for each long pause, one for the scores and one for the
    harness itself."""
    lines = [", ".join(f"{name} {value}" for name, value in cells(lane).items()) for lane in snapshot.methods]
    lines += pause_lines(snapshot)
    if snapshot.games:
        lines.append(score_line(snapshot))
    return [*lines, harness_line(snapshot)]


def cells(lane: LaneSnapshot) -> Mapping[str, str]:
    """Returns the texts of a lane by column."""
    tokens = (
        lane.limits.get("tokens")
        or sum(lane.limits.get(name, 0.0) for name in ("input_tokens", "output_tokens"))
        or None
    )
    return {
        "method": lane.method,
        "done": f"{lane.done}/{lane.planned}",
        "failed": str(lane.failed),
        "open": str(lane.open),
        "never begun": str(lane.never_begun),
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


def pause_lines(snapshot: ProgressSnapshot) -> list[str]:
    """Returns the methods that pause for some time yet, with the local time of the end and the cause."""
    return [
        f"{lane.method}: no call before {local_time(lane.paused_until, snapshot.at)} ({lane.pause_cause})"
        for lane in snapshot.methods
        if lane.paused_until is not None and lane.paused_until >= snapshot.at + PAUSE_SHOWN_S
    ]


def local_time(moment: float, now: float) -> str:
    """Returns a moment in seconds since 1970 as a local time, with the date where that is needed."""
    form = "%H:%M:%S" if moment - now < HALF_DAY_S else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(moment).astimezone().strftime(form)


def score_line(snapshot: ProgressSnapshot) -> str:
    """Returns each game's mean score over the access methods and, once all plays have ended, their spread.

    Before, short plays have ended and long ones have not, in unequal numbers: a spread would compare
    these."""
    unfinished = any(lane.done < lane.planned for lane in snapshot.methods)
    texts = []
    for game in snapshot.games:
        spread = (
            ""
            if game.spread is None or unfinished
            else f" (spread {game.spread:.1f} over {len(game.points)} access methods)"
        )
        texts.append(f"{game.model} {game.game} {sum(game.points.values()) / len(game.points):.1f}{spread}")
    so_far = " of the plays that ended first (no sample of all)" if unfinished else ""
    return f"mean scores{so_far}: {'; '.join(texts)}"


def harness_line(snapshot: ProgressSnapshot) -> str:
    """Returns how the harness itself is doing."""
    delay = f"event loop delay {1e3 * snapshot.lag_s:.1f} ms (max {1e3 * snapshot.lag_s_max:.1f} ms)"
    return f"{snapshot.elapsed_s:.0f} s; {delay}; {snapshot.rows_behind} rows not written yet"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

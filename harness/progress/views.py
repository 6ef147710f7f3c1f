"""Presents a running sweep: plain lines now and then, events for machines, or a table on a terminal.

Knows lanes, gates, what has passed the meters, when the run may end and how late the loop is; changes
nothing. A `ProgressSnapshot` is what all three show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from harness.core.protocols import Clock
from harness.core.vocabulary import model_of
from harness.limits.admission import GateStatistics
from harness.limits.gate import Gate
from harness.progress.end_estimate import EndEstimator
from harness.progress.event_loop_delay import DelayMonitor
from harness.progress.meters import Meters, ScoreSum
from harness.progress.snapshot import GameSnapshot, LaneSnapshot, ProgressSnapshot
from harness.progress.time_left import TimeLeft
from harness.progress.words import plain_lines, trouble
from harness.scheduler.scheduler import Tally

PLAIN_PERIOD_S = 10.0  # a log of an hour stays readable
EVENT_PERIOD_S = 1.0
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


class Progress:
    """Takes snapshots of lanes.

    ends   estimates when they end; None: nobody does"""

    def __init__(
        self,
        lanes: Sequence[LaneView],
        *,
        clock: Clock,
        meters: Meters,
        delay: DelayMonitor,
        rows_behind: Callable[[], int],
        ends: EndEstimator | None = None,
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._meters = meters
        self._delay = delay
        self._rows_behind = rows_behind
        self._ends = ends
        self._began = clock.now()

    def snapshot(self) -> ProgressSnapshot:
        now_s = self._clock.now()
        estimate = self._ends.estimate() if self._ends is not None else None
        past_s = now_s - estimate.at_s if estimate is not None else 0.0
        whole = _later(estimate.whole, past_s) if estimate is not None else None
        return ProgressSnapshot(
            at=self._clock.wall(),
            elapsed_s=now_s - self._began,
            lag_s=self._delay.delay.mean_s,
            lag_s_max=self._delay.delay.max_s,
            rows_behind=self._rows_behind(),
            methods=tuple(
                self._lane(
                    lane,
                    time_left=_later(estimate.lanes.get(lane.name), past_s) if estimate is not None else None,
                    turns=estimate.turns.get(lane.name) if estimate is not None else None,
                )
                for lane in self._lanes
            ),
            games=self._games(),
            to_go_s=whole.value_s if whole is not None else None,
            to_go_low_s=whole.low_s if whole is not None else None,
            to_go_high_s=whole.high_s if whole is not None else None,
            slow=estimate.slow if estimate is not None else (),
        )

    def plain(self) -> dict[str, object]:
        """Returns a snapshot as plain data, and what is wrong in words, for another process."""
        snapshot = self.snapshot()
        words = [{"text": one.line(), "kind": one.kind} for one in trouble(snapshot)]
        return {**asdict(snapshot), "trouble": words}

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

    def _lane(self, lane: LaneView, *, time_left: TimeLeft | None, turns: float | None) -> LaneSnapshot:
        tally, gate = lane.tally, lane.gate.statistics() if lane.gate else NO_GATE
        traffic = self._meters.traffic.get(lane.name)
        ended = tally.finished + tally.failed
        left = lane.planned - lane.done_before - ended
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
            to_go_s=0.0 if not left else time_left.value_s if time_left is not None else None,
            to_go_low_s=0.0 if not left else time_left.low_s if time_left is not None else None,
            to_go_high_s=0.0 if not left else time_left.high_s if time_left is not None else None,
            turns_to_go=turns,
            gate=lane.gate.name if lane.gate is not None else "",
            closed=str(lane.gate.closed) if lane.gate is not None and lane.gate.closed else None,
            paused_until=self._clock.wall() + gate.pause_s if gate.pause_s else None,
            pause_cause=gate.pause_cause,
            last_error=traffic.last_error if traffic else None,
        )

    def _games(self) -> tuple[GameSnapshot, ...]:
        by_game: dict[tuple[str, str], dict[str, ScoreSum]] = {}
        for (method, game), scores in sorted(self._meters.scores.items()):
            by_game.setdefault((model_of(method), game), {})[method] = scores
        return tuple(_game(model, game, scores) for (model, game), scores in sorted(by_game.items()))


def _game(model: str, game: str, scores: Mapping[str, ScoreSum]) -> GameSnapshot:
    """Returns the results of a model, given by access method."""
    means = {method: one.total / one.episodes for method, one in scores.items()}
    return GameSnapshot(
        model=model,
        game=game,
        points=means,
        spread=max(means.values()) - min(means.values()) if len(means) > 1 else None,
        episodes=sum(one.episodes for one in scores.values()),
    )


def _later(time_left: TimeLeft | None, seconds: float) -> TimeLeft | None:
    """Returns the estimate as it stands some seconds later."""
    if time_left is None:
        return None
    return TimeLeft(
        value_s=max(0.0, time_left.value_s - seconds),
        low_s=max(0.0, time_left.low_s - seconds),
        high_s=max(0.0, time_left.high_s - seconds),
    )

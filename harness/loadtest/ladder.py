"""Plays the levels of one method: those that are given, or those that a search chooses.

Knows how to play a stage only as a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from harness.loadtest.level_search import Highest, Knee, knee_of, search_highest, search_knee
from harness.loadtest.levels import LevelResult, join_level
from harness.loadtest.load_profile import LoadProfile, Loop, Stage
from harness.loadtest.metrics import MeasuredStage, Objective, StageResult

Played = tuple[MeasuredStage, StageResult]
PlayStage = Callable[[Stage], Awaitable[Played]]
Answer = TypeVar("Answer")
Finding = TypeVar("Finding")


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelGoal:
    """The goal of a search for a level.

    slo_share   the share of requests that must keep the objective; None: the knee, or for an open loop the
                highest rate that does not saturate the server
    start, most the first level, and the bound"""

    loop: Loop
    slo_share: float | None
    start: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodLoadTest:
    """One method's stages and levels.

    facts      what was measured: model, server, engine, sweep, load, host; empty where nobody asks
    knee       the least concurrency that reaches nine tenths of the best throughput; None if not reached
    rising_at  the highest concurrency, where throughput still rises
    highest    the highest level that kept the goal of a search
    stopped    why further levels were not played: the server answered nothing; None: all were played"""

    method: str
    run_id: str
    stages: tuple[StageResult, ...]
    levels: tuple[LevelResult, ...]
    knee: float | None
    rising_at: float | None
    highest: Highest | None
    stopped: str | None
    facts: Mapping[str, object] = field(default_factory=dict)


class Ladder:
    """The stages of one method as they are played."""

    def __init__(self, profile: LoadProfile, objective: Objective, play: PlayStage) -> None:
        self._profile, self._objective, self._play = profile, objective, play
        self._played: dict[tuple[Loop, float], list[Played]] = {}
        self._stages: list[StageResult] = []
        self._stopped: str | None = None

    async def play_levels(self, levels: Sequence[tuple[Loop, float]]) -> None:
        """Plays every level once, then all again: repeats of a level lie apart in time. Ends after a stage
        without one good answer."""
        for repeat in range(self._profile.repeats):
            for loop, level in levels:
                await self._play_stage(loop, level, repeat)
                if self._stopped is not None:
                    return

    async def search(self, goal: LevelGoal) -> Highest | None:
        """Plays the levels that the search chooses, each with its repeats; returns the highest that keeps the
        goal. The knee of a closed loop is in `result`."""
        if goal.loop == "closed" and goal.slo_share is None:
            await self._follow(search_knee(start=goal.start, most=goal.most), goal.loop, _rate)
            return None
        search = search_highest(start=goal.start, most=goal.most, whole=goal.loop == "closed")
        return await self._follow(search, goal.loop, lambda level: _keeps(level, goal.slo_share))

    def result(self, method: str, run_id: str, highest: Highest | None) -> MethodLoadTest:
        """Returns all that was measured so far."""
        levels = [self._level(loop, level) for loop, level in self._played]
        closed = [
            (one.level, one.figures.requests_per_s)
            for one in levels
            if one.loop == "closed" and one.figures is not None
        ]
        knee: Knee | None = knee_of(closed)
        return MethodLoadTest(
            method=method,
            run_id=run_id,
            stages=tuple(self._stages),
            levels=tuple(levels),
            knee=knee.level if knee else None,
            rising_at=knee.rising_at if knee else None,
            highest=highest,
            stopped=self._stopped,
        )

    async def _follow(
        self,
        search: Generator[float, Answer, Finding],
        loop: Loop,
        answer: Callable[[LevelResult], Answer],
    ) -> Finding | None:
        """Returns what the search finds; None if the server stops answering: no level is to blame."""
        try:
            level = next(search)
            while True:
                for repeat in range(self._profile.repeats):
                    await self._play_stage(loop, level, repeat)
                    if self._stopped is not None:
                        return None
                if not any(result.answered for _, result in self._played[loop, level]):
                    return None
                level = search.send(answer(self._level(loop, level)))
        except StopIteration as ended:
            found: Finding = ended.value
            return found

    async def _play_stage(self, loop: Loop, level: float, repeat: int) -> None:
        played = await self._play(self._profile.stage(loop, level, repeat=repeat))
        self._played.setdefault((loop, level), []).append(played)
        result = played[1]
        self._stages.append(result)
        if result.errors and not result.answered:
            self._stopped = (
                f"none of {result.errors} requests was answered at {result.stage.load}, most often because of "
                f"{result.failure}"
            )

    def _level(self, loop: Loop, level: float) -> LevelResult:
        return join_level(self._played[loop, level], self._objective)


def _rate(level: LevelResult) -> float | None:
    return level.figures.requests_per_s if level.figures else None


def _keeps(level: LevelResult, slo_share: float | None) -> bool | None:
    if level.figures is None:
        return None
    return not level.saturated and (slo_share is None or level.figures.goodput_share >= slo_share)

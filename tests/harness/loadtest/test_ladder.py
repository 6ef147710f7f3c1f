"""The levels of one method as they are played."""

from __future__ import annotations

from dataclasses import replace

from harness.loadtest.ladder import Ladder, LevelGoal, Played
from harness.loadtest.load_profile import LoadProfile, Stage
from harness.loadtest.metrics import MeasuredStage, Objective, summarise_stage
from harness.loadtest.steady_window import steady_window
from harness.simulation import simulate
from tests.harness.loadtest.test_metrics import GOOD


def test_a_search_ends_where_the_server_stops_answering() -> None:
    """The server dies at the third level: no further level is played, and no level is said to keep the
    goal."""
    levels: list[float] = []

    async def play(stage: Stage) -> Played:
        levels.append(stage.level)
        load = replace(GOOD, stage=stage)
        if len(levels) >= 3:
            failed = tuple(replace(one, error="ConnectFailed", error_text="refused") for one in load.requests)
            load = replace(load, requests=failed)
        measured = MeasuredStage(load=load, window=steady_window(load, warm_up_s=0.0, cool_down_s=0.0))
        return measured, summarise_stage(measured, Objective())

    async def search() -> object:
        ladder = Ladder(LoadProfile(), Objective(), play)
        return await ladder.search(LevelGoal(loop="open", slo_share=0.9, start=1.0, most=1024.0))

    assert simulate(search, seed=1) is None
    assert levels == [1.0, 2.0, 4.0]

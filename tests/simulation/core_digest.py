"""Plays a small sweep with faults and prints its rows: the tests run it in processes of their own.

argv: "trio" or "asyncio", a seed, and "whole" (every column, in order of writing) or "timeless" (what does
not depend on time)."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import anyio

from backends.bots import BotsBackend
from backends.emulator.simulated import (
    Behaviour,
    FaultModel,
    LatencyModel,
    SimulatedBackend,
    SimulatedProvider,
)
from games import GAMES
from harness.config.episode_plans import GameSet, choose_instances, lane
from harness.config.sweep import Seating
from harness.core.clock import LoopClock
from harness.core.vocabulary import EpisodePlan
from harness.limits.gate import Gate, GateLimits
from harness.scheduler.call import Caller, RetryPolicy, Route
from harness.scheduler.episode import Beginning, Player
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler
from harness.scheduler.spending import SpendingBudget
from harness.simulation import simulate
from tests.world import Rows, method


async def play(rows: Rows, seed: int, speed: float) -> None:
    clock = LoopClock()
    sets = {
        name: GameSet(
            rules=game.rule_sets[0],
            seats=len(game.seats),
            instances=choose_instances(game.instances(), experiments=(), items=9),
        )
        for name, game in GAMES.items()
        if name in ("taboo", "wordle")
    }
    instances = {
        EpisodePlan(instance=one, rules=chosen.rules, seating=()).item: one
        for chosen in sets.values()
        for one in chosen.instances
    }
    routes, gates = {}, {}
    for name, behaviour in {
        "m/quick": Behaviour(
            latency=LatencyModel(first_s=0.5 * speed, spread=0.6), faults=FaultModel(rate=0.1)
        ),
        "m/slow": Behaviour(latency=LatencyModel(first_s=3.0 * speed, spread=1.0)),
    }.items():
        bots = BotsBackend(
            find_instance=instances.__getitem__, clock=clock, seed=seed, skill=0.6, form_errors=0.05
        )
        backend = SimulatedBackend(bots, SimulatedProvider(behaviour, clock, seed=seed, name=name))
        gate = Gate(name, GateLimits(concurrency=5), clock=clock, on_event=lambda kind, detail: None)
        gates[name] = gate
        routes[name] = Route(method=method(name), gate=gate, backend=backend)
    expected = ExpectedTurns(GAMES)
    policy = RetryPolicy(tries_max=20, wait_first_s=0.5 * speed)
    player = Player(
        run_id="0001",
        caller=Caller(sink=rows, clock=clock, policy=policy, budget=SpendingBudget.unlimited(clock)),
        games=GAMES,
        routes=routes,
        expected_turns=expected,
        seed=seed,
    )
    lanes = [
        Lane(
            name=name,
            plans=lane(Seating((name,)), sets, repeats=2, seed=seed, stored=set()),
            gates=(gates[name],),
        )
        for name in routes
    ]
    await Scheduler(lanes, player=player, expected=expected, beginning=lambda plan: Beginning()).play_all()


def printed(rows: Rows, *, whole: bool) -> Iterator[str]:
    if whole:
        yield from map(repr, map(tuple, rows.all))
        return
    timeless = [
        *(
            (e.episode_id, e.key, e.status, e.outcome, e.score, e.reason, e.requests, e.metrics_json, e.turns)
            for e in rows.episodes
        ),
        *(tuple(turn) for turn in rows.turns),
        *(
            (c.episode_id, c.turn, c.method, c.ask_hash, c.reply, c.prompt_tokens)
            for c in rows.calls
            if c.error_class is None
        ),
    ]
    yield from sorted(map(repr, timeless))


if __name__ == "__main__":
    loop, seed, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    rows = Rows()
    if loop == "trio":
        simulate(lambda: play(rows, seed, 1.0), seed=seed)
    else:
        anyio.run(play, rows, seed, 0.002)
    print("\n".join(printed(rows, whole=what == "whole")))

"""A reference played twice by the real scheduler: how often does an audit say that it differs from itself?

    python -m bench.again --sweeps 200

Each sweep is played on virtual time: gates, scheduler, games and bots as in a run, a provider with spread
latencies and faults, one access method in both its arms. Then the audit of scores and of replies. Rejections
at a level should be about that level, or fewer where few outcomes are possible."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from backends.bots import BotsBackend
from backends.emulator.simulated import (
    Behaviour,
    FaultModel,
    LatencyModel,
    SimulatedBackend,
    SimulatedProvider,
)
from games import GAMES
from harness.audit.replies.columns import ReplyColumns
from harness.audit.replies.reply_audit import compare_replies
from harness.audit.scores.arrays import EpisodeColumns, score_array
from harness.audit.scores.contrasts import ENDPOINTS, pair
from harness.audit.scores.sign_flips import sign_flip_test
from harness.config.episode_plans import GameSet, choose_instances, lane
from harness.config.sweep import Seating
from harness.core.clock import LoopClock
from harness.core.records import CallRecord, EpisodeRecord, Record
from harness.core.vocabulary import EpisodePlan
from harness.limits.gate import Gate, GateLimits
from harness.scheduler.call import Caller, RetryPolicy, Route
from harness.scheduler.episode import Beginning, Player
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler
from harness.scheduler.spending import SpendingBudget
from harness.simulation import simulate
from tests.world import Rows, method

ITEMS = {"taboo": 12, "referencegame": 18}
REPEATS = 2
LEVELS = (0.01, 0.05, 0.10, 0.25)
DRAWS = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """p of one sweep's reference against itself, on scores and on replies."""

    scores: float
    replies: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    found = [again(seed) for seed in range(arguments.first, arguments.first + arguments.sweeps)]
    for one in found:
        print(f"{one.scores:.4f} {one.replies:.4f}", file=sys.stderr)
    print(
        f"\n### The reference against itself, {arguments.sweeps} sweeps through the scheduler on virtual "
        "time\n"
    )
    print("| p at most | scores | replies |")
    print("|---|---|---|")
    for level in LEVELS:
        scores, replies = (
            np.mean([getattr(one, kind) <= level for one in found]) for kind in ("scores", "replies")
        )
        print(f"| {level} | {scores:.3f} | {replies:.3f} |")


def again(seed: int) -> Found:
    """One sweep, played and audited."""
    rows = Rows()

    async def play() -> None:
        await _play(rows, seed)

    simulate(play, seed=seed)
    return audited(rows.all, seed)


async def _play(rows: Rows, seed: int) -> None:
    clock = LoopClock()
    sets = {
        name: GameSet(
            rules=GAMES[name].rule_sets[0],
            seats=len(GAMES[name].seats),
            instances=choose_instances(GAMES[name].instances(), experiments=(), items=items),
        )
        for name, items in ITEMS.items()
    }
    instances = {
        EpisodePlan(instance=one, rules=chosen.rules, seating=()).item: one
        for chosen in sets.values()
        for one in chosen.instances
    }
    bots = BotsBackend(
        find_instance=instances.__getitem__, clock=clock, seed=seed, skill=0.7, form_errors=0.03
    )
    behaviour = Behaviour(latency=LatencyModel(first_s=0.5, spread=0.8), faults=FaultModel(rate=0.05))
    gate = Gate("m/a", GateLimits(concurrency=16), clock=clock, on_event=lambda kind, detail: None)
    route = Route(
        method=method("m/a"),
        gate=gate,
        backend=SimulatedBackend(bots, SimulatedProvider(behaviour, clock, seed=seed, name="m/a")),
    )
    expected = ExpectedTurns(GAMES)
    player = Player(
        run_id="0001",
        caller=Caller(
            sink=rows, clock=clock, policy=RetryPolicy(tries_max=20), budget=SpendingBudget.unlimited(clock)
        ),
        games=GAMES,
        routes={"m/a": route},
        expected_turns=expected,
        seed=seed,
    )
    plans = lane(Seating(("m/a",)), sets, repeats=REPEATS, seed=seed, stored=set(), arms=("main", "again"))
    lanes = [Lane(name="m/a", plans=plans, gates=(gate,))]
    await Scheduler(lanes, player=player, expected=expected, beginning=lambda plan: Beginning()).play_all()


def audited(rows: list[Record], seed: int) -> Found:
    """Both arms as two methods."""
    episodes = [row for row in rows if isinstance(row, EpisodeRecord) and row.status == "finished"]
    scores = score_array(
        EpisodeColumns(
            method=[one.arm for one in episodes],
            game=[one.game for one in episodes],
            item=[f"{one.game}:{one.instance}:{one.content_hash}" for one in episodes],
            repeat=[one.repeat for one in episodes],
            outcome=[one.outcome for one in episodes],
            score=[one.score for one in episodes],
            batch=[one.batch for one in episodes],
        )
    )
    games = pair(scores, "main", ("again",))
    differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
    flips = sign_flip_test(
        differences, [game.shared for game in games], [game.game for game in games], seed, DRAWS
    )
    of = {one.episode_id: one for one in episodes}
    calls = [
        row
        for row in rows
        if isinstance(row, CallRecord) and row.error_class is None and row.episode_id in of
    ]
    replies = compare_replies(
        ReplyColumns(
            method=[of[call.episode_id].arm for call in calls],
            item=[of[call.episode_id].content_hash for call in calls],
            turn=[call.turn for call in calls],
            ask_hash=[call.ask_hash for call in calls],
            reply=[call.reply for call in calls],
            size=[len((call.reply or "").encode()) for call in calls],
            ending=[call.finish_reason for call in calls],
        ),
        "main",
        again="again",
        seed=seed,
        draws=DRAWS,
    )
    assert replies.again is not None
    assert replies.again.p is not None
    return Found(scores=float(flips.joint[0]), replies=replies.again.p)


if __name__ == "__main__":
    main()

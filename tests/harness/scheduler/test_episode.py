"""One episode: play, replay, failure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio
import pytest

from harness.core.errors import (
    AccountRefused,
    CallError,
    ContextExceeded,
    GameError,
    GameFailed,
    GameUnavailable,
    GateClosing,
    Rejected,
)
from harness.core.records import EpisodeRecord
from harness.core.steps import Steps
from harness.core.vocabulary import Ask, Instance, Outcome, Prompt
from harness.limits.admission import Admission
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
from harness.scheduler.episode import Beginning, LeftPending, RecordedTurn
from tests.world import GAMES, Counter, World, plan, run


def play(
    goal: int, beginning: Beginning | None = None, trouble: dict[int, CallError | str] | None = None
) -> tuple[World, EpisodeRecord | GateClosing | LeftPending, Counter]:
    """One episode of the toy; trouble: number of the call -> what it meets."""

    async def scenario() -> tuple[World, EpisodeRecord | GateClosing | LeftPending, Counter]:
        world = World()
        backend = Counter(world.clock, trouble=lambda prompt, number: (trouble or {}).get(number))
        world.add(backend=backend)
        records = []
        async with world.timers_running():
            records.append(await world.player().play(plan(goal=goal), beginning or Beginning(), lambda: None))
        return world, records[0], backend

    return run(scenario)


def test_an_episode_leaves_its_rows_in_order() -> None:
    """A call and a turn for each ask, then the episode; replies are stored raw and played stripped."""
    world, record, _ = play(3)
    assert isinstance(record, EpisodeRecord)
    assert [type(row).__name__ for row in world.rows.all] == ["CallRecord", "TurnRecord"] * 3 + [
        "EpisodeRecord"
    ]
    assert [row.reply for row in world.rows.calls] == [" 1\n", " 2\n", " 3\n"]
    assert (record.status, record.outcome, record.score, record.turns, record.requests) == (
        "finished",
        "success",
        100.0,
        3,
        3,
    )


def test_history_is_stored_once() -> None:
    """A turn's row holds what its seat newly saw, and how much of the earlier messages still stands."""
    world, _, _ = play(4)
    assert [(row.seat, row.history_kept) for row in world.rows.turns] == [
        ("odd", 0),
        ("even", 0),
        ("odd", 1),
        ("even", 1),
    ]
    assert (
        world.rows.turns[2].added_json
        == '[{"role":"assistant","text":"1"},{"role":"user","text":"after 2?"}]'
    )


def test_a_violation_is_stored_with_its_turn() -> None:
    """The game's violation of a reply is stored in that reply's turn row."""
    world, record, _ = play(3, trouble={2: "seven"})
    assert isinstance(record, EpisodeRecord)
    assert [row.violation for row in world.rows.turns] == [None, "not 2"]
    assert (record.outcome, record.score, record.reason) == ("aborted", None, "miscounted")


def recorded(world: World, turns: int, *, stored: bool) -> Beginning:
    calls = world.rows.calls[:turns]
    return Beginning(
        turns=[RecordedTurn(ask_hash=row.ask_hash, reply=row.reply or "", stored=stored) for row in calls]
    )


def test_a_resume_is_a_replay() -> None:
    """A play cut short after two turns goes on with the third call; the two are neither asked nor stored
    again."""
    whole, _, _ = play(4)
    world, record, backend = play(4, recorded(whole, 2, stored=True))
    assert isinstance(record, EpisodeRecord)
    assert [prompt.turn for prompt in backend.prompts] == [2, 3]
    assert [row.turn for row in world.rows.turns] == [2, 3]
    assert [row.ask_hash for row in world.rows.turns] == [row.ask_hash for row in whole.rows.turns][2:]
    assert (record.turns, record.score) == (4, 100.0)


def test_a_turn_row_lost_with_its_call_kept_is_written_again() -> None:
    """A call is stored before its turn; a replay adds the turn row that is missing."""
    whole, _, _ = play(3)
    world, _, _ = play(3, recorded(whole, 1, stored=False))
    assert [row.turn for row in world.rows.turns] == [0, 1, 2]


def test_changed_rules_start_the_episode_over() -> None:
    """A recorded ask that is no longer the game's ends the old play as abandoned, and a new attempt
    begins."""
    stale = Beginning(turns=[RecordedTurn(ask_hash="of another rule set", reply="1", stored=True)])
    world, record, _ = play(2, stale)
    assert isinstance(record, EpisodeRecord)
    first, second = world.rows.episodes
    assert (first.attempt, first.status, first.reason) == (
        0,
        "abandoned",
        "started again: the ask of turn 0 is no longer the recorded one",
    )
    assert (second.attempt, second.status, second.score) == (1, "finished", 100.0)
    assert {row.attempt for row in world.rows.calls} == {1}


def test_a_provider_failure_is_no_score() -> None:
    """A final error ends the episode as failed: no outcome, no score, the class and words as reason; the ask
    it died on is kept."""
    world, record, _ = play(3, trouble={2: Rejected("HTTP 400: no", status=400)})
    assert isinstance(record, EpisodeRecord)
    assert (record.status, record.outcome, record.score, record.reason) == (
        "failed",
        None,
        None,
        "Rejected: HTTP 400: no",
    )
    assert [row.turn for row in world.rows.turns] == [0, 1]
    assert record.turns == 1


def test_a_closed_gate_leaves_the_episode_pending() -> None:
    """No row: the episode is neither finished nor failed, and its first turn is kept for the resume."""
    world, record, _ = play(3, trouble={2: AccountRefused("no credit", status=402)})
    assert isinstance(record, AccountRefused)
    assert world.rows.episodes == []
    assert len(world.rows.turns) == 1


def test_a_prompt_names_its_place() -> None:
    """Bots find their item and their random stream by episode, item, seat and turn."""
    _, _, backend = play(2)
    first: Prompt = backend.prompts[0]
    assert (first.episode, first.item, first.seat, first.turn) == (
        plan(goal=2).key,
        plan(goal=2).item,
        "odd",
        0,
    )


def test_a_failed_episode_counts_no_requests() -> None:
    """Its row has no outcome, no score, and zeros where a game counts its requests."""

    async def scenario() -> World:
        world = World()
        refused = ContextExceeded("too long", status=400)
        world.add(
            backend=Counter(world.clock, trouble=lambda prompt, number: refused if number == 2 else None)
        )
        await world.scheduler({"m/a": iter([plan(0, goal=4)])}).play_all()
        return world

    (row,) = run(scenario).rows.episodes
    assert (row.status, row.outcome, row.score) == ("failed", None, None)
    assert (row.requests, row.parsed, row.violated, row.metrics_json) == (0, 0, 0, "{}")


def test_a_seating_has_a_method_for_each_seat() -> None:
    """A plan with fewer methods than its game has seats is a mistake of ours, and raises at once."""

    async def scenario() -> None:
        world = World()
        world.add()
        await world.player().play(plan(0, seats=1), Beginning(), lambda: None)

    with pytest.raises(ValueError, match="zip"):
        run(scenario)


def test_the_remainder_of_an_episode_shrinks_with_its_turns() -> None:
    """A turn waits with the expected turns ahead of its episode, one at least."""
    remainders: list[float] = []

    class Noting(Gate):
        async def enter(self, remainder: float, cost: CallCost) -> Admission:
            remainders.append(remainder)
            return await super().enter(remainder, cost)

    async def scenario() -> None:
        world = World()
        gate = Noting("m/a", GateLimits(concurrency=1), clock=world.clock, on_event=lambda kind, detail: None)
        world.add_at(gate, "m/a")
        await world.scheduler({"m/a": iter([plan(0, goal=6)])}).play_all()

    run(scenario)
    typical = GAMES["count"].turns_typical
    assert remainders == [max(1.0, typical - turn) for turn in range(6)]


@dataclass
class Waiting:
    """The toy game as a game that waits for a second at each step, and meets `trouble` at the third."""

    seats: tuple[str, ...] = ("odd", "even")
    turns_typical: int = 4
    trouble: GameError | None = None
    closed: int = 0

    def open(self, instance: Instance, rules: str) -> WaitingSteps:
        return WaitingSteps(self, GAMES["count"].open(instance, rules))


@dataclass
class WaitingSteps:
    game: Waiting
    steps: Steps
    taken: int = 0

    async def begin(self) -> Ask | Outcome:
        await anyio.sleep(1)
        return await self.steps.begin()

    async def step(self, reply: str) -> Ask | Outcome:
        await anyio.sleep(1)
        self.taken += 1
        if self.taken == 3 and self.game.trouble is not None:
            raise self.game.trouble
        return await self.steps.step(reply)

    def close(self) -> None:
        self.game.closed += 1


def play_waiting(
    game: Waiting, beginning: Beginning | None = None
) -> tuple[World, EpisodeRecord | GateClosing | LeftPending]:
    async def scenario() -> tuple[World, EpisodeRecord | GateClosing | LeftPending]:
        world = World()
        world.add(backend=Counter(world.clock))
        player = replace(world.player(), games={"count": game})
        records = []
        async with world.timers_running():
            records.append(await player.play(plan(goal=4), beginning or Beginning(), lambda: None))
        return world, records[0]

    return run(scenario)


def test_a_game_may_wait() -> None:
    """A game whose steps take time leaves the same turns and the same end as one that answers at once."""
    game = Waiting()
    world, record = play_waiting(game)
    at_once, same, _ = play(4)
    assert isinstance(record, EpisodeRecord)
    assert isinstance(same, EpisodeRecord)
    assert world.rows.turns == at_once.rows.turns
    assert (record.outcome, record.score, record.turns) == (same.outcome, same.score, same.turns)
    assert game.closed == 1


def test_a_game_that_fails_is_no_score() -> None:
    """The episode is failed with the game's words; the turn that it failed on is stored."""
    world, record = play_waiting(Waiting(trouble=GameFailed("the game raised KeyError: 'x'")))
    assert isinstance(record, EpisodeRecord)
    assert (record.status, record.outcome, record.score, record.turns) == ("failed", None, None, 3)
    assert record.reason == "GameFailed: the game raised KeyError: 'x'"
    assert [row.turn for row in world.rows.turns] == [0, 1, 2]


def test_a_game_without_a_process_leaves_its_episode_pending() -> None:
    """There is no row of the episode; the calls are stored, so that a later run goes on from there."""
    world, left = play_waiting(Waiting(trouble=GameUnavailable("the process ended")))
    assert isinstance(left, LeftPending)
    assert world.rows.episodes == []
    assert len(world.rows.calls) == 3
    game = Waiting()
    again, record = play_waiting(game, recorded(world, 3, stored=True))
    assert isinstance(record, EpisodeRecord)
    assert (record.status, record.score, len(again.rows.calls)) == ("finished", 100.0, 1)

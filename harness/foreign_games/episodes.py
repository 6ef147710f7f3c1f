"""Episodes of games of other libraries, for the scheduler: each step is a request to a process.

Knows processes and replies; nothing of calls or stores. Keeps: an episode that has not ended after the game's
`turns_max` replies is aborted, in a replay as in the first play; an episode whose process died is begun again
in another one with the same replies; an episode that killed three processes is failed, and the others that
were in them are not blamed; a game whose processes die without an episode's end in between is given up, and
its episodes stay pending."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from harness.core.errors import GameFailed, GameUnavailable
from harness.core.protocols import Game
from harness.core.steps import Playable
from harness.core.vocabulary import KEPT, Ask, Instance, Message, Outcome, Parse, Requests, storable
from harness.foreign_games.catalog import ForeignGame
from harness.foreign_games.host import STEP_S, Answer, GameHost, HostDied, hosting
from harness.foreign_games.libraries import GameProgram, program_of

DEATHS_MAX = 3  # of processes in one episode
IDLE_DEATHS_MAX = 9  # of a game's processes without an episode's end in between: three whole episodes


class GameHosts:
    """The processes of a run, one for each game or library, started when the first episode needs them.

    programs  library -> what its processes run
    step_s    how long one step may take"""

    def __init__(self, programs: Mapping[str, GameProgram], tasks: TaskGroup, step_s: float) -> None:
        self._programs = programs
        self._step_s = step_s
        self._tasks = tasks
        self._slots: dict[str, _Slot] = {}

    def playable(self, game: ForeignGame) -> LiveForeignGame:
        """Returns the game as the scheduler plays it."""
        return LiveForeignGame(game=game, hosts=self)

    async def host(self, game: ForeignGame) -> GameHost:
        """Returns the game's process, which has imported its library.

        raises  GameUnavailable"""
        slot = self._slots.setdefault(game.process, _Slot())
        async with slot.starting:
            if slot.given_up is not None:
                raise slot.given_up
            if slot.host is None or slot.host.died is not None:
                host = await self._tasks.start(self._run, game)
                if host.died is not None:  # it could not import its library
                    slot.given_up = GameUnavailable(host.died.why)
                    raise slot.given_up
                slot.host = host
            return slot.host

    def note_death(self, game: ForeignGame, host: GameHost, death: HostDied) -> None:
        """Counts the death of a process once."""
        slot = self._slots[game.process]
        if slot.host is host:
            slot.host = None
            slot.idle_deaths += 1
            if slot.idle_deaths >= IDLE_DEATHS_MAX:
                slot.given_up = GameUnavailable(death.why)

    def note_end(self, game: ForeignGame) -> None:
        self._slots[game.process].idle_deaths = 0

    async def _run(self, game: ForeignGame, *, task_status: TaskStatus[GameHost]) -> None:
        async with hosting(game.process, self._programs[game.library], step_s=self._step_s) as host:
            await host.wait_ready()
            task_status.started(host)
            await host.wait_end()


@dataclass(slots=True)
class _Slot:
    host: GameHost | None = None
    starting: anyio.Lock = field(default_factory=anyio.Lock)
    idle_deaths: int = 0
    given_up: GameUnavailable | None = None


@asynccontextmanager
async def game_hosts(
    programs: Mapping[str, GameProgram], *, step_s: float = STEP_S
) -> AsyncIterator[GameHosts]:
    """Gives processes for games for as long as the block lasts."""
    async with anyio.create_task_group() as tasks:
        try:
            yield GameHosts(programs, tasks, step_s)
        finally:
            tasks.cancel_scope.cancel()


def playable_games(
    games: Mapping[str, Game | ForeignGame],
) -> AbstractAsyncContextManager[Mapping[str, Playable]]:
    """Gives the games as the scheduler plays them, by name, for as long as a block lasts.

    raises  SpecError before the block, if a library is not installed"""
    programs = {
        game.library: program_of(game.library) for game in games.values() if isinstance(game, ForeignGame)
    }
    return _playable_games(games, programs)


@asynccontextmanager
async def _playable_games(
    games: Mapping[str, Game | ForeignGame], programs: Mapping[str, GameProgram]
) -> AsyncIterator[Mapping[str, Playable]]:
    async with game_hosts(programs) as hosts:
        yield {
            name: hosts.playable(game) if isinstance(game, ForeignGame) else game
            for name, game in games.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveForeignGame:
    """A game with the processes that play it."""

    game: ForeignGame
    hosts: GameHosts

    @property
    def seats(self) -> tuple[str, ...]:
        return self.game.seats

    @property
    def turns_typical(self) -> int:
        return self.game.turns_typical

    def open(self, instance: Instance, rules: str) -> ForeignSteps:
        """Returns a new episode of this instance. Its chance comes from the instance alone: all methods and
        repeats meet the same game."""
        return ForeignSteps(self.game, self.hosts, instance)


class ForeignSteps:
    """One episode; see Steps."""

    def __init__(self, game: ForeignGame, hosts: GameHosts, instance: Instance) -> None:
        self._game = game
        self._hosts = hosts
        self._opening: Mapping[str, object] = {
            "do": "open",
            "game": game.opening(instance),
            "seed": int(instance.content_hash[:15], 16),
        }
        self._replies: list[str] = []
        self._seen: dict[str, tuple[Message, ...]] = {}
        self._host: GameHost | None = None
        self._episode = self._asked = 0
        self._deaths = 0
        self._violated = 0  # replies that the game counted as violations

    async def begin(self) -> Ask | Outcome:
        """See Steps."""
        return await self._step_of(None)

    async def step(self, reply: str) -> Ask | Outcome:
        """See Steps."""
        reply = storable(reply)
        self._replies.append(reply)
        step = await self._step_of(reply)
        if isinstance(step, Ask) and len(self._replies) >= self._game.turns_max:
            return self._aborted(step)
        return step

    def close(self) -> None:
        """See Steps."""
        if self._host is not None and self._host.died is None:
            self._host.post({"do": "close", "episode": self._episode})
            self._host = None

    def _aborted(self, ask: Ask) -> Outcome:
        """Returns the end of an episode that has reached the limit of turns; its process forgets it."""
        self.close()
        self._hosts.note_end(self._game)
        turns = len(self._replies)
        return Outcome(
            state="aborted",
            score=None,
            reason=f"no end after {turns} turns (turns_max)",
            requests=Requests(total=turns, parsed=turns - self._violated, violated=self._violated),
            last_parse=ask.last_parse,
        )

    async def _step_of(self, reply: str | None) -> Ask | Outcome:
        while True:
            host = self._host
            try:
                if host is None or host.died is not None or reply is None:
                    host = await self._hosts.host(self._game)
                    return await self._replay(host)
                return self._read(await self._ask(host, {"do": "step", "reply": reply}))
            except HostDied as death:
                assert host is not None
                self._note(host, death)

    async def _replay(self, host: GameHost) -> Ask | Outcome:
        """Begins the episode in this process and repeats its replies; returns the last answer."""
        self._seen, self._violated = {}, 0
        self._episode = host.number()
        step = self._read(await self._ask(host, self._opening))
        self._host = host
        for number, reply in enumerate(self._replies):
            if isinstance(step, Outcome):
                raise GameFailed(
                    f"{self._game.name}: with the same replies the game ended earlier than before, after {number} replies"
                )
            step = self._read(await self._ask(host, {"do": "step", "reply": reply}))
        return step

    async def _ask(self, host: GameHost, request: Mapping[str, object]) -> Answer:
        self._asked = host.number()
        return await host.ask(self._asked, {**request, "episode": self._episode})

    def _note(self, host: GameHost, death: HostDied) -> None:
        """raises  GameFailed if it was this episode's request that the process died in, for the third time"""
        self._host = None
        self._hosts.note_death(self._game, host, death)
        if death.during == self._asked:
            self._deaths += 1
            if self._deaths >= DEATHS_MAX:
                raise GameFailed(f"{DEATHS_MAX} processes died in this episode: {death.why}") from death

    def _read(self, answer: Any) -> Ask | Outcome:
        """Returns what an answer of child.py says."""
        if "error" in answer:
            self._host = None  # the process has forgotten the episode
            raise GameFailed(f"{self._game.name}: {answer['error']}")
        if "end" in answer:
            self._host = None
            self._hosts.note_end(self._game)
            return _outcome(answer["end"])
        seat = answer["seat"]
        known = self._seen.get(seat, ())
        messages = known[: answer["kept"]] + tuple(Message(role, text) for role, text in answer["new"])
        self._seen[seat] = messages
        violation = answer["violation"]
        self._violated += violation is not None
        return Ask(
            seat, messages, self._game.reply_format, KEPT if violation is None else Parse(violation=violation)
        )


def _outcome(end: Any) -> Outcome:
    total, parsed, violated = end["requests"]
    return Outcome(
        state=end["state"],
        score=end["score"],
        reason=end["reason"],
        requests=Requests(total=total, parsed=parsed, violated=violated),
        metrics=end["metrics"],
        last_parse=Parse(violation=end["violation"]),
    )

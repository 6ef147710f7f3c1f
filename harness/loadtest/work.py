"""The units of work that a stage offers: single requests, and sessions, which are whole games.

A session sends its next prompt when the reply to the last one has come and a think time has passed; it ends
with the game, or with the first call that fails. Knows games as the protocol Steps; sends nothing itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Protocol

from harness.core.protocols import Clock
from harness.core.steps import Steps
from harness.core.vocabulary import Ask, Completion, Prompt
from harness.loadtest.lengths import LengthDistribution

# Sends a prompt that was due at a moment, as this turn of this session; returns None if the call failed.
SendPrompt = Callable[[Prompt, float, int | None, int], Awaitable[Completion | None]]


class Work(Protocol):
    """One unit."""

    async def play(self, send: SendPrompt, due_at: float) -> None:
        """Sends the unit's prompts; the first one was due at that moment."""
        ...


@dataclass(frozen=True, slots=True)
class SingleRequest:
    """One prompt on its own."""

    prompt: Prompt

    async def play(self, send: SendPrompt, due_at: float) -> None:
        """See Work."""
        await send(self.prompt, due_at, None, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A whole game.

    number       of the session in its stage's source
    open         returns a new episode
    prompt_for   (ask, turn) -> the prompt
    think_s      before each prompt but the first
    clock        waits for the think time"""

    number: int
    open: Callable[[], Steps]
    prompt_for: Callable[[Ask, int], Prompt]
    think_s: LengthDistribution
    chance: Random
    clock: Clock

    async def play(self, send: SendPrompt, due_at: float) -> None:
        """See Work."""
        game, turn = self.open(), 0
        step = await game.begin()
        while isinstance(step, Ask):
            completion = await send(self.prompt_for(step, turn), due_at, self.number, turn)
            if completion is None:
                game.close()
                return
            think_s = self.think_s.draw(self.chance)
            due_at = self.clock.now() + think_s
            step = await game.step(completion.text.strip())
            turn += 1
            if isinstance(step, Ask):
                await self.clock.sleep(think_s)


@dataclass(frozen=True, slots=True)
class OpeningOnly:
    """The first prompt of a unit, as if its call failed."""

    unit: Work

    async def play(self, send: SendPrompt, due_at: float) -> None:
        """See Work."""

        async def send_and_end(prompt: Prompt, due_at: float, session: int | None, turn: int) -> None:
            await send(prompt, due_at, session, turn)

        await self.unit.play(send_and_end, due_at)


def single_requests(prompts: Iterable[Prompt]) -> Iterator[Work]:
    """Yields a unit for each prompt."""
    return map(SingleRequest, prompts)

"""A backend of the games' programmatic players. The only file of backends that imports games. Games of other
libraries have no such players: the emulator's toy model answers them.

A bot's random numbers come from the stream named by its episode, seat and turn: its replies do not depend on
who else plays, or when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

from games import GAMES
from games.bots import may_append_words
from games.bots import with_format_errors as with_format_errors  # the emulator uses it for real models too
from harness.core.protocols import Clock
from harness.core.seeds import stream
from harness.core.vocabulary import (
    Completion,
    EpisodePlan,
    Instance,
    Message,
    Prompt,
    game_library,
    game_of_item,
)

FILLER_TOKENS = 60  # of a reply without meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class BotsBackend:
    """A Backend whose replies come from the games' bots.

    find_instance   returns the instance of a prompt's item
    skill           1: plays as well as the rules allow; 0: as badly as possible
    form_errors     share of replies that break the reply format
    latency_s       mean of the exponentially distributed time to a reply; 0: at once"""

    find_instance: Callable[[str], Instance]
    clock: Clock
    seed: int
    skill: float = 1.0
    form_errors: float = 0.0
    latency_s: float = 0.0

    async def complete(self, prompt: Prompt) -> Completion:
        """Returns the completion; see Backend. Never fails."""
        place = (prompt.episode, prompt.seat, prompt.turn)
        if self.latency_s:
            await self.clock.sleep(stream(self.seed, "latency", *place).expovariate(1 / self.latency_s))
        chance = stream(self.seed, "bot", *place)
        instance = self.find_instance(prompt.item)
        reply, _ = bot_reply(
            instance,
            prompt.seat,
            prompt.messages,
            skill=self.skill,
            form_errors=self.form_errors,
            chance=chance,
        )
        return Completion(
            text=reply,
            finish_reason="stop",
            prompt_tokens=sum(_tokens(message.text) for message in prompt.messages),
            completion_tokens=_tokens(reply),
            served_model="bots",
        )


def bot_reply(
    instance: Instance,
    seat: str,
    messages: tuple[Message, ...],
    *,
    skill: float,
    form_errors: float,
    chance: Random,
) -> tuple[str, bool]:
    """Returns the bot's reply, and whether words without meaning may follow it."""
    if game_library(instance.game) is not None:
        # here, so that a run of this package's games does not load the emulator
        from backends.emulator.toy_model import Sampler, conversation_state, generate_text

        sampler = Sampler(weights=b"bots", temperature=1.0, top_p=1.0, draw_key=chance.randbytes(8))
        text = generate_text(sampler, conversation_state(messages), tokens_max=FILLER_TOKENS)
        return "".join(token.text for token in text), False
    reply = GAMES[instance.game].bots[seat](instance, messages, skill, chance)
    return with_format_errors(reply, form_errors, chance), may_append_words(reply)


def own_instance(item: str) -> Instance:
    """Returns the instance of our own sets that has this item key.

    raises  KeyError if no own instance has it"""
    return _own_items(game_of_item(item))[item]


@cache
def _own_items(game: str) -> Mapping[str, Instance]:
    return {
        EpisodePlan(instance=instance, rules=rules, seating=()).item: instance
        for instance in GAMES[game].instances()
        for rules in GAMES[game].rule_sets
    }


def _tokens(text: str) -> int:
    """Estimates the tokens of a text: four characters each, the usual rule of thumb for English."""
    return -(-len(text) // 4)

"""Answers from the games' own programmatic players. The one file here that knows of games.

A bot's luck comes from the stream named by its episode, seat and turn: its replies do not depend on who else plays, or when."""

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
from harness.core.vocabulary import Completion, EpisodePlan, Instance, Message, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class BotsBackend:
    """A Backend.

    find_instance   the puzzle behind a prompt's item
    skill           1 plays as well as the rules allow, 0 hopelessly
    form_errors     share of replies whose form is broken
    latency_s       mean time to a reply, exponentially spread; 0: at once"""

    find_instance: Callable[[str], Instance]
    clock: Clock
    seed: int
    skill: float = 1.0
    form_errors: float = 0.0
    latency_s: float = 0.0

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend; never fails."""
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
    """What the bot in this seat says, and whether words that mean nothing may follow it."""
    reply = GAMES[instance.game].bots[seat](instance, messages, skill, chance)
    return with_format_errors(reply, form_errors, chance), may_append_words(reply)


def own_instance(item: str) -> Instance:
    """The puzzle of our own sets behind a prompt's item.

    raises  KeyError if it is none of ours"""
    return _own_items(item.partition(":")[0])[item]


@cache
def _own_items(game: str) -> Mapping[str, Instance]:
    return {
        EpisodePlan(instance=instance, rules=rules, seating=()).item: instance
        for instance in GAMES[game].instances()
        for rules in GAMES[game].rule_sets
    }


def _tokens(text: str) -> int:
    """About as many tokens as this text would cost: four characters each, as a rule of thumb for English."""
    return -(-len(text) // 4)

"""TrafficSettings from a sweep's games: single prompts as bots play them, or whole games as sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count

from games import GAMES
from games.playthrough import play_by_bots
from harness.config.episode_plans import GameSet
from harness.core.errors import SpecError
from harness.core.protocols import Clock
from harness.core.seeds import stream
from harness.core.vocabulary import Ask, EpisodePlan, Prompt, game_library
from harness.loadtest.lengths import LengthDistribution
from harness.loadtest.prompts import random_line, with_first_line
from harness.loadtest.work import Session

BOT_SKILL = 0.8  # of a good model: prompts as long as in its sweep


def game_prompts(sets: Mapping[str, GameSet], seed: int) -> list[Prompt]:
    """Returns every ask of every item as bots play it: prompts as long, and as similar, as in a sweep.

    raises  SpecError if the sweep has no game that bots play"""
    prompts = []
    for chosen, plan in _episodes(sets):
        played = play_by_bots(
            GAMES[plan.instance.game],
            plan.instance,
            chosen.rules,
            skill=BOT_SKILL,
            chance=stream(seed, "bench", plan.instance.content_hash),
        )
        prompts += [_prompt(plan, ask, turn) for turn, ask in enumerate(played.asks)]
    return prompts


def game_sessions(
    sets: Mapping[str, GameSet],
    think_s: LengthDistribution,
    *,
    clock: Clock,
    seed: int,
    unique_in: str | None,
) -> Iterator[Session]:
    """Yields whole games without end: each item once, in a shuffled order, then again.

    think_s     seconds before each prompt but the first
    unique_in   the stage, if each session begins with a line that no other session of any stage has
    raises      SpecError if the sweep has no game of its own"""
    episodes = _episodes(sets)
    stream(seed, "sessions").shuffle(episodes)
    chance, lines = stream(seed, "think time"), stream(seed, "lines", unique_in or "")
    for number in count():
        chosen, plan = episodes[number % len(episodes)]
        line = None if unique_in is None else random_line(lines)
        yield Session(
            number=number,
            open=partial(GAMES[plan.instance.game].open, plan.instance, chosen.rules),
            prompt_for=partial(_session_prompt, plan, line),
            think_s=think_s,
            chance=chance,
            clock=clock,
        )


def _session_prompt(plan: EpisodePlan, line: str | None, ask: Ask, turn: int) -> Prompt:
    prompt = _prompt(plan, ask, turn)
    return prompt if line is None else with_first_line(prompt, line)


def _episodes(sets: Mapping[str, GameSet]) -> list[tuple[GameSet, EpisodePlan]]:
    episodes = [
        (chosen, EpisodePlan(instance=instance, rules=chosen.rules, seating=("bench",)))
        for game, chosen in sets.items()
        if game_library(game) is None  # no bots play the others
        for instance in chosen.instances
    ]
    if not episodes:
        raise SpecError(
            "no bots play the games of this sweep, so that they give no prompts; name some: --prompts"
        )
    return episodes


def _prompt(plan: EpisodePlan, ask: Ask, turn: int) -> Prompt:
    return Prompt(
        messages=ask.messages,
        reply_format=ask.reply_format,
        episode=plan.key,
        item=plan.item,
        seat=ask.seat,
        turn=turn,
    )

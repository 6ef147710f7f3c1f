"""A plug-in for lightbulb: the game parity, in which one seat says if a number is odd or even, and the row of
a provider. pyproject.toml beside this file names both as entry points."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from backends.dialects.providers import Provider
from harness.core.protocols import Game
from harness.core.vocabulary import (
    Ask,
    Instance,
    Message,
    Outcome,
    Parse,
    Play,
    ReplyFormat,
    Requests,
    digest,
)

JUDGE = "judge"
ROUNDS = 3
ANSWER = ReplyFormat(regex="odd|even", tokens_max=10)


def parity(number: int) -> str:
    return "odd" if number % 2 else "even"


def play(instance: Instance, rules: str) -> Play:
    """Plays one episode: three numbers, one word about each."""
    first = int(str(instance.fields["first"]))
    messages: tuple[Message, ...] = ()
    right = 0
    for number in range(first, first + ROUNDS):
        question = f"Is {number} odd or even? Answer with one word."
        messages += (Message("user", question),)
        reply = yield Ask(seat=JUDGE, messages=messages, reply_format=ANSWER)
        messages += (Message("assistant", reply),)
        if reply not in ("odd", "even"):
            return Outcome(
                state="aborted",
                score=None,
                reason="reply is neither odd nor even",
                requests=Requests(total=number - first + 1, parsed=number - first, violated=1),
                last_parse=Parse(violation="reply is neither odd nor even"),
            )
        right += reply == parity(number)
    return Outcome(
        state="success" if right == ROUNDS else "lost",
        score=100.0 * right / ROUNDS,
        reason=f"{right} right",
        requests=Requests(total=ROUNDS, parsed=ROUNDS),
    )


def instances() -> Sequence[Instance]:
    """Returns the instance set: ten beginnings."""
    return [
        Instance(
            game="parity",
            set_name="parity-1",
            experiment="numbers",
            id=str(number),
            fields={"first": 10 * number},
            content_hash=digest("parity", str(number)),
        )
        for number in range(10)
    ]


def answer(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Plays the seat as a bot: right with probability `skill`."""
    number = int(messages[-1].text.split()[1])
    return parity(number if chance.random() < skill else number + 1)


PARITY = Game(
    name="parity",
    summary="Say if a number is odd or even.",
    seats=(JUDGE,),
    rule_sets=("v1",),
    turns_typical=ROUNDS,
    play=play,
    instances=instances,
    bots={JUDGE: answer},
)

PARLOUR = Provider(
    docs="https://example.com/docs", base_url="https://api.example.com/v1", key_env="PARLOUR_API_KEY"
)

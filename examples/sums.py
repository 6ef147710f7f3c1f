"""A whole game in one file: one seat adds two numbers.

Copy it to games/, put its GAME into the dictionary of games/__init__.py, and the tests of games hold it to
their laws. Run alone, it plays one episode: python examples/sums.py"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

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

ADDER = "adder"
SUM_FORMAT = ReplyFormat(regex="[0-9]{1,4}", tokens_max=100)


def right_sum(instance: Instance) -> int:
    return int(str(instance.fields["a"])) + int(str(instance.fields["b"]))


def play(instance: Instance, rules: str) -> Play:
    """Plays one episode: asks once, reads the reply, returns the outcome."""
    question = f"What is {instance.fields['a']} + {instance.fields['b']}? Answer with the number alone."
    reply = yield Ask(seat=ADDER, messages=(Message("user", question),), reply_format=SUM_FORMAT)
    if not (reply.isascii() and reply.isdigit() and len(reply) <= 4):
        violation = Parse(violation="reply is not a number")
        return Outcome(
            state="aborted",
            score=None,
            reason="reply is not a number",
            requests=Requests(total=1, violated=1),
            last_parse=violation,
        )
    right = int(reply) == right_sum(instance)
    return Outcome(
        state="success" if right else "lost",
        score=100.0 if right else 0.0,
        reason="right sum" if right else "wrong sum",
        requests=Requests(total=1, parsed=1),
    )


def instances() -> Sequence[Instance]:
    """Returns the instance set: ten sums."""
    return [
        Instance(
            game="sums",
            set_name="own-1",
            experiment="small",
            id=str(number),
            fields={"a": number, "b": 7},
            content_hash=digest("sums", str(number)),
        )
        for number in range(10)
    ]


def answer(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Plays the seat as a bot: the right sum with probability `skill`."""
    return str(right_sum(instance) if chance.random() < skill else right_sum(instance) + 1)


GAME = Game(
    name="sums",
    summary="Add two numbers.",
    seats=(ADDER,),
    rule_sets=("v1",),
    turns_typical=1,
    play=play,
    instances=instances,
    bots={ADDER: answer},
)

if __name__ == "__main__":
    episode = GAME.play(instances()[3], "v1")
    print(next(episode).messages[0].text)
    try:
        episode.send("10")
    except StopIteration as ended:
        print(ended.value.state, ended.value.score)

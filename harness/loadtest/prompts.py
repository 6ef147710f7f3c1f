"""The prompts of a load test: lines of a user's file, in a shuffled order without end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.seeds import stream
from harness.core.vocabulary import Message, Prompt, ReplyFormat


def read_prompts(path: Path, *, tokens_max: int) -> list[Prompt]:
    """Reads one prompt from each line: plain text, or JSON with "messages" or "prompt".

    raises  SpecError naming the line that is neither"""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"{path}: cannot be read ({error}); name a file with one prompt in each line"
        ) from error
    prompts = [
        Prompt(
            messages=_messages(line, f"{path}:{number}"),
            reply_format=ReplyFormat(regex=".*", tokens_max=tokens_max),
            episode=f"bench-{number}",
            item=f"prompts:{number}",
            seat="asker",
            turn=0,
        )
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not prompts:
        raise SpecError(f"{path}: contains no prompt; write one in each line")
    return prompts


def _messages(line: str, where: str) -> tuple[Message, ...]:
    if not line.lstrip().startswith("{"):
        return (Message("user", line),)
    try:
        match json.loads(line):
            case {"messages": [*messages]} if messages:
                return tuple(Message(one["role"], str(one["content"])) for one in messages)
            case {"prompt": str(text)}:
                return (Message("user", text),)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise SpecError(
            f"{where}: not a prompt ({error}); write text, or JSON with messages or prompt"
        ) from error
    raise SpecError(f"{where}: JSON without messages or prompt")


def repeat_shuffled(prompts: Sequence[Prompt], *, seed: int) -> Iterator[Prompt]:
    """Yields the prompts in a shuffled order, again and again. From the second round on a prefix cache knows
    them."""
    order = list(prompts)
    stream(seed, "traffic").shuffle(order)
    return cycle(order)

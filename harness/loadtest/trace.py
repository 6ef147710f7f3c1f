"""Recorded traffic: when requests arrived, and their prompts or lengths.

A file has one JSON object in each line: `arrival_s`, seconds on any scale; `prompt`, `messages` or
`prompt_tokens`; and perhaps `output_tokens`. A store has its own calls; loadtest_sweep reads those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import orjson

from harness.core.errors import SpecError
from harness.core.seeds import stream
from harness.core.vocabulary import Message, Prompt, ReplyFormat
from harness.loadtest.lengths import LENGTH_MAX
from harness.loadtest.prompts import TokenScale, messages_in, read_lines, words_prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One request. messages: None if only its length is known, which is prompt_tokens.

    output_tokens   limit of the reply; None: not known"""

    arrival_s: float
    messages: tuple[Message, ...] | None
    prompt_tokens: int | None
    output_tokens: int | None


def read_trace(path: Path) -> list[RecordedRequest]:
    """Reads a trace file, in the order of arrival.

    raises  SpecError naming the line that is wrong"""
    recorded = [
        _recorded(line, f"{path}:{number}")
        for number, line in enumerate(read_lines(path, "one JSON object in each line"), 1)
        if line.strip()
    ]
    if not recorded:
        raise SpecError(f"{path}: contains no request; write one JSON object in each line")
    return sorted(recorded, key=lambda one: one.arrival_s)


def _recorded(line: str, where: str) -> RecordedRequest:
    try:
        value = orjson.loads(line)
        if not isinstance(value, dict):
            raise TypeError("no JSON object")
        messages, arrival_s = messages_in(value), float(value["arrival_s"])
        prompt_tokens, output_tokens = _tokens(value, "prompt_tokens"), _tokens(value, "output_tokens")
        if messages is None and prompt_tokens is None:
            raise ValueError("neither prompt nor prompt_tokens")
        if not isfinite(arrival_s):
            raise ValueError(f"arrival_s is {arrival_s}")
        return RecordedRequest(
            arrival_s=arrival_s,
            messages=messages,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(
            f"{where}: not a recorded request ({error!r}); write JSON with arrival_s, one of prompt, messages "
            "and prompt_tokens, and perhaps output_tokens"
        ) from error


def _tokens(value: dict[str, object], name: str) -> int | None:
    tokens = value.get(name)
    if tokens is None:
        return None
    if not isinstance(tokens, int | float) or not 0 <= tokens <= LENGTH_MAX:
        raise ValueError(f"{name} is {tokens!r}, not a number from 0 to {LENGTH_MAX:,}")
    return int(tokens)


def trace_moments(recorded: Sequence[RecordedRequest], speed: float) -> Iterator[float]:
    """Yields seconds since the first arrival, so many times as fast."""
    return ((one.arrival_s - recorded[0].arrival_s) / speed for one in recorded)


def trace_prompts(
    recorded: Sequence[RecordedRequest], *, scale: TokenScale, tokens_max: int, seed: int
) -> Iterator[Prompt]:
    """Yields the prompts in the order of arrival; where only a length is known, random words.

    tokens_max   of a reply whose length is not known"""
    chance = stream(seed, "trace")
    for number, one in enumerate(recorded):
        limit = max(1, one.output_tokens if one.output_tokens is not None else tokens_max)
        if one.messages is None:
            assert one.prompt_tokens is not None, "read_trace lets no other request pass"
            yield words_prompt(scale.words(one.prompt_tokens), chance=chance, tokens_max=limit)
        else:
            yield Prompt(
                messages=one.messages,
                reply_format=ReplyFormat(regex=".*", tokens_max=limit),
                episode=f"trace-{number}",
                item="",
                seat="asker",
                turn=0,
            )

"""Counts the probes' prompts with the tokenizer of the weights, where these are on this machine, and for
emulators.

Knows engines and the emulator's toy model. Keeps: a tokenizer that cannot be used leaves its methods without
a count, and says why. Does not promise: a count where a method sends plain text, since servers may add tokens
to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio.to_thread

from backends.emulator.toy_model import prompt_tokens
from backends.local.engine_kinds import engine_kind
from backends.local.environments import find
from backends.local.local_server import LocalServer
from backends.local.machine import this_machine
from backends.local.tokenizer import can_count, count_prompt_tokens
from harness.audit.probes.asks import ProbeAsk, first_asks
from harness.config.sweep import MethodPart
from harness.core.errors import EngineError

PLAIN_TEXT = "completions"  # the dialect of servers that complete plain text


async def own_tokens(
    methods: Mapping[str, tuple[str, MethodPart]],
    started: Mapping[str, LocalServer],
    notify: Callable[[str], None],
) -> dict[str, Mapping[str, int]]:
    """Returns method -> place of a question -> tokens of its prompt, of the methods with a known tokenizer.

    methods  name -> (model, description)
    started  method -> its engine's server"""
    asks = [ask for ask in first_asks() if ask.kind == "length"]
    of_model: dict[str, Mapping[str, int]] = {}
    for name, server in started.items():
        model = methods[name][0]
        if model not in of_model and (counted := await _count(server, asks, notify)) is not None:
            of_model[model] = counted
    toy = {ask.place: prompt_tokens(ask.messages) for ask in asks}
    found: dict[str, Mapping[str, int]] = {}
    for name, (model, part) in methods.items():
        if part.emulator is not None and part.emulator.behind is None:
            found[name] = toy
        elif model in of_model and part.bots is None and part.dialect != PLAIN_TEXT:
            found[name] = of_model[model]
    return found


async def _count(
    server: LocalServer, asks: Sequence[ProbeAsk], notify: Callable[[str], None]
) -> Mapping[str, int] | None:
    weights, kind = Path(str(server.facts["weights_root"])), str(server.facts["engine"])
    if not can_count(weights, kind) or (engine := find(engine_kind(kind, this_machine()))) is None:
        return None
    try:
        counts = await anyio.to_thread.run_sync(
            count_prompt_tokens, weights, engine, [ask.messages for ask in asks]
        )
    except EngineError as error:
        notify(f"tokens of prompts are not compared with our own count: {error}")
        return None
    return {ask.place: count for ask, count in zip(asks, counts, strict=True)}

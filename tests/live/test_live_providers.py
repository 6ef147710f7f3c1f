"""Each provider whose key is in the environment, asked twice for a few words. It costs; run by `make
test-live`.

The models are small ones of their time; another is named by LIGHTBULB_LIVE_MODEL_OPENAI and its like."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.dialects.providers import PROVIDERS
from backends.http import HttpBackend
from harness.access.methods import access_method, resolved
from harness.config.load import parse_sweep
from harness.core.clock import RealClock
from harness.core.vocabulary import Completion, Message, Prompt, ReplyFormat

pytestmark = pytest.mark.live

MODELS = {
    "openai": "gpt-4.1-nano",
    "openrouter": "meta-llama/llama-3.1-8b-instruct",
    "together": "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
    "groq": "llama-3.1-8b-instant",
    "fireworks": "accounts/fireworks/models/llama-v3p1-8b-instruct",
    "deepseek": "deepseek-v4-flash",
    "mistral": "mistral-small-latest",
    "xai": "grok-3-mini",
    "cohere": "command-r7b-12-2024",
    "gemini": "gemini-2.5-flash-lite",
    "gemini-compat": "gemini-2.5-flash-lite",
    "anthropic": "claude-haiku-4-5",
}
MORE = {
    "openrouter": "allow_fallbacks = true",
    "deepseek": 'reasoning_effort = "none"',
    "xai": "tokens_max = 500",
}
PROMPT = Prompt(
    messages=(Message("system", "Answer with one word."), Message("user", "What colour is a clear sky?")),
    reply_format=ReplyFormat(regex="[A-Za-z]+", tokens_max=16),
    episode="e",
    item="i",
    seat="s",
    turn=0,
)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", MODELS)
def test_a_provider_answers_as_its_row_says(name: str, stream: bool) -> None:
    """A reply with its counts and, streamed, its pace."""
    variable = PROVIDERS[name].key_env
    assert variable is not None
    key = os.environ.get(variable)
    if not key:
        pytest.skip(f"{variable} is not set")
    model = os.environ.get(f"LIGHTBULB_LIVE_MODEL_{name.upper().replace('-', '_')}", MODELS[name])
    text = (
        f'name = "live"\n[games.taboo]\n[models.m.methods.a]\nprovider = "{name}"\nserved_name = "{model}"\n'
    )
    text += f"stream = {str(stream).lower()}\n{MORE.get(name, '')}\n"
    (_, part) = resolved(
        parse_sweep(text, source="live", known_games=["taboo"]), source=Path("live")
    ).methods()["m/a"]
    method = access_method("m/a", "m", part, None, part.base_url or "", source=Path("live"), concurrency=1)

    async def ask() -> Completion:
        async with open_connection_pool(
            requests_per_second_max=None, deadlines=Deadlines(timeout_s=60, first_byte_s=60)
        ) as wire:
            return await HttpBackend(
                method, DIALECTS[method.dialect], wire, key=key, clock=RealClock()
            ).complete(PROMPT)

    completion = anyio.run(ask)
    assert "blue" in completion.text.lower()
    assert completion.prompt_tokens
    assert completion.completion_tokens
    assert (completion.pace is not None) == stream

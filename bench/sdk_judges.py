"""The official SDKs as judges. A script for the Python of an environment that has them, run by
bench/conformance.py.

Reads one job as JSON from the standard input and prints a line for each case. An SDK that is not installed is
skipped with a line. The exit code is 1 if anything disagrees. Knows the SDKs and pydantic; imports nothing of
this program."""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import TypeAdapter, ValidationError


class Judge(typing.NamedTuple):
    """The SDK of a provider: its package, and its types of a request, an answer and an event of a stream."""

    package: str
    request: str
    answer: str
    event: str


OPENAI = Judge(
    "openai",
    "openai.types.chat.completion_create_params:CompletionCreateParams",
    "openai.types.chat:ChatCompletion",
    "openai.types.chat:ChatCompletionChunk",
)
# Golden folder -> its judge. Cohere, Gemini's compatible endpoint, DeepSeek, xAI, Fireworks and OpenRouter
# tell their users to take OpenAI's SDK for the endpoint that we call; Cohere's own SDK speaks another API.
JUDGES: Mapping[str, Judge] = {
    "openai_chat/openai": OPENAI,
    "openai_chat/azure": OPENAI,
    "openai_chat/deepseek": OPENAI,
    "openai_chat/cohere": OPENAI,
    "openai_chat/gemini-compat": OPENAI,
    "openai_chat/xai": OPENAI,
    "openai_chat/fireworks": OPENAI,
    "openai_chat/openrouter": OPENAI,
    "openai_chat/groq": Judge(
        "groq",
        "groq.types.chat.completion_create_params:CompletionCreateParams",
        "groq.types.chat:ChatCompletion",
        "groq.types.chat:ChatCompletionChunk",
    ),
    "openai_chat/together": Judge(
        "together",
        "together.types.chat.completion_create_params:CompletionCreateParams",
        "together.types.chat:ChatCompletion",
        "together.types.chat:ChatCompletionChunk",
    ),
    "openai_chat/mistral": Judge(
        "mistralai",
        "mistralai.client.models:ChatCompletionRequest",
        "mistralai.client.models:ChatCompletionResponse",
        "mistralai.client.models:CompletionChunk",
    ),
    "anthropic_messages/anthropic": Judge(
        "anthropic",
        "anthropic.types.message_create_params:MessageCreateParams",
        "anthropic.types:Message",
        "anthropic.types:RawMessageStreamEvent",
    ),
    "gemini/gemini": Judge(
        "google-genai",
        "google.genai.types:GenerationConfig",
        "google.genai.types:GenerateContentResponse",
        "google.genai.types:GenerateContentResponse",
    ),
}
# Fields that the types lack and that the provider's own page has; its row in providers.py names the page.
# Anthropic's SDK has dropped what its newest models refuse and its older ones take; Together's has no regular
# expressions.
BEYOND: Mapping[str, frozenset[str]] = {
    "openai_chat/openrouter": frozenset(("provider", "reasoning", "top_k", "seed")),
    "openai_chat/deepseek": frozenset(("thinking",)),
    "openai_chat/fireworks": frozenset(("top_k",)),
    "openai_chat/together": frozenset(("response_format",)),
    "anthropic_messages/anthropic": frozenset(("temperature", "top_p", "top_k")),
}


def main() -> None:
    job = json.load(sys.stdin)
    disagreements = 0
    for case in job["cases"]:
        judge = JUDGES[case["where"]]
        if (known := _version(judge.package)) is None:
            print(f"{case['where']}/{case['kind']}: skipped, {judge.package} is not installed")
            continue
        found = list(_judged(judge, case))
        disagreements += bool(found)
        print(f"{case['where']}/{case['kind']}: {known}: {'; '.join(found) or 'agrees'}")
    for name, (package, ask) in CLIENTS.items():
        if (known := _version(package)) is None:
            print(f"client of {name}: skipped, {package} is not installed")
            continue
        found = list(_played(ask, job))
        disagreements += bool(found)
        print(f"client of {name}: {known}: {'; '.join(found) or 'agrees'}")
    print(f"\n{len(job['cases'])} cases, {len(CLIENTS)} clients, {disagreements} disagreements")
    sys.exit(disagreements > 0)


@cache
def _version(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


@cache
def _type(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


# --- requests and answers -------------------------------------------------------------------------------


def _judged(judge: Judge, case: Mapping[str, Any]) -> Iterator[str]:
    """Yields what the SDK does not accept in a request body, a whole answer or the events of a stream."""
    if "request" in case:
        yield from _judged_request(case["where"], _type(judge.request), dict(case["request"]))
    elif "events" in case:
        for value in case["events"]:
            # The SDKs' readers drop pings, and take the nameless first event of Azure.
            if isinstance(value, dict) and value.get("type") != "ping" and value.get("object") != "":
                yield from _invalid(_type(judge.event), value)
    else:
        yield from _invalid(_type(judge.answer), case["answer"])


def _judged_request(where: str, request: Any, body: dict[str, Any]) -> Iterator[str]:
    if where.startswith("gemini"):  # its contents and settings are arguments of a method, not one type
        body = body.get("generationConfig", {})
    beyond = BEYOND.get(where, frozenset())
    if unknown := body.keys() - _fields(request) - beyond:
        yield f"fields that its types lack: {', '.join(sorted(unknown))}"
    yield from _invalid(request, {name: value for name, value in body.items() if name not in beyond})


def _fields(request: Any) -> set[str]:
    """Returns the names that a request type has: of a TypedDict, of a union of them, or of a model."""
    if hasattr(request, "model_fields"):
        return {field.alias or name for name, field in request.model_fields.items()}
    parts = typing.get_args(request) or (request,)
    return {name for part in parts for name in typing.get_type_hints(part)}


def _invalid(kind: Any, value: object) -> Iterator[str]:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        for part in error.errors()[:3]:
            yield f"{'.'.join(map(str, part['loc']))}: {part['msg']}"


# --- the SDKs' own clients, at our emulator -------------------------------------------------------------

Ask = Callable[[str, str, str, str, bool], str]
"""(address of the emulator without a path, key, model, prompt, streamed) -> the text of the reply"""
SETTINGS = {"max_tokens": 20, "temperature": 0}


def _played(ask: Ask, job: Mapping[str, Any]) -> Iterator[str]:
    """Yields where a client does not get the text that ours gets, or the error that it should."""
    address, key, model, prompt = job["address"], job["key"], job["model"], job["prompt"]
    expected: tuple[tuple[str, str, str, object], ...] = (
        ("a good request", key, model, job["text"]),
        ("a wrong key", "wrong", model, 401),
        ("an unknown model", key, "unknown", 404),
    )
    for form, stream in (("whole", False), ("streamed", True)):
        for what, with_key, with_model, right in expected:
            found: object
            try:
                found = ask(address, with_key, with_model, prompt, stream)
            except Exception as error:
                found = getattr(error, "status_code", None) or getattr(error, "code", None) or repr(error)
            if found != right:
                yield f"{form}: {what} gave {found!r}, not {right!r}"


def _openai(address: str, key: str, model: str, prompt: str, stream: bool) -> str:
    client = _type("openai:OpenAI")(base_url=f"{address}/v1", api_key=key, max_retries=0)
    return _chat(client, model, prompt, stream)


def _groq(address: str, key: str, model: str, prompt: str, stream: bool) -> str:
    return _chat(_type("groq:Groq")(base_url=address, api_key=key, max_retries=0), model, prompt, stream)


def _together(address: str, key: str, model: str, prompt: str, stream: bool) -> str:
    client = _type("together:Together")(base_url=address, api_key=key, max_retries=0)
    return _chat(client, model, prompt, stream)


def _chat(client: Any, model: str, prompt: str, stream: bool) -> str:
    messages = [{"role": "user", "content": prompt}]
    answer = client.chat.completions.create(model=model, messages=messages, seed=1, stream=stream, **SETTINGS)
    if not stream:
        return str(answer.choices[0].message.content)
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def _mistral(address: str, key: str, model: str, prompt: str, stream: bool) -> str:
    client = _type("mistralai.client:Mistral")(api_key=key, server_url=address)
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "random_seed": 1,
        **SETTINGS,
    }
    if not stream:
        return str(client.chat.complete(**asked).choices[0].message.content)
    events = client.chat.stream(**asked)
    return "".join(event.data.choices[0].delta.content or "" for event in events if event.data.choices)


def _anthropic(address: str, key: str, model: str, prompt: str, stream: bool) -> str:
    client = _type("anthropic:Anthropic")(base_url=address, api_key=key, max_retries=0)
    asked: dict[str, Any] = {
        "model": model,
        "max_tokens": SETTINGS["max_tokens"],
        "messages": [{"role": "user", "content": prompt}],
        "extra_body": {"temperature": SETTINGS["temperature"]},  # the SDK has dropped it
    }
    if not stream:
        return "".join(block.text for block in client.messages.create(**asked).content)
    with client.messages.stream(**asked) as events:
        return str(events.get_final_text())


def _gemini(address: str, key: str, model: str, prompt: str, stream: bool) -> str:
    client = _type("google.genai:Client")(api_key=key, http_options={"base_url": address})
    asked: dict[str, Any] = {
        "model": model,
        "contents": prompt,
        "config": {"max_output_tokens": SETTINGS["max_tokens"], "temperature": SETTINGS["temperature"]},
    }
    if not stream:
        return str(client.models.generate_content(**asked).text)
    return "".join(chunk.text or "" for chunk in client.models.generate_content_stream(**asked))


CLIENTS: Mapping[str, tuple[str, Ask]] = {
    "OpenAI": ("openai", _openai),
    "Groq": ("groq", _groq),
    "Together": ("together", _together),
    "Mistral": ("mistralai", _mistral),
    "Anthropic": ("anthropic", _anthropic),
    "Google": ("google-genai", _gemini),
}


if __name__ == "__main__":
    main()

"""The official SDKs of providers as judges of our requests, of our golden answers, and of our emulator.

    pip install '.[conformance]'            in an environment of its own: the SDKs pin much
    python -m bench.conformance

Three parts. Requests: every golden request body validates against the SDK's typed parameters and has no field
that they lack. Answers: every golden success, whole and streamed, parses by the SDK's models to the text that
we read. Emulator: the SDKs' own clients talk to our emulator, whole and streamed, and get the text that our
dialect reads. An SDK that is not installed is skipped with a line. Exit code 1 if anything disagrees."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

GOLDEN = Path(__file__).parents[1] / "tests" / "backends" / "dialects" / "golden"
# provider -> (package, dialect, module and name of its request type, of its answer, of its stream's events)
OPENAI = (
    "openai",
    "openai.types.chat.completion_create_params:CompletionCreateParams",
    "openai.types.chat:ChatCompletion",
    "openai.types.chat:ChatCompletionChunk",
)
JUDGES: Mapping[str, tuple[str, str, str, str]] = {
    "openai_chat/openai": OPENAI,
    "openai_chat/azure": OPENAI,
    "openai_chat/deepseek": OPENAI,
    "openai_chat/cohere": OPENAI,
    "openai_chat/gemini-compat": OPENAI,
    "openai_chat/xai": OPENAI,
    "openai_chat/fireworks": OPENAI,
    "openai_chat/openrouter": OPENAI,
    "openai_chat/groq": (
        "groq",
        "groq.types.chat.completion_create_params:CompletionCreateParams",
        "groq.types.chat:ChatCompletion",
        "groq.types.chat:ChatCompletionChunk",
    ),
    "openai_chat/together": (
        "together",
        "together.types.chat.completion_create_params:CompletionCreateParams",
        "together.types.chat:ChatCompletion",
        "together.types.chat:ChatCompletionChunk",
    ),
    "openai_chat/mistral": (
        "mistralai",
        "mistralai.client.models:ChatCompletionRequest",
        "mistralai.client.models:ChatCompletionResponse",
        "mistralai.client.models:CompletionChunk",
    ),
    "anthropic_messages/anthropic": (
        "anthropic",
        "anthropic.types.message_create_params:MessageCreateParams",
        "anthropic.types:Message",
        "anthropic.types:RawMessageStreamEvent",
    ),
    "gemini/gemini": (
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
    problems = 0
    for where, (package, *types) in JUDGES.items():
        try:
            judge = f"{package} {version(package)}"
        except PackageNotFoundError:
            print(f"{where}: skipped, {package} is not installed")
            continue
        request_type, answer_type, event_type = (_type(name) for name in types)
        for path in sorted((GOLDEN / where).glob("*.json")):
            case = json.loads(path.read_text("utf-8"))
            if path.stem != "request" and (case["status"] != 200 or "text" not in case.get("expected", {})):
                continue
            found = list(_judged(where, path.stem, case, request_type, answer_type, event_type))
            problems += len(found)
            print(f"{where}/{path.stem}: {judge}: {'; '.join(found) or 'agrees'}")
    problems += _emulator()
    print(f"\n{problems} disagreements")
    sys.exit(problems > 0)


def _type(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _judged(
    where: str, kind: str, case: dict[str, Any], request: Any, answer: Any, event: Any
) -> Iterator[str]:
    """Yields what the SDK does not accept in one golden file."""
    if kind == "request":
        body = dict(case["body"])
        if where.startswith("gemini"):
            yield from _invalid(request, body.get("generationConfig", {}))
            body = {}
        beyond = BEYOND.get(where, frozenset())
        if unknown := body.keys() - _fields(request) - beyond:
            yield f"fields that its types lack: {', '.join(sorted(unknown))}"
        if body:
            yield from _invalid(request, {name: value for name, value in body.items() if name not in beyond})
        return
    if "events" in case:
        for value in case["events"]:
            # The SDKs' readers drop pings, and take the nameless first event of Azure.
            if isinstance(value, dict) and value.get("type") != "ping" and value.get("object") != "":
                yield from _invalid(event, value)
    else:
        yield from _invalid(answer, case["body"])


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


# --- the emulator -----------------------------------------------------------------------------------------


def _emulator() -> int:
    """Lets the SDKs' clients talk to an emulator in a process of its own; returns the number of
    disagreements."""
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "emulate", "--port", "0", "--json", "skill=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        try:
            base_url = orjson.loads(process.stdout.readline())["base_url"]
            return sum(_talk(name, ask, base_url) for name, ask in CLIENTS.items())
        finally:
            process.terminate()


def _talk(name: str, ask: Callable[[str, bool], str], base_url: str) -> int:
    try:
        whole, streamed = ask(base_url, False), ask(base_url, True)
    except ImportError:
        print(f"emulator/{name}: skipped, the SDK is not installed")
        return 0
    agrees = whole == streamed and bool(whole.strip())
    print(f"emulator/{name}: {'agrees' if agrees else f'whole {whole!r}, streamed {streamed!r}'}")
    return not agrees


ASK = "Give a clue for the word 'lamp'. Do not say: light, bulb, shade."


def _openai(base_url: str, stream: bool) -> str:
    return _chat(_type("openai:OpenAI")(base_url=base_url, api_key="x", max_retries=0), stream)


def _together(base_url: str, stream: bool) -> str:
    address = base_url.removesuffix("/v1")  # it adds that itself
    return _chat(_type("together:Together")(base_url=address, api_key="x", max_retries=0), stream)


def _chat(client: Any, stream: bool) -> str:
    messages = [{"role": "user", "content": ASK}]
    answer = client.chat.completions.create(
        model="m", messages=messages, max_tokens=20, temperature=0, seed=1, stream=stream
    )
    if not stream:
        return str(answer.choices[0].message.content)
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def _anthropic(base_url: str, stream: bool) -> str:
    address = base_url.removesuffix("/v1")
    client = _type("anthropic:Anthropic")(base_url=address, api_key="x", max_retries=0)
    asked: dict[str, Any] = {
        "model": "m",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": ASK}],
        "extra_body": {"temperature": 0},  # the SDK has dropped it
    }
    if not stream:
        return "".join(block.text for block in client.messages.create(**asked).content)
    with client.messages.stream(**asked) as events:
        return str(events.get_final_text())


CLIENTS: Mapping[str, Callable[[str, bool], str]] = {
    "openai": _openai,
    "together": _together,
    "anthropic": _anthropic,
}


if __name__ == "__main__":
    main()

"""Wire formats as pure functions, and the table of dialects.

openai_chat         OpenAI's chat completions, which most servers speak
completions         plain completions: the chat template is applied on this side
anthropic_messages  Anthropic's Messages
gemini              Gemini's generateContent
prompt_logprobs     lets a server score a reply that another method wrote
providers           facts about providers, as data: addresses, names, refused parameters
responses           an HTTP response as bytes, and what the responses of all dialects share
error_responses     status, code and words of an error -> the CallError that it means
error_words         the words of errors, as data
sse                 server-sent events: the bytes of a stream -> events with their times
chunks              the JSON objects of an answer, whole or streamed, and whether its reply is complete
choices             reads answers with a list of choices, for the two dialects of OpenAI
logprobs            the log-probabilities of a reply's tokens, for the same two
grammar             a reply format as a grammar, for llama.cpp
chat_templates      Jinja templates as model folders carry them"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from backends.dialects import anthropic_messages, completions, gemini, openai_chat
from backends.dialects.providers import Provider
from backends.dialects.responses import HttpResponse
from harness.core.vocabulary import AccessMethod, Completion, Prompt


class DialectModule(Protocol):
    """A module that describes one wire format; openai_chat.py documents what each name promises."""

    MODELS_PATH: str

    def path(self, method: AccessMethod) -> str: ...
    def headers(self, row: Provider, key: str | None) -> dict[str, str]: ...
    def bodies(self, method: AccessMethod) -> Callable[[Prompt], dict[str, object]]: ...
    def read_answer(
        self, answer: HttpResponse, wall_s: float, row: Provider, good_ends: tuple[str, ...]
    ) -> Completion: ...
    def read_models(self, answer: HttpResponse, row: Provider) -> tuple[str, ...] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A wire format as functions; `dialect_of` makes one from a module."""

    path: Callable[[AccessMethod], str]
    models_path: str
    headers: Callable[[Provider, str | None], dict[str, str]]
    bodies: Callable[[AccessMethod], Callable[[Prompt], dict[str, object]]]
    read_answer: Callable[[HttpResponse, float, Provider, tuple[str, ...]], Completion]
    read_models: Callable[[HttpResponse, Provider], tuple[str, ...] | None]

    def request_body(self, method: AccessMethod, prompt: Prompt) -> dict[str, object]:
        """Returns one request body; a caller that sends many keeps `bodies(method)`."""
        return self.bodies(method)(prompt)


def dialect_of(module: DialectModule) -> Dialect:
    """Returns the dialect that this module's functions describe."""
    return Dialect(
        path=module.path,
        models_path=module.MODELS_PATH,
        headers=module.headers,
        bodies=module.bodies,
        read_answer=module.read_answer,
        read_models=module.read_models,
    )


DIALECTS: dict[str, Dialect] = {
    "openai_chat": dialect_of(openai_chat),
    "completions": dialect_of(completions),
    "anthropic_messages": dialect_of(anthropic_messages),
    "gemini": dialect_of(gemini),
}

"""Ways to reach a model: dialects (pure), sockets (http.py), engines of our own (local_server.py), a simulated provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backends.dialects import anthropic_messages, completions, gemini, openai_chat
from backends.dialects.providers import Provider
from backends.dialects.responses import HttpResponse
from backends.dialects.sse import EventStream
from harness.core.vocabulary import AccessMethod, Completion, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A wire format, as functions; see openai_chat.py for what each promises."""

    path: Callable[[AccessMethod], str]
    models_path: str
    headers: Callable[[Provider, str | None], dict[str, str]]
    bodies: Callable[[AccessMethod], Callable[[Prompt], dict[str, object]]]
    read_answer: Callable[[HttpResponse, float, Provider], Completion]
    read_stream: Callable[[EventStream, float, Provider], Completion]
    read_models: Callable[[HttpResponse, Provider], tuple[str, ...] | None]

    def request_body(self, method: AccessMethod, prompt: Prompt) -> dict[str, object]:
        """One body; whoever sends many keeps `bodies(method)`."""
        return self.bodies(method)(prompt)


DIALECTS: dict[str, Dialect] = {
    "openai_chat": Dialect(
        path=openai_chat.path,
        models_path=openai_chat.MODELS_PATH,
        headers=openai_chat.headers,
        bodies=openai_chat.bodies,
        read_answer=openai_chat.read_answer,
        read_stream=openai_chat.read_stream,
        read_models=openai_chat.read_models,
    ),
    "anthropic_messages": Dialect(
        path=anthropic_messages.path,
        models_path=anthropic_messages.MODELS_PATH,
        headers=anthropic_messages.headers,
        bodies=anthropic_messages.bodies,
        read_answer=anthropic_messages.read_answer,
        read_stream=anthropic_messages.read_stream,
        read_models=openai_chat.read_models,
    ),
    "gemini": Dialect(
        path=gemini.path,
        models_path=gemini.MODELS_PATH,
        headers=gemini.headers,
        bodies=gemini.bodies,
        read_answer=gemini.read_answer,
        read_stream=gemini.read_stream,
        read_models=gemini.read_models,
    ),
    "completions": Dialect(
        path=completions.path,
        models_path=openai_chat.MODELS_PATH,
        headers=openai_chat.headers,
        bodies=completions.bodies,
        read_answer=completions.read_answer,
        read_stream=completions.read_stream,
        read_models=openai_chat.read_models,
    ),
}

"""Ways to reach a model: dialects (pure), sockets (http.py), engines of our own (local_server.py), a simulated provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backends import openai_chat
from backends.answers import Answer
from backends.sse import Streamed
from harness.core.vocabulary import AccessMethod, Completion, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A wire format, as functions; see openai_chat.py for what each promises."""

    path: str
    models_path: str
    key_headers: Callable[[str], dict[str, str]]
    request_body: Callable[[AccessMethod, Prompt], dict[str, object]]
    read_answer: Callable[[Answer, float], Completion]
    read_stream: Callable[[Streamed, float], Completion]
    read_models: Callable[[Answer], tuple[str, ...] | None]


DIALECTS: dict[str, Dialect] = {
    "openai_chat": Dialect(
        path=openai_chat.PATH,
        models_path=openai_chat.MODELS_PATH,
        key_headers=openai_chat.key_headers,
        request_body=openai_chat.request_body,
        read_answer=openai_chat.read_answer,
        read_stream=openai_chat.read_stream,
        read_models=openai_chat.read_models,
    ),
}

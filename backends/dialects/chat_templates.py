"""How messages become one text: Jinja as model folders carry it.

Run in a sandbox that can neither change what it is given nor reach anything else. Templates are not told the date: prompts would change
by the day. Source: Hugging Face's documentation of chat templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

import jinja2
import jinja2.sandbox

from harness.core.errors import Rejected, SpecError
from harness.core.vocabulary import ChatTemplate, Message


def chat_template(text: str, config: Mapping[str, object]) -> ChatTemplate:
    """The template of a model folder.

    text     of chat_template.jinja; empty: what tokenizer_config.json says
    config   tokenizer_config.json
    raises   SpecError if there is none, or it is no template"""
    if not text:
        named = config.get("chat_template")
        if isinstance(named, list):  # several, by name
            named = next(
                (
                    one.get("template")
                    for one in named
                    if isinstance(one, dict) and one.get("name") == "default"
                ),
                None,
            )
        if not isinstance(named, str):
            raise SpecError(
                "has no chat template: neither chat_template.jinja nor chat_template in tokenizer_config.json"
            )
        text = named
    template = ChatTemplate(
        text=text, beginning=_token(config.get("bos_token")), end=_token(config.get("eos_token"))
    )
    try:
        _compiled(text)
    except jinja2.TemplateError as error:
        raise SpecError(f"is no chat template: {error}") from error
    return template


def rendered(template: ChatTemplate, messages: tuple[Message, ...]) -> str:
    """The prompt up to where the assistant's reply begins.

    raises  Rejected if the template will not have these messages"""
    try:
        return _compiled(template.text).render(
            messages=[{"role": message.role, "content": message.text} for message in messages],
            add_generation_prompt=True,
            bos_token=template.beginning,
            eos_token=template.end,
        )
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise Rejected(f"the chat template will not have these messages: {error}") from error


@lru_cache(maxsize=64)
def _compiled(text: str) -> jinja2.Template:
    sandbox = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    sandbox.filters["tojson"] = lambda value, indent=None: json.dumps(
        value, ensure_ascii=False, indent=indent
    )
    sandbox.globals["raise_exception"] = _refuse
    return sandbox.from_string(text)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _token(value: object) -> str:
    """A special token: its text, or an object around it."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else ""

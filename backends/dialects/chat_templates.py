"""Chat templates: messages -> one text, by the Jinja template of a model folder.

A template runs in a sandbox that cannot change its input or reach anything else. It does not get the date:
prompts would change from day to day. Source: Hugging Face's documentation of chat templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

import jinja2
import jinja2.sandbox

from harness.core.errors import Rejected, SpecError
from harness.core.vocabulary import ChatTemplate, Message


def chat_template(text: str, config: Mapping[str, object]) -> ChatTemplate:
    """Returns the template of a model folder.

    text     the content of chat_template.jinja; empty: the one in tokenizer_config.json
    config   the content of tokenizer_config.json
    raises   SpecError if there is no template, or it is not valid Jinja"""
    if not text:
        named = config.get("chat_template")
        if isinstance(named, list):  # several, by name
            named = next(
                (
                    entry.get("template")
                    for entry in named
                    if isinstance(entry, dict) and entry.get("name") == "default"
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
        raise SpecError(f"is not a valid chat template: {error}") from error
    return template


def rendered(template: ChatTemplate, messages: tuple[Message, ...]) -> str:
    """Returns the prompt up to where the assistant's reply begins.

    raises  Rejected if the template does not accept these messages"""
    try:
        return _compiled(template.text).render(
            messages=[{"role": message.role, "content": message.text} for message in messages],
            add_generation_prompt=True,
            bos_token=template.beginning,
            eos_token=template.end,
        )
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise Rejected(f"the chat template does not accept these messages: {error}") from error


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
    """Returns the text of a special token, which may be wrapped in an object."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else ""

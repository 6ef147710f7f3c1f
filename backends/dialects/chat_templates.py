"""Chat templates: messages -> one text, by the Jinja template of a model folder.

A template runs in a sandbox that cannot change its input or reach anything else, and whose operators make no
huge numbers or texts. It does not get the date: prompts would change from day to day. Does not promise: to
end a template that loops for long. Source: Hugging Face's documentation of chat templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sized
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.sandbox

from harness.core.errors import Rejected, SpecError
from harness.core.vocabulary import ChatTemplate, Message

POWER_MAX = 64  # of an exponent
TEXT_MAX = 1_000_000  # characters that an operator makes: longer than any prompt
WIDE_FIELD = re.compile(r"%[-+ #0]*(?:\d*\.)?(?:\d{4}|\*)")  # of a % format
FIRST_ASK = (Message("user", "Hello"),)


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
    try:
        rendered(template, FIRST_ASK)
    except Rejected as error:  # it may accept other messages, if it was not size that ended it
        if isinstance(error.__cause__, _TooLarge | RecursionError | MemoryError):
            raise SpecError(f"is not a usable chat template: {error}") from error
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
    except (
        jinja2.TemplateError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        RecursionError,
        MemoryError,
    ) as error:
        raise Rejected(f"the chat template does not accept these messages: {error}") from error


class _TooLarge(jinja2.TemplateError):
    """A number or text that no prompt needs."""


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """A sandbox whose operators refuse to make huge numbers and texts."""

    intercepted_binops = frozenset(("**", "*", "%"))

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and abs(right) > POWER_MAX:
            raise _TooLarge(f"an exponent of {right}")
        sizes = [len(side) for side in (left, right) if isinstance(side, Sized)]
        if operator == "*" and sizes and sizes[0] * _times(left, right) > TEXT_MAX:
            raise _TooLarge(f"a text of more than {TEXT_MAX:,} characters")
        if operator == "%" and isinstance(left, str) and WIDE_FIELD.search(left):
            raise _TooLarge("a field of more than 999 characters")
        return super().call_binop(context, operator, left, right)


def _times(left: object, right: object) -> int:
    return next((side for side in (left, right) if isinstance(side, int)), 1)


@lru_cache(maxsize=64)
def _compiled(text: str) -> jinja2.Template:
    sandbox = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
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

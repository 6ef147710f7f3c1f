"""The dialect of plain completions: the chat template is applied here, and the server continues a text.

So the one part of an access method that servers hide, how messages become a prompt, is ours: a swapped template shows in the comparison.
Pure: Prompt -> body, Answer -> Completion or the CallError it means. Templates are Jinja as model folders carry it, run in a sandbox that
can neither change what it is given nor reach anything else. They are not told the date: prompts would change by the day.
Source: the API reference of /v1/completions; Hugging Face's documentation of chat templates.
Does not promise: that a server adds no beginning-of-text token to one that the template wrote; vLLM is told not to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache

import jinja2
import jinja2.sandbox

from backends import sse
from backends.answers import Answer
from backends.openai_chat import Spoken, common, constraint, read_pieces, read_whole, tokens_name
from backends.providers import GENERIC, Provider, merge
from harness.core.errors import Rejected, SpecError
from harness.core.vocabulary import AccessMethod, ChatTemplate, Completion, Message, Prompt

_ADDS_BEGINNING = ("vllm",)  # they add a beginning-of-text token unless they are told not to


def path(method: AccessMethod) -> str:
    """After the base URL."""
    return "/completions"


def bodies(method: AccessMethod) -> Callable[[Prompt], dict[str, object]]:
    """What makes the JSON body that asks for one continuation; see openai_chat.bodies."""
    assert method.template is not None, "harness/ways/access.py reads it before a method is made"
    template, same, tokens_max = method.template, common(method), tokens_name(method)
    if method.provider in _ADDS_BEGINNING:
        same["add_special_tokens"] = False

    def body(prompt: Prompt) -> dict[str, object]:
        made: dict[str, object] = {
            "model": method.served_name,
            "prompt": rendered(template, prompt.messages),
            tokens_max: method.sampling.tokens_max or prompt.form.tokens_max,
            **same,
        }
        if method.constrain:
            merge(made, constraint(method, prompt.form))
        return made

    return body


def read_answer(answer: Answer, wall_s: float, row: Provider = GENERIC) -> Completion:
    """See openai_chat.read_answer."""
    return read_whole(answer, wall_s, row, _of_text)


def read_stream(streamed: sse.Streamed, wall_s: float, row: Provider = GENERIC) -> Completion:
    """See openai_chat.read_stream."""
    return read_pieces(streamed, wall_s, row, _of_text)


def _of_text(choice: Mapping[str, object], row: Provider) -> Spoken:
    text = choice.get("text")
    return Spoken(text=text if isinstance(text, str) else None, thoughts=None)


# --- templates ----------------------------------------------------------------------------------------------------------------


def chat_template(text: str, config: Mapping[str, object]) -> ChatTemplate:
    """The template of a model folder.

    text     of chat_template.jinja; empty: what tokenizer_config.json says
    config   tokenizer_config.json
    raises   SpecError if there is none, or it is no template"""
    if not text:
        named = config.get("chat_template")
        if isinstance(named, list):  # several, by name
            named = next((one.get("template") for one in named if isinstance(one, dict) and one.get("name") == "default"), None)
        if not isinstance(named, str):
            raise SpecError("has no chat template: neither chat_template.jinja nor chat_template in tokenizer_config.json")
        text = named
    template = ChatTemplate(text=text, beginning=_token(config.get("bos_token")), end=_token(config.get("eos_token")))
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
    sandbox = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    sandbox.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    sandbox.globals["raise_exception"] = _refuse
    return sandbox.from_string(text)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _token(value: object) -> str:
    """A special token: its text, or an object around it."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else ""

"""The dialect of plain completions: this side applies the chat template, and the server continues a text.

How messages become a prompt is the part of an access method that servers hide. Here it is ours, so an audit
can compare templates. Pure: Prompt -> body, HttpResponse -> Completion or the CallError that it means.
chat_templates.py is imported only when a template is needed. Source: the API reference of /v1/completions.
Does not promise: that a server adds no beginning-of-text token to the one that the template wrote; requests
to vLLM forbid it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backends.dialects.choices import ReplyParts, read_choices
from backends.dialects.openai_chat import MODELS_PATH as MODELS_PATH
from backends.dialects.openai_chat import NAMES as CHAT_NAMES
from backends.dialects.openai_chat import constraint, served_fields, tokens_max_name
from backends.dialects.openai_chat import headers as headers
from backends.dialects.openai_chat import read_models as read_models
from backends.dialects.providers import GENERIC, Provider, merge, sampling_fields
from backends.dialects.responses import HttpResponse
from harness.core.errors import Garbled
from harness.core.vocabulary import AccessMethod, Completion, Prompt

NAMES = CHAT_NAMES | {"logprobs": "logprobs"}
_ADDS_BEGINNING = ("vllm",)  # these servers add a beginning-of-text token unless the request forbids it


def path(method: AccessMethod) -> str:
    """Returns the path behind the base URL."""
    return "/completions"


def bodies(method: AccessMethod) -> Callable[[Prompt], dict[str, object]]:
    """Returns the function that makes the JSON body of one request; see openai_chat.bodies."""
    from backends.dialects.chat_templates import rendered

    assert method.template is not None, "harness/access/methods.py reads it before a method is made"
    template, tokens_max = method.template, tokens_max_name(method)
    shared = sampling_fields(method, NAMES) | served_fields(method)
    if method.provider in _ADDS_BEGINNING:
        shared["add_special_tokens"] = False

    def body(prompt: Prompt) -> dict[str, object]:
        fields: dict[str, object] = {
            "model": method.served_name,
            "prompt": rendered(template, prompt.messages),
            tokens_max: method.sampling.tokens_max or prompt.reply_format.tokens_max,
            **shared,
        }
        if method.constrain:
            merge(fields, constraint(method, prompt.reply_format))
        return fields

    return body


def read_answer(
    answer: HttpResponse, wall_s: float, row: Provider = GENERIC, good_ends: tuple[str, ...] = ()
) -> Completion:
    """Returns the completion; see openai_chat.read_answer."""
    return read_choices(answer, wall_s, row, good_ends, _text_parts)


def _text_parts(choice: Mapping[str, object], row: Provider) -> ReplyParts:
    text = choice.get("text")
    if text is None or isinstance(text, str):
        return ReplyParts(text, None)
    raise Garbled(f"the text of the answer is not a text but {type(text).__name__}", status=200)

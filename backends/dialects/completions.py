"""The dialect of plain completions: the chat template is applied here, and the server continues a text.

So the one part of an access method that servers hide, how messages become a prompt, is ours: a swapped template shows in the comparison.
Pure: Prompt -> body, HttpResponse -> Completion or the CallError it means. Templates: chat_templates.py, which is read when one is needed.
Source: the API reference of /v1/completions.
Does not promise: that a server adds no beginning-of-text token to one that the template wrote; vLLM is told not to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backends.dialects import sse
from backends.dialects.openai_chat import ReplyParts, common, constraint, read_pieces, read_whole, tokens_name
from backends.dialects.providers import GENERIC, Provider, merge
from backends.dialects.responses import HttpResponse
from harness.core.vocabulary import AccessMethod, Completion, Prompt

_ADDS_BEGINNING = ("vllm",)  # they add a beginning-of-text token unless they are told not to


def path(method: AccessMethod) -> str:
    """After the base URL."""
    return "/completions"


def bodies(method: AccessMethod) -> Callable[[Prompt], dict[str, object]]:
    """What makes the JSON body that asks for one continuation; see openai_chat.bodies."""
    from backends.dialects.chat_templates import rendered

    assert method.template is not None, "harness/access/methods.py reads it before a method is made"
    template, same, tokens_max = method.template, common(method), tokens_name(method)
    if method.provider in _ADDS_BEGINNING:
        same["add_special_tokens"] = False

    def body(prompt: Prompt) -> dict[str, object]:
        made: dict[str, object] = {
            "model": method.served_name,
            "prompt": rendered(template, prompt.messages),
            tokens_max: method.sampling.tokens_max or prompt.reply_format.tokens_max,
            **same,
        }
        if method.constrain:
            merge(made, constraint(method, prompt.reply_format))
        return made

    return body


def read_answer(answer: HttpResponse, wall_s: float, row: Provider = GENERIC) -> Completion:
    """See openai_chat.read_answer."""
    return read_whole(answer, wall_s, row, _of_text)


def read_stream(streamed: sse.EventStream, wall_s: float, row: Provider = GENERIC) -> Completion:
    """See openai_chat.read_stream."""
    return read_pieces(streamed, wall_s, row, _of_text)


def _of_text(choice: Mapping[str, object], row: Provider) -> ReplyParts:
    text = choice.get("text")
    return ReplyParts(text=text if isinstance(text, str) else None, thoughts=None)

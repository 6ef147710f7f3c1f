"""Chat templates: their inputs and their limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.dialects.chat_templates import chat_template, rendered
from harness.core.errors import Rejected, SpecError
from harness.core.vocabulary import ChatTemplate, Message

SAID = (
    Message("system", "Be brief."),
    Message("user", "Hi <b>"),
    Message("assistant", "Yes."),
    Message("user", "Go."),
)


def test_a_template_makes_the_prompt_that_the_server_would() -> None:
    """SmolLM2's template gave vLLM's plain completions the same token count and reply as its chat (both
    recorded)."""
    golden = Path(__file__).parent / "golden"
    usage = [
        json.loads((golden / way / "vllm" / "success.json").read_text("utf-8"))["expected"]
        for way in ("completions", "openai_chat")
    ]
    assert usage[0]["prompt_tokens"] == usage[1]["prompt_tokens"]
    assert usage[0]["text"] == usage[1]["text"]
    template = ChatTemplate(
        **json.loads((golden / "completions" / "vllm" / "request.json").read_text("utf-8"))["method"][
            "template"
        ]
    )
    assert rendered(template, SAID) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <b><|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
        "<|im_start|>user\nGo.<|im_end|>\n<|im_start|>assistant\n"
    )


def test_features_used_by_model_folders_work() -> None:
    """Loop controls, tojson without escapes, and raise_exception."""
    text = "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{{ m | tojson }}{% endfor %}"
    assert (
        rendered(ChatTemplate(text=text), SAID)
        == '{"role": "system", "content": "Be brief."}{"role": "user", "content": "Hi <b>"}'
    )
    refusing = ChatTemplate(text="{{ raise_exception('no system messages here') }}")
    with pytest.raises(Rejected, match="no system messages here"):
        rendered(refusing, SAID)


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ raise_exception.__globals__['os'].getcwd() }}",
        "{% include '/etc/passwd' %}",
        "{{ messages[9].role.x }}",
        "{% for a in range(10000000) %}{% endfor %}",
    ],
)
def test_a_template_can_do_nothing_else(text: str) -> None:
    """It can neither change its input nor reach Python, files or an endless loop; that is an error, not a
    crash."""
    with pytest.raises(Rejected):
        rendered(ChatTemplate(text=text), SAID)


def test_a_folder_without_a_template_is_refused() -> None:
    """A base model has none."""
    with pytest.raises(SpecError, match="has no chat template"):
        chat_template("", {"bos_token": "<s>"})


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{{ 'a' * 10**10 }}", "a text of more than 1,000,000 characters"),
        ("{{ [1] * 10**9 }}", "a text of more than 1,000,000 characters"),
        ("{{ 9 ** (9 ** 9) }}", "an exponent of 387420489"),
        ("{{ '%1000000000d' % 1 }}", "a field of more than 999 characters"),
        ("{{ '%.2000f' % 1 }}", "a field of more than 999 characters"),
        ("{{ '%*d' % (1000000000, 1) }}", "a field of more than 999 characters"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "recursion"),
    ],
)
def test_a_template_that_would_fill_the_memory_is_refused_when_it_is_read(text: str, cause: str) -> None:
    with pytest.raises(SpecError, match=f"is not a usable chat template: .*{cause}"):
        chat_template(text, {})


def test_ordinary_operators_work() -> None:
    text = "{{ '-' * 3 }}{{ 2 ** 10 }}{{ '%05.1f in 2024' % 3.14159 }}{{ 7 % 4 }}"
    assert rendered(chat_template(text, {}), SAID) == "---1024003.1 in 20243"


def test_a_template_may_refuse_the_first_message() -> None:
    """It is not refused when it is read: it may accept what is asked."""
    text = "{% if messages | length < 2 %}{{ raise_exception('more, please') }}{% endif %}ok"
    assert rendered(chat_template(text, {}), SAID) == "ok"

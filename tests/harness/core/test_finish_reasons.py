"""A finish reason says if a reply is complete."""

from __future__ import annotations

import pytest

from harness.core.finish_reasons import finish_kind, is_cut, stated_finish


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "good",
            "stop STOP length eos eos_token stop_sequence tool_calls function_call end_turn max_tokens MAX_TOKENS"
            " FinishReason.MAX_TOKENS finish_reason_stop maxTokens endTurn stopSequence model_length COMPLETE tool_use"
            " model_context_window_exceeded pause_turn normal max_output",
        ),
        (
            "filtered",
            "content_filter content_filter:PROHIBITED_CONTENT contentFilter SAFETY FINISH_REASON_SAFETY sensitive"
            " ERROR_TOXIC RECITATION BLOCKLIST PROHIBITED_CONTENT SPII LANGUAGE IMAGE_SAFETY guardrail_intervened refusal",
        ),
        (
            "failed",
            "abort error ERROR ERROR_LIMIT TIMEOUT network_error cancelled USER_CANCEL OTHER MALFORMED_FUNCTION_CALL"
            " UNEXPECTED_TOOL_CALL FINISH_REASON_UNSPECIFIED insufficient_system_resource error:overloaded load",
        ),
        ("unknown", "eureka repetition brother"),
    ],
)
def test_known_words(kind: str, words: str) -> None:
    """In any case and spelling, with the prefixes of enumerations."""
    assert {word: finish_kind(word) for word in words.split()} == dict.fromkeys(words.split(), kind)


def test_a_sweep_may_declare_an_end_good() -> None:
    """A word of its own, or one that the table has otherwise."""
    assert finish_kind("eureka", ("eureka",)) == "good"
    assert finish_kind("OTHER", ("other",)) == "good"
    assert finish_kind("eureka", ("",)) == "unknown"


def test_no_end_is_stated() -> None:
    """Null, nothing, and the texts that servers send for nothing."""
    assert [stated_finish(value) for value in (None, "", " ", "null", "None", 7, "stop")] == [None] * 6 + [
        "stop"
    ]


def test_a_cut_is_told_from_an_end() -> None:
    """Words of servers for a limit of length, in any case and with prefixes; no other good end."""
    cut = (
        "length",
        "max_tokens",
        "MAX_TOKENS",
        "FinishReason.MAX_TOKENS",
        "maxTokens",
        "model_length",
        "limit",
    )
    assert [is_cut(reason) for reason in cut] == [True] * len(cut)
    ends = ("stop", "eos_token", "end_turn", "stop_sequence", "", None)
    assert [is_cut(reason) for reason in ends] == [False] * len(ends)

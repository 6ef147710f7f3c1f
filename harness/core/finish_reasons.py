"""The table of finish reasons: which ends of a reply are good, which mean that a filter or a failure cut it.

Pure. The words are those of the API references of OpenAI, Anthropic, Gemini, Cohere, Mistral, Bedrock,
Hugging Face, DashScope, Zhipu, MiniMax and Baidu, and of the servers vLLM, SGLang, llama.cpp, TGI and Ollama.
Case, punctuation and the prefixes of enumerations do not count: `FinishReason.MAX_TOKENS`, `maxTokens` and
`max_tokens` are one word. harness/store/reply_ends.py makes the same decisions in SQL, from the same words.
Does not promise: to know a word that is not here; such an end is "unknown", and no reply rests on it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

FinishKind = Literal["good", "filtered", "failed", "unknown"]

# A limit of the request or of the model's context cut the reply.
CUT = frozenset((
    "length", "limit", "max_tokens", "max_token", "max_length", "max_new_tokens", "max_output", "max_output_tokens",
    "max_completion_tokens", "max_tokens_reached", "model_length", "model_context_window_exceeded", "token_limit",
))  # fmt: skip
# The model ended its reply, or a limit or stop text of the request did.
GOOD = CUT | frozenset((
    "stop", "stopped", "eos", "eos_token", "eos_token_id", "eos_found", "eot", "word",
    "end", "endoftext", "end_of_text", "end_turn", "end_of_turn",
    "stop_sequence", "stop_sequences", "stop_token", "stop_word", "stop_words", "stop_str", "stop_string",
    "tool_calls", "tool_call", "tool_use", "function_call", "function_calls", "pause_turn",
    "complete", "completed", "done", "finish", "finished", "normal", "success",
))  # fmt: skip
# Any word that contains one of these: a filter of the provider cut the reply or stopped it.
FILTERED_PARTS = (
    "filter", "sensitive", "safety", "toxic", "prohibited", "recitation", "blocklist", "blocked", "spii", "guardrail",
    "moderation", "refusal", "refused", "policy", "flagged", "censor", "inspection", "inappropriate", "violation",
)  # fmt: skip
# Any word that contains one of these: the provider gave the reply up.
FAILED_PARTS = (
    "abort", "error", "timeout", "timed_out", "network", "cancel", "fail", "insufficient", "overload", "interrupt",
    "disconnect", "unavailable", "exception", "crash", "incomplete", "malformed", "unexpected_tool_call",
    "too_many_tool_calls", "missing_thought_signature", "no_image", "internal",
)  # fmt: skip
# Whole words with one of these meanings; parts of longer words they are not.
FILTERED_WORDS = frozenset(
    ("language", "spii", "image_other")
)  # Gemini: an unsupported language, personal data
FAILED_WORDS = frozenset(("other", "load", "unload", "expired", "unspecified"))  # Gemini, Ollama
NONE_WORDS = frozenset(("", "null", "none"))  # DashScope and some gateways send a text for "not ended yet"
_PREFIX = re.compile(r"^(?:candidate_)?(?:finish|stop|end)_?reason_(?=.)")


def stated_finish(reason: object) -> str | None:
    """Returns the finish reason that an answer states; None if it states none."""
    if isinstance(reason, str) and reason.strip().lower() not in NONE_WORDS:
        return reason
    return None


def is_cut(reason: str | None) -> bool:
    """Returns whether this finish reason says that a limit of length ended the reply."""
    return reason is not None and _normalised(reason) in CUT


@lru_cache(1024)
def finish_kind(reason: str, good_ends: tuple[str, ...] = ()) -> FinishKind:
    """Returns what this finish reason says about the reply.

    good_ends   words that the sweep declares as good ends of this access method"""
    word = _normalised(reason)
    if word in GOOD or word in map(_normalised, good_ends):
        return "good"
    if word in FILTERED_WORDS or any(part in word for part in FILTERED_PARTS):
        return "filtered"
    if word in FAILED_WORDS or any(part in word for part in FAILED_PARTS):
        return "failed"
    return "unknown"


def _normalised(reason: str) -> str:
    """Returns the reason in lower case with underscores, without the prefix of an enumeration."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", reason.strip())
    word = re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")
    return _PREFIX.sub("", word)

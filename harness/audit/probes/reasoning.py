"""Answers about a model's thoughts: reasoning_effort, and thoughts that stand in replies. Pure.

Knows rows of probes. Where a provider does not count thoughts apart, all tokens of a reply stand for them:
the questions ask for a reply of one word. Keeps: chance decides only the labels of a permutation test, from a
fixed seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness.audit.probes.asks import EFFORTS, SUMS
from harness.audit.probes.rows import Reading, answered, untested
from harness.audit.scores.arrays import FloatArray
from harness.core.finish_reasons import is_cut
from harness.core.records import ProbeRecord

DRAWS = 1999
P_KEPT, P_IGNORED = 0.01, 0.02  # of "the effort changes nothing"; between the two nothing is claimed
LONGER = 1.3
"""Ratio of thoughts at high and at low below which an effort may have no effect. Emulated: 2.5 / .4 where it
is honoured, .75 to 1.3 where it is ignored, with a spread of .3 from reply to reply."""
MARKS = (
    *("<think>", "</think>", "<thinking>", "</thinking>", "<thought>", "</thought>"),
    *("<reasoning>", "</reasoning>", "<seed:think>", "</seed:think>", "[THINK]", "[/THINK]"),
    *(
        "<|channel|>analysis",
        "<|begin_of_thought|>",
        "<|end_of_thought|>",
        "\u25c1think\u25b7",
        "\u25c1/think\u25b7",
    ),
)
"""Marks of thoughts in the chat templates of open models: DeepSeek, Qwen, Granite, Mistral, Seed, gpt-oss,
Sky, Kimi."""


def effort(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that thoughts are longer at high than at low effort, by a label permutation test within
    questions."""
    asked = [row for row in answered(rows, "effort") if row.completion_tokens]
    questions = []
    for place in range(len(SUMS)):
        low, high = (
            np.log([_thought_tokens(row) for row in asked if row.name == f"{place} {effort}"])
            for effort in EFFORTS
        )
        if len(low) and len(high):
            questions.append((low, high))
    if not questions:
        return untested(rows, "effort")
    ratio = float(np.exp(np.mean([high.mean() - low.mean() for low, high in questions])))
    p = _longer_p(questions, np.random.default_rng(4))
    cut = sum(is_cut(row.finish_reason) for row in asked)
    figures = {"ratio": ratio, "p": p, "cut": cut}
    words = f"thoughts have {ratio:.1f} times as many tokens at high effort as at low (p = {p:.3f})"
    if p <= P_KEPT:
        return "kept", words, figures
    if 2 * cut > len(asked):
        return "unclear", f"{words}; {cut} of {len(asked)} were cut at the maximum", figures
    if p > P_IGNORED and ratio < LONGER:
        return "broken", f"{words}: reasoning_effort has no effect", figures
    return "unclear", words, figures


def thoughts(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that no reply contains a mark of thoughts."""
    replies = [row.reply for row in rows if row.reply]
    if not replies:
        return untested(rows, "greedy")
    marks = Counter(next((mark for mark in MARKS if mark in reply), None) for reply in replies)
    found = len(replies) - marks.pop(None, 0)
    if not found:
        return "kept", f"none of {len(replies)} replies contains a mark of thoughts", {}
    ((mark, _),) = marks.most_common(1)
    words = f"{found} of {len(replies)} replies contain {mark}, so thoughts are part of them; set thinks_aloud = true"
    return "broken", words, {"replies": len(replies), "with thoughts": found}


def _thought_tokens(row: ProbeRecord) -> float:
    counted = row.completion_tokens if row.reasoning_tokens is None else row.reasoning_tokens
    return float(1 + (counted or 0))


def _longer_p(questions: Sequence[tuple[FloatArray, FloatArray]], rng: np.random.Generator) -> float:
    """Returns the p of "high is not longer than low": (1 + count) / (draws + 1)."""
    sums = np.zeros(DRAWS + 1)
    for low, high in questions:
        values = np.concatenate([low, high])
        order = np.argsort(rng.random((DRAWS, len(values))), axis=1)
        orders = np.concatenate([np.arange(len(values))[None], order])
        permuted = values[orders]
        sums += permuted[:, len(low) :].mean(axis=1) - permuted[:, : len(low)].mean(axis=1)
    return float((1 + np.sum(sums[1:] >= sums[0] - 1e-12)) / (DRAWS + 1))

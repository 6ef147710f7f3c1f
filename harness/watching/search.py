"""Finds the panel of one method: asks each candidate a few times, then those whose answers differ again.

Knows a function that asks; nothing of gates or sockets. Keeps: no more calls than the budget."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from harness.core.errors import SpecError
from harness.watching.panel import MethodPanel, choose_panel, flip_share

CALLS_MAX = 3000
TRIES = 3  # of each candidate: an answer that flips half the time shows it with a chance of 3/4
CHUNK = 100  # candidates asked together
ENOUGH = 60  # prompts that flip, of which the best are taken
CONFIRMING = 10  # further tries of a prompt that flips
FIRST_SHARE = 0.8  # of the budget for candidates; the rest confirms


class FirstToken(NamedTuple):
    """The answer to a one-token call.

    margin   log-probability of the first token above that of the second; None: not stated"""

    text: str
    margin: float | None


AskTokens = Callable[[Sequence[str], int], Awaitable[dict[str, list[FirstToken]]]]
"""(prompts, tries) -> prompt -> the answers that came."""


async def find_panel(
    method: str, candidates: Sequence[str], ask: AskTokens, *, calls_max: int = CALLS_MAX
) -> MethodPanel:
    """Returns the panel of a method.

    candidates   asked in this order
    calls_max    one-token calls at most
    raises       SpecError if no call has a reply, or no reply has text"""
    answers: dict[str, list[str]] = {}
    margins: dict[str, float] = {}
    calls = 0

    async def take(prompts: Sequence[str], tries: int) -> None:
        nonlocal calls
        calls += len(prompts) * tries
        for prompt, tokens in (await ask(prompts, tries)).items():
            if not tokens:
                continue
            answers.setdefault(prompt, []).extend(token.text for token in tokens)
            stated = [token.margin for token in tokens if token.margin is not None]
            if stated:
                margins[prompt] = sum(stated) / len(stated)

    first = candidates[: int(FIRST_SHARE * calls_max) // TRIES]
    for start in range(0, len(first), CHUNK):
        await take(first[start : start + CHUNK], TRIES)
        if not answers:
            raise SpecError(f"{method}: none of {calls} one-token calls has a reply")
        if not any(any(texts) for texts in answers.values()):
            raise SpecError(
                f"{method}: no one-token reply of {calls} has text, as with a model that thinks first; lightbulb "
                "check says more"
            )
        if len(_flipping(answers)) >= ENOUGH:
            break
    flipping = _flipping(answers)[: min(ENOUGH, (calls_max - calls) // CONFIRMING)]
    if flipping:
        await take(flipping, CONFIRMING)
    return choose_panel(method, answers, margins, calls)


def _flipping(answers: dict[str, list[str]]) -> list[str]:
    return [prompt for prompt, texts in answers.items() if flip_share(texts) > 0]

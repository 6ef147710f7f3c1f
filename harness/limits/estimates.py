"""What a call will cost before it is made: learned from what calls like it did cost. Arithmetic."""

from __future__ import annotations

from typing import NamedTuple

CHARACTERS_A_TOKEN = 4.0  # English, common tokenizers; the first calls correct it
LEARNED_IN = 50  # calls; older ones fade at this pace


class CallCost(NamedTuple):
    """What a call takes of its provider's quotas. (A tuple, as several are made for every call.)"""

    requests: float = 1.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0

    @property
    def tokens(self) -> float:
        return self.input_tokens + self.output_tokens


class Estimates:
    """Tokens of calls to come. `kind` names calls that are alike: one game's one seat."""

    def __init__(self) -> None:
        self._characters_a_token = CHARACTERS_A_TOKEN
        self._output: dict[str, float] = {}

    def expect(self, kind: str, *, characters: int, tokens_max: int) -> CallCost:
        """Before the first of its kind a reply is expected to be as long as it may."""
        output = min(self._output.get(kind, float(tokens_max)), float(tokens_max))
        return CallCost(1.0, characters / self._characters_a_token, output)

    def learn(self, kind: str, *, characters: int, cost: CallCost) -> None:
        """Takes the provider's usage for a call of that kind and length."""
        if cost.input_tokens > 0:
            self._characters_a_token += (
                characters / cost.input_tokens - self._characters_a_token
            ) / LEARNED_IN
        known = self._output.get(kind)
        self._output[kind] = (
            cost.output_tokens if known is None else known + (cost.output_tokens - known) / LEARNED_IN
        )

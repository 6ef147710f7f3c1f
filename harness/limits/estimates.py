"""Estimates what a call will cost, from what earlier calls like it cost. Arithmetic."""

from __future__ import annotations

from typing import NamedTuple

# English text, common tokenizers (OpenAI's rule of thumb); the first calls correct it
CHARACTERS_A_TOKEN = 4.0
LEARNED_IN = 50  # calls: the time constant of the moving means; a game's reply lengths settle within that


class CallCost(NamedTuple):
    """The cost of a call in its provider's quotas. A tuple, because several are made for every call."""

    requests: float = 1.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0

    @property
    def tokens(self) -> float:
        return self.input_tokens + self.output_tokens


class Estimates:
    """Expected tokens of calls. `kind` names calls that are alike: those of one seat of one game."""

    def __init__(self) -> None:
        self._characters_a_token = CHARACTERS_A_TOKEN
        self._output: dict[str, float] = {}

    def expect(self, kind: str, *, characters: int, tokens_max: int) -> CallCost:
        """Returns the expected cost; before the first call of a kind, a reply is expected to be as long as it
        may."""
        output = min(self._output.get(kind, float(tokens_max)), float(tokens_max))
        return CallCost(1.0, characters / self._characters_a_token, output)

    def learn(self, kind: str, *, characters: int, cost: CallCost) -> None:
        """Takes the usage that the provider reported for a call of that kind and length."""
        if cost.input_tokens > 0:
            self._characters_a_token += (
                characters / cost.input_tokens - self._characters_a_token
            ) / LEARNED_IN
        known = self._output.get(kind)
        self._output[kind] = (
            cost.output_tokens if known is None else known + (cost.output_tokens - known) / LEARNED_IN
        )

"""Counts of what reached the emulated provider and what it did with it. Knows no clock."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import orjson


@dataclass(slots=True, kw_only=True)
class Statistics:
    """Counts of chat requests: all, answered, refused by a quota or a full queue, with a fault.

    arrivals   seconds after the start at which chat requests arrived; `admitted`: those that the quotas
               admitted"""

    requests: int = 0
    answered: int = 0
    refused: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    arrivals: array[float] = field(default_factory=lambda: array("d"))
    admitted: array[float] = field(default_factory=lambda: array("d"))

    def peak(self, window_s: float, *, of: array[float] | None = None) -> int:
        """Returns the largest number of requests (default: admitted ones) within any window of this
        length."""
        times, most, first = self.admitted if of is None else of, 0, 0
        for last, at_s in enumerate(times):
            while times[first] + window_s <= at_s:
                first += 1
            most = max(most, last - first + 1)
        return most

    def as_json(self) -> bytes:
        """Returns the counts as /emulator/statistics answers them, the times as their peaks."""
        return orjson.dumps(
            {
                "requests": self.requests,
                "answered": self.answered,
                "refused": self.refused,
                "faults": self.faults,
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "peak_a_second": self.peak(1.0, of=self.arrivals),
                "admitted_peak_a_minute": self.peak(60.0),
            }
        )

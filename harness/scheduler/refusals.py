"""Collects evidence that every call of an access method is refused, in whatever words. Knows no time and no
I/O.

No list of words recognises every wrong key, unknown model or empty account. So a method is closed by
evidence: after REFUSALS_MAX refusals of one kind and without any answer in this run. What a refused call
means for its episode is open until then: the method may yet answer, and then the request was at fault."""

from __future__ import annotations

import re
from collections import Counter

from harness.core.errors import AllRefused, Rejected, UnknownEnd

REFUSALS_MAX = 5  # calls spent on a method that cannot work, besides those in flight
_QUOTED_OR_DIGITS = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|\d+")


class Refusals:
    """The answers and refusals of all methods of a run.

    closings   method -> why it is closed"""

    def __init__(self) -> None:
        self._answered: set[str] = set()
        self._counts: dict[str, Counter[tuple[str, int | None, str]]] = {}
        self.closings: dict[str, AllRefused] = {}

    def answered(self, method: str) -> bool:
        """Says whether a call of this method was answered in this run."""
        return method in self._answered

    def note_answer(self, method: str) -> None:
        """Takes a good answer: from now on a refusal is that of one request."""
        if method not in self._answered:
            self._answered.add(method)
            self._counts.pop(method, None)

    def note_refusal(self, method: str, error: Rejected | UnknownEnd) -> AllRefused | None:
        """Takes a refusal; returns the reason to close the method once the evidence suffices."""
        if method in self._answered:
            return None
        counts = self._counts.setdefault(method, Counter())
        kind = (type(error).__name__, error.status, _masked(str(error)))
        counts[kind] += 1
        if counts[kind] >= REFUSALS_MAX and method not in self.closings:
            self.closings[method] = AllRefused(
                f"no call succeeded, and {counts[kind]} calls failed with the same error: {error}",
                status=error.status,
                request_id=error.request_id,
            )
        return self.closings.get(method)

    def check(self, method: str) -> None:
        """Raises the reason if the method is closed."""
        if (closing := self.closings.get(method)) is not None:
            raise AllRefused(str(closing), status=closing.status, request_id=closing.request_id)


def _masked(words: str) -> str:
    """Returns a message without what differs between two refusals of one kind: numbers and quoted parts."""
    return _QUOTED_OR_DIGITS.sub("#", words.lower())

"""Rows of one probe: those that were answered, and the reason where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from harness.core.records import ProbeRecord

Answer = Literal["kept", "broken", "unclear", "untested"]
Reading = tuple[Answer, str, Mapping[str, float]]
"""One probe's answer, its sentence, and the figures that the sentence rests on."""


def answered(rows: Sequence[ProbeRecord], kind: str) -> list[ProbeRecord]:
    """Returns the answered rows of one probe."""
    return [row for row in rows if row.kind == kind and row.reply is not None]


def texts_of(rows: Sequence[ProbeRecord], kind: str, name: str | None = None) -> list[str]:
    """Returns the replies to one probe, or to one of its questions, that are not empty.

    A model that thinks can use up a probe's tokens before its reply begins."""
    return [row.reply for row in answered(rows, kind) if row.reply and name in (None, row.name)]


def untested(rows: Sequence[ProbeRecord], kind: str) -> Reading:
    """Returns the reading of a probe without answers, with the provider's error text if there is one."""
    if answered(rows, kind) and not texts_of(rows, kind):
        return "untested", "all replies are empty: thoughts may take more tokens than the probe allows", {}
    errors = [row.error_text for row in rows if row.kind == kind and row.error_text]
    return "untested", f"not answered: {errors[0]}" if errors else "not asked", {}


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"

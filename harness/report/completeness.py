"""States how much of a sweep has ended, for tables and pages. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.completeness import MethodPlays


def plays_lines(plays: Sequence[MethodPlays]) -> list[str]:
    """Returns one line for a finished sweep, and for an unfinished one a line for each method below a first
    one; then a line about replies without a known end, if there are some."""
    return [*_progress_lines(plays), *_unknown_ends(plays)]


def _unknown_ends(plays: Sequence[MethodPlays]) -> list[str]:
    counts = ", ".join(
        f"{one.method} {one.unknown_ends:,} of {one.replies:,}" for one in plays if one.unknown_ends
    )
    if not counts:
        return []
    return [
        f"Replies without a known finish reason, which may be incomplete: {counts}. An earlier version "
        "stored them as good replies, and they still count."
    ]


def _progress_lines(plays: Sequence[MethodPlays]) -> list[str]:
    if all(one.complete for one in plays):
        return [f"All episodes have ended: {', '.join(map(_ended, plays))}."] if plays else []
    first = (
        "The sweep is not finished. Short episodes end first, so the episodes that have ended are not a fair "
        "sample. Scores and verdicts therefore use only complete blocks: a block is a quarter of the items, and it is "
        "complete when all its planned episodes have ended or failed."
    )
    return [first, *map(_line, plays)]


def _ended(one: MethodPlays) -> str:
    failed = f", {one.failed:,} failed" if one.failed else ""
    planned = (
        "" if one.planned is None or one.planned == one.ended + one.failed else f" of {one.planned:,} planned"
    )
    return f"{_name(one)} {one.ended:,}{planned}{failed}"


def _line(one: MethodPlays) -> str:
    if one.planned is None:
        return f"{_name(one)}: imported, {one.ended:,} ended, {one.failed:,} failed."
    blocks = (
        f"{one.whole_blocks} of {one.blocks} blocks are complete"
        if one.blocks
        else "its blocks are not known"
    )
    return (
        f"{_name(one)}: {one.planned:,} episodes planned, {one.ended:,} ended, {one.failed:,} failed, "
        f"{one.open:,} in progress, {one.never_begun:,} not started; {blocks}."
    )


def _name(one: MethodPlays) -> str:
    """Returns the method's name; "(again)" is the stored word for the second run of a reference."""
    return one.method.replace(" (again)", " (second run)")

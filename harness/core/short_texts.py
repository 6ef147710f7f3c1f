"""Short texts: names and lines that are cut with an ellipsis where they are too long, and durations."""

from __future__ import annotations


def middle_cut(name: str, width: int) -> str:
    """Returns the name, cut in the middle where it is longer than the width: its beginning and its end tell
    it from others."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{name[: width - 1 - end]}…{name[len(name) - end :]}"


def cut_end(text: str, width: int) -> str:
    """Returns the text, cut behind a word where it is longer than the width: no number is cut."""
    if len(text) <= width:
        return text
    words, space, _ = text[: width - 1].rpartition(" ")
    return f"{words} …" if space else f"{text[: max(1, width - 1)]}…"


def clock_duration(seconds: float) -> str:
    """Formats a duration: 0:07, 3:12, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

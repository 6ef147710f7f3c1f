"""Presents a sweep that runs in a notebook as a line that changes in place: a bar, episodes, the time to the
end, errors and cost.

Knows IPython only where it is loaded, as it is in a notebook. Keeps: the line holds numbers alone, no name or
text of a provider."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from harness.core.protocols import Clock
from harness.progress.snapshot import ProgressSnapshot
from harness.progress.views import EVENT_PERIOD_S, Progress
from harness.progress.words import all_line

Display = Callable[[str], object]


def notebook_display() -> Display | None:
    """Returns what shows HTML in the notebook's cell, each time in place of the last; None where no notebook
    runs."""
    if "IPython" not in sys.modules:
        return None
    if not hasattr(import_module("IPython").get_ipython(), "kernel"):  # IPython in a terminal
        return None
    display = import_module("IPython.display")
    handle = display.display(display.HTML(""), display_id=True)
    return lambda text: handle.update(display.HTML(text))


async def live(progress: Progress, display: Display, *, clock: Clock) -> None:
    """Shows the bar each second until it is cancelled, and once more then."""
    try:
        while True:
            display(bar(progress.snapshot()))
            await clock.sleep(EVENT_PERIOD_S)
    finally:
        display(bar(progress.snapshot()))


def bar(snapshot: ProgressSnapshot) -> str:
    """Returns the moment as a line of HTML."""
    done, planned = (sum(getattr(lane, name) for lane in snapshot.methods) for name in ("done", "planned"))
    return f'<progress value="{done}" max="{planned}" style="width: 16em"></progress> {all_line(snapshot)}'

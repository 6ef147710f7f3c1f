"""A server's reports say how long a queue stands."""

from __future__ import annotations

from harness.core.vocabulary import ServerLoad
from harness.limits.queue_delay import QueueDelay


def waiting_after(*loads: tuple[int, int, int | None]) -> list[int | None]:
    """Returns the update of each report (running, waiting, steps), in order."""
    queue = QueueDelay()
    return [
        queue.update(ServerLoad(running=running, waiting=waiting, steps=steps))
        for running, waiting, steps in loads
    ]


def test_a_queue_stands_when_it_is_there_three_times() -> None:
    """Its shortest length of three reports counts; until then 1; an empty queue counts as 0 at once."""
    assert waiting_after((8, 0, 1), (8, 30, 2), (8, 12, 3), (8, 20, 4), (8, 25, 5), (8, 0, 6), (8, 9, 7)) == [
        0,
        1,
        1,
        12,
        12,
        0,
        1,
    ]


def test_old_figures_say_nothing() -> None:
    """A report with the step number of the last one counts for nothing, unless the server is idle."""
    assert waiting_after((8, 30, 5), (8, 30, 5), (8, 30, 5), (8, 30, 6), (0, 0, 6)) == [1, None, None, 1, 0]


def test_every_report_without_a_step_number_counts() -> None:
    """Such a server gives no sign of an old report."""
    assert waiting_after((8, 30, None), (8, 30, None), (8, 30, None)) == [1, 1, 30]

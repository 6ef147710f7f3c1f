"""What of a queue stands."""

from __future__ import annotations

from harness.core.vocabulary import ServerLoad
from harness.limits.queue_delay import QueueDelay


def heard(*loads: tuple[int, int, int | None]) -> list[int | None]:
    """What is made of loads (running, waiting, steps), one after the other."""
    queue = QueueDelay()
    return [
        queue.hear(ServerLoad(running=running, waiting=waiting, steps=steps))
        for running, waiting, steps in loads
    ]


def test_a_queue_stands_when_it_is_there_three_times() -> None:
    """Then its shortest length counts; until then it may be passing; an empty one is empty at once."""
    assert heard((8, 0, 1), (8, 30, 2), (8, 12, 3), (8, 20, 4), (8, 25, 5), (8, 0, 6), (8, 9, 7)) == [
        0,
        1,
        1,
        12,
        12,
        0,
        1,
    ]


def test_old_figures_say_nothing() -> None:
    """A server in the middle of a long step tells what it told before; one that has nothing to do tells the truth."""
    assert heard((8, 30, 5), (8, 30, 5), (8, 30, 5), (8, 30, 6), (0, 0, 6)) == [1, None, None, 1, 0]


def test_a_server_that_counts_no_steps_is_believed() -> None:
    """Every look counts."""
    assert heard((8, 30, None), (8, 30, None), (8, 30, None)) == [1, 1, 30]

"""The window and the breaker: growth, cuts, rests."""

from __future__ import annotations

from harness.limits.breaker import FAILURES_IN_ROW, Breaker
from harness.limits.window import Window


def grow(window: Window, rounds: int, *, sent_s: float = 0.0, now_s: float = 0.0, used: float = 1.0) -> None:
    for _ in range(rounds):
        for _ in range(window.size):
            window.clean(sent_s=sent_s, now_s=now_s, in_flight=int(window.size * used))


def test_slow_start_doubles_a_round_up_to_the_ceiling() -> None:
    """8, 16, 32, and no more than the ceiling."""
    window = Window(start=8, ceiling=40)
    sizes = []
    for _ in range(4):
        grow(window, 1)
        sizes.append(window.size)
    assert sizes == [16, 32, 40, 40]


def test_a_window_that_is_not_used_does_not_grow() -> None:
    """Half-used rounds say nothing about capacity."""
    window = Window(start=10, ceiling=100)
    grow(window, 5, used=0.5)
    assert window.size == 10


def test_one_cut_for_one_trouble() -> None:
    """Twenty refusals of calls that were all under way at the first one cut once; a later call's refusal cuts
    again."""
    window = Window(start=100, ceiling=100)
    cuts = [window.trouble(sent_s=1.0, now_s=2.0 + 0.01 * number) for number in range(20)]
    assert cuts == [True] + [False] * 19
    assert window.size == 70
    assert window.trouble(sent_s=3.0, now_s=4.0)
    assert window.size == 49


def test_after_a_cut_growth_is_one_a_round_and_only_by_later_calls() -> None:
    """What was under way at the cut says nothing; then about one more a round."""
    window = Window(start=20, ceiling=100)
    window.trouble(sent_s=1.0, now_s=2.0)
    grow(window, 3, sent_s=1.5)
    assert window.size == 14
    grow(window, 3, sent_s=3.0)
    assert window.size == 16  # a little under one a round: the window grows while the round is counted


def test_a_window_ramps() -> None:
    """However quick the answers, no more than 200 new connections a second."""
    window = Window(start=8, ceiling=2_000)
    sizes = []
    for second in range(4):
        grow(window, 20, now_s=float(second))
        sizes.append(window.size)
    assert sizes == [208, 408, 608, 808]


def test_after_a_storm_a_window_starts_anew() -> None:
    """Back to its first size, then slow start up to what the cut before the storm left, then one a round."""
    window = Window(start=8, ceiling=1_000)
    grow(window, 7, now_s=0.0)
    assert window.size == 208
    window.trouble(sent_s=1.0, now_s=2.0)
    window.restart(now_s=3.0)
    assert window.size == 8
    for second in range(4, 9):
        grow(window, 1, sent_s=3.5, now_s=float(second))
    assert 145 <= window.size <= 147
    grow(window, 1, sent_s=3.5, now_s=9.0)
    assert window.size <= 148


def test_a_window_never_shuts() -> None:
    """However much trouble, one call may be in flight."""
    window = Window(start=4, ceiling=4)
    for number in range(50):
        window.trouble(sent_s=number + 0.5, now_s=number + 1.0)
    assert window.size == 1


def test_a_storm_opens_the_breaker_and_each_failed_probe_doubles_the_rest() -> None:
    """Failures in a row rest the gate; stragglers of the storm do not count as probes; one success closes
    it."""
    breaker = Breaker()
    rests = [breaker.failure(sent_s=0.0, now_s=1.0) for _ in range(FAILURES_IN_ROW)]
    assert rests == [None] * (FAILURES_IN_ROW - 1) + [2.0]
    assert breaker.probing
    assert breaker.failure(sent_s=0.5, now_s=1.5) is None
    assert breaker.failure(sent_s=3.0, now_s=4.0) == 4.0
    assert breaker.failure(sent_s=8.0, now_s=9.0) == 8.0
    breaker.success()
    assert not breaker.probing
    assert breaker.failure(sent_s=20.0, now_s=21.0) is None


def test_where_a_server_tells_its_load_the_window_follows_its_queue() -> None:
    """It doubles while there is no queue, stays at a short one, and takes back what is too much, once; clean
    answers no longer count."""
    window = Window(start=8, ceiling=1024)
    sizes = []
    for running, waiting, in_flight in [
        (8, 0, 8),
        (16, 0, 16),
        (32, 0, 32),
        (40, 24, 64),
        (40, 24, 64),
        (40, 4, 44),
        (40, 1, 44),
    ]:
        window.update_load(running=running, waiting=waiting, in_flight=in_flight)
        grow(window, 1)
        sizes.append(window.size)
    assert sizes == [16, 32, 64, 44, 44, 44, 44]


def test_after_the_first_queue_growth_is_by_an_eighth() -> None:
    """The size is known by then; what changes is how long the replies are."""
    window = Window(start=64, ceiling=1024)
    window.update_load(running=40, waiting=24, in_flight=64)
    assert window.size == 44
    window.update_load(running=44, waiting=0, in_flight=44)
    assert window.size == 49
    window.update_load(running=10, waiting=0, in_flight=10)
    assert window.size == 49  # it is not used
    window.update_load(running=10, waiting=0, in_flight=49)
    assert window.size == 49  # the server has not seen them all yet


def test_of_a_common_queue_everyone_takes_back_his_share() -> None:
    """Who has a quarter of the requests gives up a quarter of what is too much."""
    window = Window(start=25, ceiling=100)
    window.update_load(running=60, waiting=40, in_flight=25)
    assert window.size == 16  # a quarter of 34


def test_short_queues_never_shut_the_window() -> None:
    """One long request at a time, and everything else waiting: a few may still be sent."""
    window = Window(start=8, ceiling=8)
    for _ in range(50):
        window.update_load(running=1, waiting=7, in_flight=8)
    assert window.size == 3

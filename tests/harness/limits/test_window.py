"""The window: growth, cuts on evidence, and back."""

from __future__ import annotations

import pytest

from harness.limits.window import COMPARED_MIN, Window, WindowChange


def grow(window: Window, rounds: int, *, sent_s: float = 0.0, now_s: float = 0.0, used: float = 1.0) -> None:
    """Serves so many rounds of calls, each with as many in flight as the window allows."""
    for _ in range(rounds):
        for _ in range(window.size):
            in_flight = int(window.size * used)
            window.sent(in_flight)
            window.served(sent_s=sent_s, sent_with=in_flight, now_s=now_s, in_flight=in_flight)


def fail(
    window: Window, calls: int, *, sent_s: float, now_s: float, sent_with: int | None = None
) -> list[WindowChange]:
    """Returns the changes that so many failures in a row make."""
    changes = []
    for _ in range(calls):
        with_others = sent_with or window.size
        window.sent(with_others)
        changes.append(
            window.failed(sent_s=sent_s, sent_with=with_others, now_s=now_s, in_flight=with_others)
        )
    return [change for change in changes if change is not None]


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


def test_a_single_failure_cuts_nothing() -> None:
    """Nor do two; the third in a row is evidence."""
    window = Window(start=100, ceiling=100)
    grow(window, 5)
    assert fail(window, 2, sent_s=1.0, now_s=1.0) == []
    (change,) = fail(window, 1, sent_s=1.0, now_s=1.0)
    assert (change.before, change.after, change.share) == (100, 70, 1.0)
    assert window.size == 70


def test_one_cut_for_one_trouble() -> None:
    """Twenty failures of calls that were sent before the cut change nothing more; later calls' failures cut
    again."""
    window = Window(start=100, ceiling=100)
    grow(window, 5)
    assert len(fail(window, 20, sent_s=1.0, now_s=2.0)) == 1
    assert [change.after for change in fail(window, 4, sent_s=3.0, now_s=4.0)] == [49]


def test_refusals_beyond_a_number_in_flight_make_that_number_the_window() -> None:
    """While it grows, the 41st call in flight and those beyond it are refused: the provider has 40 places."""
    window = Window(start=8, ceiling=64)
    grow(window, 2)
    for _ in range(40):
        window.sent(40)
        window.served(sent_s=0.0, sent_with=40, now_s=0.0, in_flight=window.size)
    changes = [
        change
        for sent_with in (43, 41, 42, 44)
        for change in fail(window, 1, sent_s=1.0, now_s=1.0, sent_with=sent_with)
    ]
    assert [change.after for change in changes] == [40]


def test_a_known_limit_is_kept_and_tried_more_and_more_rarely() -> None:
    """A provider with 40 places refuses each call beyond them: the window stays near 40, and few calls are
    refused."""
    window, refused, sizes = Window(start=8, ceiling=64), list[float](), list[int]()
    for second in range(200):
        at_s, size = float(second), window.size
        for number in range(1, size + 1):
            window.sent(number)
            if number > 40:
                window.failed(sent_s=at_s, sent_with=number, now_s=at_s + 0.05, in_flight=number)
                refused.append(at_s)
        for number in range(1, min(size, 40) + 1):
            window.served(sent_s=at_s, sent_with=number, now_s=at_s + 0.9, in_flight=size)
        sizes.append(window.size)
    assert min(sizes[20:]) >= 36
    assert max(sizes[20:]) <= 45
    assert sum(at_s >= 100.0 for at_s in refused) <= 0.06 * 40 * 100


def test_after_a_cut_it_grows_fast_to_nine_tenths_and_then_slowly() -> None:
    """Calls sent before the cut change nothing; then a round brings 70 to 90, and each further one about 2
    %."""
    window = Window(start=100, ceiling=100)
    grow(window, 5)
    fail(window, 3, sent_s=1.0, now_s=2.0)
    grow(window, 3, sent_s=1.5)
    assert window.size == 70
    grow(window, 1, sent_s=3.0, now_s=3.0)
    assert 90 <= window.size <= 91
    grow(window, 1, sent_s=4.0, now_s=4.0)
    assert 92 <= window.size <= 93


def test_beyond_the_former_size_slow_start_goes_on() -> None:
    """An early false alarm at a small size does not hold the window there."""
    window = Window(start=10, ceiling=1_000)
    fail(window, 3, sent_s=1.0, now_s=2.0)
    for second in range(3, 14):
        grow(window, 1, sent_s=float(second), now_s=float(second))
    assert window.size > 100


def test_a_cut_that_does_not_help_is_undone() -> None:
    """If a quarter of the calls fails at any number in flight, the cut is undone, and a quarter is usual from
    then on."""
    window, changes = Window(start=64, ceiling=64), list[WindowChange]()
    window.served_with = 64.0
    for number in range(4_000):
        size, sent_s = window.size, 0.1 * number
        window.sent(size)
        if number % 4 == 0:
            change = window.failed(sent_s=sent_s, sent_with=size, now_s=sent_s + 0.05, in_flight=size)
            changes += [change] if change else []
        else:
            window.served(sent_s=sent_s, sent_with=size, now_s=sent_s + 0.05, in_flight=size)
    assert [change.after < change.before for change in changes[:2]] == [True, False]
    assert len(changes) <= 4
    assert window.size >= 60


def test_a_window_ramps() -> None:
    """However quick the answers, no more than 200 new connections a second."""
    window = Window(start=8, ceiling=2_000)
    sizes = []
    for second in range(4):
        grow(window, 20, now_s=float(second))
        sizes.append(window.size)
    assert sizes == [208, 408, 608, 808]


def test_after_an_outage_a_window_is_full_again_after_three_rounds() -> None:
    """It begins with a quarter of its former size, whatever was cut in the outage, and grows fast to nine
    tenths."""
    window = Window(start=8, ceiling=64)
    grow(window, 8)
    assert window.size == 64
    for number in range(4):
        fail(window, 5, sent_s=number + 1.0, now_s=number + 1.5)
    window.restart(now_s=6.0)
    assert window.size == 16
    sizes = []
    for second in range(7, 10):
        grow(window, 1, sent_s=float(second), now_s=float(second))
        sizes.append(window.size)
    assert sizes == [32, 58, 59]


def test_a_window_never_shuts() -> None:
    """However much trouble, one call may be in flight."""
    window = Window(start=4, ceiling=4)
    for number in range(50):
        fail(window, 5, sent_s=number + 0.5, now_s=number + 1.0)
    assert window.size == 1


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
    """A client with a quarter of the requests gives up a quarter of the excess."""
    window = Window(start=25, ceiling=100)
    window.update_load(running=60, waiting=40, in_flight=25)
    assert window.size == 16  # a quarter of 34


def test_short_queues_never_shut_the_window() -> None:
    """One long request at a time, and everything else waiting: a few may still be sent."""
    window = Window(start=8, ceiling=8)
    for _ in range(50):
        window.update_load(running=1, waiting=7, in_flight=8)
    assert window.size == 3


def test_the_share_of_failures_counts_each_call_once() -> None:
    """A quarter of the calls fails: the change of the window says so."""
    window = Window(start=40, ceiling=40)
    grow(window, 3)
    fail(window, 3, sent_s=1.0, now_s=2.0)
    for number in range(200):
        window.sent(20)
        if number % 4:
            window.served(sent_s=3.0, sent_with=20, now_s=3.0, in_flight=1)
            continue
        change = window.failed(sent_s=3.0, sent_with=20, now_s=3.0, in_flight=20)
        if change is not None:
            assert 0.2 <= change.share <= 0.35
            break
    else:
        raise AssertionError("no change of the window")


def test_one_call_more_than_were_ever_served_together_is_a_limit_of_places() -> None:
    """40 were served together and the 41st is refused: 40 places, not 0.7 of the window."""
    window = Window(start=41, ceiling=41)
    for _ in range(2_000):
        window.sent(40)
        window.served(sent_s=0.0, sent_with=40, now_s=0.0, in_flight=1)
    (change,) = fail(window, 3, sent_s=1.0, now_s=1.0, sent_with=41)
    assert (change.before, change.after) == (41, 40)


def test_places_are_told_from_chance_by_the_share_that_fails() -> None:
    """Four fifths of the calls sent with 41 in flight must fail to make 40 a limit of places."""
    for others, after in ((0, 40), (1, 28)):
        window = Window(start=41, ceiling=41)
        for _ in range(2_000):
            window.sent(40)
            window.served(sent_s=0.0, sent_with=40, now_s=0.0, in_flight=1)
        changes = fail(window, 1, sent_s=1.0, now_s=1.0, sent_with=41)
        for _ in range(1 + others):
            window.sent(41)
        changes += fail(window, 2, sent_s=1.0, now_s=1.0, sent_with=41)
        if not changes:
            changes += fail(window, 1, sent_s=1.0, now_s=1.0, sent_with=41)
        assert [change.after for change in changes] == [after]


def test_a_call_sent_at_the_moment_of_a_cut_counts_for_nothing() -> None:
    """Only calls sent after a cut are evidence for a further one, or for growth."""
    window = Window(start=100, ceiling=100)
    grow(window, 5)
    assert len(fail(window, 3, sent_s=1.0, now_s=2.0)) == 1
    assert fail(window, 10, sent_s=2.0, now_s=3.0) == []
    grow(window, 3, sent_s=2.0, now_s=3.0)
    assert window.size == 70


def test_a_window_of_one_has_no_cut() -> None:
    """Trouble at a window of one changes nothing, so there is nothing to report."""
    window = Window(start=1, ceiling=4)
    assert fail(window, 20, sent_s=1.0, now_s=1.5) == []
    assert window.size == 1


def test_a_small_window_grows_by_one_after_a_queue() -> None:
    """An eighth of a small window is less than a call: it grows by one."""
    window = Window(start=8, ceiling=8)
    window.update_load(running=4, waiting=4, in_flight=8)
    assert window.size == 6
    window.update_load(running=6, waiting=0, in_flight=6)
    assert window.size == 7


def test_a_long_queue_of_others_leaves_one_call() -> None:
    """Our one call in a hundred that wait: the window falls to one, and not below."""
    window = Window(start=8, ceiling=8)
    for _ in range(20):
        window.update_load(running=1, waiting=100, in_flight=1)
    assert window.size == 1


HELD = COMPARED_MIN - 1  # calls after a cut until the window may grow


def serve(window: Window, calls: int, *, at_s: float = 9.0) -> list[int]:
    """Returns the sizes after each of so many served calls, each sent with as many in flight as may be."""
    sizes = []
    for _ in range(calls):
        window.sent(window.size)
        window.served(sent_s=at_s, sent_with=window.size, now_s=at_s, in_flight=window.size)
        sizes.append(window.size)
    return sizes


def cut(window: Window, *, at_s: float) -> int:
    """Returns the size after calls fail, one sent with no others in flight among them, until there is a
    cut."""
    while not fail(window, 1, sent_s=at_s, now_s=at_s, sent_with=1):
        pass
    return window.size


def test_the_number_served_together_moves_by_a_thirty_second() -> None:
    """Only calls sent with nearly as many in flight as ever count: 36 of 40, and not 35."""
    window = Window(start=64, ceiling=64)
    assert window.served_with == 0.0
    window.served(sent_s=1.0, sent_with=32, now_s=1.0, in_flight=1)
    assert window.served_with == 1.0
    for sent_with, served_with in ((36, 39.875), (35, 40.0)):
        window.served_with = 40.0
        window.served(sent_s=1.0, sent_with=sent_with, now_s=1.0, in_flight=1)
        assert window.served_with == served_with


def test_four_fifths_in_flight_are_use() -> None:
    """At a window of ten eight calls in flight make it grow, and seven do not."""
    for in_flight, size in ((7, 10), (8, 11)):
        window = Window(start=10, ceiling=20)
        window.served(sent_s=1.0, sent_with=in_flight, now_s=1.0, in_flight=in_flight)
        assert window.size == size


def test_growth_by_one_a_call_ends_at_nine_tenths_of_the_former_size() -> None:
    """A window of ten falls to seven, though nothing was served before. It stays there for the fifteen calls
    that are too few to tell if the cut helped; the third call after them finds it at nine."""
    window = Window(start=10, ceiling=100)
    assert cut(window, at_s=1.0) == 7
    assert serve(window, HELD + 3) == [7] * HELD + [8, 9, 9]


def test_growth_by_one_a_call_goes_on_beyond_eleven_tenths_and_one() -> None:
    """From 9 to 12 a window whose former size was 10 grows by 1/size a call: that takes (144 - 81) / 2 calls.
    Then it has no former size any more."""
    window = Window(start=10, ceiling=100)
    cut(window, at_s=1.0)
    serve(window, HELD + 2)
    sizes = serve(window, 40)
    calls = sum(size < 12 for size in sizes)
    assert 31 <= calls <= 33
    assert sizes[calls:] == [12, *range(13, 13 + 39 - calls)]


def calls_to_grow_back(window: Window, *, at_s: float) -> int:
    """Returns after how many served calls a window of ten has its former size, after a cut at it and the
    calls that tell if the cut helped."""
    assert cut(window, at_s=at_s) == 7
    serve(window, HELD, at_s=at_s + 0.5)
    calls = 0
    while window.size < 10:
        serve(window, 1, at_s=at_s + 0.5)
        calls += 1
    return calls


def test_a_limit_that_is_met_again_is_approached_half_as_often() -> None:
    """Two calls bring 7 to 9; from there to 10 it takes (100 - 81) / 2 calls the first time, and twice as
    many each time, up to sixteen times as many."""
    window = Window(start=10, ceiling=10)
    calls = [calls_to_grow_back(window, at_s=float(number)) for number in range(1, 8)]
    assert calls == [12, 21, 40, 78, 154, 154, 154]


def test_a_limit_is_met_again_within_a_tenth_of_it() -> None:
    """A second cut at 9 of 10 halves the growth near 9; one at 8 is another limit."""
    for size, sizes in ((9, [7, *[8] * 8]), (8, [6, *[7] * 4, *[8] * 4])):
        window = Window(start=10, ceiling=100)
        window.served_with = 10.0
        cut(window, at_s=1.0)
        assert serve(window, HELD + size - 7, at_s=2.0)[-1] == size
        cut(window, at_s=3.0)
        assert serve(window, HELD + 9, at_s=4.0)[HELD:] == sizes


def test_after_an_outage_the_former_size_is_approached_at_full_pace() -> None:
    """If no limit was known, growth near the former size is by about one a round: 58 calls bring 58 to 59."""
    window = Window(start=8, ceiling=64)
    grow(window, 8)
    assert window.served_with > 0.0
    window.restart(now_s=1.0)
    assert window.served_with == 0.0
    sizes = []
    for _ in range(3):
        serve(window, window.size, at_s=2.0)
        sizes.append(window.size)
    assert sizes == [32, 58, 59]


def test_a_limit_that_was_outgrown_is_no_limit_after_an_outage() -> None:
    """It was met twice and then outgrown: after an outage the window grows near its size at full pace."""
    window = Window(start=10, ceiling=20)
    cut(window, at_s=1.0)
    serve(window, HELD + 2, at_s=2.0)
    cut(window, at_s=3.0)
    while window.size < 20:
        serve(window, 1, at_s=4.0)
    window.restart(now_s=5.0)
    assert window.size == 10
    assert serve(window, 8, at_s=6.0)[-1] == 18
    calls = 0
    while window.size < 19:
        serve(window, 1, at_s=6.0)
        calls += 1
    assert calls == 19


def test_without_a_served_call_there_is_no_limit_of_places() -> None:
    """The first three calls of a window of ten fail: 0.7 of it, not nine places."""
    window = Window(start=10, ceiling=10)
    (change,) = fail(window, 3, sent_s=1.0, now_s=1.0)
    assert change.after == 7


def test_a_provider_with_one_place_is_found() -> None:
    """One call was served, and calls sent as the second in flight fail: one place."""
    window = Window(start=2, ceiling=2)
    window.served(sent_s=0.5, sent_with=1, now_s=0.5, in_flight=1)
    (change,) = fail(window, 3, sent_s=1.0, now_s=1.0)
    assert (change.before, change.after) == (2, 1)


def test_a_limit_of_places_is_more_than_half_a_call_above_what_was_served() -> None:
    """Calls fail as the 41st in flight: 40 places where fewer than 40.5 were typically served, else
    chance."""
    for served_with, after in ((40.4, 40), (40.5, 28)):
        window = Window(start=41, ceiling=41)
        window.served(sent_s=0.5, sent_with=1, now_s=0.5, in_flight=1)
        window.served_with = served_with
        (change,) = fail(window, 3, sent_s=1.0, now_s=1.0)
        assert change.after == after


def test_four_fifths_of_the_calls_with_as_many_in_flight_must_fail() -> None:
    """After the first failure: four of five calls sent with 41 in flight are a limit of places, four of six
    are chance. Calls sent with fewer do not count."""
    for others, after in ((2, 40), (3, 28)):
        window = Window(start=41, ceiling=41)
        for _ in range(2_000):
            window.sent(40)
            window.served(sent_s=0.0, sent_with=40, now_s=0.0, in_flight=1)
        assert fail(window, 1, sent_s=1.0, now_s=1.0, sent_with=41) == []
        for sent_with in [41] * others + [40] * (4 - others):
            window.sent(sent_with)
        assert fail(window, 2, sent_s=1.0, now_s=1.0, sent_with=41) == []
        (change,) = fail(window, 1, sent_s=1.0, now_s=1.0, sent_with=41)
        assert change.after == after


@pytest.mark.parametrize(
    ("calls", "after"),
    [
        ("." * 10 + "xxxxx", None),  # fifteen calls are too few to compare
        ("." * 11 + "xxxxx", 10),  # five of sixteen are more than half of the former share
        ("." * 10 + "xxxxx....x", 10),  # six of twenty are half of it
        ("." * 10 + "xxxx.....x", 4),  # five of twenty are less: the cut helped, and another follows
    ],
)
def test_a_cut_is_undone_if_at_least_half_as_many_calls_fail_after_it(calls: str, after: int | None) -> None:
    """A cut from 10 to 7 after three failures (x) of five calls, a share of 60 %; then these calls."""

    def play(calls: str, at_s: float) -> list[WindowChange | None]:
        changes = []
        for call in calls:
            window.sent(1)
            if call == "x":
                changes.append(window.failed(sent_s=at_s, sent_with=1, now_s=at_s, in_flight=1))
        return changes

    window = Window(start=10, ceiling=10)
    assert play("x.x.x", 1.0) == [None, None, WindowChange(10, 7, 0.6, 3, 5)]
    *before, last = play(calls, 2.0)
    assert not any(before)
    assert (last and last.after) == after
    if after == 10:
        failed, sent = calls.count("x"), len(calls)
        assert last == WindowChange(7, 10, failed / sent, failed, sent)


def test_no_cut_is_undone_before_it_is_known_how_many_are_served_together() -> None:
    """A window that still grows is cut again: that one call in three fails may be a limit just found."""
    for served_with, sizes in ((7.5, [7, 10]), (7.4, [7, 4])):
        window, changes = Window(start=10, ceiling=10), list[WindowChange]()
        window.served_with = served_with
        while len(changes) < 2:
            for _ in range(2):
                window.sent(1)
            changes += fail(window, 1, sent_s=float(len(changes) + 1), now_s=len(changes) + 1.0, sent_with=10)
            window.served_with = served_with
        assert [change.after for change in changes] == sizes


def test_two_waiting_requests_are_no_queue() -> None:
    """Two, or a tenth of those being computed, wait so that a free place is taken at once."""
    for running, waiting, size in ((8, 2, 64), (8, 3, 10), (100, 10, 64), (100, 11, 10)):
        window = Window(start=64, ceiling=64)
        window.update_load(running=running, waiting=waiting, in_flight=11)
        assert window.size == size


def test_our_share_of_a_queue_is_at_most_all_of_it() -> None:
    """More are in flight than the server has seen: of twelve that wait, two of them spare, ten are taken
    back."""
    window = Window(start=32, ceiling=32)
    window.update_load(running=4, waiting=12, in_flight=32)
    assert window.size == 22


def test_four_fifths_of_the_window_in_flight_and_of_those_computed_are_use() -> None:
    """Without a queue a window of ten doubles with eight in flight, or with eight of ten being computed."""
    for running, in_flight, size in ((8, 8, 20), (7, 7, 10), (8, 10, 20), (7, 10, 10)):
        window = Window(start=10, ceiling=100)
        window.update_load(running=running, waiting=0, in_flight=in_flight)
        assert window.size == size


def test_a_cut_that_is_undone_leaves_no_smaller_window() -> None:
    """A cut from 4 to 2 after three failures of five calls; the window is held there while eleven calls are
    served and five fail: fewer calls did not help, and it is 4 again."""
    window = Window(start=4, ceiling=10)
    assert fail(window, 1, sent_s=1.0, now_s=1.0, sent_with=1) == []
    for _ in range(2):
        window.sent(1)
        changes = fail(window, 1, sent_s=1.0, now_s=1.0, sent_with=1)
    assert [(change.before, change.after, change.is_undone) for change in changes] == [(4, 2, False)]
    assert serve(window, 11)[-1] == 2
    window.served_with = 2.0
    (change,) = fail(window, 5, sent_s=10.0, now_s=10.0, sent_with=1)
    assert (change.before, change.after, change.is_undone) == (2, 4, True)
    assert window.size == 4


def test_a_window_does_not_grow_while_calls_fail_that_are_one_too_many() -> None:
    """Ten places: nine calls are served while the eleventh in flight is refused again and again. The window
    stays at eleven until the refusals are evidence, and then is ten."""
    window = Window(start=11, ceiling=64)
    for _ in range(200):
        window.sent(10)
        window.served(sent_s=1.0, sent_with=10, now_s=1.0, in_flight=1)
    assert fail(window, 1, sent_s=2.0, now_s=2.0, sent_with=11) == []
    for _ in range(3):
        window.sent(10)
        window.served(sent_s=2.5, sent_with=10, now_s=2.5, in_flight=11)
    assert window.size == 11
    changes = fail(window, 3, sent_s=3.0, now_s=3.0, sent_with=11)
    assert [change.after for change in changes] == [10]


def test_a_cut_is_not_undone_where_there_are_no_more_places() -> None:
    """Ten places, a window of sixteen cut to eleven by chance: that one call in four is refused there, as
    before, does not say that fewer calls do not help."""
    window = Window(start=16, ceiling=64)
    for _ in range(200):
        window.sent(10)
        window.served(sent_s=1.0, sent_with=10, now_s=1.0, in_flight=1)
    while not fail(window, 1, sent_s=2.0, now_s=2.0, sent_with=9):
        window.sent(10)
        window.sent(10)
    assert window.size == 11
    changes = list[WindowChange]()
    while not changes:
        for _ in range(3):
            window.sent(10)
            window.served(sent_s=3.0, sent_with=10, now_s=3.0, in_flight=11)
        changes = fail(window, 1, sent_s=3.0, now_s=3.0, sent_with=11)
    assert [(change.before, change.after, change.is_undone) for change in changes] == [(11, 10, False)]

"""Virtual time."""

from __future__ import annotations

import anyio

from harness.simulation import VirtualClock, simulate


def test_the_quick_clock_and_the_loops_own_are_one_time() -> None:
    """Sleepers on the clock and on the loop wake in order; both read the same time; the wall clock may
    jump."""

    async def scenario() -> list[tuple[str, float, float]]:
        clock, woken = VirtualClock(epoch=1_000.0), list[tuple[str, float, float]]()

        async def by_clock(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(("clock", clock.now(), anyio.current_time()))

        async def by_loop(seconds: float) -> None:
            await anyio.sleep(seconds)
            woken.append(("loop", clock.now(), anyio.current_time()))

        async with anyio.create_task_group() as tasks:
            for seconds in (3.0, 1.0, 0.0):
                tasks.start_soon(by_clock, seconds)
                tasks.start_soon(by_loop, seconds + 0.5)
        clock.jump(-100.0)
        assert clock.now() == 3.5
        assert clock.wall() == 903.5
        return woken

    woken = simulate(scenario, seed=1)
    assert [(who, at_s) for who, at_s, _ in woken] == [
        ("clock", 0.0),
        ("loop", 0.5),
        ("clock", 1.0),
        ("loop", 1.5),
        ("clock", 3.0),
        ("loop", 3.5),
    ]
    assert all(clock_s == loop_s for _, clock_s, loop_s in woken)


def test_a_cancelled_sleeper_holds_nothing_up() -> None:
    """A sleep may be given up; time goes on to the next that is not."""

    async def scenario() -> float:
        clock = VirtualClock()
        with anyio.move_on_after(2.0):
            await clock.sleep(1_000.0)
        await clock.sleep(1.0)
        return clock.now()

    assert simulate(scenario, seed=1) == 3.0

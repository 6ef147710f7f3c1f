"""A run ends when its lanes end, or in steps as the user interrupts it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import anyio
import pytest

from harness.core.errors import AccountRefused, BudgetSpent, Rejected, Stopped
from harness.core.vocabulary import EpisodePlan, Prompt
from harness.scheduler.shutdown import Interrupts, RunEnd, play_until_done_or_stopped
from tests.world import Counter, World, plan, run


def plans(count: int, method: str = "m/a", goal: int = 4) -> Iterator[EpisodePlan]:
    return (plan(number, method=method, goal=goal) for number in range(count))


def test_a_run_without_interrupts_counts_its_episodes() -> None:
    """Finished and failed episodes are counted; the most frequent reasons of failures come first."""

    async def scenario() -> RunEnd:
        world = World()

        def trouble(prompt: Prompt, number: int) -> Rejected | None:
            return (
                Rejected("too odd" if number % 2 else "too even", status=400)
                if number in (5, 9, 12)
                else None
            )

        world.add(backend=Counter(world.clock, trouble=trouble))
        return await play_until_done_or_stopped(world.scheduler({"m/a": plans(20)}), Interrupts(print))

    end = run(scenario)
    assert (end.finished, end.failed, end.pending, end.interrupted) == (17, 3, 0, False)
    assert end.failures == (("Rejected: too odd", 2), ("Rejected: too even", 1))
    assert (end.closings, end.budget) == ({}, False)


def test_a_closed_gate_is_a_closing_and_no_budget() -> None:
    """A lane whose key is refused has its reason; the other lane plays on."""

    async def scenario() -> RunEnd:
        world = World()
        refused = AccountRefused("no credit", status=402)
        world.add("m/a", backend=Counter(world.clock, trouble=lambda prompt, number: refused))
        world.add("m/b", backend=Counter(world.clock))
        lanes = {name: plans(5, name) for name in ("m/a", "m/b")}
        return await play_until_done_or_stopped(world.scheduler(lanes), Interrupts(print))

    end = run(scenario)
    assert (end.finished, end.pending, end.budget) == (5, 5, False)
    assert end.closings.keys() == {"m/a"}
    assert "no credit" in end.closings["m/a"]


@pytest.mark.parametrize("mixed", [False, True])
def test_a_budget_is_said_only_if_it_ended_every_lane(mixed: bool) -> None:
    """Two lanes that a budget ends are a budget; one of them ended by a refused key is none."""

    async def scenario() -> RunEnd:
        world = World()
        for name in ("m/a", "m/b"):
            world.add(name, backend=Counter(world.clock))
        world.routes["m/a"].gate.close(BudgetSpent("spent"))
        world.routes["m/b"].gate.close(AccountRefused("no credit") if mixed else BudgetSpent("spent"))
        lanes = {name: plans(5, name) for name in ("m/a", "m/b")}
        return await play_until_done_or_stopped(world.scheduler(lanes), Interrupts(print))

    assert run(scenario).budget is not mixed


def interrupted(*signals: int, at_s: tuple[float, ...]) -> tuple[RunEnd, list[str], World]:
    """Plays with these signals at these moments of real time; calls take 0.2 s."""
    lines: list[str] = []

    async def scenario() -> tuple[RunEnd, World]:
        world = World()
        world.add(backend=Counter(world.clock, latency_s=0.2))
        interrupts = Interrupts(lines.append)
        async with anyio.create_task_group() as listening:
            await listening.start(interrupts.listen)

            async def send() -> None:
                for number, moment in zip(signals, at_s, strict=True):
                    await anyio.sleep(moment)
                    os.kill(os.getpid(), number)

            listening.start_soon(send)
            end = await play_until_done_or_stopped(world.scheduler({"m/a": plans(50)}), interrupts)
            listening.cancel_scope.cancel()
        return end, world

    end, world = anyio.run(scenario)
    return end, lines, world


def test_the_first_interrupt_waits_for_running_calls() -> None:
    """Calls in flight are answered and stored, no further one is sent, and the rest is pending."""
    end, lines, world = interrupted(signal.SIGINT, at_s=(0.3,))
    assert end.interrupted
    assert end.finished + end.pending == 50
    assert end.pending >= 40
    assert end.closings == {}
    assert lines == ["stopping: waiting for 4 running calls; Ctrl-C again cancels them"]
    assert len(world.rows.calls) == 8
    assert {row.error_class for row in world.rows.calls} == {None}


def test_the_second_interrupt_cancels_them() -> None:
    """Calls in flight at the second signal leave no row; a third signal stops nothing more."""
    end, lines, world = interrupted(signal.SIGINT, signal.SIGTERM, at_s=(0.3, 0.02))
    assert end.interrupted
    assert end.finished + end.pending == 50
    assert len(world.rows.calls) == 4
    assert lines[1:] == ["stopping at once: running calls are cancelled"]


def test_an_interrupt_before_play_ends_the_preparations() -> None:
    """No episode is begun; an interrupt after play only says that rows are being written."""
    lines: list[str] = []

    async def scenario() -> tuple[bool, bool]:
        interrupts = Interrupts(lines.append)
        reached = False
        async with anyio.create_task_group() as listening:
            await listening.start(interrupts.listen)
            with interrupts.preparing() as scope:
                os.kill(os.getpid(), signal.SIGTERM)
                await anyio.sleep(5)
                reached = True
            listening.cancel_scope.cancel()
        return scope.cancelled_caught and interrupts.interrupted, reached

    assert anyio.run(scenario) == (True, False)
    assert lines == ["stopping: no episode was started"]


def test_another_thread_hears_no_signals() -> None:
    """In a notebook a run plays in a thread, where Python delivers no signal: listening ends at once."""
    ended = []

    async def scenario() -> None:
        async with anyio.create_task_group() as listening:
            await listening.start(Interrupts(print).listen)
        ended.append(True)

    thread = threading.Thread(target=lambda: anyio.run(scenario))
    thread.start()
    thread.join(timeout=30)
    assert ended == [True]


def test_a_gate_that_was_stopped_is_no_closing() -> None:
    """Episodes that the user stopped are pending, and no reason is reported."""

    async def scenario() -> RunEnd:
        world = World()
        world.add(backend=Counter(world.clock))
        world.routes["m/a"].gate.close(Stopped("stopped by the user"))
        return await play_until_done_or_stopped(world.scheduler({"m/a": plans(5)}), Interrupts(print))

    end = run(scenario)
    assert (end.finished, end.pending, end.closings, end.budget) == (0, 5, {}, False)


def test_the_three_most_frequent_reasons_of_failures_are_named() -> None:
    """A fourth one is left out."""

    async def scenario() -> RunEnd:
        world = World()

        def trouble(prompt: Prompt, number: int) -> Rejected | None:
            return Rejected("abcdaba"[number - 10], status=400) if 10 <= number < 17 else None

        world.add(backend=Counter(world.clock, trouble=trouble))
        return await play_until_done_or_stopped(world.scheduler({"m/a": plans(20)}), Interrupts(print))

    failures = run(scenario).failures
    assert failures[:2] == (("Rejected: a", 3), ("Rejected: b", 2))
    assert len(failures) == 3


@pytest.mark.parametrize("under_nohup", [False, True])
def test_a_closed_terminal_stops_a_run_unless_nohup_runs_it(under_nohup: bool) -> None:
    """Kernel and shell each send a SIGHUP: the second cancels nothing. Under nohup it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if under_nohup else lambda number, frame: None)
    try:
        end, lines, world = interrupted(signal.SIGHUP, signal.SIGHUP, at_s=(0.3, 0.02))
    finally:
        signal.signal(signal.SIGHUP, before)
    if under_nohup:
        assert (end.interrupted, end.finished, lines) == (False, 50, [])
    else:
        assert lines == ["stopping: waiting for 4 running calls; Ctrl-C again cancels them"]
        assert len(world.rows.calls) == 8


def test_a_cancelled_run_names_all_episodes_that_a_closed_gate_left() -> None:
    """Those in the middle of a call are among them: four episodes wait for answers, a refused key has ended
    the others, and the second interrupt cancels the four."""
    ends: list[RunEnd] = []

    async def scenario() -> None:
        world = World()
        world.add(backend=Counter(world.clock, latency_s=10.0))
        interrupts = Interrupts(lambda line: None)
        async with anyio.create_task_group() as others:

            async def refuse_then_cancel() -> None:
                await anyio.sleep(5.0)
                world.routes["m/a"].gate.close(AccountRefused("no credit"))
                await anyio.sleep(1.0)
                interrupts.interrupt()
                interrupts.interrupt()

            others.start_soon(refuse_then_cancel)
            ends.append(await play_until_done_or_stopped(world.scheduler({"m/a": plans(50)}), interrupts))

    run(scenario)
    (end,) = ends
    assert (end.finished, end.pending, end.interrupted) == (0, 50, True)
    assert end.unplayed == {"m/a": 50}

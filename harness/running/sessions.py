"""Waits between the sessions of a sweep, and adds up how they ended.

Knows when a session may begin; nothing of episodes. While a run waits, its engines are stopped and its store
is closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import anyio

from harness.scheduler.shutdown import Interrupts, RunEnd

if TYPE_CHECKING:
    from harness.access.context import RunContext
    from harness.core.protocols import Clock
    from harness.running.prepare import RunPlan

CLOCK_EVERY_S = 30.0  # a machine may have slept meanwhile: the time of day decides, not the time waited
REASONS = 3  # of failed episodes: as many as a run of one session names


async def wait_for_session(plan: RunPlan, context: RunContext, clock: Clock) -> bool:
    """Waits until the plan's session may begin; returns whether it may, and not an interrupt came first."""
    interrupts = Interrupts(context.notify)
    async with anyio.create_task_group() as listening:
        await listening.start(interrupts.listen)
        number, of, gap = plan.session + 1, plan.spec.audit.sessions, plan.spec.audit.gap
        context.notify(
            f"session {number} of {of} begins at {datetime.fromtimestamp(plan.begins_at):%Y-%m-%d %H:%M}, which is"
            f" {gap} after the end of session {number - 1}. Until then, engines are stopped and the store is closed."
            " Ctrl-C ends the run; the same command continues it later"
        )
        with interrupts.preparing():
            while (rest_s := plan.begins_at - clock.wall()) > 0:
                await clock.sleep(min(rest_s, CLOCK_EVERY_S))
        listening.cancel_scope.cancel()
    return not interrupts.interrupted


def combined(
    ends: Sequence[RunEnd], *, failed_before: int, pending: int, interrupted: bool = False
) -> RunEnd:
    """Returns the end of a run from the ends of its sessions.

    failed_before  episodes that failed in earlier runs and were not played again
    pending        episodes that are still to be played
    interrupted    whether the user stopped the run between two sessions"""
    closings = {lane: reason for end in ends for lane, reason in end.closings.items()}
    unplayed = {lane: count for end in ends for lane, count in end.unplayed.items()}
    failures: Counter[str] = Counter()
    for end in ends:
        failures.update(dict(end.failures))
    return RunEnd(
        finished=sum(end.finished for end in ends),
        failed=failed_before + sum(end.failed for end in ends),
        pending=pending,
        interrupted=interrupted or any(end.interrupted for end in ends),
        closings=closings,
        unplayed=unplayed,
        budget=bool(closings) and all(end.budget for end in ends if end.closings),
        failures=tuple(failures.most_common(REASONS)),
    )

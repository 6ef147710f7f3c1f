"""Plays a short trial of every access method, for a plan that rests on measured speeds and lengths.

A trial begins episodes for a minute, of all games in their proportions, and plays those to their ends: so the
plays are a sample that their lengths did not choose (Wald 1944, Ann. Math. Statist. 15:283: the number that
begins is a stopping time). Engines that do not fit on the machine together take turns as in the sweep. Keeps:
the trial has a store of its own; the sweep's store is not touched. Does not promise: that the machine is as
fast during the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from harness.access.context import RunContext
from harness.config.sweep import BudgetPart, SweepSpec
from harness.core.clock import RealClock
from harness.planning.episode_lengths import StoredPlay
from harness.running.prepare import RunOptions
from harness.running.run_sweep import run_sweep
from harness.scheduler.shutdown import RunEnd

TRIAL_S = 60.0
PLAYS_MIN = 3  # of a game by one method; with fewer, the plays of the model's other methods join them


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A finished trial.

    store   its DuckDB file
    took_s  from its begin to its end, starts of engines included"""

    store: Path
    end: RunEnd
    took_s: float


async def play_trial(spec: SweepSpec, context: RunContext, *, trial_s: float = TRIAL_S) -> Trial:
    """Plays the trial of this sweep into the context's store.

    trial_s  for so many seconds each access method begins episodes
    raises   as run_sweep does"""
    clock = RealClock()
    once = replace(
        spec,
        repeats=1,
        audit=replace(spec.audit, again=False, sessions=1, stop="end"),
        budget=BudgetPart(),
        pairs=(),
    )
    begun_s = clock.now()
    end = await run_sweep(once, context, RunOptions(begin_for_s=trial_s))
    return Trial(store=context.store, end=end, took_s=clock.now() - begun_s)


def of_whole_games(plays: Sequence[StoredPlay]) -> tuple[StoredPlay, ...]:
    """Returns the plays of a trial, each of which stands for its whole game: they are too few to tell items
    and experiments apart."""
    return tuple(replace(play, item="", experiment="") for play in plays)


def resampled(plays: Sequence[StoredPlay], chance: Random) -> list[StoredPlay]:
    """Returns as many plays of each method and game, drawn again with replacement: the plays of a trial are
    few, and a plan must show what else they could have been."""
    found: dict[tuple[str, str], list[StoredPlay]] = {}
    of_model: dict[tuple[str, str], list[StoredPlay]] = {}
    for play in plays:
        found.setdefault((play.method, play.game), []).append(play)
        of_model.setdefault((play.model, play.game), []).append(play)
    drawn = []
    for (method, game), own in found.items():
        pool = own if len(own) >= PLAYS_MIN else of_model[own[0].model, game]
        drawn += [replace(play, method=method) for play in chance.choices(pool, k=len(pool))]
    return drawn

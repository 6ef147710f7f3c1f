"""Plays a short trial of every access method, for a plan that rests on measured speeds and lengths.

A trial begins episodes for a minute, of all games, and plays those to their ends: so the
plays are a sample that their lengths did not choose (Wald 1944, Ann. Math. Statist. 15:283: the number that
begins is a stopping time). Engines that do not fit on the machine together take turns as in the sweep. Keeps:
the trial has a store of its own; the sweep's store is not touched. Does not promise: that the machine is as
fast during the sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from random import Random
from statistics import fmean, variance

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
    """Returns plays of each method and game, drawn again with replacement: the plays of a trial are few, and
    a plan must show what else they could have been.

    Whole items are drawn, because plays of one item are alike. One item less is drawn than there are, so that
    the mean of a drawn game varies as much as that of another trial (Rao & Wu 1988, JASA 83:231); with two
    items it would vary half as much otherwise."""
    drawn = []
    for pool in _pools(plays):
        chosen = chance.choices(pool.items, k=max(1, len(pool.items) - 1))
        drawn += [replace(play, method=method) for method in pool.methods for item in chosen for play in item]
    return drawn


def degrees_of_turns(plays: Sequence[StoredPlay], episodes: Mapping[tuple[str, str], int]) -> float:
    """Returns the degrees of freedom with which plays show the turns of a sweep (Satterthwaite 1946,
    Biometrics Bulletin 2:110): few where a game with few plays, of different lengths, makes most of its
    uncertainty.

    episodes   (method, game) -> its episodes in the sweep"""
    errors = [
        (
            sum(episodes.get((method, pool.game), 0) for method in pool.methods) ** 2
            * variance([fmean(len(play.turns) for play in item) for item in pool.items])
            / len(pool.items),
            len(pool.items) - 1,
        )
        for pool in _pools(plays)
        if len(pool.items) > 1
    ]
    whole = sum(error for error, _ in errors)
    return whole**2 / sum(error**2 / degrees for error, degrees in errors) if whole else inf


@dataclass(frozen=True, slots=True)
class _Pool:
    """The plays of one game, grouped by item. The episodes of these methods take their lengths from them."""

    methods: tuple[str, ...]
    game: str
    items: Sequence[Sequence[StoredPlay]]


def _pools(plays: Sequence[StoredPlay]) -> list[_Pool]:
    """Returns the pools of each game: one for a method with enough plays, one for all other methods of its
    model, of the plays of all its methods."""
    found: dict[tuple[str, str], dict[str, list[StoredPlay]]] = {}
    for play in plays:
        found.setdefault((play.model, play.game), {}).setdefault(play.method, []).append(play)
    pools = []
    for (_, game), by_method in found.items():
        pools += [
            _Pool((method,), game, _by_item(own))
            for method, own in by_method.items()
            if len(own) >= PLAYS_MIN
        ]
        if few := tuple(method for method, own in by_method.items() if len(own) < PLAYS_MIN):
            pools.append(_Pool(few, game, _by_item([play for own in by_method.values() for play in own])))
    return pools


def _by_item(plays: Sequence[StoredPlay]) -> list[list[StoredPlay]]:
    found: dict[str, list[StoredPlay]] = {}
    for play in plays:
        found.setdefault(play.item, []).append(play)
    return list(found.values())

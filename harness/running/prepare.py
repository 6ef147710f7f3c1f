"""Prepares a run: compares the sweep with what its store holds and says who plays what.

Knows the sweep, its instances and the store's rows; nothing of sockets, gates or engines. Keeps: whatever can
be refused without a connection is refused here; the plan is complete when it is made, and never changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.access.budgets import find_scopes
from harness.config.episode_plans import GameSet, lane
from harness.config.sweep import MethodPart, Seating, SweepSpec
from harness.core.protocols import Clock
from harness.core.vocabulary import EpisodePlan
from harness.running.locked_keys import refuse_changes
from harness.running.resume import Stored, episodes_planned, read_stored
from harness.scheduler.spending import Scope
from harness.store.query_server import Readable
from harness.store.resuming import latest_spec

if TYPE_CHECKING:
    from harness.access.context import RunContext
    from harness.running.early_stopping import EarlyStopping


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePlan:
    """The episodes of one seating.

    planned   in all, stored ones included
    left      of these, still to be played; 0 also where interim analyses have settled the question"""

    seating: Seating
    planned: int
    left: int

    @property
    def name(self) -> str:
        return self.seating.name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What one run plays.

    run_id    of this run, in its store
    sets      game -> its instances and rules
    keys      method -> the value of its key; None where it needs none
    stored    what earlier runs left in the store
    lanes     the seatings that have something left to play
    methods   name -> description, of the access methods that sit in these lanes
    scopes    what these lanes may spend
    early_stopping  the interim analyses; None unless the sweep may stop early"""

    spec: SweepSpec
    run_id: str
    sets: Mapping[str, GameSet]
    keys: Mapping[str, str | None]
    stored: Stored
    lanes: tuple[LanePlan, ...]
    methods: Mapping[str, MethodPart]
    scopes: tuple[Scope, ...]
    early_stopping: EarlyStopping | None

    @property
    def left(self) -> int:
        """Episodes that are still to be played."""
        return sum(one.left for one in self.lanes)

    def episodes(self, seating: Seating) -> Iterator[EpisodePlan]:
        """What a seating has left to play, in playing order."""
        return lane(
            seating,
            self.sets,
            repeats=self.spec.repeats,
            seed=self.spec.seed,
            stored=self.stored.ended[seating.name],
            arms=self.spec.arms(seating.name),
        )


def prepare(
    spec: SweepSpec,
    context: RunContext,
    connection: Readable,
    *,
    sets: Mapping[str, GameSet],
    keys: Mapping[str, str | None],
    clock: Clock,
    retry_failed: bool,
) -> RunPlan:
    """Returns the plan of a run over this store.

    sets          game -> its instances and rules
    keys          method -> the value of its key
    clock         dates the rows of interim analyses
    retry_failed  whether failed episodes are to be played again
    raises        SpecError if the store was begun with other margins or methods, or a budget cannot be
                  counted"""
    runs, earlier = latest_spec(connection)
    refuse_changes(spec, context.source, earlier)
    run_id = f"{runs + 1:04}"
    stored = read_stored(connection, spec, sets, retry_failed=retry_failed)
    early_stopping = None
    if spec.audit.stop == "early":
        from harness.running.early_stopping import early_stopping as restored  # slow to load: statistics

        early_stopping = restored(spec, sets, connection, run_id=run_id, wall=clock.wall, say=context.notify)
    lanes = tuple(one for one in _lanes(spec, sets, stored, early_stopping) if one.left)
    playing = {name for one in lanes for name in one.seating.methods}
    return RunPlan(
        spec=spec,
        run_id=run_id,
        sets=sets,
        keys=keys,
        stored=stored,
        lanes=lanes,
        methods={name: part for name, (_, part) in spec.methods().items() if name in playing},
        scopes=tuple(find_scopes(spec, {one.name: one.seating for one in lanes}, source=context.source)),
        early_stopping=early_stopping,
    )


def _lanes(
    spec: SweepSpec, sets: Mapping[str, GameSet], stored: Stored, early_stopping: EarlyStopping | None
) -> Iterator[LanePlan]:
    planned = episodes_planned(spec, sets)
    for name, seating in spec.seatings().items():
        settled = early_stopping is not None and len(seating.methods) == 1 and early_stopping.is_settled(name)
        left = 0 if settled else planned[name] - len(stored.ended[name])
        yield LanePlan(seating=seating, planned=planned[name], left=left)

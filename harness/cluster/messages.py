"""Defines what the coordinator and a worker tell each other. Everything here can be pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.access.keys import Credentials
from harness.config.episode_plans import GameSet
from harness.config.sweep import SweepSpec
from harness.core.errors import GateClosing
from harness.core.records import EpisodeRecord, Record
from harness.core.vocabulary import AccessMethod, Arm, EpisodePlan, Instance
from harness.limits.leases import LeaseAnswer, LeaseRequest
from harness.progress.meters import Traffic
from harness.scheduler.episode import Beginning, LeftPending, RecordedTurn
from harness.scheduler.spending import Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSetup:
    """A route by names; see Route. gate: the name of its gate; account: those of its key."""

    method: AccessMethod
    gate: str
    account: tuple[str, ...]
    alone: bool
    sole: bool
    key_users: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """All that a worker needs to play.

    store   its own file
    source  the sweep file
    keys    method -> its key and headers
    rows    the run's opening rows: they say to which run the worker's rows belong
    counts_soon   a budget or an audit plan looks at counts, which are therefore not sent later than soon
    token   the content of the file `token` beside the store: whoever can read it shares the folder"""

    store: Path
    source: Path
    spec: SweepSpec
    sets: Mapping[str, GameSet]
    keys: Mapping[str, Credentials]
    run_id: str
    routes: tuple[RouteSetup, ...]
    rows: tuple[Record, ...]
    counts_soon: bool
    token: str


class Assignment(NamedTuple):
    """An episode to play: its plan without the instance, which the worker has, and its beginning.

    number           names it in reports
    item             of its plan; the fields after it are the plan's own
    attempt, turns   of its beginning"""

    number: int
    item: str
    rules: str
    seating: tuple[str, ...]
    arm: Arm
    batch: int
    repeat: int
    session: int
    attempt: int
    turns: Sequence[RecordedTurn]

    @classmethod
    def of(cls, number: int, plan: EpisodePlan, beginning: Beginning) -> Assignment:
        """Returns the assignment of a plan. Its fields are plain values: pickling data classes takes ten
        times as long."""
        return cls(
            number,
            plan.item,
            plan.rules,
            plan.seating,
            plan.arm,
            plan.batch,
            plan.repeat,
            plan.session,
            beginning.attempt,
            beginning.turns,
        )

    def plan(self, instances: Mapping[str, Instance]) -> EpisodePlan:
        """Returns the plan. instances: item -> its instance."""
        return EpisodePlan(
            instance=instances[self.item],
            rules=self.rules,
            seating=self.seating,
            arm=self.arm,
            batch=self.batch,
            repeat=self.repeat,
            session=self.session,
        )

    @property
    def beginning(self) -> Beginning:
        return Beginning(attempt=self.attempt, turns=self.turns)


class ToWorker(NamedTuple):
    """A message to a worker.

    leases       gate -> what the coordinator says of it, where there is something new
    assignments  episodes to begin
    exhausted    method -> why it may make no more calls; new ones
    end          cancel what is open, close the store, and end"""

    leases: Mapping[str, LeaseAnswer]
    assignments: tuple[Assignment, ...] = ()
    exhausted: Mapping[str, str] = {}
    end: bool = False


Played = EpisodeRecord | GateClosing | LeftPending
"""What became of an episode."""


class Report(NamedTuple):
    """A worker's answer: what happened since the last one.

    sent_s    when it was made, by the worker's clock
    leases    gate -> the worker's message about it
    begun     episodes whose first turn went to its gate, by number
    ended     episodes that ended, by number, and how
    traffic   method -> its calls
    turns     episode -> the first and the last of its turns that were answered, counted from 1
    spent     method -> what its calls cost
    answered  methods that answered a call for the first time
    lines     for a person
    is_over   the worker's store is closed, and this is its last report
    failure   why it could not go on; "": nothing"""

    sent_s: float
    leases: Mapping[str, LeaseRequest] = {}
    begun: tuple[int, ...] = ()
    ended: tuple[tuple[int, Played], ...] = ()
    traffic: Mapping[str, Traffic] = {}
    turns: Mapping[str, tuple[int, int]] = {}
    spent: Mapping[str, Spending] = {}
    answered: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    is_over: bool = False
    failure: str = ""

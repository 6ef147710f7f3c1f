"""Prepares a run: compares the sweep with what its store holds and says who plays what.

Knows the sweep, its instances and the store's rows; nothing of sockets, gates or engines. Keeps: whatever can
be refused without a connection is refused here; the plan is complete when it is made, and never changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.access.budgets import find_scopes
from harness.access.keys import Credentials
from harness.config.episode_plans import GameSet, planned, session_episodes, trial_order
from harness.config.sweep import MethodPart, Seating, SweepSpec
from harness.core.protocols import Clock
from harness.core.vocabulary import EpisodePlan
from harness.running.locked_keys import refuse_changes
from harness.running.resume import Stored, read_stored
from harness.scheduler.spending import Scope
from harness.store.query_server import Readable
from harness.store.resuming import latest_spec

if TYPE_CHECKING:
    from harness.access.context import RunContext
    from harness.cluster.worker_pool import OpenWorkers
    from harness.running.early_stopping import EarlyStopping


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The choices of one run.

    retry_failed    play failed episodes again
    all_or_nothing  play nothing if one access method cannot be reached
    engines_max     how many local engines may run at the same time; None: as many as fit
    first_turn      (lanes of one session) -> those that play now, before the others; None: as many as their
                    engines allow
    workers         starts the processes that play; None: this one plays
    begin_for_s     begin episodes for so many seconds only, of all games as trial_order says, and end those;
                    None: play all"""

    retry_failed: bool = False
    all_or_nothing: bool = False
    engines_max: int | None = None
    first_turn: Callable[[tuple[LanePlan, ...]], tuple[LanePlan, ...]] | None = None
    workers: OpenWorkers | None = None
    begin_for_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """The request for a run; all its sessions share it.

    sets          game -> its instances and rules
    keys          method -> its key and headers
    clock         dates the rows of interim analyses, and limits how long episodes are begun"""

    spec: SweepSpec
    context: RunContext
    sets: Mapping[str, GameSet]
    keys: Mapping[str, Credentials]
    clock: Clock
    options: RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePlan:
    """The episodes of one seating in one session.

    session   its number, from 0
    repeats   the repeats that belong to the session
    planned   episodes, stored ones included
    ended     of these, stored
    left      of these, still to be played; 0 also where interim analyses have settled the question
    planned_in_all, left_in_all   the same over all sessions"""

    seating: Seating
    session: int
    repeats: Sequence[int]
    planned: int
    ended: int
    left: int
    planned_in_all: int
    left_in_all: int

    @property
    def name(self) -> str:
        return self.seating.name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """The plan of one session of a run; of the whole run, if the sweep has one session.

    run_id      of this session's run, in its store
    session     its number, from 0
    begins_at   not before this moment, in seconds since 1970; 0: at once
    planned, ended  the session's episodes, those of seatings that have nothing left to play included
    stored      what earlier runs left in the store
    lanes       the seatings that play now
    waiting     seatings that play in the same session after them, because their engines do not fit beside
                those of `lanes`
    in_turns    whether other seatings have another turn of the session
    left_elsewhere  episodes that are left for other sessions, or to seatings that this run leaves out
    used_s      seconds of a budget's wall_s that this run has used before
    methods     name -> description, of the access methods that sit in these lanes
    scopes      what these lanes may spend
    early_stopping  the interim analyses; None unless the sweep may stop early"""

    request: RunRequest
    run_id: str
    session: int
    begins_at: float
    planned: int
    ended: int
    stored: Stored
    lanes: tuple[LanePlan, ...]
    waiting: tuple[str, ...]
    in_turns: bool
    left_elsewhere: int
    used_s: float
    methods: Mapping[str, MethodPart]
    scopes: tuple[Scope, ...]
    early_stopping: EarlyStopping | None

    @property
    def spec(self) -> SweepSpec:
        return self.request.spec

    @property
    def sets(self) -> Mapping[str, GameSet]:
        return self.request.sets

    @property
    def left(self) -> int:
        """Returns how many episodes are still to be played in this session."""
        return sum(lane.left for lane in self.lanes)

    @property
    def is_last(self) -> bool:
        """Returns whether nothing can follow, neither a turn nor a session."""
        return not self.lanes or (not self.waiting and self.session + 1 == self.spec.audit.sessions)


def prepare(
    request: RunRequest,
    connection: Readable,
    *,
    first_session: int = 0,
    left_out: Container[str] = (),
    had_turn: Collection[str] = (),
    used_s: float = 0.0,
) -> RunPlan:
    """Returns the plan of the first session that has something left to play; of its first turn, if its
    engines take turns.

    connection     of the store
    first_session  this run has played the sessions before it
    left_out       seatings that play no further in this run
    had_turn       seatings that have had their turn in the first session
    used_s         seconds of a budget's wall_s that this run has used in the first session
    raises         SpecError if the store was begun with other margins or methods, or a budget cannot be
                   counted"""
    spec, source = request.spec, request.context.source
    runs, earlier = latest_spec(connection)
    refuse_changes(spec, source, earlier)
    run_id = f"{runs + 1:04}"
    stored = read_stored(connection, spec, request.sets, retry_failed=request.options.retry_failed)
    early_stopping = _early_stopping(request, connection, run_id) if spec.audit.stop == "early" else None
    every_lane = list(_lane_plans(request, stored, early_stopping))
    playable = [
        lane
        for lane in every_lane
        if lane.left
        and lane.session >= first_session
        and lane.name not in left_out
        and lane.name not in had_turn
    ]
    session = min((lane.session for lane in playable), default=first_session)
    of_session = tuple(lane for lane in playable if lane.session == session)
    lanes = (request.options.first_turn or _by_engines(request))(of_session)
    methods = {name for lane in lanes for name in lane.seating.methods}
    return RunPlan(
        request=request,
        run_id=run_id,
        session=session,
        begins_at=_begins_at(request, stored, lanes),
        planned=sum(lane.planned for lane in every_lane if lane.session == session),
        ended=sum(lane.ended for lane in every_lane if lane.session == session),
        stored=stored,
        lanes=lanes,
        waiting=tuple(lane.name for lane in of_session if lane not in lanes),
        in_turns=bool(had_turn) or len(lanes) < len(of_session),
        left_elsewhere=sum(lane.left for lane in every_lane) - sum(lane.left for lane in lanes),
        used_s=used_s,
        methods={name: part for name, (_, part) in spec.methods().items() if name in methods},
        scopes=tuple(find_scopes(spec, {lane.name: lane.seating for lane in lanes}, source=source)),
        early_stopping=early_stopping,
    )


def episodes_left(request: RunRequest, stored: Stored, lane: LanePlan) -> Iterator[EpisodePlan]:
    """Yields what a lane has left to play, in playing order."""
    episodes = session_episodes(
        lane.seating,
        request.sets,
        session=lane.session,
        repeats=lane.repeats,
        seed=request.spec.seed,
        stored=stored.ended[lane.name],
        arms=request.spec.arms(lane.name),
    )
    if (begin_for_s := request.options.begin_for_s) is None:
        return episodes
    number = list(request.spec.seatings()).index(lane.name)
    order = trial_order(episodes, request.sets, lane_number=number)
    return _while_in_time(order, begin_for_s, request.clock)


def _while_in_time(
    episodes: Iterable[EpisodePlan], begin_for_s: float, clock: Clock
) -> Iterator[EpisodePlan]:
    """Yields the episodes until so many seconds have passed since the first."""
    begun_s = None
    for episode in episodes:
        if begun_s is None:
            begun_s = clock.now()
        if clock.now() - begun_s > begin_for_s:
            return
        yield episode


def _by_engines(request: RunRequest) -> Callable[[tuple[LanePlan, ...]], tuple[LanePlan, ...]]:
    """Returns which lanes of a session play now: all, unless their engines do not fit on this machine
    together."""
    spec, source = request.spec, request.context.source
    if sum(part.engine is not None for _, part in spec.methods().values()) < 2:
        return tuple

    def choose(lanes: tuple[LanePlan, ...]) -> tuple[LanePlan, ...]:
        from harness.access.engine_turns import engine_turns  # slow to load: engines

        seatings = {lane.name: lane.seating for lane in lanes}
        turns = engine_turns(spec, seatings, source=source, engines_max=request.options.engines_max)
        return tuple(lane for lane in lanes if lane.name in turns[0])

    return choose


def _early_stopping(request: RunRequest, connection: Readable, run_id: str) -> EarlyStopping:
    from harness.running.early_stopping import early_stopping  # slow to load: statistics

    wall, notify = request.clock.wall, request.context.notify
    return early_stopping(request.spec, request.sets, connection, run_id=run_id, wall=wall, notify=notify)


def _lane_plans(
    request: RunRequest, stored: Stored, early_stopping: EarlyStopping | None
) -> Iterator[LanePlan]:
    """Yields the lanes of all sessions."""
    spec, dealt = request.spec, request.spec.session_of_repeats()
    for name, seating in spec.seatings().items():
        settled = early_stopping is not None and len(seating.methods) == 1 and early_stopping.is_settled(name)
        ended, each = stored.ended[name], planned(seating, request.sets, repeats=1, arms=spec.arms(name))
        for session in dict.fromkeys(dealt):
            repeats = [repeat for repeat, of in enumerate(dealt) if of == session]
            ended_now = ended.count(repeats)
            yield LanePlan(
                seating=seating,
                session=session,
                repeats=repeats,
                planned=each * len(repeats),
                ended=ended_now,
                left=0 if settled else each * len(repeats) - ended_now,
                planned_in_all=each * spec.repeats,
                left_in_all=0 if settled else each * spec.repeats - len(ended),
            )


def _begins_at(request: RunRequest, stored: Stored, lanes: Sequence[LanePlan]) -> float:
    """Returns when the gap after the former session is over for every lane that has not begun its session."""

    def begun(lane: LanePlan) -> bool:
        if (lane.name, lane.session) in stored.session_ends:
            return True
        episodes = episodes_left(request, stored, lane) if stored.beginnings else ()
        return any(episode.episode_id in stored.beginnings for episode in episodes)

    before = [(lane, stored.session_ends.get((lane.name, lane.session - 1))) for lane in lanes]
    gap_s = request.spec.audit.gap_s
    return max((end + gap_s for lane, end in before if end is not None and not begun(lane)), default=0.0)

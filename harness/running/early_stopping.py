"""Ends the play of a method once its interim analyses have settled its verdict.

Joins the sweep's plans and records to audit/scores/interim_state.py; nothing of gates but whether they are
closed. Keeps: a method ends by its plans running out, so episodes in flight are played to their end and
stored; methods keep in step, for none begins the items of a block before the analysis of the block before
it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import anyio
import anyio.to_thread

from harness.audit.scores.evidence import AuditRules
from harness.audit.scores.interim import sentence
from harness.audit.scores.interim_state import (
    EpisodeResult,
    InterimDesign,
    ModelInterimAnalyses,
    look_record,
)
from harness.config.episode_plans import GameSet, looked_at
from harness.config.sweep import SweepSpec
from harness.core.protocols import RecordSink
from harness.core.records import EpisodeRecord, LookRecord, Record
from harness.core.vocabulary import EpisodePlan
from harness.store.query_server import Readable
from harness.store.reader import episode_rows, looks

CHECK_PERIOD_S = 0.25  # a lane that closes does not notify its waiting plans, so they ask this often


class InFlight(Protocol):
    """A lane's episodes in flight, and why the lane ends if it does."""

    @property
    def live(self) -> int: ...
    @property
    def closing(self) -> object: ...


class Closable(Protocol):
    @property
    def closed(self) -> object: ...


def early_stopping(
    spec: SweepSpec,
    sets: Mapping[str, GameSet],
    connection: Readable,
    *,
    run_id: str,
    wall: Callable[[], float],
    notify: Callable[[str], None],
) -> EarlyStopping:
    """Returns the interim analyses of this sweep, with those of earlier runs restored from the store.

    connection  to the store of earlier runs
    wall        seconds since 1970, now
    notify      is called with a sentence for each analysis"""
    chosen = spec.audit
    rules = AuditRules(
        margin=chosen.margin,
        margin_played=chosen.margin_played,
        margin_game=chosen.margin_game,
        alpha=chosen.alpha,
        seed=spec.seed,
    )
    designs = [
        InterimDesign(
            model=model,
            reference=reference,
            methods=tuple(
                name for name, (of, _) in spec.methods().items() if of == model and name != reference
            ),
            blocks=looked_at(sets, seed=spec.seed),
            repeats=spec.repeats,
            rules=rules,
        )
        for model, reference in spec.references().items()
    ]
    stopping = EarlyStopping(designs, run_id=run_id, wall=wall, notify=notify)
    rows = episode_rows(connection)
    results = (EpisodeResult(outcome, score) for outcome, score in zip(rows.outcome, rows.score, strict=True))
    cells = zip(rows.method, rows.item, rows.repeat, results, rows.arm, strict=True)
    stopping.restore(looks(connection), [cell[:4] for cell in cells if cell[4] == "main"])
    return stopping


class EarlyStopping:
    """The interim analyses of all models of a sweep, between the records that arrive and the plans that are
    left."""

    def __init__(
        self,
        designs: Sequence[InterimDesign],
        *,
        run_id: str,
        wall: Callable[[], float],
        notify: Callable[[str], None],
    ) -> None:
        self._models = [ModelInterimAnalyses(design) for design in designs]
        self._of = {
            name: model for model in self._models for name in (model.design.reference, *model.design.methods)
        }
        self._run_id = run_id
        self._wall = wall
        self._notify = notify
        self._wake = anyio.Event()
        self._analysing = anyio.Lock()
        self._changed = anyio.Event()

    def restore(
        self, made: Sequence[LookRecord], rows: Sequence[tuple[str, str, int, EpisodeResult]]
    ) -> None:
        """Takes over the analyses and the episodes of earlier runs."""
        for model in self._models:
            model.restore([look for look in made if look.model == model.design.model])
        for method, item, repeat, result in rows:
            if method in self._of:
                self._of[method].record_end(method, item, repeat, result)

    def is_settled(self, method: str) -> bool:
        """Returns whether no more play of the method is needed."""
        return method in self._of and self._of[method].is_settled(method)

    def until_settled(self, method: str, plans: Iterator[EpisodePlan]) -> Iterator[EpisodePlan]:
        """Yields the plans until the method is settled."""
        for plan in plans:
            if self.is_settled(method):
                return
            yield plan

    def closing_method(self, method: str, plans: Iterator[EpisodePlan]) -> Iterator[EpisodePlan]:
        """Yields the plans, and records when they have run out, for whatever reason."""
        yield from plans
        if method in self._of:
            self._of[method].close(method)
            self._notify_waiting()

    async def wait_for_analysis(
        self, method: str, plan: EpisodePlan, in_flight: InFlight, gate: Closable
    ) -> bool:
        """Waits while the plan belongs to a block whose predecessor is not analysed; a lane that closes does
        not wait. Returns whether the plan is still to be played."""
        model = self._of.get(method)
        while (
            model is not None
            and not (in_flight.closing or gate.closed)
            and model.must_wait(method, plan.item, idle=in_flight.live == 0)
        ):
            with anyio.move_on_after(CHECK_PERIOD_S):
                await self._changed.wait()
        return not self.is_settled(method)

    def _notify_waiting(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def tap(self, sink: RecordSink) -> RecordSink:
        """Returns a sink that passes records on and observes the ends of episodes."""
        return _RecordTap(sink, self.observe)

    def observe(self, record: Record) -> None:
        if (
            isinstance(record, EpisodeRecord)
            and record.arm == "main"
            and record.status != "abandoned"
            and record.method in self._of
        ):
            item = ":".join(
                (
                    record.game,
                    record.rules,
                    record.instance_set,
                    record.experiment,
                    record.instance,
                    record.content_hash,
                )
            )
            result = EpisodeResult(record.outcome if record.status == "finished" else None, record.score)
            if self._of[record.method].record_end(record.method, item, record.repeat, result):
                self._wake.set()

    async def run_analyses(self, sink: RecordSink) -> None:
        """Makes analyses as they fall due, until cancelled."""
        while True:
            self._wake = anyio.Event()
            await self.run_due_analyses(sink)
            await self._wake.wait()

    async def run_due_analyses(self, sink: RecordSink) -> None:
        """Makes the analyses that are due now, stores them and reports each in a sentence."""
        async with self._analysing:
            for model in self._models:
                await self._run_due(model, sink)
        self._notify_waiting()

    async def _run_due(self, model: ModelInterimAnalyses, sink: RecordSink) -> None:
        design = model.design
        for method, result in await anyio.to_thread.run_sync(model.run_due):
            await sink.put(look_record(result, design, method, run_id=self._run_id, at=self._wall()))
            words = sentence(result, method=method, reference=design.reference, margin=design.rules.margin)
            ended = (
                f" No more episodes of {method} are played." if result.settled and result.share < 1 else ""
            )
            self._notify(f"{words}{ended}")


class _RecordTap:
    """A RecordSink that also hands each record to an observer."""

    def __init__(self, sink: RecordSink, observe: Callable[[Record], None]) -> None:
        self._sink = sink
        self._observe = observe

    async def put(self, *records: Record) -> None:
        await self._sink.put(*records)
        for record in records:
            self._observe(record)

    def put_nowait(self, record: Record) -> None:
        self._sink.put_nowait(record)
        self._observe(record)

"""A running sweep's rows become looks, and looks end lanes.

Knows the plan's blocks of items and the episodes that came home; nothing of gates or stores. Keeps: an item counts only in the order of
the plan, so that no method's speed chooses what is looked at; a look is taken once, also over a resume; what is settled stays so.
A lane ends by its plans running out: episodes in flight are played to their end and stored. Lanes keep in step: none begins the items of
the next look before its own look is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import anyio
import anyio.to_thread

from harness.audit.scores.arrays import EpisodeColumns, ScoreArray, score_array
from harness.audit.scores.interim import (
    AlphaSpending,
    InterimResult,
    Rules,
    SequentialMonitor,
    first_items,
    interim_analysis,
    sentence,
    sequential_alarm,
    spending,
)
from harness.config.episode_plans import GameSet, looked_at
from harness.config.sweep import SweepSpec
from harness.core.errors import AuditError
from harness.core.protocols import RecordSink
from harness.core.records import EpisodeRecord, LookRecord, Record
from harness.core.vocabulary import EpisodePlan
from harness.store.query_server import Readable
from harness.store.reader import episode_rows, looks

Cell = tuple[str, str, int]  # method, item, repeat
LOOK_AGAIN_S = 0.25


class Underway(Protocol):
    """What a lane has in flight, and why it ends if it does."""

    @property
    def live(self) -> int: ...
    @property
    def closing(self) -> object: ...


class Closable(Protocol):
    @property
    def closed(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How an episode of the main arm ended; outcome None: it failed."""

    outcome: str | None
    score: float | None

    @property
    def points(self) -> float | None:
        """None where it failed."""
        return None if self.outcome is None else self.score or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What is looked at, fixed before the first call.

    methods  of one model, without the reference
    blocks   the items of each look, in the order in which their first repeats are planned"""

    model: str
    reference: str
    methods: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]
    repeats: int
    rules: Rules


class ModelInterimAnalyses:
    """One model's methods against its reference, as far as they have been played.

    verdicts  method -> its last look, once it is settled or was the last"""

    def __init__(self, design: Design) -> None:
        self.design = design
        self.verdicts: dict[str, InterimResult | LookRecord] = {}
        self._ended: dict[Cell, Ended] = {}
        self._missing = {
            method: [len(block) * design.repeats for block in design.blocks] for method in self._played
        }
        self._block = {item: number for number, block in enumerate(design.blocks) for item in block}
        self._taken: Counter[str] = Counter()
        self._left: set[str] = set()
        sizes = Counter(_game(item) for item in self._block)
        self._games = {game: place for place, game in enumerate(sizes)}
        self._tripwires = {method: SequentialMonitor(list(sizes.values())) for method in design.methods}
        self._first_plays = [item for block in design.blocks for item in block]
        self._reached = dict.fromkeys(design.methods, 0)
        self._spent = _spending(design)

    @property
    def _played(self) -> tuple[str, ...]:
        return (self.design.reference, *self.design.methods)

    def restore(self, taken: Sequence[LookRecord]) -> None:
        """What earlier runs looked at, in order."""
        for row in taken:
            if row.method in self.design.methods:
                self._taken[row.method] = row.look
                if row.verdict != "INCONCLUSIVE" or row.look == len(self._spent.shares):
                    self.verdicts[row.method] = row

    def hear(self, method: str, item: str, repeat: int, ended: Ended) -> bool:
        """Takes an episode's end; whether a look may be due now."""
        block = self._block.get(item)
        if block is None or method not in self._missing or repeat >= self.design.repeats:
            return False
        known = (method, item, repeat) in self._ended
        self._ended[method, item, repeat] = ended
        if not known:
            self._missing[method][block] -= 1
        return bool(self._due()) or self._feed_tripwires()

    def leave(self, method: str) -> None:
        """Nothing more is begun through this method, now or ever in this run."""
        self._left.add(method)

    def ahead(self, method: str, item: str, *, idle: bool) -> bool:
        """Whether this item's look block has to wait until the looks before it are taken: who runs ahead plays what may not be needed.

        idle   the method has no episode in flight"""
        block = self._block.get(item, 0)
        if idle and self._waits_for(method, block):
            return False  # what is missing will not come in this run
        if method != self.design.reference:
            reference_ended = self.design.reference in self._left and self._waits_for(
                self.design.reference, block
            )
            return method not in self.verdicts and self._taken[method] < block and not reference_ended
        others = [one for one in self.design.methods if one not in self.verdicts and one not in self._left]
        return bool(others) and all(self._taken[one] < block for one in others)

    def _waits_for(self, method: str, block: int) -> bool:
        return sum(self._missing[method][:block]) > 0

    def over(self, method: str) -> bool:
        """Whether nothing more needs to be played through this method; the reference is needed as long as another is."""
        if method == self.design.reference:
            return bool(self.design.methods) and all(one in self.verdicts for one in self.design.methods)
        return method in self.verdicts

    def take_due(self) -> list[tuple[str, InterimResult]]:
        """All looks that are due; takes a second of processor time, or some."""
        found = [
            (method, self._keep(method, self._alarm(method, number))) for method, number in self._alarmed()
        ]
        while due := self._due():
            for method, number in due:
                try:
                    found.append((method, self._keep(method, self._look(method, number))))
                except AuditError:  # nothing that both finished: nothing to see, and more may come
                    self._taken[method] = number
        return found

    def _due(self) -> list[tuple[str, int]]:
        """(method, look) pairs whose items are all played through method and reference."""
        due = []
        for method in self.design.methods:
            number = self._taken[method] + 1
            if method not in self.verdicts and number <= len(self._spent.shares):
                waiting = sum(sum(self._missing[one][:number]) for one in (self.design.reference, method))
                if waiting == 0:
                    due.append((method, number))
        return due

    def _alarmed(self) -> list[tuple[str, int]]:
        return [
            (method, self._taken[method] + 1)
            for method, wire in self._tripwires.items()
            if method not in self.verdicts and wire.highest >= self._open_difference() / self._spent.tripwire
        ]

    def _feed_tripwires(self) -> bool:
        for method, wire in self._tripwires.items():
            while self._reached[method] < len(self._first_plays):
                item = self._first_plays[self._reached[method]]
                a, b = (self._ended.get((one, item, 0)) for one in (self.design.reference, method))
                if a is None or b is None:
                    break
                self._reached[method] += 1
                if a.points is not None and b.points is not None:
                    wire.add(self._games[_game(item)], b.points - a.points)
        return bool(self._alarmed())

    def _keep(self, method: str, look: InterimResult) -> InterimResult:
        self._taken[method] = look.look
        if look.last:
            self.verdicts[method] = look
        return look

    def _look(self, method: str, number: int) -> InterimResult:
        scores = first_items(self._array(method, range(self.design.repeats)), self.design.blocks, number)
        equivalent = sum(1 for look in self.verdicts.values() if look.verdict == "EQUIVALENT")
        return interim_analysis(
            scores,
            self.design.reference,
            method,
            number=number,
            spent=self._spent,
            rules=self.design.rules,
            open_difference=self._open_difference(),
            open_equivalence=len(self.design.methods) - equivalent,
            e_value=self._tripwires[method].highest,
        )

    def _alarm(self, method: str, number: int) -> InterimResult:
        reached = self._reached[method]
        return sequential_alarm(
            first_items(self._array(method, range(1)), [self._first_plays[:reached]], 1),
            self.design.reference,
            method,
            number=number,
            spent=self._spent,
            share=reached / len(self._first_plays),
            e_value=self._tripwires[method].highest,
            open_difference=self._open_difference(),
        )

    def _open_difference(self) -> int:
        return len(self.design.methods) - sum(
            1 for look in self.verdicts.values() if look.verdict == "DIFFERENT"
        )

    def _array(self, method: str, repeats: range) -> ScoreArray:
        both = (self.design.reference, method)
        rows = [
            (cell, ended)
            for cell, ended in list(self._ended.items())
            if cell[0] in both and cell[2] in repeats
        ]
        return score_array(
            EpisodeColumns(
                method=[cell[0] for cell, _ in rows],
                game=[_game(cell[1]) for cell, _ in rows],
                item=[cell[1] for cell, _ in rows],
                repeat=[cell[2] for cell, _ in rows],
                outcome=[ended.outcome for _, ended in rows],
                score=[ended.score for _, ended in rows],
            )
        )


def _game(item: str) -> str:
    return item.partition(":")[0]


def _spending(design: Design) -> AlphaSpending:
    sizes = [len(block) for block in design.blocks if block]
    shares = tuple(sum(sizes[: number + 1]) / sum(sizes) for number in range(len(sizes)))
    return spending(shares, design.rules.alpha)


def early_stopping(
    spec: SweepSpec,
    sets: Mapping[str, GameSet],
    connection: Readable,
    *,
    run_id: str,
    wall: Callable[[], float],
    say: Callable[[str], None],
) -> EarlyStopping:
    """What may end this sweep before its end, knowing what earlier runs left in the store."""
    chosen = spec.audit
    rules = Rules(
        margin=chosen.margin,
        margin_played=chosen.margin_played,
        margin_game=chosen.margin_game,
        alpha=chosen.alpha,
        seed=spec.seed,
    )
    designs = [
        Design(
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
    stopping = EarlyStopping(designs, run_id=run_id, wall=wall, say=say)
    rows = episode_rows(connection)
    ended = (Ended(outcome, score) for outcome, score in zip(rows.outcome, rows.score, strict=True))
    cells = zip(rows.method, rows.item, rows.repeat, ended, rows.arm, strict=True)
    stopping.restore(looks(connection), [cell[:4] for cell in cells if cell[4] == "main"])
    return stopping


class EarlyStopping:
    """All models of a sweep; the seam between what comes home and what is still to be played."""

    def __init__(
        self, designs: Sequence[Design], *, run_id: str, wall: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        self._models = [ModelInterimAnalyses(design) for design in designs]
        self._of = {
            name: model for model in self._models for name in (model.design.reference, *model.design.methods)
        }
        self._run_id = run_id
        self._wall = wall
        self._say = say
        self._wake = anyio.Event()
        self._looking = anyio.Lock()
        self._moved = anyio.Event()

    def restore(self, taken: Sequence[LookRecord], rows: Sequence[tuple[str, str, int, Ended]]) -> None:
        """What earlier runs left in the store."""
        for model in self._models:
            model.restore([look for look in taken if look.model == model.design.model])
        for method, item, repeat, ended in rows:
            if method in self._of:
                self._of[method].hear(method, item, repeat, ended)

    def over(self, method: str) -> bool:
        """Whether nothing more needs to be played through this method."""
        return method in self._of and self._of[method].over(method)

    def until_over(self, method: str, plans: Iterator[EpisodePlan]) -> Iterator[EpisodePlan]:
        """The plans, as long as the method's question is open."""
        for plan in plans:
            if self.over(method):
                return
            yield plan

    def playing(self, method: str, plans: Iterator[EpisodePlan]) -> Iterator[EpisodePlan]:
        """The plans of a lane that is to be played: others hear when they have run out, for whatever reason."""
        yield from plans
        if method in self._of:
            self._of[method].leave(method)
            self._move()

    async def in_step(self, method: str, plan: EpisodePlan, tally: Underway, gate: Closable) -> None:
        """Waits while the method would run ahead of its looks; a lane that is closing need not."""
        model = self._of.get(method)
        while (
            model is not None
            and not (tally.closing or gate.closed)
            and model.ahead(method, plan.item, idle=tally.live == 0)
        ):
            with anyio.move_on_after(LOOK_AGAIN_S):  # what closes a lane tells nobody here
                await self._moved.wait()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    def listening(self, sink: RecordSink) -> RecordSink:
        """The sink, with an ear for episodes that end."""
        return _RecordTap(sink, self.hear)

    def hear(self, record: Record) -> None:
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
            ended = Ended(record.outcome if record.status == "finished" else None, record.score)
            if self._of[record.method].hear(record.method, item, record.repeat, ended):
                self._wake.set()

    async def look_on(self, sink: RecordSink) -> None:
        """Takes looks as they fall due, beside the play."""
        while True:
            self._wake = anyio.Event()
            await self.take_due(sink)
            await self._wake.wait()

    async def take_due(self, sink: RecordSink) -> None:
        """Takes the looks that are due now, stores and tells them."""
        async with self._looking:
            for model in self._models:
                await self._take_due(model, sink)
        self._move()

    async def _take_due(self, model: ModelInterimAnalyses, sink: RecordSink) -> None:
        design = model.design
        for method, look in await anyio.to_thread.run_sync(model.take_due):
            await sink.put(look_record(look, design, method, run_id=self._run_id, at=self._wall()))
            said = sentence(look, method=method, reference=design.reference, margin=design.rules.margin)
            self._say(f"{said} It is played no further." if look.settled and look.share < 1 else said)


class _RecordTap:
    """A RecordSink that lets another hear."""

    def __init__(self, sink: RecordSink, hear: Callable[[Record], None]) -> None:
        self._sink = sink
        self._hear = hear

    async def put(self, *records: Record) -> None:
        await self._sink.put(*records)
        for record in records:
            self._hear(record)

    def put_nowait(self, record: Record) -> None:
        self._sink.put_nowait(record)
        self._hear(record)


def look_record(look: InterimResult, design: Design, method: str, *, run_id: str, at: float) -> LookRecord:
    """The look as a row."""
    return LookRecord(
        run_id=run_id, model=design.model, method=method, reference=design.reference, at=at, **asdict(look)
    )

"""The state of one model's interim analyses while its sweep is played: which of them are due, and what they
found.

Knows the blocks of items and the episodes that ended; nothing of gates, stores or tasks. Keeps: an item
counts only in the order of the plan, so that the speed of a method does not choose what is analysed; an
analysis is made once, also over a resume; a settled verdict stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from harness.audit.scores.arrays import EpisodeColumns, ScoreArray, score_array
from harness.audit.scores.evidence import AuditRules
from harness.audit.scores.interim import (
    AlphaSpending,
    InterimResult,
    SequentialMonitor,
    first_items,
    interim_analysis,
    sequential_alarm,
    spending,
)
from harness.core.errors import AuditError
from harness.core.records import LookRecord
from harness.core.vocabulary import game_of_item

Cell = tuple[str, str, int]  # method, item, repeat


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """The end of an episode of the main arm; outcome None: it failed."""

    outcome: str | None
    score: float | None

    @property
    def points(self) -> float | None:
        """Returns the score, 0 if aborted or unscored; None if the episode failed."""
        return None if self.outcome is None else self.score or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimDesign:
    """The design of the interim analyses, fixed before the first call.

    methods  of one model, without the reference
    blocks   the items of each analysis, in the order in which their first repeats are planned"""

    model: str
    reference: str
    methods: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]
    repeats: int
    rules: AuditRules


class ModelInterimAnalyses:
    """One model's methods against its reference, as far as they have been played.

    verdicts  method -> its last analysis, once it is settled or the plan has no further one"""

    def __init__(self, design: InterimDesign) -> None:
        self.design = design
        self.verdicts: dict[str, InterimResult | LookRecord] = {}
        self._results: dict[Cell, EpisodeResult] = {}
        self._missing = {
            method: [len(block) * design.repeats for block in design.blocks]
            for method in (design.reference, *design.methods)
        }
        self._block = {item: number for number, block in enumerate(design.blocks) for item in block}
        self._made: Counter[str] = Counter()
        self._closed: set[str] = set()
        sizes = Counter(_game(item) for item in self._block)
        self._games = {game: place for place, game in enumerate(sizes)}
        self._monitors = {method: SequentialMonitor(list(sizes.values())) for method in design.methods}
        self._first_plays = [item for block in design.blocks for item in block]
        self._reached = dict.fromkeys(design.methods, 0)
        self._spending = _spending(design)

    def restore(self, made: Sequence[LookRecord]) -> None:
        """Takes over the analyses of earlier runs, in order."""
        for row in made:
            if row.method in self.design.methods:
                self._made[row.method] = row.look
                if row.verdict != "INCONCLUSIVE" or row.look == len(self._spending.shares):
                    self.verdicts[row.method] = row

    def record_end(self, method: str, item: str, repeat: int, result: EpisodeResult) -> bool:
        """Records the end of an episode; returns whether an analysis may be due now."""
        block = self._block.get(item)
        if block is None or method not in self._missing or repeat >= self.design.repeats:
            return False
        known = (method, item, repeat) in self._results
        self._results[method, item, repeat] = result
        if not known:
            self._missing[method][block] -= 1
        return bool(self._due()) or self._feed_monitors()

    def close(self, method: str) -> None:
        """Records that this run begins no further episode of the method."""
        self._closed.add(method)

    def must_wait(self, method: str, item: str, *, idle: bool) -> bool:
        """Returns whether the item waits for the analyses of the blocks before its own: they may make its
        play unnecessary.

        idle   the method has no episode in flight"""
        block = self._block.get(item, 0)
        if idle and self._lacks(method, block):
            return False  # the missing episodes do not end in this run
        reference = self.design.reference
        if method != reference:
            reference_stuck = reference in self._closed and self._lacks(reference, block)
            return method not in self.verdicts and self._made[method] < block and not reference_stuck
        others = [
            name for name in self.design.methods if name not in self.verdicts and name not in self._closed
        ]
        return bool(others) and all(self._made[name] < block for name in others)

    def _lacks(self, method: str, block: int) -> bool:
        """Returns whether an episode of the blocks before this one has not ended."""
        return sum(self._missing[method][:block]) > 0

    def is_settled(self, method: str) -> bool:
        """Returns whether no more play of the method is needed; the reference is needed as long as any other
        method is."""
        if method == self.design.reference:
            return bool(self.design.methods) and all(name in self.verdicts for name in self.design.methods)
        return method in self.verdicts

    def run_due(self) -> list[tuple[str, InterimResult]]:
        """Makes all analyses that are due; takes a second of processor time, or some."""
        made = [
            (method, self._keep(method, self._alarm(method, number))) for method, number in self._alarmed()
        ]
        while due := self._due():
            for method, number in due:
                try:
                    made.append((method, self._keep(method, self._analyse(method, number))))
                except AuditError:  # no item was finished by both: a later block may have some
                    self._made[method] = number
        return made

    def _due(self) -> list[tuple[str, int]]:
        """Returns the (method, analysis) pairs of which method and reference have played all items."""
        due = []
        for method in self.design.methods:
            number = self._made[method] + 1
            if method not in self.verdicts and number <= len(self._spending.shares):
                waiting = sum(sum(self._missing[name][:number]) for name in (self.design.reference, method))
                if waiting == 0:
                    due.append((method, number))
        return due

    def _alarmed(self) -> list[tuple[str, int]]:
        return [
            (method, self._made[method] + 1)
            for method, monitor in self._monitors.items()
            if method not in self.verdicts
            and monitor.highest >= self._open_difference() / self._spending.tripwire
        ]

    def _feed_monitors(self) -> bool:
        for method, monitor in self._monitors.items():
            while self._reached[method] < len(self._first_plays):
                item = self._first_plays[self._reached[method]]
                a, b = (self._results.get((name, item, 0)) for name in (self.design.reference, method))
                if a is None or b is None:
                    break
                self._reached[method] += 1
                if a.points is not None and b.points is not None:
                    monitor.add(self._games[_game(item)], b.points - a.points)
        return bool(self._alarmed())

    def _keep(self, method: str, result: InterimResult) -> InterimResult:
        self._made[method] = result.look
        if result.last:
            self.verdicts[method] = result
        return result

    def _analyse(self, method: str, number: int) -> InterimResult:
        scores = first_items(self._array(method, range(self.design.repeats)), self.design.blocks, number)
        equivalent = sum(1 for result in self.verdicts.values() if result.verdict == "EQUIVALENT")
        return interim_analysis(
            scores,
            self.design.reference,
            method,
            number=number,
            spent=self._spending,
            rules=self.design.rules,
            open_difference=self._open_difference(),
            open_equivalence=len(self.design.methods) - equivalent,
            e_value=self._monitors[method].highest,
        )

    def _alarm(self, method: str, number: int) -> InterimResult:
        reached = self._reached[method]
        return sequential_alarm(
            first_items(self._array(method, range(1)), [self._first_plays[:reached]], 1),
            self.design.reference,
            method,
            number=number,
            spent=self._spending,
            share=reached / len(self._first_plays),
            e_value=self._monitors[method].highest,
            open_difference=self._open_difference(),
        )

    def _open_difference(self) -> int:
        """Returns how many methods are not yet called different: Holm's divisor."""
        different = sum(1 for result in self.verdicts.values() if result.verdict == "DIFFERENT")
        return len(self.design.methods) - different

    def _array(self, method: str, repeats: range) -> ScoreArray:
        both = (self.design.reference, method)
        rows = [
            (cell, result)
            for cell, result in list(self._results.items())
            if cell[0] in both and cell[2] in repeats
        ]
        return score_array(
            EpisodeColumns(
                method=[cell[0] for cell, _ in rows],
                game=[_game(cell[1]) for cell, _ in rows],
                item=[cell[1] for cell, _ in rows],
                repeat=[cell[2] for cell, _ in rows],
                outcome=[result.outcome for _, result in rows],
                score=[result.score for _, result in rows],
            )
        )


def _game(item: str) -> str:
    return game_of_item(item)


def _spending(design: InterimDesign) -> AlphaSpending:
    sizes = [len(block) for block in design.blocks if block]
    shares = tuple(sum(sizes[: number + 1]) / sum(sizes) for number in range(len(sizes)))
    return spending(shares, design.rules.alpha)


def look_record(
    result: InterimResult, design: InterimDesign, method: str, *, run_id: str, at: float
) -> LookRecord:
    """Returns the analysis as a row of the store."""
    return LookRecord(
        run_id=run_id, model=design.model, method=method, reference=design.reference, at=at, **asdict(result)
    )

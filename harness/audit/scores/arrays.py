"""Turns rows of episodes into arrays.

Knows what an outcome is worth to an audit; nothing of stores or statistics. Keeps: method, item and repeat
decide an episode's place, whatever the order of the rows; a missing episode stays visible as missing. Does
not promise: that all methods played all items; comparisons drop items pairwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.errors import AuditError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Column = Sequence[Any] | npt.NDArray[Any]

ABSENT, FAILED, SUCCESS, LOST, ABORTED, UNSCORED = -2, -1, 0, 1, 2, 3
CODES = {None: FAILED, "success": SUCCESS, "lost": LOST, "aborted": ABORTED, "unscored": UNSCORED}


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeColumns:
    """Episodes as columns, as a query returns them: lists or numpy arrays of one length, masked where NULL.

    item      the item's key, content hash included: two methods played the same item only if it agrees
    repeat    a play of the item, unique within its batch
    outcome   "success", "lost", "aborted", "unscored", or None for a failed episode
    score     main score in [0, 100]; None or NaN when aborted, unscored or failed
    batch     plays near in time share a batch; None: unknown, so all count as one batch
    calls     requests sent; None if not counted
    cost_usd  their cost; None if not known
    session   the session in which the repeat was played; None: all repeats are one session
    started_at, finished_at  seconds since 1970, 0 or less: unknown; None: all unknown"""

    method: Column
    game: Column
    item: Column
    repeat: Column
    outcome: Column
    score: Column
    batch: Column | None = None
    calls: Column | None = None
    cost_usd: Column | None = None
    session: Column | None = None
    started_at: Column | None = None
    finished_at: Column | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GameScores:
    """One game's episodes.

    outcome  (methods, items, repeats), the codes above: ABSENT where nothing was played, FAILED where the
             play failed
    score    same shape, main score in [0, 100]; NaN unless the outcome is success or lost"""

    game: str
    items: tuple[str, ...]
    outcome: npt.NDArray[np.int8]
    score: FloatArray

    @property
    def finished(self) -> BoolArray:
        return np.asarray(self.outcome >= SUCCESS, dtype=np.bool_)

    @property
    def failed(self) -> BoolArray:
        return np.asarray(self.outcome == FAILED, dtype=np.bool_)

    @property
    def points(self) -> FloatArray:
        """Returns the score, 0 when aborted or unscored; NaN where there is no finished episode."""
        return np.where(self.finished, np.nan_to_num(self.score), np.nan)

    @property
    def played(self) -> FloatArray:
        """Returns 1 unless aborted; NaN where there is no finished episode."""
        return np.where(self.finished, self.outcome != ABORTED, np.nan)

    @property
    def succeeded(self) -> FloatArray:
        """Returns 1 for a success; NaN where there is no finished episode."""
        return np.where(self.finished, self.outcome == SUCCESS, np.nan)

    @property
    def scored(self) -> BoolArray:
        """Returns which episodes clemscore counts as published: finished and not unscored."""
        return self.finished & np.asarray(self.outcome != UNSCORED, dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreArray:
    """All episodes of an audit.

    methods               sorted by name, the first axis of every game's arrays
    batches               the batch of each repeat, the last axis of every game's arrays
    calls_per_episode     (methods,), NaN where not counted
    cost_per_episode_usd  (methods,), NaN where not known
    sessions              the session of each repeat; empty: all repeats are one session
    times                 for each method (plays, 2), when its plays started and finished; empty: unknown"""

    methods: tuple[str, ...]
    games: tuple[GameScores, ...]
    batches: tuple[int, ...]
    calls_per_episode: FloatArray
    cost_per_episode_usd: FloatArray
    sessions: tuple[int, ...] = ()
    times: tuple[FloatArray, ...] = ()

    @property
    def repeats(self) -> int:
        return len(self.batches)

    def index(self, method: str) -> int:
        """Returns the method's row; AuditError if it has no episode."""
        if method not in self.methods:
            raise AuditError(
                f"There are no episodes of the access method {method!r}; there are episodes of "
                f"{', '.join(self.methods)}."
            )
        return self.methods.index(method)


EMPTY = ScoreArray(
    methods=(), games=(), batches=(), calls_per_episode=np.empty(0), cost_per_episode_usd=np.empty(0)
)


def score_array(columns: EpisodeColumns, methods: Sequence[str] | None = None) -> ScoreArray:
    """Returns the episodes of these methods (default: all) as arrays.

    raises  AuditError if there are none, if an outcome is unknown, if a score is outside [0, 100], or if two
            rows have the same method, item, batch and repeat"""
    size = len(columns.method)
    chosen = _chosen(columns.method, methods)
    if not chosen.any():
        raise AuditError("There are no episodes to audit: no row has one of the access methods asked for.")
    method_names, method = _coded(columns.method, chosen)
    game_names, game = _coded(columns.game, chosen)
    item_names, item = _coded(columns.item, chosen)
    items, place = np.unique(game * len(item_names) + item, return_inverse=True)
    batch_of_slot, slot = _slots(columns, chosen)
    outcome = _outcomes(columns.outcome, chosen)
    score = _floats(columns.score, size)[chosen]
    _check_scores(outcome, score)

    shape = (len(method_names), len(items), len(batch_of_slot))
    flat = (method * shape[1] + place) * shape[2] + slot
    if np.bincount(flat, minlength=1).max() > 1:
        raise AuditError(
            "Two rows have the same method, item, batch and repeat; "
            "pass the last attempt of each episode only."
        )
    outcome_cube = np.full(shape, ABSENT, dtype=np.int8)
    score_cube = np.full(shape, np.nan)
    outcome_cube.reshape(-1)[flat] = outcome
    score_cube.reshape(-1)[flat] = np.where((outcome == SUCCESS) | (outcome == LOST), score, np.nan)

    starts = np.searchsorted(items, np.arange(len(game_names) + 1) * len(item_names))
    return ScoreArray(
        methods=method_names,
        games=tuple(
            GameScores(
                game=name,
                items=tuple(item_names[key % len(item_names)] for key in items[start:stop].tolist()),
                outcome=outcome_cube[:, start:stop],
                score=score_cube[:, start:stop],
            )
            for name, start, stop in zip(game_names, starts[:-1], starts[1:], strict=True)
        ),
        batches=batch_of_slot,
        calls_per_episode=_mean_by(method, columns.calls, chosen, shape[0]),
        cost_per_episode_usd=_mean_by(method, columns.cost_usd, chosen, shape[0]),
        sessions=_sessions(columns.session, chosen, slot, len(batch_of_slot)),
        times=_times(columns, chosen, method, shape[0]),
    )


def _chosen(column: Column, methods: Sequence[str] | None) -> BoolArray:
    if methods is None:
        return np.ones(len(column), dtype=np.bool_)
    wanted = frozenset(methods)
    return np.fromiter((value in wanted for value in _plain(column)), dtype=np.bool_, count=len(column))


def _plain(column: Column) -> Sequence[Any]:
    """Returns a column as a list, None where it is masked."""
    return column.tolist() if isinstance(column, np.ndarray) else column


def _floats(column: Column, size: int) -> FloatArray:
    """Returns a column as numbers, NaN where it is None or masked."""
    if isinstance(column, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(column.astype(np.float64), np.nan))
    if isinstance(column, np.ndarray) and column.dtype != np.object_:
        return column.astype(np.float64)
    return np.fromiter((np.nan if value is None else value for value in column), dtype=np.float64, count=size)


def _coded(column: Column, chosen: BoolArray) -> tuple[tuple[str, ...], IntArray]:
    """Returns the distinct names, sorted, and each chosen row's place among them."""
    values = np.fromiter(_plain(column), dtype=np.object_, count=len(column))[chosen]
    names = tuple(sorted(set(values)))
    place = {name: index for index, name in enumerate(names)}
    return names, np.fromiter(map(place.__getitem__, values), dtype=np.int64, count=len(values))


def _slots(columns: EpisodeColumns, chosen: BoolArray) -> tuple[tuple[int, ...], IntArray]:
    """Returns the batch of each (batch, repeat) that occurs, in order, and each row's place among them."""
    repeat = np.asarray(columns.repeat, dtype=np.int64)[chosen]
    batch = (
        np.zeros_like(repeat) if columns.batch is None else np.asarray(columns.batch, dtype=np.int64)[chosen]
    )
    span = int(repeat.max()) + 1
    slots, slot = np.unique(batch * span + repeat, return_inverse=True)
    return tuple((slots // span).tolist()), slot.astype(np.int64)


def _sessions(column: Column | None, chosen: BoolArray, slot: IntArray, slots: int) -> tuple[int, ...]:
    """Returns the session of each (batch, repeat); the first where its rows name several."""
    if column is None:
        return ()
    values = np.nan_to_num(_floats(column, len(chosen))[chosen]).astype(np.int64)
    first = np.full(slots, np.iinfo(np.int64).max)
    np.minimum.at(first, slot, values)
    return tuple(first.tolist())


def _times(
    columns: EpisodeColumns, chosen: BoolArray, method: IntArray, methods: int
) -> tuple[FloatArray, ...]:
    """Returns for each method when its plays started and finished, (plays, 2), those of known times only."""
    if columns.started_at is None or columns.finished_at is None:
        return ()
    size = len(chosen)
    times = np.stack([_floats(columns.started_at, size), _floats(columns.finished_at, size)], axis=1)[chosen]
    known = np.nan_to_num(times[:, 0]) > 0
    return tuple(times[known & (method == m)] for m in range(methods))


def _outcomes(column: Column, chosen: BoolArray) -> npt.NDArray[np.int8]:
    values = _plain(column)
    unknown = set(values) - CODES.keys()
    if unknown:
        first = sorted(map(str, unknown))[0]
        raise AuditError(
            f"Unknown outcome {first!r}: an episode is success, lost, aborted, unscored, or None if failed."
        )
    return np.fromiter(map(CODES.__getitem__, values), dtype=np.int8, count=len(values))[chosen]


def _check_scores(outcome: npt.NDArray[np.int8], score: FloatArray) -> None:
    counted = score[(outcome == SUCCESS) | (outcome == LOST)]
    if not ((counted >= 0) & (counted <= 100)).all():
        raise AuditError("An episode that was won or lost has no main score in [0, 100].")


def _mean_by(method: IntArray, column: Column | None, chosen: BoolArray, methods: int) -> FloatArray:
    """Returns the column's mean for each method, NaN where no value is known."""
    if column is None:
        return np.full(methods, np.nan)
    values = _floats(column, len(chosen))[chosen]
    known = np.isfinite(values)
    total = np.bincount(method[known], weights=values[known], minlength=methods)
    count = np.bincount(method[known], minlength=methods)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)

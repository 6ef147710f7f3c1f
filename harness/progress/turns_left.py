"""Follows the episodes of a run, and estimates the turns that they still take.

Knows plans and rows; nothing of time. Keeps: an episode is followed from the moment the scheduler takes its
plan until its row, or until it is left for a later run; the memory depends on the episodes that are open,
not on the sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

from harness.core.records import EpisodeRecord, TurnRecord
from harness.core.vocabulary import EpisodePlan
from harness.progress.life_table import (
    OUTLIVED_TIMES,
    PRIOR_PLAYS,
    LifeTable,
    Remainder,
    outlived_survival,
)

EXPECTED_DEVIATION = 0.3  # relative; of the lengths of bots' episodes from those of a model


@dataclass(slots=True)
class _OpenEpisode:
    lane: str
    game: str
    table: LifeTable
    turns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsLeft:
    """The turns that a lane's episodes still take.

    mean, variance   of the sum over all of them
    ending           the episodes that end last: (number of plays, survival of each); all that are open once
                     the last one has begun
    outlived         the survival of open episodes that are far longer than any that ended; not in `ending`
    doubt            relative standard deviation of the lengths themselves, as few plays are known
    episodes         how many episodes are left
    never_begun      how many of them have not begun"""

    mean: float = 0.0
    variance: float = 0.0
    ending: tuple[tuple[float, list[float]], ...] = ()
    outlived: tuple[list[float], ...] = ()
    doubt: float = 0.0
    episodes: int = 0
    never_begun: int = 0


class EpisodeTurns:
    """See the module's header.

    planned      lane -> game -> episodes of this run
    turn_limits  game -> turns after which an episode ends at the latest; None: not known"""

    def __init__(
        self, planned: Mapping[str, Mapping[str, int]], *, turn_limits: Mapping[str, int | None]
    ) -> None:
        self._planned = planned
        self._turn_limits = turn_limits
        self._open: dict[str, _OpenEpisode] = {}
        self._games: dict[str, LifeTable] = {}
        self._tables: dict[tuple[str, str], LifeTable] = {}
        self._begun: Counter[tuple[str, str]] = Counter()
        self._all_begun: set[str] = set()

    def expect(self, game: str, lengths: Iterable[int]) -> None:
        """Takes the lengths of plays that are like the coming ones."""
        expected = self._of_game(game).behind
        assert expected is not None
        for turns in lengths:
            expected.add_play(turns)

    def following(self, lane: str, plans: Iterator[EpisodePlan]) -> Iterator[EpisodePlan]:
        """Yields the plans of a lane, and notes each one as begun when it is taken."""
        for plan in plans:
            game = plan.instance.game
            self._open[plan.episode_id] = _OpenEpisode(lane, game, self._table(lane, game))
            self._begun[lane, game] += 1
            yield plan
        self._all_begun.add(lane)

    def count(self, record: TurnRecord | EpisodeRecord) -> None:
        """Takes a row of an episode: a turn that was answered, or the end."""
        if isinstance(record, TurnRecord):
            self.reach(record.episode_id, record.turn + 1)
        elif record.status != "abandoned":
            episode = self._open.pop(record.episode_id, None)
            if episode is not None and record.status == "finished":
                episode.table.end(record.turns)

    def leave(self, plan: EpisodePlan) -> None:
        """Takes that an episode takes no further turn in this run, although it has no row of its end."""
        self._open.pop(plan.episode_id, None)

    def reach(self, episode_id: str, turns: int) -> None:
        """Takes that so many turns of an episode were answered."""
        episode = self._open.get(episode_id)
        if episode is not None:
            episode.turns = turns
            episode.table.reach(turns)

    def left(self, lane: str, *, side_by_side: int) -> TurnsLeft:
        """Returns the turns that a lane still takes.

        side_by_side   how many of its episodes are played at once"""
        planned = self._planned[lane]
        remainders = {game: Remainder(self._table(lane, game).hazards()) for game in planned}
        fresh = {
            game: count
            for game, episodes in planned.items()
            if lane not in self._all_begun and (count := episodes - self._begun[lane, game]) > 0
        }
        mean = variance = 0.0
        for game, count in fresh.items():
            one = remainders[game]
            mean += count * one.mean[0]
            variance += one.variance[0] * count + (self._doubt(game) * count * one.mean[0]) ** 2
        open_now = Counter((one.game, one.turns) for one in self._open.values() if one.lane == lane)
        outlived = {place for place in open_now if self._outlived(*place, remainders)}
        for (game, turns), count in open_now.items():
            one = remainders[game]
            if (game, turns) in outlived:  # its median stands for the mean, which such a law need not have
                rest = self._at_most(game, turns, turns)
                mean += count * rest
                variance += count * rest**2
            else:
                mean += count * self._at_most(game, turns, one.mean[one.age(turns)])
                variance += count * one.variance[one.age(turns)]
        never_begun = sum(fresh.values())
        if never_begun:  # when the last one begins, the others are met midway
            places = max(1, min(side_by_side, never_begun + sum(open_now.values())))
            ending = [
                (plays * count / never_begun, survival)
                for game, count in fresh.items()
                for plays, survival in (
                    (1.0, remainders[game].survival(0)),
                    (places - 1.0, remainders[game].survival_midway()),
                )
            ]
        else:
            ending = [
                (float(count), remainders[game].survival(turns))
                for (game, turns), count in open_now.items()
                if (game, turns) not in outlived
            ]
        games = {*fresh, *(game for game, _ in open_now)}
        return TurnsLeft(
            mean=mean,
            variance=variance,
            ending=tuple(ending),
            outlived=tuple(outlived_survival(turns, self._turn_limits.get(game)) for game, turns in outlived),
            doubt=max(map(self._doubt, games), default=0.0),
            episodes=never_begun + sum(open_now.values()),
            never_begun=never_begun,
        )

    def _outlived(self, game: str, turns: int, remainders: Mapping[str, Remainder]) -> bool:
        """Returns whether an episode with so many turns behind it is far longer than what is known."""
        one = remainders[game]
        return turns > max(OUTLIVED_TIMES * self._of_game(game).longest, one.mean[one.age(turns)])

    def _at_most(self, game: str, turns: int, rest: float) -> float:
        """Returns the rest of an episode, cut at the game's limit of turns."""
        limit = self._turn_limits.get(game)
        return rest if limit is None else min(rest, float(max(1, limit - turns)))

    def _doubt(self, game: str) -> float:
        """Returns the relative standard deviation of a game's mean length: that of the expectation, until
        plays of this run have taken its place."""
        return EXPECTED_DEVIATION * sqrt(PRIOR_PLAYS / (PRIOR_PLAYS + self._of_game(game).plays))

    def _table(self, lane: str, game: str) -> LifeTable:
        table = self._tables.get((lane, game))
        if table is None:
            table = self._tables[lane, game] = LifeTable(behind=self._of_game(game))
        return table

    def _of_game(self, game: str) -> LifeTable:
        return self._games.setdefault(game, LifeTable(behind=LifeTable()))

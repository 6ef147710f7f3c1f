"""The values of published clembench results: who played, which episode, how it ended.

Knows the habits of the names and figures (`-t0.0` in names, NaN for no score); opens no file. Keeps: an
episode's place is its pair, game, experiment and number; an aborted episode has no score, and an episode with
a score was played."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.vocabulary import Outcome, Requests, State, digest
from harness.transfer.clembench_transcripts import Exchange

EPISODE_FOLDER = re.compile(r"(episode|instance)_(\d+)")
EXPERIMENT_INDEX = re.compile(r"^\d+_")
TEMPERATURE = re.compile(r"(.+)-t(\d+(?:\.\d+)?)")
TWO_TEMPERATURES = re.compile(r"(.+-t\d+(?:\.\d+)?)--(.+)")
OUTCOME_METRICS = (
    "Aborted",
    "Main Score",
    "Success",
    "Lose",
    "Request Count",
    "Parsed Request Count",
    "Violated Request Count",
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pair:
    """The players of an episode.

    name          the folder's name
    players       without the suffix `-t0.0`, which v1.6 adds to every name
    temperature   of every player; None if the name does not state it, or if they differ"""

    name: str
    players: tuple[str, ...]
    temperature: float | None

    @property
    def method(self) -> str:
        """Returns the pair's name as an access method: one name for a model that plays with itself."""
        return "+".join(dict.fromkeys(self.players))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPlace:
    """The identity of an episode: no two of one pair have the same. `experiment` is without v1.6's leading
    index."""

    pair: Pair
    game: str
    rules: str
    experiment: str
    instance: str

    @property
    def name_hash(self) -> str:
        """Returns a hash of the item's name, for an item whose instance was not published."""
        return digest(self.game, self.experiment, self.instance)

    def __str__(self) -> str:
        return f"{self.pair.name}/{self.game}/{self.experiment}/{self.instance}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedEpisode:
    """One published play.

    source          the folder of results, or the table
    instance_hash   of the instance's own file; None if it was not published
    outcome         None if the play failed
    failure         the reason of a failed play
    exchanges       the transcript; empty if there is none
    transcript_problem   the reason why a published transcript was left out"""

    place: ResultPlace
    source: Path
    instance_hash: str | None
    outcome: Outcome | None
    failure: str = ""
    exchanges: tuple[Exchange, ...] = ()
    transcript_problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigures:
    """Averages of one pair over one game's episodes, rounded as published.

    quality, quality_std   None if nothing was played"""

    pair: Pair
    game: str
    played: float
    quality: float | None
    quality_std: float | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A result that cannot be read: file, place and reason in one line."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One source of results: its pairs are known, its episodes are read when they are needed."""

    pairs: tuple[Pair, ...]
    episodes: Iterable[PublishedEpisode | Unreadable] = ()
    figures: Sequence[PublishedFigures | Unreadable] = ()


def read_pair(name: str) -> Pair:
    """Returns the pair of a folder's name: `A--B`, in v1.6 with `-t0.0` after each name."""
    half = (len(name) - 2) // 2
    if name == f"{name[:half]}--{name[:half]}":
        halves = [name[:half]] * 2
    elif two := TWO_TEMPERATURES.fullmatch(name):
        halves = [two[1], two[2]]
    else:
        halves = name.split("--", 1)
    stated = [TEMPERATURE.fullmatch(player) for player in halves]
    temperatures = {float(match[2]) if match else None for match in stated}
    return Pair(
        name=name,
        players=tuple(
            match[1] if match and float(match[2]) == 0 else player
            for match, player in zip(stated, halves, strict=True)
        ),
        temperature=temperatures.pop() if len(temperatures) == 1 else None,
    )


def read_place(pair: str, game: str, experiment: str, episode: str) -> ResultPlace | None:
    """Returns the place that these names state; None if `episode` is not the name of one."""
    named = EPISODE_FOLDER.fullmatch(episode)
    if not named:
        return None
    early = named[1] == "episode"
    return ResultPlace(
        pair=read_pair(pair),
        game=game,
        rules="v1.6" if early else "clemcore",
        experiment=EXPERIMENT_INDEX.sub("", experiment) if early else experiment,
        instance=str(int(named[2])),
    )


def read_number(value: object, where: str) -> float:
    """Returns the number; NaN for a value that is not there.

    raises  SpecError with the place if it is something else"""
    if value is None or value == "":
        return nan
    try:
        return float(str(value) if not isinstance(value, bool) else value)
    except ValueError as error:
        raise SpecError(f"{where} is {value!r}, not a number") from error


def read_outcome(metrics: Mapping[str, float], where: str) -> Outcome:
    """Returns an episode's outcome by its published metrics; played without a main score is unscored.

    raises  SpecError with the metric that no published score has"""
    aborted, score = metrics.get("Aborted", nan), metrics.get("Main Score", nan)
    if aborted not in (0, 1):
        value = f"{aborted:g}" if "Aborted" in metrics else "missing"
        raise SpecError(f"{where}: Aborted is {value}, not 0 or 1")
    if aborted and not isnan(score):
        raise SpecError(f"{where}: Aborted is 1, yet Main Score is {score:g}; an aborted episode's is NaN")
    if not aborted and not isnan(score) and not 0 <= score <= 100:
        raise SpecError(f"{where}: Main Score is {score:g}, not in [0, 100]")
    state = _state(aborted=bool(aborted), score=score, success=metrics.get("Success", nan))
    return Outcome(
        state=state,
        score=None if isnan(score) else score,
        reason="played, but no main score was published" if state == "unscored" else f"published as {state}",
        requests=Requests(
            total=_count(metrics, "Request Count"),
            parsed=_count(metrics, "Parsed Request Count"),
            violated=_count(metrics, "Violated Request Count"),
        ),
        metrics={name: value for name, value in metrics.items() if name not in OUTCOME_METRICS},
    )


def _state(*, aborted: bool, score: float, success: float) -> State:
    """Returns the state; a game without the metric Success is won at the full score."""
    if aborted:
        return "aborted"
    if isnan(score):
        return "unscored"
    won = score == 100 if isnan(success) else success == 1
    return "success" if won else "lost"


def _count(metrics: Mapping[str, float], name: str) -> int:
    value = metrics.get(name, 0.0)
    return 0 if not abs(value) < 2**53 else int(value)  # NaN and Infinity count nothing

"""Imports published results into a store, each episode once.

Knows which access methods are one model by the user's word. Keeps: rows are only added; a result that the
store holds is counted; one that is in these results twice, or that the store holds with another outcome, is
refused by name; one that cannot be read does not hide the others. An item that an access method of a model
has in a game, and another one with results in this game has not, becomes a failed play of the other: a play
without a record is missing, not lost. The audit's margins stay those of the store's last sweep. Rows are
committed in batches, and an interrupted import can be repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path

import orjson

from harness.config.sweep import AuditPart
from harness.core.errors import SpecError
from harness.core.records import ModelRecord, Record, SweepRecord
from harness.core.vocabulary import digest
from harness.store.file import open_to_write
from harness.store.reader import ImportedEpisode, imported_episodes, methods_of_models, summaries
from harness.store.resuming import latest_spec
from harness.store.writer import write_batch
from harness.transfer.clembench_results import FindGame, open_results
from harness.transfer.published import (
    Pair,
    PublishedEpisode,
    PublishedFigures,
    ResultPlace,
    Results,
    Unreadable,
)
from harness.transfer.rows import INSTANCE_SET, episode_rows, method_row, summary_row, transcript_rows

BATCH_ROWS = 20_000
NO_RECORD = "no record: another access method of this model has the item"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportEnd:
    """The result of an import.

    episodes      added, those that aborted, failed and were not scored included
    missing       added for items without a record; part of `failed`
    summaries     added: averages of one method and game
    transcripts   added to episodes that were in the store without one
    without_transcript   of the added episodes, those that were played and have none
    known         episodes and averages that the store held already, with the same outcome and figures
    problems      a line for each result, or transcript, that was left out, with the reason"""

    episodes: int
    aborted: int
    unscored: int
    failed: int
    missing: int
    summaries: int
    transcripts: int
    without_transcript: int
    known: int
    methods: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """The models of pairs: (model, pattern of pair names). A pair that no pattern names is its own model."""

    rules: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, options: Sequence[str]) -> Grouping:
        """Reads texts "MODEL=PATTERN", or "MODEL" for all pairs.

        raises  SpecError if a text has another form"""
        rules = []
        for option in options:
            model, _, pattern = option.partition("=")
            if not model or option.endswith("="):
                raise SpecError(
                    f"--model {option!r}: write MODEL=PAIRS, such as 'llama-3-70b=Llama-3-70B-*',"
                    " or MODEL for all pairs"
                )
            rules.append((model, pattern or "*"))
        return cls(tuple(rules))

    def models(self, pairs: Sequence[Pair]) -> dict[str, str]:
        """Returns access method -> its model.

        raises  SpecError if a pattern names no pair, or two of them give one pair to two models"""
        for model, pattern in self.rules:
            if not any(_matches(pattern, pair) for pair in pairs):
                names = ", ".join(sorted({pair.method for pair in pairs}))
                raise SpecError(f"--model {model}={pattern}: matches no pair; there are {names}")
        return {pair.method: self._model(pair) for pair in pairs}

    def _model(self, pair: Pair) -> str:
        models = list(dict.fromkeys(model for model, pattern in self.rules if _matches(pattern, pair)))
        if len(models) > 1:
            raise SpecError(
                f"--model: {pair.method} is given to {models[0]} and to {models[1]};"
                " it can belong to one model only"
            )
        return models[0] if models else pair.method


def _matches(pattern: str, pair: Pair) -> bool:
    """Compares with the folder's and the access method's name, without case: one published model is 70B and
    70b."""
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for name in (pair.name, pair.method))


def import_results(
    paths: Sequence[Path],
    store: Path,
    grouping: Grouping,
    *,
    wall_s: float,
    notify: Callable[[str], None],
    find_game: FindGame = lambda game, folder: None,
) -> ImportEnd:
    """Imports everything at these paths that the store does not hold yet.

    wall_s      the time of the import, for its row
    notify      receives a line about an update of the store
    find_game   see open_results
    raises      SpecError, before anything is written, if a path holds no results or the grouping does not fit
                them; StoreError"""
    sources = [open_results(path, find_game=find_game) for path in paths]
    models = grouping.models(sorted({pair for source in sources for pair in source.pairs}))
    with open_to_write(store, notify=notify) as connection:
        stored = methods_of_models(connection)
        _refuse_other_models(models, stored, store)
        runs, last_spec = latest_spec(connection)
        importing = _Import(
            opening=_opening(f"{runs + 1:04}", paths, models, last_spec, wall_s),
            models={**{method: model for model, methods in stored.items() for method in methods}, **models},
            write=lambda rows: write_batch(connection, store, rows),
        )
        for episode in imported_episodes(connection, INSTANCE_SET):
            importing.know(episode)
        importing.figures = {
            (row.method, row.game): (row.played, row.quality, row.quality_std)
            for row in summaries(connection)
        }
        return importing.run(sources)


def _refuse_other_models(models: dict[str, str], stored: dict[str, list[str]], store: Path) -> None:
    for other, methods in stored.items():
        for method in methods:
            if models.get(method, other) != other:
                raise SpecError(
                    f"{store}: holds {method} as an access method of {other}, not of {models[method]};"
                    " import into a new store"
                )


def _opening(
    run_id: str, paths: Sequence[Path], models: dict[str, str], last_spec: dict[str, object], wall_s: float
) -> SweepRecord:
    """Returns the import's row among the sweeps; it keeps the audit decisions of the last one."""
    spec_json = orjson.dumps(
        {
            "import": {"results": [str(path) for path in paths], "models": models},
            "audit": last_spec.get("audit", asdict(AuditPart())),
            "seed": last_spec.get("seed", 0),
        },
        option=orjson.OPT_SORT_KEYS,
    ).decode()
    return SweepRecord(
        run_id=run_id,
        name="import",
        spec_json=spec_json,
        spec_hash=digest(spec_json),
        seed=0,
        version=version("lightbulb"),
        started_at=wall_s,
    )


ItemName = tuple[str, str, str, str]
"""game, rules, experiment, instance"""


def _item_name(place: ResultPlace) -> ItemName:
    return (place.game, place.rules, place.experiment, place.instance)


class ItemHashes:
    """The content hash of every item, the same however its plays were published.

    A folder publishes the instance, raw.csv only its name. Plays of one name are plays of one item, unless
    two published instances differ."""

    def __init__(self) -> None:
        self._known: dict[ItemName, dict[str, str | None]] = {}

    def know(self, place: ResultPlace, content_hash: str) -> None:
        """Takes the content hash of a stored episode: of its instance, or of its name."""
        instance_hash = None if content_hash == place.name_hash else content_hash
        self._known.setdefault(_item_name(place), {}).setdefault(content_hash, instance_hash)

    def of(self, place: ResultPlace, instance_hash: str | None) -> str:
        """Returns the content hash for a play of this place.

        instance_hash   of the published instance; None if only the name is known"""
        known = self._known.setdefault(_item_name(place), {})
        for content_hash, other in known.items():
            if other is None or instance_hash is None or other == instance_hash:
                known[content_hash] = other or instance_hash
                return content_hash
        content_hash = instance_hash or place.name_hash
        known[content_hash] = instance_hash
        return content_hash


@dataclass(slots=True, kw_only=True)
class _Known:
    """The last attempt of an episode. source: its results, if this import added or read it."""

    place: ResultPlace
    content_hash: str
    outcome: tuple[str, float | None] | None
    attempt: int
    has_transcript: bool
    source: Path | None = None


@dataclass(slots=True, kw_only=True)
class _Import:
    """One import under way.

    models   access method -> model, of these results and of the store
    write    commits a batch of rows
    figures  (method, game) -> the averages in the store"""

    opening: SweepRecord
    models: dict[str, str]
    write: Callable[[list[Record]], None]
    figures: dict[tuple[str, str], tuple[object, ...]] = field(default_factory=dict)
    episodes: dict[tuple[str, ...], _Known] = field(default_factory=dict)
    hashes: ItemHashes = field(default_factory=ItemHashes)
    rows: list[Record] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    twice: Counter[tuple[Path, Path]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    transcript_problems: list[str] = field(default_factory=list)

    def know(self, episode: ImportedEpisode) -> None:
        """Takes an episode that the store holds."""
        players = tuple(episode.seating.split("+"))
        place = ResultPlace(
            pair=Pair(name=episode.method, players=players, temperature=None),
            game=episode.game,
            rules=episode.rules,
            experiment=episode.experiment,
            instance=episode.instance,
        )
        self.hashes.know(place, episode.content_hash)
        self.episodes[episode.method, *_item_name(place)] = _Known(
            place=place,
            content_hash=episode.content_hash,
            outcome=(episode.outcome, episode.score) if episode.outcome else None,
            attempt=episode.attempt,
            has_transcript=episode.has_transcript,
        )

    def run(self, sources: Sequence[Results]) -> ImportEnd:
        for source in sources:
            for episode in source.episodes:
                if isinstance(episode, Unreadable):
                    self.problems.append(episode.text)
                else:
                    self._take_episode(episode)
            for figures in source.figures:
                if isinstance(figures, Unreadable):
                    self.problems.append(figures.text)
                else:
                    self._take_figures(figures)
        for place, content_hash in list(self._missing()):
            self.counts["missing"] += 1
            self._add_episode(
                PublishedEpisode(
                    place=place, source=Path(), instance_hash=None, outcome=None, failure=NO_RECORD
                ),
                content_hash,
                attempt=0,
            )
        self._commit()
        for (first, second), count in self.twice.items():
            self.problems.append(
                f"{count} episodes are in {first} and in {second}; those of {first} are imported"
            )
        if self.transcript_problems:
            self.problems.append(
                f"the transcripts of {len(self.transcript_problems)} imported episodes;"
                f" the first: {self.transcript_problems[0]}"
            )
        return ImportEnd(
            episodes=self.counts["episodes"],
            aborted=self.counts["aborted"],
            unscored=self.counts["unscored"],
            failed=self.counts["failed"],
            missing=self.counts["missing"],
            summaries=self.counts["summaries"],
            transcripts=self.counts["transcripts"],
            without_transcript=self.counts["without transcript"],
            known=self.counts["known"],
            methods=tuple(self.methods),
            problems=tuple(self.problems),
        )

    def _take_episode(self, episode: PublishedEpisode) -> None:
        key = (episode.place.pair.method, *_item_name(episode.place))
        outcome = (episode.outcome.state, episode.outcome.score) if episode.outcome else None
        known = self.episodes.get(key)
        if known is None:
            content_hash, attempt = self.hashes.of(episode.place, episode.instance_hash), 0
        elif known.outcome is None and outcome is not None:  # a failed play that was repeated
            content_hash, attempt = known.content_hash, known.attempt + 1
        elif known.source is not None:
            self.twice[known.source, episode.source] += 1
            return
        elif outcome in (known.outcome, None):
            self._take_known(episode, known)
            return
        else:
            self.problems.append(
                f"{'/'.join(key)}: its outcome is {known.outcome} in the store and {outcome} in these results;"
                " import into a new store"
            )
            return
        if episode.transcript_problem is not None:
            self.transcript_problems.append(episode.transcript_problem)
        if not episode.exchanges and outcome is not None:
            self.counts["without transcript"] += 1
        self._add_episode(episode, content_hash, attempt=attempt)

    def _take_known(self, episode: PublishedEpisode, known: _Known) -> None:
        """Counts an episode that the store holds, and adds its transcript if the store has none."""
        self.counts["known"] += 1
        known.source = episode.source
        if episode.exchanges and not known.has_transcript:
            self.counts["transcripts"] += 1
            self._add(
                episode.place.pair,
                transcript_rows(
                    episode,
                    run_id=self.opening.run_id,
                    content_hash=known.content_hash,
                    attempt=known.attempt,
                ),
            )

    def _take_figures(self, figures: PublishedFigures) -> None:
        key, found = (
            (figures.pair.method, figures.game),
            (figures.played, figures.quality, figures.quality_std),
        )
        if key not in self.figures:
            self.figures[key] = found
            self.counts["summaries"] += 1
            model = self.models[figures.pair.method]
            self._add(figures.pair, [summary_row(figures, run_id=self.opening.run_id, model=model)])
        elif self.figures[key] == found:
            self.counts["known"] += 1
        else:
            self.problems.append(
                f"{'/'.join(key)}: the store has {self.figures[key]}, these results have {found};"
                " import into a new store"
            )

    def _missing(self) -> Iterator[tuple[ResultPlace, str]]:
        """Yields the plays without a record: (place, content hash of the model's other plays)."""
        of_method: dict[tuple[str, str, str], set[ItemName]] = {}
        of_model: dict[tuple[str, str, str], dict[ItemName, str]] = {}
        pairs: dict[str, Pair] = {}
        for known in self.episodes.values():
            place, method = known.place, known.place.pair.method
            pairs[method] = place.pair
            of_method.setdefault((method, place.game, place.rules), set()).add(_item_name(place))
            items = of_model.setdefault((self.models[method], place.game, place.rules), {})
            items.setdefault(_item_name(place), known.content_hash)
        for (method, game, rules), names in of_method.items():
            for name, content_hash in of_model[self.models[method], game, rules].items():
                if name not in names:
                    _, _, experiment, instance = name
                    yield (
                        ResultPlace(
                            pair=pairs[method],
                            game=game,
                            rules=rules,
                            experiment=experiment,
                            instance=instance,
                        ),
                        content_hash,
                    )

    def _add_episode(self, episode: PublishedEpisode, content_hash: str, *, attempt: int) -> None:
        place, outcome = episode.place, episode.outcome
        self.episodes[place.pair.method, *_item_name(place)] = _Known(
            place=place,
            content_hash=content_hash,
            outcome=(outcome.state, outcome.score) if outcome else None,
            attempt=attempt,
            has_transcript=bool(episode.exchanges),
            source=episode.source,
        )
        self.counts["episodes"] += 1
        self.counts[outcome.state if outcome else "failed"] += 1
        self._add(
            place.pair,
            episode_rows(
                episode,
                run_id=self.opening.run_id,
                model=self.models[place.pair.method],
                content_hash=content_hash,
                attempt=attempt,
            ),
        )

    def _add(self, pair: Pair, rows: Iterable[Record]) -> None:
        """Adds rows of this pair, after those of the import and of the method."""
        if not self.methods:
            self.rows.append(self.opening)
        if pair.method not in self.methods:
            run_id, model = self.opening.run_id, self.models[pair.method]
            if model not in {self.models[method] for method in self.methods}:
                self.rows.append(ModelRecord(run_id=run_id, model=model, parameters=None))
            self.rows.append(method_row(pair, run_id=run_id, model=model))
            self.methods.append(pair.method)
        self.rows += rows
        if len(self.rows) >= BATCH_ROWS:
            self._commit()

    def _commit(self) -> None:
        if self.rows:
            self.write(self.rows)
            self.rows = []

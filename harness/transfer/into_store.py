"""The import: published results into a store, each episode once.

Knows which access methods the user says are one model. Keeps: what is already stored is counted, never added again; what stands
twice, or stands in the store otherwise, is refused by name; one broken episode does not lose the others; the audit's margins stay
those of the store's last sweep. Rows are committed in batches: an import that was interrupted goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path

import orjson

from harness.config.sweep import AuditPart
from harness.core.errors import SpecError
from harness.core.records import EpisodeRecord, ModelRecord, Record, SummaryRecord, SweepRecord
from harness.core.vocabulary import digest
from harness.store.file import open_to_write
from harness.store.reader import known_outcomes, methods_of_models, summaries
from harness.store.resuming import latest_spec
from harness.store.writer import write_batch
from harness.transfer.clembench_results import (
    Broken,
    Pair,
    PublishedEpisode,
    PublishedFigures,
    Results,
    open_results,
)
from harness.transfer.rows import INSTANCE_SET, episode_rows, method_row, summary_row

BATCH_ROWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportEnd:
    """What an import did.

    episodes    added, those aborted and unscored among them
    summaries   added: averages of one method and game
    known       episodes and averages that the store held already, alike in outcome and figures
    broken      what was not imported and why, a line each"""

    episodes: int
    aborted: int
    unscored: int
    summaries: int
    known: int
    methods: tuple[str, ...]
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which pairs are access methods of one model: (model, pattern of pair names). A pair that no pattern names is its own model."""

    rules: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, options: Sequence[str]) -> Grouping:
        """From texts "MODEL=PATTERN", or "MODEL" for all pairs."""
        rules = []
        for option in options:
            model, _, pattern = option.partition("=")
            if not model or option.endswith("="):
                raise SpecError(
                    f"--model {option!r}: write MODEL=PAIRS, such as 'llama-3-70b=Llama-3-70B-*', or MODEL for all pairs"
                )
            rules.append((model, pattern or "*"))
        return cls(tuple(rules))

    def models(self, pairs: Sequence[Pair]) -> dict[str, str]:
        """Access method -> its model.

        raises  SpecError if a pattern names no pair, or two of them give one pair to two models"""
        for model, pattern in self.rules:
            if not any(_named_by(pattern, pair) for pair in pairs):
                raise SpecError(
                    f"--model {model}={pattern}: names no pair; there are {', '.join(sorted({one.method for one in pairs}))}"
                )
        return {pair.method: self._model(pair) for pair in pairs}

    def _model(self, pair: Pair) -> str:
        models = list(dict.fromkeys(model for model, pattern in self.rules if _named_by(pattern, pair)))
        if len(models) > 1:
            raise SpecError(
                f"--model: {pair.method} is given to {models[0]} and to {models[1]}; it can belong to one model only"
            )
        return models[0] if models else pair.method


def _named_by(pattern: str, pair: Pair) -> bool:
    """By the folder's name or the access method's. Case is no difference: one published model is both 70B and 70b."""
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for name in (pair.name, pair.method))


def import_results(
    paths: Sequence[Path], store: Path, grouping: Grouping, *, wall_s: float, say: Callable[[str], None]
) -> ImportEnd:
    """Everything at these paths that the store does not hold yet.

    wall_s  the time of the import, for its row
    say     takes one line for a person
    raises  SpecError, before anything is written, if a path holds no results or the grouping does not fit them; StoreError"""
    sources = [open_results(path) for path in paths]
    models = grouping.models(sorted({pair for source in sources for pair in source.pairs}))
    with open_to_write(store, say=say) as connection:
        _refuse_other_models(models, methods_of_models(connection), store)
        runs, last_spec = latest_spec(connection)
        opening = _opening(f"{runs + 1:04}", paths, models, last_spec, wall_s)
        known = {**known_outcomes(connection, INSTANCE_SET), **_known_figures(summaries(connection))}
        return _Import(opening, models, known, lambda rows: write_batch(connection, store, rows)).run(sources)


def _refuse_other_models(models: dict[str, str], stored: dict[str, list[str]], store: Path) -> None:
    for other, methods in stored.items():
        for method in methods:
            if models.get(method, other) != other:
                raise SpecError(
                    f"{store}: holds {method} as an access method of {other}, not of {models[method]}; import into a new store"
                )


def _opening(
    run_id: str, paths: Sequence[Path], models: dict[str, str], last_spec: dict[str, object], wall_s: float
) -> SweepRecord:
    """The import's row among the sweeps: how the store is audited does not change by it."""
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


def _known_figures(rows: Sequence[SummaryRecord]) -> dict[tuple[str, ...], tuple[object, ...]]:
    return {(row.method, row.game): (row.played, row.quality, row.quality_std) for row in rows}


class _Import:
    """One import under way: every source, row by row.

    known   place of an episode, or method and game of averages -> what the store says of it
    write   commits a batch of rows"""

    def __init__(
        self,
        opening: SweepRecord,
        models: dict[str, str],
        known: dict[tuple[str, ...], tuple[object, ...]],
        write: Callable[[list[Record]], None],
    ) -> None:
        self._opening = opening
        self._models = models
        self._known = known
        self._write = write
        self._seen: set[tuple[str, ...]] = set()
        self._rows: list[Record] = []
        self._methods: list[str] = []
        self._outcomes = dict.fromkeys(("success", "lost", "aborted", "unscored"), 0)
        self._summaries = 0
        self._already = 0
        self._broken: list[str] = []

    def run(self, sources: Sequence[Results]) -> ImportEnd:
        for source in sources:
            for episode in source.episodes:
                self._take(episode)
            for figures in source.figures:
                self._take(figures)
        self._commit()
        return ImportEnd(
            episodes=sum(self._outcomes.values()),
            aborted=self._outcomes["aborted"],
            unscored=self._outcomes["unscored"],
            summaries=self._summaries,
            known=self._already,
            methods=tuple(self._methods),
            broken=tuple(self._broken),
        )

    def _take(self, found: PublishedEpisode | PublishedFigures | Broken) -> None:
        match found:
            case Broken(text):
                self._broken.append(text)
            case PublishedEpisode(place=place, outcome=end):
                key = (place.pair.method, place.game, place.rules, place.experiment, place.instance)
                if self._is_new(key, (end.state, end.score)):
                    self._add(
                        place.pair,
                        episode_rows(
                            found, run_id=self._opening.run_id, model=self._models[place.pair.method]
                        ),
                    )
            case PublishedFigures(pair=pair):
                key_of_figures = (pair.method, found.game)
                if self._is_new(key_of_figures, (found.played, found.quality, found.quality_std)):
                    self._add(
                        pair,
                        [summary_row(found, run_id=self._opening.run_id, model=self._models[pair.method])],
                    )

    def _is_new(self, key: tuple[str, ...], said: tuple[object, ...]) -> bool:
        name = "/".join(key)
        if key in self._seen:
            self._broken.append(
                f"{name}: stands twice in these results; the first is imported, this one is not"
            )
            return False
        self._seen.add(key)
        if key not in self._known:
            return True
        if self._known[key] == said:
            self._already += 1
        else:
            self._broken.append(
                f"{name}: the store has it as {self._known[key]}, these results as {said}; import into a new store"
            )
        return False

    def _add(self, pair: Pair, rows: Iterable[Record]) -> None:
        if not self._methods:
            self._rows.append(self._opening)
        if pair.method not in self._methods:
            run_id, model = self._opening.run_id, self._models[pair.method]
            if model not in {self._models[method] for method in self._methods}:
                self._rows.append(ModelRecord(run_id=run_id, model=model, parameters=None))
            self._rows.append(method_row(pair, run_id=run_id, model=model))
            self._methods.append(pair.method)
        for row in rows:
            self._rows.append(row)
            match row:
                case EpisodeRecord(outcome=str(outcome)):
                    self._outcomes[outcome] += 1
                case SummaryRecord():
                    self._summaries += 1
        if len(self._rows) >= BATCH_ROWS:
            self._commit()

    def _commit(self) -> None:
        if self._rows:
            self._write(self._rows)
            self._rows = []

"""lightbulb from Python: play a sweep, then ask its store. What notebooks and scripts import, as `import harness`.

    played = harness.run("mine.toml")              # a file, a dict of the same keys, or a SweepSpec; works inside a running event loop
    played = await harness.play("mine.toml")       # the same, where one may wait
    played.store.scores().to_pandas()              # or .to_arrow(), .rows(), or iterate over dicts
    harness.open_store("mine.duckdb").sql("FROM calls_by_method").to_pandas()

With the command line it shares every room; it adds none of its own."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread

from games import GAMES
from harness.access.context import RunContext, default_store_path
from harness.access.methods import resolved
from harness.analysis.store_audit import ModelAudit, store_audit, store_scores
from harness.config.load import load_sweep, read_sweep
from harness.config.sweep import SweepSpec
from harness.core.event_loop import OPTIONS, run_async
from harness.core.records import Transcript
from harness.report.text import escape_control
from harness.running.run_sweep import run_sweep
from harness.scheduler.shutdown import RunEnd
from harness.store.file import open_to_read
from harness.store.query import QueryResult, RowTable
from harness.store.reader import transcript

Sweep = SweepSpec | Mapping[str, Any] | Path | str

SCORE_COLUMNS = (
    "model",
    "method",
    "game",
    "episodes",
    "aborted",
    "clemscore",
    "low",
    "high",
    "supported",
    "played",
    "quality",
)


@dataclass(frozen=True, slots=True)
class Store:
    """A store to ask; it is opened for each question, and may be one that a sweep is writing."""

    path: Path

    def sql(self, query: str, *parameters: object) -> QueryResult:
        """One statement that reads; ? stands for a parameter."""
        return QueryResult(self.path, query, parameters)

    def episodes(self) -> QueryResult:
        """The last attempt of every episode, finished or failed."""
        return QueryResult(self.path, "FROM last_episodes")

    def calls(self) -> QueryResult:
        """Every request on the wire."""
        return QueryResult(self.path, "FROM calls")

    def scores(self) -> RowTable:
        """Clemscore with its 95 % interval for each access method (game None), and percent played and quality for each of its games.

        raises  AuditError if no episode has ended"""
        rows: list[tuple[object, ...]] = []
        for part in store_scores(self.path):
            for one in (*part.methods, *part.summaries):
                score = one.clemscore
                whole = (
                    one.episodes,
                    one.aborted,
                    score.value,
                    one.low,
                    one.high,
                    one.supported,
                    score.played,
                    score.quality,
                )
                rows.append((part.model, one.method, None, *whole))
                for game in one.games:
                    of_game = (game.episodes, game.aborted, None, None, None, None, game.played, game.quality)
                    rows.append((part.model, one.method, game.game, *of_game))
        return RowTable(SCORE_COLUMNS, tuple(rows))

    def audit(self, *, reference: str | None = None, margin: float | None = None) -> tuple[ModelAudit, ...]:
        """The verdicts, a part for each model reached in more than one way; as the sweep fixed them unless said otherwise.

        raises  AuditError if the rows cannot answer"""
        return store_audit(self.path, reference=reference, margin=margin)

    def transcript(self, episode: str) -> Transcript:
        """One episode, by the beginning of its id or key."""
        with open_to_read(self.path) as connection:
            return transcript(connection, episode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a run ended, and the store it wrote."""

    end: RunEnd
    store: Store


def open_store(path: Path | str) -> Store:
    """raises  StoreError if there is no store at this path"""
    store = Store(Path(path))
    with open_to_read(store.path):
        return store


async def play(sweep: Sweep, *, store: Path | str | None = None, retry_failed: bool = False) -> Played:
    """Plays what the store does not hold yet, on the event loop that is running (asyncio's).

    store   default: beside the sweep file, after the sweep's name; for a sweep that is no file, in the current folder
    raises  SpecError, EngineError: before anything is played; StoreError"""
    spec, source = _read(sweep)
    where = Path(store) if store is not None else default_store_path(source, spec)
    context = RunContext(
        source=source, store=where, environ=os.environ, notify=_notify, live=sys.stderr.isatty()
    )
    return Played(end=await run_sweep(spec, context, retry_failed=retry_failed), store=Store(where))


def run(sweep: Sweep, *, store: Path | str | None = None, retry_failed: bool = False) -> Played:
    """As `play`, for those who cannot wait: also where an event loop runs already, as in a notebook; then in a thread with its own.

    Interrupted in a notebook it stops at once; all that came home is stored, and the same call goes on."""

    async def whole() -> Played:
        return await play(sweep, store=store, retry_failed=retry_failed)

    if not _inside_a_loop():
        return run_async(whole)
    with anyio.from_thread.start_blocking_portal(backend_options=OPTIONS) as portal:
        playing = portal.start_task_soon(whole)
        try:
            return playing.result()
        except BaseException:
            playing.cancel()
            raise


def _inside_a_loop() -> bool:
    try:
        anyio.get_current_task()
    except anyio.NoEventLoopError:
        return False
    return True


def _read(sweep: Sweep) -> tuple[SweepSpec, Path]:
    if isinstance(sweep, Path | str):
        return resolved(load_sweep(Path(sweep), known_games=list(GAMES)), source=Path(sweep)), Path(sweep)
    raw = dataclasses.asdict(sweep) if isinstance(sweep, SweepSpec) else sweep
    return resolved(
        read_sweep(raw, source="the sweep", known_games=list(GAMES)), source=Path("the sweep")
    ), Path("the sweep")


def _notify(line: str) -> None:
    print(escape_control(line), file=sys.stderr, flush=True)

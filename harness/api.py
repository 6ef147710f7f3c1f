"""lightbulb from Python: plays a sweep, and asks its store. Notebooks and scripts `import harness`.

    played = harness.run("mine.toml")            # a file, a dict of the same keys, or a SweepSpec
    played = await harness.play("mine.toml")     # the same in a coroutine
    played.store.scores().to_pandas()            # or .to_arrow(), .rows(), or iterate over dicts
    harness.open_store("mine.duckdb").sql("FROM calls_by_method").to_pandas()

Calls the same verbs as the command line, and adds nothing of its own."""

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
from harness.access.methods import provider_problems, resolved
from harness.analysis.store_audit import ModelAudit, store_audit, store_scores
from harness.config.load import load_sweep, read_sweep
from harness.config.sweep import SweepSpec
from harness.core.errors import SpecError
from harness.core.event_loop import OPTIONS, run_async
from harness.core.records import Transcript
from harness.progress.notebook_bar import notebook_display
from harness.report.text import escape_control
from harness.running.prepare import RunOptions
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
    """A store. It is opened for each question, so a sweep may be writing it."""

    path: Path

    def sql(self, query: str, *parameters: object) -> QueryResult:
        """Returns the result of one statement that reads; ? stands for a parameter."""
        return QueryResult(self.path, query, parameters)

    def episodes(self) -> QueryResult:
        """Returns the last attempt of every episode, finished or failed."""
        return QueryResult(self.path, "FROM last_episodes")

    def calls(self) -> QueryResult:
        """Returns every request that was sent."""
        return QueryResult(self.path, "FROM calls")

    def scores(self) -> RowTable:
        """Returns a row for each access method (game None): clemscore with its 95 % interval; and one for
        each of its games: % played and quality.

        raises  AuditError if no episode has ended"""
        rows: list[tuple[object, ...]] = []
        for model in store_scores(self.path):
            for method in (*model.methods, *model.summaries):
                score = method.clemscore
                whole = (
                    method.episodes,
                    method.aborted,
                    score.value,
                    method.low,
                    method.high,
                    method.supported,
                    score.played,
                    score.quality,
                )
                rows.append((model.model, method.method, None, *whole))
                for game in method.games:
                    of_game = (game.episodes, game.aborted, None, None, None, None, game.played, game.quality)
                    rows.append((model.model, method.method, game.game, *of_game))
        return RowTable(SCORE_COLUMNS, tuple(rows))

    def audit(self, *, reference: str | None = None, margin: float | None = None) -> tuple[ModelAudit, ...]:
        """Returns the verdicts, one part for each model that has more than one access method.

        reference  default: the sweep's
        margin     points of score, above 0 and at most 100; default: the sweep's
        raises     AuditError if the rows are not enough for an audit; SpecError for another margin"""
        if margin is not None and not 0 < margin <= 100:
            raise SpecError(f"margin is {margin:g}; write points of score, above 0 and at most 100")
        return store_audit(self.path, reference=reference, margin=margin)

    def transcript(self, episode: str) -> Transcript:
        """Returns one episode, found by the beginning of its id or key."""
        with open_to_read(self.path) as connection:
            return transcript(connection, episode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The end of a run, and the store that it wrote."""

    end: RunEnd
    store: Store


def open_store(path: Path | str) -> Store:
    """Returns the store at this path.

    raises  StoreError if there is none"""
    store = Store(Path(path))
    with open_to_read(store.path):
        return store


async def play(
    sweep: Sweep,
    *,
    store: Path | str | None = None,
    retry_failed: bool = False,
    all_or_nothing: bool = False,
) -> Played:
    """Plays what the store does not hold yet, on the running event loop (asyncio's).

    sweep         a sweep file, a dict of the same keys, or a SweepSpec
    store         default: after the sweep's name, beside the sweep file; in the current folder if there is
                  none
    retry_failed  play failed episodes again
    all_or_nothing  play nothing if one access method cannot be reached; else the others are played, and its
                  episodes stay pending
    raises        SpecError: before anything is played, if no method can be reached; StoreError"""
    spec, source = _read(sweep)
    path = Path(store) if store is not None else default_store_path(source, spec)
    context = RunContext(
        source=source,
        store=path,
        environ=os.environ,
        notify=_notify,
        live=sys.stderr.isatty(),
        display=notebook_display(),
    )
    options = RunOptions(retry_failed=retry_failed, all_or_nothing=all_or_nothing)
    end = await run_sweep(spec, context, options)
    return Played(end=end, store=Store(path))


def run(
    sweep: Sweep,
    *,
    store: Path | str | None = None,
    retry_failed: bool = False,
    all_or_nothing: bool = False,
) -> Played:
    """Does the same as `play`, outside of coroutines. Where an event loop runs already, as in a notebook, it
    plays in a thread with a loop of its own.

    An interrupt in a notebook stops it at once; every answered call is stored, and the same call resumes."""

    async def whole() -> Played:
        return await play(sweep, store=store, retry_failed=retry_failed, all_or_nothing=all_or_nothing)

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
        source = Path(sweep)
        spec = load_sweep(source, known_games=GAMES, check=provider_problems)
    elif not isinstance(sweep, SweepSpec | Mapping):
        raise SpecError(
            f"the sweep: a path, a dict of a sweep file's keys or a SweepSpec, not {type(sweep).__name__}"
        )
    else:
        source = Path("the sweep")
        raw = dataclasses.asdict(sweep) if isinstance(sweep, SweepSpec) else sweep
        spec = read_sweep(raw, source=str(source), known_games=GAMES, check=provider_problems)
    return resolved(spec, source=source), source


def _notify(line: str) -> None:
    print(escape_control(line), file=sys.stderr, flush=True)

"""One run of a sweep over its store: what is left to play is found out, then played.

Reading a large store is DuckDB's work, loading what plays is Python's: they take about as long, so they are done side by side."""

from __future__ import annotations

from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

from harness.access.game_sets import game_sets
from harness.access.keys import read_keys
from harness.running.locked_keys import refuse_changes
from harness.running.resume import read_stored
from harness.store.file import open_to_write
from harness.store.resuming import latest_spec

if TYPE_CHECKING:
    from harness.access.context import RunContext
    from harness.config.sweep import SweepSpec
    from harness.scheduler.shutdown import RunEnd


async def run_sweep(spec: SweepSpec, setting: RunContext, *, retry_failed: bool = False) -> RunEnd:
    """Plays what the store does not hold yet.

    raises  SpecError, EngineError: before anything is played; StoreError: what was committed stays"""
    sets = game_sets(spec, setting.source)
    keys = read_keys(spec, source=setting.source, environ=setting.environ)
    Thread(target=_load_what_plays).start()
    fresh, sweep = not setting.store.exists(), None
    try:
        with open_to_write(setting.store, say=setting.say) as connection:
            runs, earlier = latest_spec(connection)
            refuse_changes(spec, setting.source, earlier)
            stored = read_stored(connection, spec, sets, retry_failed=retry_failed)
            from harness.running.play import SweepRun

            sweep = SweepRun(
                spec=spec, setting=setting, sets=sets, keys=keys, stored=stored, run_id=f"{runs + 1:04}"
            )
            if spec.audit.stop == "early":
                from harness.running.early_stopping import early_stopping

                sweep.stop_early(
                    early_stopping(
                        spec, sets, connection, run_id=sweep.run_id, wall=sweep.clock.wall, say=setting.say
                    )
                )
            return await sweep.run(connection)
    finally:
        if (
            fresh and sweep is not None and not sweep.began
        ):  # we made the file and nothing was played: it would say nothing
            setting.store.unlink(missing_ok=True)


def _load_what_plays() -> None:
    import_module("backends.http")  # TLS certificates and all
    import_module("harness.running.play")

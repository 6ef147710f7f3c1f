"""The command view: the live page of a store, of a sweep's store, or of a folder of stores."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.arguments import note_unmerged
from harness.commands.terminal import notify, program
from harness.core.errors import SpecError, StoreError
from harness.core.user_files import is_duckdb_file

LAST_LOOK_S = 2.0  # for the page to read the last rows, after a run has ended


def view(
    what: Annotated[
        Path,
        typer.Argument(metavar="[STORE|SWEEP|FOLDER]", help="A store, a sweep file, or a folder of stores."),
    ] = Path(),
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0: any free port.", min=0, max=65535)] = 0,
) -> None:
    """Serve a page of a store for the browser, and print its address. While a sweep runs, the page is live.
    Ctrl-C ends the command.

    Only this machine can open the page; its address contains a secret token.

    Example: lightbulb view demo.duckdb"""
    import anyio
    import anyio.to_thread

    from harness.core.clock import RealClock
    from harness.core.event_loop import run_async
    from harness.view.guard import new_token
    from harness.view.live_server import ViewServer

    stores = _stores(what)
    note_unmerged(stores)
    title = what.resolve().name if what.is_dir() else stores[0].name
    server = ViewServer(stores, title=title, token=new_token(), clock=RealClock())

    async def cancel_at_the_end_of_stdin(scope: anyio.CancelScope) -> None:
        # the pipe to the run beside this page is closed however the run ends
        await anyio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
        scope.cancel()

    async def served() -> None:
        async with anyio.create_task_group() as tasks:
            if until_eof:
                tasks.start_soon(cancel_at_the_end_of_stdin, tasks.cancel_scope)
            await server.serve(port, ready=lambda address: notify(f"the page is at {address}"))

    run_async(served)


def _stores(what: Path) -> list[Path]:
    """Returns the stores to show.

    raises  SpecError if there are none; StoreError where the file cannot be one"""
    if what.is_dir():
        stores = sorted(what.glob("*.duckdb"), key=lambda path: -path.stat().st_mtime)
        if not stores:
            raise SpecError(
                f"{what}: holds no store (*.duckdb); name one, or play a sweep with: {program()} run SWEEP.toml"
            )
        return stores
    if what.suffix != ".toml":
        if not what.exists():
            notify(f"{what}: there is no such store yet; the page waits for it")
        elif not what.is_file() or (what.stat().st_size and not is_duckdb_file(what)):
            raise StoreError(f"{what}: is not a DuckDB file; name another")
        return [what]
    from harness.access.context import default_store_path
    from harness.commands.arguments import load

    return [default_store_path(what, load(what))]


@contextmanager
def page_beside(store: Path) -> Iterator[None]:
    """Serves the page of a store from a process of its own while the block runs: the run's loop is free of
    it."""
    command = [sys.executable, "-m", "harness", "view", str(store), "--until-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield
        finally:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LAST_LOOK_S)
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
        notify(f"the page has ended with the run; to see it again: {program()} view {store}")

"""A supervised server, with the stand-in of test_local_server.py: real processes on a real port, called over
HTTP."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.abc import TaskStatus

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.http import HttpBackend
from backends.local.local_server import LocalServer
from backends.local.supervisor import SupervisedBackend, SupervisedServer
from harness.core.clock import RealClock
from harness.core.errors import EngineError, Unavailable, Unreachable
from harness.core.vocabulary import Message, Prompt, ReplyFormat
from tests.backends.local.test_local_server import ENGINE, no_process_lives, pids_of, spec_in, until
from tests.world import method


def prompt(text: str = "hello") -> Prompt:
    return Prompt(
        messages=(Message("user", text),),
        reply_format=ReplyFormat(regex=".*"),
        episode="e",
        item="g:i",
        seat="s",
        turn=0,
    )


class Supervised:
    """A supervised server that runs, the backend that calls it, and an event set at its final end."""

    def __init__(
        self, server_supervisor: SupervisedServer, server: LocalServer, backend: SupervisedBackend
    ) -> None:
        self.server_supervisor = server_supervisor
        self.server = server
        self.backend = backend
        self.lost = anyio.Event()


@asynccontextmanager
async def supervising(
    tmp_path: Path, mode: str, *, restarts_max: int, deaths: list[EngineError]
) -> AsyncIterator[Supervised]:
    server_supervisor = SupervisedServer(
        spec_in(tmp_path, mode),
        ENGINE,
        log=tmp_path / "x.log",
        restarts_max=restarts_max,
        on_death=deaths.append,
        notify=lambda line: None,
    )
    async with (
        open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as wire,
        anyio.create_task_group() as tasks,
    ):
        supervised: Supervised | None = None

        async def keep(*, task_status: TaskStatus[LocalServer]) -> None:
            deaths.append(await server_supervisor.keep(task_status=task_status))
            assert supervised is not None
            supervised.lost.set()

        server = await tasks.start(keep)
        at = replace(method(), base_url=server.base_url, served_name="tiny")
        inner = HttpBackend(at, DIALECTS["openai_chat"], wire, key=None, clock=RealClock())
        supervised = Supervised(
            server_supervisor, server, SupervisedBackend(inner, server_supervisor, clock=RealClock())
        )
        yield supervised
        tasks.cancel_scope.cancel()


def test_a_dead_server_is_started_again_on_the_same_port(tmp_path: Path) -> None:
    """The call in flight fails with a transient error; the next one waits for the restart, which does not
    count as latency; each start has a log of its own; the message of the death has the last lines of its
    log."""
    deaths: list[EngineError] = []

    async def main() -> None:
        async with supervising(tmp_path, "good", restarts_max=2, deaths=deaths) as supervised:
            first = (await supervised.backend.complete(prompt())).text
            with pytest.raises(Unavailable):
                await supervised.backend.complete(prompt("kill me"))
            await anyio.to_thread.run_sync(until, lambda: bool(deaths))
            second = await supervised.backend.complete(prompt())
            assert second.held_s > 0.0
            assert second.text.startswith("by ")
            assert second.text != first
        assert no_process_lives(tmp_path)

    anyio.run(main)
    (death,) = deaths
    assert "signal 9" in str(death)
    assert "line 39" in str(death)
    assert (tmp_path / "x.2.log").exists()


def test_a_server_without_restarts_left_fails_every_call(tmp_path: Path) -> None:
    """A restart that fails counts; after the last one, waiting calls and all later ones fail with the
    cause."""
    deaths: list[EngineError] = []

    async def main() -> None:
        async with supervising(tmp_path, "dies the second time", restarts_max=2, deaths=deaths) as supervised:
            os.kill(pids_of(tmp_path)[0], signal.SIGKILL)
            await anyio.to_thread.run_sync(until, lambda: bool(deaths))
            with anyio.fail_after(60):
                with pytest.raises(Unreachable, match="no luck"):
                    await supervised.backend.complete(prompt())
                await supervised.lost.wait()
            with pytest.raises(Unreachable, match="no luck"):
                await supervised.backend.complete(prompt())

    anyio.run(main)
    assert len(deaths) == 3
    assert "signal 9" in str(deaths[0])


def test_no_restart_with_restarts_max_0(tmp_path: Path) -> None:
    """The first death is the last."""
    deaths: list[EngineError] = []

    async def main() -> None:
        async with supervising(tmp_path, "good", restarts_max=0, deaths=deaths) as supervised:
            os.kill(pids_of(tmp_path)[0], signal.SIGKILL)
            with anyio.fail_after(60):
                await supervised.lost.wait()
            with pytest.raises(Unreachable, match="signal 9"):
                await supervised.backend.complete(prompt())

    anyio.run(main)
    assert len(deaths) == 1
    assert not (tmp_path / "x.2.log").exists()

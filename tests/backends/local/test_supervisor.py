"""A server's lives, with the stand-in of test_local_server.py: real processes on a real port, called over HTTP."""

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

from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.http import HttpBackend, open_connection_pool
from backends.local.local_server import LocalServer
from backends.local.supervisor import SupervisedBackend, SupervisedServer
from harness.core.clock import RealClock
from harness.core.errors import EngineError, Unavailable, Unreachable
from harness.core.vocabulary import Message, Prompt, ReplyFormat
from tests.backends.local.test_local_server import ENGINE, nobody_lives, pids_of, spec_in, until
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


class Stage:
    """A host under way, the backend that calls its server, and how it ended."""

    def __init__(self, host: SupervisedServer, server: LocalServer, backend: SupervisedBackend) -> None:
        self.host = host
        self.server = server
        self.backend = backend
        self.lost = anyio.Event()


@asynccontextmanager
async def hosted(
    tmp_path: Path, mode: str, *, restarts_max: int, deaths: list[EngineError]
) -> AsyncIterator[Stage]:
    host = SupervisedServer(
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
        stage: Stage | None = None

        async def keep(*, task_status: TaskStatus[LocalServer]) -> None:
            deaths.append(await host.keep(task_status=task_status))
            assert stage is not None
            stage.lost.set()

        server = await tasks.start(keep)
        at = replace(method(), base_url=server.base_url, served_name="tiny")
        inner = HttpBackend(at, DIALECTS["openai_chat"], wire, key=None, clock=RealClock())
        stage = Stage(host, server, SupervisedBackend(inner, host, clock=RealClock()))
        yield stage
        tasks.cancel_scope.cancel()


def test_a_dead_server_lives_again_on_the_same_port(tmp_path: Path) -> None:
    """The call in flight fails as worth another try; the next one waits for the new life, which is not counted as its latency; each life
    has a log of its own, and the death is told with the last lines of the dead one's."""
    deaths: list[EngineError] = []

    async def main() -> None:
        async with hosted(tmp_path, "good", restarts_max=2, deaths=deaths) as stage:
            first = (await stage.backend.complete(prompt())).text
            with pytest.raises(Unavailable):
                await stage.backend.complete(prompt("kill me"))
            await anyio.to_thread.run_sync(until, lambda: bool(deaths))
            second = await stage.backend.complete(prompt())
            assert second.held_s > 0.0
            assert second.text.startswith("by ")
            assert second.text != first
        assert nobody_lives(tmp_path)

    anyio.run(main)
    (death,) = deaths
    assert "signal 9" in str(death)
    assert "line 39" in str(death)
    assert (tmp_path / "x.2.log").exists()


def test_a_server_that_is_lost_says_so_to_every_call(tmp_path: Path) -> None:
    """A restart that fails uses up a life; after the last one calls that wait, and all later ones, are told why."""
    deaths: list[EngineError] = []

    async def main() -> None:
        async with hosted(tmp_path, "dies the second time", restarts_max=2, deaths=deaths) as stage:
            os.kill(pids_of(tmp_path)[0], signal.SIGKILL)
            await anyio.to_thread.run_sync(until, lambda: bool(deaths))
            with anyio.fail_after(60):
                with pytest.raises(Unreachable, match="no luck"):
                    await stage.backend.complete(prompt())
                await stage.lost.wait()
            with pytest.raises(Unreachable, match="no luck"):
                await stage.backend.complete(prompt())

    anyio.run(main)
    assert len(deaths) == 3
    assert "signal 9" in str(deaths[0])


def test_no_restart_means_none(tmp_path: Path) -> None:
    """With restarts_max = 0 the first death is the last."""
    deaths: list[EngineError] = []

    async def main() -> None:
        async with hosted(tmp_path, "good", restarts_max=0, deaths=deaths) as stage:
            os.kill(pids_of(tmp_path)[0], signal.SIGKILL)
            with anyio.fail_after(60):
                await stage.lost.wait()
            with pytest.raises(Unreachable, match="signal 9"):
                await stage.backend.complete(prompt())

    anyio.run(main)
    assert len(deaths) == 1
    assert not (tmp_path / "x.2.log").exists()

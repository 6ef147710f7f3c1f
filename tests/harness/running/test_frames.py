"""The way from the command to the socket is short enough to read in one sitting."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, CoroutineType
from typing import Any

import anyio
import pytest

from backends.connections import ConnectionPool, PreparedRequest
from tests.command import lightbulb

ROOT = Path(__file__).parents[3]
OURS = tuple(str(ROOT / top) for top in ("harness", "games", "backends"))
FRAMES_MAX = 18
SWEEP = """
name = "frames"
[games.taboo]
items = 1
[models.m.methods.a]
emulator = { }
"""


def frames_here() -> Iterator[CodeType]:
    """Yields what is on the stack: this task's coroutines, and below them what runs the event loop."""
    frame = sys._getframe(1)
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back  # type: ignore[assignment]


def frames_of_parents() -> Iterator[CodeType]:
    """Yields the coroutines of the tasks in whose task groups this task was started."""
    tasks = {task.id: task for task in anyio.get_running_tasks()}
    parent = anyio.get_current_task().parent_id
    while parent in tasks:
        awaited: object = tasks[parent].coro
        while inspect.iscoroutine(awaited):
            assert isinstance(awaited, CoroutineType)
            yield awaited.cr_code
            awaited = awaited.cr_await
        parent = tasks[parent].parent_id


def test_few_frames_lie_between_the_command_and_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `main` to the connection pool at most eighteen frames are our own, parent tasks included."""
    sweep = tmp_path / "frames.toml"
    sweep.write_text(SWEEP)
    calls: list[list[str]] = []
    exchange = ConnectionPool.exchange

    async def observed(self: ConnectionPool, request: PreparedRequest, **named: Any) -> Any:
        if request.verb == "POST":
            codes = [exchange.__code__, *frames_here(), *frames_of_parents()]
            ours = [code for code in codes if code.co_filename.startswith(OURS)]
            calls.append([f"{Path(code.co_filename).stem}.{code.co_qualname}" for code in ours])
        return await exchange(self, request, **named)

    monkeypatch.setattr(ConnectionPool, "exchange", observed)
    ended = lightbulb("run", sweep)
    assert ended.returncode == 0, ended.stderr
    assert {"cli.main", "shutdown.play_until_done_or_stopped", "connections.ConnectionPool.exchange"} <= set(
        calls[0]
    )
    assert len(calls[0]) <= FRAMES_MAX, "\n".join(calls[0])

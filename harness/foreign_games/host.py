"""One process that plays games of one library, and the requests to it.

Knows a process, its pipes and the lines of child.py; nothing of sweeps or calls. Requests that are made
in one turn of the event loop leave in one write, and answers arrive as many at a time as there are.
Keeps: every request is answered, or raises HostDied; a process that does not answer one request for too long
is killed; the process gets named environment variables and no key. Does not promise: that another process
goes on where this one died; episodes.py does that by replay."""

from __future__ import annotations

import math
import os
import struct
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from subprocess import PIPE
from typing import IO

import anyio
import anyio.abc
import orjson

from backends.local.child_environ import engine_environ
from harness.core.errors import GameUnavailable
from harness.foreign_games.libraries import GameProgram

CHILD = Path(__file__).with_name("child.py")
START_S = 600.0  # importing clemcore takes 4 s of CPU, which a busy machine gives in minutes
STEP_S = 300.0  # of one request: the slowest first steps, which load word lists, take 5 s of CPU
LOOK_S = 1.0  # between two looks for a request that takes too long
READ_BYTES = 1 << 18
LAST_LINES, LAST_BYTES = 8, 4096

Answer = Mapping[str, object]


class HostDied(Exception):
    """The process ended or was killed.

    why     with its last lines
    during  number of the request that it was answering; None: none"""

    def __init__(self, why: str, during: int | None) -> None:
        super().__init__(why)
        self.why = why
        self.during = during


class _Waiting:
    """A request that has no answer yet."""

    __slots__ = ("answer", "answered", "since_s")

    def __init__(self, since_s: float) -> None:
        self.answered = anyio.Event()
        self.answer: Answer | None = None
        self.since_s = since_s


class GameHost:
    """A running process. Made by `hosting`.

    process_id  of the child"""

    def __init__(self, name: str, process: anyio.abc.Process, folder: Path, step_s: float) -> None:
        self.name = name
        self._step_s = step_s
        self.process_id = process.pid
        self.died: HostDied | None = None
        self._process = process
        self._folder = folder
        self._numbers = count()
        self._waiting: dict[int, _Waiting] = {}
        self._outbox: list[bytes] = []
        self._to_send = anyio.Event()
        self._answered_s = 0.0
        self._killed = ""
        self._ready, self._ended = anyio.Event(), anyio.Event()

    def number(self) -> int:
        """Returns the number of a new request, or of a new episode."""
        return next(self._numbers)

    async def ask(self, number: int, request: Mapping[str, object]) -> Answer:
        """Sends a request and returns its answer.

        number  from `number`
        raises  HostDied"""
        waiting = self._waiting[number] = _Waiting(anyio.current_time())
        self.post({**request, "number": number})
        try:
            await waiting.answered.wait()
        finally:
            self._waiting.pop(number, None)
        if waiting.answer is None:
            assert self.died is not None
            raise self.died
        return waiting.answer

    def post(self, request: Mapping[str, object]) -> None:
        """Sends a request that wants no answer.

        raises  HostDied"""
        if self.died is not None:
            raise self.died
        self._outbox.append(orjson.dumps(request))
        self._to_send.set()

    async def wait_ready(self) -> None:
        """Waits until the process has imported its library, or has ended."""
        await self._ready.wait()

    async def wait_end(self) -> None:
        """Waits until the process has ended."""
        await self._ended.wait()

    async def run(self) -> None:
        """Serves until the process ends."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send)
            tasks.start_soon(self._watch)
            await self._receive()
            tasks.cancel_scope.cancel()
        await self._end()

    async def _send(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        while True:
            await self._to_send.wait()
            self._to_send = anyio.Event()
            lines = b"\n".join((*self._outbox, b""))
            self._outbox.clear()
            try:
                await stdin.send(lines)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):  # its end is seen by _receive
                return

    async def _receive(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        rest = b""
        while True:
            try:
                chunk = await stdout.receive(READ_BYTES)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return
            *lines, rest = (rest + chunk).split(b"\n")
            self._answered_s = anyio.current_time()
            for line in lines:
                answer = orjson.loads(line)
                if "ready" in answer:
                    self._ready.set()
                    continue
                waiting = self._waiting.get(answer["number"])
                if waiting is not None:  # else its episode was cancelled
                    waiting.answer = answer
                    waiting.answered.set()

    async def _watch(self) -> None:
        """Kills the process if one request takes too long, or the start does."""
        started_s = anyio.current_time()
        while True:
            await anyio.sleep(LOOK_S)
            now_s = anyio.current_time()
            if not self._ready.is_set():
                late = now_s - started_s > START_S
            else:
                oldest = next(iter(self._waiting.values()), None)
                since_s = math.inf if oldest is None else max(oldest.since_s, self._answered_s)
                late = now_s - since_s > self._step_s
            if late:
                limit_s = self._step_s if self._ready.is_set() else START_S
                self._killed = f"was killed: it did not answer for {limit_s:.0f} s"
                self._process.kill()
                return

    async def _end(self) -> None:
        with anyio.CancelScope(shield=True):
            code = await self._process.wait()
        how = self._killed or f"ended with {f'code {code}' if code >= 0 else f'signal {-code}'}"
        last = _last_lines(self._folder / "stderr")
        self.died = HostDied(
            f"the process of {self.name} {how}{f'; its last lines: {last}' if last else ''}", self._current()
        )
        self._ready.set()
        self._ended.set()
        for waiting in self._waiting.values():
            waiting.answered.set()

    def _current(self) -> int | None:
        """Returns the number of the request that the process was answering."""
        try:
            (number,) = struct.unpack("<q", (self._folder / "current").read_bytes())
        except (OSError, struct.error):
            return None
        return number if number in self._waiting else None


@asynccontextmanager
async def hosting(name: str, program: GameProgram, *, step_s: float = STEP_S) -> AsyncIterator[GameHost]:
    """Runs a process for as long as the block lasts.

    name     of the games in it, for messages
    program  what it runs
    step_s   how long one request may take
    raises   GameUnavailable if it cannot be started"""
    environ = engine_environ(os.environ) | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    if "NLTK_DATA" in os.environ:
        environ["NLTK_DATA"] = os.environ["NLTK_DATA"]
    with tempfile.TemporaryDirectory(prefix="lightbulb-game-") as folder:
        with _stderr_file(Path(folder)) as stderr:
            try:
                process = await anyio.open_process(
                    [str(program.python), "-P", "-s", str(CHILD), str(program.file)],
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=stderr,
                    cwd=folder,
                    env=environ,
                )
            except OSError as error:
                raise GameUnavailable(f"the process of {name} cannot be started: {error}") from error
        host = GameHost(name, process, Path(folder), step_s)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.run)
            try:
                yield host
            finally:
                with anyio.CancelScope(shield=True):
                    if process.returncode is None:
                        process.kill()
                    await process.wait()
                tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await process.aclose()


def _stderr_file(folder: Path) -> IO[bytes]:
    return open(folder / "stderr", "wb")


def _last_lines(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - LAST_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return " / ".join(line.strip() for line in text.splitlines()[-LAST_LINES:] if line.strip())

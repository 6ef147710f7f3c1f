"""A model server of our own: started as a child process, waited for, proved, watched and stopped.

Knows an engine's command line, a port on 127.0.0.1 and three plain requests (/health, /v1/models, /version); nothing of prompts or replies.
Keeps: what is yielded serves the folder that was asked for, under its name, by the engine's version; whatever becomes of us or of the
server, no process of it is left behind (keeper.py), and stopping takes bounded time.
Does not promise: that a server which is ready stays alive; `wait_dead` tells."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.to_thread import run_sync

from backends.engines import Engine, EngineSpec, Launch, Say, environ_of_others
from backends.weights import prepare, weights_hash
from harness.core.errors import EngineError

KEEPER = Path(__file__).with_name("keeper.py")
STOP_S = 20.0                   # what the keeper may take after the grace: its 10 s of killing, and room to spare
LOOK_EVERY_S = 0.25
SPEAK_EVERY_S = 15.0
GET_S = 5.0
BODY_BYTES_MAX = 1 << 20
SECRETS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A server that is ready.

    base_url  as OpenAI's dialect wants it, without a slash at the end
    facts     what an audit wants to know of it, flat"""

    base_url: str
    served_name: str
    facts: Mapping[str, str | int | float]
    log: Path
    process: Process = field(repr=False, compare=False)

    async def wait_dead(self) -> EngineError:
        """Returns when the server has ended without being asked to; the error holds the last lines of its log."""
        code = await self.process.wait()
        return EngineError(f"The server of {self.served_name} died ({in_words(code)}). {tail(self.log)}")


@asynccontextmanager
async def serve(spec: EngineSpec, engine: Engine, *, log: Path, ready_s: float = 600.0, say: Say) -> AsyncIterator[LocalServer]:
    """One server, ready on entry and gone on exit.

    log      its output, begun anew
    ready_s  it has this long to become ready
    raises   EngineError: the weights are not there, it died, it was not ready in time, or it serves something else"""
    folder = await run_sync(prepare, spec.weights, engine, say)
    content = await run_sync(weights_hash, folder)
    port = free_port()
    launch = Launch(python=engine.python, spec=spec, folder=folder, port=port)
    command = engine.kind.command(launch)
    environ = engine.kind.environ(launch)
    say(f"{spec.served_name} ({spec.dtype}): starting {engine.kind.name} {engine.version} on port {port}; its log is {log}")
    async with kept(command, environ, engine.kind.grace_s, log) as process:
        begun = anyio.current_time()
        await until_ready(spec, port, process, log, ready_s, say)
        await prove(spec, engine, folder, port)
        took_s = anyio.current_time() - begun
        say(f"{spec.served_name} ({spec.dtype}): ready after {took_s:.0f} s")
        facts: dict[str, str | int | float] = {
            "engine": engine.kind.name,
            "engine_version": engine.version,
            "packages": " ".join(engine.kind.packages),
            "weights": spec.weights,
            "weights_root": str(folder),
            "weights_sha256": content,
            "dtype": spec.dtype,
            "context_max": spec.context_max,
            "command": shlex.join(command),
            "environment": shlex.join(f"{name}={value}" for name, value in environ.items()),
            "log": str(log),
            "ready_s": round(took_s, 3),
        }
        yield LocalServer(
            base_url=f"http://127.0.0.1:{port}/v1", served_name=spec.served_name, facts=facts, log=log, process=process
        )


@asynccontextmanager
async def kept(command: tuple[str, ...], environ: Mapping[str, str], grace_s: float, log: Path) -> AsyncIterator[Process]:
    """A process under a keeper, which lives no longer than this block and no longer than we do."""
    # No key of ours reaches the server: it needs none, might log it, and VLLM_API_KEY would make it ask for one.
    ours = {name: value for name, value in environ_of_others().items() if not name.endswith(SECRETS)}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = await anyio.open_process(
            (sys.executable, "-I", str(KEEPER), str(grace_s), *command),
            stdout=output,
            stderr=output,
            env={**ours, "PYTHONUNBUFFERED": "1", **environ},
            start_new_session=True,     # a terminal's Ctrl-C is for us; the server ends when we say so
        )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with anyio.move_on_after(grace_s + STOP_S):
                await process.wait()
            await process.aclose()      # kills the keeper should it be stuck, and with it the server


async def until_ready(spec: EngineSpec, port: int, process: Process, log: Path, ready_s: float, say: Say) -> None:
    begun = anyio.current_time()
    spoken = begun
    while (now := anyio.current_time()) - begun < ready_s:
        if process.returncode is not None:
            raise EngineError(
                f"The server of {spec.served_name} died before it was ready ({in_words(process.returncode)}). {tail(log)}"
            )
        status, _ = await get(port, "/health")
        if status == 200:
            return
        if now - spoken >= SPEAK_EVERY_S:
            spoken = now
            say(f"{spec.served_name} ({spec.dtype}): still starting after {now - begun:.0f} s")
        await anyio.sleep(LOOK_EVERY_S)
    raise EngineError(f"The server of {spec.served_name} was not ready within {ready_s:g} s. {tail(log)}")


async def prove(spec: EngineSpec, engine: Engine, folder: Path, port: int) -> None:
    """Raises EngineError unless what answers at the port is the server that was asked for."""
    models = await asked(spec, port, "/v1/models")
    listed = models.get("data")
    roots = {entry.get("id"): entry.get("root") for entry in listed} if isinstance(listed, list) else {}
    if spec.served_name not in roots:
        raise EngineError(f"The server at port {port} serves {', '.join(map(str, roots)) or 'nothing'}, not {spec.served_name}.")
    if roots[spec.served_name] != str(folder):
        raise EngineError(f"The server at port {port} serves {spec.served_name} from {roots[spec.served_name]}, not from {folder}.")
    version = (await asked(spec, port, "/version")).get("version")
    if version != engine.version:
        raise EngineError(f"The server at port {port} is {engine.kind.name} {version}, not {engine.version}.")


async def asked(spec: EngineSpec, port: int, path: str) -> dict[str, object]:
    status, body = await get(port, path)
    try:
        answer = json.loads(body) if status == 200 else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise EngineError(f"The server of {spec.served_name} at port {port} does not answer {path} (status {status}).")
    return answer


async def get(port: int, path: str) -> tuple[int | None, bytes]:
    """Status and body of one plain request to 127.0.0.1; None when nobody answers."""
    # HTTP/1.0, so that the answer ends with the connection and comes in one piece.
    request = f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n\r\n"
    answer = bytearray()
    with anyio.move_on_after(GET_S):
        try:
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(request.encode("ascii"))
                async for piece in stream:
                    answer += piece
                    if len(answer) > BODY_BYTES_MAX:
                        return None, b""
        except (OSError, anyio.BrokenResourceError):
            return None, b""
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return None, b""
    return int(words[1]), body


def free_port() -> int:
    """A port of 127.0.0.1 that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tail(log: Path, lines: int = 20) -> str:
    """Where a log is and how it ends, for an error's text."""
    with open(log, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8192))
        last = file.read().decode("utf-8", "replace").splitlines()[-lines:]
    return f"Its log {log} ends:\n" + "\n".join(last) if last else f"Its log {log} is empty."


def in_words(code: int) -> str:
    return f"exit code {code}" if code <= 128 else f"signal {code - 128}"

"""One model server as a child process: started, verified, watched and stopped.

Knows an engine's command line, a port on 127.0.0.1, plain requests to it, and the proofs that the engine's
kind asks for.
Keeps: a server that is yielded has given those proofs: it serves the requested weights under its name with
the engine's version. However this process or the server ends, no process of the server stays (reaper.py), and
stopping takes bounded time.
Does not promise: that a server which is ready stays alive; `wait_dead` reports its end."""

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

from backends.local.child_environ import engine_environ
from backends.local.engine import Engine, EngineSpec, Launch, Notify, Proof, check_spec
from backends.local.environments import check_version
from backends.local.weights import Weights, prepare, weights_hash
from harness.core.errors import EngineError

REAPER = Path(__file__).with_name("reaper.py")
STOP_S = 20.0  # for the reaper after the grace period: its KILLING_S = 10, twice
POLL_INTERVAL_S = 0.25
PROGRESS_INTERVAL_S = 15.0
GET_S = 5.0
REPLY_S = 120.0  # for the first reply of a model that may have to warm up
BODY_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A server that is ready.

    base_url   as OpenAI's dialect needs it, without a slash at the end
    load_path  path of its metrics; None: it has none
    seqs_max   replies generated at the same time
    facts      what an audit records about it, flat"""

    port: int
    base_url: str
    served_name: str
    load_path: str | None
    seqs_max: int
    facts: Mapping[str, str | int | float]
    log: Path
    process: Process = field(repr=False, compare=False)

    async def wait_dead(self) -> EngineError:
        """Waits until the server ends by itself; returns an error with the last lines of its log."""
        code = await self.process.wait()
        return EngineError(
            f"The server of {self.served_name} died ({describe_exit(code)}). {log_tail(self.log)}"
        )


@asynccontextmanager
async def serve(
    spec: EngineSpec,
    engine: Engine,
    *,
    log: Path,
    port: int | None = None,
    ready_s: float = 600.0,
    notify: Notify,
) -> AsyncIterator[LocalServer]:
    """Yields one server that is ready, and stops it at the end.

    log      file of its output, written anew
    port     its port; None: a free one
    ready_s  seconds that it has to become ready
    raises   EngineError: the weights are missing, the server died, was not ready in time, or serves something
             else"""
    kind = engine.kind
    check_spec(kind, spec)
    await run_sync(check_version, engine)
    weights = await run_sync(prepare, spec.weights, spec.quantisation, engine, notify)
    launch = Launch(
        python=engine.python,
        spec=spec,
        weights=weights.path,
        revision=weights.revision,
        seqs_max=kind.seqs_max,
        port=port or free_port(),
    )
    inherited = engine_environ(os.environ, named=spec.env, withheld=spec.withheld)
    defaults = {name: inherited.get(name, value) for name, value in kind.environ_defaults.items()}
    command, environ = kind.command(launch), defaults | kind.environ(launch)
    facts = engine_facts(engine, launch, weights, command, environ)
    facts |= {"log": str(log)}
    if weights.revision is None:
        facts["weights_sha256"] = await run_sync(weights_hash, weights.path)
    name = f"{spec.served_name} ({kind.name}, {spec.dtype})"
    notify(f"{name}: starting {kind.name} {engine.version} on port {launch.port}; its log is {log}")
    async with run_reaped(command, inherited | environ, kind.grace_s, log) as process:
        begun = anyio.current_time()
        await wait_until_ready(name, launch.port, process, log, ready_s, notify)
        for proof in kind.proofs:
            await prove(proof, launch, engine)
        took_s = anyio.current_time() - begun
        notify(f"{name}: ready after {took_s:.0f} s")
        yield LocalServer(
            port=launch.port,
            base_url=f"http://127.0.0.1:{launch.port}/v1",
            served_name=kind.served_name(launch),
            load_path=kind.load_path,
            seqs_max=launch.seqs_max,
            facts=facts | {"ready_s": round(took_s, 3)},
            log=log,
            process=process,
        )


def engine_facts(
    engine: Engine, launch: Launch, weights: Weights, command: tuple[str, ...], environ: Mapping[str, str]
) -> dict[str, str | int | float]:
    """Returns what an audit must know of a server that is started with this command and environment."""
    spec = launch.spec
    facts: dict[str, str | int | float] = {
        "engine": engine.kind.name,
        "engine_version": engine.version,
        "packages": " ".join(engine.kind.packages),
        "weights": spec.weights,
        "weights_root": str(weights.path),
        "dtype": spec.dtype,
        "quantisation": spec.quantisation or "none asked for",
        "context_max": spec.context_max,
        "command": shlex.join(command),
        "environment": shlex.join(f"{name}={value}" for name, value in environ.items()),
    }
    if weights.revision is not None:
        facts["weights_revision"] = weights.revision
    if weights.bits is not None:
        facts["bits_per_weight"] = weights.bits
    return facts


@asynccontextmanager
async def run_reaped(
    command: tuple[str, ...], environ: Mapping[str, str], grace_s: float, log: Path
) -> AsyncIterator[Process]:
    """Yields a process under a reaper; it ends with this block, and with this program."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = await anyio.open_process(
            (sys.executable, "-I", str(REAPER), str(grace_s), *command),
            stdout=output,
            stderr=output,
            env={**environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C in the terminal must not reach the server; this program stops it
        )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with anyio.move_on_after(grace_s + STOP_S):
                await process.wait()
            await process.aclose()  # kills a reaper that hangs, and with it the server


async def wait_until_ready(
    name: str, port: int, process: Process, log: Path, ready_s: float, notify: Notify
) -> None:
    begun = anyio.current_time()
    notified = begun
    while (now := anyio.current_time()) - begun < ready_s:
        if process.returncode is not None:
            raise EngineError(
                f"The server of {name} died before it was ready ({describe_exit(process.returncode)}). "
                f"{log_tail(log)}"
            )
        status, _ = await exchange(port, "/health")
        if status == 200:
            return
        if now - notified >= PROGRESS_INTERVAL_S:
            notified = now
            notify(f"{name}: still starting after {now - begun:.0f} s")
        await anyio.sleep(POLL_INTERVAL_S)
    raise EngineError(f"The server of {name} was not ready within {ready_s:g} s. {log_tail(log)}")


async def prove(proof: Proof, launch: Launch, engine: Engine) -> None:
    """Raises EngineError unless the server makes the statement that the launched one would make."""
    body = None if proof.body is None else json.dumps(proof.body).encode()
    status, answer = await exchange(
        launch.port, proof.path, body, within_s=GET_S if body is None else REPLY_S
    )
    expected = proof.expected(launch, engine.version)
    try:
        statement = json.loads(answer) if status == 200 else None
        for key in proof.keys:
            statement = statement[key]  # type: ignore[index]  # any other shape is another server
    except (ValueError, LookupError, TypeError):
        raise EngineError(
            f"The {engine.kind.name} server at port {launch.port} does not state {proof.claim} "
            f"at {proof.path} (status {status})."
        ) from None
    if statement != expected:
        raise EngineError(
            f"The {engine.kind.name} server at port {launch.port} is not the one asked for: "
            f"{proof.claim} is {statement}, not {expected}."
        )


async def exchange(
    port: int, path: str, body: bytes | None = None, *, within_s: float = GET_S
) -> tuple[int | None, bytes]:
    """Returns status and body of the answer to one plain request to 127.0.0.1; None if there is no answer.

    body      sent as JSON with POST; None: a GET request
    within_s  limit of the whole exchange"""
    verb = "GET" if body is None else "POST"
    # HTTP/1.0, so that the answer ends with the connection and has no chunks.
    head = f"{verb} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    answer = bytearray()
    with anyio.move_on_after(within_s) as limit:
        try:
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(head.encode("ascii") + b"\r\n" + (body or b""))
                async for piece in stream:
                    answer += piece
                    if len(answer) > BODY_BYTES_MAX:
                        return None, b""
        except (OSError, anyio.BrokenResourceError):
            return None, b""
    if limit.cancelled_caught:
        return None, b""
    top, _, content = bytes(answer).partition(b"\r\n\r\n")
    words = top.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return None, b""
    return int(words[1]), content


def free_port() -> int:
    """Returns a port of 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def log_tail(log: Path, lines: int = 20) -> str:
    """Returns the path of a log and its last lines, for a message."""
    with open(log, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8192))
        last = file.read().decode("utf-8", "replace").splitlines()[-lines:]
    return f"Its log {log} ends:\n" + "\n".join(last) if last else f"Its log {log} is empty."


def describe_exit(code: int) -> str:
    return f"exit code {code}" if code <= 128 else f"signal {code - 128}"

"""A supervised local server: it is started again on the same port when it dies, a limited number of times.

Knows one server and the backend that calls it; nothing of gates or episodes.
Keeps: a call that was in flight when the server died fails with a transient error; a call that comes while
the server is down waits until it is up; once no restart is left every call fails with the cause. A restarted
server is verified again, including the hash of its weights.
Does not promise: to notice a server that hangs; the deadlines of the calls do that."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from backends.local.child_environ import dropped_names, engine_environ
from backends.local.engine import Engine, EngineSpec, Notify
from backends.local.local_server import LocalServer, serve
from harness.core.errors import CallError, ConnectFailed, EngineError, Unavailable, Unreachable
from harness.core.protocols import Backend, Clock
from harness.core.vocabulary import Completion, Prompt

# A lost connection is known at once. The reaper reports the death later: first it ends all descendants.
DEATH_NOTICE_S = 10.0


class SupervisedServer:
    """One server over all its starts.

    log            log file of the first start; later ones have their number before the suffix
    restarts_max   how often the server is started again in all
    on_death       is called with the cause of a death, before the next start"""

    def __init__(
        self,
        spec: EngineSpec,
        engine: Engine,
        *,
        log: Path,
        restarts_max: int,
        on_death: Callable[[EngineError], None],
        notify: Notify,
    ) -> None:
        self._spec = spec
        self._engine = engine
        self._log = log
        self._restarts_max = restarts_max
        self._on_death = on_death
        self._notify = notify
        self._up, self._down = anyio.Event(), anyio.Event()
        self._lost: EngineError | None = None

    async def keep(self, *, task_status: TaskStatus[LocalServer]) -> EngineError:
        """Serves until it is cancelled; reports the first start, and returns the last death once no restart
        is left.

        raises  EngineError if the first start fails"""
        first: LocalServer | None = None
        passed = engine_environ(os.environ, named=self._spec.env, withheld=self._spec.withheld)
        if dropped := dropped_names(os.environ, passed):
            self._notify(
                f"{self._spec.served_name}: the engine does not get the variables {', '.join(dropped)}; "
                "list those that it needs in engine.env"
            )
        for start in count(1):
            log = self._log if start == 1 else self._log.with_suffix(f".{start}{self._log.suffix}")
            port = first.port if first else None
            try:
                async with serve(self._spec, self._engine, log=log, port=port, notify=self._notify) as server:
                    if first is None:
                        first = server
                        task_status.started(server)
                    self._check_same(first, server)
                    self._up.set()
                    self._down = anyio.Event()
                    death = await server.wait_dead()
            except EngineError as error:
                if first is None:
                    raise
                death = error
            if start > self._restarts_max:
                break
            if self._up.is_set():
                self._up = anyio.Event()
            self._down.set()
            self._on_death(death)
            self._notify(
                f"{self._spec.served_name} ({self._engine.kind.name}): "
                f"restart ({start} of {self._restarts_max})"
            )
        self._lost = death
        self._up.set()
        self._down.set()
        return death

    def _check_same(self, first: LocalServer, current: LocalServer) -> None:
        if current.facts["weights_sha256"] != first.facts["weights_sha256"]:
            raise EngineError(
                f"The weights of {self._spec.served_name} changed on disk while they were served."
            )

    async def wait_down(self, within_s: float) -> None:
        """Waits until the server is known to be dead, at most so long."""
        with anyio.move_on_after(within_s):
            await self._down.wait()

    async def wait_up(self) -> None:
        """Waits until the server can be called.

        raises  Unreachable once no restart is left"""
        while not self._up.is_set():
            await self._up.wait()
        if self._lost is not None:
            raise Unreachable(str(self._lost))


class SupervisedBackend:
    """A Backend whose server may be down for a while."""

    def __init__(self, backend: Backend, server: SupervisedServer, *, clock: Clock) -> None:
        self._backend = backend
        self._server = server
        self._clock = clock

    async def complete(self, prompt: Prompt) -> Completion:
        """Returns the completion; see Backend."""
        waiting_since_s = self._clock.now()
        await self._server.wait_up()
        held_s = self._clock.now() - waiting_since_s
        try:
            completion = await self._backend.complete(prompt)
        except CallError as error:
            if (
                isinstance(error, Unavailable) and error.status is None
            ):  # the connection was lost or refused: no reason to spend a try
                await self._server.wait_down(DEATH_NOTICE_S)
            if isinstance(error, ConnectFailed):
                error = Unavailable(str(error), request_id=error.request_id)
            error.held_s += held_s
            raise error
        return completion._replace(held_s=completion.held_s + held_s)

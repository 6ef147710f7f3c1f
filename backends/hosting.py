"""A local server kept alive: when it dies it is started again on the same port, as often as it may.

Knows one server and the backend that calls it; nothing of gates or episodes.
Keeps: a call that was in flight when the server died fails as worth another try; one that comes while it is down waits until it is up;
once no restart is left every call is told why. A restarted server gives all proofs anew, its weights' hash among them.
Does not promise: that a server which hangs is noticed; the calls' own deadlines do that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from backends.engines import Engine, EngineSpec, Say
from backends.local_server import LocalServer, serve
from harness.core.errors import CallError, ConnectFailed, EngineError, Unavailable, Unreachable
from harness.core.protocols import Backend, Clock
from harness.core.vocabulary import Completion, Prompt


class Host:
    """One server and its lives.

    log            of its first life; later ones have their number before the suffix
    restarts_max   how often it is started again in all
    on_death       hears why it died, before it is started again"""

    def __init__(
        self, spec: EngineSpec, engine: Engine, *, log: Path, restarts_max: int, on_death: Callable[[EngineError], None], say: Say
    ) -> None:
        self._spec = spec
        self._engine = engine
        self._log = log
        self._restarts_max = restarts_max
        self._on_death = on_death
        self._say = say
        self._up: anyio.Event = anyio.Event()
        self._lost: EngineError | None = None

    async def keep(self, *, task_status: TaskStatus[LocalServer]) -> EngineError:
        """Serves until it is cancelled; reports its first life as started, and returns the last death once no restart is left.

        raises  EngineError if the first life does not come to be"""
        first: LocalServer | None = None
        for life in count(1):
            log = self._log if life == 1 else self._log.with_suffix(f".{life}{self._log.suffix}")
            port = first.port if first else None
            try:
                async with serve(self._spec, self._engine, log=log, port=port, say=self._say) as server:
                    if first is None:
                        first = server
                        task_status.started(server)
                    self._check_same(first, server)
                    self._up.set()
                    death = await server.wait_dead()
            except EngineError as error:
                if first is None:
                    raise
                death = error
            if life > self._restarts_max:
                break
            self._up = anyio.Event() if self._up.is_set() else self._up
            self._on_death(death)
            self._say(f"{self._spec.served_name} ({self._engine.kind.name}): starting again, for the {life}. of {self._restarts_max} times")
        self._lost = death
        self._up.set()
        return death

    def _check_same(self, first: LocalServer, now: LocalServer) -> None:
        if now.facts["weights_sha256"] != first.facts["weights_sha256"]:
            raise EngineError(f"The weights of {self._spec.served_name} changed on disk while they were served.")

    async def wait_up(self) -> None:
        """Until the server can be called.

        raises  Unreachable once it is lost for good"""
        while not self._up.is_set():
            await self._up.wait()
        if self._lost is not None:
            raise Unreachable(str(self._lost))


class HostedBackend:
    """A Backend over a server that may be down for a while."""

    def __init__(self, backend: Backend, host: Host, *, clock: Clock) -> None:
        self._backend = backend
        self._host = host
        self._clock = clock

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend."""
        ready_s = self._clock.now()
        await self._host.wait_up()
        held_s = self._clock.now() - ready_s
        try:
            completion = await self._backend.complete(prompt)
        except ConnectFailed as error:      # its death is not heard of yet
            raise Unavailable(str(error), status=error.status, request_id=error.request_id) from error
        except CallError as error:
            error.held_s += held_s
            raise
        return replace(completion, held_s=completion.held_s + held_s)

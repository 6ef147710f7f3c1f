"""The command `lightbulb emulate`: an emulated provider in a process of its own, until a signal ends it."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio
import orjson

from backends.emulator.server import serving
from harness.core.emulation import Emulation
from harness.core.errors import SpecError
from harness.core.vocabulary import Instance


async def emulate(
    emulation: Emulation,
    *,
    port: int,
    key: str | None,
    find_instance: Callable[[str], Instance],
    on_ready: Callable[[str], None],
    notify: Callable[[str], None],
) -> None:
    """Serves until SIGINT or SIGTERM, or until the provider dies as its faults ask; then reports its counts.

    port            0: any free port
    key             what clients must present; None: nothing
    find_instance   item -> its instance
    on_ready        receives the base URL once the socket accepts connections
    notify          receives the counts as one line
    raises          SpecError if the port cannot be opened"""
    try:
        async with (
            serving(emulation, port=port, key=key, find_instance=find_instance) as emulator,
            anyio.create_task_group() as tasks,
        ):

            async def until_ended() -> None:
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for _ in signals:
                        break
                tasks.cancel_scope.cancel()

            tasks.start_soon(until_ended)
            on_ready(emulator.base_url)
            await emulator.dead.wait()
            tasks.cancel_scope.cancel()
    except OSError as error:
        raise SpecError(f"port {port}: {error.strerror}; choose another, or 0 for any free port") from error
    counts = orjson.loads(emulator.statistics.as_json())
    notify(", ".join(f"{name} {count}" for name, count in counts.items() if not isinstance(count, dict)))

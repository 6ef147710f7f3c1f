"""The command `lightbulb emulate`: an emulated provider in a process of its own, until somebody ends it."""

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
    say: Callable[[str], None],
) -> None:
    """Serves until SIGINT or SIGTERM, or until the provider dies as its faults ask; then says what it has seen.

    on_ready   takes the base URL once connections are taken
    raises     SpecError if the port is not to be had"""
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
        raise SpecError(f"port {port}: {error.strerror}; name another, or 0 for any that is free") from error
    seen = orjson.loads(emulator.statistics.as_json())
    say(", ".join(f"{name} {count}" for name, count in seen.items() if not isinstance(count, dict)))

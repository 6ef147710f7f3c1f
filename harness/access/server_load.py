"""Follows what model servers tell of their load: a row for the store now and then, a word to their gates.

Knows gates and how a load is asked; nothing of HTTP or of what servers there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from harness.core.protocols import Clock, RecordSink
from harness.core.records import EngineSample
from harness.core.vocabulary import ServerLoad
from harness.limits.gate import Gate
from harness.limits.queue_delay import QueueDelay

LOOK_EVERY_S = 1.0  # a look costs vLLM's front about 12 ms
STORE_EVERY = 5  # looks


async def follow_load(
    ask: Callable[[], Awaitable[ServerLoad | None]],
    gates: Sequence[Gate],
    *,
    run_id: str,
    base_url: str,
    sink: RecordSink,
    clock: Clock,
) -> None:
    """Until it is cancelled. ask: what the server tells now; None if it does not answer."""
    queue = QueueDelay()
    looks = 0
    while True:
        load = await ask()
        if load is not None:
            waiting = queue.update(load)
            if waiting is not None:
                for gate in gates:
                    gate.update_load(load.running, waiting)
            if looks % STORE_EVERY == 0:
                sink.put_nowait(
                    EngineSample(
                        run_id=run_id,
                        base_url=base_url,
                        running=load.running,
                        waiting=load.waiting,
                        cache_use=load.cache_use,
                        prefix_queries=load.prefix_queries,
                        prefix_hits=load.prefix_hits,
                        at=clock.wall(),
                    )
                )
            looks += 1
        await clock.sleep(LOOK_EVERY_S)

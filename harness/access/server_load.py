"""Follows the load that model servers report: tells their gates, and writes a row now and then.

Knows gates, and a function that asks for the load; nothing of HTTP or of kinds of servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from harness.core.protocols import Clock, RecordSink
from harness.core.records import EngineSample
from harness.core.vocabulary import ServerLoad
from harness.limits.gate import Gate
from harness.limits.queue_delay import QueueDelay

ASK_EVERY_S = 1.0  # a question costs vLLM's front end about 12 ms (measured)
STORE_EVERY = 5  # questions: a row each five seconds shows a queue's course, and a day is 17,000 rows


async def follow_load(
    ask: Callable[[], Awaitable[ServerLoad | None]],
    gates: Sequence[Gate],
    *,
    run_id: str,
    base_url: str,
    sink: RecordSink,
    clock: Clock,
) -> None:
    """Follows one server until it is cancelled.

    ask       returns the server's load now; None if it does not answer
    gates     of the methods that use the server
    base_url  the server's name in the rows"""
    queue = QueueDelay()
    asked = 0
    while True:
        load = await ask()
        if load is not None:
            waiting = queue.update(load)
            if waiting is not None:
                for gate in gates:
                    gate.update_load(load.running, waiting)
            if asked % STORE_EVERY == 0:
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
            asked += 1
        await clock.sleep(ASK_EVERY_S)

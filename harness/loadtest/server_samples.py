"""Follows the load that a model server reports during a stage: running and waiting requests, cache use,
prefix hits.

Knows a function that asks the server; nothing of HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from harness.core.protocols import Clock
from harness.core.vocabulary import ServerLoad
from harness.loadtest.distributions import Distribution, describe

SAMPLE_EVERY_S = 1.0  # a question costs vLLM's front end about 12 ms (measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSample:
    """One report. at   seconds since 1970"""

    at: float
    load: ServerLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFigures:
    """The reports of a stage.

    cache_use         share of the memory for keys and values
    prefix_hit_share  tokens of prompts that the server found in its prefix cache, of those that it looked up;
                      None: not reported"""

    samples: int
    running: Distribution
    waiting: Distribution
    cache_use: Distribution
    prefix_hit_share: float | None


async def sample_server(
    ask: Callable[[], Awaitable[ServerLoad | None]], clock: Clock, keep: Callable[[ServerSample], None]
) -> None:
    """Asks until it is cancelled.

    ask    returns the server's load now; None if it does not answer
    keep   takes each report"""
    while True:
        if (load := await ask()) is not None:
            keep(ServerSample(at=clock.wall(), load=load))
        await clock.sleep(SAMPLE_EVERY_S)


def server_figures(samples: Sequence[ServerSample]) -> ServerFigures | None:
    """Returns what the reports say; None without any."""
    if not samples:
        return None
    loads = [one.load for one in samples]
    return ServerFigures(
        samples=len(loads),
        running=describe([float(one.running) for one in loads]),
        waiting=describe([float(one.waiting) for one in loads]),
        cache_use=describe([one.cache_use for one in loads if one.cache_use is not None]),
        prefix_hit_share=_hit_share(loads[0], loads[-1]),
    )


def _hit_share(first: ServerLoad, last: ServerLoad) -> float | None:
    """Returns the share of hits between two reports of running counts."""
    queries = _growth(first.prefix_queries, last.prefix_queries)
    hits = _growth(first.prefix_hits, last.prefix_hits)
    return hits / queries if queries and hits is not None else None


def _growth(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before

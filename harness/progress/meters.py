"""Counts the rows as they are handed to the store: rates, errors, tokens, cost and scores of each access
method.

Knows rows and the clock; nothing of gates or screens. Keeps: every row is handed on unchanged and in order;
rates are those of the last minute. Scores include the episodes that the store held when the run began."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.core.protocols import Clock, RecordSink
from harness.core.records import CallRecord, EpisodeRecord, Record

MINUTE_S = 60


class MinuteSum:
    """A sum over the last minute, kept by the second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, amount: int, now_s: float) -> None:
        second = int(now_s)
        held = self._seconds.pop()[1] if self._seconds and self._seconds[-1][0] == second else 0
        self._seconds.append((second, held + amount))
        self._sum += amount

    def a_minute(self, now_s: float, began_s: float) -> float:
        """Returns the last minute's sum; in a run's first minute, the sum so far scaled to a minute."""
        while self._seconds and self._seconds[0][0] <= now_s - MINUTE_S:
            self._sum -= self._seconds.popleft()[1]
        return self._sum * MINUTE_S / min(MINUTE_S, max(1.0, now_s - began_s))


@dataclass(slots=True)
class Traffic:
    """One access method's calls of this run.

    tokens     as far as the provider reports them
    cost_usd   None: no cost is known of any call"""

    calls: int = 0
    errors: int = 0
    cost_usd: float | None = None
    requests: MinuteSum = field(default_factory=MinuteSum)
    tokens: MinuteSum = field(default_factory=MinuteSum)


@dataclass(slots=True)
class ScoreSum:
    """Finished episodes of one game through one method, and the sum of their scores; an aborted episode adds
    0."""

    episodes: int = 0
    total: float = 0.0


class Meters:
    """A RecordSink that counts rows and hands them to another sink."""

    def __init__(self, sink: RecordSink, clock: Clock, *, scores: Mapping[tuple[str, str], ScoreSum]) -> None:
        self._sink = sink
        self._clock = clock
        self._began_s = clock.now()
        self.traffic: dict[str, Traffic] = {}
        self.scores: dict[tuple[str, str], ScoreSum] = dict(scores)

    async def put(self, *records: Record) -> None:
        """See RecordSink."""
        for record in records:
            self._count(record)
        await self._sink.put(*records)

    def put_nowait(self, record: Record) -> None:
        """See RecordSink."""
        self._count(record)
        self._sink.put_nowait(record)

    def requests_a_minute(self, method: str) -> float:
        return (
            self.traffic[method].requests.a_minute(self._clock.now(), self._began_s)
            if method in self.traffic
            else 0.0
        )

    def tokens_a_minute(self, method: str) -> float:
        return (
            self.traffic[method].tokens.a_minute(self._clock.now(), self._began_s)
            if method in self.traffic
            else 0.0
        )

    def _count(self, record: Record) -> None:
        if isinstance(record, CallRecord):
            traffic = self.traffic.get(record.method)
            if traffic is None:
                traffic = self.traffic[record.method] = Traffic()
            now_s = self._clock.now()
            traffic.calls += 1
            traffic.errors += record.error_class is not None
            traffic.requests.add(1, now_s)
            traffic.tokens.add((record.prompt_tokens or 0) + (record.completion_tokens or 0), now_s)
            if record.cost_usd is not None:
                traffic.cost_usd = (traffic.cost_usd or 0.0) + record.cost_usd
        elif isinstance(record, EpisodeRecord) and record.status == "finished" and record.arm == "main":
            scores = self.scores.setdefault((record.method, record.game), ScoreSum())
            scores.episodes += 1
            scores.total += record.score or 0.0

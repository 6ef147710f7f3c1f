"""Counts the rows as they are handed to the store: rates, errors, tokens, cost and scores of each access
method.

Knows rows and the clock; nothing of gates or screens. Keeps: every row is handed on unchanged and in order;
rates are those of the last minute. Scores include the episodes that the store held when the run began."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.core.protocols import Clock, RecordSink
from harness.core.records import CallRecord, EpisodeRecord, Record, TurnRecord

MINUTE_S = 60
# turns whose failed tries are remembered; those of failed episodes are never asked for
FAILED_TURNS_MAX = 10_000
RECENT_TURNS = 400  # of an access method: enough for a 99 % quantile, and old enough turns are forgotten


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

    @property
    def total(self) -> int:
        """Returns the sum over what is kept."""
        return self._sum

    def a_minute(self, now_s: float, began_s: float) -> float:
        """Returns the last minute's sum; in a run's first minute, the sum so far scaled to a minute."""
        while self._seconds and self._seconds[0][0] <= now_s - MINUTE_S:
            self._sum -= self._seconds.popleft()[1]
        return self._sum * MINUTE_S / min(MINUTE_S, max(1.0, now_s - began_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCount:
    """An error of an access method: its class, the HTTP status if there was one, the last text, how often."""

    error_class: str
    status: int | None
    text: str
    count: int


@dataclass(slots=True)
class Traffic:
    """One access method's calls of this run.

    answered   calls that brought a reply: one for each turn
    tokens     as far as the provider reports them
    cost_usd   None: no cost is known of any call
    turn_s     how long the last turns took on the wire, their failed tries included
    game_s     how long the game took before the last turns, from a reply to its next ask"""

    calls: int = 0
    errors: int = 0
    answered: int = 0
    cost_usd: float | None = None
    requests: MinuteSum = field(default_factory=MinuteSum)
    tokens: MinuteSum = field(default_factory=MinuteSum)
    turn_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_TURNS))
    game_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_TURNS))
    _failed_s: dict[tuple[str, int], float] = field(default_factory=dict)
    _kinds: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    _last: CallRecord | None = None

    def count(self, call: CallRecord, now_s: float) -> None:
        """Counts an answered or failed call."""
        self.calls += 1
        self.count_end(call)
        self.requests.add(1, now_s)
        self.tokens.add((call.prompt_tokens or 0) + (call.completion_tokens or 0), now_s)
        if call.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + call.cost_usd

    def following(self) -> Traffic:
        """Returns counts that begin at 0 and follow these; takes over the failed tries of open turns."""
        failed_s, self._failed_s = self._failed_s, {}
        return Traffic(_failed_s=failed_s)

    def add(self, other: Traffic, now_s: float) -> None:
        """Adds what another process counted since it told last."""
        self.calls += other.calls
        self.errors += other.errors
        self.answered += other.answered
        self.requests.add(other.calls, now_s)
        self.tokens.add(other.tokens.total, now_s)
        if other.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + other.cost_usd
        self.turn_s.extend(other.turn_s)
        self.game_s.extend(other.game_s)
        self._kinds.update(other._kinds)
        self._last = other._last or self._last

    def count_end(self, call: CallRecord) -> None:
        """Counts how a call ended."""
        place = (call.episode_id, call.turn)
        if call.error_class is None:
            self.answered += 1
            failed_s = self._failed_s.pop(place, 0.0) if self._failed_s else 0.0
            self.turn_s.append(call.latency_s + failed_s)
            return
        self.errors += 1
        if len(self._failed_s) >= FAILED_TURNS_MAX:
            self._failed_s.clear()
        self._failed_s[place] = self._failed_s.get(place, 0.0) + call.latency_s
        self._kinds[call.error_class, call.http_status] += 1
        self._last = call

    @property
    def last_error(self) -> ErrorCount | None:
        """Returns the last error, and how often one of its class and status came."""
        if self._last is None or self._last.error_class is None:
            return None
        kind = (self._last.error_class, self._last.http_status)
        return ErrorCount(
            error_class=kind[0], status=kind[1], text=self._last.error_text or "", count=self._kinds[kind]
        )


@dataclass(slots=True)
class ScoreSum:
    """Finished episodes of one game through one method, and the sum of their scores; an aborted episode adds
    0."""

    episodes: int = 0
    total: float = 0.0


class CountsTurns(Protocol):
    """Takes the rows of turns and episodes: see EpisodeTurns."""

    def count(self, record: TurnRecord | EpisodeRecord) -> None: ...


class Meters:
    """A RecordSink that counts rows and hands them to another sink.

    scores   of the episodes that the store held
    turns    takes the rows of turns and episodes; None: nobody asks when the run ends"""

    def __init__(
        self,
        sink: RecordSink,
        clock: Clock,
        *,
        scores: Mapping[tuple[str, str], ScoreSum],
        turns: CountsTurns | None = None,
    ) -> None:
        self._sink = sink
        self._turns = turns
        self._clock = clock
        self._began_s = clock.now()
        self.traffic: dict[str, Traffic] = {}
        self.scores: dict[tuple[str, str], ScoreSum] = dict(scores)
        self._answered_s: dict[str, float] = {}  # open episode -> when its last reply came

    async def put(self, *records: Record) -> None:
        """See RecordSink."""
        for record in records:
            self.count(record)
        await self._sink.put(*records)

    def put_nowait(self, record: Record) -> None:
        """See RecordSink."""
        self.count(record)
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

    def take_traffic(self) -> dict[str, Traffic]:
        """Returns the calls since the last time, by access method, for the meters of another process."""
        counted = {method: traffic for method, traffic in self.traffic.items() if traffic.calls}
        for method, traffic in counted.items():
            self.traffic[method] = traffic.following()
        return counted

    def add_traffic(self, traffic: Mapping[str, Traffic]) -> None:
        """Adds the calls that another process counted since it told last, by access method."""
        for method, counted in traffic.items():
            self.traffic.setdefault(method, Traffic()).add(counted, self._clock.now())

    def count(self, record: Record) -> None:
        """Counts a row."""
        if isinstance(record, CallRecord):
            traffic = self.traffic.get(record.method)
            if traffic is None:
                traffic = self.traffic[record.method] = Traffic()
            now_s = self._clock.now()
            traffic.count(record, now_s)
            answered_s = self._answered_s.pop(record.episode_id, None)
            if answered_s is not None:
                traffic.game_s.append(max(0.0, now_s - record.latency_s - record.queue_s - answered_s))
            if record.error_class is None:
                self._answered_s[record.episode_id] = now_s
            return
        if self._turns is not None and isinstance(record, TurnRecord | EpisodeRecord):
            self._turns.count(record)
        if isinstance(record, EpisodeRecord):
            self._answered_s.pop(record.episode_id, None)
        if isinstance(record, EpisodeRecord) and record.status == "finished" and record.arm == "main":
            scores = self.scores.setdefault((record.method, record.game), ScoreSum())
            scores.episodes += 1
            scores.total += record.score or 0.0

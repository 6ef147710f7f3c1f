"""A provider without a socket, for virtual time: latency, quotas, faults and outages around any backend's answers.

Knows how long an answer takes and what a provider takes amiss; what is answered is the inner backend's affair. Quotas are the provider's
own, counted as it counts: they may differ from what the sweep says, and change. Repeatable: all chance is one stream a provider, drawn
in the order of arrival, which virtual time repeats.
Does not promise: how a batch reads its prompts. What that costs the other calls is part of what company costs."""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import anyio

from harness.core.errors import CallError, ConnectFailed, Garbled, RateLimited, TimedOut, Unavailable
from harness.core.protocols import Backend, Clock
from harness.core.seeds import stream
from harness.core.vocabulary import Completion, Prompt

Quota = Literal["requests", "tokens", "input_tokens", "output_tokens"]
MINUTE_S = 60.0
REFUSAL_S = 0.05  # a refusal is quick


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """How long an answer takes.

    first_s   until anything happens: network and queue
    prompt_s  for each token of the prompt
    token_s   for each token of the answer, of a call that is alone
    load_s    more for each token, for each other call under way: one batch computes them all; 0: calls do not notice each other
    slots     calls computed at once, the others queue; None: as many as come
    factors   measured durations over expected ones, one of which each call draws; empty: lognormal of this spread
    spread    sigma of that lognormal
    cold      times as long for calls that came before any was answered: caches are empty"""

    first_s: float = 0.5
    prompt_s: float = 0.0
    token_s: float = 0.0
    load_s: float = 0.0
    slots: int | None = None
    factors: Sequence[float] = ()
    spread: float = 0.0
    cold: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaModel:
    """What a provider allows a minute, and how it counts.

    limits        quota -> so many a minute
    window        "fixed": minutes that begin at `phase_s`; "sliding": the last 60 s at any moment
    per_second    a minute's requests are also refused where one second brings more than this share of them; None: they are not
    headers       every answer says limits, what remains and when it is reset
    changes       (second, factor): from then on the limits are so many times what they were at first"""

    limits: Mapping[Quota, float] = field(default_factory=dict)
    window: Literal["fixed", "sliding"] = "fixed"
    phase_s: float = 0.0
    per_second: float | None = None
    headers: bool = False
    changes: Sequence[tuple[float, float]] = ()


FaultKind = Literal["limited", "overloaded", "garbled", "reset", "stall"]
FAULTS: tuple[FaultKind, ...] = ("limited", "overloaded", "garbled", "reset", "stall")


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultModel:
    """What goes wrong.

    fault_rate   share of calls that fail
    faults       in these ways, in equal parts
    outages      (from, to) in seconds: no service
    stall_s      after so long a stalled call is given up
    jitter_s     a request arrives up to so much later than it was sent"""

    fault_rate: float = 0.0
    faults: Sequence[FaultKind] = ("limited", "overloaded", "garbled")
    outages: Sequence[tuple[float, float]] = ()
    stall_s: float = 60.0
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a provider behaves."""

    tempo: LatencyModel = LatencyModel()
    enforcement: QuotaModel = QuotaModel()
    trouble: FaultModel = FaultModel()


class SimulatedProvider:
    """One account at one provider: its quotas, and the server behind it. Several backends may share it.

    arrivals   when each request came in that was not refused
    refused    how many met a quota"""

    def __init__(self, behaviour: Behaviour, clock: Clock, *, seed: int, name: str = "") -> None:
        self.behaviour = behaviour
        self.arrivals = array("d")
        self.refused = 0
        self._clock = clock
        self._chance = stream(seed, "simulated", name)
        enforcement = behaviour.enforcement
        self._counts = {quota: _count_of(enforcement) for quota in enforcement.limits}
        by_second = enforcement.per_second is not None and "requests" in enforcement.limits
        self._second = _Fixed(1.0, enforcement.phase_s) if by_second else None
        self._warm = False
        self._batch = (
            _Batch(behaviour.tempo, clock) if behaviour.tempo.load_s or behaviour.tempo.slots else None
        )

    async def serve(self, inner: Backend, prompt: Prompt) -> Completion:
        """The inner backend's answer in this provider's time, if it gives one."""
        trouble, clock = self.behaviour.trouble, self._clock
        if trouble.jitter_s:
            await clock.sleep(self._chance.uniform(0.0, trouble.jitter_s))
        now_s = clock.now()
        if any(start_s <= now_s < end_s for start_s, end_s in trouble.outages):
            await clock.sleep(REFUSAL_S)
            raise Unavailable("simulated: no service", status=503)
        try:
            self._refuse(now_s)
        except RateLimited:
            await clock.sleep(REFUSAL_S)
            raise
        self.arrivals.append(now_s)
        self._count("requests", 1.0, now_s)
        fault = (
            trouble.faults[self._chance.randrange(len(trouble.faults))]
            if self._chance.random() < trouble.fault_rate
            else None
        )
        if fault == "stall":
            await clock.sleep(trouble.stall_s)
            raise TimedOut("simulated: silence")
        completion = await inner.complete(prompt)
        self._charge(completion, now_s)
        await self._compute(completion.prompt_tokens or 0, completion.completion_tokens or 0)
        if fault is not None:
            raise self._said(_fault(fault))
        return (
            completion._replace(headers=self._headers()) if self.behaviour.enforcement.headers else completion
        )

    async def _compute(self, prompt_tokens: int, reply_tokens: int) -> None:
        tempo = self.behaviour.tempo
        factor = (
            self._chance.choice(tempo.factors)
            if tempo.factors
            else self._chance.lognormvariate(0.0, tempo.spread)
        )
        if not self._warm:
            factor *= tempo.cold
        if self._batch is None:
            await self._clock.sleep(
                factor * (tempo.first_s + tempo.prompt_s * prompt_tokens + tempo.token_s * reply_tokens)
            )
        else:
            await self._clock.sleep(factor * (tempo.first_s + tempo.prompt_s * prompt_tokens))
            await self._batch.write(factor * reply_tokens)
        self._warm = True

    # --- quotas ---------------------------------------------------------------------------------------------------------------

    def _refuse(self, now_s: float) -> None:
        """raises  RateLimited if a quota of this minute, or of this second, is spent"""
        for quota, count in self._counts.items():
            used, reset_s = count.read(now_s)
            limit = self._limit(quota, now_s)
            if used + 1.0 > limit if quota == "requests" else used >= limit:
                raise self._refusal(quota, reset_s)
        if self._second is not None:
            used, reset_s = self._second.read(now_s)
            if used + 1.0 > (self.behaviour.enforcement.per_second or 0.0) * self._limit("requests", now_s):
                raise self._refusal("this second's requests", reset_s)

    def _refusal(self, what: str, reset_s: float) -> CallError:
        self.refused += 1
        return self._said(RateLimited(f"simulated: {what} spent", status=429, retry_after_s=reset_s))

    def _charge(self, completion: Completion, now_s: float) -> None:
        taken, given = float(completion.prompt_tokens or 0), float(completion.completion_tokens or 0)
        self._count("input_tokens", taken, now_s)
        self._count("output_tokens", given, now_s)
        self._count("tokens", taken + given, now_s)

    def _count(self, quota: Quota, amount: float, now_s: float) -> None:
        if quota in self._counts:
            self._counts[quota].add(amount, now_s)
        if quota == "requests" and self._second is not None:
            self._second.add(amount, now_s)

    def _limit(self, quota: Quota, now_s: float) -> float:
        limit = self.behaviour.enforcement.limits[quota]
        for since_s, factor in self.behaviour.enforcement.changes:
            if since_s <= now_s:
                limit = factor * self.behaviour.enforcement.limits[quota]
        return limit

    def _said(self, error: CallError) -> CallError:
        if self.behaviour.enforcement.headers:
            error.headers = self._headers()
        return error

    def _headers(self) -> dict[str, str]:
        now_s, said = self._clock.now(), dict[str, str]()
        for quota in self.behaviour.enforcement.limits:
            used, reset_s = self._counts[quota].read(now_s)
            limit, word = self._limit(quota, now_s), quota.replace("_", "-")
            said[f"x-ratelimit-limit-{word}"] = f"{limit:.0f}"
            said[f"x-ratelimit-remaining-{word}"] = f"{max(0.0, limit - used):.0f}"
            said[f"x-ratelimit-reset-{word}"] = f"{reset_s:.3f}s"
        return said


class SimulatedBackend:
    """A Backend: another's answers through a simulated provider."""

    def __init__(self, inner: Backend, provider: SimulatedProvider) -> None:
        self._inner = inner
        self._provider = provider

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend."""
        return await self._provider.serve(self._inner, prompt)


def _fault(kind: FaultKind) -> CallError:
    if kind == "limited":
        return RateLimited("simulated: too many requests", status=429, retry_after_s=0.5)
    if kind == "overloaded":
        return Unavailable("simulated: overloaded", status=503)
    if kind == "reset":
        return ConnectFailed("simulated: the connection broke")
    return Garbled("simulated: the answer broke off", status=200)


class _Fixed:
    """What was spent in this window of `length_s`."""

    def __init__(self, length_s: float, phase_s: float) -> None:
        self._length_s = length_s
        self._phase_s = phase_s
        self._window = -1
        self._used = 0.0

    def add(self, amount: float, now_s: float) -> None:
        self._turn(now_s)
        self._used += amount

    def read(self, now_s: float) -> tuple[float, float]:
        """Spent, and seconds until none of it counts."""
        self._turn(now_s)
        return self._used, self._length_s - (now_s - self._phase_s) % self._length_s

    def _turn(self, now_s: float) -> None:
        window = int((now_s - self._phase_s) // self._length_s)
        if window != self._window:
            self._window, self._used = window, 0.0


class _Sliding:
    """What was spent in the last `length_s`."""

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._spent: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def add(self, amount: float, now_s: float) -> None:
        self._spent.append((now_s, amount))
        self._used += amount

    def read(self, now_s: float) -> tuple[float, float]:
        """Spent, and seconds until some of it no longer counts."""
        while self._spent and self._spent[0][0] <= now_s - self._length_s:
            self._used -= self._spent.popleft()[1]
        return self._used, self._spent[0][0] + self._length_s - now_s if self._spent else 0.0


def _count_of(enforcement: QuotaModel) -> _Fixed | _Sliding:
    return _Fixed(MINUTE_S, enforcement.phase_s) if enforcement.window == "fixed" else _Sliding(MINUTE_S)


@dataclass(slots=True, order=True)
class _Sequence:
    """A call in a batch. ends: what `_done` will be then; watch: set when it is this call's turn to watch the time."""

    ends: float
    number: int
    watch: anyio.Event = field(compare=False)


class _Batch:
    """A server that writes all its replies together: each token takes longer the more there are.

    All replies advance at one pace, so who ends first is known on arrival; that call alone watches the time."""

    def __init__(self, tempo: LatencyModel, clock: Clock) -> None:
        self._tempo = tempo
        self._clock = clock
        self._done = 0.0  # tokens that a call present from the beginning would have by now
        self._at_s = clock.now()
        self._running: list[_Sequence] = []
        self._queue: deque[anyio.Event] = deque()
        self._count = 0
        self._taken = 0

    async def write(self, tokens: float) -> None:
        """Waits for a slot, then until so many tokens are written."""
        await self._enter()
        self._advance()
        self._count += 1
        own = _Sequence(self._done + tokens, self._count, anyio.Event())
        heapq.heappush(self._running, own)
        try:
            while True:
                while self._running[0] is not own:
                    own.watch = anyio.Event()
                    await own.watch.wait()
                self._advance()
                left_s = (own.ends - self._done) * self._token_s
                if left_s <= 1e-9:
                    break
                await self._clock.sleep(left_s)
        finally:
            self._advance()
            if self._running[0] is own:
                heapq.heappop(self._running)
            else:
                self._running.remove(own)
                heapq.heapify(self._running)
            self._leave()

    async def _enter(self) -> None:
        if self._tempo.slots is not None and self._taken >= self._tempo.slots:
            turn = anyio.Event()
            self._queue.append(turn)
            try:
                await turn.wait()
            except BaseException:
                if turn.is_set():
                    self._leave()
                else:
                    self._queue.remove(turn)
                raise
        else:
            self._taken += 1

    def _leave(self) -> None:
        """Hands the slot to the next in the queue, and the watch to who ends next."""
        if self._queue:
            self._queue.popleft().set()
        else:
            self._taken -= 1
        if self._running:
            self._running[0].watch.set()

    @property
    def _token_s(self) -> float:
        return self._tempo.token_s + self._tempo.load_s * (len(self._running) - 1)

    def _advance(self) -> None:
        now_s = self._clock.now()
        if self._running and self._token_s > 0.0:
            self._done += (now_s - self._at_s) / self._token_s
        self._at_s = now_s

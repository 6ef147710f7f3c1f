"""A provider without a socket, for virtual time: latency, quotas, faults and outages around the completions
of any backend.

Knows how long a reply takes and what the provider refuses; another backend makes the reply. Quotas are the
provider's own, enforced by the laws that the emulator on a socket uses; they may differ from the sweep file's
and may change with time. Repeatable: each provider draws all its chance from one stream in the order of
arrival, which virtual time repeats. Does not promise: how a batch reads its prompts. `load_s` contains what
that costs the other calls."""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from backends.emulator.quota import QuotaAccount
from harness.core.emulation import FAULTS, Fault, Quotas
from harness.core.errors import CallError, ConnectFailed, Garbled, RateLimited, TimedOut, Unavailable
from harness.core.protocols import Backend, Clock
from harness.core.seeds import stream
from harness.core.vocabulary import Completion, Prompt

REFUSAL_S = 0.05  # how long a refusal takes: one round trip, no computation
TOKENS_MIN = 1.0  # taken from each token quota on arrival; the rest is settled when the reply is known


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """The duration of a reply.

    first_s   before the first token: network and queue
    prompt_s  for each token of the prompt
    token_s   for each token of the reply, for a call that is alone
    load_s    added to each token for each other call in flight, since one batch computes them all; 0: calls
              do not slow each other
    workers   calls computed at once, the others queue; None: all
    factors   measured durations divided by expected ones; each call draws one; empty: lognormal with sigma
              `spread`
    spread    sigma of that lognormal
    cold      factor for calls that arrive before any was answered, when caches are empty"""

    first_s: float = 0.5
    prompt_s: float = 0.0
    token_s: float = 0.0
    load_s: float = 0.0
    workers: int | None = None
    factors: Sequence[float] = ()
    spread: float = 0.0
    cold: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultModel:
    """The faults of a provider.

    rate         share of calls that fail
    kinds        the faults, equally frequent; of SIMULATED_FAULTS
    outages      (from, to) in seconds: every call is refused with 503
    stall_s      seconds after which a stalled call is given up
    jitter_s     a request arrives up to so much later than it was sent"""

    rate: float = 0.0
    kinds: Sequence[Fault] = ("429", "503", "truncated_json")
    outages: Sequence[tuple[float, float]] = ()
    stall_s: float = 60.0
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The behaviour of a provider.

    quotas         as of the emulator; `told` is whether the answers' headers report them
    quota_changes  (second, factor): from this second on every quota is so many times its first value"""

    latency: LatencyModel = LatencyModel()
    quotas: Quotas = field(default_factory=Quotas)
    quota_changes: Sequence[tuple[float, float]] = ()
    faults: FaultModel = FaultModel()


_ERRORS: Mapping[Fault, Callable[[], CallError]] = {
    "429": lambda: RateLimited("simulated: too many requests", status=429, retry_after_s=0.5),
    "500": lambda: Unavailable("simulated: internal error", status=500),
    "503": lambda: Unavailable("simulated: overloaded", status=503),
    "reset_before_headers": lambda: ConnectFailed("simulated: the connection was reset"),
    "reset_in_body": lambda: Garbled("simulated: the connection was reset in the body", status=200),
    "truncated_json": lambda: Garbled("simulated: the body was truncated", status=200),
    "html": lambda: Garbled("simulated: an HTML page", status=200),
    "error_in_200": lambda: Unavailable("simulated: an error in a 200 response", status=200),
    "stall": lambda: TimedOut("simulated: no answer"),
}
SIMULATED_FAULTS = tuple(fault for fault in FAULTS if fault in _ERRORS)


class SimulatedProvider:
    """One account at one provider: its quotas and its server. Several backends may share it.

    arrivals   seconds at which requests that were not refused arrived
    refused    how many requests a quota refused"""

    def __init__(self, behaviour: Behaviour, clock: Clock, *, seed: int, name: str = "") -> None:
        self.behaviour = behaviour
        self.arrivals = array("d")
        self.refused = 0
        self._clock = clock
        self._chance = stream(seed, "simulated", name)
        self._account = QuotaAccount(behaviour.quotas, clock.now())
        self._changes = deque(sorted(behaviour.quota_changes))
        self._warm = False
        latency = behaviour.latency
        self._batch = _Batch(latency, clock) if latency.load_s or latency.workers else None

    async def serve(self, inner: Backend, prompt: Prompt) -> Completion:
        """Returns the inner backend's completion after this provider's latency.

        raises  CallError where a quota, an outage or a fault hits the call"""
        faults, clock = self.behaviour.faults, self._clock
        if faults.jitter_s:
            await clock.sleep(self._chance.uniform(0.0, faults.jitter_s))
        now_s = clock.now()
        if any(start_s <= now_s < end_s for start_s, end_s in faults.outages):
            await clock.sleep(REFUSAL_S)
            raise Unavailable("simulated: outage", status=503)
        refusal = self._admit(now_s)
        if refusal is not None:
            await clock.sleep(REFUSAL_S)
            raise refusal
        self.arrivals.append(now_s)
        fault = (
            faults.kinds[self._chance.randrange(len(faults.kinds))]
            if self._chance.random() < faults.rate
            else None
        )
        if fault == "stall":
            await clock.sleep(faults.stall_s)
            raise _ERRORS[fault]()
        completion = await inner.complete(prompt)
        prompt_tokens, reply_tokens = completion.prompt_tokens or 0, completion.completion_tokens or 0
        self._account.settle(
            input_tokens=max(0.0, prompt_tokens - TOKENS_MIN),
            output_tokens=max(0.0, reply_tokens - TOKENS_MIN),
            now_s=clock.now(),
        )
        await self._compute(prompt_tokens, reply_tokens)
        if fault is not None:
            raise self._with_headers(_ERRORS[fault]())
        return completion._replace(headers=self._headers()) if self.behaviour.quotas.told else completion

    async def _compute(self, prompt_tokens: int, reply_tokens: int) -> None:
        latency = self.behaviour.latency
        factor = (
            self._chance.choice(latency.factors)
            if latency.factors
            else self._chance.lognormvariate(0.0, latency.spread)
        )
        if not self._warm:
            factor *= latency.cold
        before_s = latency.first_s + latency.prompt_s * prompt_tokens
        if self._batch is None:
            await self._clock.sleep(factor * (before_s + latency.token_s * reply_tokens))
        else:
            await self._batch.compute(factor * before_s, factor * reply_tokens)
        self._warm = True

    # --- quotas -----------------------------------------------------------------------------------------

    def _admit(self, now_s: float) -> CallError | None:
        """Takes one request from the quotas, or returns the refusal. The reply's tokens are settled later."""
        while self._changes and self._changes[0][0] <= now_s:
            self._account.scale(self._changes.popleft()[1], now_s)
        refused = self._account.admit(input_tokens=TOKENS_MIN, output_tokens=TOKENS_MIN, now_s=now_s)
        if refused is None:
            return None
        kind, wait_s = refused
        self.refused += 1
        return self._with_headers(
            RateLimited(f"simulated: quota of {kind} exceeded", status=429, retry_after_s=wait_s)
        )

    def _with_headers(self, error: CallError) -> CallError:
        if self.behaviour.quotas.told:
            error.headers = self._headers()
        return error

    def _headers(self) -> dict[str, str]:
        headers = dict[str, str]()
        for kind, state in self._account.states(self._clock.now()).items():
            headers[f"x-ratelimit-limit-{kind}"] = f"{state.limit:.0f}"
            headers[f"x-ratelimit-remaining-{kind}"] = f"{state.remaining:.0f}"
            headers[f"x-ratelimit-reset-{kind}"] = f"{state.reset_s:.3f}s"
        return headers


class SimulatedBackend:
    """A Backend that passes another's completions through a simulated provider."""

    def __init__(self, inner: Backend, provider: SimulatedProvider) -> None:
        self._inner = inner
        self._provider = provider

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend."""
        return await self._provider.serve(self._inner, prompt)


@dataclass(slots=True, order=True)
class _Sequence:
    """A reply in a batch.

    ends   value of the batch's token count at which the reply is complete
    watch  set when this reply becomes the next to end, whose call watches the time"""

    ends: float
    number: int
    watch: anyio.Event = field(compare=False)


class _Batch:
    """A server that computes all its replies together: the more calls are in flight, the longer each token
    takes, whether their own tokens are being written yet or not. Calls that wait for a worker do not count.

    All replies advance at one pace, so the order in which they end is known on arrival; only the call whose
    reply ends next watches the time."""

    def __init__(self, latency: LatencyModel, clock: Clock) -> None:
        self._latency = latency
        self._clock = clock
        self._done = 0.0  # tokens that a reply present from the beginning would have by now
        self._at_s = clock.now()
        self._reading = 0
        self._running: list[_Sequence] = []
        self._queue: deque[anyio.Event] = deque()
        self._count = 0
        self._taken = 0

    async def compute(self, before_s: float, tokens: float) -> None:
        """Waits for a worker, then for the time before the first token, then until this many tokens are
        computed."""
        await self._enter()
        try:
            await self._read(before_s)
            await self._write(tokens)
        finally:
            self._leave()

    async def _read(self, before_s: float) -> None:
        self._advance()
        self._reading += 1
        try:
            await self._clock.sleep(before_s)
        finally:
            self._advance()
            self._reading -= 1

    async def _write(self, tokens: float) -> None:
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
                remaining_s = (own.ends - self._done) * self._token_s
                if remaining_s <= 1e-9:
                    break
                await self._clock.sleep(remaining_s)
        finally:
            self._advance()
            if self._running[0] is own:
                heapq.heappop(self._running)
            else:
                self._running.remove(own)
                heapq.heapify(self._running)

    async def _enter(self) -> None:
        if self._latency.workers is not None and self._taken >= self._latency.workers:
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
        """Gives the worker to the next call in the queue, and the watch to the reply that ends next."""
        if self._queue:
            self._queue.popleft().set()
        else:
            self._taken -= 1
        if self._running:
            self._running[0].watch.set()

    @property
    def _token_s(self) -> float:
        others = self._reading + len(self._running) - 1
        return self._latency.token_s + self._latency.load_s * others

    def _advance(self) -> None:
        now_s = self._clock.now()
        if self._running and self._token_s > 0.0:
            self._done += (now_s - self._at_s) / self._token_s
        self._at_s = now_s

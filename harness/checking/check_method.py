"""One access method looked at before anything is spent on it: is it there, does it take the key, does it serve the model, what does it
say of limits, and does it do what it is asked.

Goes through the method's own gate and caller, so that a check respects quotas and is tried again like any call. A step that fails ends
the look: what lies behind it cannot be seen. Raises nothing that a provider did."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from socket import gaierror
from typing import Any, Protocol
from urllib.parse import urlsplit

import anyio
from anyio.streams.tls import TLSAttribute

from harness.audit.probes.asks import ProbeAsk, first_asks, later_asks
from harness.core.addresses import why_unconnected
from harness.core.errors import CallError, Rejected
from harness.core.protocols import Backend, Clock
from harness.core.records import CallRecord, ProbeRecord, Record
from harness.core.vocabulary import AccessMethod, Message, Prompt, ReplyFormat, digest
from harness.limits.headers import read_reports
from harness.scheduler.call import Caller, CallPlace, RetryPolicy, Route
from harness.scheduler.spending import SpendingBudget

CONNECT_S = 15.0
ANYTHING = ReplyFormat(regex="[ -~\n]{1,4000}", tokens_max=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that had to be true, whether it was, what was seen, and how long it took."""

    name: str
    good: bool
    seen: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCost:
    """What a check cost. cost_usd: None where a price or a count is not known."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None


def total_cost(spents: Sequence[CheckCost]) -> CheckCost:
    """All together; the price is known if it is known of each."""
    costs = [spent.cost_usd for spent in spents]
    return CheckCost(
        calls=sum(spent.calls for spent in spents),
        prompt_tokens=sum(spent.prompt_tokens for spent in spents),
        completion_tokens=sum(spent.completion_tokens for spent in spents),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCheck:
    """What a check saw of one method.

    limits   a minute, by quota, as the provider says them
    probes   the rows of its probes; empty where none were asked"""

    method: AccessMethod
    steps: tuple[Step, ...]
    limits: Mapping[str, float]
    first_answer_s: float | None
    probes: tuple[ProbeRecord, ...]
    spent: CheckCost

    @property
    def reached(self) -> bool:
        return all(step.good for step in self.steps)


class Server(Backend, Protocol):
    """A backend that says what its server serves and what it is sent, and can ask it otherwise."""

    async def served_models(self) -> tuple[str, ...] | None: ...
    def request_body(self, prompt: Prompt) -> bytes: ...
    def with_method(self, method: AccessMethod) -> Server: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTarget:
    """A method to look at.

    route    its method, gate and backend
    server   the backend itself, whatever hosts it"""

    route: Route
    server: Server


class NullSink:
    """A sink for gate events that somebody else says aloud."""

    def put_nowait(self, record: Record) -> None:
        return

    async def put(self, *records: Record) -> None:
        return


class _LastCalls:
    """A sink that keeps the last call row of each place."""

    def __init__(self) -> None:
        self.calls: dict[str, CallRecord] = {}
        self.rows: list[CallRecord] = []

    def put_nowait(self, record: Record) -> None:
        if isinstance(record, CallRecord):
            self.calls[record.episode_id] = record
            self.rows.append(record)

    async def put(self, *records: Record) -> None:
        for record in records:
            self.put_nowait(record)


async def check_method(
    target: CheckTarget, *, clock: Clock, policy: RetryPolicy, check_at: float, probing: bool
) -> MethodCheck:
    """What can be seen of one method; its probes are asked as fast as its gate, whose clock must run, lets them through."""
    method = target.route.method
    steps: list[Step] = []
    kept = _LastCalls()
    caller = Caller(sink=kept, clock=clock, policy=policy, budget=SpendingBudget.unlimited(clock))
    limits: Mapping[str, float] = {}
    first_s: float | None = None
    probes: list[ProbeRecord] = []
    if await _there(method, steps, clock) and await _serves(target, steps, clock):
        first_s, limits = await _first_answer(target, steps, caller, clock)
        if first_s is not None and probing:
            probes = await _probed(target, caller, kept, first_asks(), check_at)
            probes += await _probed(target, caller, kept, later_asks(probes), check_at)
    return MethodCheck(
        method=method,
        steps=tuple(steps),
        limits=limits,
        first_answer_s=first_s,
        probes=tuple(probes),
        spent=_spent(method, kept.rows),
    )


# --- the way there ------------------------------------------------------------------------------------------------------------


async def _there(method: AccessMethod, steps: list[Step], clock: Clock) -> bool:
    """Its name, a connection, and TLS where the address asks for it: each for itself, so that an error has a place."""
    parts = urlsplit(method.base_url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    began = clock.now()
    try:
        found = await anyio.getaddrinfo(host, port)
    except (gaierror, UnicodeError) as error:
        steps.append(Step(name="name", good=False, seen=f"{host}: {error}", seconds=clock.now() - began))
        return False
    steps.append(
        Step(name="name", good=True, seen=f"{host} is {found[0][4][0]}", seconds=clock.now() - began)
    )
    began = clock.now()
    try:
        with anyio.fail_after(CONNECT_S):
            seen = await _connected(host, port, secure)
    except ssl.SSLError as error:
        steps.append(Step(name="TLS", good=False, seen=str(error), seconds=clock.now() - began))
        return False
    except (OSError, TimeoutError) as error:
        said = (
            f"{host}:{port}: {why_unconnected(error)}"
            if str(error)
            else f"no connection to {host}:{port} in {CONNECT_S:.0f} s"
        )
        steps.append(Step(name="connection", good=False, seen=said, seconds=clock.now() - began))
        return False
    steps.append(
        Step(name="TLS" if secure else "connection", good=True, seen=seen, seconds=clock.now() - began)
    )
    return True


async def _connected(host: str, port: int, secure: bool) -> str:
    """raises  SSLError, OSError"""
    if not secure:
        await (await anyio.connect_tcp(host, port)).aclose()
        return f"port {port}, not encrypted"
    stream = await anyio.connect_tcp(host, port, tls=True, tls_standard_compatible=False)
    version = stream.extra(TLSAttribute.tls_version)
    await stream.aclose()
    return f"port {port}, {version}"


async def _serves(target: CheckTarget, steps: list[Step], clock: Clock) -> bool:
    """The key and the model's name."""
    method, began = target.route.method, clock.now()
    try:
        served = await target.server.served_models()
    except CallError as error:
        steps.append(Step(name="models", good=False, seen=str(error), seconds=clock.now() - began))
        return False
    took_s = clock.now() - began
    if served is None:
        steps.append(
            Step(name="model", good=True, seen="the server does not list its models", seconds=took_s)
        )
        return True
    good = method.served_name in served
    seen = (
        f"serves {method.served_name}"
        if good
        else f"serves {', '.join(served[:5]) or 'nothing'}, not {method.served_name}"
    )
    steps.append(Step(name="model", good=good, seen=seen, seconds=took_s))
    return good


async def _first_answer(
    target: CheckTarget, steps: list[Step], caller: Caller, clock: Clock
) -> tuple[float | None, Mapping[str, float]]:
    """One question as the sweep would put it: key, model and parameters are proved by an answer alone."""
    route = target.route
    prompt = _prompt((Message("user", "Say hello."),), ANYTHING.tokens_max)
    began = clock.now()
    try:
        completion = await caller.call(
            route, prompt, _place("hello"), remainder=1.0, chance=lambda: Random(0)
        )
    except CallError as error:
        steps.append(
            Step(
                name="answer",
                good=False,
                seen=f"{type(error).__name__}: {error}",
                seconds=clock.now() - began,
            )
        )
        return None, {}
    took_s = clock.now() - began
    steps.append(
        Step(name="answer", good=True, seen=completion.served_model or "no model named", seconds=took_s)
    )
    reports = read_reports(completion.headers, clock.wall())
    return took_s, {str(quota): report.limit for quota, report in reports.items() if report.limit is not None}


# --- the probes ---------------------------------------------------------------------------------------------------------------


async def _probed(
    target: CheckTarget, caller: Caller, kept: _LastCalls, asks: Sequence[ProbeAsk], check_at: float
) -> list[ProbeRecord]:
    rows: dict[str, ProbeRecord] = {}

    async def put(ask: ProbeAsk) -> None:
        method = dataclasses.replace(
            target.route.method, sampling=ask.sampling, constrain=False, stream=False
        )
        server, prompt = target.server.with_method(method), _prompt(ask.messages, ask.tokens_max)
        for unsaid in _unsaid(server, method, prompt):
            rows[ask.place] = _row(
                ask, method, None, check_at, Rejected(f"this provider is not told a {unsaid}")
            )
            return
        route = dataclasses.replace(target.route, method=method, backend=server)
        try:
            await caller.call(
                route, prompt, _place(ask.place), remainder=1.0, chance=lambda: Random(digest(ask.place))
            )
        except CallError as error:
            rows[ask.place] = _row(ask, method, kept.calls.get(ask.place), check_at, error)
        else:
            rows[ask.place] = _row(ask, method, kept.calls[ask.place], check_at, None)

    async with anyio.create_task_group() as tasks:
        for ask in asks:
            tasks.start_soon(put, ask)
    return [rows[ask.place] for ask in asks]


def _unsaid(server: Server, method: AccessMethod, prompt: Prompt) -> Iterator[str]:
    """What the probe sets and the request does not say, because the dialect has no word for it or the provider takes none."""
    said = server.request_body(prompt)
    unset: Mapping[str, Any] = {"temperature": None, "seed": None, "stop": ()}
    for name, nothing in unset.items():
        bare = dataclasses.replace(method.sampling, **{name: nothing})
        if (
            bare != method.sampling
            and server.with_method(dataclasses.replace(method, sampling=bare)).request_body(prompt) == said
        ):
            yield name


def _row(
    ask: ProbeAsk, method: AccessMethod, call: CallRecord | None, check_at: float, error: CallError | None
) -> ProbeRecord:
    return ProbeRecord(
        check_at=check_at,
        method=method.name,
        model=method.model,
        kind=ask.kind,
        name=ask.name,
        number=ask.number,
        temperature=ask.sampling.temperature,
        seed=ask.sampling.seed,
        stop=ask.sampling.stop[0] if ask.sampling.stop else None,
        tokens_max=ask.tokens_max,
        reply=call.reply if call and error is None else None,
        finish_reason=call.finish_reason if call else None,
        prompt_tokens=call.prompt_tokens if call else None,
        completion_tokens=call.completion_tokens if call else None,
        served_model=call.served_model if call else None,
        upstream=call.upstream if call else None,
        system_fingerprint=call.system_fingerprint if call else None,
        latency_s=call.latency_s if call else 0.0,
        cost_usd=call.cost_usd if call else None,
        error_class=type(error).__name__ if error else None,
        error_text=str(error) if error else None,
    )


def _prompt(messages: tuple[Message, ...], tokens_max: int) -> Prompt:
    """A prompt of no game: without an item, nobody is told a turn."""
    return Prompt(
        messages=messages,
        reply_format=dataclasses.replace(ANYTHING, tokens_max=tokens_max),
        episode="check",
        item="",
        seat="probe",
        turn=0,
    )


def _place(name: str) -> CallPlace:
    return CallPlace(run_id="check", episode_id=name, attempt=0, turn=0, ask_hash="")


def _spent(method: AccessMethod, calls: Sequence[CallRecord]) -> CheckCost:
    costs = [call.cost_usd for call in calls if call.error_class is None]
    return CheckCost(
        calls=len(calls),
        prompt_tokens=sum(call.prompt_tokens or 0 for call in calls),
        completion_tokens=sum(call.completion_tokens or 0 for call in calls),
        cost_usd=None
        if method.prices is None or None in costs
        else sum(cost for cost in costs if cost is not None),
    )

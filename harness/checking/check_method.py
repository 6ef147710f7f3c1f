"""Checks one access method: its address, key, model and quota headers, and how it treats the parameters of a
request.

Calls go through the method's own gate and caller, so that a check respects quotas and retries like any call.
A step that fails ends the check, since later steps depend on it. A provider's errors become steps and are not
raised."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from socket import gaierror
from urllib.parse import urlsplit

import anyio
from anyio.streams.tls import TLSAttribute

from harness.audit.probes.asks import (
    alone_asks,
    crowd_asks,
    effort_asks,
    first_asks,
    later_asks,
)
from harness.checking.ask_probes import CheckTarget, LastCalls, ask_probes, place_of, prompt_of
from harness.core.addresses import why_unconnected
from harness.core.errors import CallError
from harness.core.protocols import Clock
from harness.core.records import CallRecord, ProbeRecord, Record
from harness.core.reply_problems import counts_of, reply_problems
from harness.core.vocabulary import AccessMethod, Message
from harness.limits.headers import read_reports
from harness.scheduler.call import Caller, RetryPolicy
from harness.scheduler.spending import SpendingBudget

CONNECT_S = 15.0  # for name, connection and TLS; a slow handshake takes less than five
HELLO_TOKENS_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One condition of a check: whether it holds, the observation in words, and the seconds it took."""

    name: str
    good: bool
    observed: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCost:
    """The cost of a check.

    cost_usd   of the calls whose price and token counts are known; None if there are none
    is_partial whether other calls have no known cost"""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    is_partial: bool = False


def total_cost(costs: Sequence[CheckCost]) -> CheckCost:
    """Returns the sum over methods."""
    known = [cost.cost_usd for cost in costs if cost.cost_usd is not None]
    return CheckCost(
        calls=sum(cost.calls for cost in costs),
        prompt_tokens=sum(cost.prompt_tokens for cost in costs),
        completion_tokens=sum(cost.completion_tokens for cost in costs),
        cost_usd=sum(known) if known else None,
        is_partial=any(cost.is_partial or cost.cost_usd is None for cost in costs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCheck:
    """The check of one method.

    limits   quota -> limit a minute, as the provider's headers report it
    probes   the rows of its probes; empty without probes
    warnings   signs in its first answer that it is set up wrongly, each with its remedy"""

    method: AccessMethod
    steps: tuple[Step, ...]
    limits: Mapping[str, float]
    first_answer_s: float | None
    probes: tuple[ProbeRecord, ...]
    spent: CheckCost
    warnings: tuple[str, ...] = ()

    @property
    def reached(self) -> bool:
        return all(step.good for step in self.steps)


class NullSink:
    """A RecordSink that drops all rows: gate events are reported elsewhere."""

    def put_nowait(self, record: Record) -> None:
        return

    async def put(self, *records: Record) -> None:
        return


async def check_method(
    target: CheckTarget, *, clock: Clock, policy: RetryPolicy, check_at: float, probing: bool
) -> MethodCheck:
    """Checks one method. Its probes are asked as fast as its gate admits them.

    target    its gate's timer must run
    policy    for retries
    check_at  names the check in the probes' rows: seconds since 1970
    probing   whether to ask the probes' questions"""
    method = target.route.method
    steps: list[Step] = []
    kept = LastCalls()
    caller = Caller(sink=kept, clock=clock, policy=policy, budget=SpendingBudget.unlimited(clock))
    limits: Mapping[str, float] = {}
    first_s: float | None = None
    probes: list[ProbeRecord] = []
    warnings: tuple[str, ...] = ()
    if await _is_reachable(method, target.proxy, steps, clock) and await _serves_model(target, steps, clock):
        first_s, limits, warnings = await _first_answer(target, steps, caller, clock)
        if first_s is not None and probing:
            probes = await _ask_all(target, caller, kept, check_at)
    return MethodCheck(
        method=method,
        steps=tuple(steps),
        limits=limits,
        first_answer_s=first_s,
        probes=tuple(probes),
        spent=_spent(method, kept.rows),
        warnings=warnings,
    )


# --- address, key, model --------------------------------------------------------------------------------


async def _is_reachable(method: AccessMethod, proxy: str | None, steps: list[Step], clock: Clock) -> bool:
    """Adds the steps name, connection and TLS, each apart, so that an error has a place. A proxy does these
    steps itself."""
    if proxy is not None:
        steps.append(Step(name="connection", good=True, observed=f"through the proxy {proxy}", seconds=0.0))
        return True
    parts = urlsplit(method.base_url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    began = clock.now()
    try:
        found = await anyio.getaddrinfo(host, port)
    except (gaierror, UnicodeError) as error:
        steps.append(Step(name="name", good=False, observed=f"{host}: {error}", seconds=clock.now() - began))
        return False
    steps.append(
        Step(name="name", good=True, observed=f"{host} is {found[0][4][0]}", seconds=clock.now() - began)
    )
    began = clock.now()
    try:
        with anyio.fail_after(CONNECT_S):
            observed = await _connect(host, port, secure)
    except ssl.SSLError as error:
        steps.append(Step(name="TLS", good=False, observed=str(error), seconds=clock.now() - began))
        return False
    except (OSError, TimeoutError) as error:
        observed = (
            f"{host}:{port}: {why_unconnected(error)}"
            if str(error)
            else f"no connection to {host}:{port} in {CONNECT_S:.0f} s"
        )
        steps.append(Step(name="connection", good=False, observed=observed, seconds=clock.now() - began))
        return False
    steps.append(
        Step(
            name="TLS" if secure else "connection", good=True, observed=observed, seconds=clock.now() - began
        )
    )
    return True


async def _connect(host: str, port: int, secure: bool) -> str:
    """Connects once.

    raises  SSLError, OSError"""
    if not secure:
        await (await anyio.connect_tcp(host, port)).aclose()
        return f"port {port}, not encrypted"
    stream = await anyio.connect_tcp(host, port, tls=True, tls_standard_compatible=False)
    version = stream.extra(TLSAttribute.tls_version)
    await stream.aclose()
    return f"port {port}, {version}"


async def _serves_model(target: CheckTarget, steps: list[Step], clock: Clock) -> bool:
    """Adds the steps key and model."""
    method, began = target.route.method, clock.now()
    try:
        served = await target.server.served_models()
    except CallError as error:
        steps.append(Step(name="models", good=False, observed=str(error), seconds=clock.now() - began))
        return False
    took_s = clock.now() - began
    if served is None:
        steps.append(
            Step(name="model", good=True, observed="the server does not list its models", seconds=took_s)
        )
        return True
    good = method.served_name in served
    observed = (
        f"serves {method.served_name}"
        if good
        else f"serves {', '.join(served[:5]) or 'nothing'}, not {method.served_name}"
    )
    steps.append(Step(name="model", good=good, observed=observed, seconds=took_s))
    return good


async def _first_answer(
    target: CheckTarget, steps: list[Step], caller: Caller, clock: Clock
) -> tuple[float | None, Mapping[str, float], tuple[str, ...]]:
    """Asks one question with the sweep's parameters: only an answer proves key, model and parameters.

    returns  seconds to the answer, None if there was none; quota -> limit a minute, from its headers; what is
             odd about it"""
    route = target.route
    prompt = prompt_of((Message("user", "Say hello."),), HELLO_TOKENS_MAX)
    began = clock.now()
    try:
        completion = await caller.call(
            route, prompt, place_of("hello"), remainder=1.0, chance=lambda: Random(0)
        )
    except CallError as error:
        steps.append(
            Step(
                name="answer",
                good=False,
                observed=f"{type(error).__name__}: {error}",
                seconds=clock.now() - began,
            )
        )
        return None, {}, ()
    took_s = clock.now() - began
    steps.append(
        Step(name="answer", good=True, observed=completion.served_model or "no model named", seconds=took_s)
    )
    reports = read_reports(completion.headers, clock.wall())
    limits = {str(quota): report.limit for quota, report in reports.items() if report.limit is not None}
    return took_s, limits, reply_problems(counts_of(completion))


# --- the probes -----------------------------------------------------------------------------------------


async def _ask_all(
    target: CheckTarget, caller: Caller, kept: LastCalls, check_at: float
) -> list[ProbeRecord]:
    """Asks all questions, a group after the other: those of `alone_asks` have the server for themselves, as
    far as this method decides it."""
    rows = await ask_probes(target, caller, kept, first_asks(), check_at)
    rows += await ask_probes(target, caller, kept, later_asks(rows), check_at)
    for ask in alone_asks():
        rows += await ask_probes(target, caller, kept, [ask], check_at)
    rows += await ask_probes(target, caller, kept, crowd_asks(), check_at)
    rows += await ask_probes(target, caller, kept, effort_asks(target.route.method.sampling), check_at)
    return rows


def _spent(method: AccessMethod, calls: Sequence[CallRecord]) -> CheckCost:
    costs = [call.cost_usd for call in calls if call.error_class is None]
    known = [cost for cost in costs if cost is not None]
    return CheckCost(
        calls=len(calls),
        prompt_tokens=sum(call.prompt_tokens or 0 for call in calls),
        completion_tokens=sum(call.completion_tokens or 0 for call in calls),
        cost_usd=None if method.prices is None else sum(known),
        is_partial=len(known) < len(costs),
    )

"""Asks short questions of no game through a method's own gate and caller, each with parameters of its own.

Knows questions and calls; judges nothing. Keeps: a question that was not answered has a row with the error,
and one whose parameter the request cannot carry is not sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

import anyio

from harness.audit.probes.asks import ProbeAsk
from harness.core.errors import CallError, Rejected
from harness.core.protocols import Backend
from harness.core.records import CallRecord, LogprobRecord, ProbeRecord, Record
from harness.core.vocabulary import AccessMethod, Message, Prompt, ReplyFormat, digest
from harness.scheduler.call import Caller, CallPlace, Route

ANY_TEXT = ReplyFormat(regex="[ -~\n]{1,4000}")


class Server(Backend, Protocol):
    """A backend that lists its server's models, shows request bodies, and can call with other parameters."""

    async def served_models(self) -> tuple[str, ...] | None: ...
    def request_body(self, prompt: Prompt) -> bytes: ...
    def with_method(self, method: AccessMethod) -> Server: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTarget:
    """A method to check.

    route    its method, gate and backend
    server   the backend of its server, without what surrounds it in a run
    proxy    the proxy of its calls, without a password; None: they go to the server directly
    own_tokens   place of a question -> tokens of its prompt by the tokenizer of the weights, where these are
                 known"""

    route: Route
    server: Server
    proxy: str | None = None
    own_tokens: Mapping[str, int] = field(default_factory=dict)


class LastCalls:
    """A RecordSink that keeps all call rows, the last one of each place, and its log-probabilities."""

    def __init__(self) -> None:
        self.calls: dict[str, CallRecord] = {}
        self.rows: list[CallRecord] = []
        self.logprobs: dict[str, LogprobRecord] = {}

    def put_nowait(self, record: Record) -> None:
        if isinstance(record, CallRecord):
            self.calls[record.episode_id] = record
            self.rows.append(record)
        elif isinstance(record, LogprobRecord):
            self.logprobs[record.episode_id] = record

    async def put(self, *records: Record) -> None:
        for record in records:
            self.put_nowait(record)


async def ask_probes(
    target: CheckTarget, caller: Caller, kept: LastCalls, asks: Sequence[ProbeAsk], check_at: float
) -> list[ProbeRecord]:
    """Asks these questions together, and returns a row for each, in their order.

    target    its gate's timer must run
    kept      the sink of the caller
    check_at  of the rows: seconds since 1970"""
    rows: dict[str, ProbeRecord] = {}

    async def ask_probe(ask: ProbeAsk) -> None:
        method = dataclasses.replace(
            target.route.method, sampling=ask.sampling, constrain=False, stream=False
        )
        server, prompt = target.server.with_method(method), prompt_of(ask.messages, ask.tokens_max)
        for unsent in _unsent_parameters(server, method, prompt):
            rows[ask.place] = _row(
                ask, method, None, check_at, Rejected(f"this provider's requests have no {unsent}")
            )
            return
        route = dataclasses.replace(target.route, method=method, backend=server)
        try:
            await caller.call(
                route, prompt, place_of(ask.place), remainder=1.0, chance=lambda: Random(digest(ask.place))
            )
        except CallError as error:
            rows[ask.place] = _row(ask, method, kept.calls.get(ask.place), check_at, error)
        else:
            rows[ask.place] = _row(ask, method, kept.calls[ask.place], check_at, None)

    async with anyio.create_task_group() as tasks:
        for ask in asks:
            tasks.start_soon(ask_probe, ask)
    calls = [kept.calls[ask.place] for ask in asks if ask.place in kept.calls]
    return [
        rows[ask.place]._replace(
            own_prompt_tokens=target.own_tokens.get(ask.place),
            in_flight=_in_flight(kept.calls.get(ask.place), calls),
        )
        for ask in asks
    ]


def _in_flight(call: CallRecord | None, calls: Sequence[CallRecord]) -> int | None:
    """Counts the calls in flight when this one was sent, itself included."""
    if call is None:
        return None
    return sum(other.sent_at <= call.sent_at < other.sent_at + other.latency_s for other in calls) or 1


def _unsent_parameters(server: Server, method: AccessMethod, prompt: Prompt) -> Iterator[str]:
    """Yields the parameters that the probe sets and the request leaves out, as the dialect or the provider
    has none."""
    body = server.request_body(prompt)
    defaults: Mapping[str, Any] = {
        "temperature": None,
        "seed": None,
        "stop": (),
        "reasoning_effort": None,
        "logprobs": None,
    }
    for name, default in defaults.items():
        bare = dataclasses.replace(method.sampling, **{name: default})
        if (
            bare != method.sampling
            and server.with_method(dataclasses.replace(method, sampling=bare)).request_body(prompt) == body
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
        reasoning_effort=ask.sampling.reasoning_effort,
        reasoning_tokens=call.reasoning_tokens if call else None,
    )


def prompt_of(messages: tuple[Message, ...], tokens_max: int) -> Prompt:
    """Returns a prompt of no game: without an item there is no turn header."""
    return Prompt(
        messages=messages,
        reply_format=dataclasses.replace(ANY_TEXT, tokens_max=tokens_max),
        episode="check",
        item="",
        seat="probe",
        turn=0,
    )


def place_of(name: str) -> CallPlace:
    return CallPlace(run_id="check", episode_id=name, attempt=0, turn=0, ask_hash="")

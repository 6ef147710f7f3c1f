"""Answers of an emulated provider to the probes, without a socket: the real questions, dialect and
provider."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache

import orjson

from backends.bots import own_instance
from backends.dialects import DIALECTS
from backends.dialects.providers import provider as row_of
from backends.dialects.responses import HttpResponse
from backends.emulator.exchange import Request, Response
from backends.emulator.provider import EmulatedProvider
from backends.emulator.toy_model import prompt_tokens
from harness.audit.probes.asks import (
    ProbeAsk,
    alone_asks,
    crowd_asks,
    effort_asks,
    first_asks,
    later_asks,
)
from harness.core.emulation import Emulation
from harness.core.records import ProbeRecord
from harness.core.vocabulary import Prompt, ReplyFormat, Sampling
from tests.world import method

_TALKS = DIALECTS["openai_chat"]


@cache
def probed(emulation: Emulation, name: str = "m/here", effort: str | None = None) -> tuple[ProbeRecord, ...]:
    """The rows that a check of this provider leaves. effort: the reasoning_effort of the sweep."""
    at = EmulatedProvider(emulation, find_instance=own_instance, key=None, now_s=0.0)
    rows = _rows(at, first_asks(), name)
    more = [*later_asks(rows), *alone_asks(), *crowd_asks(), *effort_asks(Sampling(reasoning_effort=effort))]
    return (*rows, *_rows(at, more, name))


def _rows(at: EmulatedProvider, asks: Sequence[ProbeAsk], name: str) -> list[ProbeRecord]:
    return [_row(at, ask, name) for ask in asks]


def _row(at: EmulatedProvider, ask: ProbeAsk, name: str) -> ProbeRecord:
    way = dataclasses.replace(method(name), sampling=ask.sampling)
    form = ReplyFormat(regex="[a-z]+", tokens_max=ask.tokens_max)
    body = _TALKS.bodies(way)(
        Prompt(messages=ask.messages, reply_format=form, episode="check", item="", seat="probe", turn=0)
    )
    in_flight = len(crowd_asks()) if ask.kind == "crowd" else 1
    request = Request(b"POST", "/v1/chat/completions", {}, orjson.dumps(body))
    response = at.respond(request, 0.0, 0.0, in_flight=in_flight)
    assert isinstance(response, Response)
    said = _TALKS.read_answer(
        HttpResponse(status=response.status, headers={}, body=response.pieces[0]), 0.0, row_of("emulator"), ()
    )
    return ProbeRecord(
        check_at=0.0,
        method=name,
        model=name.split("/")[0],
        kind=ask.kind,
        name=ask.name,
        number=ask.number,
        temperature=ask.sampling.temperature,
        seed=ask.sampling.seed,
        stop=ask.sampling.stop[0] if ask.sampling.stop else None,
        tokens_max=ask.tokens_max,
        reply=said.text,
        finish_reason=said.finish_reason,
        prompt_tokens=said.prompt_tokens,
        completion_tokens=said.completion_tokens,
        served_model=said.served_model,
        upstream=said.upstream,
        system_fingerprint=said.system_fingerprint,
        latency_s=0.0,
        cost_usd=None,
        error_class=None,
        error_text=None,
        reasoning_effort=ask.sampling.reasoning_effort,
        reasoning_tokens=said.reasoning_tokens,
        own_prompt_tokens=prompt_tokens(ask.messages) if ask.kind == "length" else None,
        in_flight=in_flight,
    )

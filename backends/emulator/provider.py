"""What the emulated provider does with one request: key, model, quota, fault, reply, defects. Knows no sockets and no clock.

Keeps: what befalls a request, and what it is answered, follows from the seed, from who asks (the game turn that our client names, or the
body) and from how often that was asked before; not from the order in which different requests arrive. Quotas alone look at the time."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

import orjson

from backends import turn_header
from backends.bots import bot_reply, with_format_errors
from backends.emulator import upstream
from backends.emulator.formats import FORMATS, BadRequest, ChatReply, ChatRequest, Format, Stop
from backends.emulator.hash_random import digest8, normal, uniforms
from backends.emulator.quota import Ledger
from backends.emulator.toy_model import (
    CHARACTERS_A_TOKEN,
    LONGEST,
    Sampler,
    Token,
    manner,
    prompt_tokens,
    talk,
    tokens_in,
    told,
)
from harness.core.emulation import Defects, Emulation, Fault
from harness.core.vocabulary import Instance, Message, normalised

_ASK_HEADER = turn_header.HEADER.encode()
MANNER_WORDS = 4
CREATED = 1_700_000_000  # the second in which every answer says it was made: same requests, same bytes
HTML = b"<!DOCTYPE html><html><body><h1>Service temporarily unavailable</h1></body></html>"
LEAK_SHARE, LEAK = 0.1, "<|im_start|>assistant\n"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names in lower case."""

    verb: bytes
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class Response:
    """One HTTP answer and how it is brought.

    pieces    of the body: one, or the events of a stream
    headers   further lines, each with its end
    first_s   seconds before anything is sent
    gap_s     seconds between two pieces
    cut_at    the connection is reset after so many bytes of the body; -1: before the first header; None: all is well
    works     it takes a worker's time"""

    status: int
    pieces: tuple[bytes, ...]
    headers: str = ""
    content_type: str = "application/json"
    first_s: float = 0.0
    gap_s: float = 0.0
    cut_at: int | None = None
    works: bool = False
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """A request that the real server behind is to answer.

    headers   that go along
    finish    (status, body, now_s) of its answer -> ours"""

    body: bytes
    headers: Mapping[str, str]
    finish: Callable[[int, bytes, float], Response]


@dataclass(slots=True, kw_only=True)
class Statistics:
    """What the emulator has seen: requests of chat in all, answered well, refused by a quota or a full queue, struck by a fault.

    arrivals   seconds after the start at which chat requests came, and `admitted` those that the quotas let pass"""

    requests: int = 0
    answered: int = 0
    refused: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    arrivals: array[float] = field(default_factory=lambda: array("d"))
    admitted: array[float] = field(default_factory=lambda: array("d"))

    def peak(self, window_s: float, *, of: array[float] | None = None) -> int:
        """The most requests admitted within any window of this length."""
        times, most, first = self.admitted if of is None else of, 0, 0
        for last, at_s in enumerate(times):
            while times[first] + window_s <= at_s:
                first += 1
            most = max(most, last - first + 1)
        return most

    def as_json(self) -> bytes:
        """For whoever asks from outside; the times as their peaks."""
        return orjson.dumps(
            {
                "requests": self.requests,
                "answered": self.answered,
                "refused": self.refused,
                "faults": self.faults,
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "peak_a_second": self.peak(1.0, of=self.arrivals),
                "admitted_peak_a_minute": self.peak(60.0),
            }
        )


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the model took in: where its words start from, what it cost, and whether the beginning was lost."""

    messages: tuple[Message, ...]
    state: bytes
    tokens: int
    cut: bool


@dataclass(frozen=True, slots=True)
class _Taken:
    """A request that was let in.

    turn     of a game, and its puzzle; None: somebody else asks
    luck     names the chance of what is said
    chance   names the chance of what befalls it: who asks, and how often that was asked before"""

    speaks: Format
    asked: ChatRequest
    heard: _Heard
    turn: turn_header.TurnReference | None
    instance: Instance | None
    luck: bytes
    chance: tuple[bytes, bytes]


class EmulatedProvider:
    """One account at one emulated provider. now_s: seconds on any clock that runs evenly; wall_s: since 1970.

    find_instance   the puzzle behind an item
    key             what a client must present; None: nothing"""

    def __init__(
        self, emulation: Emulation, *, find_instance: Callable[[str], Instance], key: str | None, now_s: float
    ) -> None:
        self.emulation = emulation
        self.statistics = Statistics()
        self._find_instance = find_instance
        self._key = key
        self._started_s = now_s
        self._ledger = Ledger(emulation.quotas, now_s)
        self._asked_before: dict[bytes, int] = {}
        self._root = str(emulation.seed).encode()

    def dead(self, now_s: float) -> bool:
        """Whether its time to die has come."""
        faults = self.emulation.faults
        return (faults.dies_after is not None and self.statistics.requests >= faults.dies_after) or (
            faults.dies_after_s is not None and now_s - self._started_s >= faults.dies_after_s
        )

    def respond(self, request: Request, now_s: float, wall_s: float) -> Response | Forward:
        """The answer to one request, its quota taken; or whom to ask for it."""
        speaks = FORMATS.get(request.path)
        if speaks is None or request.verb != b"POST":
            return self._other(request)
        seen = self.statistics
        seen.requests += 1
        seen.arrivals.append(now_s - self._started_s)
        if not self._admits_key(request, speaks):
            return _error(speaks, 401, "invalid_api_key", "Incorrect API key provided.")
        try:
            body = orjson.loads(request.body)
            if not isinstance(body, dict):
                raise BadRequest("the body is no JSON object")
            asked = speaks.read(body)
            header = request.headers.get(_ASK_HEADER)
            turn = None if header is None else turn_header.parse_header(header.decode("latin-1"))
            instance = (
                self._find_instance(turn.item) if turn is not None and self.emulation.behind is None else None
            )
        except (BadRequest, ValueError) as error:
            return _error(speaks, 400, "invalid_request", str(error))
        except KeyError as error:
            return _error(
                speaks,
                400,
                "invalid_request",
                f"the bots do not know {error}; `lightbulb emulate --sweep` tells them",
            )
        if self.emulation.served is not None and asked.model != self.emulation.served:
            return _error(
                speaks,
                404,
                "model_not_found",
                f"The model `{asked.model}` does not exist or you do not have access to it.",
            )
        identity = digest8(request.body if header is None else header)
        times = self._asked_before.get(identity, 0)
        number = times.to_bytes(4, "big")
        luck = (
            identity if turn is not None else identity + number
        )  # a game's turn that is tried again says the same again
        taken = _Taken(speaks, asked, self._heard(asked), turn, instance, luck, (identity, number))
        said = self._reply(taken) if self._ledger.counts_output and self.emulation.behind is None else None
        spoken = said.completion_tokens if said is not None else 0
        refusal = self._ledger.admit(input_tokens=taken.heard.tokens, output_tokens=spoken, now_s=now_s)
        headers = speaks.headers(self._ledger.told(now_s), wall_s) if self.emulation.quotas.told else ""
        if refusal is not None:
            seen.refused += 1
            return _refused(speaks, *refusal, headers=headers)
        self._asked_before[identity] = times + 1
        seen.admitted.append(now_s - self._started_s)
        if self.emulation.behind is not None and (
            self.emulation.defects.routed_model or not self._routed(luck)
        ):
            return self._forwarded(taken, body, request.headers.get(b"authorization"), headers)
        return self._brought(taken, said or self._reply(taken), headers)

    # --- the door -------------------------------------------------------------------------------------------------------------

    def _admits_key(self, request: Request, speaks: Format) -> bool:
        if self._key is None:
            return True
        shown = request.headers.get(speaks.key_header.encode(), b"").decode("latin-1")
        return shown.removeprefix("Bearer ") == self._key

    def _other(self, request: Request) -> Response:
        speaks = FORMATS["/v1/chat/completions"]
        if request.path == "/v1/models":
            if not any(self._admits_key(request, one) for one in FORMATS.values()):
                return _error(speaks, 401, "invalid_api_key", "Incorrect API key provided.")
            if self.emulation.served is None:
                return _error(speaks, 404, "not_found", "any model's name is taken here")
            model = {
                "id": self.emulation.served,
                "object": "model",
                "created": CREATED,
                "owned_by": "lightbulb",
            }
            return Response(200, (orjson.dumps({"object": "list", "data": [model]}),))
        if request.path == "/emulator/statistics":
            return Response(200, (self.statistics.as_json(),))
        if request.path == "/health":
            return Response(200, (b"{}",))
        return _error(
            speaks,
            404,
            "not_found",
            f"{request.path} is none of /v1/chat/completions, /v1/messages, /v1/models",
        )

    # --- the reply ------------------------------------------------------------------------------------------------------------

    def _heard(self, asked: ChatRequest) -> _Heard:
        defects = self.emulation.defects
        strange = defects.template == "other"
        whole = (
            (Message("system", defects.system_prompt), *asked.messages)
            if defects.system_prompt
            else asked.messages
        )
        kept = _within(whole, defects.context_tokens_max)
        return _Heard(
            kept,
            told(kept, other_template=strange),
            prompt_tokens(kept, other_template=strange),
            kept is not whole,
        )

    def _routed(self, luck: bytes) -> bool:
        share = self.emulation.defects.routed_share
        return bool(share) and uniforms(self._root, b"routed", luck)[0] < share

    def _temperature(self, asked: ChatRequest) -> float:
        fixed = self.emulation.defects.temperature
        return fixed if fixed is not None else max(asked.temperature, self.emulation.defects.temperature_min)

    def _tokens_max(self, asked: ChatRequest) -> int:
        wanted = None if self.emulation.defects.max_tokens_ignored else asked.tokens_max
        return min(wanted or LONGEST, self.emulation.defects.output_tokens_max or LONGEST)

    def _reply(self, taken: _Taken) -> ChatReply:
        emulation, defects = self.emulation, self.emulation.defects
        asked, turn, luck, start = taken.asked, taken.turn, taken.luck, taken.heard.state
        temperature, tokens_max = self._temperature(asked), self._tokens_max(asked)
        skill, weights = (
            (defects.routed_skill, f"{emulation.weights} routed")
            if self._routed(luck)
            else (emulation.skill, emulation.weights)
        )
        if temperature <= 0 and emulation.noise and uniforms(self._root, b"noise", luck)[0] < emulation.noise:
            temperature = 1.0
        elif asked.seed is not None and not defects.seed_ignored:
            luck = b"seed %d" % asked.seed
        sampler = Sampler(
            weights=weights.encode(),
            temperature=temperature,
            top_p=1.0 if defects.top_p_ignored else asked.top_p,
            luck=luck,
            weights_noise=defects.weights_noise,
        )
        tokens: tuple[Token, ...] = ()
        if turn is None or taken.instance is None:
            tokens = talk(sampler, start, tokens_max=tokens_max)
            text = "".join(token.text for token in tokens)
            ended: Stop = "cut" if len(tokens) == tokens_max else "ended"
        else:
            text = self._played(
                turn, taken.instance, asked.messages, sampler, start, 0.0 if taken.heard.cut else skill
            )
            ended = "ended"
        if defects.template == "other" and uniforms(b"leak", start)[0] < LEAK_SHARE:
            text = LEAK + text
        if len(text) > tokens_max * CHARACTERS_A_TOKEN:
            text, ended = text[: tokens_max * CHARACTERS_A_TOKEN], "cut"
        spoken = tokens_in(text)
        stops = (
            [place for stop in asked.stop if (place := text.find(stop)) >= 0]
            if not defects.stop_ignored
            else []
        )
        if stops:
            text, ended = text[: min(stops)], "stopped"
            spoken = tokens_in(text) + 1
        shown = weights if defects.routed_admitted else emulation.weights
        return ChatReply(
            text=_spoilt(text, defects),
            ended=ended,
            prompt_tokens=taken.heard.tokens,
            completion_tokens=spoken,
            fingerprint=_fingerprint(shown),
            tokens=tokens,
        )

    def _played(
        self,
        turn: turn_header.TurnReference,
        instance: Instance,
        messages: tuple[Message, ...],
        sampler: Sampler,
        start: bytes,
        skill: float,
    ) -> str:
        """A bot's reply. At temperature 0 its play hangs on the puzzle alone, so that it repeats; else on this very episode or the seed.

        skill   0 where the rules of the game fell out of the context"""
        errors = 1 - (1 - self.emulation.form_errors) * (1 - self.emulation.defects.form_errors)
        luck = sampler.luck if sampler.temperature > 0 else b""
        place = f"{turn.item} {turn.seat} {turn.number}".encode("utf-8", "surrogatepass")
        chance = Random(int.from_bytes(digest8(b"play", sampler.weights, place, luck), "big"))
        reply, words_may_follow = bot_reply(
            instance, turn.seat, messages, skill=skill, form_errors=errors, chance=chance
        )
        return reply + manner(sampler, start, words=MANNER_WORDS if words_may_follow else 0)

    def _forwarded(self, taken: _Taken, body: Mapping[str, Any], key: bytes | None, headers: str) -> Forward:
        asked = taken.asked
        defects = self.emulation.defects
        wanted = upstream.UpstreamRequest(
            model=defects.routed_model if defects.routed_model and self._routed(taken.luck) else asked.model,
            messages=normalised(taken.heard.messages),
            temperature=self._temperature(asked),
            top_p=None if defects.top_p_ignored else asked.top_p,
            seed=None if defects.seed_ignored else asked.seed,
            tokens_max=self._tokens_max(asked),
            stop=() if defects.stop_ignored else asked.stop,
        )
        errors = Random(int.from_bytes(digest8(b"forms", self._root, *taken.chance), "big"))

        def finish(status: int, answer: bytes, now_s: float) -> Response:
            if status != 200:
                return Response(status, (answer,), headers)
            try:
                said = upstream.said_in(answer)
            except ValueError as error:
                return _error(taken.speaks, 502, "bad_gateway", str(error))
            self._ledger.settle(said.completion_tokens, now_s)
            text = with_format_errors(said.text, self.emulation.form_errors, errors)
            text = with_format_errors(text, defects.form_errors, errors)
            return self._brought(taken, replace(said, text=_spoilt(text, defects)), headers)

        along = {
            "Content-Type": "application/json",
            **({"Authorization": key.decode("latin-1")} if key else {}),
        }
        return Forward(
            upstream.body_for(wanted, body, other_template=defects.template == "other"), along, finish
        )

    # --- how it is brought ----------------------------------------------------------------------------------------------------

    def _brought(self, taken: _Taken, said: ChatReply, headers: str) -> Response:
        speaks, asked, chance = taken.speaks, taken.asked, taken.chance
        seen, faults = self.statistics, self.emulation.faults
        name = "".join(part.hex() for part in chance)
        headers += f"x-request-id: {name}\r\n"
        struck = uniforms(self._root, b"fault", *chance) if faults.rate else None
        fault: Fault | None = None
        if struck is not None and struck[0] < faults.rate:
            fault = faults.kinds[int(struck[1] * len(faults.kinds))]
            seen.faults[fault] = seen.faults.get(fault, 0) + 1
        if fault in ("429", "500", "503"):
            return _out_of_the_blue(speaks, int(fault), faults.retry_after_s, headers)
        seen.answered += fault is None
        seen.prompt_tokens += said.prompt_tokens
        seen.completion_tokens += said.completion_tokens
        response = Response(200, (), headers, works=True, stream=asked.stream)
        if asked.stream:
            response.pieces, response.content_type = (
                tuple(speaks.events(name, CREATED, asked, said)),
                "text/event-stream; charset=utf-8",
            )
        else:
            response.pieces = (speaks.answer(name, CREATED, asked, said),)
        self._timed(response, said, chance)
        if fault is not None and struck is not None:
            _strike(response, fault, struck[2], speaks, stall_s=faults.stall_s)
        return response

    def _timed(self, response: Response, said: ChatReply, chance: tuple[bytes, bytes]) -> None:
        latency = self.emulation.latency
        if latency.first_s:
            drawn = uniforms(self._root, b"latency", *chance)
            response.first_s = latency.first_s * 2.718281828459045 ** (
                latency.spread * normal(drawn[0], drawn[1])
            )
        if latency.tokens_per_s is not None:
            if response.stream:
                response.gap_s = 1.0 / latency.tokens_per_s
            else:
                response.first_s += said.completion_tokens / latency.tokens_per_s


@cache
def _fingerprint(weights: str) -> str:
    return f"fp_{digest8(weights.encode()).hex()[:10]}"


def _spoilt(text: str, defects: Defects) -> str:
    """A reply as it leaves the house."""
    if defects.strip_whitespace:
        text = text.strip()
    if defects.lowercase_first:
        text = text[:1].lower() + text[1:]
    return text


def _within(messages: tuple[Message, ...], tokens_max: int | None) -> tuple[Message, ...]:
    """The conversation's end, as far as it fits: what comes first is forgotten first."""
    if tokens_max is None or prompt_tokens(messages) <= tokens_max:
        return messages
    kept: list[Message] = []
    for message in reversed(messages):
        left = tokens_max - prompt_tokens((*kept, Message(message.role, "")))
        if left <= 0:
            break
        kept.append(Message(message.role, message.text[-left * CHARACTERS_A_TOKEN :]))
    return tuple(reversed(kept))


def _error(speaks: Format, status: int, code: str, message: str, headers: str = "") -> Response:
    return Response(status, (speaks.error(status, code, message),), headers)


def _refused(speaks: Format, kind: str, wait_s: float, *, headers: str) -> Response:
    words = f"Rate limit reached for {kind}. Please try again in {wait_s:.3f}s."
    return _error(speaks, 429, "rate_limit_exceeded", words, headers + _retry_after(wait_s))


def _out_of_the_blue(speaks: Format, status: int, retry_after_s: float | None, headers: str) -> Response:
    pause = _retry_after(retry_after_s) if retry_after_s is not None and status != 500 else ""
    code, words = {
        429: ("rate_limit_exceeded", "Rate limit reached for no reason that you could know."),
        500: ("internal_error", "The server had an error while processing your request."),
        503: ("overloaded", "The engine is currently overloaded, please try again later."),
    }[status]
    return _error(speaks, status, code, words, headers + pause)


def _retry_after(wait_s: float) -> str:
    return f"retry-after: {int(wait_s + 0.999)}\r\nretry-after-ms: {int(wait_s * 1000 + 0.999)}\r\n"


def _strike(response: Response, fault: Fault, place: float, speaks: Format, *, stall_s: float) -> None:
    """A good answer goes wrong on its way. place: in [0, 1), where in the body."""
    size = sum(map(len, response.pieces))
    if fault == "reset_before_headers":
        response.cut_at = -1
    elif fault == "reset_in_body":
        response.cut_at = 1 + int(place * (size - 1))
    elif fault == "stall":
        response.first_s += stall_s
    elif fault == "truncated_json":
        whole = b"".join(response.pieces)
        response.pieces = (whole[: 1 + int(place * (size - 2))],)
    elif fault == "html":
        response.pieces, response.content_type = (HTML,), "text/html"
    elif fault == "error_in_200":
        told = speaks.error(503, "overloaded", "Upstream error, please try again.")
        response.pieces = (b"data: " + told + b"\n\n" if response.stream else told,)
    elif fault == "wrong_usage":
        response.pieces = tuple(
            piece.replace(b'_tokens":', b'_tokens":-') if b'_tokens"' in piece else piece
            for piece in response.pieces
        )

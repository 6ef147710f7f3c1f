"""Answers one request as the emulated provider: key, model, quota, fault, reply, defects.

Knows no sockets and no clock.

Keeps: the fault and the reply of a request follow from the seed, from its identity (the game turn that our
client names, or the body) and from how often it came before; not from the order in which different requests
arrive. Quotas and deaths alone depend on the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import orjson

from backends import turn_header
from backends.bots import bot_reply, with_format_errors
from backends.emulator import upstream
from backends.emulator.exchange import (
    ERROR_FAULTS,
    Forward,
    Request,
    Response,
    error_fault,
    error_response,
    quota_refusal,
    spoil_response,
)
from backends.emulator.formats import FORMATS, BadRequest, ChatReply, ChatRequest, Stop, WireFormat
from backends.emulator.gemini_format import find_format
from backends.emulator.hash_random import digest8, normal, uniforms
from backends.emulator.quota import QuotaAccount
from backends.emulator.reply_defects import with_text_defects, with_thoughts_in_text
from backends.emulator.scoring import SCORING_PATHS, Scorer
from backends.emulator.statistics import Statistics
from backends.emulator.thoughts import thought_length, thought_text
from backends.emulator.toy_model import (
    CHARACTERS_A_TOKEN,
    TOKENS_MAX,
    Sampler,
    Token,
    conversation_state,
    generate_filler,
    generate_text,
    last_tokens,
    prompt_tokens,
    tokens_in,
    tokens_of_text,
)
from harness.core.emulation import Emulation, Fault
from harness.core.vocabulary import Instance, Message, game_library, game_of_item, normalised

_TURN_HEADER = turn_header.HEADER.encode()
_OPENAI = FORMATS["/v1/chat/completions"]
FILLER_WORDS = 4  # after a bot's reply: enough that replies differ as a model's wordings do
CREATED = 1_700_000_000  # the same `created` second in every answer: same requests, same bytes
LOADED = 8  # requests in flight from which `load_noise` acts
UPSTREAMS = ("first-upstream", "second-upstream")
LEAK_SHARE, LEAK = 0.1, "<|im_start|>assistant\n"  # of replies under another model's template


@dataclass(frozen=True, slots=True)
class _ModelInput:
    """The input of the model: messages, the state that its words start from, its cost, and whether it was
    cut."""

    messages: tuple[Message, ...]
    state: bytes
    tokens: int
    cut: bool


@dataclass(frozen=True, slots=True)
class _ChatCall:
    """A request that was read.

    identity  of the request: the turn header, or the body
    turn      of a game, with its instance; None: the request is of no game
    draw_key  names the chance of the reply's words
    chance    names the chance of faults and latency: identity and how often the request came before
    loaded    many requests were in flight when it came"""

    wire: WireFormat
    chat: ChatRequest
    body: Mapping[str, Any]
    read: _ModelInput
    turn: turn_header.TurnReference | None
    instance: Instance | None
    identity: bytes
    draw_key: bytes
    chance: tuple[bytes, bytes]
    loaded: bool


class EmulatedProvider:
    """One account at one emulated provider. now_s: seconds on any clock that runs evenly; wall_s: since 1970.

    find_instance   item -> its instance
    key             what a client must present; None: nothing"""

    def __init__(
        self, emulation: Emulation, *, find_instance: Callable[[str], Instance], key: str | None, now_s: float
    ) -> None:
        self.emulation = emulation
        self.statistics = Statistics()
        self._find_instance = find_instance
        self._key = key
        self._started_s = now_s
        self._account = QuotaAccount(emulation.quotas, now_s)
        self._times_asked: dict[bytes, int] = {}
        self._root = str(emulation.seed).encode()
        self._scorer = Scorer(emulation.weights, emulation.defects.weights_noise)

    def dead(self, now_s: float) -> bool:
        """Returns whether the provider has died, as its faults ask."""
        faults = self.emulation.faults
        return (faults.dies_after is not None and self.statistics.requests >= faults.dies_after) or (
            faults.dies_after_s is not None and now_s - self._started_s >= faults.dies_after_s
        )

    def respond(
        self, request: Request, now_s: float, wall_s: float, *, in_flight: int = 1
    ) -> Response | Forward:
        """Takes the request's cost from the quotas and returns the answer, or the request to the server
        behind.

        in_flight   requests that are not answered yet, this one included"""
        wire = find_format(request.path)
        if wire is None or request.verb != b"POST":
            return self._respond_elsewhere(request)
        statistics, emulation = self.statistics, self.emulation
        statistics.requests += 1
        statistics.arrivals.append(now_s - self._started_s)
        if not self._accepts_key(request, wire):
            return error_response(wire, 401, "invalid_api_key", "Incorrect API key provided.")
        try:
            call = self._read(request, wire, loaded=in_flight >= LOADED)
        except (BadRequest, ValueError) as error:
            return error_response(wire, 400, "invalid_request", str(error))
        if emulation.served is not None and call.chat.model != emulation.served:
            message = f"The model `{call.chat.model}` does not exist or you do not have access to it."
            return error_response(wire, 404, "model_not_found", message)
        # A quota of reply tokens needs the reply's length on arrival; a server behind tells it only later.
        reply = self._reply(call) if self._account.counts_output and emulation.behind is None else None
        refusal = self._account.admit(
            input_tokens=call.read.tokens,
            output_tokens=reply.completion_tokens if reply is not None else 0,
            now_s=now_s,
        )
        headers = wire.headers(self._account.states(now_s), wall_s) if emulation.quotas.told else ""
        if refusal is not None:
            statistics.refused += 1
            return quota_refusal(wire, *refusal, headers=headers)
        self._times_asked[call.identity] = self._times_asked.get(call.identity, 0) + 1
        statistics.admitted.append(now_s - self._started_s)
        if emulation.behind is not None and (
            emulation.defects.routed_model or not self._routed(call.draw_key)
        ):
            return self._forward(call, request.headers.get(b"authorization"), headers)
        return self._respond_with(call, reply or self._reply(call), headers)

    # --- reading a request ------------------------------------------------------------------------------

    def _read(self, request: Request, wire: WireFormat, *, loaded: bool) -> _ChatCall:
        """raises  BadRequest, ValueError with what the client did wrong"""
        body = orjson.loads(request.body)
        if not isinstance(body, dict):
            raise BadRequest("the body is not a JSON object")
        chat = wire.read(body)
        if chat.logprobs is not None and self.emulation.defects.logprobs == "refused":
            raise BadRequest("logprobs is not supported by this model")
        header = request.headers.get(_TURN_HEADER)
        turn = None if header is None else turn_header.parse_header(header.decode("latin-1"))
        instance = None
        if turn is not None and self.emulation.behind is None and _has_bots(turn):
            try:
                instance = self._find_instance(turn.item)
            except KeyError as error:
                message = (
                    f"the bots do not know {error}; name its sweep: `lightbulb emulate --sweep SWEEP.toml`"
                )
                raise BadRequest(message) from error
        identity = digest8(request.body if header is None else header)
        number = self._times_asked.get(identity, 0).to_bytes(4, "big")
        # A game's turn that is asked again gets the same reply; other requests get a new one.
        draw_key = identity if turn is not None else identity + number
        read = self._model_input(chat)
        return _ChatCall(
            wire, chat, body, read, turn, instance, identity, draw_key, (identity, number), loaded
        )

    def _accepts_key(self, request: Request, wire: WireFormat) -> bool:
        if self._key is None:
            return True
        # Anthropic's SDK sends the key as its API's older header or as a bearer token.
        names = (wire.key_header.encode(), b"authorization")
        presented = (request.headers.get(name, b"").decode("latin-1") for name in names)
        return self._key in (text.removeprefix("Bearer ") for text in presented)

    def _respond_elsewhere(self, request: Request) -> Response:
        """Answers what is not a chat request."""
        wire = _OPENAI
        allowed = any(self._accepts_key(request, one) for one in FORMATS.values())
        if not allowed and request.path in ("/v1/models", *SCORING_PATHS):
            return error_response(wire, 401, "invalid_api_key", "Incorrect API key provided.")
        if request.path == "/v1/models":
            if self.emulation.served is None:
                message = "no list of models: this server accepts any name"
                return error_response(wire, 404, "not_found", message)
            model = {
                "id": self.emulation.served,
                "object": "model",
                "created": CREATED,
                "owned_by": "lightbulb",
            }
            return Response(200, (orjson.dumps({"object": "list", "data": [model]}),))
        if request.path == "/emulator/statistics":
            return Response(200, (self.statistics.as_json(),))
        if request.path in SCORING_PATHS:
            try:
                return Response(200, (self._scorer.answer(request.path, request.body),))
            except (BadRequest, ValueError) as error:
                return error_response(wire, 400, "invalid_request", str(error))
        if request.path == "/health":
            return Response(200, (b"{}",))
        message = f"{request.path} is none of /v1/chat/completions, /v1/messages, /v1/models, /v1beta/models/NAME:generateContent"
        return error_response(wire, 404, "not_found", message)

    def _model_input(self, chat: ChatRequest) -> _ModelInput:
        defects = self.emulation.defects
        other_template = defects.template == "other"
        whole = (
            (Message("system", defects.system_prompt), *chat.messages)
            if defects.system_prompt
            else chat.messages
        )
        kept = last_tokens(whole, defects.context_tokens_max)
        return _ModelInput(
            kept,
            conversation_state(kept, other_template=other_template),
            prompt_tokens(kept, other_template=other_template),
            kept is not whole,
        )

    # --- the reply --------------------------------------------------------------------------------------

    def _routed(self, draw_key: bytes) -> bool:
        return self._happens(self.emulation.defects.routed_share, b"routed", draw_key)

    def _temperature(self, chat: ChatRequest) -> float:
        fixed = self.emulation.defects.temperature
        return fixed if fixed is not None else max(chat.temperature, self.emulation.defects.temperature_min)

    def _tokens_max(self, chat: ChatRequest) -> int:
        requested = None if self.emulation.defects.max_tokens_ignored else chat.tokens_max
        return min(requested or TOKENS_MAX, self.emulation.defects.output_tokens_max or TOKENS_MAX)

    def _sampler(self, call: _ChatCall, weights: str) -> Sampler:
        emulation, defects, draw_key = self.emulation, self.emulation.defects, call.draw_key
        temperature = self._temperature(call.chat)
        share = max(emulation.noise, defects.load_noise if call.loaded else 0.0)
        noisy = share and uniforms(self._root, b"noise", draw_key)[0] < share
        if temperature <= 0 and noisy:
            temperature = 1.0
        elif call.chat.seed is not None and not defects.seed_ignored:
            draw_key = b"seed %d" % call.chat.seed
        return Sampler(
            weights=weights.encode(),
            temperature=temperature,
            top_p=1.0 if defects.top_p_ignored else call.chat.top_p,
            draw_key=draw_key,
            weights_noise=defects.weights_noise,
        )

    def _reply(self, call: _ChatCall) -> ChatReply:
        emulation, defects = self.emulation, self.emulation.defects
        chat, skill, weights = call.chat, emulation.skill, emulation.weights
        if self._routed(call.draw_key):
            skill, weights = defects.routed_skill, f"{emulation.weights} routed"
        sampler = self._sampler(call, weights)
        thoughts = self._thoughts(call, sampler)
        tokens_max = self._tokens_max(chat) - tokens_in(thoughts)
        tokens: tuple[Token, ...] = ()
        ended: Stop = "ended"
        if call.turn is None or call.instance is None:
            if tokens_max > 0:
                tokens = generate_text(sampler, call.read.state, tokens_max=tokens_max)
            text = "".join(token.text for token in tokens)
            if len(tokens) >= tokens_max:
                ended = "cut"
        else:
            text = self._play_turn(call, call.turn, call.instance, sampler, skill)
            if chat.logprobs is not None:
                tokens = tokens_of_text(sampler, call.read.state, text)
        if defects.template == "other" and uniforms(b"leak", call.read.state)[0] < LEAK_SHARE:
            text = LEAK + text
        if len(text) > tokens_max * CHARACTERS_A_TOKEN:
            text, ended = text[: max(tokens_max, 0) * CHARACTERS_A_TOKEN], "cut"
        completion_tokens = tokens_in(text)
        found = [place for stop in chat.stop if (place := text.find(stop)) >= 0]
        if found and not defects.stop_ignored:
            text, ended = text[: min(found)], "stopped"
            completion_tokens = tokens_in(text) + 1
        reply = ChatReply(
            text=with_text_defects(text, defects),
            ended=ended,
            prompt_tokens=round(call.read.tokens * defects.prompt_tokens_factor),
            completion_tokens=completion_tokens + tokens_in(thoughts),
            fingerprint=_fingerprint(weights if defects.routed_admitted else emulation.weights),
            tokens=() if defects.logprobs == "dropped" else tokens,
            thoughts=thoughts,
            thought_tokens=tokens_in(thoughts),
            upstream=self._upstream(call),
        )
        leaks = self._happens(defects.thoughts_leaked, b"leaked", call.draw_key)
        return with_thoughts_in_text(reply) if leaks and thoughts else reply

    def _thoughts(self, call: _ChatCall, sampler: Sampler) -> str:
        """Returns what the model thinks before this reply, as far as the request's maximum allows."""
        if not self.emulation.thoughts or call.wire is not _OPENAI:
            return ""
        effort = None if self.emulation.defects.effort_ignored else call.chat.effort
        tokens = thought_length(self.emulation.thoughts, effort, sampler, call.read.state)
        return thought_text(min(tokens, self._tokens_max(call.chat)), call.read.state)

    def _upstream(self, call: _ChatCall) -> str | None:
        changes = self.emulation.defects.upstream_changes
        if not changes:
            return None
        return UPSTREAMS[self._happens(changes, b"upstream", call.draw_key)]

    def _happens(self, share: float, event: bytes, draw_key: bytes) -> bool:
        return bool(share) and uniforms(self._root, event, draw_key)[0] < share

    def _play_turn(
        self,
        call: _ChatCall,
        turn: turn_header.TurnReference,
        instance: Instance,
        sampler: Sampler,
        skill: float,
    ) -> str:
        """Returns a bot's reply and the filler words of the model.

        At temperature 0 the play depends on the item alone, so that it repeats; else on this episode or on
        the seed. Where the rules of the game were cut off with the context's beginning, the bot plays with
        skill 0."""
        errors = 1 - (1 - self.emulation.form_errors) * (1 - self.emulation.defects.form_errors)
        draw_key = sampler.draw_key if sampler.temperature > 0 else b""
        place = f"{turn.item} {turn.seat} {turn.number}".encode("utf-8", "surrogatepass")
        chance = Random(int.from_bytes(digest8(b"play", sampler.weights, place, draw_key), "big"))
        reply, may_append = bot_reply(
            instance,
            turn.seat,
            call.chat.messages,
            skill=0.0 if call.read.cut else skill,
            form_errors=errors,
            chance=chance,
        )
        return reply + generate_filler(sampler, call.read.state, words=FILLER_WORDS if may_append else 0)

    def _forward(self, call: _ChatCall, key: bytes | None, headers: str) -> Forward:
        chat, defects = call.chat, self.emulation.defects
        request = upstream.UpstreamRequest(
            model=defects.routed_model
            if defects.routed_model and self._routed(call.draw_key)
            else chat.model,
            messages=normalised(call.read.messages),
            temperature=self._temperature(chat),
            top_p=None if defects.top_p_ignored else chat.top_p,
            seed=None if defects.seed_ignored else chat.seed,
            tokens_max=self._tokens_max(chat),
            stop=() if defects.stop_ignored else chat.stop,
        )
        chance = Random(int.from_bytes(digest8(b"forms", self._root, *call.chance), "big"))

        def finish(status: int, answer: bytes, now_s: float) -> Response:
            if status != 200:
                return Response(status, (answer,), headers)
            try:
                reply = upstream.reply_in(answer)
            except ValueError as error:
                return error_response(call.wire, 502, "bad_gateway", str(error))
            self._account.settle(input_tokens=0, output_tokens=reply.completion_tokens, now_s=now_s)
            text = with_format_errors(reply.text, self.emulation.form_errors, chance)
            text = with_format_errors(text, defects.form_errors, chance)
            return self._respond_with(call, replace(reply, text=with_text_defects(text, defects)), headers)

        forwarded = {
            "Content-Type": "application/json",
            **({"Authorization": key.decode("latin-1")} if key else {}),
        }
        body = upstream.body_for(request, call.body, other_template=defects.template == "other")
        return Forward(body, forwarded, finish)

    # --- the response -----------------------------------------------------------------------------------

    def _respond_with(self, call: _ChatCall, reply: ChatReply, headers: str) -> Response:
        wire, chat, chance = call.wire, call.chat, call.chance
        statistics, faults = self.statistics, self.emulation.faults
        name = "".join(part.hex() for part in chance)
        if self._happens(self.emulation.defects.served_changes, b"served", call.draw_key):
            chat = replace(chat, model=f"{chat.model}-other")
        headers += f"x-request-id: {name}\r\n"
        drawn = uniforms(self._root, b"fault", *chance) if faults.rate else None
        fault: Fault | None = None
        if drawn is not None and drawn[0] < faults.rate:
            fault = faults.kinds[int(drawn[1] * len(faults.kinds))]
            statistics.faults[fault] = statistics.faults.get(fault, 0) + 1
        if fault in ERROR_FAULTS:
            return error_fault(wire, int(fault), faults.retry_after_s, headers)
        statistics.answered += fault is None
        statistics.prompt_tokens += reply.prompt_tokens
        statistics.completion_tokens += reply.completion_tokens
        response = Response(200, (), headers, works=True, stream=chat.stream)
        if chat.stream:
            response.pieces = tuple(wire.events(name, CREATED, chat, reply))
            response.content_type = "text/event-stream; charset=utf-8"
        else:
            response.pieces = (wire.answer(name, CREATED, chat, reply),)
        self._add_latency(response, reply, chance)
        if fault is not None and drawn is not None:
            spoil_response(response, fault, drawn[2], wire, stall_s=faults.stall_s)
        return response

    def _add_latency(self, response: Response, reply: ChatReply, chance: tuple[bytes, bytes]) -> None:
        latency = self.emulation.latency
        if latency.first_s:
            drawn = uniforms(self._root, b"latency", *chance)
            response.first_s = latency.first_s * math.e ** (latency.spread * normal(drawn[0], drawn[1]))
        if latency.tokens_per_s is not None:
            if response.stream:
                response.gap_s = 1.0 / latency.tokens_per_s
            else:
                response.first_s += reply.completion_tokens / latency.tokens_per_s


def _has_bots(turn: turn_header.TurnReference) -> bool:
    """Returns whether bots can answer this turn. Games of other libraries have no bots: the toy model answers
    them."""
    return game_library(game_of_item(turn.item)) is None


@cache
def _fingerprint(weights: str) -> str:
    return f"fp_{digest8(weights.encode()).hex()[:10]}"

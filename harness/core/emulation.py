"""The settings of the emulated provider. A sweep file or a command line gives them; backends/emulator
implements them.

Every field is a key that a user may write (`emulator = { quotas = { requests = 300 } }`). The ranges beside
the fields are checked where text is read. Random draws depend on `seed` and on the request, not on the order
of requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, get_args

from annotated_types import Ge, Gt, Le, MinLen

_STRICT = {"extra": "forbid", "allow_inf_nan": False}
Share = Annotated[float, Ge(0), Le(1)]
Seconds = Annotated[float, Ge(0), Le(86_400)]
Count = Annotated[int, Ge(1), Le(2**31 - 1)]
CountOrZero = Annotated[int, Ge(0), Le(2**31 - 1)]
PerSecond = Annotated[float, Ge(0.001)]  # a slower server or limit is a mistake, and takes plan for ever
Fault = Literal[
    "429",
    "500",
    "503",
    "reset_before_headers",
    "reset_in_body",
    "truncated_json",
    "html",
    "error_in_200",
    "stall",
    "wrong_usage",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """quotas = { ... }: limits per window. A request above a limit gets 429 and a correct retry-after.

    requests, tokens, input_tokens, output_tokens   None: no such quota; tokens counts both directions
    law          "sliding": no window of any phase holds more; "fixed": windows follow each other; "bucket":
                 full at first, refilled evenly
    window_s     length of the window in seconds; a minute by default, tests shorten it
    phase_s      start of the first fixed window, in seconds after the emulator's start
    told         the response headers state limit, remaining and reset
    per_second   no second holds more than this share of the requests; None: not enforced"""

    __pydantic_config__: ClassVar = _STRICT

    requests: Annotated[float, Ge(1)] | None = None
    tokens: Annotated[float, Ge(1)] | None = None
    input_tokens: Annotated[float, Ge(1)] | None = None
    output_tokens: Annotated[float, Ge(1)] | None = None
    law: Literal["sliding", "fixed", "bucket"] = "sliding"
    window_s: Annotated[float, Gt(0), Le(86_400)] = 60.0
    phase_s: Seconds = 0.0
    told: bool = True
    per_second: Annotated[float, Gt(0), Le(1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """latency = { ... }: the time that a response takes, and the number of requests that are served at once.

    first_s        median seconds to the first token
    spread         sigma of its lognormal spread
    tokens_per_s   speed after the first token; None: all tokens at once
    workers        requests served at the same time; None: no limit
    queue_max      requests that may wait for a worker; the next one is refused with 503; None: no limit"""

    __pydantic_config__: ClassVar = _STRICT

    first_s: Seconds = 0.0
    spread: Annotated[float, Ge(0), Le(5)] = 0.0
    tokens_per_s: PerSecond | None = None
    workers: Count | None = None
    queue_max: CountOrZero | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """faults = { ... }: injected faults. Each of the named kinds is equally frequent.

    rate           share of the responses that are faulty
    kinds          kinds of faults; default: all of FAULTS
    stall_s        delay of a stalled response, in seconds
    retry_after_s  the pause that an injected 429 or 503 asks for, in seconds; None: none is stated
    dies_after     number of requests after which connections are cut and refused; None: never
    dies_after_s   the same, in seconds after the start"""

    __pydantic_config__: ClassVar = _STRICT

    rate: Share = 0.0
    kinds: Annotated[tuple[Fault, ...], MinLen(1)] = FAULTS
    stall_s: Seconds = 60.0
    retry_after_s: Seconds | None = 0.5
    dies_after: CountOrZero | None = None
    dies_after_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defects:
    """defects = { ... }: planted defects that an audit should find. Responses do not reveal them.

    temperature         used in place of the requested one; None: as requested
    temperature_min     lower bound of the temperature that is used
    seed_ignored, stop_ignored, max_tokens_ignored, top_p_ignored   the request's parameter has no effect
    system_prompt       put before every conversation, and counted
    output_tokens_max   maximum length of every reply, in tokens
    context_tokens_max  only the last so many tokens of a conversation are read and counted
    template            "other": the chat template of another model: other token counts, and special tokens in
                        replies
    routed_share        share of requests that another model answers: bots of `routed_skill`, or
                        `routed_model` of the real server behind
    routed_admitted     those responses carry another system_fingerprint
    form_errors         share of replies in the wrong format, in addition to the model's own
    weights_noise       standard deviation of fixed noise on the model's logits: .1 is like 8 bits, .5 like 4
                        bits
    load_noise          share of replies at temperature 0 that are drawn again while 8 requests or more are
                        in flight; requests are in flight together only with a latency
    effort_ignored      the request's reasoning_effort has no effect
    thoughts_leaked     share of replies that begin with the thoughts, between <think> and </think>
    prompt_tokens_factor  the reported tokens of a prompt are so many times the true ones
    served_changes      share of answers that name another served model
    upstream_changes    share of answers that name another upstream provider; the others name one, too
    lowercase_first     the first letter of every reply is in lower case
    strip_whitespace    white space around every reply is removed
    logprobs            log-probabilities that a request asks for are "given"; "refused": the request is;
                        "dropped": the reply comes without them"""

    __pydantic_config__: ClassVar = _STRICT

    temperature: Annotated[float, Ge(0), Le(5)] | None = None
    temperature_min: Annotated[float, Ge(0), Le(5)] = 0.0
    seed_ignored: bool = False
    stop_ignored: bool = False
    max_tokens_ignored: bool = False
    top_p_ignored: bool = False
    system_prompt: str = ""
    output_tokens_max: Count | None = None
    context_tokens_max: Count | None = None
    template: Literal["own", "other"] = "own"
    routed_share: Share = 0.0
    routed_skill: Share = 0.0
    routed_model: Annotated[str, MinLen(1)] | None = None
    routed_admitted: bool = False
    form_errors: Share = 0.0
    weights_noise: Annotated[float, Ge(0), Le(10)] = 0.0
    load_noise: Share = 0.0
    effort_ignored: bool = False
    thoughts_leaked: Share = 0.0
    prompt_tokens_factor: Annotated[float, Ge(0.1), Le(10)] = 1.0
    served_changes: Share = 0.0
    upstream_changes: Share = 0.0
    lowercase_first: bool = False
    strip_whitespace: bool = False
    logprobs: Literal["given", "refused", "dropped"] = "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulation:
    """emulator = { ... }: an emulated provider on a real socket.

    skill         of the bots that answer: 1 plays as well as the rules allow, 0 as badly as possible
    form_errors   share of replies in the wrong format
    weights       name of the model: emulators with the same name give the same replies
    noise         share of turns at temperature 0 whose reply is drawn again, like batch effects of real
                  servers
    thoughts      mean number of tokens that the model thinks before a reply, in OpenAI's dialect; .4 times
                  as many at reasoning_effort "low", 2.5 times as many at "high"; 0: it does not think
    served        the name under which the model is served; None: any name is accepted
    behind        a real server that answers instead of bots: its base URL, on this machine or by https; or,
                  in a sweep, "model/method" of a method with an engine
    seed          root of all random draws that do not depend on a request alone: faults, latencies"""

    __pydantic_config__: ClassVar = _STRICT

    skill: Share = 1.0
    form_errors: Share = 0.0
    weights: Annotated[str, MinLen(1)] = "bots"
    noise: Share = 0.0
    thoughts: Annotated[int, Ge(0), Le(100_000)] = 0
    served: Annotated[str, MinLen(1)] | None = None
    behind: Annotated[str, MinLen(1)] | None = None
    seed: Annotated[int, Ge(-(2**63)), Le(2**63 - 1)] = 0
    quotas: Quotas = field(default_factory=Quotas)
    latency: Latency = field(default_factory=Latency)
    faults: Faults = field(default_factory=Faults)
    defects: Defects = field(default_factory=Defects)

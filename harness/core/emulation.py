"""What a provider of our own is like: the data that a sweep file or a command line writes and backends/emulator keeps.

Every field is a key a user may write (`emulator = { quotas = { requests = 300 } }`); ranges stand beside the fields and are checked
where text is read. Nothing here happens by itself: chance is named by `seed` and by what is asked, never by who comes first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, MinLen

_STRICT = {"extra": "forbid", "allow_inf_nan": False}
Share = Annotated[float, Ge(0), Le(1)]
Seconds = Annotated[float, Ge(0), Le(86_400)]
Count = Annotated[int, Ge(1), Le(2**31 - 1)]
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
FAULTS: tuple[Fault, ...] = (
    "429", "500", "503", "reset_before_headers", "reset_in_body", "truncated_json", "html", "error_in_200", "stall", "wrong_usage"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """quotas = { ... }: what one window lets pass; the rest is refused with 429 and a retry-after that is true.

    requests, tokens, input_tokens, output_tokens   None: no such quota; tokens counts both directions
    law          "sliding": no window of any phase holds more; "fixed": windows follow each other; "bucket": full at first, refilled evenly
    window_s     a minute, unless a test is in a hurry
    phase_s      where the first fixed window begins, in seconds after the emulator's start
    told         the answers' headers say limit, remaining and reset
    per_second   besides, no second holds more than this share of the requests; None: not enforced"""

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
    """latency = { ... }: how long an answer takes, and how many are worked on at once.

    first_s        median seconds to the first token
    spread         sigma of its lognormal spread
    tokens_per_s   speed after the first token; None: at once
    workers        requests served at the same time; None: all
    queue_max      requests that may wait for a worker; one more is refused with 503; None: all"""

    __pydantic_config__: ClassVar = _STRICT

    first_s: Seconds = 0.0
    spread: Annotated[float, Ge(0), Le(5)] = 0.0
    tokens_per_s: Annotated[float, Gt(0)] | None = None
    workers: Count | None = None
    queue_max: Annotated[int, Ge(0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """faults = { ... }: what goes wrong, as often as `rate` says, each kind equally often.

    rate          share of the answers
    kinds         of FAULTS; all of them, unless some are named
    stall_s       how long a stalled answer is silent before it comes
    retry_after_s what a 429 or 503 out of the blue asks for; None: nothing
    dies_after    requests after which nobody answers any more: connections are cut and refused; None: never
    dies_after_s  the same, in seconds after the start"""

    __pydantic_config__: ClassVar = _STRICT

    rate: Share = 0.0
    kinds: Annotated[tuple[Fault, ...], MinLen(1)] = FAULTS
    stall_s: Seconds = 60.0
    retry_after_s: Seconds | None = 0.5
    dies_after: Annotated[int, Ge(0)] | None = None
    dies_after_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defects:
    """defects = { ... }: what an audit should find. None of them is admitted in an answer.

    temperature         served whatever is asked; None: as asked
    temperature_min     a floor under what is asked
    seed_ignored, stop_ignored, max_tokens_ignored, top_p_ignored
    system_prompt       put before every conversation, and counted
    output_tokens_max   cap on every reply
    context_tokens_max  only the last so many tokens of a conversation are read and counted
    template            "other": the conversation is laid out for another model: other counts, and special tokens leak into replies
    routed_share        requests that another model answers: bots of `routed_skill`, or `routed_model` of the real server behind
    routed_admitted     those answers carry another system_fingerprint
    form_errors         share of replies whose form is broken, beyond the model's own
    weights_noise       sd of what is added to the model's logits, the same each time: about .1 is like 8 bits, .5 like 4
    lowercase_first     the first letter of every reply is small
    strip_whitespace    white space around every reply is lost"""

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
    lowercase_first: bool = False
    strip_whitespace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulation:
    """emulator = { ... }: a provider of our own on a real socket.

    skill         of the bots that answer: 1 plays as well as the rules allow, 0 hopelessly
    form_errors   share of replies whose form is broken
    weights       names the model: the same name under another roof plays and words alike
    noise         share of turns at temperature 0 that are played and worded anew, as batch effects do to real servers
    served        the name under which the model is served; None: any name is taken
    behind        a real server that answers instead of bots, with skill and weights of its own: its base URL, on this machine or by
                  https; or, in a sweep, "model/method" of a method with an engine
    seed          root of the faults, the latencies and of all chance that no request names"""

    __pydantic_config__: ClassVar = _STRICT

    skill: Share = 1.0
    form_errors: Share = 0.0
    weights: Annotated[str, MinLen(1)] = "bots"
    noise: Share = 0.0
    served: Annotated[str, MinLen(1)] | None = None
    behind: Annotated[str, MinLen(1)] | None = None
    seed: Annotated[int, Ge(-(2**63)), Le(2**63 - 1)] = 0
    quotas: Quotas = field(default_factory=Quotas)
    latency: Latency = field(default_factory=Latency)
    faults: Faults = field(default_factory=Faults)
    defects: Defects = field(default_factory=Defects)

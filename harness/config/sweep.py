"""The contents of a sweep file, as frozen data.

Every field of these classes is a key that a user may write; load.py refuses all others. The ranges beside the
fields are checked once, by load.py. The docstrings are also the explanations in the JSON schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, NamedTuple

from annotated_types import Ge, Gt, Le, MinLen

from harness.core.durations import duration_s
from harness.core.emulation import Emulation, PerSecond
from harness.core.vocabulary import Arm, method_key, split_method_key

Positive = Annotated[int, Ge(1), Le(2**63 - 1)]
TurnsMax = Annotated[int, Ge(1), Le(10_000)]  # more is a mistake: each ask may repeat all earlier ones
Seed = Annotated[int, Ge(-(2**63)), Le(2**63 - 1)]
Text = Annotated[str, MinLen(1)]
ANY_PROVIDER = "openai-compatible"
UNSET = "unset"  # the temperature's value for "not stated": TOML has no null
_STRICT = {"extra": "forbid", "allow_inf_nan": False}


def deal_repeats(repeats: int, sessions: int) -> tuple[int, ...]:
    """Returns the session of each repeat. Sessions have equal numbers of repeats, or differ by one."""
    return tuple(repeat * sessions // repeats for repeat in range(repeats))


@dataclass(frozen=True, slots=True, kw_only=True)
class GamePart:
    """[games.NAME]

    instances    "own", the default set of this package, or "clembench:/path/to/checkout"
    rules        a rule set of the game; None: the game's default
    experiments  names of experiments; empty: all
    items        maximum number of instances, evenly over the experiments; None: all
    reprompts    the texts after a reply in the wrong format, by kind of mistake, in place of the game's
                 own
    checkout     of a game "clem:NAME": the folder of a clembench checkout
    turns_max    of a game of another library: asks after which an episode without an end is aborted; None:
                 1000"""

    __pydantic_config__: ClassVar = _STRICT

    instances: Text = "own"
    rules: str | None = None
    experiments: tuple[str, ...] = ()
    items: Positive | None = None
    reprompts: dict[str, str] = field(default_factory=dict)
    checkout: Text | None = None
    turns_max: TurnsMax | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePart:
    """engine = { ... }: a local server that the run starts, verifies and stops.

    kind          the engine; each has its own environment
    weights       a model folder, a GGUF file (llamacpp, transformers), "bundled:NAME", a model that packages
                  contain (docs/engines.md lists them), or "hf:ORGANISATION/NAME@REVISION", a model on a hub
    dtype         the data type of computation; "auto": that of the weights, the only one for llamacpp
    quantisation  in the engine's words: vllm's --quantization, "bnb-4bit" or "bnb-8bit" of transformers,
                  "Q4_0" and others of llamacpp, which makes another file; None: that of the weights
    context_max   maximum number of tokens of prompt and reply together
    flags         further arguments of the server; for llamacpp NAME=VALUE, fields of its CommonParams
    restarts_max  maximum number of restarts of a server that dies
    env           names of environment variables that the server gets besides the usual ones"""

    __pydantic_config__: ClassVar = _STRICT

    kind: Literal["vllm", "transformers", "llamacpp"]
    weights: Text
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    quantisation: Text | None = None
    context_max: Positive = 4096
    flags: tuple[str, ...] = ()
    restarts_max: Annotated[int, Ge(0), Le(1000)] = 3
    env: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BotPart:
    """bots = { ... }: the games' own programmatic players in place of a model.

    skill         1 plays as well as the rules allow, 0 as badly as possible
    form_errors   share of replies in the wrong format
    latency_s     mean time to a reply in seconds, exponentially distributed"""

    __pydantic_config__: ClassVar = _STRICT

    skill: Annotated[float, Ge(0), Le(1)] = 1.0
    form_errors: Annotated[float, Ge(0), Le(1)] = 0.0
    latency_s: Annotated[float, Ge(0), Le(3600)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPart:
    """[budget] of the whole sweep, or budget = { ... } of one method: limits for all runs over one store
    together.

    calls     requests that are sent, retries included
    tokens    tokens of prompts and replies, as providers count them
    cost_usd  US dollars, by the methods' prices
    wall_s    seconds of one run"""

    __pydantic_config__: ClassVar = _STRICT

    calls: Positive | None = None
    tokens: Positive | None = None
    cost_usd: Annotated[float, Gt(0)] | None = None
    wall_s: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectPart:
    """expect = { ... }: the expected speed of this method, for `lightbulb plan`.

    first_s               seconds to the first token
    tokens_per_s          tokens per second of one reply
    tokens_per_s_in_all   maximum tokens per second of all replies together; None: no limit"""

    __pydantic_config__: ClassVar = _STRICT

    first_s: Annotated[float, Ge(0), Le(3600)] = 0.5
    tokens_per_s: PerSecond = 60.0
    tokens_per_s_in_all: PerSecond | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPart:
    """[models.MODEL.methods.NAME]: one access method of the model.

    One of `base_url`, `engine`, `bots` and `emulator` says where the model is, unless the provider's row in
    backends/dialects/providers.py does.

    provider       a row of that table, or any other name
    dialect        None: the provider's
    served_name    the model's name on the server; None: the model's name in this file
    key_env        the environment variable with the key (also read from a .env beside the sweep); None: no
                   key is sent
    quantisation, bits
                   the quantisation of the weights behind this method and its mean bits per weight, for
                   reports; None: as the engine states them, else not known
    constrain      the server enforces the format of each reply (vLLM: structured_outputs.regex; llama.cpp:
                   grammar)
    concurrency    maximum number of calls in flight; None: the gate finds it, up to the limit for this kind
                   of method
    requests_per_minute, tokens_per_minute, input_tokens_per_minute, output_tokens_per_minute
                   the account's quotas, as far as known; the provider's response headers take precedence
    requests_per_second_max
                   limit of requests per second; None: twice requests_per_minute / 60, and no limit on this
                   machine
    quota_group    methods of one account with the same group share one quota; None: methods with one served
                   model do
    budget         limits of its cost; the other methods of its model stop where it stops
    price_input_usd_per_mtok, price_output_usd_per_mtok, price_cached_usd_per_mtok
                   US dollars for a million tokens of prompts, of replies, of prompt tokens from the
                   provider's cache
    stream         replies are streamed: the time to the first token and the gaps between chunks are stored
    reply_bytes_max
                   maximum size of a response in bytes; a longer one is an error
    allow_plain_http
                   permits http:// to another machine
    temperature, top_p, top_k, seed, stop, frequency_penalty, presence_penalty, reasoning_effort
                   sampling parameters; one that is not set is left to the provider. temperature = "unset"
                   removes its default
    logprobs       the log-probability of each token of a reply is asked for and stored, with so many of the
                   most likely tokens
    tokens_max     in place of the limit of each ask's format: reasoning models need tokens for their thoughts
                   too
    allow_dropped  parameters that the provider refuses or drops are left out; without it they are an error
    thinks_aloud   the reply starts with thoughts, up to </think>, which are stored separately
    good_ends      finish reasons of this server that end a complete reply and are not known to lightbulb;
                   "": it states none
    headers        HTTP headers of every request: a value that is the name of an environment variable is
                   replaced by the variable's value
    lists_models   the server's list of models decides whether it serves this one; false: the list is ignored
    upstreams, allow_fallbacks
                   for a router: the upstream providers in order of preference, and whether others may answer
                   too
    chat_template  for dialect = "completions": a model folder, its tokenizer_config.json, or a .jinja file;
                   None: that of the engine's weights
    expect         the expected speed, for plans; None: the usual speed of its kind"""

    __pydantic_config__: ClassVar = _STRICT

    provider: Text = ANY_PROVIDER
    dialect: Text | None = None
    base_url: str | None = None
    served_name: str | None = None
    engine: EnginePart | None = None
    bots: BotPart | None = None
    emulator: Emulation | None = None
    expect: ExpectPart | None = None
    key_env: Text | None = None
    quantisation: Text | None = None
    bits: Annotated[float, Gt(0), Le(64)] | None = None
    constrain: bool = False
    concurrency: Annotated[int, Ge(1), Le(100_000)] | None = None
    requests_per_minute: Annotated[float, Ge(1)] | None = None
    tokens_per_minute: Annotated[float, Ge(1)] | None = None
    input_tokens_per_minute: Annotated[float, Ge(1)] | None = None
    output_tokens_per_minute: Annotated[float, Ge(1)] | None = None
    requests_per_second_max: PerSecond | None = None
    quota_group: Text | None = None
    budget: BudgetPart | None = None
    price_input_usd_per_mtok: Annotated[float, Ge(0)] | None = None
    price_output_usd_per_mtok: Annotated[float, Ge(0)] | None = None
    price_cached_usd_per_mtok: Annotated[float, Ge(0)] | None = None
    stream: bool = False
    reply_bytes_max: Annotated[int, Ge(1024), Le(2**31 - 1)] = 8 * 2**20
    allow_plain_http: bool = False
    temperature: Annotated[float, Ge(0), Le(2)] | None = 0.0
    top_p: Annotated[float, Gt(0), Le(1)] | None = None
    top_k: Positive | None = None
    seed: Seed | None = None
    tokens_max: Positive | None = None
    stop: tuple[Text, ...] = ()
    frequency_penalty: Annotated[float, Ge(-2), Le(2)] | None = None
    presence_penalty: Annotated[float, Ge(-2), Le(2)] | None = None
    reasoning_effort: Text | None = None
    logprobs: Annotated[int, Ge(1), Le(20)] | None = None
    allow_dropped: bool = False
    thinks_aloud: bool = False
    good_ends: tuple[str, ...] = ()
    headers: dict[Text, Text] = field(default_factory=dict)
    lists_models: bool = True
    upstreams: tuple[Text, ...] = ()
    allow_fallbacks: bool = False
    chat_template: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """[models.NAME]

    parameters   number of parameters, if known
    methods      its access methods, by name"""

    __pydantic_config__: ClassVar = _STRICT

    methods: Annotated[dict[str, MethodPart], MinLen(1)]
    parameters: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPart:
    """[retry]: limits for the tries of one call.

    tries_max     failed tries that end a call; those of a time in which no call is served do not count
    deadline_s    no new try after so many seconds
    wait_max_s    longest pause between two tries, unless the provider asks for a longer one
    timeout_s     limit of one request, from connecting to the last byte
    connect_s     limit for the connection
    first_byte_s  limit for the response's first byte; a server that does not stream sends it when the reply
                  is complete; None: timeout_s
    between_chunks_s   limit between two parts of the response
    patience_s    how long to wait for a provider that serves no call, or that asks for a pause; after that
                  the method is left for a later run"""

    __pydantic_config__: ClassVar = _STRICT

    tries_max: Positive = 6
    deadline_s: Annotated[float, Gt(0)] = 600.0
    wait_max_s: Annotated[float, Gt(0)] = 30.0
    timeout_s: Annotated[float, Gt(0)] = 300.0
    connect_s: Annotated[float, Gt(0)] = 15.0
    first_byte_s: Annotated[float, Gt(0)] | None = None
    between_chunks_s: Annotated[float, Gt(0)] = 60.0
    patience_s: Annotated[float, Gt(0)] = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPart:
    """[audit]: decisions that are fixed before the first call.

    reference       "model/method" with which the model's other methods are compared; None: each model's first
    again           play each reference a second time as an A/A replicate, which shows the difference due to
                    chance
    margin          difference of scores, in points, that is too small to matter
    margin_played   the same for the percentage of episodes played
    margin_game     the same for the score in one game
    margin_replies  factor by which replies may diverge more often across methods than within them
    alpha           probability of a false alarm
    stop            "end": play everything; "early": stop a method that has a verdict after a quarter, a half
                    or three quarters of the items
    sessions        play all items in so many sessions, each with its share of the repeats: what differs
                    between sessions then counts as chance
    gap             pause between the end of a session and the beginning of the next: "30m", "6h", "1d\""""

    __pydantic_config__: ClassVar = _STRICT

    reference: str | None = None
    again: bool = True
    margin: Annotated[float, Gt(0), Le(100)] = 3.0
    margin_played: Annotated[float, Gt(0), Le(100)] = 5.0
    margin_game: Annotated[float, Gt(0), Le(100)] = 10.0
    margin_replies: Annotated[float, Gt(1), Le(100)] = 1.5
    alpha: Annotated[float, Gt(0), Le(0.5)] = 0.05
    stop: Literal["end", "early"] = "end"
    sessions: Annotated[int, Ge(1), Le(365)] = 1
    gap: Text = "6h"

    @property
    def gap_s(self) -> float:
        """Returns the gap in seconds; config/load.py refuses one that is no duration."""
        seconds = duration_s(self.gap)
        assert seconds is not None
        return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPart:
    """[[pairs]]: cross-play of two access methods.

    seats   "model/method" of the game's first seat, and of its second
    games   names of games; empty: every game of the sweep with two seats"""

    __pydantic_config__: ClassVar = _STRICT

    seats: tuple[Text, Text]
    games: tuple[str, ...] = ()


class Seating(NamedTuple):
    """The players of a game: one access method in every seat, or one for each seat.

    games   names of games; empty: every game with so many seats"""

    methods: tuple[str, ...]
    games: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "+".join(self.methods)

    def seats(self, game: str, count: int) -> tuple[str, ...]:
        """Returns the access method of each of `count` seats of this game; empty if the seating does not play
        it."""
        if len(self.methods) == 1:
            return self.methods * count
        return self.methods if count == len(self.methods) and game in (self.games or (game,)) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """A whole sweep file.

    repeats   plays of each item by each seating
    seed      root of every random stream"""

    __pydantic_config__: ClassVar = _STRICT

    name: Text
    games: Annotated[dict[str, GamePart], MinLen(1)]
    models: Annotated[dict[str, ModelPart], MinLen(1)]
    repeats: Annotated[int, Ge(1), Le(10_000)] = 1
    seed: Seed = 0
    budget: BudgetPart = field(default_factory=BudgetPart)
    retry: RetryPart = field(default_factory=RetryPart)
    audit: AuditPart = field(default_factory=AuditPart)
    pairs: tuple[PairPart, ...] = ()

    def references(self) -> dict[str, str]:
        """Returns the reference of each model that has more than one method: model -> full method name."""
        chosen = self.audit.reference or ""
        return {
            model: chosen
            if split_method_key(chosen)[0] == model
            else method_key(model, next(iter(part.methods)))
            for model, part in self.models.items()
            if len(part.methods) > 1
        }

    def arms(self, method: str) -> tuple[Arm, ...]:
        """Returns the arms that a method plays: a reference also plays its A/A replicate."""
        return ("main", "again") if self.audit.again and method in self.references().values() else ("main",)

    def session_of_repeats(self) -> tuple[int, ...]:
        """Returns the session of each repeat."""
        return deal_repeats(self.repeats, self.audit.sessions)

    def methods(self) -> dict[str, tuple[str, MethodPart]]:
        """Returns full method name -> (model, method), in the file's order."""
        return {
            method_key(model, name): (model, part)
            for model, model_part in self.models.items()
            for name, part in model_part.methods.items()
        }

    def seatings(self) -> dict[str, Seating]:
        """Returns all seatings by name, in the file's order: every method with itself, then the pairs."""
        self_play = [Seating((name,)) for name in self.methods()]
        pairs = [Seating(pair.seats, pair.games) for pair in self.pairs]
        return {seating.name: seating for seating in (*self_play, *pairs)}

"""What a sweep file says, as frozen data.

Every field of these classes is a key a user may write; load.py refuses all others. Ranges stand beside the fields and are
checked once, by load.py; nobody validates again after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, NamedTuple

from annotated_types import Ge, Gt, Le, MinLen

from harness.core.emulation import Emulation
from harness.core.vocabulary import Arm

Positive = Annotated[int, Ge(1), Le(2**63 - 1)]
Seed = Annotated[int, Ge(-(2**63)), Le(2**63 - 1)]
Text = Annotated[str, MinLen(1)]
ANY_PROVIDER = "openai-compatible"
UNSET = "unset"  # a temperature may be: TOML has no word for nothing
_STRICT = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class GamePart:
    """[games.NAME]

    instances    "own", our default set, or "clembench:/path/to/checkout"
    rules        a rule set of the game; None: the game's default
    experiments  only these; empty: all
    items        at most so many instances, taken evenly over the experiments; None: all
    reprompts    what a player is told when its reply will not do, by kind of mistake, in place of the game's own words"""

    __pydantic_config__: ClassVar = _STRICT

    instances: Text = "own"
    rules: str | None = None
    experiments: tuple[str, ...] = ()
    items: Positive | None = None
    reprompts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePart:
    """engine = { ... }: a local server that the run starts, proves and stops.

    kind          the engine; each has an environment of its own
    weights       a model folder, a GGUF file (llamacpp, transformers), or "bundled:smollm2-135m-instruct"
    dtype         what it computes in; "auto": as the weights are, and always so for llamacpp
    quantisation  as the engine spells it: vllm's --quantization, "bnb-4bit" or "bnb-8bit" of transformers; None: as the weights are
    context_max   tokens of prompt and reply together
    flags         handed to the server as they are; for llamacpp NAME=VALUE, fields of its CommonParams
    restarts_max  how often a server that dies is started again"""

    __pydantic_config__: ClassVar = _STRICT

    kind: Literal["vllm", "transformers", "llamacpp"]
    weights: Text
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    quantisation: Text | None = None
    context_max: Positive = 4096
    flags: tuple[str, ...] = ()
    restarts_max: Annotated[int, Ge(0), Le(1000)] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BotPart:
    """bots = { ... }: the games' own programmatic players instead of a model.

    skill         1 plays as well as the rules allow, 0 hopelessly
    form_errors   share of replies whose form is broken
    latency_s     mean time to a reply, exponentially spread"""

    __pydantic_config__: ClassVar = _STRICT

    skill: Annotated[float, Ge(0), Le(1)] = 1.0
    form_errors: Annotated[float, Ge(0), Le(1)] = 0.0
    latency_s: Annotated[float, Ge(0), Le(3600)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPart:
    """[budget] for the whole sweep, or budget = { ... } of one method: what may be spent, in all runs over one store together.

    calls     requests on the wire, tries again included
    tokens    of prompts and replies, as providers count them
    cost_usd  by the methods' prices
    wall_s    of one run"""

    __pydantic_config__: ClassVar = _STRICT

    calls: Positive | None = None
    tokens: Positive | None = None
    cost_usd: Annotated[float, Gt(0)] | None = None
    wall_s: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectPart:
    """expect = { ... }: how quick this method is thought to be; read by `lightbulb plan` alone.

    first_s               seconds to the first token
    tokens_per_s          of one reply
    tokens_per_s_in_all   of all replies together, at most; None: they do not slow each other"""

    __pydantic_config__: ClassVar = _STRICT

    first_s: Annotated[float, Ge(0), Le(3600)] = 0.5
    tokens_per_s: Annotated[float, Gt(0)] = 60.0
    tokens_per_s_in_all: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPart:
    """[models.MODEL.methods.NAME]: one way to reach the model. One of `base_url`, `engine`, `bots` and `emulator` says where, unless the
    provider's row in backends/dialects/providers.py does.

    provider       a row of that table, or a name of your own
    dialect        None: the provider's
    served_name    what the server calls the model; None: the model's name in this file
    key_env        the environment variable that holds the key (also read from a .env beside the sweep); None: no key is sent
    constrain      make the server enforce each reply's form (vLLM: structured_outputs.regex)
    concurrency    calls in flight at most; None: the gate finds how many the provider takes, up to doors.ceiling
    requests_per_minute, tokens_per_minute, input_tokens_per_minute, output_tokens_per_minute
                   the account's quotas, as far as known; what the provider says in headers wins
    requests_per_second_max   ceiling on the wire; None: twice requests_per_minute / 60, and none on this machine
    quota_group               methods of one account that name the same group share one quota; None: those that share a served model do
    budget                    what its calls may cost; the other methods of its model stop where it stops
    price_input_usd_per_mtok, price_output_usd_per_mtok, price_cached_usd_per_mtok
                   US dollars for a million tokens: of prompts, of replies, of prompt tokens the provider had seen before
    stream         let replies come as they are written: time to first token and gaps are recorded
    reply_bytes_max           a longer answer is not read
    allow_plain_http          http:// to another machine, by name and on purpose
    temperature, top_p, top_k, seed, stop, frequency_penalty, presence_penalty, reasoning_effort
                   asked of the sampler; what is unset is left to the provider. temperature = "unset" unsets its default
    tokens_max     in place of what each ask's form allows: reasoning models spend it on their thoughts too
    allow_dropped  parameters that the provider is known to refuse or to drop are left out instead of refused
    thinks_aloud   thoughts stand before the reply, up to </think>: keep them apart, where the server does not
    upstreams, allow_fallbacks   behind a router: who may answer, in this order, and whether others may too
    chat_template  for dialect = "completions": a model folder, its tokenizer_config.json, or a .jinja file; None: the engine's weights'
    expect                    how quick it is thought to be, for plans; None: as its kind usually is"""

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
    constrain: bool = False
    concurrency: Annotated[int, Ge(1), Le(100_000)] | None = None
    requests_per_minute: Annotated[float, Ge(1)] | None = None
    tokens_per_minute: Annotated[float, Ge(1)] | None = None
    input_tokens_per_minute: Annotated[float, Ge(1)] | None = None
    output_tokens_per_minute: Annotated[float, Ge(1)] | None = None
    requests_per_second_max: Annotated[float, Gt(0)] | None = None
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
    allow_dropped: bool = False
    thinks_aloud: bool = False
    upstreams: tuple[Text, ...] = ()
    allow_fallbacks: bool = False
    chat_template: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """[models.NAME]

    parameters   how many, if known
    methods      the ways to reach it, by name"""

    __pydantic_config__: ClassVar = _STRICT

    methods: Annotated[dict[str, MethodPart], MinLen(1)]
    parameters: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPart:
    """[retry]: how long one call is tried.

    tries_max    requests a call may cost
    deadline_s   no new try after so long
    wait_max_s   longest pause between two tries, unless the provider asks for a longer one
    timeout_s    one request, from connecting to the last byte
    connect_s    of that, to a connection
    first_byte_s of that, to the answer's first byte, which servers that do not stream send when all is done; None: timeout_s
    between_chunks_s   of that, between two pieces of the answer"""

    __pydantic_config__: ClassVar = _STRICT

    tries_max: Positive = 6
    deadline_s: Annotated[float, Gt(0)] = 600.0
    wait_max_s: Annotated[float, Gt(0)] = 30.0
    timeout_s: Annotated[float, Gt(0)] = 300.0
    connect_s: Annotated[float, Gt(0)] = 15.0
    first_byte_s: Annotated[float, Gt(0)] | None = None
    between_chunks_s: Annotated[float, Gt(0)] = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPart:
    """[audit]: fixed before the first call.

    reference    "model/method" that the model's other methods are held against; None: each model's first
    again        play each reference a second time, as if it were another method: what differs then is noise
    margin       points of score difference too small to matter; margin_played: percent of episodes played; margin_game: points in one game
    margin_replies  how many times as often replies may diverge across methods as within them
    alpha        chance of a false alarm
    stop         "end": when all is played; "early": a method whose question is settled at a quarter, a half or three quarters of the
                 items is played no further"""

    __pydantic_config__: ClassVar = _STRICT

    reference: str | None = None
    again: bool = True
    margin: Annotated[float, Gt(0), Le(100)] = 3.0
    margin_played: Annotated[float, Gt(0), Le(100)] = 5.0
    margin_game: Annotated[float, Gt(0), Le(100)] = 10.0
    margin_replies: Annotated[float, Gt(1), Le(100)] = 1.5
    alpha: Annotated[float, Gt(0), Le(0.5)] = 0.05
    stop: Literal["end", "early"] = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPart:
    """[[pairs]]: cross-play, two access methods at one game.

    seats   "model/method" of the game's first seat, and of its second
    games   only these; empty: every game of the sweep that has two seats"""

    __pydantic_config__: ClassVar = _STRICT

    seats: tuple[Text, Text]
    games: tuple[str, ...] = ()


class Seating(NamedTuple):
    """Who plays: one access method in every seat, or several in as many. games: only these; empty: all with so many seats."""

    methods: tuple[str, ...]
    games: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "+".join(self.methods)

    def seats(self, game: str, count: int) -> tuple[str, ...]:
        """Who sits where in this game of so many seats; empty if these do not play it."""
        if len(self.methods) == 1:
            return self.methods * count
        return self.methods if count == len(self.methods) and game in (self.games or (game,)) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """A whole sweep file.

    repeats   plays of each instance by each seating
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
        """Model -> the full name of the method that its others are held against, for models reached in more than one way."""
        chosen = self.audit.reference or ""
        return {
            model: chosen if chosen.split("/", 1)[0] == model else f"{model}/{next(iter(part.methods))}"
            for model, part in self.models.items()
            if len(part.methods) > 1
        }

    def arms(self, method: str) -> tuple[Arm, ...]:
        """The parts that a method plays: a reference plays its own second self too."""
        return ("main", "again") if self.audit.again and method in self.references().values() else ("main",)

    def methods(self) -> dict[str, tuple[str, MethodPart]]:
        """Full method name -> (model, method), in the file's order."""
        return {
            f"{model}/{way}": (model, part)
            for model, model_part in self.models.items()
            for way, part in model_part.methods.items()
        }

    def seatings(self) -> dict[str, Seating]:
        """All who play: every method with itself, then the pairs; by name, in the file's order."""
        alone = [Seating((name,)) for name in self.methods()]
        return {one.name: one for one in (*alone, *(Seating(pair.seats, pair.games) for pair in self.pairs))}

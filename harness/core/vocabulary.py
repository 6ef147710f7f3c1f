"""The frozen nouns of the program; style and meaning as in the README's map.

Knows nothing of files, sockets or clocks. Everything here is a value: equal fields, equal thing. What every call makes anew is a named
tuple: a frozen dataclass of its size takes four times as long to make."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

Role = Literal["system", "user", "assistant"]
State = Literal["success", "lost", "aborted", "unscored"]
Arm = Literal["main", "again"]


class Message(NamedTuple):
    """One utterance as a chat model sees it."""

    role: Role
    text: str


def normalised(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages as chat servers accept them: no leading empty system message, no two of one role in a row.

    Neighbours of one role are joined by a blank line, also when one of them is empty: published clembench runs sent exactly this."""
    merged: list[Message] = []
    for message in messages:
        if not merged and message.role == "system" and not message.text:
            continue
        if merged and merged[-1].role == message.role:
            merged[-1] = Message(message.role, f"{merged[-1].text}\n\n{message.text}")
        else:
            merged.append(message)
    return tuple(merged)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFormat:
    """The shape of a well-formed reply.

    regex       the whole reply matches it; written in the subset that constrained decoders share: literals, classes, groups,
                alternation, bounded repeats; no anchors, look-arounds, back-references or flags
    tokens_max  the reply is cut there (`max_tokens`)"""

    regex: str
    tokens_max: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Parse:
    """What a game says of one reply: `violation` is None when it kept the form, else one short sentence naming the rule broken."""

    violation: str | None = None


KEPT = Parse()


class Ask(NamedTuple):
    """A game's request to a seat: the messages that seat sees and the form its reply must have.

    last_parse  what the game says of the reply it was sent just before this ask"""

    seat: str
    messages: tuple[Message, ...]
    reply_format: ReplyFormat
    last_parse: Parse = KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """How a game counts its requests to players; what one request is differs by game and is part of its rules."""

    total: int = 0
    parsed: int = 0
    violated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an episode ended.

    score       main score in [0, 100]; None when aborted or unscored
    reason      one short phrase, the same for the same cause: reports count by it
    metrics     the game's other episode figures
    last_parse  what the game says of the last reply it was sent"""

    state: State
    score: float | None
    reason: str
    requests: Requests = Requests()
    metrics: Mapping[str, float] = field(default_factory=dict)
    last_parse: Parse = KEPT


Play = Generator[Ask, str, Outcome]
"""A game in progress: yields asks, is sent the stripped text of each reply, returns the outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One puzzle.

    id            unique within its game, set and experiment
    fields        its own fields and, by reference, those its experiment shares; read by its game only
    content_hash  of all of them: two instances are the same puzzle only if it agrees"""

    game: str
    set_name: str
    experiment: str
    id: str
    fields: Mapping[str, object]
    content_hash: str


def item_key(instance: Instance, rules: str) -> tuple[str, str, str, str, str, str]:
    """What an item is told by: game, rules, instance set, experiment, instance, content hash."""
    return (instance.game, rules, instance.set_name, instance.experiment, instance.id, instance.content_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The weights under audit."""

    name: str
    parameters: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What is asked of the sampler. None or empty: left to the provider, and said so in the store.

    tokens_max        in place of what each ask's form allows: reasoning models spend it on their thoughts too
    reasoning_effort  in the provider's own words"""

    temperature: float | None = 0.0
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    tokens_max: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars for a million tokens. cached: of input that the provider had seen before; None: like any other input."""

    input: float
    output: float
    cached: float | None = None

    def cost_usd(
        self, *, prompt_tokens: int | None, cached_tokens: int | None, completion_tokens: int | None
    ) -> float | None:
        """What a call with this usage costs; None where the provider did not count."""
        if prompt_tokens is None or completion_tokens is None:
            return None
        seen = min(cached_tokens or 0, prompt_tokens)
        dear = (prompt_tokens - seen) * self.input + completion_tokens * self.output
        return (dear + seen * (self.input if self.cached is None else self.cached)) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """How a model's messages become one text.

    text             Jinja, as model folders carry it
    beginning, end   the texts that the template knows as bos_token and eos_token"""

    text: str
    beginning: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessMethod:
    """One way to reach a model: what an audit compares.

    name         unique in a sweep: "model/way"
    key_env      the name of the environment variable that holds the key; never the key
    constrain    send each ask's form to the server, so that the reply must have it
    concurrency  calls in flight at most
    requests_per_second_max  ceiling on the wire for this method's host; None: no ceiling
    stream       replies are sent as they are written, and their times kept
    prices       None: not known
    upstreams, allow_fallbacks   behind a router: who may answer, in this order, and whether others may too
    template     how messages become a text, where that is ours to do
    thinks_aloud thoughts stand before the reply, up to </think>"""

    name: str
    model: str
    provider: str
    dialect: str
    base_url: str
    served_name: str
    key_env: str | None
    sampling: Sampling
    constrain: bool
    concurrency: int
    requests_per_second_max: float | None
    stream: bool = False
    prices: Prices | None = None
    upstreams: tuple[str, ...] = ()
    allow_fallbacks: bool = False
    template: ChatTemplate | None = None
    thinks_aloud: bool = False


class Prompt(NamedTuple):
    """What a backend completes.

    episode, item, seat, turn   where in the sweep it is asked: a bot must know; a real model is never told"""

    messages: tuple[Message, ...]
    reply_format: ReplyFormat
    episode: str
    item: str
    seat: str
    turn: int

    @property
    def kind(self) -> str:
        """What calls of like length have in common: the game and the seat."""
        return f"{self.item.partition(':')[0]} {self.seat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When a streamed reply came. Gaps are seconds between pieces that brought text, None below two pieces.

    ttft_s   from sent to the first piece with text, thoughts included
    chunks   pieces with text, as they came off the wire: one may hold several tokens"""

    ttft_s: float
    chunks: int
    gap_s_median: float | None
    gap_s_p95: float | None
    gap_s_max: float | None


class Completion(NamedTuple):
    """What came back. Token counts are the provider's own; None where it reported none.

    text                the reply, raw, without the model's thoughts
    finish_reason       as the provider worded it
    prompt_tokens       cached ones included
    completion_tokens   thoughts included
    served_model        the model the provider says answered
    reasoning           the thoughts, where the provider shows them apart
    upstream            who answered behind a router
    system_fingerprint  the provider's name for the configuration that answered
    cost_usd            where the provider says so itself
    pace                None unless streamed
    headers             those of the answer that speak of rate limits, names in lower case
    held_s              seconds that a ceiling on the wire held the request back before it was sent"""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    served_model: str | None = None
    request_id: str | None = None
    http_status: int | None = None
    reasoning: str | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    upstream: str | None = None
    system_fingerprint: str | None = None
    cost_usd: float | None = None
    pace: Pace | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    held_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLoad:
    """What a model server tells of itself at one moment.

    running, waiting  requests in the making, and in its queue
    steps             how often it has computed since its start: unchanged, the figures are those of before; None: it does not say
    cache_use         share of the memory for keys and values, in [0, 1]
    prefix_queries, prefix_hits   tokens looked up and found in the prefix cache since its start"""

    running: int
    waiting: int
    steps: int | None = None
    cache_use: float | None = None
    prefix_queries: int | None = None
    prefix_hits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodePlan:
    """All it takes to play, or repeat, one episode.

    seating   the access method of each seat, in the order of the game's seats
    arm       "main", or "again" for the reference's second self in an A/A comparison
    batch     repeats of one batch are near in time, batches are apart"""

    instance: Instance
    rules: str
    seating: tuple[str, ...]
    arm: Arm = "main"
    batch: int = 0
    repeat: int = 0

    @property
    def item(self) -> str:
        """The puzzle and its rules, whoever plays."""
        return ":".join(item_key(self.instance, self.rules))

    @property
    def key(self) -> str:
        """Stable over runs and machines: the same episode of the same sweep has the same key."""
        return f"{self.item}|{'+'.join(self.seating)}|{self.arm}|{self.batch}|{self.repeat}"

    @property
    def episode_id(self) -> str:
        """The key in 16 hexadecimal digits."""
        return digest(self.key, bytes_of_digest=8)


def storable(text: str) -> str:
    """The text as UTF-8 can hold it: half surrogate pairs, which some answers and header lines bring, become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def digest(*parts: str, then: bytes = b"", bytes_of_digest: int = 16) -> str:
    """A hash of texts in hexadecimal; the boundary between two parts counts. then: more parts, framed already"""
    return hashlib.blake2b(framed(parts) + then, digest_size=bytes_of_digest).hexdigest()


def framed(parts: Iterable[str]) -> bytes:
    """The texts one after the other, each behind its length."""
    return b"".join(map(_framed, parts))


def _framed(part: str) -> bytes:
    raw = part.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "big") + raw

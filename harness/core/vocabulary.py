"""The values that rooms exchange: messages, asks, outcomes, access methods, prompts, completions, episode
plans.

Knows nothing of files, sockets or clocks. Classes are frozen and compared by their fields. Classes of which
each call makes one are named tuples: a frozen dataclass of the same size takes four times as long to make.
The functions here hash texts and bring messages into the form that servers and the store accept."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

Role = Literal["system", "user", "assistant"]
State = Literal["success", "lost", "aborted", "unscored"]
Arm = Literal["main", "again"]


class Message(NamedTuple):
    """One message as a chat model sees it."""

    role: Role
    text: str


def normalised(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Returns the messages as chat servers accept them: no leading empty system message, no two of one role
    in a row.

    Neighbours of one role are joined by a blank line, also if one of them is empty, as published clembench
    runs did."""
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
    """The format of a well-formed reply.

    regex       matches the whole reply; written in the subset that constrained decoders share: literals,
                classes, groups, alternation, bounded repeats; no anchors, look-arounds, back-references or
                flags
    tokens_max  the maximum length of the reply (`max_tokens`)"""

    regex: str
    tokens_max: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Parse:
    """A game's check of one reply: `violation` is None if the format is right, else one short sentence with
    the broken rule."""

    violation: str | None = None


KEPT = Parse()


class Ask(NamedTuple):
    """A game's request to a seat: the messages that the seat sees and the format that its reply must have.

    last_parse  the game's check of the reply just before this ask"""

    seat: str
    messages: tuple[Message, ...]
    reply_format: ReplyFormat
    last_parse: Parse = KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """A game's counts of its requests to players; each game's rules define what one request is."""

    total: int = 0
    parsed: int = 0
    violated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of an episode.

    score       main score in [0, 100]; None if aborted or unscored
    reason      one short phrase, the same for the same cause: reports count by it
    metrics     the game's other figures of the episode
    last_parse  the game's check of the last reply"""

    state: State
    score: float | None
    reason: str
    requests: Requests = Requests()
    metrics: Mapping[str, float] = field(default_factory=dict)
    last_parse: Parse = KEPT


Play = Generator[Ask, str, Outcome]
"""A game in progress: yields asks, receives the stripped text of each reply, returns the outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance of a game.

    id            unique within its game, set and experiment
    fields        its own fields and, by reference, those that its experiment shares; only its game reads them
    content_hash  hash of all fields: two instances are the same only if it agrees"""

    game: str
    set_name: str
    experiment: str
    id: str
    fields: Mapping[str, object]
    content_hash: str


GAME_LIBRARIES = ("clem", "textarena")
"""The libraries of others whose games can be played. Such a game is named LIBRARY:NAME."""

LIBRARY_TURNS_MAX = 1000
"""Asks after which an episode of such a game ends, if the sweep does not say otherwise.

Some of these games never end by their rules. The longest limit that an environment of TextArena 0.7.3
states is 500 turns. In the game 2048, the tile 2048 takes about 950 moves, as a move adds 2.2 to the board
on average."""


def game_library(game: str) -> str | None:
    """Returns the library of a game of this name; None: a game of our own or of a plug-in."""
    library, colon, _ = game.partition(":")
    return library if colon and library in GAME_LIBRARIES else None


def game_of_item(item: str) -> str:
    """Returns the game of an item's name, which begins with it."""
    first, _, rest = item.partition(":")
    return first if first not in GAME_LIBRARIES else f"{first}:{rest.partition(':')[0]}"


def item_key(instance: Instance, rules: str) -> tuple[str, str, str, str, str, str]:
    """Returns the parts that identify an item: game, rules, instance set, experiment, instance, content
    hash."""
    return (instance.game, rules, instance.set_name, instance.experiment, instance.id, instance.content_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The sampling parameters that a request states. None or empty: not stated, so the provider's default
    holds.

    tokens_max        in place of the limit of each ask's format: reasoning models need tokens for their
                      thoughts too
    reasoning_effort  in the provider's own words
    logprobs          how many of the most likely tokens to return with their log-probabilities, for each
                      token of a reply; it changes no reply"""

    temperature: float | None = 0.0
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    tokens_max: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars for a million tokens.

    cached   the price of input that the provider finds in its cache; None: as other input"""

    input: float
    output: float
    cached: float | None = None

    def cost_usd(
        self, *, prompt_tokens: int | None, cached_tokens: int | None, completion_tokens: int | None
    ) -> float | None:
        """Returns the cost of a call with this usage; None if the provider did not count tokens."""
        if prompt_tokens is None or completion_tokens is None:
            return None
        cached = min(cached_tokens or 0, prompt_tokens)
        uncached_cost = (prompt_tokens - cached) * self.input + completion_tokens * self.output
        return (uncached_cost + cached * (self.input if self.cached is None else self.cached)) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """A template that makes one text of a model's messages.

    text             Jinja, as model folders contain it
    beginning, end   the values of bos_token and eos_token in the template"""

    text: str
    beginning: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessMethod:
    """One access method of a model. An audit compares access methods.

    name          unique in a sweep: "model/method"
    key_env       the name of the environment variable that holds the key; never the key
    constrain     send each ask's format to the server, which then enforces it
    concurrency   maximum number of calls in flight
    requests_per_second_max   limit of requests per second to this method's host; None: no limit
    stream        replies are streamed, and the times of their chunks are stored
    prices        None: not known
    upstreams, allow_fallbacks   for a router: the upstream providers in order of preference, and whether
                                 others may
                  answer too
    template      the chat template, for servers that complete plain text
    thinks_aloud  the reply starts with thoughts, up to </think>
    good_ends     finish reasons that are good ends of this server's replies; "": it states none
    lists_models  the server's list of models decides whether it serves this one
    ignore_eos    replies go on after the model's own end, up to their limit, where the server can do that"""

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
    good_ends: tuple[str, ...] = ()
    lists_models: bool = True
    ignore_eos: bool = False


def method_key(model: str, name: str) -> str:
    """Returns the full name of an access method: "model/name". A model's name may hold slashes, a method's
    own name holds none."""
    return f"{model}/{name}"


def split_method_key(key: str) -> tuple[str, str]:
    """Returns the model and the method's own name; the inverse of method_key. A key without a slash, which
    an import may hold, is a model's name."""
    model, slash, name = key.rpartition("/")
    return (model, name) if slash else (key, "")


def model_of(key: str) -> str:
    """Returns the model of an access method, or the whole name of a pair, which is no method of one model."""
    return key if "+" in key else split_method_key(key)[0]


class Prompt(NamedTuple):
    """The input of a backend.

    episode, item, seat, turn   the place in the sweep; bots need it, real models do not get it"""

    messages: tuple[Message, ...]
    reply_format: ReplyFormat
    episode: str
    item: str
    seat: str
    turn: int

    @property
    def kind(self) -> str:
        """Returns the game and the seat: calls of one kind have similar lengths."""
        return f"{game_of_item(self.item)} {self.seat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The times of a streamed reply. Gaps are seconds between chunks with text; None if there are fewer than
    two chunks.

    ttft_s   seconds from sending the request to the first chunk with text, thoughts included
    chunks   number of chunks with text; one chunk may hold several tokens
    gaps_s   all gaps, rising"""

    ttft_s: float
    chunks: int
    gap_s_median: float | None
    gap_s_p95: float | None
    gap_s_max: float | None
    gaps_s: Sequence[float] = ()


class TokenLogprob(NamedTuple):
    """A token of a reply with its log-probability, as the provider states them.

    top   the most likely tokens at this place, each with its log-probability"""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...]


class ScoredToken(NamedTuple):
    """A token of a reply that another method wrote, as a model sees it.

    logprob   in the model's distribution after the prompt and the reply's tokens so far, at temperature 1
    rank      1: the most likely token
    top       log-probabilities of the most likely tokens, falling"""

    text: str
    logprob: float
    rank: int
    top: tuple[float, ...]


class Completion(NamedTuple):
    """A backend's reply. Token counts are the provider's own; None if it reports none.

    text                the reply, unchanged, without the model's thoughts
    finish_reason       in the provider's words
    prompt_tokens       with cached ones
    completion_tokens   with thoughts
    served_model        the model that answered, according to the provider
    reasoning           the thoughts, if the provider returns them separately
    upstream            the provider behind a router that answered
    system_fingerprint  the provider's name for the configuration that answered
    cost_usd            if the provider states it
    pace                None unless streamed
    headers             the response's headers about rate limits, names in lower case
    held_s              seconds that the rate limiter of the host delayed the request
    logprobs            of the reply's tokens; None unless asked for and given"""

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
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLoad:
    """A model server's report of its load at one moment.

    running, waiting  requests being computed, and in its queue
    steps             steps of computation since its start; if unchanged, the other figures are old; None: not
                      reported
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
    """The plan of one episode: all that is needed to play it, or to repeat it.

    seating   the access method of each seat, in the order of the game's seats
    arm       "main", or "again" for the A/A replicate of the reference
    batch     the episodes of one batch are near in time; batches are separate
    session   sessions are hours apart; the repeat decides it, so it is no part of the key"""

    instance: Instance
    rules: str
    seating: tuple[str, ...]
    arm: Arm = "main"
    batch: int = 0
    repeat: int = 0
    session: int = 0

    @property
    def item(self) -> str:
        """Returns the item's name: instance and rules, without the players."""
        return ":".join(item_key(self.instance, self.rules))

    @property
    def key(self) -> str:
        """Returns the episode's key; the same episode of the same sweep has the same key in all runs and on
        all machines."""
        return f"{self.item}|{'+'.join(self.seating)}|{self.arm}|{self.batch}|{self.repeat}"

    @property
    def episode_id(self) -> str:
        """Returns the hash of the key, 16 hexadecimal digits."""
        return digest(self.key, bytes_of_digest=8)


def storable(text: str) -> str:
    """Returns the text with question marks for lone surrogates, which some responses contain and UTF-8 cannot
    encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def digest(*parts: str, then: bytes = b"", bytes_of_digest: int = 16) -> str:
    """Returns a hash of the texts in hexadecimal; ("ab", "c") and ("a", "bc") differ.

    then   further parts, already framed"""
    return hashlib.blake2b(framed(parts) + then, digest_size=bytes_of_digest).hexdigest()


def framed(parts: Iterable[str]) -> bytes:
    """Returns the texts in sequence, each after its length."""
    pieces: list[bytes] = []
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        pieces += (len(raw).to_bytes(8, "big"), raw)
    return b"".join(pieces)

"""The traffic of a load test as settings, and the units of work of each stage.

Every stage offers the same lengths in the same order, so that stages can be compared; what must be new to a
prefix cache differs between stages and runs. Knows prompts and sessions, not where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.seeds import stream
from harness.core.vocabulary import Prompt
from harness.loadtest.arrivals import arrival_moments
from harness.loadtest.lengths import LengthDistribution
from harness.loadtest.load_profile import Stage
from harness.loadtest.prompts import (
    TokenScale,
    prompts_of_lengths,
    random_line,
    repeat_shuffled,
    with_first_line,
    with_output_lengths,
)
from harness.loadtest.trace import RecordedRequest, trace_moments, trace_prompts
from harness.loadtest.work import Work, single_requests

NO_THINKING = LengthDistribution(mean=0.0, least=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSettings:
    """The settings of what is sent.

    prompts         a file of them; None: those of the sweep's games, as bots play them
    trace           a file or a store of recorded requests
    sessions        whole games in place of single requests
    think_s         of a session, before each prompt but the first
    prompt_tokens   random prompts of these lengths in place of games'
    output_tokens   limits of replies; None: those of the games, tokens_max for others
    shared_prefix   tokens that all random prompts begin with
    unique_prefix   each prompt or session begins with a line of its own
    ignore_eos      replies go on to their limit, where the server can do that"""

    prompts: Path | None = None
    trace: Path | None = None
    sessions: bool = False
    think_s: LengthDistribution = NO_THINKING
    prompt_tokens: LengthDistribution | None = None
    output_tokens: LengthDistribution | None = None
    tokens_max: int = 128
    shared_prefix: int = 0
    unique_prefix: bool = False
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The places that work comes from; at most one of them is used.

    prompts    of a file or of games
    sessions   stage's name -> whole games
    recorded   of a trace
    scale      the server's count of tokens"""

    prompts: Sequence[Prompt] = ()
    sessions: Callable[[str], Iterator[Work]] | None = None
    recorded: Sequence[RecordedRequest] = ()
    scale: TokenScale = field(default_factory=TokenScale)


def work_of(
    stage: Stage, name: str, traffic: TrafficSettings, source: Source, seed: int
) -> tuple[Iterator[Work], Iterable[float]]:
    """Returns the units of a stage, and the moments of an open loop or a trace.

    name   of the stage, unlike that of any other"""
    if stage.loop == "trace":
        prompts = trace_prompts(source.recorded, scale=source.scale, tokens_max=traffic.tokens_max, seed=seed)
        return single_requests(_unlike(prompts, name, traffic, seed)), trace_moments(
            source.recorded, stage.level
        )
    moments = arrival_moments(stage, stream(seed, "arrivals", f"{stage.level:g}", stage.repeat))
    if source.sessions is not None:
        return source.sessions(name), moments
    return single_requests(_unlike(_prompts(name, traffic, source, seed), name, traffic, seed)), moments


def _prompts(name: str, traffic: TrafficSettings, source: Source, seed: int) -> Iterator[Prompt]:
    if traffic.prompt_tokens is not None:
        return prompts_of_lengths(
            traffic.prompt_tokens,
            traffic.output_tokens or LengthDistribution(mean=traffic.tokens_max),
            shared_prefix=traffic.shared_prefix,
            scale=source.scale,
            seed=seed,
            stage=name,
        )
    prompts = repeat_shuffled(source.prompts, seed=seed)
    if traffic.output_tokens is None:
        return prompts
    return with_output_lengths(prompts, traffic.output_tokens, seed=seed)


def _unlike(prompts: Iterator[Prompt], name: str, traffic: TrafficSettings, seed: int) -> Iterator[Prompt]:
    """Yields the prompts, each with a line of its own if the traffic says so."""
    if not traffic.unique_prefix:
        return prompts
    chance = stream(seed, "lines", name)
    return (with_first_line(prompt, random_line(chance)) for prompt in prompts)

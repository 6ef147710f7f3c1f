"""Says what a load test would send, without sending anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from harness.access.context import RunContext
from harness.access.game_sets import game_sets
from harness.access.methods import prices
from harness.config.sweep import SweepSpec
from harness.core.vocabulary import Message, Prompt
from harness.loadtest.game_traffic import game_prompts
from harness.loadtest.load_profile import Stage
from harness.loadtest.loadtest_sweep import WARM_REQUESTS, LoadTestPlan, recorded_requests, restricted
from harness.loadtest.prompts import read_prompts
from harness.loadtest.trace import RecordedRequest, trace_moments

CHARACTERS_A_TOKEN = 4  # of English text, roughly


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A stage and how long it sends requests. seconds: None where the server decides it."""

    stage: Stage
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """One method's stages.

    unit     "requests" or "games"
    requests, prompt_tokens   of all stages; None: not known beforehand
    output_tokens, cost_usd   the same, at most
    warm_up  requests before the first stage"""

    method: str
    stages: tuple[PlannedStage, ...]
    unit: str
    requests: int | None
    prompt_tokens: float | None
    output_tokens: float | None
    cost_usd: float | None
    warm_up: int = WARM_REQUESTS


def dry_run(spec: SweepSpec, plan: LoadTestPlan, context: RunContext) -> tuple[DryRun, ...]:
    """Returns the stages of every method.

    raises  SpecError for a plan that cannot be played"""
    chosen = restricted(spec, plan)
    trace = plan.traffic.trace
    recorded = recorded_requests(trace, tuple(chosen.methods())) if trace is not None else {}
    expected = _mean_lengths(chosen, plan, context)
    runs = []
    for name, (_, part) in chosen.methods().items():
        stages = tuple(_planned(stage, recorded.get(name, ())) for stage in plan.stages())
        bounds = [one.stage.requests for one in stages]
        known = [one for one in bounds if one is not None]
        requests = sum(known) if known and len(known) == len(bounds) else None
        lengths = _recorded_lengths(recorded[name], plan) if name in recorded else expected
        price, tokens = prices(part), None
        if requests is not None and lengths is not None:
            tokens = (requests * lengths[0], requests * lengths[1])
        cost = None
        if price is not None and tokens is not None:
            cost = price.cost_usd(
                prompt_tokens=round(tokens[0]), cached_tokens=None, completion_tokens=round(tokens[1])
            )
        runs.append(
            DryRun(
                method=name,
                stages=stages,
                unit="games" if plan.traffic.sessions else "requests",
                requests=requests,
                prompt_tokens=tokens[0] if tokens else None,
                output_tokens=tokens[1] if tokens else None,
                cost_usd=cost,
            )
        )
    return tuple(runs)


def _planned(stage: Stage, recorded: Sequence[RecordedRequest]) -> PlannedStage:
    """Returns the stage with the number and the time of the requests of a trace, if it plays one."""
    if stage.loop != "trace":
        return PlannedStage(stage=stage, seconds=stage.offering_s)
    moments = list(islice(trace_moments(recorded, stage.level), stage.requests))
    if stage.seconds is not None:
        moments = [moment for moment in moments if moment <= stage.seconds]
    return PlannedStage(stage=replace(stage, requests=len(moments)), seconds=moments[-1])


def _recorded_lengths(recorded: Sequence[RecordedRequest], plan: LoadTestPlan) -> tuple[float, float]:
    """Returns the mean tokens of a prompt of a trace, and of a reply at most."""
    prompts = [
        one.prompt_tokens or 0
        if one.messages is None
        else sum(map(len, _texts(one.messages))) / CHARACTERS_A_TOKEN
        for one in recorded
    ]
    replies = [
        plan.traffic.tokens_max if one.output_tokens is None else one.output_tokens for one in recorded
    ]
    return sum(prompts) / len(prompts), sum(replies) / len(replies)


def _texts(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages]


def _mean_lengths(spec: SweepSpec, plan: LoadTestPlan, context: RunContext) -> tuple[float, float] | None:
    """Returns the mean tokens of a prompt, and of a reply at most; None if the traffic does not say."""
    traffic = plan.traffic
    if traffic.trace is not None or traffic.sessions:
        return None
    output = traffic.output_tokens.mean if traffic.output_tokens is not None else None
    if traffic.prompt_tokens is not None:
        return traffic.prompt_tokens.mean, traffic.tokens_max if output is None else output
    prompts = (
        read_prompts(traffic.prompts, tokens_max=traffic.tokens_max)
        if traffic.prompts is not None
        else game_prompts(game_sets(spec, context.source), spec.seed)
    )
    limits = sum(prompt.reply_format.tokens_max for prompt in prompts) / len(prompts)
    return sum(map(_tokens, prompts)) / len(prompts), limits if output is None else output


def _tokens(prompt: Prompt) -> float:
    return sum(len(message.text) for message in prompt.messages) / CHARACTERS_A_TOKEN

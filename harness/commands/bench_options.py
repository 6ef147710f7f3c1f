"""The options of `lightbulb bench`: their texts, and the load test that they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from harness.commands.arguments import parse_numbers
from harness.core.errors import SpecError

if TYPE_CHECKING:
    from harness.loadtest.ladder import LevelGoal
    from harness.loadtest.load_profile import Loop
    from harness.loadtest.loadtest_sweep import LoadTestPlan
    from harness.loadtest.traffic import TrafficSettings

LEVELS_DEFAULT = "1,4,16,64"
SHARED = "shared:"

Option = typer.Option
SweepOrNone = Annotated[Path | None, typer.Argument(metavar="[SWEEP.toml]", help="The sweep file.")]
Method = Annotated[list[str] | None, Option(help='Only this access method, as "model/method"; repeatable.')]
Concurrency = Annotated[
    str, Option(help=f"Closed loop: calls in flight, a level each; default {LEVELS_DEFAULT}.")
]
Rates = Annotated[str, Option(help="Open loop: requests a second, a level each.")]
Trace = Annotated[
    Path | None,
    Option(help="Recorded traffic: JSONL with arrival_s and prompt or prompt_tokens; or a store."),
]
Speed = Annotated[str, Option(help="The trace is played so many times as fast, a level each.")]
Find = Annotated[
    str | None, Option(help='Search a level: "knee", or "slo=0.99": the highest at which 99 % keep the SLOs.')
]
MaxLevel = Annotated[float, Option(help="The bound of a search.", min=1)]
Requests = Annotated[
    int | None,
    Option(help="Requests (or games) in a stage; default 100, or 10 for each call in flight.", min=2),
]
MaxSeconds = Annotated[float | None, Option(help="No request of a stage begins later.", min=0.1)]
Repeats = Annotated[int, Option(help="Times that each level is played; two or more give intervals.", min=1)]
Ramp = Annotated[
    float, Option(help="Seconds in which the load grows to its level; left out of the figures.", min=0)
]
WarmUp = Annotated[
    float | None, Option(help="Seconds left out at the start of a stage; default: found.", min=0)
]
CoolDown = Annotated[float | None, Option(help="Seconds left out before the last request began.", min=0)]
Arriving = Annotated[
    str, Option(help="Gaps of the open loop: poisson, constant, or gamma with --burstiness.")
]
Burstiness = Annotated[
    float | None, Option(help="Shape of gamma gaps: below 1 in bursts, above 1 more even.", min=0.01)
]
Sessions = Annotated[
    bool, Option("--sessions", help="Whole games in place of single requests; levels count games.")
]
ThinkTime = Annotated[str, Option(help="Seconds before each prompt of a session but the first: MEAN[:SD].")]
Prompts = Annotated[
    Path | None, Option(help="One prompt a line, text or JSON; default: those of the sweep's games.")
]
PromptTokens = Annotated[str | None, Option(help="Random prompts of MEAN[:SD[:MIN:MAX]] tokens.")]
OutputTokens = Annotated[str | None, Option(help="Longest reply: MEAN[:SD[:MIN:MAX]] tokens.")]
TokensMax = Annotated[
    int, Option(help="Longest reply to a prompt of no game, without --output-tokens.", min=1)
]
IgnoreEos = Annotated[
    bool, Option("--ignore-eos", help="Replies go on to their limit: vLLM, SGLang, llama.cpp.")
]
Prefix = Annotated[
    str, Option(help='"as-is"; "unique": each prompt begins with a line of its own; "shared:N": N tokens.')
]
SloTtft = Annotated[float | None, Option(help="Goodput: seconds to the first token.", min=0.001)]
SloTpot = Annotated[float | None, Option(help="Goodput: seconds for each further token.", min=0.0001)]
SloE2e = Annotated[float | None, Option(help="Goodput: seconds to the end.", min=0.001)]
Stream = Annotated[bool, Option("--stream/--no-stream", help="Ask for streamed replies.")]
Label = Annotated[str | None, Option(help="A word for this run, stored with it.")]
Html = Annotated[Path | None, Option(help="Write a page, too.")]
Csv = Annotated[Path | None, Option(help="Write a line for each level, too.")]
Compare = Annotated[
    tuple[str, str] | None,
    Option(
        metavar="A B",
        help="Compare two stored runs: STORE or STORE#RUN.",
    ),
]
OnlyDry = Annotated[bool, Option("--dry-run", help="Say what would be sent, and send nothing.")]


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """The options of the command, by their names there."""

    method: list[str] | None
    concurrency: str
    rates: str
    trace: Path | None
    speed: str
    find: str | None
    max_level: float
    requests: int | None
    max_seconds: float | None
    repeats: int
    ramp: float
    warm_up: float | None
    cool_down: float | None
    arrivals: str
    burstiness: float | None
    sessions: bool
    think_time: str
    prompts: Path | None
    prompt_tokens: str | None
    output_tokens: str | None
    tokens_max: int
    ignore_eos: bool
    prefix: str
    slo_ttft: float | None
    slo_tpot: float | None
    slo_e2e: float | None
    stream: bool
    label: str | None


def plan_of(options: BenchOptions) -> LoadTestPlan:
    """Returns what the options say.

    raises  SpecError for options that contradict each other"""
    from harness.loadtest.load_profile import Arrivals, LoadProfile
    from harness.loadtest.loadtest_sweep import LoadTestPlan
    from harness.loadtest.metrics import Objective

    _refuse_infinite(options)
    arrivals = cast("Arrivals", "gamma" if options.burstiness is not None else options.arrivals)
    if arrivals not in get_args(Arrivals):
        raise SpecError(f"--arrivals {arrivals!r}: write poisson, constant or gamma")
    levels = _levels(options)
    return LoadTestPlan(
        methods=options.method or (),
        levels=() if options.find else levels,
        goal=_goal(options, levels) if options.find else None,
        profile=LoadProfile(
            requests=options.requests,
            seconds=options.max_seconds,
            ramp_s=options.ramp,
            arrivals=arrivals,
            burstiness=1.0 if options.burstiness is None else options.burstiness,
            warm_up_s=options.warm_up,
            cool_down_s=options.cool_down,
            repeats=options.repeats,
        ),
        traffic=_traffic(options),
        objective=Objective(ttft_s=options.slo_ttft, tpot_s=options.slo_tpot, e2e_s=options.slo_e2e),
        stream=options.stream,
        label=options.label,
    )


def _refuse_infinite(options: BenchOptions) -> None:
    for one in fields(options):
        value = getattr(options, one.name)
        if isinstance(value, float) and not isfinite(value):
            raise SpecError(f"--{one.name.replace('_', '-')} {value}: write a finite number")


def _levels(options: BenchOptions) -> list[tuple[Loop, float]]:
    if options.trace is not None:
        if options.concurrency or options.rates or options.find or options.sessions:
            raise SpecError(
                "--trace: a trace decides when requests are sent; leave out --concurrency, --rates, --find and "
                "--sessions"
            )
        return [("trace", speed) for speed in parse_numbers(options.speed, "--speed", whole=False)]
    some = LEVELS_DEFAULT if not (options.concurrency or options.rates or options.find) else ""
    in_flight = parse_numbers(options.concurrency or some, "--concurrency", whole=True)
    per_second = parse_numbers(options.rates, "--rates", whole=False)
    return [*(("closed", level) for level in in_flight), *(("open", level) for level in per_second)]


def _goal(options: BenchOptions, levels: Sequence[tuple[Loop, float]]) -> LevelGoal:
    from harness.loadtest.ladder import LevelGoal

    if len(levels) > 1:
        raise SpecError("--find: the search chooses the levels; name one to start from, or none")
    loop, start = levels[0] if levels else ("closed", 1.0)
    if start > options.max_level:
        raise SpecError(
            f"--find: the search starts at {start:g}, above its bound; set --max-level to {start:g} or higher"
        )
    name, _, share = (options.find or "").partition("=")
    if name == "knee" and not share:
        return LevelGoal(loop=loop, slo_share=None, start=start, most=options.max_level)
    if name == "slo":
        try:
            wanted = float(share)
        except ValueError:
            wanted = 0.0
        if 0 < wanted <= 1:
            return LevelGoal(loop=loop, slo_share=wanted, start=start, most=options.max_level)
    raise SpecError(f'--find {options.find!r}: write "knee", or "slo=0.99" with the share of requests')


def _traffic(options: BenchOptions) -> TrafficSettings:
    from harness.loadtest.lengths import parse_length
    from harness.loadtest.traffic import TrafficSettings

    shared = options.prefix.removeprefix(SHARED) if options.prefix.startswith(SHARED) else "0"
    if not shared.isdecimal() or options.prefix not in ("as-is", "unique", f"{SHARED}{shared}"):
        raise SpecError(
            f"--prefix {options.prefix!r}: write as-is, unique, or {SHARED}N with a number of tokens"
        )
    if int(shared) and options.prompt_tokens is None:
        raise SpecError(f"--prefix {SHARED}N is for random prompts: set --prompt-tokens too")
    if sum((options.sessions, options.prompts is not None, options.prompt_tokens is not None)) > 1:
        raise SpecError("--sessions, --prompts and --prompt-tokens each say what is sent; choose one")
    if options.sessions and options.output_tokens is not None:
        raise SpecError("--output-tokens: the games decide the length of replies in --sessions; leave it out")

    def length(text: str | None, option: str) -> Any:
        return None if text is None else parse_length(text, option)

    return TrafficSettings(
        prompts=options.prompts,
        trace=options.trace,
        sessions=options.sessions,
        think_s=parse_length(options.think_time, "--think-time", least=0.0),
        prompt_tokens=length(options.prompt_tokens, "--prompt-tokens"),
        output_tokens=length(options.output_tokens, "--output-tokens"),
        tokens_max=options.tokens_max,
        shared_prefix=int(shared),
        unique_prefix=options.prefix == "unique",
        ignore_eos=options.ignore_eos,
    )

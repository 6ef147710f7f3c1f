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
    str,
    Option(
        help="Closed loop: the number of calls in flight; one level for each number. Default without another load:"
        f" {LEVELS_DEFAULT}."
    ),
]
Rates = Annotated[str, Option(help="Open loop: requests per second; one level for each number, such as 2,8.")]
Trace = Annotated[
    Path | None,
    Option(
        help="Send recorded traffic: a JSONL file with arrival_s and prompt or prompt_tokens in each line, or a store."
    ),
]
Speed = Annotated[
    str, Option(help="With --trace: play it this many times as fast; one level for each number, such as 1,2.")
]
Find = Annotated[
    str | None,
    Option(
        help='Search for a level. "knee": the lowest with nearly the best throughput. "slo=0.99": the highest at'
        " which 99 % of the requests keep the bounds of --slo-...",
    ),
]
MaxLevel = Annotated[float, Option(help="With --find: the highest level that is tried.", min=1)]
Requests = Annotated[
    int | None,
    Option(
        help="Requests (with --sessions: games) in a stage; default: 10 for each call in flight, at least 100.",
        min=2,
    ),
]
MaxSeconds = Annotated[
    float | None,
    Option(help="Begin no request later than this many seconds after the start of a stage.", min=0.1),
]
Repeats = Annotated[int, Option(help="How often each level is played; two or more give intervals.", min=1)]
Ramp = Annotated[
    float, Option(help="Seconds in which the load grows to its level; the figures leave them out.", min=0)
]
WarmUp = Annotated[
    float | None,
    Option(
        help="Seconds at the start of a stage that the figures leave out; default: until latency is steady, or 0 with --cool-down.",
        min=0,
    ),
]
CoolDown = Annotated[
    float | None,
    Option(help="Seconds before the last request begins that the figures leave out; default: 0.", min=0),
]
Arriving = Annotated[
    str,
    Option(
        help="Open loop: how the gaps between requests vary: poisson, constant, or gamma with --burstiness."
    ),
]
Burstiness = Annotated[
    float | None,
    Option(
        help="Shape of the gamma distribution of gaps: below 1 requests come in bursts, above 1 more evenly.",
        min=0.01,
    ),
]
Sessions = Annotated[
    bool, Option("--sessions", help="Play whole games instead of single requests; levels then count games.")
]
ThinkTime = Annotated[
    str, Option(help="With --sessions: seconds between a reply and the next prompt, as MEAN[:SD].")
]
Prompts = Annotated[
    Path | None,
    Option(
        help="A file with one prompt in each line, text or JSON; default: the prompts of the sweep's games."
    ),
]
PromptTokens = Annotated[
    str | None, Option(help="Send random prompts of this many tokens: MEAN[:SD[:MIN:MAX]], such as 512:64.")
]
OutputTokens = Annotated[
    str | None, Option(help="Longest reply in tokens: MEAN[:SD[:MIN:MAX]], such as 128:16.")
]
TokensMax = Annotated[
    int, Option(help="Longest reply in tokens where neither a game nor --output-tokens sets it.", min=1)
]
IgnoreEos = Annotated[
    bool, Option("--ignore-eos", help="Let each reply go on to its limit; for vLLM, SGLang and llama.cpp.")
]
Prefix = Annotated[
    str,
    Option(
        help='How prompts begin. "as-is": unchanged. "unique": each with a different line. "shared:N": all with the'
        " same N tokens; needs --prompt-tokens.",
    ),
]
SloTtft = Annotated[
    float | None, Option(help="For goodput: at most this many seconds to the first token.", min=0.001)
]
SloTpot = Annotated[
    float | None,
    Option(
        help="For goodput: at most this many seconds for each further token; default: no bound.", min=0.0001
    ),
]
SloE2e = Annotated[
    float | None, Option(help="For goodput: at most this many seconds to the end of the reply.", min=0.001)
]
Stream = Annotated[
    bool,
    Option(
        "--stream/--no-stream",
        help="Ask for replies as a stream; without it, there is no time to first token.",
    ),
]
Label = Annotated[str | None, Option(help="Store this run under a name, for --compare STORE#NAME.")]
Html = Annotated[Path | None, Option(help="Also write an HTML page to this file.")]
Csv = Annotated[Path | None, Option(help="Also write a CSV file with one line for each level.")]
Compare = Annotated[
    tuple[str, str] | None,
    Option(
        metavar="A B",
        help="Compare two stored runs and send nothing; each is STORE (its last run) or STORE#RUN, with a label or id.",
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

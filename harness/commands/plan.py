"""The commands init, schema, games, plan and check: everything before a sweep is played."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.arguments import AsJson, SweepFile, load, note_unmerged
from harness.commands.terminal import DIFFERENT, FAILED, notify, stdout_console, write_page
from harness.core.errors import SpecError
from harness.core.startup import INTERRUPTED

if TYPE_CHECKING:
    from harness.config.sweep import SweepSpec
    from harness.planning.results import SweepPlan

Instance = Annotated[
    int | None,
    typer.Option(help="Show this instance of the game: its number in the game's own set, from 0.", min=0),
]
OtherLibraries = Annotated[
    bool,
    typer.Option(
        "--all",
        help="List the games of other libraries instead, and say which of them can be played here.",
    ),
]
Full = Annotated[
    bool,
    typer.Option(
        "--full", help="Simulate every call; default for a large sweep: simulate a part and scale it up."
    ),
]


def init(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The file to write.")] = Path(
        "sweep.toml"
    ),
    name: Annotated[
        str | None, typer.Option(help="The name of the sweep; default: the name of the file.")
    ] = None,
    game: Annotated[
        list[str] | None, typer.Option(help="A game to play; repeatable. Default: taboo and wordle.")
    ] = None,
    model: Annotated[str, typer.Option(help="The name of the model that is audited.")] = "my-model",
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WHERE",
            help="An access method: NAME=https://host/v1, NAME=vllm:WEIGHTS or NAME=bots; repeatable.",
        ),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Add a provider that lightbulb knows, such as groq, as an access method; repeatable.",
        ),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(help="The environment variable that has the key of the methods with an address."),
    ] = None,
    repeats: Annotated[int, typer.Option(help="How often each method plays each item.", min=1)] = 3,
) -> None:
    """Write a commented sweep file to start from. A file that exists is not changed.

    Example: lightbulb init mine.toml --model llama-3-8b --method here=http://127.0.0.1:8000/v1"""
    from games import GAMES
    from harness.access.methods import method_of_provider
    from harness.config.load import parse_sweep
    from harness.config.template import Choices, read_method, sweep_text

    if sweep.exists():
        raise SpecError(f"{sweep}: exists already; name another file")
    methods = [*map(read_method, method or ()), *map(method_of_provider, provider or ())]
    if not methods:
        methods = [*map(read_method, ("here=http://127.0.0.1:8000/v1", "there=https://api.example.com/v1"))]
    text = sweep_text(
        Choices(
            name=name or sweep.stem,
            games=game or ["taboo", "wordle"],
            model=model,
            methods=methods,
            key_env=key_env,
            repeats=repeats,
        )
    )
    parse_sweep(text, source=str(sweep), known_games=GAMES)
    write_page(sweep, text)
    notify(f"{sweep}: edit it, then: lightbulb run {sweep}")


def schema() -> None:
    """Print the JSON Schema of a sweep file, for editors that check TOML.

    To use it, write a first line into the sweep file: #:schema ./sweep.schema.json

    Example: lightbulb schema > sweep.schema.json"""
    from games import GAMES
    from harness.config.json_schema import sweep_schema

    print(json.dumps(sweep_schema(known_games=GAMES), indent=2))


def games(
    name: Annotated[
        str | None,
        typer.Argument(help='A game; default: all games of lightbulb. Or "install", to install a library.'),
    ] = None,
    library: Annotated[
        str | None, typer.Argument(help='After "install": the library, clem or textarena.')
    ] = None,
    instance: Instance = None,
    every: OtherLibraries = False,
    checkout: Annotated[
        Path | None, typer.Option(help="With --all: also list the games of this clembench checkout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the games, their rule sets and instances; or show one instance as each seat sees it.

    `games install clem` and `games install textarena` install a library of games, if it is not installed yet.

    Example: lightbulb games taboo --instance 3"""
    if name == "install":
        _install_library(library)
        return
    if library is not None:
        raise SpecError(f"{library!r}: only `games install` takes a library")
    if every:
        from harness.foreign_games import clembench_games, textarena_games
        from harness.report.games import print_listed_games

        of_clembench = [] if checkout is None else clembench_games.listed(checkout)
        print_listed_games([*of_clembench, *textarena_games.listed()], stdout_console(), as_json=as_json)
        return
    from games import GAMES
    from games.playthrough import play_by_bots
    from harness.config.problems import suggest
    from harness.core.seeds import stream
    from harness.report.games import print_games, print_instance

    if name is not None and name not in GAMES:
        raise SpecError(f"no game {name!r}{suggest(name, list(GAMES))}")
    if name is None and instance is not None:
        raise SpecError("--instance needs a game: lightbulb games taboo --instance 3")
    if name is None or instance is None:
        chosen = [GAMES[name]] if name else list(GAMES.values())
        print_games(chosen, stdout_console(), as_json=as_json)
        return
    instances = GAMES[name].instances()
    if instance >= len(instances):
        raise SpecError(f"--instance {instance}: {name} has instances 0 to {len(instances) - 1}")
    puzzle = instances[instance]
    played = play_by_bots(
        GAMES[name], puzzle, GAMES[name].rule_sets[0], skill=1.0, chance=stream(0, puzzle.content_hash)
    )
    assert played.outcome is not None
    print_instance(puzzle, played.asks, played.replies, played.outcome, stdout_console())


def _install_library(name: str | None) -> None:
    from backends.local.environments import install_environment
    from harness.core.startup import unwind_on_interrupt
    from harness.foreign_games.libraries import LIBRARIES

    if name is None or name not in LIBRARIES:
        raise SpecError(f"{name or ''!r} is not a library of games; name one of {', '.join(LIBRARIES)}")
    unwind_on_interrupt()  # an environment that is half made is removed
    entry = install_environment(LIBRARIES[name], notify)
    print(entry.folder / "bin" / "python")


def plan(
    sweep: SweepFile,
    from_stores: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="STORE",
            help="Take lengths, speeds and quotas from the episodes in this store; repeatable.",
            callback=note_unmerged,
        ),
    ] = None,
    full: Full = False,
    seeds: Annotated[
        int | None,
        typer.Option(help="How many simulations to run; default: 4, or 1 with --full.", min=1, max=100),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Also write the timeline to this .svg, .png or .html file.")
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="First play each access method for about a minute, to measure lengths and speeds.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Forecast how many hours, calls, tokens and dollars a sweep takes, and which limit makes it slow. No
    call is sent, unless you add --calibrate.

    The scheduler plays the sweep on virtual time against simulated providers. Without --from and --calibrate,
    replies and episodes are as long as those of bots, and the speed of a provider comes from
    expect = { ... } in the sweep file, or is usual for its kind. --calibrate starts engines and sends calls,
    which can cost money; it does not change the sweep's store.

    Example: lightbulb plan mine.toml --from earlier.duckdb --figure mine.svg"""
    from harness.core.plain_data import as_json as plain
    from harness.planning.plan_sweep import plan_sweep
    from harness.report.plan import print_plan

    if figure is not None and figure.suffix not in (".svg", ".png", ".html"):
        raise SpecError(f"--figure {figure}: name a file that ends in .svg, .png or .html")
    if calibrate and from_stores:
        raise SpecError("--calibrate measures what --from reads from a store; use only one of them")
    spec = load(sweep)
    if calibrate:
        found = _calibrated(spec, sweep, full=full, seeds=seeds)
    else:
        found = plan_sweep(spec, source=sweep, stores=from_stores or (), full=full, seeds=seeds)
    if figure is not None:
        from harness.report.plan_chart import draw_timeline

        draw_timeline(found, figure)
    if as_json:
        print(json.dumps(plain(found)))
    else:
        print_plan(found, stdout_console())


def _calibrated(spec: SweepSpec, sweep: Path, *, full: bool, seeds: int | None) -> SweepPlan:
    """Plays a trial in a folder that is deleted afterwards; returns the plan that rests on it."""
    from tempfile import TemporaryDirectory

    from harness.access.context import RunContext
    from harness.core.event_loop import run_async
    from harness.planning.calibrate import TRIAL_S, play_trial
    from harness.planning.plan_sweep import plan_sweep

    notify(f"trial: each access method starts episodes for {TRIAL_S:.0f} s")
    with TemporaryDirectory(prefix="lightbulb-trial-") as folder:
        store = Path(folder) / "trial.duckdb"
        context = RunContext(source=sweep, store=store, environ=os.environ, notify=notify)
        trial = run_async(lambda: play_trial(spec, context))
        if trial.end.interrupted:
            raise typer.Exit(INTERRUPTED)
        return plan_sweep(spec, source=sweep, full=full, seeds=seeds, trial=trial)


def check(
    sweep: SweepFile,
    store: Annotated[
        Path | None,
        typer.Option(help="Also write the calls into this store; `audit` then names causes of a difference."),
    ] = None,
    probes: Annotated[
        bool,
        typer.Option(
            "--probes/--no-probes", help="Ask the short questions, or only test whether each method answers."
        ),
    ] = True,
    fail_on_difference: Annotated[
        bool,
        typer.Option(
            "--fail-on-difference",
            help="Exit with 5 if a method does not do what was asked, for example ignores a seed.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test every access method of a sweep with one call: host name, TLS, key, model, limits, latency. Then
    ask about 150 short questions. They test if the method follows temperature, seed, max tokens, stop and
    reasoning effort; if it counts tokens correctly, adds no prompt, reads the whole context and keeps
    thoughts out of replies; and if it replies the same under load. The command prints what this costs, before
    and after.

    Example: lightbulb check mine.toml"""
    from harness.access.context import RunContext, default_store_path
    from harness.checking.check_sweep import check_sweep, expected_costs
    from harness.core.event_loop import run_async
    from harness.report.check import checks_as_json, cost_lines, cost_text, print_checks

    spec = load(sweep)
    context = RunContext(
        source=sweep, store=store or default_store_path(sweep, spec), environ=os.environ, notify=notify
    )
    for line in cost_lines(expected_costs(spec, probing=probes)):
        notify(line)
    end = run_async(lambda: check_sweep(spec, context, probing=probes, keeping=store is not None))
    if as_json:
        for check in checks_as_json(end.checks, end.findings):
            print(json.dumps(check))
    else:
        print_checks(end.checks, end.findings, stdout_console())
    notify(f"the check took {cost_text(end.spent)}")
    if fail_on_difference and any(finding.answer == "broken" for finding in end.findings):
        raise typer.Exit(DIFFERENT)
    raise typer.Exit(0 if all(check.reached for check in end.checks) else FAILED)

"""The command `lightbulb`: arguments in, tables and exit codes out. Everything heavy is imported by the command that needs it.

Exit codes: 0 done, 1 a mistake of ours, 2 the user's file or arguments, 3 done but some episodes failed, stay pending or could not
be imported, 4 stopped by a budget, 5 a difference was found (only with --fail-on-difference), 130 interrupted and resumable."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.engine.run import RunEnd
    from harness.progress import Emit
    from harness.spec.sweep import SweepSpec

FAILED, BUDGET, DIFFERENT, INTERRUPTED = 3, 4, 5, 130

app = typer.Typer(
    help="Plays conversational games with language models and finds out whether the same model, reached another way, is still the same"
    " model.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
engines_app = typer.Typer(help="Environments for local engines.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(engines_app, name="engine")

ExportForm = Literal["parquet", "csv", "clembench", "hub"]
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The sweep file.")]
StoreFile = Annotated[Path, typer.Argument(metavar="STORE", help="The DuckDB file that a run wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable lines on stdout.")]


def main() -> None:
    """The console script: errors with a remedy become one paragraph and exit code 2; ours keep their traceback."""
    code = 0
    try:
        app()
    except* HarnessError as group:
        _say(f"lightbulb: {_first(group)}")
        code = 2
    except* KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _first(error: BaseException) -> BaseException:
    """Tasks fail in groups, and all for the same reason."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the sweep, its store and the servers' logs go.")] = Path("lightbulb-demo"),
) -> None:
    """The whole job on a small real model: two games through two access methods, scores and verdict. No key, no GPU.

    Example: lightbulb demo --folder /tmp/demo"""
    from harness.compose import episodes_left
    from harness.demo import next_store, write_sweep

    console = _console()
    sweep = write_sweep(folder)
    spec = _load(sweep)
    store = next_store(folder, lambda path: episodes_left(spec, source=sweep, store=path))
    code = _play(spec, sweep, store, retry_failed=False, console=console)
    if code == INTERRUPTED:
        raise typer.Exit(code)
    _print_scores(store, console)
    console.print()
    _print_audit(store, None, None, console)
    console.print(f"\nThe store is {store}. Three questions to put to it:\n", highlight=False)
    for query in (
        "SELECT method, outcome, count(*) FROM scores GROUP BY ALL ORDER BY ALL",
        "FROM calls_by_method",
        "SELECT reason, count(*) FROM scores GROUP BY ALL ORDER BY 2 DESC",
    ):
        console.print(f'  lightbulb sql {store} "{query}"', highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@app.command()
def init(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The file to write.")] = Path("sweep.toml"),
    name: Annotated[str | None, typer.Option(help="The sweep's name; default: the file's.")] = None,
    game: Annotated[list[str] | None, typer.Option(help="A game; repeatable. Default: taboo and wordle.")] = None,
    model: Annotated[str, typer.Option(help="The model under audit.")] = "my-model",
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=WHERE", help="A way to reach it: NAME=https://host/v1, NAME=vllm:WEIGHTS or NAME=bots; repeatable."),
    ] = None,
    key_env: Annotated[str | None, typer.Option(help="The variable that holds the key of methods with an address.")] = None,
    repeats: Annotated[int, typer.Option(help="Plays of each puzzle by each method.", min=1)] = 3,
) -> None:
    """Write a commented sweep file to start from. A file that is there is left alone.

    Example: lightbulb init mine.toml --model llama-3-8b --method here=http://127.0.0.1:8000/v1 --method there=https://api.example.com/v1"""
    from games import GAMES
    from harness.core.errors import SpecError
    from harness.spec.load import parse_sweep
    from harness.spec.template import Choices, read_method, sweep_text

    if sweep.exists():
        raise SpecError(f"{sweep}: is there already; name another file")
    text = sweep_text(
        Choices(
            name=name or sweep.stem,
            games=game or ["taboo", "wordle"],
            model=model,
            methods=[read_method(one) for one in method or ("here=http://127.0.0.1:8000/v1", "there=https://api.example.com/v1")],
            key_env=key_env,
            repeats=repeats,
        )
    )
    parse_sweep(text, source=str(sweep), known_games=list(GAMES))
    _write(sweep, text)
    _say(f"{sweep}: edit it, then: lightbulb run {sweep}")


@app.command()
def schema() -> None:
    """The JSON Schema of a sweep file on stdout, for editors that check TOML.

    Example: lightbulb schema > sweep.schema.json   and a first line in the sweep: #:schema ./sweep.schema.json"""
    from games import GAMES
    from harness.spec.schema import sweep_schema

    print(json.dumps(sweep_schema(known_games=list(GAMES)), indent=2))


@app.command()
def run(
    sweep: SweepFile,
    store: Annotated[Path | None, typer.Option(help="The DuckDB file; default: beside the sweep, named after it.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Play failed episodes once more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Play a sweep. Run it again to go on where it stopped: only what is missing is played.

    With --json, events on stdout, an object a line: "progress" every second, with what the live view shows; "said" with each line for a
    person; "end" with the counts of episodes and the exit code.

    Example: lightbulb run bench/sweeps/bots.toml --store /tmp/bots.duckdb"""
    spec = _load(sweep)
    path = store or sweep.parent / f"{spec.name}.duckdb"
    raise typer.Exit(
        _play(spec, sweep, path, retry_failed=retry_failed, console=_console(), emit=_emit if as_json else None)
    )


def _emit(event: Mapping[str, object]) -> None:
    print(json.dumps(event), flush=True)


@app.command()
def bench(
    sweep: SweepFile,
    method: Annotated[list[str] | None, typer.Option(help="Only this access method, as model/way; repeatable.")] = None,
    concurrency: Annotated[str, typer.Option(help="Closed loop: calls in flight, a stage each.")] = "1,4,16,64",
    rates: Annotated[str, typer.Option(help="Open loop: requests a second at Poisson moments, a stage each.")] = "",
    requests: Annotated[int, typer.Option(help="Requests a stage; more where more are in flight.", min=2)] = 64,
    prompts: Annotated[Path | None, typer.Option(help="One prompt a line, text or JSON; default: those of the sweep's games.")] = None,
    tokens_max: Annotated[int, typer.Option(help="Longest reply to a prompt of that file.", min=1)] = 128,
    slo_ttft: Annotated[float, typer.Option(help="Goodput: seconds to the first token.", min=0.001)] = 2.0,
    slo_e2e: Annotated[float, typer.Option(help="Goodput: seconds to the end.", min=0.001)] = 30.0,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Ask for streamed replies.")] = True,
    store: Annotated[Path | None, typer.Option(help="The DuckDB file; default: beside the sweep, named after it.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Latency and throughput of each access method under load: time to first token, percentiles, goodput, the knee.

    Prompts are those of the sweep's games as bots play them. Quotas are not kept and nothing is tried twice: what is measured is the
    server. A stage that this client itself limited has no figures, only the reason. Rows: bench_stages and bench_requests.

    Example: lightbulb bench mine.toml --method llama/here --concurrency 1,8,64 --rates 2,8"""
    import anyio

    from harness.audit.findings import as_json as plain
    from harness.compose import Setting
    from harness.measure import BenchPlan
    from harness.measure import bench as measured
    from harness.report.bench import bench_page, print_bench
    from harness.throughput.figures import Objective
    from harness.throughput.load import Stage

    spec = _load(sweep)
    at_once, a_second = _numbers(concurrency, "--concurrency", whole=True), _numbers(rates, "--rates", whole=False)
    plan = BenchPlan(
        methods=method or (),
        stages=[
            *(Stage(loop="closed", level=level, requests=max(requests, 3 * int(level))) for level in at_once),
            *(Stage(loop="open", level=level, requests=requests) for level in a_second),
        ],
        objective=Objective(ttft_s=slo_ttft, e2e_s=slo_e2e),
        prompts=prompts,
        tokens_max=tokens_max,
        stream=stream,
    )
    where = store or sweep.parent / f"{spec.name}.duckdb"
    setting = Setting(source=sweep, store=where, environ=os.environ, console=_console(), say=_say)
    found = anyio.run(lambda: measured(spec, plan, setting), backend_options={"use_uvloop": sys.platform != "win32"})
    if html is not None:
        _write(html, bench_page(found, plan.objective, sweep.name))
    if as_json:
        print(json.dumps({"objective": plain(plan.objective), "methods": plain(found)}))
    else:
        print_bench(found, plan.objective, _console(to_stdout=True))


@app.command()
def plan(
    sweep: SweepFile,
    from_stores: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="STORE", help="Lengths, speeds and quotas from this store's calls; repeatable."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Simulate every call instead of a smaller sweep.")] = False,
    seeds: Annotated[int | None, typer.Option(help="Simulations; default: 4, with --full 1.", min=1, max=100)] = None,
    figure: Annotated[Path | None, typer.Option(help="Write the timeline there: .svg, .png or .html.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a sweep will take, before anything is spent: hours, calls, tokens, money, and what sets the pace.

    The engine itself plays the sweep on virtual time against simulated providers. Without --from, replies and episodes are as long as
    the bots' and providers as quick as their kind usually is, or as the sweep file's expect = { ... } says.

    Example: lightbulb plan mine.toml --from earlier.duckdb --figure mine.svg"""
    from harness.audit.findings import as_json as plain
    from harness.core.errors import SpecError
    from harness.planning.answer import in_words, minutes, plan_sweep
    from harness.report.plan import print_plan

    if figure is not None and figure.suffix not in (".svg", ".png", ".html"):
        raise SpecError(f"--figure {figure}: ends in none of .svg, .png and .html, which say what is to be drawn")
    found = plan_sweep(_load(sweep), source=sweep, stores=from_stores or (), full=full, seeds=seeds)
    if figure is not None:
        from harness.report.plan_figure import draw_timeline

        draw_timeline(found, figure, in_words=in_words)
    if as_json:
        print(json.dumps(plain(found)))
    else:
        print_plan(found, _console(to_stdout=True), spoken=minutes, in_words=in_words)


@app.command("import")
def import_results(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS", help="Folders of published clembench results, raw.csv or results.csv.")
    ],
    store: Annotated[Path, typer.Option(help="The DuckDB file; made if it is not there.")],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL[=PAIRS]", help="These pairs are access methods of one model; repeatable. Default: each its own model."),
    ] = None,
) -> None:
    """Bring published clembench results into a store, for scores and audits. Import again to add more: no episode is added twice.

    A folder is read episode by episode, with transcripts where it has them; raw.csv gives episodes without transcripts, results.csv
    averages only: enough for scores, not for an audit. A pair such as A-t0.0--A-t0.0 becomes the access method A. PAIRS is a pattern
    of such names, with * and ?, in which case is no difference; a MODEL without one takes all pairs.

    Example: lightbulb import clembench-runs/v1.6_backends --store backends.duckdb --model 'llama-3-70b=Llama-3-70B-*'"""
    from harness.core.clock import RealClock
    from harness.transfer import into_store

    end = into_store.import_results(results, store, into_store.Grouping.read(model or []), wall_s=RealClock().wall(), say=_say)
    for line in end.broken:
        _say(f"not imported: {line}")
    _say(
        f"{end.episodes} episodes imported, {end.aborted} of them aborted and {end.unscored} unscored, and {end.summaries} averages, of"
        f" {len(end.methods)} access methods; {end.known} were in the store already; {len(end.broken)} not imported; the store is {store}"
    )
    raise typer.Exit(FAILED if end.broken else 0)


@app.command("export")
def export_store(
    store: StoreFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; new, or empty.")],
    form: Annotated[ExportForm, typer.Option("--as", help="parquet, csv: a file a table; clembench: its results folders; hub: a dataset.")],
) -> None:
    """Bring a store's rows into files that other programs read.

    parquet and csv: one file a table, and the views scores and transcripts. clembench: <pair>/<game>/<experiment>/<episode>, as
    `lightbulb import` reads it; with repeats one folder for each. hub: Parquet and a README.md, as the Hugging Face hub takes it;
    nothing is uploaded.

    Example: lightbulb export demo.duckdb --as parquet -o demo-tables"""
    from games import GAMES
    from harness.transfer import out_of_store

    if form == "clembench":
        end = out_of_store.export_clembench(store, output, seats={game.name: game.seats for game in GAMES.values()})
        _say(
            f"{end.episodes} episodes in {', '.join(map(str, end.folders)) or 'no folder'}; left out: {end.failed} failed and"
            f" {end.again} of the reference's second self"
        )
        return
    rows = out_of_store.export_hub(store, output) if form == "hub" else out_of_store.export_tables(store, output, form)
    _say(f"{output}: {', '.join(f'{table} {count}' for table, count in rows.items())}")


@app.command()
def scores(
    store: StoreFile,
    why: Annotated[bool, typer.Option("--why", help="Instead: what each access method's time went to.")] = False,
    as_json: AsJson = False,
) -> None:
    """Clemscore, share played and quality, with 95 % intervals, per model and access method.

    With --why, why it was slow: the share of each access method's wall time that went to the provider's latency, to waiting for a quota,
    to backing off after errors, to our own CPU, and to places that stood empty for want of ready turns.

    Example: lightbulb scores demo.duckdb"""
    if why:
        _print_times(store, _console(to_stdout=True), as_json=as_json)
        return
    _print_scores(store, _console(to_stdout=True), as_json=as_json)


@app.command()
def audit(
    store: Annotated[Path | None, typer.Argument(metavar="STORE", help="The DuckDB file that a run wrote.")] = None,
    reference: Annotated[str | None, typer.Option(help='"model/method" that the others are held against; default: the sweep\'s.')] = None,
    margin: Annotated[float | None, typer.Option(help="Points too few to matter; default: the sweep's.", min=0.01, max=100)] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the verdicts and their figures as one page.")] = None,
    fail_on_difference: Annotated[
        bool, typer.Option("--fail-on-difference", help="Exit with 5 if a verdict is DIFFERENT, or the reference differs from itself.")
    ] = False,
    as_json: AsJson = False,
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="SWEEP.toml", help="Before any call: what will this sweep's audit be able to say?")
    ] = None,
    earlier: Annotated[
        Path | None, typer.Option("--from", metavar="STORE", help="With --plan: episodes that tell how much scores spread and cost.")
    ] = None,
) -> None:
    """Is it the same model? Two verdicts for each access method, on its scores and on its replies, held against the reference. With --plan:
    what a sweep that is not played yet will be able to say, and how many repeats settle its margins, at what cost.

    Example: lightbulb audit demo.duckdb --html audit.html --fail-on-difference"""
    from harness.core.errors import SpecError

    if plan is not None:
        if store is not None or reference is not None or margin is not None or html is not None:
            raise SpecError("--plan takes a sweep file, whose [audit] holds reference and margin; --from STORE names earlier episodes")
        _print_outlook(plan, earlier, as_json=as_json)
        return
    if store is None or earlier is not None:
        raise SpecError("name a store, as: lightbulb audit demo.duckdb; or a sweep to be played: lightbulb audit --plan demo.toml")
    differs = _print_audit(store, reference, margin, _console(to_stdout=True), as_json=as_json, html=html)
    raise typer.Exit(DIFFERENT if differs and fail_on_difference else 0)


@app.command()
def report(
    store: StoreFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("report.html"),
    reference: Annotated[str | None, typer.Option(help='"model/method" that the others are held against; default: the sweep\'s.')] = None,
    margin: Annotated[float | None, typer.Option(help="Points too few to matter; default: the sweep's.", min=0.01, max=100)] = None,
    transcripts: Annotated[float, typer.Option(help="Megabytes of transcripts in the page, at most.", min=0, max=100)] = 6.0,
) -> None:
    """The whole story in one HTML file that needs no network: verdicts, scores, cost, latency, causes, transcripts side by side.

    Example: lightbulb report demo.duckdb -o demo.html"""
    from harness.core.clock import RealClock
    from harness.report.page import page
    from harness.story import store_story

    made_at = RealClock().wall()
    told = store_story(store, reference=reference, margin=margin, transcript_bytes=int(transcripts * 1e6), made_at=made_at)
    _write(output, page(told))
    _say(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {len(told.shown)} of {told.episodes} transcripts in it")


@app.command()
def drift(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="The same sweep, played on different days, a store each.")],
    days_mean: Annotated[float, typer.Option(help="Days between two false alarms, on average.", min=2, max=100_000)] = 365.0,
    fail_on_difference: Annotated[
        bool, typer.Option("--fail-on-difference", help="Exit code 5 if a change is announced.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Has a method changed since? First replies of each day against those of all earlier days, scores against the first day's.

    Example: lightbulb drift monday.duckdb tuesday.duckdb wednesday.duckdb"""
    from harness.audit.findings import as_json as plain
    from harness.days import store_drift
    from harness.report.drift import print_drift

    found = store_drift(stores, days_mean=days_mean)
    if as_json:
        print(json.dumps(plain(found)))
    else:
        print_drift(found, _console(to_stdout=True))
    if fail_on_difference and any(one.replies.changed for one in found):
        raise typer.Exit(DIFFERENT)


@app.command()
def characteristics(
    scores: Annotated[Path, typer.Argument(metavar="SCORES", help="A store, or a CSV file: model, method (or backend), clemscore.")],
    facts: Annotated[
        Path, typer.Argument(metavar="FACTS.csv", help="model, parameters_billions, training_tokens_trillions, parameters_guessed.")
    ],
    reference: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Stands for every model that has it; default: the mean of those not quantised.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What size, training and quantisation say of scores: shares of variance with intervals, brackets, each model's access methods.

    Example: lightbulb characteristics scores.csv models.csv --reference huggingface-local"""
    from harness.audit.characteristics import characterise
    from harness.audit.findings import as_json as plain
    from harness.report.characteristics import print_characteristics
    from harness.tables import model_facts, score_rows

    found = characterise(score_rows(scores), model_facts(facts), reference=reference)
    if as_json:
        print(json.dumps(plain(found)))
    else:
        print_characteristics(found, _console(to_stdout=True))


@app.command()
def show(store: StoreFile, episode: Annotated[str, typer.Argument(help="An episode's id or key, or the beginning of one.")]) -> None:
    """One transcript, as each seat saw it.

    Example: lightbulb show demo.duckdb 3f2a"""
    from harness.report.transcript import print_transcript
    from harness.store.file import open_to_read
    from harness.store.reader import transcript

    with open_to_read(store) as connection:
        print_transcript(transcript(connection, episode), _console(to_stdout=True))


@app.command()
def sql(
    store: StoreFile,
    query: Annotated[str, typer.Argument(help="One SQL statement; it can only read.")],
    as_json: AsJson = False,
) -> None:
    """Ask the store in SQL. Tables: sweeps, models, methods, episodes, turns, calls, summaries, gate_events, pulses,
    engine_samples; views: scores, clemscores, calls_by_method, time_by_method, transcripts, last_episodes.

    Example: lightbulb sql demo.duckdb "SELECT method, avg(score) FROM scores GROUP BY ALL" """
    from harness.core.errors import SpecError
    from harness.report.text import table, told_apart
    from harness.store.file import open_to_read, translated

    with open_to_read(store) as connection, translated(store):
        if not query.strip(" \n\t;"):
            raise SpecError("an empty query; ask something, as: FROM scores")
        cursor = connection.execute(query)
        names = [column[0] for column in cursor.description or []]
        rows = cursor.fetchall()
    if as_json:
        for row in rows:
            print(json.dumps(dict(zip(told_apart(names), row, strict=True)), default=str))
    else:
        _console(to_stdout=True).print(table(names, rows, left=len(names)))


@app.command()
def games(
    name: Annotated[str | None, typer.Argument(help="A game; none: all.")] = None,
    instance: Annotated[int | None, typer.Option(help="The n-th instance of its own set, as each seat sees it.", min=0)] = None,
    as_json: AsJson = False,
) -> None:
    """The games, their rule sets and instances; or one instance, played by bots, as each seat sees it.

    Example: lightbulb games taboo --instance 3"""
    from games import GAMES
    from games.plays import played_by_bots
    from harness.core.errors import SpecError
    from harness.core.seeds import stream
    from harness.report.games import print_games, print_instance
    from harness.spec.load import suggest

    if name is not None and name not in GAMES:
        raise SpecError(f"no game {name!r}{suggest(name, list(GAMES))}")
    if name is None and instance is not None:
        raise SpecError("--instance needs a game: lightbulb games taboo --instance 3")
    if name is None or instance is None:
        print_games([GAMES[one] for one in ([name] if name else GAMES)], _console(to_stdout=True), as_json=as_json)
        return
    instances = GAMES[name].instances()
    if instance >= len(instances):
        raise SpecError(f"--instance {instance}: {name} has instances 0 to {len(instances) - 1}")
    puzzle = instances[instance]
    played = played_by_bots(GAMES[name], puzzle, GAMES[name].rule_sets[0], skill=1.0, chance=stream(0, puzzle.content_hash))
    assert played.outcome is not None
    print_instance(puzzle, played.asks, played.replies, played.outcome, _console(to_stdout=True))


@app.command()
def check(
    sweep: SweepFile,
    store: Annotated[Path | None, typer.Option(help="Keep the probes' rows there, so that `audit` can read causes from them.")] = None,
    probes: Annotated[bool, typer.Option("--probes/--no-probes", help="Ask short questions, or only look who is there.")] = True,
    as_json: AsJson = False,
) -> None:
    """Reach every access method of a sweep once: name, TLS, key, model, limits, latency; and whether it does what it is asked:
    temperature, seed, max tokens, stop, honest counts, no prompt of its own, no cut context. What that costs is said before and after.

    Example: lightbulb check bench/sweeps/emulated.toml"""
    import anyio

    from harness.checks import check_and_keep, cost_before
    from harness.compose import Setting
    from harness.report.check import cost_words, looks_as_json, print_looks

    spec = _load(sweep)
    setting = Setting(source=sweep, store=store or sweep.parent / f"{spec.name}.duckdb", environ=os.environ, console=_console(), say=_say)
    for line in cost_before(spec, probing=probes):
        _say(line)
    end = anyio.run(
        lambda: check_and_keep(spec, setting, probing=probes, keeping=store is not None),
        backend_options={"use_uvloop": sys.platform != "win32"},
    )
    if as_json:
        for look in looks_as_json(end.looks, end.findings):
            print(json.dumps(look))
    else:
        print_looks(end.looks, end.findings, _console(to_stdout=True))
    _say(f"this check took {cost_words(end.spent)}")
    raise typer.Exit(0 if all(look.reached for look in end.looks) else FAILED)


@app.command()
def emulate(
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="As in a sweep's emulator = { ... }; quotas.requests=300")
    ] = None,
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0: any that is free.", min=0, max=65535)] = 8080,
    sweep: Annotated[Path | None, typer.Option(help="The bots know this sweep's instances too, beside our own sets.")] = None,
    key_env: Annotated[str | None, typer.Option(help="The variable that holds the key clients must present; default: none.")] = None,
    as_json: AsJson = False,
) -> None:
    """A provider of our own on this machine: quotas, latency, faults and planted defects; bots or a real server behind it. Its base_url
    is printed once it serves; what it has seen is at /emulator/statistics.

    Example: lightbulb emulate --port 8080 skill=0.8 quotas.requests=300 latency.first_s=0.05 faults.rate=0.2 defects.seed_ignored=true"""
    import anyio

    from harness.compose import known_instances
    from harness.core.errors import SpecError
    from harness.emulate import emulate as serve
    from harness.spec.load import parse_emulation

    emulation = parse_emulation(settings or [])
    key = os.environ.get(key_env) if key_env else None
    if key_env and not key:
        raise SpecError(f"the environment variable {key_env} is not set; export it, or leave --key-env out")
    find_instance = known_instances(_load(sweep) if sweep else None, sweep)

    def on_ready(url: str) -> None:
        print(json.dumps({"base_url": url}) if as_json else url, flush=True)

    anyio.run(
        lambda: serve(emulation, port=port, key=key, find_instance=find_instance, on_ready=on_ready, say=_say),
        backend_options={"use_uvloop": sys.platform != "win32"},
    )


@engines_app.command("install")
def engine_install(kind: Annotated[str, typer.Argument(help="vllm, transformers or llamacpp")]) -> None:
    """Make the environment of a local engine, unless it is there already.

    Example: lightbulb engine install vllm"""
    from backends.engine_kinds import engine_kind
    from backends.engines import install, this_machine

    engine = install(engine_kind(kind, this_machine()), _say)
    print(engine.python)


@engines_app.command("list")
def engine_list() -> None:
    """The environments that are installed.

    Example: lightbulb engine list"""
    from backends.engines import installed
    from harness.report.text import table

    rows = [(one.kind, one.version, one.python_version, one.folder) for one in installed()]
    _console(to_stdout=True).print(table(("engine", "version", "python", "folder"), rows, left=4))


# --- what several commands share ----------------------------------------------------------------------------------------------


def _console(*, to_stdout: bool = False) -> Console:
    from rich.console import Console

    shown = sys.stdout if to_stdout else sys.stderr
    return Console(stderr=not to_stdout, width=None if shown.isatty() else 500)  # a pipe folds nothing


def _say(line: str) -> None:
    from harness.report.text import harmless

    print(harmless(line), file=sys.stderr, flush=True)  # some of it may be a provider's words


def _numbers(text: str, option: str, *, whole: bool) -> list[float]:
    """A list such as 1,4,16."""
    from harness.core.errors import SpecError

    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise SpecError(f"{option} {text!r}: write numbers with commas between, as 1,4,16") from error
    if any(not 0 < value <= 100_000 or (whole and value != int(value)) for value in values):
        raise SpecError(f"{option} {text!r}: each {'a whole number ' if whole else ''}above 0 and at most 100,000")
    return values


def _write(path: Path, text: str) -> None:
    from harness.core.errors import SpecError

    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be written ({error.strerror}); name a file in a folder that exists") from error


def _load(sweep: Path) -> SweepSpec:
    from games import GAMES
    from harness.access import resolved
    from harness.spec.load import load_sweep

    return resolved(load_sweep(sweep, known_games=list(GAMES)), source=sweep)


def _play(
    spec: SweepSpec, sweep: Path, store: Path, *, retry_failed: bool, console: Console, emit: Emit | None = None
) -> int:
    import anyio

    from harness.compose import Setting, run_sweep

    def say(line: str) -> None:
        _say(line)
        if emit is not None:
            emit({"event": "said", "text": line})

    setting = Setting(source=sweep, store=store, environ=os.environ, console=console, say=say, emit=emit)
    resume = shlex.join(["lightbulb", "run", str(sweep), "--store", str(store)])
    try:
        end = anyio.run(
            lambda: run_sweep(spec, setting, retry_failed=retry_failed),
            backend_options={"use_uvloop": sys.platform != "win32"},
        )
    except KeyboardInterrupt:  # in the moment before the run listens, or after: all that came home is stored
        _say(f"interrupted; go on with: {resume}")
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is to say how it went
    code = _report_end(end, store, resume=resume, retrying=retry_failed)
    if emit is not None:
        emit({"event": "end", "finished": end.finished, "failed": end.failed, "pending": end.pending, "exit_code": code})
    return code


def _report_end(end: RunEnd, store: Path, *, resume: str, retrying: bool) -> int:
    _say(f"{end.finished} episodes finished, {end.failed} failed, {end.pending} pending; the store is {store}")
    for method, why in end.closings.items():
        _say(f"{method}: stopped early: {why}")
    for why, count in end.failures:
        _say(f"{count} failed: {why}")
    if end.failed:
        _say(f"failed episodes are played again by: {resume} --retry-failed")
    go_on = f"{resume} --retry-failed" if retrying else resume
    if end.interrupted:
        _say(f"interrupted; go on with: {go_on}")
        return INTERRUPTED
    if end.budget and not end.failed:
        _say(f"stopped by its budget; raise it, and go on with: {go_on}")
        return BUDGET
    if end.pending:
        _say(f"go on with: {go_on}")
    return FAILED if end.failed or end.pending else 0


def _print_scores(store: Path, console: Console, *, as_json: bool = False) -> None:
    from harness.analysis import store_scores
    from harness.audit.findings import as_json as plain
    from harness.report.findings import print_scores

    found = store_scores(store)
    if as_json:
        print(json.dumps(plain(found)))
    else:
        print_scores(found, console)


def _print_times(store: Path, console: Console, *, as_json: bool) -> None:
    from harness.analysis import store_times
    from harness.audit.findings import as_json as plain
    from harness.report.times import print_times

    found = store_times(store)
    if as_json:
        print(json.dumps(plain(found)))
    else:
        print_times(found, console)


def _print_outlook(sweep: Path, earlier: Path | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from games import GAMES
    from games.lengths import length_by_bots
    from harness.audit.findings import as_json as plain
    from harness.compose import game_sets
    from harness.outlook import outlook
    from harness.report.outlook import print_outlook
    from harness.store.reader import GameLength

    spec = _load(sweep)
    sets = game_sets(spec, sweep)
    played = {
        name: GameLength(**asdict(length_by_bots(GAMES[name], chosen.instances, chosen.rules))) for name, chosen in sets.items()
    }
    found = outlook(spec, items={name: len(chosen.instances) for name, chosen in sets.items()}, lengths=played, earlier=earlier)
    if as_json:
        print(json.dumps(plain(found)))
    else:
        print_outlook(found, _console(to_stdout=True))


def _print_audit(
    store: Path, reference: str | None, margin: float | None, console: Console, *, as_json: bool = False, html: Path | None = None
) -> bool:
    """Whether some method differs."""
    from harness.analysis import store_audit
    from harness.audit.findings import as_json as plain
    from harness.core.clock import RealClock
    from harness.report.findings import print_audit

    found = store_audit(store, reference=reference, margin=margin)
    if html is not None:
        from harness.report.audit_page import audit_page

        _write(html, audit_page(found, store=store.name, made_at=RealClock().wall()))
        _say(f"{html}: {html.stat().st_size / 1e6:.1f} MB")
    if as_json:
        print(json.dumps(plain(found)))
    else:
        print_audit(found, console)
    return any(part.differs for part in found)


if __name__ == "__main__":
    main()

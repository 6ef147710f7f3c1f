"""The commands scores, audit, report, drift and characteristics: what a store says of models and access
methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.arguments import (
    AsJson,
    FailOnDifference,
    LeaveOut,
    Margin,
    Reference,
    StoreFile,
    VerdictsThatCount,
    load,
    note_unmerged,
)
from harness.commands.terminal import DIFFERENT, notify, print_result, write_page
from harness.core.errors import SpecError

PARTS = ("scores", "replies", "weights")  # that have verdicts
TRANSCRIPT_BYTES = 6_000_000  # of the transcripts on a page: it opens at once, and fits into a mail

EarlierStore = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="STORE",
        help="With --plan: take the spread of scores and the cost from the episodes in this store.",
        callback=note_unmerged,
    ),
]


def scores(
    store: StoreFile,
    why: Annotated[
        bool, typer.Option("--why", help="Print instead what took the time of each access method.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print clemscore, % played and quality with 95 % intervals, for each model and access method.

    With --why: which share of each access method's time was latency of the provider, waiting for a quota,
    pauses after errors, lightbulb's own CPU time, and concurrency that was not used because no turn was
    ready.

    Example: lightbulb scores demo.duckdb"""
    from harness.analysis.store_audit import store_scores
    from harness.analysis.time_shares import store_times
    from harness.report.audit_tables import print_scores
    from harness.report.times import print_times

    if why:
        print_result(store_times(store), print_times, as_json=as_json)
    else:
        print_result(store_scores(store), print_scores, as_json=as_json)


def audit(
    store: Annotated[
        Path | None,
        typer.Argument(metavar="STORE", help="The DuckDB file that a run wrote.", callback=note_unmerged),
    ] = None,
    reference: Reference = None,
    margin: Margin = None,
    leave_out: LeaveOut = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the verdicts and their figures to this HTML file."),
    ] = None,
    fail_on_difference: FailOnDifference = False,
    on: VerdictsThatCount = None,
    as_json: AsJson = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="SWEEP.toml",
            help="Print what an audit of this sweep can prove; no STORE is needed.",
        ),
    ] = None,
    earlier: EarlierStore = None,
) -> None:
    """Is it the same model? Print two verdicts for each access method: are its scores, and are its replies,
    like those of the reference? After `lightbulb rescore` there is a third verdict, on its weights.

    With --plan: print what a sweep that is not played yet can prove, how many repeats its margins need, and
    what these repeats cost.

    Example: lightbulb audit demo.duckdb --html audit.html --fail-on-difference"""
    if on and (not fail_on_difference or not set(on) <= set(PARTS)):
        raise SpecError(f"--on {' '.join(on)}: say {', '.join(PARTS)}, together with --fail-on-difference")
    if plan is not None:
        if store is not None or html is not None or leave_out or (reference, margin) != (None, None):
            raise SpecError(
                "--plan takes a sweep file and no store: reference and margin are those of its [audit];"
                " give earlier episodes with --from STORE"
            )
        _plan_audit(plan, earlier, as_json=as_json)
        return
    if store is None or earlier is not None:
        raise SpecError(
            "name a store, for example: lightbulb audit demo.duckdb; or a sweep that is not played yet, for example:"
            " lightbulb audit --plan demo.toml"
        )
    from harness.analysis.store_audit import store_audit
    from harness.report.audit_tables import print_audit

    models = store_audit(store, reference=reference, margin=margin, left_out=leave_out or ())
    if html is not None:
        write_store_page(
            html, store, reference=reference, margin=margin, left_out=leave_out or (), transcript_bytes=0
        )
    print_result(models, print_audit, as_json=as_json)
    for part in (part for part in on or () if not any(model.verdicts_on(part) for model in models)):
        notify(f"--on {part}: there is no verdict on {part} in {store}, so it cannot fail")
    different = fail_on_difference and any(model.differs_on(on or PARTS[:2]) for model in models)
    raise typer.Exit(DIFFERENT if different else 0)


def report(
    store: StoreFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path(
        "report.html"
    ),
    reference: Reference = None,
    margin: Margin = None,
    leave_out: LeaveOut = None,
    transcripts: Annotated[
        float, typer.Option(help="The page has at most this many megabytes of transcripts.", min=0, max=100)
    ] = TRANSCRIPT_BYTES / 1e6,
) -> None:
    """Write one HTML file that opens without a network: verdicts, scores, cost, latency, causes of
    differences, and transcripts side by side.

    Example: lightbulb report demo.duckdb -o demo.html"""
    write_store_page(
        output,
        store,
        reference=reference,
        margin=margin,
        left_out=leave_out or (),
        transcript_bytes=int(transcripts * 1e6),
    )


def write_store_page(
    output: Path,
    store: Path,
    *,
    reference: str | None = None,
    margin: float | None = None,
    left_out: Sequence[str] = (),
    transcript_bytes: int = TRANSCRIPT_BYTES,
) -> None:
    """Writes the page of a store as one file.

    reference, margin, left_out   as in store_audit
    transcript_bytes              of the transcripts on the page, at most"""
    from harness.analysis.report_data import store_story
    from harness.core.clock import RealClock
    from harness.view.pages import store_page

    story = store_story(
        store,
        reference=reference,
        margin=margin,
        left_out=left_out,
        transcript_bytes=transcript_bytes,
        made_at=RealClock().wall(),
    )
    write_page(output, store_page(story, store))
    size = output.stat().st_size / 1e6
    notify(f"{output}: {size:.1f} MB, with {len(story.shown)} of {story.episodes} transcripts")


def drift(
    stores: Annotated[
        list[Path],
        typer.Argument(
            metavar="STORE...",
            help="The stores of one sweep that was played on several days, one store for each day.",
            callback=note_unmerged,
        ),
    ],
    days_mean: Annotated[
        float, typer.Option(help="Mean number of days between two false alarms.", min=2, max=100_000)
    ] = 365.0,
    fail_on_difference: Annotated[
        bool, typer.Option("--fail-on-difference", help="Exit with 5 if a change is reported.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Has a method changed? Compare the first replies of each day with those of all earlier days, and the
    scores with those of the first day.

    Example: lightbulb drift monday.duckdb tuesday.duckdb wednesday.duckdb"""
    from harness.analysis.store_drift import store_drift
    from harness.report.drift import print_drift

    found = store_drift(stores, days_mean=days_mean)
    print_result(found, print_drift, as_json=as_json)
    if fail_on_difference and any(one.replies.changed for one in found):
        raise typer.Exit(DIFFERENT)


def characteristics(
    scores: Annotated[
        Path,
        typer.Argument(
            metavar="SCORES",
            help="A store, or a CSV file: model, method (or backend), clemscore.",
            callback=note_unmerged,
        ),
    ],
    facts: Annotated[
        Path,
        typer.Argument(
            metavar="FACTS.csv",
            help="A CSV file: model, parameters_billions, training_tokens_trillions, parameters_guessed, family.",
        ),
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Take each model's scores from this access method, if the model has it; default: the mean of"
            " the model's methods that are not quantised.",
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Also draw scores against size into this .svg, .png or .html file.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write sentences, figure and tables to this HTML file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit scores to size, training and quantisation: shares of variance with intervals, brackets, each
    model's access methods.

    Example: lightbulb characteristics scores.csv models.csv --reference huggingface-local"""
    from harness.analysis.csv_tables import read_tables
    from harness.audit.characteristics import characterise
    from harness.report.characteristics import print_characteristics

    if figure is not None and figure.suffix not in (".svg", ".png", ".html"):
        raise SpecError(f"--figure {figure}: name a file that ends in .svg, .png or .html")

    found = characterise(*read_tables(scores, facts), reference=reference)
    if figure is not None:
        from harness.report.characteristics_chart import draw_characteristics

        draw_characteristics(found, figure)
    if html is not None:
        from harness.core.clock import RealClock
        from harness.report.characteristics_page import characteristics_page

        page = characteristics_page(found, scores=scores.name, facts=facts.name, made_at=RealClock().wall())
        write_page(html, page)
    print_result(found, print_characteristics, as_json=as_json)


def _plan_audit(sweep: Path, earlier: Path | None, *, as_json: bool) -> None:
    """Prints what the audit of a sweep that is not played yet can prove."""
    from harness.planning.power import analyse_power
    from harness.report.power import print_power

    print_result(analyse_power(load(sweep), source=sweep, earlier=earlier), print_power, as_json=as_json)

"""Size and training against score, for a terminal: a sentence for each fit, then the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from harness.audit.characteristics import Characteristics
from harness.audit.regression import Regression
from harness.report.table import table
from harness.report.text import escape_control


class Section(NamedTuple):
    """A table with its heading. left: the first so many columns are text."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[Sequence[object], ...]
    left: int


def sections(findings: Characteristics) -> Iterator[Section]:
    """Yields three tables: fits, brackets of size, access methods of one model if there are any."""
    fits: tuple[str, ...] = (
        *("fit over", "term", "slope [95 %]", "HC3 error"),
        *("error by family", "R² [95 %]", "one model left out"),
        *("Q² by model", "Q² by family", "influential (Cook)"),
    )
    yield Section("Fits", fits, tuple(row for fit in findings.fits for row in _fit_rows(fit)), left=2)
    brackets = ("billions of parameters", "models", "scores", "sd")
    yield Section("Classes of size", brackets, tuple(_bracket_rows(findings)), left=1)
    if findings.methods:
        methods = (
            *("model", "method", "against", "clemscore"),
            *("clemscore, shared games only", "points earned (error)"),
        )
        heading = "Access methods of one model: difference from the reference, averages of one run, items not paired"
        yield Section(heading, methods, tuple(_method_rows(findings)), left=3)


def print_characteristics(findings: Characteristics, console: Console) -> None:
    """Prints the sentences and the tables."""
    for sentence in sentences(findings):
        console.print(Text(escape_control(sentence)), soft_wrap=True)
    for section in sections(findings):
        console.print(f"\n{section.heading}:" if section.left == 3 else "")
        console.print(table(section.columns, section.rows, left=section.left))


def sentences(findings: Characteristics) -> Iterator[str]:
    """Yields the findings in words for a reader who does not know regression."""
    for fit in findings.fits:
        terms = " and ".join(slope.term for slope in fit.slopes)
        yield (
            f"Over {fit.models} {fit.over}, {terms} explain{'s' if len(fit.slopes) == 1 else ''} "
            f"{_percent(fit.r2)} % of the variance of scores "
            f"[95 %: {_percent(fit.r2_low)} to {_percent(fit.r2_high)} %]; {_prediction(fit)}."
        )
    yield f"{_percent(findings.within)} % of the variance is between models of the same size class."
    for model, name in findings.respelled:
        yield f"{model} was joined with {name} in the table of facts: only upper and lower case differ."
    if any(method.quantisation for method in findings.methods):
        yield (
            "Averages cannot show that quantisation changes nothing. To test this, play both methods and run "
            "`lightbulb audit`."
        )
    for models, why in (
        (findings.without_facts, "not in the table of facts"),
        (findings.without_size, "of unknown size"),
    ):
        if models:
            yield f"Left out, {why}: {', '.join(models)}."


def _prediction(fit: Regression) -> str:
    """Returns how well the fit predicts single models, and whole families, that it has not seen."""
    text = f"for a model that is left out of the fit, Q² = {fit.q2:.2f}"
    if fit.q2_family is None:
        return text
    return f"{text}; for a family that is left out, Q² = {fit.q2_family:.2f} ({fit.families} families)"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _fit_rows(fit: Regression) -> Iterator[Sequence[object]]:
    low, high = fit.r2_without
    leaning = ", ".join(f"{one.model} ({one.cook:.2f})" for one in fit.influential[:3]) or "-"
    share = f"{fit.r2:.3f} [{fit.r2_low:.2f}, {fit.r2_high:.2f}]"
    by_family = "-" if fit.q2_family is None else f"{fit.q2_family:.2f}"
    whole: Sequence[str] = (share, f"{low:.2f} to {high:.2f}", f"{fit.q2:.2f}", by_family, leaning)
    for place, slope in enumerate(fit.slopes):
        slope_cells = (
            slope.term,
            f"{slope.value:+.2f} [{slope.low:+.2f}, {slope.high:+.2f}]",
            f"{slope.se:.2f}",
            "-" if slope.se_family is None else f"{slope.se_family:.2f}",
        )
        yield (
            (f"{fit.models} {fit.over}", *slope_cells, *whole)
            if place == 0
            else ("", *slope_cells, *[""] * len(whole))
        )


def _bracket_rows(findings: Characteristics) -> Iterator[Sequence[object]]:
    for bracket in findings.brackets:
        high = bracket.high_billions
        name = (
            f"{bracket.low_billions:g} or more"
            if high == float("inf")
            else f"{bracket.low_billions:g} to below {high:g}"
        )
        sd = None if bracket.sd is None else f"{bracket.sd:.1f}"
        yield name, bracket.models, f"{bracket.score_min:.1f} to {bracket.score_max:.1f}", sd


def _method_rows(findings: Characteristics) -> Iterator[Sequence[object]]:
    for method in findings.methods:
        error = "" if method.se is None else f" ({method.se:.1f})"
        yield (
            method.model,
            method.method,
            method.reference,
            f"{method.clemscore:+.1f}",
            None if method.supported is None else f"{method.supported:+.1f}",
            None if method.points is None else f"{method.points:+.1f}{error}",
        )

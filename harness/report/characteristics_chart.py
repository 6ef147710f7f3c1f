"""Scores against model size as a figure: models, their quantised variants, classes of size.

altair draws it; .svg and .png are pictures, .html is one page that needs no network."""

from __future__ import annotations

from math import isfinite, log10
from pathlib import Path

import altair as alt

from harness.audit.characteristics import SIZE, Characteristics, Point
from harness.audit.regression import Regression
from harness.report.figures import Figure

KINDS = ("stated size", "guessed size", "quantised variant")


def draw_characteristics(findings: Characteristics, path: Path) -> None:
    """Writes the figure in the format that the path's ending names."""
    chart = characteristics_chart(findings)
    if path.suffix == ".html":
        chart.save(str(path), inline=True)
    else:
        chart.save(str(path))


def characteristics_chart(findings: Characteristics) -> Figure:
    """Returns the figure."""
    points = [*findings.points, *findings.variants]
    sizes = [point.parameters_billions for point in points]
    x = alt.X(
        "billions:Q",
        title="parameters (billions)",
        scale=alt.Scale(type="log", domain=[min(sizes) / 1.3, max(sizes) * 1.3]),
    )
    marks = (
        alt.Chart(alt.InlineData(values=[_row(point) for point in points]))
        .mark_point(filled=True, size=60, opacity=0.85)
        .encode(
            x=x,
            y=alt.Y("score:Q", title="clemscore", scale=alt.Scale(domain=[0, 100])),
            shape=alt.Shape("kind:N", title=None, sort=list(KINDS), scale=alt.Scale(domain=list(KINDS))),
            color=alt.Color("kind:N", title=None, sort=list(KINDS), scale=alt.Scale(domain=list(KINDS))),
            tooltip=["model:N", "billions:Q", "score:Q", "family:N", "quantisation:N"],
        )
    )
    edges = [one.high_billions for one in findings.brackets if isfinite(one.high_billions)]
    rules = (
        alt.Chart(alt.InlineData(values=[{"billions": edge} for edge in edges]))
        .mark_rule(strokeDash=[3, 3], color="#999")
        .encode(x=x)
    )
    fit = next(
        one
        for one in findings.fits
        if one.models == len(findings.points) and [slope.term for slope in one.slopes] == [SIZE]
    )
    line = (
        alt.Chart(alt.InlineData(values=_line(fit, min(sizes), max(sizes))))
        .mark_line(color="#444")
        .encode(x=x, y="score:Q")
    )
    return alt.layer(rules, line, marks).properties(width=560, height=380, title=_title(fit))


def _row(point: Point) -> dict[str, object]:
    kind = KINDS[2] if point.quantisation is not None else KINDS[1] if point.guessed else KINDS[0]
    return {
        "model": point.model,
        "billions": point.parameters_billions,
        "score": round(point.score, 2),
        "kind": kind,
        "family": point.family or "",
        "quantisation": point.quantisation or "",
    }


def _line(fit: Regression, low: float, high: float) -> list[dict[str, float]]:
    (slope,) = fit.slopes
    steps = [low * (high / low) ** (step / 40) for step in range(41)]
    return [
        {"billions": size, "score": min(100.0, max(0.0, fit.intercept + slope.value * (9 + log10(size))))}
        for size in steps
    ]


def _title(fit: Regression) -> str:
    return f"{fit.models} {fit.over}: R\u00b2 {fit.r2:.2f} [{fit.r2_low:.2f}, {fit.r2_high:.2f}]"

"""A plan's timeline as a figure: a row for each access method, from its first call to its last, darker where
it calls more.

altair draws it; .svg and .png are pictures, .html is one page that needs no network."""

from __future__ import annotations

from pathlib import Path

import altair as alt

from harness.planning.results import SweepPlan, pace_text

FORMATS = ("svg", "png", "html")


def draw_timeline(plan: SweepPlan, path: Path) -> None:
    """Writes the figure in the format that the path's ending names."""
    rows = []
    for method in plan.methods:
        top = max(method.rate, default=0.0) or 1.0
        step_min = method.wall.value / max(1, len(method.rate)) / 60.0
        rows += [
            {
                "method": method.method,
                "from": place * step_min,
                "to": (place + 1) * step_min,
                "share": calls / top,
                "calls": round(calls, 1),
                "pace": pace_text(method),
            }
            for place, calls in enumerate(method.rate)
        ]
    chart = (
        alt.Chart(alt.InlineData(values=rows), title=f"{plan.name}, planned")
        .mark_bar(height={"band": 0.8})
        .encode(
            x=alt.X("from:Q", title="minutes"),
            x2="to:Q",
            y=alt.Y("method:N", sort=[method.method for method in plan.methods], title=None),
            color=alt.Color(
                "share:Q", title="share of its peak rate", scale=alt.Scale(scheme="blues", domain=[0, 1])
            ),
            tooltip=[
                "method:N",
                alt.Tooltip("calls:Q", title="calls a minute"),
                alt.Tooltip("pace:N", title="set by"),
            ],
        )
        .properties(width=720)
    )
    chart.save(str(path), **({"inline": True} if path.suffix == ".html" else {}))

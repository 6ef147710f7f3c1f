"""Findings as figures: each function takes findings and returns a chart; `as_svg` draws it without network or
browser.

Keeps: a chart holds exactly the findings' numbers; text of a model or a provider is only ever a label. Does
not promise: more than 40 methods or items in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

from harness.audit.replies.reply_audit import CrossMatch
from harness.audit.scores.findings import Audit, Comparison, GameFinding
from harness.audit.scores.pairs import PairFinding
from harness.audit.scores.variance import VarianceParts
from harness.core.vocabulary import game_of_item
from harness.report.text import escape_control

ROWS_MAX = 40  # rows of 26 pixels: one screen
PLAYED_MIN = 5  # played episodes that a mean of their quality needs; the rule of common support
GOOD, BAD, OPEN, INK, BAND = "#19733c", "#b3261e", "#8a5a00", "#1b1d21", "#cfe6d6"
COLOURS = {
    "EQUIVALENT": GOOD,
    "DIFFERENT": BAD,
    "INCONCLUSIVE": OPEN,
    "the reference, played again": "#5d636e",
}
WIDTH = 520
# A reader's font may be wider than the one the figure was drawn with.
PADDING = {"left": 36, "right": 40, "top": 5, "bottom": 5}
Rows = list[dict[str, Any]]
Figure = alt.Chart | alt.LayerChart | alt.FacetChart


def as_svg(chart: Figure) -> str:
    """Returns the chart as an SVG document."""
    spec = {**chart.to_dict(), "padding": PADDING}
    return str(
        vl_convert.vegalite_to_svg(spec, vl_version=".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2]))
    )


def _chart(rows: Rows) -> alt.Chart:
    return alt.Chart({"values": rows})


def forest(audit: Audit) -> Figure:
    """Draws every method's difference with its 95 % (thin) and 90 % (thick) intervals, and the margin as a
    band.

    The first row is the reference's A/A replicate."""
    rows: Rows = []
    if audit.again is not None:
        rows.append(_forest_row(audit.again, "the reference, played again"))
    rows += [_forest_row(one, one.verdict) for one in audit.comparisons[:ROWS_MAX]]
    y = alt.Y("method:N", sort=[row["method"] for row in rows], title=None, axis=alt.Axis(labelLimit=260))
    colour = alt.Color(
        "verdict:N",
        title=None,
        scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
        legend=alt.Legend(orient="bottom"),
    )
    base = _chart(rows)
    band = (
        _chart([{"low": -audit.margin, "high": audit.margin}])
        .mark_rect(color=BAND)
        .encode(x=alt.X("low:Q", title="score minus the reference's score, in points"), x2="high:Q")
    )
    zero = _chart([{"zero": 0}]).mark_rule(color=INK, strokeDash=[3, 3]).encode(x="zero:Q")
    thin = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=y, color=colour)
    thick = base.mark_rule(strokeWidth=6, opacity=0.55).encode(x="low90:Q", x2="high90:Q", y=y, color=colour)
    point = base.mark_point(filled=True, size=70, opacity=1).encode(x="difference:Q", y=y, color=colour)
    return alt.layer(band, zero, thin, thick, point).properties(width=WIDTH, height=alt.Step(26))


def _forest_row(one: Comparison, verdict: str) -> dict[str, Any]:
    points = one.points
    return {
        "method": escape_control(one.method),
        "verdict": verdict,
        "difference": points.difference,
        "low": points.low,
        "high": points.high,
        "low90": max(points.low, points.equivalence_low),
        "high90": min(points.high, points.equivalence_high),
    }


def heat_map(audit: Audit) -> Figure:
    """Draws every method's difference in every game; dot: significant; cross: fewer than five episodes
    played."""
    rows: Rows = [
        {
            "row": escape_control(one.method),
            "game": game.game,
            "difference": round(game.difference, 2),
            "mark": _mark(game, one.repeats, audit.alpha),
        }
        for one in audit.comparisons[:ROWS_MAX]
        for game in one.games
    ]
    return _heat(rows, [escape_control(one.method) for one in audit.comparisons[:ROWS_MAX]])


def _mark(game: GameFinding, repeats: int, alpha: float) -> str:
    played = min(game.played_reference, game.played_method) / 100 * game.items * repeats
    if played < PLAYED_MIN:
        return "✕"
    return "●" if game.p_points <= alpha else ""


def pair_map(pairs: Sequence[PairFinding]) -> Figure:
    """Draws every pair of methods in every game, exploratory; dot: found at a false discovery rate of .1."""
    names = list(
        dict.fromkeys(f"{escape_control(one.second)} − {escape_control(one.first)}" for one in pairs)
    )[:ROWS_MAX]
    rows: Rows = [
        {
            "row": f"{escape_control(one.second)} − {escape_control(one.first)}",
            "game": one.game,
            "difference": round(one.difference, 2),
            "mark": "●" if one.found else "",
        }
        for one in pairs
    ]
    return _heat([row for row in rows if row["row"] in names], names)


def _heat(rows: Rows, order: list[str]) -> Figure:
    furthest = max([abs(row["difference"]) for row in rows] + [1.0])
    base = _chart(rows).encode(
        x=alt.X("game:N", title=None, axis=alt.Axis(labelAngle=-35, labelLimit=200)),
        y=alt.Y("row:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)),
    )
    colour = alt.Color(
        "difference:Q",
        title="points",
        scale=alt.Scale(scheme="redblue", domain=[-furthest, furthest], domainMid=0),
    )
    cells = base.mark_rect(stroke="#dcdfe4").encode(color=colour)
    marks = base.mark_text(fontSize=13, color=INK).encode(text="mark:N")
    return alt.layer(cells, marks).properties(width=alt.Step(58), height=alt.Step(26))


def dumbbell(one: Comparison, reference: str) -> Figure:
    """Draws the items with the largest differences: both mean scores; ring: aborted in most repeats."""
    ends: Rows = []
    spans: Rows = []
    order = []
    for item in one.furthest[:ROWS_MAX]:
        label = _short(escape_control(item.label))
        order.append(label)
        spans.append({"item": label, "from": item.reference, "to": item.method})
        for method, value, played in (
            (reference, item.reference, item.played_reference),
            (one.method, item.method, item.played_method),
        ):
            ends.append(
                {
                    "item": label,
                    "points": value,
                    "through": escape_control(method),
                    "ended": "aborted" if played < 0.5 else "played",
                }
            )
    y = alt.Y("item:N", sort=order, title=None, axis=alt.Axis(labelLimit=260))
    legend = alt.Legend(orient="bottom", labelLimit=260)
    rule = (
        _chart(spans)
        .mark_rule(color="#9aa1ac", strokeWidth=2)
        .encode(x=alt.X("from:Q", title="points", scale=alt.Scale(domain=[0, 100])), x2="to:Q", y=y)
    )
    dots = (
        _chart(ends)
        .mark_point(size=60, strokeWidth=2)
        .encode(
            x="points:Q",
            y=y,
            stroke=alt.Stroke("through:N", title=None, legend=legend),
            fill=alt.Fill("through:N", title=None, legend=legend),
            fillOpacity=alt.condition("datum.ended == 'played'", alt.value(1), alt.value(0)),
        )
    )
    return alt.layer(rule, dots).properties(width=WIDTH, height=alt.Step(16))


def _short(item: str) -> str:
    """Returns an item's game, experiment and number, without rules, set and hash."""
    game = game_of_item(item)
    parts = item.removeprefix(game).split(":")
    return f"{game} {':'.join(parts[3:-1])}" if len(parts) >= 6 else item


def survival(match: CrossMatch) -> Figure:
    """Draws the share of pairs of replies that are still equal, within a method and across; equal curves: no
    difference."""
    assert match.divergence is not None
    rows: Rows = [
        {"bytes": point.position, "share": value, "pair": name}
        for point in match.divergence.curve
        for name, value in (
            ("two replies of one method", point.within),
            ("one reply of each method", point.across),
        )
    ]
    figure: alt.Chart = (
        _chart(rows)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("bytes:Q", title="bytes from the start of the reply"),
            y=alt.Y(
                "share:Q",
                title="share of pairs that are still equal",
                scale=alt.Scale(domain=[0, 1]),
            ),
            color=alt.Color(
                "pair:N",
                title=None,
                scale=alt.Scale(
                    domain=["two replies of one method", "one reply of each method"],
                    range=["#5d636e", "#2559b8"],
                ),
                legend=alt.Legend(orient="bottom"),
            ),
        )
        .properties(width=WIDTH, height=200)
    )
    return figure


def variance_shares(parts: VarianceParts) -> Figure:
    """Draws the variance components of one episode's score."""
    whole = parts.method + parts.item + parts.interaction + parts.chance
    named = (
        ("access method", parts.method),
        ("item", parts.item),
        ("item and method together", parts.interaction),
        ("chance between repeats", parts.chance),
    )
    rows: Rows = [
        {"part": name, "share": value / whole if whole > 0 else 0.0, "order": place}
        for place, (name, value) in enumerate(named)
    ]
    figure: alt.Chart = (
        _chart(rows)
        .mark_bar(stroke="white")
        .encode(
            x=alt.X(
                "share:Q",
                title="share of the variance of points",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1]),
            ),
            color=alt.Color(
                "part:N",
                title=None,
                sort=[name for name, _ in named],
                legend=alt.Legend(orient="bottom", labelLimit=240, columns=2),
            ),
            order="order:O",
        )
        .properties(width=WIDTH, height=40)
    )
    return figure

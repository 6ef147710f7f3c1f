"""A store as one HTML page. It works offline, loads nothing, and runs one script.

Keeps: text of models and providers is hostile, so templates escape it, the script shows it as text only, and
the page's content policy allows only the hashes of its own style and script. Transcripts are data in the
page; the script makes elements of the one that is shown."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from math import log10

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.analysis.report_data import Story
from harness.analysis.store_audit import ModelAudit
from harness.audit.characteristics import Point
from harness.audit.regression import Regression
from harness.report import figures
from harness.report.completeness import plays_lines
from harness.report.drawing import Axis, decades, heat_class, histogram
from harness.report.text import escape_control
from harness.store.report_queries import BINS_A_DECADE, QUANTILES, MethodTally, ShownEpisode

METHODS_DRAWN = 6  # of a model: a figure has some 20 KB, and the tables name all methods
CLUSTERS_MAX = 60  # rows of the table of causes, two screens; the other causes are counted
_DAY = "%Y-%m-%d %H:%M UTC"


def page(story: Story) -> str:
    """Returns the page as HTML."""
    return render(
        "page.html.j2",
        script=_asset("page.js"),
        story=story,
        more_figures={part.model: _more_figures(part) for part in story.audits},
        forests={part.model: _forest_axis(part) for part in story.audits},
        latency=_latency_axis(story.tallies),
        scatter=_scatter(*story.sizes) if story.sizes else None,
        embedded={one.episode_id for one in story.shown},
        transcripts=as_data(transcripts(story.shown)),
        quantiles=QUANTILES,
        bins_a_decade=BINS_A_DECADE,
        hundred=Axis(0.0, 100.0),
        clusters_max=CLUSTERS_MAX,
    )


def render(template: str, *, script: str = "", **values: object) -> str:
    """Renders a template with the pages' style and this script; the content policy names both by hash."""
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "count": count,
        "seconds": seconds,
        "day": day,
        "plain": escape_control,
        "heat": heat_class,
    }
    environment.globals |= {
        "histogram": histogram,
        "decades": decades,
        "log10": log10,
        "plays_lines": plays_lines,
    }
    style = _asset("page.css")
    return environment.get_template(template).render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        **values,
    )


def _asset(name: str) -> str:
    return resources.files("harness.report").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    """Returns the hash by which a content policy names an inline element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


# --- numbers -------------------------------------------------------------------------


def number(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Formats a duration: 3.2 ms, 0.41 s, 12 min."""
    if value is None:
        return "–"
    if value < 0.1:
        return f"{1000 * value:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime(_DAY)


# --- figures ------------------------------------------------------------------------------------------------


def _forest_axis(part: ModelAudit) -> Axis:
    """Returns an axis that holds every interval and both margins."""
    compared = [*part.scores.comparisons, *([part.scores.again] if part.scores.again else [])]
    ends = [end for one in compared for end in (one.points.low, one.points.high)]
    return Axis.around(ends, also=(-part.scores.margin, part.scores.margin, 0.0))


def _more_figures(part: ModelAudit) -> list[tuple[str, str]]:
    """Returns (caption, data URL) of each figure; as images they can run nothing."""
    scores = part.scores
    drawn = [
        (f"{one.method}: the items with the largest differences", figures.dumbbell(one, scores.reference))
        for one in scores.comparisons[:METHODS_DRAWN]
        if one.furthest
    ]
    drawn += [
        (
            f"{match.method}: share of pairs of replies to one prompt that are equal up to each byte",
            figures.survival(match),
        )
        for match in (part.replies.across[:METHODS_DRAWN] if part.replies else ())
        if match.divergence is not None
    ]
    if scores.spread is not None:
        drawn.append(("Variance components of one episode's score", figures.variance_shares(scores.spread)))
    return [
        (caption, f"data:image/svg+xml;base64,{base64.b64encode(figures.as_svg(figure).encode()).decode()}")
        for caption, figure in drawn
    ]


def _latency_axis(tallies: Sequence[MethodTally]) -> Axis | None:
    """Returns one logarithmic axis for all methods' histograms."""
    edges = [log10(edge) for tally in tallies for edge, _ in tally.histogram]
    return Axis(min(edges), max(edges) + 1 / BINS_A_DECADE) if edges else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Models by size: x over log10(parameters), y over clemscore, both in 0..100 with y downward."""

    dots: tuple[tuple[str, float, float, float, float], ...]
    line: tuple[float, float, float, float]
    ticks_x: tuple[tuple[str, float], ...]
    ticks_y: tuple[tuple[str, float], ...]


def _scatter(models: Sequence[Point], fit: Regression) -> Scatter:
    sizes = [one.parameters_billions * 1e9 for one in models]
    x = Axis.around([log10(size) for size in sizes])
    y = Axis(0.0, 100.0)
    heights = [100 - y.at(fit.intercept + fit.slopes[0].value * end) for end in (x.low, x.high)]
    return Scatter(
        dots=tuple(
            (one.model, x.at(log10(size)), 100 - y.at(one.score), size, one.score)
            for one, size in zip(models, sizes, strict=True)
        ),
        line=(0.0, heights[0], 100.0, heights[1]),
        ticks_x=tuple((_power(one), x.at(one)) for one in decades(x)),
        ticks_y=tuple((str(one), 100.0 - one) for one in (0, 25, 50, 75, 100)),
    )


def _power(exponent: int) -> str:
    """Formats a power of ten: 10^9 is 1B."""
    unit, name = max(
        (power, letter)
        for power, letter in ((0, ""), (3, "k"), (6, "M"), (9, "B"), (12, "T"))
        if power <= max(exponent, 0)
    )
    return f"{10 ** (exponent - unit):g}{name}"


# --- transcripts as data ------------------------------------------------------------------------------------


def transcripts(shown: Sequence[ShownEpisode]) -> dict[str, object]:
    """Returns episodes for the page's script; each text is held once, and messages name its place."""
    places: dict[str, int] = {}

    def place(text: str) -> int:
        return places.setdefault(escape_control(text), len(places))

    episodes = [
        {
            "id": one.episode_id,
            "model": one.model,
            "method": one.method,
            "game": one.game,
            "item": place(one.item),
            "puzzle": escape_control(one.puzzle),
            "repeat": one.repeat,
            "arm": one.arm,
            "ended": one.ended,
            "score": one.score,
            "reason": escape_control(one.reason),
            "turns": [
                [
                    turn.seat,
                    [
                        [message.role, place(message.text)]
                        for message in turn.added
                        if message.role != "assistant"
                    ],
                    place(turn.reply),
                    turn.violation and escape_control(turn.violation),
                ]
                for turn in one.turns
            ],
        }
        for one in shown
    ]
    return {"texts": list(places), "episodes": episodes}


def as_data(value: object) -> Markup:
    """Returns JSON for a script element: no text in it can end the element or open another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(
        text.replace("&", r"\u0026")
        .replace("<", r"\u003c")
        .replace(">", r"\u003e")
        .replace("\u2028", r"\u2028")
    )

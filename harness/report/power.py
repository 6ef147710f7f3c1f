"""The power analysis of a sweep for a terminal: what its audit will be able to say, in words, then the
figures that this rests on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from harness.audit.scores.power import EndpointPower, PowerEstimate
from harness.planning.power import PowerAnalysis, SettlingCost, margins_text, too_small_text
from harness.report.table import table
from harness.report.text import escape_control


def print_power(found: Sequence[PowerAnalysis], console: Console) -> None:
    """Prints sentences, then a line for each game: the spread of scores that the analysis assumes."""
    for place, one in enumerate(found):
        if place:
            console.print()
        for sentence in sentences(one):
            style = "bold yellow" if sentence.startswith("WARNING") else ""
            console.print(Text(escape_control(sentence), style=style), soft_wrap=True)
        if one.stops_early:
            console.print(
                "The sweep may stop early. These are the costs if it does not.",
                soft_wrap=True,
            )
        if one.unpriced and one.planned.cost_usd is not None:
            console.print(
                Text(
                    escape_control(
                        f"The dollars do not include {', '.join(one.unpriced)}, because no price is known."
                    )
                ),
                soft_wrap=True,
            )
        _print_spreads(one, console)
        console.print(Text(f"Calls and tokens are {one.lengths}."), soft_wrap=True)
        if any(game.source == "guessed" for game in one.prospect.games):
            console.print(
                "Where the source is `guessed`, the spreads are those of a capable model. With `--from STORE`, they come "
                "from episodes that were played.",
                soft_wrap=True,
            )
        if one.repeats_assumed:
            console.print(
                "No two repeats were measured: those of a method at temperature 0 are assumed to be equal.",
                soft_wrap=True,
            )


def _print_spreads(one: PowerAnalysis, console: Console) -> None:
    rows = [
        (
            game.game,
            game.items,
            f"{game.spread.chance**0.5:.1f}",
            f"{game.spread.items**0.5:.1f}",
            f"{game.spread.chance_played**0.5:.1f}",
            game.source,
        )
        for game in one.prospect.games
    ]
    columns = (
        *("game", "items", "sd between repeats, points", "sd between items (method minus reference), points"),
        *("sd between repeats, % played", "source"),
    )
    console.print(table(columns, rows))


def sentences(one: PowerAnalysis) -> list[str]:
    """Returns the analysis of one model in words, a warning last where the sweep is too small."""
    items = sum(game.items for game in one.prospect.games)
    twice = f" ({one.reference} is played twice)" if one.again else ""
    repeats = f"{one.planned.repeats} repeat{'s' * (one.planned.repeats > 1)}"
    size = f"{len(one.methods)} access methods{twice}, {items} items, {repeats}"
    lines = [f"{one.model}: {size}: {_cost_text(one.planned)}.", *_detection_text(one.prospect)]
    points, played = one.prospect.endpoints
    lines.append(
        "If two methods are truly equal, four of five audits say EQUIVALENT with these margins or larger ones: "
        f"{_provable(points, 'points of score')} and {_provable(played, 'percentage points of % played')}."
    )
    if one.prospect.enough:
        fewer = ""
        if one.needed is not None and one.needed.repeats < one.planned.repeats:
            count = one.needed.repeats
            enough = f"{count} repeat{'s are' if count > 1 else ' is'} enough"
            fewer = f" {enough}{_repeats_range(one.prospect)}: {_cost_text(one.needed)}."
        return [*lines, f"The sweep is large enough for its margins of {margins_text(one.prospect)}.{fewer}"]
    cost = "" if one.needed is None else f"{_repeats_range(one.prospect)}: {_cost_text(one.needed)}"
    return [*lines, f"WARNING: {too_small_text(one.prospect)}{cost}."]


def _detection_text(power: PowerEstimate) -> list[str]:
    """Returns the differences that the audit finds: one spread over the games, and one in a single game."""
    found, single, pilot = power.endpoints[0].found, power.single, power.pilot
    everywhere = _shift_text(found, None if pilot is None else pilot.found)
    alone = _shift_text(single, None if pilot is None else pilot.single)
    if found is None and single is None:
        return ["No difference, however large, is found by four of five audits: the sweep has too few items."]
    return [
        f"Four of five audits find {everywhere} in every game, or {alone} in one game alone "
        f"(computed for {power.single_game}, whose scores vary by chance as much as in the median game)."
    ]


def _shift_text(shift: float | None, among: tuple[float | None, float | None] | None) -> str:
    if shift is None:
        return "no difference of up to 100 points"
    return f"a difference of {shift:.1f} points{'' if among is None else f' [{_bound(among[0])} to {_bound(among[1])}]'}"


def _bound(shift: float | None) -> str:
    return "above 100" if shift is None else f"{shift:.1f}"


def _repeats_range(power: PowerEstimate) -> str:
    """Returns the range of the repeats over pilots of other items."""
    if power.pilot is None:
        return ""
    low, high = power.pilot.repeats
    if low is None:
        return ""
    return f" [{low} or more]" if high is None else f" [{low} to {high}]"


def _provable(endpoint: EndpointPower, unit: str) -> str:
    provable = max(endpoint.provable, endpoint.floor)
    return f"{provable:.1f} {unit}" if provable < 100 else f"no margin up to 100 {unit}"


def _cost_text(cost: SettlingCost) -> str:
    dollars = "" if cost.cost_usd is None else f", ${cost.cost_usd:,.2f}"
    return f"{cost.episodes:,} episodes, about {cost.calls:,} calls and {_tokens_text(cost.tokens)} tokens{dollars}"


def _tokens_text(tokens: int) -> str:
    return f"{tokens / 1e6:,.1f} million" if tokens >= 1e6 else f"{tokens:,}"

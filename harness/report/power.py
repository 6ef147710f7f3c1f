"""The outlook of a sweep as a terminal shows it: what it will be able to say, in words, then what that rests
on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from harness.planning.power import PowerAnalysis, sentences
from harness.report.table import table
from harness.report.text import escape_control


def print_outlook(found: Sequence[PowerAnalysis], console: Console) -> None:
    """Sentences, then a line a game: the spread that the forecast takes for true."""
    for place, one in enumerate(found):
        if place:
            console.print()
        for sentence in sentences([one]):
            style = "bold yellow" if sentence.startswith("WARNING") else ""
            console.print(Text(escape_control(sentence), style=style), soft_wrap=True)
        if one.stops_early:
            console.print(
                "It may stop early: these are the costs if no look settles anything.", soft_wrap=True
            )
        if one.unpriced and one.planned.cost_usd is not None:
            console.print(
                Text(escape_control(f"Without prices, and not in the dollars: {', '.join(one.unpriced)}.")),
                soft_wrap=True,
            )
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
            "game",
            "items",
            "sd of chance, points",
            "of response, points",
            "of chance, % played",
            "spread",
        )
        console.print(table(columns, rows))
        console.print(Text(f"Calls and tokens are {one.lengths}."), soft_wrap=True)
        if any(game.source == "guessed" for game in one.prospect.games):
            console.print(
                "A guess is a capable model's: `--from STORE` takes the spread from episodes that were played.",
                soft_wrap=True,
            )

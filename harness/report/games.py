"""Games and instances, for a terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from harness.core.plain_data import as_json as as_plain
from harness.core.protocols import Game
from harness.core.vocabulary import Ask, Instance, Outcome
from harness.foreign_games.catalog import ListedGame
from harness.report.table import table
from harness.report.text import escape_control


def print_games(games: Sequence[Game], console: Console, *, as_json: bool) -> None:
    """Prints a line for each game and experiment, and each game's summary."""
    rows = []
    for game in games:
        counts = Counter((one.set_name, one.experiment) for one in game.instances())
        for (set_name, experiment), count in counts.items():
            rows.append(
                (game.name, ", ".join(game.rule_sets), ", ".join(game.seats), set_name, experiment, count)
            )
    names = ("game", "rules", "seats", "set", "experiment", "instances")
    if as_json:
        for row in rows:
            print(json.dumps(dict(zip(names, row, strict=True))))
        return
    console.print(table(names, rows, left=5))
    for game in games:
        console.print(Text(f"{game.name}: {game.summary}"), soft_wrap=True)


def print_listed_games(games: Sequence[ListedGame], console: Console, *, as_json: bool) -> None:
    """Prints a line for each game of another library: its seats, whether it plays, and why not."""
    if as_json:
        for game in games:
            print(json.dumps(as_plain(game)))
        return
    rows = [(game.name, game.seats or "?", "yes" if game.plays else "no", game.reason) for game in games]
    console.print(table(("game", "seats", "plays", "note"), rows, left=4))


def print_instance(
    instance: Instance, asks: Sequence[Ask], replies: Sequence[str], outcome: Outcome, console: Console
) -> None:
    """Prints the asks of one instance as each seat gets them, and the replies of a playthrough."""

    def line(text: str, style: str = "") -> None:
        console.print(Text(escape_control(text), style=style), soft_wrap=True)

    line(f"{instance.game}, {instance.set_name}, {instance.experiment}, instance {instance.id}", "bold")
    shown: dict[str, int] = {}
    for turn, (ask, reply) in enumerate(zip(asks, replies, strict=True)):
        line(
            f"\n── turn {turn}: {ask.seat}, with the reply format {ask.reply_format.regex}",
            "bold",
        )
        for message in ask.messages[min(shown.get(ask.seat, 0), len(ask.messages) - 1) :]:
            line(f"[{message.role}]", "dim")
            line(message.text)
        shown[ask.seat] = len(ask.messages)
        line("[a bot's reply]", "dim")
        line(reply, "green")
    line(
        f"\n{outcome.state}{'' if outcome.score is None else f', score {outcome.score:g}'}: {outcome.reason}",
        "bold",
    )

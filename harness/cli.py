"""The command `lightbulb`: which commands there are, where each one's code is, and how a mistake is told.

A command's module is imported when the command is called, and what it works with when it works: help waits for neither.

Exit codes: 0 done, 1 a mistake of ours (or nobody read an answer to its end), 2 the user's file or arguments, 3 done but some episodes
failed, stay pending or could not be imported, 4 stopped by a budget, 5 a difference was found (only with --fail-on-difference), 130
interrupted and resumable."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from harness.commands.terminal import INTERRUPTED, notify
from harness.core.errors import HarnessError


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """Where in harness.commands a command is, and the line that the list of commands has for it."""

    module: str
    name: str
    summary: str


COMMANDS = {
    "demo": CommandEntry("run", "demo", "The whole job on a small real model: no key, no GPU."),
    "init": CommandEntry("plan", "init", "Write a commented sweep file to start from."),
    "schema": CommandEntry("plan", "schema", "The JSON Schema of a sweep file, for editors."),
    "games": CommandEntry("plan", "games", "The games, their rule sets and instances."),
    "check": CommandEntry("plan", "check", "Reach every access method of a sweep once."),
    "plan": CommandEntry("plan", "plan", "What a sweep will take: hours, calls, tokens, money."),
    "run": CommandEntry("run", "run", "Play a sweep, or go on with it."),
    "bench": CommandEntry("servers", "bench", "Latency and throughput of each access method under load."),
    "scores": CommandEntry("audit", "scores", "Clemscore, share played and quality, with intervals."),
    "audit": CommandEntry("audit", "audit", "Is it the same model? Verdicts with their intervals."),
    "report": CommandEntry("audit", "report", "The whole story in one HTML file."),
    "drift": CommandEntry("audit", "drift", "Has a method changed since? Stores of different days."),
    "characteristics": CommandEntry(
        "audit", "characteristics", "What size, training and quantisation say of scores."
    ),
    "show": CommandEntry("data", "show", "One transcript, as each seat saw it."),
    "sql": CommandEntry("data", "sql", "Ask the store in SQL."),
    "import": CommandEntry("data", "import_results", "Bring published clembench results into a store."),
    "export": CommandEntry("data", "export_store", "Bring a store's rows into files for other programs."),
    "emulate": CommandEntry("servers", "emulate", "A provider of our own on this machine."),
    "engine": CommandEntry("servers", "engines", "Environments for local engines."),
}


class OnDemand(TyperGroup):
    """Commands that are imported when they are called; their list needs none of them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _Commands()})

    def list_commands(self, ctx: object) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: object, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in COMMANDS.items()])


class _Commands(Mapping[str, Any]):
    """Name -> command, made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        return command(COMMANDS[name], name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def command(place: CommandEntry, name: str) -> Any:
    found = getattr(import_module(f"harness.commands.{place.module}"), place.name)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(name)(found)
    return typer.main.get_command(alone)


app = typer.Typer(cls=OnDemand, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def lightbulb() -> None:
    """Plays conversational games with language models and finds out whether the same model, reached another way, is still the same
    model."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: errors with a remedy become one paragraph and exit code 2; ours keep their traceback."""
    os.environ.setdefault(
        "PYDANTIC_DISABLE_PLUGINS", "__all__"
    )  # or it looks for some in every installed package, at each start
    words = sys.argv[1:] if arguments is None else list(arguments)
    code = 0
    try:
        if (
            words and words[0] in COMMANDS
        ):  # at once: the list would first read options of its own, which costs more than typer itself
            command(COMMANDS[words[0]], words[0])(words[1:], prog_name=f"lightbulb {words[0]}")
        else:
            app(words, prog_name="lightbulb")
    except* HarnessError as group:
        notify(f"lightbulb: {_first(group)}")
        code = 2
    except* KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _first(error: BaseException) -> BaseException:
    """Tasks fail in groups, and all for the same reason."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()

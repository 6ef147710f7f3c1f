"""Defines the command `lightbulb`: its list of commands, where the code of each is, and its exit codes.

A command's module is imported when the command is called, and what the command works with when it runs; help
needs neither.

Exit codes: 0 done; 1 an error in lightbulb itself (or the output pipe was closed); 2 the user's file or
arguments are wrong; 3 done, but some episodes failed, are pending or could not be imported, or a method
answered nothing; 4 stopped by a budget; 5 a difference was found (only with --fail-on-difference); 130
interrupted, and can be resumed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness.commands.terminal import notify
from harness.core.errors import HarnessError, first_error
from harness.core.startup import INTERRUPTED


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command: its module in harness.commands, its function there, and its line in the list of commands."""

    module: str
    name: str
    summary: str


COMMANDS = {
    "demo": CommandEntry("run", "demo", "Play a demonstration on a small real model: no key, no GPU."),
    "init": CommandEntry("plan", "init", "Write a commented sweep file to start from."),
    "schema": CommandEntry("plan", "schema", "Print the JSON Schema of a sweep file, for editors."),
    "games": CommandEntry("plan", "games", "List the games, their rule sets and instances."),
    "check": CommandEntry("plan", "check", "Test every access method of a sweep with short calls."),
    "plan": CommandEntry("plan", "plan", "Forecast what a sweep takes: hours, calls, tokens, money."),
    "run": CommandEntry("run", "run", "Play a sweep, or resume it."),
    "view": CommandEntry("view", "view", "Show a store as a live page in the browser."),
    "bench": CommandEntry("bench", "bench", "Measure each access method's latency and throughput."),
    "scores": CommandEntry("audit", "scores", "Show clemscore, % played and quality, with intervals."),
    "audit": CommandEntry("audit", "audit", "Is it the same model? Verdicts with their intervals."),
    "rescore": CommandEntry("rescore", "rescore", "Score stored replies with a reference's weights."),
    "quantise": CommandEntry("quantise", "quantise", "Write a model's weights in other quantisations."),
    "report": CommandEntry("audit", "report", "Write verdicts, scores and transcripts to an HTML file."),
    "drift": CommandEntry("audit", "drift", "Compare days: has an access method changed?"),
    "watch": CommandEntry("watch", "watches", "Watch access methods by up to 200 one-token calls a day."),
    "characteristics": CommandEntry("audit", "characteristics", "Relate scores to size and training."),
    "show": CommandEntry("data", "show", "Show one transcript, as each seat saw it."),
    "sql": CommandEntry("data", "sql", "Query the store in SQL."),
    "import": CommandEntry("data", "import_results", "Import published clembench results into a store."),
    "merge": CommandEntry("data", "merge", "Merge the stores of a sweep that was played in parts."),
    "export": CommandEntry("data", "export_store", "Export a store's rows for other programs."),
    "backup": CommandEntry("data", "back_up", "Copy a store, also while a run writes it."),
    "emulate": CommandEntry("servers", "emulate", "Serve an emulated provider on this machine."),
    "engine": CommandEntry("servers", "engines", "Manage environments of local engines."),
}


class OnDemand(TyperGroup):
    """A group whose commands are imported when they are called; the list of commands imports none."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _Commands()})

    def list_commands(self, ctx: object) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: object, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


class _Commands(Mapping[str, Any]):
    """Maps a name to its command, which is made when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        return command(COMMANDS[name], name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def command(entry: CommandEntry, name: str) -> Any:
    """Returns the command as click runs it; imports its module."""
    attribute = getattr(import_module(f"harness.commands.{entry.module}"), entry.name)
    if isinstance(attribute, typer.Typer):
        return typer.main.get_command(attribute)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(name)(attribute)
    return typer.main.get_command(alone)


app = typer.Typer(cls=OnDemand, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _print_version(asked: bool) -> None:
    if asked:
        metadata = import_module("importlib.metadata")  # slow to load, and nothing else here needs it
        print(f"lightbulb {metadata.version('lightbulb')}")
        raise typer.Exit


@app.callback()
def lightbulb(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Plays conversational games with language models, and audits whether the same model, reached another
    way, is still the same model."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command, and exits. An error that the user can mend becomes one paragraph and exit code 2; an
    error in lightbulb itself keeps its traceback.

    arguments   default: those of the process"""
    # Else pydantic looks for plugins in every installed package, at each start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    words = sys.argv[1:] if arguments is None else list(arguments)
    code = 0
    try:
        if words and words[0] in COMMANDS:  # the group would read options of its own first, which is slow
            command(COMMANDS[words[0]], words[0])(words[1:], prog_name=f"lightbulb {words[0]}")
        else:
            app(words, prog_name="lightbulb")
    except* HarnessError as group:
        notify(f"lightbulb: {first_error(group)}")
        code = 2
    except* OSError as group:
        error = first_error(group)
        if not isinstance(error, OSError) or error.filename is None:  # no file that the user named
            raise
        notify(f"lightbulb: {error.filename}: {error.strerror}; correct this, or name another file")
        code = 2
    except* KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()

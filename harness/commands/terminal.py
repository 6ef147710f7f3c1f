"""What leaves a command: lines for a person on stderr, answers on stdout, files, exit codes."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, TypeVar

from harness.core.errors import SpecError

if TYPE_CHECKING:
    from rich.console import Console

FAILED, BUDGET, DIFFERENT, INTERRUPTED = 3, 4, 5, 130
Found = TypeVar("Found")


def notify(line: str) -> None:
    """One line for a person."""
    from harness.report.text import escape_control

    print(escape_control(line), file=sys.stderr, flush=True)  # some of it may be a provider's words


def command() -> str:
    """What this person types for lightbulb: its name, or where it is not on the path, as after `make demo`, where it lies."""
    asked = Path(sys.argv[0])
    return (
        shlex.quote(sys.argv[0]) if asked.name == "lightbulb" and which("lightbulb") is None else "lightbulb"
    )


def print_result(found: Found, printed: Callable[[Found, Console], None], *, as_json: bool) -> None:
    """What a command found out: a line of JSON, or as a person reads it."""
    if as_json:
        from harness.core.plain_data import as_json as plain

        print(json.dumps(plain(found)))
    else:
        printed(found, on_stdout())


def on_stdout() -> Console:
    return _console(to_stdout=True)


def on_stderr() -> Console:
    return _console(to_stdout=False)


def _console(*, to_stdout: bool) -> Console:
    from rich.console import Console

    shown = sys.stdout if to_stdout else sys.stderr
    return Console(stderr=not to_stdout, width=None if shown.isatty() else 500)  # a pipe folds nothing


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise SpecError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder that exists"
        ) from error

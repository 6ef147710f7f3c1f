"""The output of a command: lines for a person on stderr, results on stdout, files, exit codes."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, TextIO, TypeVar

from harness.core.errors import SpecError

if TYPE_CHECKING:
    from rich.console import Console

FAILED, BUDGET, DIFFERENT = 3, 4, 5
Result = TypeVar("Result")


def notify(line: str) -> None:
    """Writes one line for a person, with control characters escaped: some of it may be a provider's words."""
    from harness.report.text import escape_control

    try:
        sys.stderr.write(f"{escape_control(line)}\n")  # one write: other threads write lines, too
        sys.stderr.flush()
    except OSError:  # the terminal, or the reader of a pipe, is gone: the work goes on without it
        close_quietly(sys.__stderr__)


def close_quietly(stream: TextIO | None) -> None:
    """Sends a stream that nobody reads to the null device, because later writes to it would fail."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def program() -> str:
    """Returns what this person types for lightbulb: its name, or its path where the name is not on the
    PATH."""
    typed = Path(sys.argv[0])
    return (
        shlex.quote(sys.argv[0]) if typed.name == "lightbulb" and which("lightbulb") is None else "lightbulb"
    )


def print_result(result: Result, printed: Callable[[Result, Console], None], *, as_json: bool) -> None:
    """Prints a command's result: as a line of JSON, or as a person reads it."""
    if as_json:
        from harness.core.plain_data import as_json as plain

        print(json.dumps(plain(result)))
    else:
        printed(result, stdout_console())


def stdout_console() -> Console:
    return _console(to_stdout=True)


def stderr_console() -> Console:
    return _console(to_stdout=False)


def _console(*, to_stdout: bool) -> Console:
    from rich.console import Console

    stream = sys.stdout if to_stdout else sys.stderr
    width = None if stream.isatty() else 500  # a pipe folds no lines
    return Console(stderr=not to_stdout, width=width, markup=False, emoji=False)  # names may have [ and :


def refuse_missing_folders(*pages: Path | None) -> None:
    """raises  SpecError if a page that is to be written later would have no folder"""
    for path in pages:
        if path is not None and not path.parent.is_dir():
            raise SpecError(f"{path}: there is no folder {path.parent}; name a file in a folder that exists")


def write_page(path: Path, text: str) -> None:
    """Writes a text file.

    raises  SpecError if it cannot be written"""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise SpecError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder that exists"
        ) from error

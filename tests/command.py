"""The command `lightbulb`, in this process or in one of its own.

What a process proves - kills, signals, what it holds open, what its command line shows - is asked of a
process; the rest need not wait a second for Python and its packages each time."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from harness.cli import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The exit code and the output of a command; a traceback of Python's stands in stderr."""

    returncode: int
    stdout: str
    stderr: str


def lightbulb(*arguments: object, env: Mapping[str, str] | None = None) -> Ended:
    """The command in this process. A mistake of ours is raised, not told."""
    said, told = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(told), _environment(env or {}), _signals_kept():
        try:
            main([*map(str, arguments)])
            code: object = 0
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Ended(returncode=code, stdout=said.getvalue(), stderr=told.getvalue())


def command(*arguments: object) -> list[str]:
    """Returns the command line that starts lightbulb in a process of its own."""
    return [sys.executable, "-m", "harness", *map(str, arguments)]


def apart(*arguments: object, env: Mapping[str, str] | None = None) -> Ended:
    """The command in a process of its own."""
    ended = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})}
    )
    return Ended(returncode=ended.returncode, stdout=ended.stdout, stderr=ended.stderr)


def refused(
    sweep: Path,
    *words: str,
    store: Path | None = None,
    by: Callable[..., Ended] = lightbulb,
    options: Sequence[str] = (),
) -> None:
    """Runs the sweep and asserts exit code 2, these words, and no traceback."""
    ended = by("run", sweep, *options, *(("--store", store) if store else ()))
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.stderr


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Restores the handling of Ctrl-C, which a run ignores at its end, because this process goes on."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

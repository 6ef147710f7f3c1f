"""A command that is interrupted while it starts ends without a traceback."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bots import bots_sweep, rows
from tests.command import command, lightbulb


@pytest.mark.parametrize("lines", [1, 150, 480])
@pytest.mark.parametrize("verb", ["check", "run"])
def test_an_interrupt_during_imports_leaves_no_traceback(tmp_path: Path, verb: str, lines: int) -> None:
    """Exit code 130 at every stage: `-X importtime` writes a line for each module that is imported."""
    sweep = bots_sweep(tmp_path, latency=0.5)
    arguments = [sys.executable, "-X", "importtime", "-m", "harness", verb, str(sweep)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rstrip().endswith("harness.core.startup"):
                break
        for _ in range(lines):
            process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest[-2000:]
    assert "Traceback" not in rest


def lines_on_a_terminal(screen: int) -> Iterator[str]:
    """Yields what is written to a terminal until a run is under way."""
    seen = ""
    with suppress(OSError):
        while "in flight" not in seen:
            seen += os.read(screen, 65536).decode()
            yield seen


@pytest.mark.parametrize(("ignored", "ends"), [(False, True), (True, False)])
def test_a_terminal_that_is_closed_stops_a_run_unless_it_is_ignored(
    tmp_path: Path, ignored: bool, ends: bool
) -> None:
    """SIGHUP stops like Ctrl-C: running calls are stored; under nohup the sweep is played to its end, though
    nobody reads its lines."""
    sweep = bots_sweep(tmp_path, latency=0.1)
    screen, terminal = pty.openpty()

    def begin() -> None:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        command("run", sweep),
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env=os.environ | {"COLUMNS": "200", "TERM": "xterm", "TTY_COMPATIBLE": "1"},
        preexec_fn=begin,
    )
    os.close(terminal)
    assert list(lines_on_a_terminal(screen))
    os.close(screen)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.wait(timeout=120)
    (ended,) = rows(sweep.with_suffix(".duckdb"), "SELECT count(*) FROM episodes")
    assert (ended < (54,)) == ends
    calls = "SELECT count(*) FILTER (error_class IS NULL), count(error_class) FROM calls"
    ((good, bad),) = rows(sweep.with_suffix(".duckdb"), calls)
    assert int(str(good)) > 0
    assert bad == 0
    assert lightbulb("run", sweep).returncode == 0
    assert rows(
        sweep.with_suffix(".duckdb"), "SELECT count(*), count(DISTINCT episode_id) FROM episodes"
    ) == [(54, 54)]

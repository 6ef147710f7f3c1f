"""The reaper leaves no process behind, however things end. Real processes, small ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.local import reaper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descendants are found by Linux's /proc")

# A server with a child that leaves its session and a grandchild there; both ignore SIGTERM. All process ids
# are written once all processes run.
SERVER = """
import os, signal, sys, time
mode, path = sys.argv[1:]
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "polite":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = os.fork()
    if grandchild == 0:
        time.sleep(600)
    with open(path + ".part", "w") as file:
        file.write(f"{os.getppid()} {os.getpid()} {grandchild}")
    os.rename(path + ".part", path)
    time.sleep(600)
while not os.path.exists(path):
    time.sleep(0.01)
if mode == "dies":
    sys.exit(7)
if mode == "crashes":
    os.kill(os.getpid(), signal.SIGABRT)
while True:
    time.sleep(600)
"""

Reaped = tuple[subprocess.Popen[bytes], list[int]]


def living(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pids_in(path: Path) -> list[int]:
    until(path.exists)
    return [int(word) for word in path.read_text(encoding="utf-8").split()]


def begin(tmp_path: Path, mode: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        (
            sys.executable,
            "-I",
            reaper.__file__,
            "0.5",
            sys.executable,
            "-c",
            SERVER,
            mode,
            str(tmp_path / "pids"),
        ),
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.fixture
def reaped(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reaped]:
    process = begin(tmp_path, request.param)
    pids: list[int] = []
    try:
        pids = pids_in(tmp_path / "pids")
        yield process, pids
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
        for pid in pids:
            if living(pid):
                os.kill(pid, signal.SIGKILL)


def no_process_lives(pids: list[int]) -> bool:
    return not any(living(pid) for pid in pids)


@pytest.mark.parametrize(
    ("reaped", "code"), [("dies", 7), ("crashes", 128 + signal.SIGABRT)], indirect=["reaped"]
)
def test_a_dead_server_gives_its_code_and_leaves_no_process(reaped: Reaped, code: int) -> None:
    """The reaper of a server that ended by itself ends its descendants and exits with the server's code."""
    process, pids = reaped
    assert process.wait(30) == code
    assert no_process_lives(pids)


@pytest.mark.parametrize(
    ("reaped", "code"), [("polite", 5), ("deaf", 128 + signal.SIGKILL)], indirect=["reaped"]
)
def test_a_closed_input_ends_everything(reaped: Reaped, code: int) -> None:
    """The end of the standard input sends SIGTERM to the server, and after the grace period SIGKILL to all
    descendants."""
    process, pids = reaped
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == code
    assert no_process_lives(pids)


@pytest.mark.parametrize("reaped", ["deaf"], indirect=True)
def test_sigterm_ends_everything(reaped: Reaped) -> None:
    """SIGTERM to the reaper has the effect of a closed input."""
    process, pids = reaped
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGKILL
    assert no_process_lives(pids)


@pytest.mark.parametrize("reaped", ["polite"], indirect=True)
def test_an_interrupt_of_the_terminal_is_ignored(reaped: Reaped) -> None:
    """SIGINT and SIGHUP have no effect; the process that holds the input decides when the server ends."""
    process, pids = reaped
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    assert process.stdin is not None
    process.stdin.write(b"words on the input mean nothing either")
    process.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    assert all(living(pid) for pid in pids)


@pytest.mark.parametrize("reaped", ["deaf"], indirect=True)
def test_a_killed_reaper_takes_the_server_with_it(reaped: Reaped) -> None:
    """If the reaper is killed, the kernel kills the server, which nothing else could stop."""
    process, pids = reaped
    process.kill()
    process.wait()
    until(lambda: not living(pids[0]))


def test_a_missing_command(tmp_path: Path) -> None:
    """The reaper does not wait for a server that could not be started."""
    done = subprocess.run(
        (sys.executable, "-I", reaper.__file__, "0.5", str(tmp_path / "nothing")),
        stdin=subprocess.PIPE,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert b"nothing" in done.stderr


@pytest.mark.parametrize("command", ["/bin/true", "/bin/false"])
def test_a_server_that_ends_at_once_is_noticed(command: str) -> None:
    """Its end may come before the reaper looks: the exit code is reported all the same, each of ten times."""
    for _ in range(10):
        with subprocess.Popen(
            (sys.executable, "-I", reaper.__file__, "0.5", command), stdin=subprocess.PIPE
        ) as process:
            assert process.wait(30) == (command == "/bin/false")

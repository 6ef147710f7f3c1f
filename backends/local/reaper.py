"""Runs a server and sees to it that nothing of it outlives us. Run as a script: `python -I keeper.py GRACE_S COMMAND...`

Knows processes and signals; nothing of models, ports or this program: standard library only, and no import of ours.
Keeps: when its standard input closes (whoever held the other end is gone, however it went) or SIGTERM comes, it asks the server and all
its descendants to end, kills what is left after the grace, and exits; the same for what a server that died leaves behind.
Exits with the server's own code, 128 + n where signal n ended it.
Does not promise: on systems without Linux's /proc and subreapers, anything about descendants that left the server's process group."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
ORPHANS_S = (
    1.0  # what a dead server leaves behind has nothing to finish, and someone waits to hear of the death
)
KILLING_S = (
    10.0  # after SIGKILL only a process in uninterruptible sleep is still there; it is not waited for longer
)
LINUX = sys.platform == "linux"


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def start(command: list[str]) -> int:
    """The server, in a session of its own; it dies at once if the keeper itself is killed."""

    def before_exec() -> None:
        if LINUX:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=before_exec
    ).pid


def descendants(root: int) -> list[int]:
    """All living descendants of a process, by /proc: orphans among them, as `root` is their subreaper."""
    children: dict[int, list[int]] = {}
    living: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:  # it ended while we looked
            continue
        children.setdefault(int(parent), []).append(int(name))
        if state not in "ZX":
            living.add(int(name))
    found, unseen = [], [root]
    while unseen:
        offspring = children.get(unseen.pop(), [])
        found += offspring
        unseen += offspring
    return [pid for pid in found if pid in living]


class Reaper:
    """One server and what came of it."""

    def __init__(self, command: list[str]) -> None:
        self.code: int | None = None
        self._wake, bell = os.pipe()
        for end in (self._wake, bell):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        self._rung: set[int] = set()
        # Handlers, not SIG_IGN: a server inherits ignored signals. SIGINT and SIGHUP are the terminal's word to others.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM):
            signal.signal(number, self._ring)
        if LINUX:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._server = start(command)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self._rung.add(number)

    def _wait(self, *also: int, timeout_s: float | None = None) -> bool:
        """Until a signal comes or one of the descriptors can be read, which is returned; reaps whatever has ended."""
        readable, _, _ = select.select([self._wake, *also], [], [], timeout_s)
        if self._wake in readable:
            os.read(self._wake, 4096)
        self._reap()
        return any(end in readable for end in also)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._server:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code

    def watch(self) -> None:
        """Until the server ends, our input closes or SIGTERM comes."""
        self._reap()
        while self.code is None and signal.SIGTERM not in self._rung:
            if self._wait(0) and not os.read(0, 4096):
                return

    def _alive(self) -> list[int]:
        self._reap()
        if LINUX:
            return descendants(os.getpid())
        return [self._server] if self.code is None else []

    def _tell(self, pids: list[int], number: int) -> None:
        for pid in pids:
            try:
                if LINUX:
                    os.kill(pid, number)
                else:
                    os.killpg(pid, number)
            except ProcessLookupError:
                continue

    def end(self, grace_s: float) -> int:
        """Ends all that is left, and returns the exit code to give."""
        for number, deadline_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILLING_S)):
            self._rung.discard(signal.SIGALRM)
            signal.setitimer(signal.ITIMER_REAL, max(deadline_s, 0.001))
            if alive := self._alive():
                self._tell(alive, number)
            while (alive := self._alive()) and signal.SIGALRM not in self._rung:
                if number == signal.SIGKILL:
                    self._tell(alive, number)  # again: it may have forked between our look and our shot
                self._wait(timeout_s=0.1)
            signal.setitimer(signal.ITIMER_REAL, 0)
        return 128 + signal.SIGKILL if self.code is None else self.code


def main() -> int:
    keeper = Reaper(sys.argv[2:])
    keeper.watch()
    return keeper.end(float(sys.argv[1]) if keeper.code is None else ORPHANS_S)


if __name__ == "__main__":
    sys.exit(main())

"""Runs a server and ends it with all its descendants. Run as a script: `python -I reaper.py GRACE_S
COMMAND...`

Knows processes and signals; nothing of models, ports or this program: it imports the standard library only.
Keeps: when its standard input closes (the parent process has ended, in whatever way) or SIGTERM arrives, it
sends SIGTERM to the server and its descendants, kills what is left after the grace period, and exits. The
same holds for what a server that died leaves behind. Exits with the server's exit code, 128 + n where signal
n ended it.
Does not promise: anything about descendants outside the server's process group where Linux's /proc and
subreapers are missing."""

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
ORPHANS_S = 1.0  # what a dead server leaves behind has nothing to finish, and the parent waits for the exit
KILLING_S = 10.0  # after SIGKILL only a process in uninterruptible sleep stays; the wait for it is bounded
LINUX = sys.platform == "linux"


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Starts the server in a session of its own; the kernel kills it if the reaper is killed."""

    def before_exec() -> None:
        if LINUX:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=before_exec)


def descendants(root: int) -> list[int]:
    """Returns all living descendants of a process from /proc, orphans included: `root` is their subreaper."""
    children: dict[int, list[int]] = {}
    living: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:  # it ended meanwhile
            continue
        children.setdefault(int(parent), []).append(int(name))
        if state not in "ZX":
            living.add(int(name))
    found, to_visit = [], [root]
    while to_visit:
        offspring = children.get(to_visit.pop(), [])
        found += offspring
        to_visit += offspring
    return [pid for pid in found if pid in living]


class Reaper:
    """One server and its descendants."""

    def __init__(self, command: list[str]) -> None:
        self.code: int | None = None
        self._wake, wakeup = os.pipe()
        for end in (self._wake, wakeup):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        self._received: set[int] = set()
        # Handlers, not SIG_IGN: a server would inherit ignored signals. SIGINT and SIGHUP of the terminal
        # have no effect on it.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM):
            signal.signal(number, self._receive)
        if LINUX:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
        # The object is kept: one that is dropped reaps a child that has ended already, and its end would stay
        # unseen.
        self._process = start(command)
        self._server = self._process.pid

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received.add(number)

    def _wait(self, *also: int, timeout_s: float | None = None) -> bool:
        """Waits for a signal or a readable descriptor and reaps children; says whether a descriptor is
        readable."""
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
        """Waits until the server ends, the standard input closes or SIGTERM arrives."""
        self._reap()
        while self.code is None and signal.SIGTERM not in self._received:
            if self._wait(0) and not os.read(0, 4096):
                return

    def _alive(self) -> list[int]:
        self._reap()
        if LINUX:
            return descendants(os.getpid())
        return [self._server] if self.code is None else []

    def _send(self, pids: list[int], number: int) -> None:
        for pid in pids:
            try:
                if LINUX:
                    os.kill(pid, number)
                else:
                    os.killpg(pid, number)
            except ProcessLookupError:
                continue

    def end(self, grace_s: float) -> int:
        """Ends all that is left, and returns the exit code."""
        for number, deadline_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILLING_S)):
            self._received.discard(signal.SIGALRM)
            signal.setitimer(signal.ITIMER_REAL, max(deadline_s, 0.001))
            if alive := self._alive():
                self._send(alive, number)
            while (alive := self._alive()) and signal.SIGALRM not in self._received:
                if number == signal.SIGKILL:
                    self._send(alive, number)  # again: it may have forked between the listing and the signal
                self._wait(timeout_s=0.1)
            signal.setitimer(signal.ITIMER_REAL, 0)
        return 128 + signal.SIGKILL if self.code is None else self.code


def main() -> int:
    reaper = Reaper(sys.argv[2:])
    reaper.watch()
    return reaper.end(float(sys.argv[1]) if reaper.code is None else ORPHANS_S)


if __name__ == "__main__":
    sys.exit(main())

"""Ends the program at once if it is interrupted while it starts.

A KeyboardInterrupt within an import becomes an ImportError, or a traceback of files that the user does not
know. As long as a command has nothing to clean up, the program can end where it stands. Standard library
only: this is the first module that a command imports."""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130  # as shells report a program that Ctrl-C ended


def exit_on_interrupt() -> None:
    """Makes Ctrl-C end the program at once, with exit code 130."""
    signal.signal(signal.SIGINT, _exit)


def unwind_on_interrupt() -> None:
    """Makes Ctrl-C raise KeyboardInterrupt again, so that open files and connections are closed."""
    if signal.getsignal(signal.SIGINT) is _exit:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)

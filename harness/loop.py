"""The event loop of real time; harness/simulation.py has the other."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

Result = TypeVar("Result")

OPTIONS = {"use_uvloop": sys.platform != "win32"}


def in_real_time(function: Callable[[], Awaitable[Result]]) -> Result:
    """What the function comes to, on a loop of its own in this thread."""
    return anyio.run(function, backend_options=OPTIONS)

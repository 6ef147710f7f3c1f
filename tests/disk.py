"""A small disk to fill."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Callable[[int], None]]:
    """Mounts a small file system at the folder and yields what enlarges it; skips where it cannot mount."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")

    def grow(more: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={more}m", str(folder)], check=True)

    try:
        yield grow
    finally:
        subprocess.run(["umount", str(folder)], check=True)

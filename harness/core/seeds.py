"""Gives every random draw a named stream, so that the order of tasks cannot change a result."""

from __future__ import annotations

from random import Random

from harness.core.vocabulary import digest


def derive_seed(root: int, *path: str | int) -> int:
    """Returns the seed of the stream at this path under the root: 64 bits, the same on every machine and in
    every process."""
    return int(digest(str(root), *map(str, path), bytes_of_digest=8), 16)


def stream(root: int, *path: str | int) -> Random:
    """Returns a new stream at this path."""
    return Random(derive_seed(root, *path))

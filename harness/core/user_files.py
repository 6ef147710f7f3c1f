"""Reads whole files that a user names, each up to a limit of its size.

Keeps: a device or a pipe that never ends, and a large file that is named by mistake, end in one SpecError
with the path, the cause and a remedy, before they fill the memory. A pipe is read until its writer closes
it; a pipe into which no program writes ends in such an error, too."""

from __future__ import annotations

import os
import select
from pathlib import Path

from harness.core.errors import SpecError

MIB = 1 << 20
PIPE_WAIT_S = 30.0  # a program that makes the file needs seconds


def read_text(path: Path, *, bytes_max: int, remedy: str, wait_s: float = PIPE_WAIT_S) -> str:
    """Returns the text of a file in UTF-8, without the byte order mark that some editors write; every line
    ends in one newline character.

    bytes_max   a larger file is refused
    remedy      what the user can do instead, in words such as "name a sweep file"
    wait_s      how long the first byte of a pipe is waited for
    raises      SpecError if it cannot be read, is too large, or is not UTF-8"""
    content = read_bytes(path, bytes_max=bytes_max, remedy=remedy, wait_s=wait_s)
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8, or {remedy}"
        ) from error


def read_bytes(path: Path, *, bytes_max: int, remedy: str, wait_s: float = PIPE_WAIT_S) -> bytes:
    """Returns the content of a file; the arguments are those of read_text."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not _has_content(file.fileno(), wait_s):
                raise SpecError(f"{path}: is a pipe into which no program wrote in {wait_s:g} s; {remedy}")
            os.set_blocking(file.fileno(), True)
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except ValueError as error:  # a path with a null character
        raise SpecError(f"{path}: cannot be read ({error}); {remedy}") from error
    if len(content) > bytes_max:
        raise SpecError(f"{path}: is larger than {bytes_max // MIB} MiB; {remedy}")
    return content


def is_duckdb_file(path: Path) -> bool:
    """Returns whether the file has the mark of a DuckDB file; it may still be damaged."""
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"


def _open_without_waiting(path: str, flags: int) -> int:
    """Opens a file; a pipe that nobody writes into would else be waited for without end."""
    return os.open(path, flags | os.O_NONBLOCK)


def _has_content(descriptor: int, wait_s: float) -> bool:
    """Waits until the file has bytes or an end, which only a pipe and a terminal do not have at once."""
    wanted = select.poll()
    wanted.register(descriptor, select.POLLIN)
    return bool(wanted.poll(wait_s * 1000))

"""Tests harness/core/user_files.py with real files, devices and pipes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from harness.core.errors import SpecError
from harness.core.user_files import MIB, read_bytes, read_text


def text_of(path: Path, *, wait_s: float = 30.0) -> str:
    return read_text(path, bytes_max=MIB, remedy="name a sweep file", wait_s=wait_s)


def test_text(tmp_path: Path) -> None:
    """The mark of some editors is left out, and lines end in one character."""
    path = tmp_path / "a.toml"
    path.write_bytes("\ufeffname = 'ä'\r\nseed = 1\rrepeats = 2\n".encode())
    assert text_of(path) == "name = 'ä'\nseed = 1\nrepeats = 2\n"


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("absent", r"absent: cannot be read \(No such file or directory\); name a sweep file"),
        ("", r": cannot be read \(Is a directory\); name a sweep file"),
        ("null\0character", r"cannot be read \(embedded null byte\); name a sweep file"),
        ("/dev/zero", "^/dev/zero: is larger than 1 MiB; name a sweep file$"),
    ],
)
def test_refusals(tmp_path: Path, path: str, complaint: str) -> None:
    """A path that is no readable file ends in a sentence, and so does a device without end."""
    with pytest.raises(SpecError, match=complaint):
        text_of(tmp_path / path)


def test_limit(tmp_path: Path) -> None:
    """A file of the largest size is read, one with a byte more is refused, and so are 2 GiB."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * MIB)
    assert len(read_bytes(path, bytes_max=MIB, remedy="name another")) == MIB
    path.write_bytes(b"x" * (MIB + 1))
    with pytest.raises(SpecError, match="is larger than 1 MiB; name another"):
        read_bytes(path, bytes_max=MIB, remedy="name another")
    os.truncate(path, 2 << 30)
    with pytest.raises(SpecError, match="is larger than 1 MiB"):
        text_of(path)


def test_not_text(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are named by their place."""
    path = tmp_path / "a"
    path.write_bytes(b"ab\xff")
    with pytest.raises(
        SpecError, match=r"is not UTF-8 text \(byte 2\); save it as UTF-8, or name a sweep file"
    ):
        text_of(path)


def test_pipe(tmp_path: Path) -> None:
    """A pipe is read to its end, also where its writer opens it later; one without a writer is refused."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(
        SpecError, match=r"pipe: is a pipe into which no program wrote in 0\.05 s; name a sweep"
    ):
        text_of(pipe, wait_s=0.05)
    writer = threading.Timer(0.05, pipe.write_text, ("name = 'a'\n" * 20_000,))
    writer.start()
    assert text_of(pipe) == "name = 'a'\n" * 20_000
    writer.join()

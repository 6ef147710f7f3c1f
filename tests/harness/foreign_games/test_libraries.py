"""The environments of libraries of games."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import SpecError
from harness.core.vocabulary import GAME_LIBRARIES
from harness.foreign_games.libraries import LIBRARIES, program_of, release


def test_every_requirement_is_pinned() -> None:
    """The hash in a folder's name identifies the packages; the first package is the library itself."""
    assert tuple(LIBRARIES) == GAME_LIBRARIES
    for kind in LIBRARIES.values():
        assert all("==" in package for package in kind.packages)
        assert kind.distribution is not None
        assert kind.packages[0].startswith(f"{kind.distribution}==")
    assert release("clem").startswith("clemcore-")


def test_a_library_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the command that installs it."""
    monkeypatch.setenv("LIGHTBULB_CACHE", str(tmp_path))
    with pytest.raises(SpecError, match="lightbulb games install textarena"):
        program_of("textarena")

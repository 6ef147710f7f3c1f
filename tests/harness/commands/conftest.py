"""A sweep that was played."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bots import bots_sweep
from tests.command import lightbulb


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a sweep that was played undisturbed."""
    folder = tmp_path_factory.mktemp("played")
    ended = lightbulb("run", bots_sweep(folder))
    assert ended.returncode == 0, ended.stderr
    return folder / "t.duckdb"

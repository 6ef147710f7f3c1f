from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def clembench() -> Path:
    """Returns the clembench v1.6 checkout that LIGHTBULB_CLEMBENCH names, or skips the test."""
    named = os.environ.get("LIGHTBULB_CLEMBENCH")
    if not named:
        pytest.skip("LIGHTBULB_CLEMBENCH names no clembench checkout")
    return Path(named)

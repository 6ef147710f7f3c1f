from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def clembench() -> Path:
    """A clembench checkout at its v1.6 state; tests of its files skip where none is named."""
    named = os.environ.get("LIGHTBULB_CLEMBENCH")
    if not named:
        pytest.skip("LIGHTBULB_CLEMBENCH names no clembench checkout")
    return Path(named)

"""A small sweep that bots play, and what came of it."""

from __future__ import annotations

from pathlib import Path

import duckdb

BOTS = """
name = "t"
seed = 5
repeats = {repeats}
[games.taboo]
items = 12
[games.wordle]
items = 6
[models.bots.methods.good]
bots = {{ skill = 0.8, latency_s = {latency} }}
concurrency = 4
[models.bots.methods.sloppy]
bots = {{ skill = 0.8, form_errors = 0.1, latency_s = {latency} }}
concurrency = 4
"""
RESULTS = "SELECT key, status, outcome, score, reason, turns FROM last_episodes ORDER BY key"


def bots_sweep(folder: Path, *, repeats: int = 1, latency: float = 0.0) -> Path:
    sweep = folder / "t.toml"
    sweep.write_text(BOTS.format(repeats=repeats, latency=latency))
    return sweep


def rows(store: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()

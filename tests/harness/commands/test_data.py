"""A store's transcripts and queries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import StoreError
from harness.store.file import open_to_read, translated
from tests.bots import rows
from tests.command import lightbulb


def test_an_episode_is_shown(played: Path) -> None:
    """The beginning of an id finds an episode; an unknown one is a clear error."""
    episode = str(rows(played, "SELECT episode_id FROM episodes WHERE game = 'taboo' LIMIT 1")[0][0])
    shown = lightbulb("show", played, episode)
    assert "CLUE:" in shown.stdout
    assert "guesser" in shown.stdout
    missing = lightbulb("show", played, "zzz")
    assert missing.returncode == 2
    assert "no episode's id or key starts with 'zzz'" in missing.stderr
    unnamed = lightbulb("show", played)
    assert unnamed.returncode == 2
    question = unnamed.stderr.split(f"sql {played} ")[1].split('"')[1]
    assert (episode,) in [row[:1] for row in rows(played, question)]


def test_sql_reads_and_cannot_write(played: Path) -> None:
    """Queries answer as a table or as JSON lines; a change is refused."""
    answered = lightbulb(
        "sql", played, "SELECT game, count(*) AS n FROM scores GROUP BY ALL ORDER BY ALL", "--json"
    )
    assert [json.loads(line) for line in answered.stdout.splitlines()] == [
        {"game": "taboo", "n": 24},
        {"game": "wordle", "n": 12},
    ]
    alike = lightbulb("sql", played, "SELECT 1 AS n, 2 AS n, 3 AS m, 4 AS n", "--json")
    assert json.loads(alike.stdout) == {"n": 1, "n_2": 2, "m": 3, "n_3": 4}
    for harm in (
        "DELETE FROM calls",
        f"COPY (SELECT 1) TO '{played}'",
        f"COPY (SELECT 1) TO '{played}.csv'",
        f"ATTACH '{played}.other' (READ_WRITE)",
        "SELECT * FROM read_text('/etc/hostname')",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELEC 1",
    ):
        with pytest.raises(StoreError), open_to_read(played) as connection, translated(played):
            connection.execute(harm).fetchall()
    assert [path.name for path in played.parent.iterdir() if path.name.startswith(f"{played.name}.")] == []
    assert 'Did you mean "calls"?' in lightbulb("sql", played, "FROM call").stderr
    for harm in ("DELETE FROM calls", ""):
        refused = lightbulb("sql", played, harm)
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    with open_to_read(played) as connection:
        for view in (
            "scores",
            "last_episodes",
            "calls_by_method",
            "transcripts",
            "sweeps",
            "models",
            "methods",
            "turns",
            "calls",
        ):
            connection.execute(f"FROM {view} LIMIT 1").fetchall()

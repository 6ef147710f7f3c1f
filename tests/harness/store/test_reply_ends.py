"""Stores of versions that took any end of an answer for good: readers apply the table of finish reasons."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest

from harness.store.file import open_to_read
from harness.store.reader import EpisodeRows, episode_rows
from harness.store.resuming import unfinished_turns

DATA = Path(__file__).parents[2] / "data" / "store_0_1_0"


def changed(tmp_path: Path, statement: str) -> Path:
    """Returns a copy of the store of 0.1.0 after this statement."""
    store = tmp_path / "t.duckdb"
    store.write_bytes(gzip.decompress((DATA / "t.duckdb.gz").read_bytes()))
    with duckdb.connect(store) as connection:
        connection.execute(statement)
    return store


def episodes_of(store: Path) -> EpisodeRows:
    with open_to_read(store) as connection:
        return episode_rows(connection)


@pytest.mark.parametrize(
    ("finish_reason", "cut"),
    [
        ("abort", True),
        ("content_filter: X", True),
        ("ERROR", True),
        ("length", False),
        ("eureka", False),
        ("", False),
    ],
)
def test_an_episode_that_rests_on_a_cut_reply_is_failed(
    tmp_path: Path, finish_reason: str, cut: bool
) -> None:
    """It has no outcome and no score; other ends, and none, are kept. The rows stay as they are."""
    before = episodes_of(changed(tmp_path, "SELECT 1"))
    store = changed(
        tmp_path,
        f"""UPDATE calls SET finish_reason = {finish_reason!r} WHERE turn = 0 AND episode_id =
            (SELECT min(episode_id) FROM episodes WHERE status = 'finished' AND score > 0)""",
    )
    after = episodes_of(store)
    assert list(after.status).count("failed") - list(before.status).count("failed") == cut
    assert list(after.outcome).count(None) - list(before.outcome).count(None) == cut
    with duckdb.connect(store, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM episodes WHERE status = 'failed'").fetchone() == (0,)


def test_a_cut_reply_of_an_unfinished_episode_is_asked_for_again(tmp_path: Path) -> None:
    """Its turn and all later ones; the turns before it are replayed."""
    with open_to_read(changed(tmp_path, "SELECT 1")) as connection:
        before = unfinished_turns(connection)
    episode = max(before, key=lambda name: len(before[name]))
    turn = len(before[episode]) - 1
    store = changed(
        tmp_path,
        f"UPDATE calls SET finish_reason = 'error' WHERE episode_id = '{episode}' AND turn = {turn}",
    )
    with open_to_read(store) as connection:
        after = unfinished_turns(connection)
    assert after.get(episode, []) == before[episode][:turn]
    assert {name: turns for name, turns in after.items() if name != episode} == {
        name: turns for name, turns in before.items() if name != episode
    }


def test_an_end_that_the_sweep_declares_good_stays_good(tmp_path: Path) -> None:
    """good_ends of the method in the last sweep over the store."""
    store = changed(
        tmp_path,
        """UPDATE calls SET finish_reason = 'error' WHERE method = 'bots/good';
        UPDATE sweeps SET spec_json = '{"models": {"bots": {"methods": {"good": {"good_ends": ["error"]}}}}}'""",
    )
    assert set(episodes_of(store).status) <= {"finished", "abandoned"}

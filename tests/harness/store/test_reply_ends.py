"""Stores of versions that took any end of an answer for good: readers apply the table of finish reasons."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.core.finish_reasons import (
    FAILED_PARTS,
    FAILED_WORDS,
    FILTERED_PARTS,
    FILTERED_WORDS,
    GOOD,
    finish_kind,
    stated_finish,
)
from harness.store import schema
from harness.store.file import open_to_read
from harness.store.planned_plays import play_counts
from harness.store.reader import EpisodeRows, episode_rows
from harness.store.resuming import abandoned_attempts, failed_attempts, unfinished_turns
from tests.bots import RESULTS, rows
from tests.command import lightbulb

DATA = Path(__file__).parents[2] / "data" / "store_0_1_0"
BEST = "(SELECT min(episode_id) FROM episodes WHERE status = 'finished' AND score > 0 AND arm = 'main')"
ENDS = [*sorted(GOOD), *FILTERED_PARTS, *FAILED_PARTS, *FILTERED_WORDS, *FAILED_WORDS, "", "null", "eureka"]


def changed(tmp_path: Path, statement: str) -> Path:
    """Returns a copy of the store of 0.1.0 after this statement."""
    store = tmp_path / "t.duckdb"
    store.write_bytes(gzip.decompress((DATA / "t.duckdb.gz").read_bytes()))
    (tmp_path / "t.toml").write_bytes((DATA / "t.toml").read_bytes())
    with duckdb.connect(store) as connection:
        connection.execute(statement)
    return store


def cut(tmp_path: Path, finish_reason: str) -> Path:
    """Returns a copy in which the first reply of a finished play has this end."""
    return changed(
        tmp_path,
        f"UPDATE calls SET finish_reason = {finish_reason!r} WHERE turn = 0 AND episode_id = {BEST}",
    )


def episodes_of(store: Path) -> EpisodeRows:
    with open_to_read(store) as connection:
        return episode_rows(connection)


@pytest.mark.parametrize(
    ("finish_reason", "is_cut"),
    [
        ("abort", True),
        ("content_filter: X", True),
        ("FinishReason.PROHIBITED_CONTENT", True),
        ("ERROR", True),
        ("length", False),
        ("eureka", False),
        ("", False),
    ],
)
def test_a_play_that_rests_on_a_cut_reply_is_missing(
    tmp_path: Path, finish_reason: str, is_cut: bool
) -> None:
    """It has no outcome and no score, in rows, views and counts of plays; other ends, and none, are kept. The
    stored rows stay as they are."""
    counts: list[tuple[float, ...]] = []
    for end in ("stop", finish_reason):
        store = cut(tmp_path, end)
        found = episodes_of(store)
        with open_to_read(store) as connection:
            plays = play_counts(connection).values()
            counts.append(
                (
                    list(found.status).count("failed"),
                    list(found.outcome).count(None),
                    -sum(one.ended for one in plays),
                    sum(one.failed for one in plays),
                    *(
                        -connection.execute(query).fetchall()[0][0]
                        for query in (
                            "SELECT count(*) FROM scores",
                            "SELECT sum(score) / 100 FROM scores",
                            "SELECT sum(episodes) FROM clemscores",
                            "SELECT count(*) FROM last_episodes WHERE status = 'finished'",
                        )
                    ),
                )
            )
    assert [after - before for before, after in zip(*counts, strict=True)] == [is_cut] * 8
    with duckdb.connect(store, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM episodes WHERE status = 'failed'").fetchone() == (0,)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(ENDS) | st.text(st.characters(codec="ascii")), min_size=1), st.randoms())
def test_the_table_is_the_same_in_sql(words: list[str], random: object) -> None:
    """The view judges every word as finish_kind does: in other letters, with prefixes of enumerations."""
    ends = [
        end
        for word in words
        for end in (word, word.upper(), word.title(), f"FinishReason.{word}", f" {word.replace('_', '-')}")
    ]
    with duckdb.connect() as connection:
        for statement in schema.statements():
            connection.execute(statement)
        connection.execute(
            """INSERT INTO calls BY NAME
            SELECT number::VARCHAR AS episode_id, 0 AS attempt, 0 AS turn, 0 AS try_number, '0001' AS run_id,
                'm/a' AS method, '' AS ask_hash, finish_reason, 0 AS queue_s, 0 AS latency_s, 0 AS sent_at
            FROM (SELECT unnest($1) AS finish_reason, unnest(range(len($1))) AS number)""",
            [ends],
        )
        found = {int(number) for number, _ in connection.execute("FROM cut_plays").fetchall()}
    for number, end in enumerate(ends):
        stated = stated_finish(end)
        is_cut = stated is not None and finish_kind(stated) in ("filtered", "failed")
        assert (number in found) is is_cut, repr(end)


def test_a_play_with_a_cut_reply_is_played_anew_if_it_is_unfinished(tmp_path: Path) -> None:
    """Its other replies are not replayed, as later ones rest on the cut one; other plays are continued. After
    the run the store has the results that it would have had, and no turn stands twice in a play."""
    with open_to_read(changed(tmp_path, "SELECT 1")) as connection:
        before = unfinished_turns(connection)
    episode = max(before, key=lambda name: len(before[name]))
    turn = len(before[episode]) - 1
    store = changed(
        tmp_path,
        f"UPDATE calls SET finish_reason = 'error' WHERE episode_id = '{episode}' AND turn = {turn}",
    )
    with open_to_read(store) as connection:
        assert abandoned_attempts(connection) == {episode: 0}
        after = unfinished_turns(connection)
    assert after == {name: turns for name, turns in before.items() if name != episode}
    ended = lightbulb("run", store.with_suffix(".toml"))
    assert ended.returncode == 0, ended.stderr
    assert [list(row) for row in rows(store, RESULTS)] == json.loads((DATA / "finished.json").read_text())
    assert rows(store, f"SELECT attempt, status FROM last_episodes WHERE episode_id = '{episode}'") == [
        (1, "finished")
    ]
    assert rows(store, "FROM transcripts SELECT count(*) - count(DISTINCT (episode_id, attempt, turn))") == [
        (0,)
    ]


def test_retry_failed_plays_what_rests_on_a_cut_reply(tmp_path: Path) -> None:
    """A run leaves such a play as it is; --retry-failed plays it once more, and then it counts."""
    store = cut(tmp_path, "abort")
    ((episode,),) = rows(store, f"SELECT {BEST}")
    with open_to_read(store) as connection:
        assert failed_attempts(connection) == {episode: 0}
    attempts = f"SELECT attempt, status FROM episodes WHERE episode_id = '{episode}' ORDER BY 1"
    assert lightbulb("run", store.with_suffix(".toml")).returncode == 3
    assert rows(store, attempts) == [(0, "finished")]
    assert rows(store, f"SELECT status FROM last_episodes WHERE episode_id = '{episode}'") == [("failed",)]
    assert lightbulb("run", store.with_suffix(".toml"), "--retry-failed").returncode == 0
    assert rows(store, attempts) == [(0, "finished"), (1, "finished")]
    assert set(episodes_of(store).status) == {"finished"}


def test_an_end_that_the_sweep_declares_good_stays_good(tmp_path: Path) -> None:
    """good_ends of the method in the last sweep over the store."""
    store = changed(
        tmp_path,
        """UPDATE calls SET finish_reason = 'error' WHERE method = 'bots/good';
        UPDATE sweeps SET spec_json = '{"models": {"bots": {"methods": {"good": {"good_ends": ["error"]}}}}}'""",
    )
    assert set(episodes_of(store).status) <= {"finished", "abandoned"}


def test_replies_without_a_known_end_are_kept_and_counted_in_a_line(tmp_path: Path) -> None:
    """scores and audit name the method and the number of replies; with declared ends there is no line."""
    unknown = """UPDATE calls SET http_status = 200;
        UPDATE calls SET finish_reason = if(turn = 0, NULL, 'eureka') WHERE method = 'bots/sloppy' AND turn < 2"""
    store = changed(tmp_path, unknown)
    ((count, replies),) = rows(
        store,
        """SELECT count(*) FILTER (turn < 2), count(*)
        FROM calls JOIN episodes USING (episode_id, attempt) WHERE calls.method = 'bots/sloppy'""",
    )
    line = (
        f"Replies without a known finish reason, which may be incomplete: bots/sloppy {count} of {replies}."
    )
    for command in ("scores", "audit"):
        ended = lightbulb(command, store)
        assert ended.returncode == 0, ended.stderr
        assert line in ended.stdout
        assert "unknown_ends" in lightbulb(command, store, "--json").stdout
    declared = """; UPDATE sweeps SET spec_json =
        '{"models": {"bots": {"methods": {"sloppy": {"good_ends": ["", "eureka"]}}}}}'"""
    assert "without a known" not in lightbulb("scores", changed(tmp_path, unknown + declared)).stdout

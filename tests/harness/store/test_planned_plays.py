"""Tests of the counts of planned plays: of unfinished sweeps only whole look blocks count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from harness.core.records import AuditPlanRecord, CallRecord, EpisodeRecord, LookRecord, Record, SweepRecord
from harness.store.file import open_to_read, open_to_write
from harness.store.planned_plays import PlayCounts, play_counts
from harness.store.reader import episode_rows, game_lengths, replies_to_first_asks, reply_rows
from harness.store.writer import write_batch

BLOCKS = [["taboo:r:s:e:0:h", "wordle:r:s:e:0:h"], ["taboo:r:s:e:1:h", "wordle:r:s:e:1:h"]]
ITEMS = [item for block in BLOCKS for item in block]


def _sweep(planned: dict[str, object] | None, run: str = "0001") -> SweepRecord:
    return SweepRecord(
        run_id=run,
        name="t",
        spec_json=json.dumps({"audit": {}, "seed": 0}),
        spec_hash="h",
        seed=0,
        version="0",
        started_at=0.0,
        planned_json=None if planned is None else json.dumps(planned),
    )


def _planned(
    *methods: str, sessions: Iterable[int] = (0, 0), arms: tuple[str, ...] = ("main",)
) -> dict[str, object]:
    return {
        "blocks": BLOCKS,
        "sessions": list(sessions),
        "methods": {name: {"arms": arms, "games": ["taboo", "wordle"]} for name in methods},
    }


def _play(
    method: str, item: str, repeat: int, *, status: str = "finished", turns: int = 1, arm: str = "main"
) -> Iterator[Record]:
    """A play's calls and, unless it is open, its end."""
    game, rules, instance_set, experiment, instance, content_hash = item.split(":")
    name = f"{item}|{method}|{arm}|{repeat}"
    for turn in range(turns):
        yield CallRecord(
            episode_id=name,
            attempt=0,
            turn=turn,
            try_number=0,
            run_id="0001",
            method=method,
            ask_hash=f"{item}|{turn}",
            reply=f"{item} {turn}",
            finish_reason="stop",
            prompt_tokens=10,
            completion_tokens=2,
            served_model=None,
            request_id=None,
            http_status=200,
            error_class=None,
            error_text=None,
            queue_s=0.0,
            latency_s=1.0,
            sent_at=1.0,
        )
    if status != "open":
        yield EpisodeRecord(
            episode_id=name,
            attempt=0,
            run_id="0001",
            key=name,
            game=game,
            rules=rules,
            instance_set=instance_set,
            experiment=experiment,
            instance=instance,
            content_hash=content_hash,
            method=method,
            model="m",
            seating=method,
            arm=arm,
            batch=repeat,
            repeat=repeat,
            status=status,
            outcome="success" if status == "finished" else None,
            score=100.0 if status == "finished" else None,
            reason="",
            requests=1,
            parsed=1,
            violated=0,
            metrics_json="{}",
            turns=turns,
            started_at=1.0,
            finished_at=2.0,
        )


def _store(path: Path, rows: Iterable[Record]) -> Path:
    store = path / "s.duckdb"
    with open_to_write(store) as connection:
        write_batch(connection, store, list(rows))
    return store


def _counts(store: Path) -> dict[tuple[str, str], PlayCounts]:
    with open_to_read(store) as connection:
        return play_counts(connection)


def test_a_finished_sweep_is_complete_and_all_of_it_counts(tmp_path: Path) -> None:
    """Failed plays have ended too; nothing is open, nothing restricted."""
    rows: list[Record] = [_sweep(_planned("m/a"))]
    for item in ITEMS:
        rows += _play("m/a", item, 0)
        rows += _play("m/a", item, 1, status="failed")
    found = _counts(_store(tmp_path, rows))["m/a", "main"]
    assert (found.planned, found.ended, found.failed, found.open, found.never_begun) == (8, 4, 4, 0, 0)
    assert found.complete
    assert found.counts(ITEMS[3], 1)
    assert found.shares == (0.5, 1.0)


def test_an_unfinished_sweep_counts_by_whole_blocks(tmp_path: Path) -> None:
    """The first block has ended; of the second one play has, one is open, two were never begun."""
    rows: list[Record] = [_sweep(_planned("m/a", "m/b"))]
    for item in BLOCKS[0]:
        for repeat in range(2):
            rows += _play("m/a", item, repeat)
    rows += _play("m/a", BLOCKS[1][0], 0)
    rows += _play("m/a", BLOCKS[1][1], 0, status="open", turns=3)
    store = _store(tmp_path, rows)
    counts = _counts(store)
    found = counts["m/a", "main"]
    assert (found.planned, found.ended, found.failed, found.open, found.never_begun) == (8, 5, 0, 1, 2)
    assert (found.complete, found.whole, len(found.shares)) == (False, 1, 2)
    assert [found.counts(item, 0) for item in ITEMS] == [True, True, False, False]
    never = counts["m/b", "main"]
    assert (never.planned, never.never_begun, never.whole) == (8, 8, 0)
    with open_to_read(store) as connection:
        assert len(episode_rows(connection).counted(counts).item) == 4
        assert len(reply_rows(connection, counts).item) == 4
        assert len(reply_rows(connection).item) == 5
        assert {reply.item for reply in replies_to_first_asks(connection)} == set(BLOCKS[0])
        assert game_lengths(connection)["taboo"].calls == 1.0


def test_with_several_sessions_whole_sessions_count(tmp_path: Path) -> None:
    """The first session has ended, the second has not: its repeats count with all their items."""
    rows: list[Record] = [_sweep(_planned("m/a", sessions=(0, 1, 0)))]
    for item in ITEMS:
        rows += [*_play("m/a", item, 0), *_play("m/a", item, 2)]
    rows += _play("m/a", ITEMS[0], 1)
    found = _counts(_store(tmp_path, rows))["m/a", "main"]
    assert (found.whole, found.shares) == (1, (2 / 3, 1.0))
    assert [found.counts(ITEMS[0], repeat) for repeat in range(3)] == [True, False, True]


def test_the_last_plan_that_names_a_method_decides(tmp_path: Path) -> None:
    """A later run without a method leaves that method's plan as it was; more repeats make it unfinished
    again."""
    rows: list[Record] = [
        _sweep(_planned("m/a", "m/b", sessions=(0,))),
        _sweep(_planned("m/b"), run="0002"),
    ]
    for item in ITEMS:
        rows += [*_play("m/a", item, 0), *_play("m/b", item, 0)]
    counts = _counts(_store(tmp_path, rows))
    assert counts["m/a", "main"].complete
    assert (counts["m/b", "main"].planned, counts["m/b", "main"].whole) == (8, 0)


def test_interim_analyses_complete_a_method(tmp_path: Path) -> None:
    """A settled method needs no more plays, nor does the reference once all others are settled."""

    def look(method: str, verdict: str) -> LookRecord:
        return LookRecord(
            run_id="0001",
            model="m",
            method=method,
            reference="m/a",
            at=1.0,
            kind="look",
            look=1,
            looks=2,
            share=0.5,
            items=2,
            difference=0.0,
            se=0.0,
            low=0.0,
            high=0.0,
            equivalence_low=0.0,
            equivalence_high=0.0,
            p_difference=1.0,
            level_difference=0.01,
            p_equivalence=0.01,
            level_equivalence=0.02,
            e_value=1.0,
            e_stop=200.0,
            verdict=verdict,
        )

    rows: list[Record] = [_sweep(_planned("m/a", "m/b", "m/c")), look("m/b", "EQUIVALENT")]
    for item in BLOCKS[0]:
        for repeat in range(2):
            for method in ("m/a", "m/b", "m/c"):
                rows += _play(method, item, repeat)
    counts = _counts(_store(tmp_path, [*rows, look("m/c", "INCONCLUSIVE")]))
    assert [counts[f"m/{name}", "main"].complete for name in "abc"] == [False, True, False]
    (tmp_path / "s.duckdb").unlink()
    counts = _counts(_store(tmp_path, [*rows, look("m/c", "DIFFERENT")]))
    assert [counts[f"m/{name}", "main"].complete for name in "abc"] == [True, True, True]
    assert [counts["m/a", "main"].counts(item, 0) for item in ITEMS] == [True, True, False, False]


@pytest.mark.parametrize("repeats", [1, 2])
def test_an_older_store_counts_by_totals(tmp_path: Path, repeats: int) -> None:
    """Its plan has the number of items only: complete as before, or nothing of it counts."""
    plan = {
        "audit": {"again": True},
        "references": {"m": "m/a"},
        "methods": ["m/a", "m/b"],
        "games": {"taboo": {"items": 2}, "wordle": {"items": 2}},
        "repeats": repeats,
    }
    rows: list[Record] = [
        _sweep(None),
        AuditPlanRecord(run_id="0001", plan_hash="h", plan_json=json.dumps(plan), made_at=0.0),
    ]
    for item in ITEMS:
        for method, arm in (("m/a", "main"), ("m/a", "again"), ("m/b", "main")):
            rows += _play(method, item, 0, arm=arm)
    counts = _counts(_store(tmp_path, rows))
    assert {found.complete for found in counts.values()} == {repeats == 1}
    assert {found.counts(ITEMS[0], 0) for found in counts.values()} == {repeats == 1}
    assert set(counts) == {("m/a", "main"), ("m/a", "again"), ("m/b", "main")}

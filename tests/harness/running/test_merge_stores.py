"""Tests of `lightbulb merge`: parts of one sweep become one store; other sweeps and plays are refused."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.core.bench_records import BenchRequest, BenchStage
from harness.core.errors import SpecError, StoreError, StoreInUse
from harness.core.records import GateEvent, LogprobRecord, ProbeRecord, Record, RescoreRecord, SummaryRecord
from harness.running.merge_stores import merge_stores
from harness.store import schema
from harness.store.file import open_to_write
from harness.store.writer import write_batch
from tests.bots import RESULTS, rows
from tests.command import lightbulb
from tests.disk import small_disk

OLD = Path(__file__).parents[2] / "data" / "store_0_1_0"
SWEEP = """
name = "t"
seed = 5
repeats = {repeats}
[audit]
again = false
margin = {margin}
[games.taboo]
items = {items}
[models.bots.methods.{first}]
bots = {{ skill = {skill} }}
"""
SLOPPY = "[models.bots.methods.sloppy]\nbots = { skill = 0.8, form_errors = 0.1 }\n"


def played(folder: Path, name: str, *, more: object = "", **values: object) -> Path:
    """Returns the store of a sweep that bots played."""
    chosen = {"repeats": 1, "items": 4, "first": "good", "skill": 0.8, "margin": 3.0, **values}
    sweep = folder / f"{name}.toml"
    sweep.write_text(SWEEP.format(**chosen) + str(more))
    ended = lightbulb("run", sweep, "--store", folder / f"{name}.duckdb")
    assert ended.returncode == 0, ended.stderr
    return folder / f"{name}.duckdb"


def merged(*sources: Path, into: str = "all") -> Path:
    target = sources[0].with_name(f"{into}.duckdb")
    ended = lightbulb("merge", *sources, "-o", target)
    assert ended.returncode == 0, ended.stderr
    return target


def counts(store: Path) -> Mapping[str, object]:
    return {table: rows(store, f"SELECT count(*) FROM {table}")[0][0] for table in schema.TABLES.values()}


def test_two_methods_of_one_sweep_become_one_store(tmp_path: Path) -> None:
    """The parts' results equal those of the whole sweep; audits compare the methods; a repeated merge adds
    nothing."""
    whole = played(tmp_path, "whole", more=SLOPPY)
    parts = [played(tmp_path, "a"), played(tmp_path, "b", first="other", more=SLOPPY)]
    good, sloppy = parts
    both = merged(good, sloppy)
    assert [row for row in rows(both, RESULTS) if "bots/other" not in str(row[0])] == rows(whole, RESULTS)
    before = counts(both)
    assert before["calls"] == sum(int(str(counts(part)["calls"])) for part in parts)
    assert rows(both, "SELECT DISTINCT run_id FROM calls ORDER BY 1") == [("0001",), ("0002",)]
    assert rows(both, "SELECT method FROM methods") == [("bots/good",), ("bots/other",), ("bots/sloppy",)]
    audit = lightbulb("audit", both, "--json")
    assert audit.returncode == 0, audit.stderr
    assert '"method":"bots/sloppy"' in audit.stdout.replace(" ", "")
    assert counts(merged(good, sloppy)) == before
    assert sorted(path.name for path in tmp_path.glob("all*")) == ["all.duckdb"]


def test_a_store_and_its_continuation_are_merged_once(tmp_path: Path) -> None:
    """Rows that both stores hold are written once; the merged store has the further repeats."""
    store = played(tmp_path, "t")
    shutil.copy(store, tmp_path / "earlier.duckdb")
    played(tmp_path, "t", repeats=3)
    for order in ((store, tmp_path / "earlier.duckdb"), (tmp_path / "earlier.duckdb", store)):
        both = merged(*order, into=order[0].stem + "-first")
        assert counts(both) == counts(store)
        assert rows(both, RESULTS) == rows(store, RESULTS)
        assert rows(both, "SELECT run_id, started_at FROM sweeps ORDER BY 1") == rows(
            store, "SELECT run_id, started_at FROM sweeps ORDER BY 1"
        )


def test_a_link_to_a_store_stays_a_link(tmp_path: Path) -> None:
    """The file that it names, on another disk perhaps, is the one that is written."""
    one, other = played(tmp_path, "a"), played(tmp_path, "b", first="other")
    link = tmp_path / "all.duckdb"
    link.symlink_to(one)
    before = counts(one)
    both = merged(one, other)
    assert both == link
    assert link.is_symlink()
    assert int(str(counts(one)["episodes"])) == 2 * int(str(before["episodes"]))


def test_the_merged_store_is_continued(tmp_path: Path) -> None:
    """The sweep with all methods finds every episode of the parts, and plays only further ones."""
    parts = played(tmp_path, "a"), played(tmp_path, "b", first="other")
    both = merged(*parts)
    all_methods = "[models.bots.methods.other]\nbots = { skill = 0.8 }\n"
    sweep = tmp_path / "all.toml"
    sweep.write_text(SWEEP.format(repeats=2, items=4, first="good", skill=0.8, margin=3.0) + all_methods)
    ended = lightbulb("run", sweep, "--store", both)
    assert ended.returncode == 0, ended.stderr
    assert rows(both, "SELECT run_id, count(*) FROM episodes GROUP BY 1 ORDER BY 1") == [
        ("0001", 4),
        ("0002", 4),
        ("0003", 8),
    ]


def test_two_plays_of_one_episode_are_refused_by_name(tmp_path: Path) -> None:
    """The same sweep played twice is a conflict: nothing is written, and the sentence names an episode."""
    first, second = played(tmp_path, "a"), played(tmp_path, "b")
    ended = lightbulb("merge", first, second, "-o", tmp_path / "all.duckdb")
    assert ended.returncode == 2
    ((episode,),) = rows(second, "SELECT min(episode_id) FROM episodes")
    assert "4 of its episodes are in a store before it, too" in ended.stderr
    assert f"the first is {episode} of bots/good" in ended.stderr
    assert not list(tmp_path.glob("all*"))


def test_a_target_with_other_plays_keeps_its_rows(tmp_path: Path) -> None:
    """A refused merge changes no byte of the target."""
    target, second = played(tmp_path, "a"), played(tmp_path, "b")
    before = target.read_bytes()
    with pytest.raises(SpecError, match="so nothing is merged"):
        merge_stores([second], target, notify=print)
    assert target.read_bytes() == before
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"items": 5}, "0 items of taboo are planned only in {a}, and 1 only in {b}"),
        ({"margin": 2.0}, "audit.margin is 3.0 in {a}, and 2.0 in {b}"),
        (
            {"more": "[games.wordle]\nitems = 2\n"},
            "0 items of wordle are planned only in {a}, and 2 only in {b}",
        ),
        ({"skill": 0.5}, "models.bots.methods.good.bots.skill is 0.8 in {a}, and 0.5 in {b}"),
    ],
)
def test_other_sweeps_are_refused(tmp_path: Path, changed: dict[str, object], sentence: str) -> None:
    """Other items, games, margins and settings of a method are named with the store of each; nothing is
    written."""
    first, second = played(tmp_path, "a"), played(tmp_path, "b", **changed)
    with pytest.raises(SpecError) as refused:
        merge_stores([first, second], tmp_path / "all.duckdb", notify=print)
    assert sentence.format(a=first, b=second) in str(refused.value)
    assert not (tmp_path / "all.duckdb").exists()


def test_rows_without_a_play_are_merged_once(tmp_path: Path) -> None:
    """Gate events, load tests, probes and averages come over once; load tests get numbers of their own."""
    stores = []
    for number, name in enumerate("ab"):
        stores.append(played(tmp_path, name, first=f"m{number}"))
        with open_to_write(stores[-1]) as connection:
            write_batch(connection, stores[-1], _other_rows(f"bots/m{number}", at=2e9 + number))
    both = merged(*stores)
    assert rows(both, "SELECT DISTINCT run_id, method FROM bench_requests ORDER BY ALL") == [
        ("bench-0001", "bots/m0"),
        ("bench-0002", "bots/m1"),
    ]
    assert rows(both, "SELECT run_id, gate FROM gate_events WHERE kind = 'rest' ORDER BY ALL") == [
        ("0001", "bots/m0"),
        ("0001", "bots/m0"),
        ("0002", "bots/m1"),
        ("0002", "bots/m1"),
    ]
    before = counts(both)
    assert (before["probes"], before["summaries"]) == (2, 2)
    assert counts(merged(*stores)) == before


def test_what_belongs_to_a_reply_is_merged_once(tmp_path: Path) -> None:
    """Log-probabilities come over once; of two scores of one reply by one reference the first stands."""
    store = played(tmp_path, "a")
    ((episode,),) = rows(store, "SELECT min(episode_id) FROM episodes")
    copy = tmp_path / "copy.duckdb"
    with open_to_write(store) as connection:
        write_batch(connection, store, [_logprobs(str(episode))])
    shutil.copy(store, copy)
    for path, at in ((store, 1.0), (copy, 2.0)):
        with open_to_write(path) as connection:
            write_batch(connection, path, [_rescored(str(episode), at=at), _rescored("other", at=at)])
    both = merged(store, copy)
    assert rows(both, "SELECT episode_id, tokens FROM logprobs") == [(episode, 3)]
    assert rows(both, "SELECT episode_id, rescored_at FROM rescores ORDER BY 1") == sorted(
        [(episode, 1.0), ("other", 1.0)]
    )


def _logprobs(episode: str) -> LogprobRecord:
    return LogprobRecord(
        episode_id=episode,
        attempt=0,
        turn=0,
        try_number=0,
        run_id="0001",
        method="bots/good",
        ask_hash="h",
        tokens=3,
        first_token="a",
        first_logprob=-0.1,
        logprob_sum=-1.0,
        tokens_json="[]",
    )


def _rescored(episode: str, *, at: float) -> RescoreRecord:
    return RescoreRecord(
        rescored_at=at,
        reference="bots/reference",
        engine_json=None,
        method="bots/good",
        episode_id=episode,
        attempt=0,
        turn=0,
        ask_hash="h",
        tokens=3,
        joined=False,
        margin_sum=at,
        unlike=0,
        tokens_json="[]",
    )


def _other_rows(method: str, *, at: float) -> list[Record]:
    event = GateEvent(run_id="0001", gate=method, kind="rest", detail="pausing", at=at)
    stage = BenchStage(
        run_id="bench-0001",
        stage=0,
        method=method,
        loop="closed",
        level=1.0,
        requests=1,
        wall_s=1.0,
        cpu_share=0.1,
        lag_s=0.0,
        lag_s_max=0.0,
        refused=None,
        at=at,
    )
    request = BenchRequest(
        run_id="bench-0001",
        stage=0,
        method=method,
        due_s=0.0,
        sent_s=0.0,
        first_s=None,
        done_s=1.0,
        prompt_tokens=None,
        completion_tokens=None,
        gap_s_median=None,
        error_class=None,
    )
    average = SummaryRecord(
        run_id="0001", method=method, model="bots", game="g", played=50.0, quality=1.0, quality_std=None
    )
    probe = ProbeRecord(
        check_at=at,
        method=method,
        model="bots",
        kind="stop",
        name="n",
        number=0,
        temperature=None,
        seed=None,
        stop=None,
        tokens_max=1,
        reply=None,
        finish_reason=None,
        prompt_tokens=None,
        completion_tokens=None,
        served_model=None,
        upstream=None,
        system_fingerprint=None,
        latency_s=0.0,
        cost_usd=None,
        error_class=None,
        error_text=None,
    )
    return [event, event, stage, request, average, probe]


def test_a_full_disk_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    """The disk is to blame, not the file; the same command merges once there is space."""
    parts = [played(tmp_path, "a"), played(tmp_path, "b", first="other")]
    target = tmp_path / "disk" / "all.duckdb"
    with small_disk(target.parent, megabytes=1) as grow:
        full = lightbulb("merge", *parts, "-o", target)
        assert full.returncode == 2
        assert "No space left on device; free space on this disk" in full.stderr
        assert "damaged" not in full.stderr
        assert list(target.parent.iterdir()) == []
        grow(64)
        assert lightbulb("merge", *parts, "-o", target).returncode == 0


def test_a_store_of_0_1_0_is_merged(tmp_path: Path) -> None:
    """A store without this version's columns is read as it is; its plays stand beside a new method's."""
    old, new, both = (tmp_path / f"{name}.duckdb" for name in ("old", "new", "both"))
    old.write_bytes(gzip.decompress((OLD / "t.duckdb.gz").read_bytes()))
    before = old.read_bytes()
    sweep = tmp_path / "new.toml"
    text, _, _ = (OLD / "t.toml").read_text().partition("[models.bots.methods.sloppy]")
    sweep.write_text(text.replace("methods.good", "methods.new"))
    assert lightbulb("run", sweep, "--store", new).returncode == 0
    ended = lightbulb("merge", old, new, "-o", both)
    assert ended.returncode == 0, ended.stderr
    assert "an older lightbulb made it" in ended.stderr
    assert old.read_bytes() == before
    assert rows(both, "SELECT version FROM store") == [(schema.VERSION,)]
    for store, method in ((old, "bots/sloppy"), (new, "bots/new")):
        wanted = (
            f"SELECT episode_id, outcome, score, turns FROM episodes WHERE method = '{method}' ORDER BY 1"
        )
        assert rows(both, wanted) == rows(store, wanted)
    audit = lightbulb("audit", both, "--json")
    assert audit.returncode == 0, audit.stderr


def test_a_store_that_a_run_holds_is_refused(tmp_path: Path) -> None:
    """The sentence names the way to a copy, where the run answers queries."""
    first, second = played(tmp_path, "a"), played(tmp_path, "b", first="other")
    script = f"""
import time
from pathlib import Path
import anyio
from harness.store.file import open_to_write
from harness.store.query_server import QueryServer
store = Path({str(second)!r})
async def hold():
    with open_to_write(store) as connection:
        async with QueryServer(connection, store).serving(pause=None, notify=print):
            print("held", flush=True)
            await anyio.sleep(60)
anyio.run(hold)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreInUse, match=r"`lightbulb backup .*b.duckdb COPY.duckdb` makes"):
            merge_stores([first, second], tmp_path / "all.duckdb", notify=print)
        holder.kill()


def test_one_store_is_no_merge(tmp_path: Path) -> None:
    """A store that is named twice is one store."""
    store = played(tmp_path, "a")
    with pytest.raises(SpecError, match="at least two stores"):
        merge_stores([store, store], tmp_path / "all.duckdb", notify=print)
    with pytest.raises(StoreError, match="there is no such store"):
        merge_stores([store, tmp_path / "none.duckdb"], tmp_path / "all.duckdb", notify=print)

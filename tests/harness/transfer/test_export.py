"""Tests of exports: an export that is imported again has the same rows."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest

import harness
from harness.core.errors import SpecError, StoreError
from harness.running.merge_stores import merge_stores
from harness.transfer.clembench_export import ExportedEpisode, write_episode
from harness.transfer.into_store import Grouping, import_results
from harness.transfer.out_of_store import export_clembench, export_hub, export_tables
from tests.harness.report.telling import HOSTILE, telling_store

SEATS = {"taboo": ("describer", "guesser"), "privateshared": ("answerer", "questioner")}
SWEEP = {
    "name": "out",
    "repeats": 2,
    "games": {"taboo": {"items": 6}, "imagegame": {"items": 4}, "privateshared": {"items": 2}},
    "models": {
        "m": {
            "methods": {
                "good": {"bots": {"skill": 0.8}},
                "sloppy": {"bots": {"skill": 0.8, "form_errors": 0.2}},
            }
        }
    },
    "audit": {"again": False},
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> harness.Store:
    """A store with two methods, three games and every outcome."""
    return harness.run(SWEEP, store=tmp_path_factory.mktemp("out") / "out.duckdb").store


def test_clembench_folders_can_be_imported_again(played: harness.Store, tmp_path: Path) -> None:
    """Every repeat keeps its outcomes, scores, counts, prompts, replies, format errors, tokens and times."""
    end = export_clembench(played.path, tmp_path / "out", seats=SEATS)
    assert [folder.name for folder in end.folders] == ["repeat-0", "repeat-1"]
    for repeat, folder in enumerate(end.folders):
        store = tmp_path / f"{repeat}.duckdb"
        assert import_results([folder], store, Grouping.read(["m"]), wall_s=0.0, notify=print).problems == ()
        back = harness.open_store(store)
        episodes = (
            "SELECT game, experiment, instance, replace(method, '@', '/') AS method, outcome, score,"
            " requests, parsed, violated, turns"
            " FROM last_episodes WHERE repeat = ? ORDER BY ALL"
        )
        assert back.sql(episodes, 0).rows() == played.sql(episodes, repeat).rows()
        turns = (
            "SELECT game, instance, replace(last_episodes.method, '@', '/') AS method, turn, reply,"
            " violation, prompt_tokens, ask_hash,"
            " history_kept, latency_s FROM transcripts JOIN last_episodes USING (episode_id, attempt) WHERE"
            " repeat = ?"
            " ORDER BY ALL"
        )
        imported, kept = back.sql(turns, 0).rows(), played.sql(turns, repeat).rows()
        assert [row[:-1] for row in imported] == [row[:-1] for row in kept]
        assert [row[-1] for row in imported] == pytest.approx(
            [row[-1] for row in kept], abs=2e-6
        )  # stamps hold microseconds
        assert {row["outcome"] for row in played.episodes()} >= {"success", "lost", "aborted"}
        seats = (
            "SELECT DISTINCT seat FROM turns JOIN episodes USING (episode_id) WHERE game = 'taboo' ORDER BY 1"
        )
        assert back.sql(seats).rows() == [("Player 1",), ("Player 2",)]


def test_hostile_texts_are_kept(tmp_path: Path) -> None:
    """Markup, quotes, control characters and emoji in replies and names stay as they are; folders stay inside
    the root."""
    store = telling_store(tmp_path / "told.duckdb", methods=("m/here", "m/<b>there</b>"))
    end = export_clembench(store, tmp_path / "out", seats=SEATS)
    import_results([end.folders[0]], tmp_path / "back.duckdb", Grouping.read(["m"]), wall_s=0.0, notify=print)
    replies = harness.open_store(tmp_path / "back.duckdb").sql("SELECT reply FROM calls").rows()
    assert {f"GUESS: {one}" for one in HOSTILE} <= {row[0] for row in replies}


def test_an_unscored_episode_has_no_score_file(tmp_path: Path) -> None:
    """clembench counts every episode with scores as played or aborted; imported again it is unscored, not
    failed."""
    episode = ExportedEpisode(
        game="taboo",
        rules="v1.6",
        experiment="x",
        experiment_index=0,
        instance="4",
        seating=("A",),
        outcome="unscored",
        score=None,
        requests=0,
        parsed=0,
        violated=0,
        metrics={},
        turns=(),
    )
    folder = write_episode(tmp_path / "r", episode, SEATS["taboo"])
    write_episode(tmp_path / "r", replace(episode, instance="5", outcome="aborted"), SEATS["taboo"])
    assert not (folder / "scores.json").exists()
    import_results([tmp_path / "r"], tmp_path / "s.duckdb", Grouping.read([]), wall_s=0.0, notify=print)
    outcomes = harness.open_store(tmp_path / "s.duckdb").sql("SELECT outcome FROM episodes ORDER BY instance")
    assert outcomes.rows() == [("unscored",), ("aborted",)]


def test_an_export_stays_in_its_folder(tmp_path: Path) -> None:
    """A table may name a game, an experiment, an item and a model by a path to elsewhere."""
    table, root = tmp_path / "raw.csv", tmp_path / "a" / "b" / "out"
    rows = ["game,model,experiment,episode,metric,value"]
    for metric, value in (("Main Score", 100), ("Aborted", 0), ("Success", 1)):
        rows.append(f"../../etc,..,../../../x,episode_0,{metric},{value}")
        rows.append(f"..,..--..,..,episode_1,{metric},{value}")
    table.write_text("\n".join(rows))
    import_results([table], tmp_path / "s.duckdb", Grouping.read([]), wall_s=0.0, notify=print)
    assert export_clembench(tmp_path / "s.duckdb", root, seats={}).episodes == 2
    assert len(list(root.glob("*/*/*/*/scores.json"))) == 2
    assert len(list(tmp_path.rglob("scores.json"))) == 2


def test_two_methods_of_one_folder_are_refused(played: harness.Store, tmp_path: Path) -> None:
    """An import of an export names its methods as their folders, m@good for m/good. A store of both would
    have one folder for two methods: nothing is written."""
    export_clembench(played.path, tmp_path / "out", seats=SEATS)
    both = tmp_path / "both.duckdb"
    import_results([tmp_path / "out" / "repeat-0"], both, Grouping.read([]), wall_s=0.0, notify=print)
    merge_stores([played.path, both], tmp_path / "merged.duckdb", notify=print)
    with pytest.raises(SpecError, match="the folders of m/good and m@good would have one name, m@good"):
        export_clembench(tmp_path / "merged.duckdb", tmp_path / "again", seats=SEATS)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_tables_are_files(played: harness.Store, tmp_path: Path, form: str) -> None:
    """Each table and view has a file with its rows and columns, quotes, line ends and NULLs included."""
    rows = export_tables(played.path, tmp_path / "out", form)  # type: ignore[arg-type]
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(rows)
    transcripts = played.sql("SELECT reply FROM transcripts").rows()
    assert rows["transcripts"] == len(transcripts)
    if form == "parquet":
        table = pyarrow.parquet.read_table(tmp_path / "out" / "transcripts.parquet")
        assert sorted(table["reply"].to_pylist()) == sorted(row[0] for row in transcripts)
    else:
        with (tmp_path / "out" / "transcripts.csv").open(newline="") as file:
            assert sorted(row["reply"] for row in csv.DictReader(file)) == sorted(
                row[0] for row in transcripts
            )


def test_the_hubs_folder_describes_itself(played: harness.Store, tmp_path: Path) -> None:
    """The card names every file and each access method, and states no licence."""
    export_hub(played.path, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    named = re.findall(r"data_files: (\S+)", card)
    assert sorted(named) == sorted(
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out" / "data").iterdir()
    )
    assert "| m/good | m | bots |" in card
    assert "\nlicense:" not in card


def test_nothing_is_overwritten(played: harness.Store, tmp_path: Path) -> None:
    """A folder that is not empty is refused; a store that does not exist is too, and no folder is made."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(SpecError, match="is not empty"):
        export_tables(played.path, tmp_path / "full", "csv")
    with pytest.raises(StoreError, match="no such store"):
        export_tables(tmp_path / "none.duckdb", tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()

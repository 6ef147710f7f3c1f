"""Tests of the import of published results, and of the scores and audits of imported stores."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from harness.analysis.store_audit import ModelScores, store_audit, store_scores
from harness.core.errors import AuditError, SpecError
from harness.core.records import SweepRecord
from harness.store.file import open_to_write
from harness.store.writer import write_batch
from harness.transfer.into_store import Grouping, ImportEnd, import_results
from tests.command import lightbulb
from tests.harness.transfer.published import chat_call, metrics, write_episode, write_raw, write_results

PUBLISHED = Path(__file__).parents[1] / "audit" / "data" / "published_scores.csv"
# The published row of Llama-3-70B through Groq: scored episodes, played ones, mean main score; one episode
# more has no scores.
GROQ = {
    "imagegame": (40, 4, 80.5),
    "privateshared": (50, 50, 75.49),
    "referencegame": (180, 180, 62.78),
    "taboo": (60, 58, 68.97),
    "wordle": (30, 25, 2.0),
    "wordle_withclue": (30, 28, 17.38),
    "wordle_withcritic": (29, 27, 27.28),
}
GAMES = tuple(GROQ)


def bring(store: Path, *paths: Path, models: Sequence[str] = ()) -> ImportEnd:
    return import_results(paths, store, Grouping.read(models), wall_s=1_700_000_000.0, notify=print)


def rows(store: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()


def pair(player: str) -> str:
    return f"{player}-t0.0--{player}-t0.0"


def two_methods(root: Path, *, prompts: bool = False) -> Path:
    """Writes two access methods of one model on the same 30 items; the second aborts a third of them."""
    for player in ("toy-here", "toy-there"):
        for k in range(30):
            score = None if player == "toy-there" and k % 3 == 0 else 100.0 * (k % 2)
            files = (
                {"requests": [chat_call("t", [("user", f"puzzle {k}")], f"{player} {k % 5}")]}
                if prompts
                else {}
            )
            write_episode(
                root,
                f"{pair(player)}/taboo/0_x/episode_{k}",
                metrics(score),
                instance={"game_id": k},
                **files,
            )
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s.duckdb"


# --- the published figures
# ----------------------------------------------------------------------------------------------------


def _figures(scores: ModelScores) -> tuple[object, ...]:
    (method,) = scores.methods or scores.summaries
    return (method.clemscore.value, method.clemscore.played, method.clemscore.quality)


def test_the_groq_row_from_its_episodes(tmp_path: Path, store: Path) -> None:
    """420 episode folders with the published counts give 39.34; the one without scores is unscored, not
    aborted, and counts nowhere."""
    for game, (scored, played, quality) in GROQ.items():
        for k in range(scored):
            write_episode(
                tmp_path / "r",
                f"{pair('groq')}/{game}/0_x/episode_{k}",
                metrics(quality if k < played else None),
            )
    write_episode(tmp_path / "r", f"{pair('groq')}/wordle_withcritic/0_x/episode_29", None, interactions={})
    end = bring(store, tmp_path / "r")
    assert (end.episodes, end.aborted, end.unscored, end.problems) == (420, 47, 1, ())
    (model,) = store_scores(store)
    assert _figures(model) == (39.34, 82.35, 47.77)
    counts = {game.game: (game.episodes, game.aborted, game.unscored) for game in model.methods[0].games}
    assert counts["wordle_withcritic"] == (29, 2, 1)
    assert counts["imagegame"] == (40, 36, 0)
    assert (
        model.methods[0].episodes,
        model.methods[0].aborted,
        model.methods[0].unscored,
        model.methods[0].failed,
    ) == (420, 47, 1, 0)


def test_every_published_row_from_its_averages(tmp_path: Path, store: Path) -> None:
    """All 55 rows of a results.csv keep clemscore and both averages to two decimals, each under its model."""
    with PUBLISHED.open(newline="") as file:
        published = list(csv.DictReader(file))
    path = write_results(
        tmp_path / "results.csv",
        GAMES,
        [(pair(f"{row['model']}@{row['backend']}"), row) for row in published],
    )
    end = bring(store, path, models=[f"{model}={model}@*" for model in {row["model"] for row in published}])
    assert end.problems == ()
    assert end.episodes == 0
    found = {
        (part.model, method.method): (
            method.clemscore.value,
            method.clemscore.played,
            method.clemscore.quality,
        )
        for part in store_scores(store)
        for method in part.summaries
    }
    assert len(found) == len(published) == 55
    for row in published:
        figures = tuple(
            float(row[name]) if row[name] else None for name in ("clemscore", "avg_played", "avg_quality")
        )
        assert found[row["model"], f"{row['model']}@{row['backend']}"] == figures


def test_averages_alone_are_no_audit(tmp_path: Path, store: Path) -> None:
    """The error names what is needed; averages are shown beside episodes once those are imported."""
    with PUBLISHED.open(newline="") as file:
        row = next(iter(csv.DictReader(file)))
    bring(
        store,
        write_results(tmp_path / "results.csv", GAMES, [(pair("toy-here"), row), (pair("toy-there"), row)]),
        models=["toy"],
    )
    with pytest.raises(
        AuditError,
        match=r"published averages alone do not show .*; import the raw\.csv or the episode folders",
    ):
        store_audit(store, reference=None, margin=None)
    bring(store, two_methods(tmp_path / "r"), models=["toy"])
    (part,) = store_scores(store)
    assert (
        [one.method for one in part.methods]
        == [one.method for one in part.summaries]
        == ["toy-here", "toy-there"]
    )
    assert store_audit(store, reference=None, margin=None)[0].scores.comparisons[0].method == "toy-there"


# --- audits
# -----------------------------------------------------------------------------------------------------------


def test_imported_methods_are_audited(tmp_path: Path, store: Path) -> None:
    """Pairs that --model makes one model, whatever the case of their letters, are compared on the same
    instances, by scores and by first replies to identical prompts."""
    bring(store, two_methods(tmp_path / "r", prompts=True), models=["toy=TOY-*"])
    (found,) = store_audit(store, reference="toy-here", margin=None)
    (comparison,) = found.scores.comparisons
    assert (comparison.items, comparison.items_dropped, comparison.verdict) == (30, 0, "DIFFERENT")
    assert found.replies is not None
    assert found.replies.across[0].method == "toy-there"
    calls = "SELECT DISTINCT method, latency_s, prompt_tokens, served_model FROM calls ORDER BY ALL"
    assert rows(store, calls) == [("toy-here", 1.5, 7, "served"), ("toy-there", 1.5, 7, "served")]
    times = "SELECT DISTINCT started_at, finished_at, turns FROM episodes"
    assert rows(store, times) == [(1717063200.0, 1717063201.5, 1)]


def test_by_default_each_pair_is_its_own_model(tmp_path: Path, store: Path) -> None:
    """Nothing is compared unless the user says that it is one model; an episode without a transcript has no
    calls."""
    bring(store, two_methods(tmp_path / "r"))
    assert [part.model for part in store_scores(store)] == ["toy-here", "toy-there"]
    with pytest.raises(AuditError, match="no model in it was played through two access methods"):
        store_audit(store, reference=None, margin=None)


def test_raw_csv_is_enough_for_an_audit(tmp_path: Path, store: Path) -> None:
    """It has the episodes, without transcripts."""
    episodes = [
        (f"{pair(player)}/taboo/0_x/episode_{k}", metrics(None if player == "b" and k < 10 else 50.0))
        for player in "ab"
        for k in range(20)
    ]
    bring(store, write_raw(tmp_path / "raw.csv", episodes), models=["toy"])
    (found,) = store_audit(store, reference=None, margin=None)
    assert (found.scores.comparisons[0].items, found.replies) == (20, None)
    assert store_scores(store)[0].methods[1].aborted == 10


def test_an_import_leaves_the_sweeps_margins(tmp_path: Path, store: Path) -> None:
    """The audit decisions of a sweep hold after an import into its store."""
    fixed = json.dumps({"audit": {"reference": None, "margin": 7.5, "alpha": 0.01}, "seed": 9})
    with open_to_write(store) as connection:
        row = SweepRecord(
            run_id="0001",
            name="mine",
            spec_json=fixed,
            spec_hash="h",
            seed=9,
            version="0",
            started_at=0.0,
        )
        write_batch(connection, store, [row])
    bring(store, two_methods(tmp_path / "r"), models=["toy"])
    (found,) = store_audit(store, reference=None, margin=None)
    assert (found.scores.margin, found.scores.alpha, found.scores.seed) == (7.5, 0.01, 9)
    assert rows(store, "SELECT run_id, name FROM sweeps ORDER BY run_id") == [
        ("0001", "mine"),
        ("0002", "import"),
    ]


# --- once, and only once -----------------------------------------------------------------------


def test_a_second_import_adds_what_is_new(tmp_path: Path, store: Path) -> None:
    """Known episodes are counted, not added; an import without new results adds no row."""
    root = two_methods(tmp_path / "r")
    assert bring(store, root).episodes == 60
    again = bring(store, root)
    assert (again.episodes, again.known, again.problems, again.methods) == (0, 60, (), ())
    write_episode(root, f"{pair('toy-here')}/taboo/0_x/episode_30", metrics(1.0))
    more = bring(store, root)
    assert (more.episodes, more.known, more.methods) == (1, 60, ("toy-here",))
    assert rows(store, "SELECT count(*), count(DISTINCT episode_id), count(DISTINCT key) FROM episodes") == [
        (61, 61, 61)
    ]
    assert rows(store, "SELECT count(*) FROM sweeps") == [(2,)]
    assert [len(part.methods) for part in store_scores(store)] == [1, 1]


def test_averages_are_added_once(tmp_path: Path, store: Path) -> None:
    with PUBLISHED.open(newline="") as file:
        row = next(iter(csv.DictReader(file)))
    path = write_results(tmp_path / "results.csv", GAMES, [(pair("toy"), row)])
    assert bring(store, path).summaries == 7
    again = bring(store, path)
    assert (again.summaries, again.known) == (0, 7)
    changed = bring(store, write_results(path, GAMES, [(pair("toy"), row | {"taboo_played": "1.0"})]))
    assert len(changed.problems) == 1
    assert (
        "toy/taboo: the store has (68.33, 41.46, 49.88), these results have (1.0, 41.46, 49.88)"
        in changed.problems[0]
    )


def test_results_that_occur_twice_are_reported(tmp_path: Path, store: Path) -> None:
    """Under two roots, or as `--` and as `-t0.0--`: the first is imported, the second is reported."""
    for root, name in (("r1", pair("A")), ("r2", "A--A")):
        write_episode(tmp_path / root, f"{name}/taboo/0_x/episode_4", metrics(100.0))
    end = bring(store, tmp_path / "r1", tmp_path / "r2")
    assert end.episodes == 1
    first, second = tmp_path / "r1", tmp_path / "r2"
    assert end.problems == (f"1 episodes are in {first} and in {second}; those of {first} are imported",)


def test_results_that_contradict_the_store_are_reported(tmp_path: Path, store: Path) -> None:
    """Another outcome of the same episode is of another run: it is not imported, and it is reported."""
    for root, score in (("r1", 100.0), ("r2", None)):
        write_episode(tmp_path / root, f"{pair('A')}/taboo/0_x/episode_4", metrics(score))
    bring(store, tmp_path / "r1")
    end = bring(store, tmp_path / "r2")
    assert (end.episodes, end.known) == (0, 0)
    assert end.problems == (
        "A/taboo/v1.6/x/4: its outcome is ('success', 100.0) in the store and ('aborted', None) in these results; import"
        " into a new store",
    )


# --- missing plays -----------------------------------------------------------------------------

STATES = """
    SELECT method, instance, status, outcome, attempt, reason FROM last_episodes ORDER BY method, instance::INT"""


def test_a_play_without_a_record_is_missing_not_lost(tmp_path: Path, store: Path) -> None:
    """A method whose backend broke off has folders without a record, or no folders; neither counts as a play,
    and both are failed plays of the items that the model's other method has."""
    for k in range(4):
        place = f"taboo/0_x/episode_{k}"
        write_episode(tmp_path, f"{pair('here')}/{place}", metrics(100.0), instance={"game_id": k})
        if k < 2:
            write_episode(tmp_path, f"{pair('there')}/{place}", metrics(100.0), instance={"game_id": k})
        elif k < 3:
            write_episode(tmp_path, f"{pair('there')}/{place}", None, instance={"game_id": k})
    write_episode(tmp_path, f"{pair('here')}/wordle/0_x/episode_0", metrics(100.0))
    end = bring(store, tmp_path, models=["toy"])
    assert (end.episodes, end.failed, end.missing, end.problems) == (9, 2, 1, ())
    there = [row[1:] for row in rows(store, STATES) if row[0] == "there"]
    assert there == [
        ("0", "finished", "success", 0, "published as success"),
        ("1", "finished", "success", 0, "published as success"),
        ("2", "failed", None, 0, "neither scores nor a record of the play were published"),
        ("3", "failed", None, 0, "no record: another access method of this model has the item"),
    ], "and nothing in wordle, of which it has no play at all"
    assert bring(store, tmp_path, models=["toy"]).episodes == 0


def test_a_record_that_comes_later_replaces_a_failed_play(tmp_path: Path, store: Path) -> None:
    """It is another attempt; items that only a later import has are missing in the earlier method."""
    for k in range(2):
        write_episode(tmp_path / "a", f"{pair('here')}/taboo/0_x/episode_{k}", metrics(100.0))
    write_episode(tmp_path / "b", f"{pair('there')}/taboo/0_x/episode_0", metrics(0.0))
    bring(store, tmp_path / "a", tmp_path / "b", models=["toy"])
    write_episode(tmp_path / "c", f"{pair('there')}/taboo/0_x/episode_1", metrics(0.0))
    write_episode(tmp_path / "c", f"{pair('there')}/taboo/0_x/episode_2", metrics(0.0))
    end = bring(store, tmp_path / "c", models=["toy"])
    assert (end.episodes, end.failed, end.missing) == (3, 1, 1)
    assert [row[:5] for row in rows(store, STATES)] == [
        ("here", "0", "finished", "success", 0),
        ("here", "1", "finished", "success", 0),
        ("here", "2", "failed", None, 0),
        ("there", "0", "finished", "lost", 0),
        ("there", "1", "finished", "lost", 1),
        ("there", "2", "finished", "lost", 0),
    ]


# --- items and transcripts ---------------------------------------------------------------------


@pytest.mark.parametrize("folder_first", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_and_a_table_have_the_same_items(
    tmp_path: Path, store: Path, folder_first: bool, at_once: bool
) -> None:
    """A table names an instance, a folder publishes it; plays of the same name are compared."""
    for k in range(20):
        place = f"{pair('here')}/taboo/0_x/episode_{k}"
        write_episode(tmp_path / "folder", place, metrics(50.0), instance={"game_id": k})
    table = write_raw(
        tmp_path / "raw.csv",
        [(f"{pair('there')}/taboo/0_x/episode_{k}", metrics(None if k < 10 else 50.0)) for k in range(20)],
    )
    paths = [tmp_path / "folder", table] if folder_first else [table, tmp_path / "folder"]
    for group in [paths] if at_once else [[path] for path in paths]:
        bring(store, *group, models=["toy=*"])
    (found,) = store_audit(store, reference="here", margin=None)
    assert (found.scores.comparisons[0].items, found.scores.comparisons[0].items_dropped) == (20, 0)


def test_instances_that_differ_are_different_items(tmp_path: Path, store: Path) -> None:
    """The same name with another published instance is another item."""
    for player, target in (("here", "a"), ("there", "b")):
        place = f"{pair(player)}/taboo/0_x/episode_0"
        write_episode(tmp_path, place, metrics(50.0), instance={"game_id": 0, "target_word": target})
    bring(store, tmp_path, models=["toy"])
    assert rows(store, "SELECT count(*), count(DISTINCT content_hash) FROM episodes") == [(2, 2)]


def test_a_transcript_is_added_to_a_known_episode(tmp_path: Path, store: Path) -> None:
    """After a table, the folders of the same results bring their transcripts, once."""
    episodes = [(f"{pair('toy')}/taboo/0_x/episode_{k}", metrics(50.0)) for k in range(3)]
    bring(store, write_raw(tmp_path / "raw.csv", episodes))
    for place, scores in episodes:
        call = chat_call("t", [("user", "hello")], "hi")
        write_episode(tmp_path / "r", place, scores, instance={"a": 1}, requests=[call])
    end = bring(store, tmp_path / "r")
    assert (end.episodes, end.known, end.transcripts, end.problems) == (0, 3, 3, ())
    assert rows(
        store, "SELECT count(*), min(reply) FROM transcripts JOIN last_episodes USING (episode_id)"
    ) == [(3, "hi")]
    again = bring(store, tmp_path / "r")
    assert (again.known, again.transcripts) == (3, 0)


# --- grouping ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        (["toy=other-*"], "--model toy=other-*: matches no pair; there are toy-here, toy-there"),
        (["a=toy-*", "b=*-there"], "--model: toy-there is given to a and to b"),
        (["=x"], "--model '=x': write MODEL=PAIRS"),
        (["toy="], "--model 'toy=': write MODEL=PAIRS"),
    ],
)
def test_a_grouping_that_does_not_fit_is_refused(
    tmp_path: Path, store: Path, models: list[str], reason: str
) -> None:
    """The refusal comes before the store is made."""
    root = two_methods(tmp_path / "r")
    with pytest.raises(SpecError) as caught:
        bring(store, root, models=models)
    assert reason in str(caught.value)
    assert not store.exists()


def test_a_method_stays_with_its_model(tmp_path: Path, store: Path) -> None:
    """A later import cannot give an access method to another model: its older episodes would keep the
    first."""
    root = two_methods(tmp_path / "r")
    bring(store, root, models=["toy"])
    with pytest.raises(
        SpecError, match="holds toy-here as an access method of toy, not of toy-here; import into a new store"
    ):
        bring(store, root)


# --- the command -------------------------------------------------------------------------------


def output(*arguments: object) -> str:
    """Returns the output of a command that succeeds."""
    ended = lightbulb(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_command(tmp_path: Path, store: Path) -> None:
    """Unreadable episodes are named, with exit code 3; scores count aborted and unscored plays; an audit
    works."""
    root = two_methods(tmp_path / "r")
    bad = write_episode(root, f"{pair('toy-here')}/taboo/0_x/episode_30", None)
    (bad / "scores.json").write_text("{")
    write_episode(root, f"{pair('toy-here')}/taboo/0_x/episode_31", None, interactions={})
    ended = lightbulb("import", root, "--store", store, "--model", "toy=toy-*")
    assert ended.returncode == 3, ended.stderr
    assert f"not imported: {bad / 'scores.json'}: line 1, column 2: not JSON" in ended.stderr
    assert (
        "62 episodes imported (10 aborted, 1 unscored, 1 failed; 1 of the failed have no record)"
        in ended.stderr
    )
    scores = json.loads(output("scores", store, "--json"))[0]["methods"]
    assert [(one["method"], one["aborted"], one["unscored"]) for one in scores] == [
        ("toy-here", 0, 1),
        ("toy-there", 10, 0),
    ]
    assert "aborted  unscored" in output("scores", store)
    assert "DIFFERENT" in output("audit", store)
    missing = lightbulb("import", tmp_path / "gone", "--store", store)
    assert (missing.returncode, "no such file or folder" in missing.stderr) == (2, True)


def test_averages_are_shown_as_such(tmp_path: Path, store: Path) -> None:
    """The published clemscore has a name that says what it is, and no count of episodes."""
    with PUBLISHED.open(newline="") as file:
        row = next(iter(csv.DictReader(file)))
    results = write_results(tmp_path / "results.csv", GAMES, [(pair("toy"), row)])
    assert "7 averages" in lightbulb("import", results, "--store", store).stderr
    (line,) = [line for line in output("scores", store).splitlines() if "(published averages)" in line]
    totals = [row["clemscore"], row["avg_played"], row["avg_quality"]]
    assert line.split() == ["toy", "(published", "averages)", "-", "-", "-", "-", *totals, "-"]

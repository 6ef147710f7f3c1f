"""Tests of reading published results: both layouts, both tables, and their faults."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path

import pytest

from harness.core.errors import SpecError
from harness.core.vocabulary import Message, Outcome
from harness.store.file import open_to_write
from harness.transfer.clembench_results import open_results
from harness.transfer.published import (
    PublishedEpisode,
    PublishedFigures,
    Unreadable,
    read_outcome,
    read_pair,
)
from tests.harness.transfer.published import (
    NAN,
    chat_call,
    event,
    metrics,
    write_episode,
    write_raw,
    write_results,
)

PAIR = "A-t0.0--A-t0.0"


def read(path: Path) -> list[PublishedEpisode]:
    found = list(open_results(path).episodes)
    assert not [one.text for one in found if isinstance(one, Unreadable)]
    return [one for one in found if isinstance(one, PublishedEpisode)]


def outcomes(path: Path) -> list[Outcome]:
    """Returns the outcomes of plays that did not fail."""
    return [episode.outcome for episode in read(path) if episode.outcome is not None]


def broken(path: Path) -> list[str]:
    opened = open_results(path)
    return [one.text for one in (*opened.episodes, *opened.figures) if isinstance(one, Unreadable)]


@pytest.mark.parametrize(
    ("name", "players", "method", "temperature"),
    [
        ("A-t0.0--A-t0.0", ("A", "A"), "A", 0.0),
        ("A--A", ("A", "A"), "A", None),
        ("A-t0.0--B-t0.0", ("A", "B"), "A+B", 0.0),
        ("A-t0.7--A-t0.7", ("A-t0.7", "A-t0.7"), "A-t0.7", 0.7),
        ("A-t0.0--A-t0.7", ("A", "A-t0.7"), "A+A-t0.7", None),
        ("yi--1-t0.0--b--2-t0.0", ("yi--1", "b--2"), "yi--1+b--2", 0.0),
        ("x--y--x--y", ("x--y", "x--y"), "x--y", None),
        ("gpt-3.5-turbo-0125--B", ("gpt-3.5-turbo-0125", "B"), "gpt-3.5-turbo-0125+B", None),
        ("group-3p-0a1b2c3d", ("group-3p-0a1b2c3d",), "group-3p-0a1b2c3d", None),
        ("", ("",), "", None),
        ("--", ("", ""), "", None),
    ],
)
def test_a_pairs_name(name: str, players: tuple[str, ...], method: str, temperature: float | None) -> None:
    """Self-play is one access method; temperature 0 is not part of its name; dashes within names are kept."""
    pair = read_pair(name)
    assert (pair.players, pair.method, pair.temperature) == (players, method, temperature)


def test_the_layout_of_v1_6(tmp_path: Path) -> None:
    """The place is pair, game, experiment without its index, and number; the episode scores give the
    outcome."""
    write_episode(
        tmp_path, f"{PAIR}/taboo/0_high_en/episode_7", metrics(50.0, Speed=2.0), instance={"game_id": 7}
    )
    (found,) = read(tmp_path)
    place, (end,) = found.place, outcomes(tmp_path)
    assert (place.pair.method, place.game, place.rules, place.experiment, place.instance) == (
        "A",
        "taboo",
        "v1.6",
        "high_en",
        "7",
    )
    assert (end.state, end.score, end.metrics) == ("lost", 50.0, {"Speed": 2.0})
    assert (end.requests.total, end.requests.parsed, end.requests.violated) == (3, 3, 0)


def test_the_layout_of_clemcore(tmp_path: Path) -> None:
    """Instances have ids; the name of an experiment may begin with a number."""
    write_episode(tmp_path, "A--B/wordle/3_letters/instance_00012", metrics(100.0))
    (found,) = read(tmp_path)
    assert (found.place.rules, found.place.experiment, found.place.instance) == (
        "clemcore",
        "3_letters",
        "12",
    )
    assert (found.place.pair.method, outcomes(tmp_path)[0].state) == ("A+B", "success")


def test_clembench_2_keeps_the_old_folders(tmp_path: Path) -> None:
    """An experiment.json beside the episodes shows that they are not of v1.6."""
    folder = write_episode(tmp_path, f"{PAIR}/taboo/0_high_en/episode_0", metrics(0.0))
    (folder.parent / "experiment.json").write_text("{}")
    (found,) = read(tmp_path)
    assert (found.place.rules, found.place.experiment) == ("clemcore", "high_en")


@pytest.mark.parametrize(
    "inner", ["", PAIR, f"{PAIR}/taboo", f"{PAIR}/taboo/0_x", f"{PAIR}/taboo/0_x/episode_0"]
)
def test_any_folder_on_the_way_can_be_named(tmp_path: Path, inner: str) -> None:
    """The root, a pair, a game, an experiment or one episode: the path gives the place in every case."""
    write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_0", metrics(0.0))
    (found,) = read(tmp_path / inner)
    assert (found.place.pair.name, found.place.experiment) == (PAIR, "x")


def test_the_hash_is_of_the_instance_not_of_its_layout(tmp_path: Path) -> None:
    """The same instance has the same hash in any file; another instance has another one."""
    for number, (pair, instance) in enumerate(
        [("A--A", {"a": 1, "b": 2}), ("B--B", {"b": 2, "a": 1}), ("C--C", {"a": 1}), ("D--D", None)]
    ):
        write_episode(tmp_path, f"{pair}/taboo/0_x/episode_0", metrics(float(number)), instance=instance)
    hashes = [episode.instance_hash for episode in read(tmp_path)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    assert hashes[3] is None


def test_no_score_is_no_abort(tmp_path: Path) -> None:
    """A play with a record and without scores is unscored; one without any record, or with an error,
    failed."""
    write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_0", None, instance={}, interactions={"turns": []})
    write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_1", None, requests=[])
    write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_2", {**metrics(0.0), "Main Score": NAN})
    write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_3", metrics(None))
    write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_4", None, instance={})
    error = {"error": "ContextExceeded", "message": "long"}
    write_episode(tmp_path, f"{PAIR}/taboo/x/instance_00005", None, requests=[], error=error)
    write_episode(tmp_path, f"{PAIR}/taboo/x/instance_00006", metrics(50.0), requests=[], error=error)
    found = {episode.place.instance: episode for episode in read(tmp_path)}
    states = {name: (one.outcome.state, one.outcome.reason) for name, one in found.items() if one.outcome}
    assert states == {
        "0": ("unscored", "no scores were published"),
        "1": ("unscored", "no scores were published"),
        "2": ("unscored", "played, but no main score was published"),
        "3": ("aborted", "published as aborted"),
    }
    assert {name: one.failure for name, one in found.items() if one.outcome is None} == {
        "4": "neither scores nor a record of the play were published",
        "5": "the play ended in ContextExceeded",
        "6": "the play ended in ContextExceeded",
    }


def test_the_layout_before_version_1_is_refused(tmp_path: Path) -> None:
    """Its folders have game and pair in another order: they are named, not imported as other games."""
    write_episode(tmp_path, "imagegame/claude-v1.3-t0.0--claude-v1.3-t0.0/0_x/episode_0", metrics(1.0))
    assert "looks like <game>/<pair>/<experiment>/<episode>" in broken(tmp_path)[0]


def test_success_where_a_game_logs_none() -> None:
    """The full score is success, unless the game logs the metric Success."""
    assert read_outcome({"Aborted": 0, "Main Score": 100}, "x").state == "success"
    assert read_outcome({"Aborted": 0, "Main Score": 99}, "x").state == "lost"
    assert read_outcome({"Aborted": 0, "Main Score": 99.5, "Success": 1}, "x").state == "success"
    assert (
        read_outcome(
            {"Aborted": 1, "Main Score": NAN, "Success": NAN, "Lose": 1, "Request Count": NAN}, "x"
        ).state
        == "aborted"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"episode scores": {"Aborted": 0 "x"}}', "scores.json: line 1, column 34: not JSON"),
        ("[]", "contains no JSON object"),
        ('{"turn scores": {}}', "key 'episode scores' is missing"),
        ('{"episode scores": {"Main Score": 5}}', "Aborted is missing, not 0 or 1"),
        ('{"episode scores": {"Aborted": 2}}', "Aborted is 2, not 0 or 1"),
        ('{"episode scores": {"Aborted": "no"}}', "Aborted is 'no', not a number"),
        ('{"episode scores": {"Aborted": 0, "Main Score": [1]}}', "Main Score is [1], not a number"),
        ('{"episode scores": {"Aborted": 0, "Main Score": 101}}', "Main Score is 101, not in [0, 100]"),
        ('{"episode scores": {"Aborted": 0, "Main Score": Infinity}}', "Main Score is inf, not in [0, 100]"),
        ('{"episode scores": {"Aborted": 1, "Main Score": 50}}', "Aborted is 1, yet Main Score is 50"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_episode_is_named_and_loses_no_other(tmp_path: Path, text: str, reason: str) -> None:
    """The message has the file, the place in it and the fault; the episode beside it is read."""
    write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_0", None)
    write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_1", metrics(0.0))
    file = tmp_path / f"{PAIR}/taboo/0_x/episode_0/scores.json"
    file.write_text(text)
    (line,) = broken(tmp_path)
    assert str(file) in line
    assert reason in line
    assert len(list(open_results(tmp_path).episodes)) == 2


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    """A file in another encoding is named with the first wrong byte; a byte order mark is accepted."""
    folder = write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_0", None)
    (folder / "scores.json").write_bytes(b'{"episode scores": "\xff"}')
    assert "is not UTF-8 text (byte 20)" in broken(tmp_path)[0]
    (folder / "scores.json").write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"episode scores": metrics(1.0)}).encode()
    )
    assert outcomes(tmp_path)[0].score == 1.0


@pytest.mark.parametrize(
    "place", ["A--A/taboo/x/instance_00001/episode_00001", "A--A/epoch_00001/x/instance_00001"]
)
def test_repeated_plays_are_refused(tmp_path: Path, place: str) -> None:
    """Folders with several plays of an instance have other levels: their names would be read wrongly."""
    write_episode(tmp_path, place, metrics(1.0))
    assert "several plays of an instance" in broken(tmp_path)[0]


# --- transcripts
# -----------------------------------------------------------------------------------------------------------


def test_the_transcript_of_v1_6(tmp_path: Path) -> None:
    """Prompts and replies come in order; seats and format errors come from the interactions by time stamp."""
    turns = [
        [
            event("t1", "GM", "Player 1", "send message", "hello"),
            event("t2", "Player 1", "GM", "get message", "CLUE: x"),
            event("t3", "GM", "Player 2", "send message", "guess"),
            event("t4", "Player 2", "GM", "get message", "hm"),
            event("t5", "GM", "GM", "invalid format", "no tag"),
        ]
    ]
    calls = [
        chat_call("t2", [("user", "hello")], "CLUE: x"),
        chat_call("t3", [("system", "be"), ("user", "guess")], "hm \ud800"),
    ]
    write_episode(
        tmp_path, f"{PAIR}/taboo/0_x/episode_0", metrics(None), interactions={"turns": turns}, requests=calls
    )
    first, second = read(tmp_path)[0].exchanges
    assert (first.seat, first.messages, first.reply, first.violation) == (
        "Player 1",
        (Message("user", "hello"),),
        "CLUE: x",
        None,
    )
    assert (second.seat, second.reply, second.violation) == ("Player 2", "hm ?", "no tag")
    assert (first.prompt_tokens, first.completion_tokens, first.finish_reason, first.served_model) == (
        7,
        2,
        "stop",
        "served",
    )
    assert (first.sent_at, first.latency_s) == (1717063200.0, 1.5)


def test_the_transcript_of_clemcore(tmp_path: Path) -> None:
    """The files of both players are joined by time."""
    calls = {
        stamp: {"round": 0, "call": chat_call(stamp, [("user", "x")], stamp)} for stamp in ("t1", "t2", "t3")
    }
    files = {
        "player_1__requests": {"meta": {}, "calls": [calls["t1"], calls["t3"]]},
        "player_2__requests": {"meta": {}, "calls": [calls["t2"]]},
    }
    write_episode(tmp_path, "A--B/taboo/x/instance_00001", metrics(1.0), **files)
    assert [(one.seat, one.reply) for one in read(tmp_path)[0].exchanges] == [
        ("Player 1", "t1"),
        ("Player 2", "t2"),
        ("Player 1", "t3"),
    ]


@pytest.mark.parametrize(
    "second",
    [{"manipulated_prompt_obj": "<s>[INST] hello"}, {"raw_response_obj": {}}, {"manipulated_prompt_obj": []}],
)
def test_a_transcript_is_whole_or_absent(tmp_path: Path, second: dict[str, object]) -> None:
    """A prompt of one long text, or a missing reply: the episode keeps its score and has no transcript."""
    calls = [chat_call("t1", [("user", "x")], "y"), {**chat_call("t2", [("user", "x")], "y"), **second}]
    write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_0", metrics(1.0), requests=calls)
    (found,) = read(tmp_path)
    assert (found.exchanges, outcomes(tmp_path)[0].score) == ((), 1.0)
    assert "episode_0" in (found.transcript_problem or "")


def test_an_unreadable_transcript_does_not_hide_a_score(tmp_path: Path) -> None:
    """A pointer of Git LFS in place of a file: the score is read, and the transcript's fault is named."""
    folder = write_episode(tmp_path, f"{PAIR}/taboo/0_x/episode_0", metrics(50.0), requests=[])
    (folder / "requests.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    (found,) = read(tmp_path)
    assert (found.exchanges, outcomes(tmp_path)[0].score) == ((), 50.0)
    assert "requests.json: line 1, column 1: not JSON" in (found.transcript_problem or "")


def test_a_record_of_another_shape_is_no_transcript(tmp_path: Path) -> None:
    """JSON of an unexpected structure gives no transcript and no error."""
    write_episode(
        tmp_path,
        f"{PAIR}/taboo/0_x/episode_0",
        metrics(1.0),
        requests={"a": [1]},
        interactions=[{"turns": 5}, None],
    )
    write_episode(
        tmp_path,
        f"{PAIR}/taboo/0_x/episode_1",
        metrics(1.0),
        requests=[1, None, "x"],
        interactions={"turns": [[1], None, 3]},
    )
    assert [one.exchanges for one in read(tmp_path)] == [(), ()]


# --- tables ------------------------------------------------------------------------------------


def test_raw_csv_rebuilds_the_episodes(tmp_path: Path) -> None:
    """A table gives the outcomes and metrics of the folders, with empty cells for NaN, without the derived
    metric."""
    episodes = [
        (f"{PAIR}/taboo/0_x/episode_0", metrics(100.0, Speed=1.5)),
        (f"{PAIR}/taboo/0_x/episode_1", metrics(None)),
        ("A--B/wordle/y/instance_00004", metrics(20.0)),
    ]
    for place, scores in episodes:
        write_episode(tmp_path, place, scores)
    from_folders = {one.place: (one.instance_hash, one.outcome) for one in read(tmp_path)}
    table = write_raw(tmp_path / "raw.csv", episodes)
    from_table = {one.place: (one.instance_hash, one.outcome) for one in read(table)}
    assert from_table == from_folders


def test_raw_csv_names_its_broken_lines(tmp_path: Path) -> None:
    """The message has the line's number; the other episodes are read."""
    episodes = [(f"{PAIR}/taboo/0_x/episode_{k}", metrics(1.0)) for k in range(4)]
    path = write_raw(tmp_path / "raw.csv", episodes)
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace(",1.0", ",much")
    lines.insert(9, lines[8])
    lines.append(f"99,taboo,{PAIR},0_x,last,Aborted,0")
    lines.append("100,taboo")
    path.write_text("\n".join([line for line in lines if "episode_3,Aborted" not in line]))
    found = broken(path)
    assert len(found) == 5
    for place, reason in [
        ("line 3", "Main Score of A-t0.0--A-t0.0/taboo/x/0 is 'much', not a number"),
        ("line 10", "a second Aborted of A-t0.0--A-t0.0/taboo/x/1"),
        ("line 34", "episode is 'last', neither episode_<k> nor instance_<id>"),
        ("line 35", "episode is ''"),
        ("A-t0.0--A-t0.0/taboo/x/3", "Aborted is missing"),
    ]:
        assert any(f"{path}: {place}: {reason}" in line for line in found), (place, found)


def test_results_csv_holds_averages(tmp_path: Path) -> None:
    """Empty cells of a game with figures are None; a game without any figure is left out."""
    row = {
        "clemscore": "1",
        "avg_played": "2",
        "avg_quality": "3",
        "taboo_played": "96.67",
        "taboo_quality": "68.97",
        "taboo_std": "4.5",
    }
    row |= {
        "wordle_played": "0.0",
        "wordle_quality": "",
        "wordle_std": "",
        "other_played": "",
        "other_quality": "",
        "other_std": "",
    }
    path = write_results(
        tmp_path / "results.csv",
        ["taboo", "wordle", "other"],
        [(PAIR, row), ("B--B", row | {"taboo_played": "196.67"})],
    )
    opened = open_results(path)
    figures = [
        (one.game, one.played, one.quality, one.quality_std)
        for one in opened.figures
        if isinstance(one, PublishedFigures)
    ]
    assert figures == [("taboo", 96.67, 68.97, 4.5), ("wordle", 0.0, None, None)]
    assert [pair.method for pair in opened.pairs] == ["A"]
    assert broken(path) == [f"{path}: line 3: taboo, % Played is 196.67, not in [0, 100]"]


def test_a_folder_of_tables_is_read_by_the_fuller_one(tmp_path: Path) -> None:
    """raw.csv is preferred: it has episodes, results.csv has averages only."""
    row = {
        "clemscore": "",
        "avg_played": "",
        "avg_quality": "",
        "taboo_played": "50",
        "taboo_quality": "",
        "taboo_std": "",
    }
    write_results(tmp_path / "results.csv", ["taboo"], [(PAIR, row)])
    assert len(open_results(tmp_path).figures) == 1
    write_raw(tmp_path / "raw.csv", [(f"{PAIR}/taboo/0_x/episode_0", metrics(1.0))])
    assert len(read(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("gone", None, "no such file or folder; name a folder of results, or its raw.csv or results.csv"),
        ("empty.csv", "", "line 1: neither the columns of raw.csv"),
        ("other.csv", "a,b\n1,2\n", "nor those of results.csv"),
        ("big.csv", ',"a, % Played"\n"' + "x" * 200_000 + '",2\n', "line 2: not CSV: field larger"),
    ],
)
def test_a_path_without_results_is_refused(tmp_path: Path, name: str, text: str | None, reason: str) -> None:
    """The refusal comes before the import and names what can be imported."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SpecError) as caught:
        open_results(tmp_path / name)
    assert reason in str(caught.value)


def test_a_store_is_no_published_result(tmp_path: Path) -> None:
    """The refusal names it: an import does not merge stores."""
    with open_to_write(tmp_path / "s.duckdb"):
        pass
    with pytest.raises(SpecError, match=r"is a store, not published results\. `lightbulb merge` joins"):
        open_results(tmp_path / "s.duckdb")


def test_an_empty_folder_holds_no_results(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"contains no results: neither folders <pair>/<game>/<experiment>/episode_<k>"
    ):
        open_results(tmp_path)


def test_nan_stays_nan_among_the_metrics(tmp_path: Path) -> None:
    """A literal NaN, which JSON does not have, is read as NaN."""
    write_episode(tmp_path, f"{PAIR}/imagegame/0_x/episode_0", metrics(None, F1=NAN))
    assert "NaN" in (tmp_path / f"{PAIR}/imagegame/0_x/episode_0/scores.json").read_text()
    assert isnan(outcomes(tmp_path)[0].metrics["F1"])

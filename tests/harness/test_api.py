"""lightbulb from Python, as notebooks and scripts use it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

import harness
from harness.config.sweep import BotPart, GamePart, MethodPart, ModelPart, SweepSpec
from harness.core.errors import AuditError, SpecError, StoreError

SWEEP = {
    "name": "notes",
    "seed": 5,
    "games": {"taboo": {"items": 12}},
    "models": {
        "bots": {
            "methods": {
                "good": {"bots": {"skill": 0.7}},
                "sloppy": {"bots": {"skill": 0.7, "form_errors": 0.1}},
            }
        }
    },
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> harness.Played:
    """A sweep from a dict, where no loop runs."""
    return harness.run(SWEEP, store=tmp_path_factory.mktemp("notes") / "notes.duckdb")


def test_a_dict_is_played(played: harness.Played) -> None:
    """To its end, once; played again, nothing is added."""
    assert (played.end.failed, played.end.pending) == (0, 0)
    before = played.store.sql("SELECT count(*) FROM calls").rows()
    assert harness.run(SWEEP, store=played.store.path).end.finished == 0
    assert played.store.sql("SELECT count(*) FROM calls").rows() == before


def test_it_works_inside_a_running_loop(tmp_path: Path) -> None:
    """As in a notebook, `run` in a coroutine and `await play` both play, a spec's file and the spec
    itself."""
    spec = SweepSpec(
        name="inside",
        games={"taboo": GamePart(items=2)},
        models={"m": ModelPart(methods={"w": MethodPart(bots=BotPart())})},
    )

    async def cell() -> tuple[harness.Played, harness.Played]:
        return harness.run(spec, store=tmp_path / "a.duckdb"), await harness.play(
            spec, store=tmp_path / "b.duckdb"
        )

    one, other = asyncio.run(cell())
    assert one.end == other.end
    assert one.end.finished == 2
    results = "SELECT key, outcome, score FROM last_episodes ORDER BY key"
    assert one.store.sql(results).rows() == other.store.sql(results).rows()


def test_a_sweep_is_checked_whoever_wrote_it(tmp_path: Path) -> None:
    """A dict with a misspelt key and a SweepSpec that contradicts itself get the errors that a file gets."""
    with pytest.raises(SpecError, match=r'games\.taboo\.itmes: unknown key; did you mean "items"'):
        harness.run({**SWEEP, "games": {"taboo": {"itmes": 4}}}, store=tmp_path / "no.duckdb")
    nowhere = SweepSpec(
        name="x", games={"taboo": GamePart()}, models={"m": ModelPart(methods={"w": MethodPart()})}
    )
    with pytest.raises(SpecError, match="does not say where the model is"):
        harness.run(nowhere, store=tmp_path / "no.duckdb")
    with pytest.raises(SpecError, match="a path, a dict of a sweep file's keys or a SweepSpec, not NoneType"):
        harness.run(None, store=tmp_path / "no.duckdb")  # type: ignore[arg-type]
    assert not (tmp_path / "no.duckdb").exists()


def test_answers_take_the_shape_asked_for(played: harness.Played) -> None:
    """Rows, dicts, Arrow and DataFrame of one question hold the same; ? takes a parameter."""
    asked = harness.open_store(played.store.path).sql(
        "SELECT game, turns FROM last_episodes WHERE method = ? ORDER BY key", "bots/good"
    )
    assert asked.columns() == ["game", "turns"]
    assert [tuple(row.values()) for row in asked] == asked.rows()
    assert asked.to_arrow().to_pylist() == list(asked)
    assert asked.to_pandas().to_dict("records") == list(asked)
    assert len(played.store.episodes().to_pandas()) == len(played.store.episodes().rows())
    assert {"queue_s", "latency_s", "reply"} <= set(played.store.calls().to_arrow().column_names)


def test_scores_are_a_table(played: harness.Played) -> None:
    """A row for each method, one for each of its games below it; alike in every shape."""
    table = played.store.scores()
    whole = [row for row in table if row["game"] is None]
    assert [row["method"] for row in whole] == ["bots/good", "bots/sloppy"]
    assert all(0 <= row["low"] <= row["clemscore"] <= row["high"] <= 100 for row in whole)
    assert table.to_arrow().to_pylist() == list(table)
    assert list(table.to_pandas().columns) == table.columns()


def test_verdicts_and_transcripts(played: harness.Played) -> None:
    """The API gives the audit's findings and an episode's transcript; an unknown reference is an error."""
    (found,) = played.store.audit()
    assert found.scores.comparisons[0].verdict in ("DIFFERENT", "EQUIVALENT", "INCONCLUSIVE")
    episode = played.store.sql("SELECT episode_id FROM last_episodes LIMIT 1").rows()[0][0]
    assert played.store.transcript(episode).turns[0].reply
    with pytest.raises(AuditError):
        played.store.audit(reference="bots/best")
    for margin in (-1.0, 0.0, 101.0, float("nan")):
        with pytest.raises(SpecError, match=r"margin is .*; write points of score, above 0 and at most 100"):
            played.store.audit(margin=margin)


def test_what_is_not_there_is_said(
    tmp_path: Path, played: harness.Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing store, wrong SQL, an unknown name and a missing pandas each have a clear error."""
    with pytest.raises(StoreError, match="no such store"):
        harness.open_store(tmp_path / "none.duckdb")
    with pytest.raises(StoreError):
        played.store.sql("SELEC 1").rows()
    with pytest.raises(AttributeError):
        _ = harness.nothing
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(StoreError, match="needs pandas, which is not installed: pip install pandas"):
        played.store.episodes().to_pandas()

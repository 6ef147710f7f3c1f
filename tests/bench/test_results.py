"""The page of the experiment about model sizes, made from a store that bots played."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from bench.results import ROOT, SWEEPS, page, seconds_left, write_rows
from harness.commands.arguments import load
from tests.command import lightbulb

SWEEP = """
name = "light_bulb"
[games.taboo]
items = 8
[games.referencegame]
items = 12
[models.small]
parameters = 1e8
[models.small.methods]
a.bots = { skill = 0.3 }
[models.large]
parameters = 1e10
[models.large.methods]
a.bots = { skill = 0.9 }
b.bots = { skill = 0.1, form_errors = 0.3 }
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's folder."""
    folder = tmp_path_factory.mktemp("results")
    sweep = folder / "light_bulb.toml"
    sweep.write_text(SWEEP)
    ended = lightbulb("run", sweep, "--store", folder / "light_bulb.duckdb")
    assert ended.returncode == 0, ended.stderr
    page(folder, folder / "page")
    return folder / "page"


def test_the_page_has_scores_verdicts_and_limits(written: Path) -> None:
    """Every method has a row of scores; the reference's second run and the other method have a row of
    differences with both intervals; the first paragraph says what the quantised files show."""
    text = (written / "index.md").read_text("utf-8")
    assert "say nothing about full-precision weights" in text.split("##", maxsplit=1)[0].replace("\n", " ")
    for method in ("small/a", "large/a", "large/b"):
        assert re.search(rf"^\| {method} \| \d+\.\d \[", text, re.MULTILINE), method
    numbers = r"[+-]\d+\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\]"
    assert re.search(rf"^\| large/b \| DIFFERENT \| {numbers} \| \[", text, re.MULTILINE)
    assert re.search(rf"^\| large/a, played again \| - \| {numbers}", text, re.MULTILINE)
    assert "not finished" not in text


def test_figures_are_drawn(written: Path) -> None:
    """Each figure that the page names is an SVG document beside it; the sizes have the published rows."""
    text = (written / "index.md").read_text("utf-8")
    figures = re.findall(r"!\[[^]]*\]\(<?([^)>]+)>?\)", text)
    assert set(figures) == {"sizes.svg", "light_bulb-large.svg"}
    assert all((written / figure).read_text("utf-8").startswith("<svg") for figure in figures)
    assert "published" in (written / "sizes.svg").read_text("utf-8")


def test_rows_name_no_folder_of_the_machine(written: Path, tmp_path: Path) -> None:
    """The rows beside the page are those of the store; folders are cut from the engines' facts."""
    store = tmp_path / "s.duckdb"
    store.write_bytes((written.parent / "light_bulb.duckdb").read_bytes())
    with duckdb.connect(str(store)) as connection:
        connection.execute("""UPDATE methods SET engine_json = '{"command": "/home/x/bin/python -m y"}'""")
    write_rows(store, tmp_path / "rows")
    with duckdb.connect() as connection:
        query = f"FROM '{tmp_path / 'rows' / 'methods.parquet'}' SELECT DISTINCT engine_json"
        assert connection.execute(query).fetchall() == [('{"command": "python -m y"}',)]
        ((episodes,),) = connection.execute(
            f"SELECT count(*) FROM '{tmp_path / 'rows' / 'episodes.parquet'}'"
        ).fetchall()
    assert episodes == 20 * 4


def test_the_hours_are_those_of_what_is_left(tmp_path: Path) -> None:
    """Nothing is played: between an hour and four for both sweeps, on two quiet cores."""
    specs = [load(ROOT / "bench" / "sweeps" / f"{name}.toml") for name in SWEEPS]
    hours = sum(seconds_left(spec, tmp_path / "none.duckdb") for spec in specs) / 3600
    assert 1.0 < hours < 4.0


def test_a_store_in_which_no_episode_has_ended_is_not_on_the_page(written: Path, tmp_path: Path) -> None:
    """A run that was stopped at once leaves such a store; the page is that of the other one."""
    for name in SWEEPS:
        (tmp_path / f"{name}.duckdb").write_bytes((written.parent / "light_bulb.duckdb").read_bytes())
    with duckdb.connect(str(tmp_path / f"{SWEEPS[1]}.duckdb")) as connection:
        connection.execute("DELETE FROM episodes")
    page(tmp_path, tmp_path / "page")
    assert [folder.name for folder in (tmp_path / "page" / "rows").iterdir()] == [SWEEPS[0]]
    (tmp_path / f"{SWEEPS[0]}.duckdb").unlink()
    with pytest.raises(SystemExit, match="no store of the experiment in which an episode has ended"):
        page(tmp_path, tmp_path / "other")

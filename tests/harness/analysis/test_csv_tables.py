"""Score tables and model facts: what a user's file may hold, and how its mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.analysis.csv_tables import model_facts, read_tables, score_rows
from harness.cli import app
from harness.core.errors import SpecError

DATA = Path(__file__).parents[1] / "audit" / "data"


def _file(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, "utf-8")
    return path


def _refusal(folder: Path, text: str, *, of_facts: bool = False) -> str:
    with pytest.raises(SpecError) as caught:
        (model_facts if of_facts else score_rows)(_file(folder, text))
    return str(caught.value)


def test_every_problem_is_told_with_its_place(tmp_path: Path) -> None:
    """Line, column and what would be right, all at once: no number, out of range, empty, twice the same, too
    few cells."""
    told = _refusal(
        tmp_path, "model,method,clemscore,g_played\na,x,12,50\na,x,13,50\n,y,abc,\nb,y,130,200\nc,z\n"
    )
    lines = told.splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [
        "line 6: has 2 cells, the header 4; write a comma for each empty cell",
        "line 3, column model: a through x is already in line 2; keep one of them",
        "line 4, column model: is empty; every line needs one",
        "line 4, column clemscore: 'abc' is not a clemscore; write a number from 0 to 100, or nothing where "
        "it is not known",
        "line 5, column clemscore: '130' is not a clemscore; write a number from 0 to 100, or nothing where "
        "it is not known",
        "line 5, column g_played: '200' is not a percentage; write a number from 0 to 100, or nothing where "
        "it is not known",
    ]
    assert all(line.startswith(str(tmp_path / "table.csv")) for line in lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("model,clemscore\n", "no lines below its header"),
        (
            "model,clemscor\na,1\n",
            "no column 'clemscore', the score, from 0 to 100; did you mean \"clemscor\"?",
        ),
        ("model,model,clemscore\na,a,1\n", "the column 'model' occurs twice"),
        ('model,clemscore\n"a,1\n', "is not CSV"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """Empty, without lines, without a needed column, with a doubled one, with an open quote."""
    assert words in _refusal(tmp_path, text)


def test_the_mistakes_of_both_tables_come_at_once(tmp_path: Path) -> None:
    """A missing column, a doubled one and bad cells of both files stand in one refusal."""
    scores, facts = tmp_path / "scores.csv", tmp_path / "facts.csv"
    scores.write_text("model,method,score,score\na,x,1,2\n,y,1,2\n")
    facts.write_text("model,parameters_billions\na,NA\nb,0\n")
    with pytest.raises(SpecError) as caught:
        read_tables(scores, facts)
    lines = str(caught.value).splitlines()
    assert [line.split(": ", 1)[0] for line in lines] == [str(scores)] * 3 + [str(facts)] * 2


def test_facts_are_checked_too(tmp_path: Path) -> None:
    """A size below nothing, a flag that is neither; and a file that is not there or no text."""
    told = _refusal(tmp_path, "model,parameters_billions,commercial\na,-7,0\nb,7,perhaps\n", of_facts=True)
    assert "line 2, column parameters_billions: '-7' is not a number of parameters in billions" in told
    assert "line 3, column commercial: 'perhaps' is neither 0 nor 1" in told
    with pytest.raises(SpecError, match="cannot be read"):
        model_facts(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        score_rows(tmp_path / "binary.csv")


def test_a_table_without_methods_or_games_will_do(tmp_path: Path) -> None:
    """Two columns are enough; others that nobody knows are no problem, and blank lines are skipped."""
    (row,) = score_rows(_file(tmp_path, "\ufeffmodel, clemscore,remark\na,12.5,\n\n"))
    assert (row.model, row.method, row.clemscore, row.games) == ("a", "-", 12.5, ())


def test_a_table_states_quantisations(tmp_path: Path) -> None:
    """Bits without a name are a quantisation; an empty line leaves it to the method's name."""
    text = (
        "model,method,clemscore,quantisation,bits\n"
        "a,x,1,Q8_0,8.5\nb,x,1,,4.5\nc,q4,1,F16,16\nd,q4,1,,\ne,x,1,,many\n"
    )
    assert "line 6, column bits: 'many' is not a number of bits" in _refusal(tmp_path, text)
    rows = score_rows(_file(tmp_path, text.replace("many", "")))
    assert [row.quantisation for row in rows] == ["q8_0", "4.5 bits", None, "q4", None]


def test_a_store_states_quantisations(tmp_path: Path) -> None:
    """The keys `quantisation` and `bits` of a method reach the table of its store."""
    sweep = tmp_path / "s.toml"
    sweep.write_text(
        """
        name = "s"
        [games.taboo]
        items = 2
        [models.m.methods]
        small = { bots = { skill = 1.0 }, quantisation = "AWQ", bits = 4.25 }
        q4 = { bots = { skill = 1.0 }, quantisation = "none" }
        """
    )
    store = tmp_path / "s.duckdb"
    assert CliRunner().invoke(app, ["run", str(sweep), "--store", str(store)]).exit_code == 0
    found = {row.method: (row.quantisation, row.bits) for row in score_rows(store)}
    assert found == {"small": ("awq", 4.25), "q4": (None, None)}


def test_the_command_on_the_published_tables() -> None:
    """The text begins with what size explains, the JSON holds the fits, and the figure shows the variants."""
    arguments = [
        "characteristics",
        str(DATA / "published_scores.csv"),
        str(DATA / "model_facts.csv"),
        "--reference",
        "huggingface-local",
    ]
    spoken = CliRunner().invoke(app, arguments)
    assert spoken.stdout.startswith(
        "Over 17 models with known training tokens, log10 parameters explains 57 % of the variance of scores"
    )
    assert "llama.cpp q4" in spoken.stdout
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert [round(fit["r2"], 3) for fit in found["fits"]] == [0.57, 0.681, 0.73, 0.234, 0.365]

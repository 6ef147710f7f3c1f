"""The choice of instances in a store: new stores name their draw, older ones keep the choice they were begun
with."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

from tests.command import lightbulb

SWEEP = """
name = "d"
repeats = 1
[games.referencegame]
items = {items}
[models.m.methods.a]
bots = {{ skill = 1.0 }}
[models.m.methods.b]
bots = {{ skill = 0.9 }}
[audit]
again = false
"""


def played(sweep: Path, items: int) -> set[tuple[str, ...]]:
    """Returns the instances that the store holds after a run with so many items."""
    sweep.write_text(SWEEP.format(items=items))
    ended = lightbulb("run", sweep)
    assert ended.returncode == 0, ended.stderr
    with duckdb.connect(str(sweep.with_suffix(".duckdb")), read_only=True) as connection:
        return set(connection.execute("SELECT DISTINCT experiment, instance FROM episodes").fetchall())


def draws(sweep: Path) -> list[str | None]:
    with duckdb.connect(str(sweep.with_suffix(".duckdb")), read_only=True) as connection:
        rows = connection.execute("SELECT planned_json FROM sweeps ORDER BY run_id").fetchall()
    return [json.loads(row[0] or "{}").get("draw", {}).get("referencegame") for row in rows]


def test_a_new_store_names_its_draw_and_growth_only_adds(tmp_path: Path) -> None:
    """Twelve items, then eighteen: the twelve are among them, all three places of the right answer occur."""
    sweep = tmp_path / "d.toml"
    twelve, eighteen = played(sweep, 12), played(sweep, 18)
    assert (len(twelve), len(eighteen)) == (12, 18)
    assert twelve < eighteen
    assert draws(sweep) == ["balanced-1", "balanced-1"]
    with duckdb.connect(str(sweep.with_suffix(".duckdb")), read_only=True) as connection:
        ((plan,),) = connection.execute("SELECT plan_json FROM audit_plans LIMIT 1").fetchall()
    assert json.loads(plan)["games"]["referencegame"]["draw"] == "balanced-1"


def test_a_store_of_the_former_choice_goes_on_with_it(tmp_path: Path) -> None:
    """A store whose sweeps name no draw has the first items of each experiment; more items are the next
    ones."""
    sweep = tmp_path / "d.toml"
    played(sweep, 6)
    store = sweep.with_suffix(".duckdb")
    with duckdb.connect(str(store)) as connection:
        connection.execute("UPDATE sweeps SET planned_json = NULL")
        for table in ("episodes", "turns", "calls"):
            connection.execute(f"DELETE FROM {table}")
    first = played(sweep, 12)
    assert {int(instance) for _, instance in first} == {0, 1}
    assert draws(sweep)[1:] == ["first"]

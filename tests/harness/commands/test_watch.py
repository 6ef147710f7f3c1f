"""The commands watch init and watch run as a user runs them, with emulated providers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from harness.store.file import open_to_read
from harness.store.reader import probes
from tests.backends import http_servers
from tests.bots import rows
from tests.command import lightbulb

DAY_S = 86_400.0
BASELINE = 9
NEWEST = "check_at > (SELECT max(check_at) FROM probes) - 3600"
SWEEP = """
name = "w"
[games.taboo]
items = 1
[models.m.methods.flipping]
emulator = {{ noise = 0.3, weights = "{weights}" }}
[models.m.methods.exact]
emulator = {{ weights = "{weights}" }}
"""


def earlier_days(store: Path) -> list[float]:
    """Returns moments on the last days before the newest calls of the same kind, weekend or not."""
    newest = float(str(rows(store, "SELECT max(check_at) FROM probes")[0][0]))
    days = [newest - DAY_S * back for back in range(60, 0, -1)]
    return [day for day in days if is_weekend(day) == is_weekend(newest)][-BASELINE - 3 :]


def is_weekend(moment: float) -> bool:
    return datetime.fromtimestamp(moment, UTC).weekday() >= 5


def date_newest(store: Path, *moments: float) -> None:
    """Gives the newest calls these dates in place of today's."""
    with duckdb.connect(str(store)) as connection:
        connection.execute(f"CREATE TEMP TABLE newest AS SELECT * FROM probes WHERE {NEWEST}")
        connection.execute(f"DELETE FROM probes WHERE {NEWEST}")
        for at in moments:
            connection.execute(f"INSERT INTO probes SELECT * REPLACE ({at} AS check_at) FROM newest")


def test_a_panel_is_found_and_a_change_is_announced_on_its_second_day(tmp_path: Path) -> None:
    """`init` finds prompts that flip where some do, and small margins where none does; `run` says that there
    are not enough days, and exits with 5 on the second day of another model, not on the first."""
    sweep, store = tmp_path / "s.toml", tmp_path / "w.watch.duckdb"
    sweep.write_text(SWEEP.format(weights="one"))
    ran = lightbulb("watch", "init", sweep, "--calls", "600", "--json")
    assert ran.returncode == 0, ran.stderr
    flipping, exact = (json.loads(line) for line in ran.stdout.splitlines())
    assert (flipping["kind"], exact["kind"]) == ("border", "margin")
    assert flipping["calls"] <= 600
    assert "at most 1,200 one-token calls" in ran.stderr
    assert lightbulb("watch", "init", sweep).returncode == 2, "there is a panel already"
    assert (tmp_path / "s.watch.json").exists()

    ran = lightbulb("watch", "run", sweep)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("there are not enough days yet") == 2
    assert rows(
        store, "SELECT method, count(*) <= 200, max(completion_tokens) FROM probes GROUP BY 1 ORDER BY 1"
    ) == [
        ("m/exact", True, 1),
        ("m/flipping", True, 1),
    ]
    days = earlier_days(store)
    date_newest(store, *days[:BASELINE])
    codes, announced = [], []
    for day, weights in zip(days[BASELINE:], ("one", "two", "two"), strict=True):
        sweep.write_text(SWEEP.format(weights=weights))
        ran = lightbulb("watch", "run", sweep, "--fail-on-difference", "--json")
        codes.append(ran.returncode)
        announced.append(
            {
                one["replies"]["method"]
                for one in json.loads(ran.stdout)
                if one["replies"]["days"][-1]["alarm"]
            }
        )
        date_newest(store, day)
    assert codes == [0, 0, 5]
    assert announced == [set(), set(), {"m/exact", "m/flipping"}]

    panel = tmp_path / "s.watch.json"
    panel.write_text(json.dumps([one for one in json.loads(panel.read_text()) if one["method"] == "m/exact"]))
    ran = lightbulb("watch", "run", sweep, "--fail-on-difference")
    assert ran.returncode == 0, "the change of a method that is not asked today was reported on its day"


def test_a_day_of_a_wrong_clock_is_not_today(tmp_path: Path) -> None:
    """A store that has a change on a later date: today has none, so the exit code is 0, and the output names
    the later dates."""
    sweep, store = tmp_path / "s.toml", tmp_path / "w.watch.duckdb"
    sweep.write_text(SWEEP.format(weights="one"))
    assert lightbulb("watch", "init", sweep, "--calls", "60").returncode == 0
    assert lightbulb("watch", "run", sweep).returncode == 0
    days = earlier_days(store)
    later = [day + 70 * DAY_S for day in days[:2]]  # the same days of the week
    date_newest(store, *days)
    sweep.write_text(SWEEP.format(weights="two"))
    assert lightbulb("watch", "run", sweep).returncode == 0
    date_newest(store, *later)
    sweep.write_text(SWEEP.format(weights="one"))
    ran = lightbulb("watch", "run", sweep, "--fail-on-difference", "--json")
    assert [day["alarm"] for day in json.loads(ran.stdout)[0]["replies"]["days"]][-3:] == [False, False, True]
    assert ran.returncode == 0
    first, second = (f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}" for day in later)
    assert f"w.watch.duckdb has calls of {first}, {second}, after today" in ran.stderr


def test_a_panel_of_another_sweep_is_refused(tmp_path: Path) -> None:
    """A panel whose method is gone names it, before a call is made."""
    sweep = tmp_path / "s.toml"
    sweep.write_text(SWEEP.format(weights="one"))
    assert lightbulb("watch", "init", sweep, "--calls", "60").returncode == 0
    sweep.write_text(SWEEP.format(weights="one").replace("methods.exact", "methods.other"))
    ran = lightbulb("watch", "run", sweep)
    assert ran.returncode == 2
    assert "has no access method m/exact" in ran.stderr


def test_a_watch_leaves_the_audits_causes_alone(tmp_path: Path) -> None:
    """In a store with a check, the rows of a later watch do not take the place of the check's."""
    sweep, store = tmp_path / "s.toml", tmp_path / "w.duckdb"
    sweep.write_text(SWEEP.format(weights="one"))
    assert lightbulb("check", sweep, "--store", store).returncode == 0
    assert lightbulb("watch", "init", sweep, "--calls", "60").returncode == 0
    assert lightbulb("watch", "run", sweep, "--store", store).returncode == 0
    with open_to_read(store) as connection:
        kinds = {row.kind for row in probes(connection)}
    assert "greedy" in kinds
    assert "watch" not in kinds


def test_methods_that_cannot_be_watched_are_named(tmp_path: Path) -> None:
    """Bots and a model that thinks first have no panel, and the output says why; the latter is a failure."""
    sweep = tmp_path / "s.toml"
    more = "[models.m.methods.own]\nbots = {}\n[models.m.methods.thinking]\nemulator = { thoughts = 50 }\n"
    sweep.write_text(SWEEP.format(weights="one") + more)
    ran = lightbulb("watch", "init", sweep, "--calls", "60", "--json")
    assert ran.returncode == 3
    assert len(ran.stdout.splitlines()) == 2
    assert "m/own: not watched, because bots play in this process" in ran.stderr
    assert "m/thinking: no one-token reply of 48 has text" in ran.stderr


def test_no_call_is_made_whose_answer_cannot_be_kept(tmp_path: Path) -> None:
    """A panel and a store that cannot be written are refused before the first call. A day without an answer
    ends with 3, and its message has the error."""
    asked = 0

    async def refuse(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.json_response({"error": {"message": "no such key"}}, status=401)

    panel = {"method": "m/a", "kind": "random", "prompts": ["Hi"], "repeats": 1, "calls": 1, "sentence": "s"}
    (tmp_path / "s.watch.json").write_text(json.dumps([panel]))
    sweep = tmp_path / "s.toml"
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(http_servers.serving(refuse)) as url,
    ):
        sweep.write_text(f'name = "w"\n[games.taboo]\nitems = 1\n[models.m.methods.a]\nbase_url = "{url}"\n')
        init = lightbulb("watch", "init", sweep, "--panel", tmp_path / "absent" / "p.json")
        run = lightbulb("watch", "run", sweep, "--store", tmp_path / "absent" / "w.duckdb")
        assert asked == 0
        assert (init.returncode, run.returncode) == (2, 2)
        assert "p.json: cannot be written" in init.stderr
        assert "w.duckdb" in run.stderr
        day = lightbulb("watch", "run", sweep)
        search = lightbulb("watch", "init", sweep, "--panel", tmp_path / "p.json", "--calls", "30")
    assert (day.returncode, search.returncode) == (3, 3)
    assert "m/a: 1 of 1 calls failed: HTTP 401: no such key" in day.stderr
    assert "the last failed call: HTTP 401: no such key" in search.stderr

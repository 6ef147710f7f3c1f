"""A sweep played by the command: once, within a budget, stopped early, on an emulator."""

from __future__ import annotations

import json
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from tests.bots import BOTS, RESULTS, bots_sweep, rows
from tests.command import apart, command, lightbulb
from tests.replay import disagreements

# Raises what Ray raises when a process of its own does not start in time.
RAY_THAT_DOES_NOT_START = """
def init(**options):
    raise Exception("The current node timed out during startup.")

def shutdown():
    pass
"""
RAY_WITHOUT_CORES = """
def init(**options):
    pass

def cluster_resources():
    return {"memory": 1.0}

def shutdown():
    pass
"""


def test_a_sweep_is_played_once(played: Path) -> None:
    """Every episode has one finished row, those of the A/A replicate too; a second run adds nothing."""
    assert rows(
        played, "SELECT count(*), count(DISTINCT episode_id), count(DISTINCT method) FROM episodes"
    ) == [(54, 54, 2)]
    before = rows(played, RESULTS)
    again = lightbulb("run", played.with_name("t.toml"))
    assert again.returncode == 0
    assert "nothing is left to play" in again.stderr
    assert "0 episodes" not in again.stderr
    assert rows(played, RESULTS) == before


def test_every_reply_reproduces_the_stored_scores(played: Path) -> None:
    """Fed back into the games, the stored replies give the stored asks, outcomes, scores and counts."""
    assert disagreements(played) == []


def test_a_budget_ends_a_run_and_more_of_it_goes_on(tmp_path: Path, played: Path) -> None:
    """Half the calls: exit code 4, the budget and the way on are said, both methods played as much; a second
    run with the same budget adds nothing; with a larger one the sweep ends as if undisturbed."""
    (calls,) = rows(played, "SELECT count(*) FROM calls")[0]
    assert isinstance(calls, int)
    sweep = bots_sweep(tmp_path)
    whole = sweep.read_text()
    sweep.write_text(whole.replace("[games.taboo]", f"[budget]\ncalls = {calls // 2}\n[games.taboo]"))
    first = lightbulb("run", sweep)
    assert first.returncode == 4, first.stderr
    assert f"of {calls // 2} calls" in first.stderr
    assert "stopped by its budget; raise the budget, then continue with: lightbulb run" in first.stderr
    store = tmp_path / "t.duckdb"
    (spent,) = rows(store, "SELECT count(*) FROM calls")[0]
    assert isinstance(spent, int)
    assert calls // 3 <= spent <= calls // 2
    shares = rows(store, "SELECT count(*) / if(method = 'bots/good', 36, 18) FROM episodes GROUP BY method")
    assert abs(float(str(shares[0][0])) - float(str(shares[1][0]))) <= 0.12
    again = lightbulb("run", sweep)
    assert again.returncode == 4
    (now,) = rows(store, "SELECT count(*) FROM calls")[0]
    assert isinstance(now, int)
    assert spent <= now <= calls // 2
    sweep.write_text(whole)
    assert lightbulb("run", sweep).returncode == 0
    assert rows(store, RESULTS) == rows(played, RESULTS)


PAIRS = """
name = "c"
seed = 5
[games.taboo]
items = 8
[games.wordle]
items = 4
[models.strong.methods.bot]
bots = { skill = 0.95 }
[models.weak.methods.bot]
bots = { skill = 0.3 }
[[pairs]]
seats = ["strong/bot", "weak/bot"]
[[pairs]]
seats = ["weak/bot", "strong/bot"]
games = ["taboo"]
"""


def test_two_methods_play_together(tmp_path: Path) -> None:
    """Cross-play: each seat's calls go through its own method, wordle has no second seat; the pair has scores
    of its own and is played once like any other. What it takes is not planned, and the plan says so."""
    sweep, store = tmp_path / "c.toml", tmp_path / "c.duckdb"
    sweep.write_text(PAIRS)
    assert lightbulb("run", sweep).returncode == 0
    assert rows(store, "SELECT method, count(*) FROM episodes GROUP BY ALL ORDER BY ALL") == [
        ("strong/bot", 12),
        ("strong/bot+weak/bot", 8),
        ("weak/bot", 12),
        ("weak/bot+strong/bot", 8),
    ]
    seats = "SELECT DISTINCT seating, seat, turns.method FROM turns JOIN episodes USING (episode_id) WHERE seating LIKE 'strong/bot+weak%'"
    assert sorted(rows(store, seats)) == [
        ("strong/bot+weak/bot", "describer", "strong/bot"),
        ("strong/bot+weak/bot", "guesser", "weak/bot"),
    ]
    assert "nothing is left to play" in lightbulb("run", sweep).stderr
    scores = json.loads(lightbulb("scores", store, "--json").stdout)
    assert [one["methods"][0]["method"] for one in scores] == [
        "strong/bot",
        "weak/bot",
        "strong/bot+weak/bot",
        "weak/bot+strong/bot",
    ]
    assert (
        "strong/bot+weak/bot: the plan does not include the 8 episodes of this pair"
        in lightbulb("plan", sweep).stdout
    )
    sweep.write_text(PAIRS.replace("[games.taboo]\nitems = 8\n", "").replace('games = ["taboo"]\n', ""))
    refused = lightbulb("run", sweep, "--store", tmp_path / "d.duckdb")
    assert refused.returncode == 2
    assert "c.toml:10: pairs.0: the sweep has no game of two seats" in refused.stderr


def test_a_way_that_only_aborts_is_named(tmp_path: Path) -> None:
    """The exit code is 0, but a message says why every game was aborted, with an episode to look at."""
    sweep = tmp_path / "b.toml"
    sweep.write_text("""
name = "b"
[games.taboo]
items = 3
[games.wordle]
items = 3
[models.m.methods]
broken.bots = { form_errors = 1 }
sound.bots = { }
[audit]
again = false
""")
    ran = lightbulb("run", sweep)
    assert ran.returncode == 0, ran.stderr
    (named,) = [line for line in ran.stderr.splitlines() if "aborted" in line]
    assert named.startswith("m/broken: all 6 episodes were aborted. The most frequent reason: ")
    episode = named.split()[-1]
    assert rows(
        tmp_path / "b.duckdb", f"SELECT method, outcome FROM scores WHERE episode_id = '{episode}'"
    ) == [("m/broken", "aborted")]


def test_a_sweep_that_may_stop_early_does(tmp_path: Path) -> None:
    """A method that breaks most forms is played no further once that is sure: said, exit code 0, looks in the
    store, the audit's verdict is that of the last look, and the same command has nothing left to play."""
    sweep = tmp_path / "t.toml"
    settled = BOTS.format(repeats=1, latency=0.0).replace("items = 12", "items = 48").replace("0.1", "0.9")
    sweep.write_text(f'{settled}\n[audit]\nstop = "early"\nagain = false\nreference = "bots/good"\n')
    ended = lightbulb("run", sweep)
    assert ended.returncode == 0, ended.stderr
    assert "bots/sloppy differs from bots/good" in ended.stderr
    assert "No more episodes of bots/sloppy are played." in ended.stderr
    store = sweep.with_suffix(".duckdb")
    assert rows(store, 'SELECT verdict FROM looks ORDER BY "at" DESC LIMIT 1') == [("DIFFERENT",)]
    assert rows(store, "SELECT count(*) < 54 FROM episodes WHERE method = 'bots/sloppy'") == [(True,)]
    (found,) = json.loads(lightbulb("audit", store, "--json").stdout)
    (comparison,) = found["scores"]["comparisons"]
    assert comparison["verdict"] == "DIFFERENT"
    assert comparison["sentence"].split(" [")[0] in ended.stderr
    assert "nothing is left to play" in lightbulb("run", sweep).stderr


def test_events_for_machines(tmp_path: Path) -> None:
    """`run --json` prints an object a line: progress, messages, and the end with its exit code."""
    ended = lightbulb("run", bots_sweep(tmp_path, repeats=2, latency=0.05), "--json")
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert events[-1] == {
        "event": "end",
        "finished": 108,
        "failed": 0,
        "pending": 0,
        "exit_code": ended.returncode,
    }
    assert any(one["event"] == "said" and "items from the instance set" in one["text"] for one in events)
    pictures = [one for one in events if one["event"] == "progress"]
    assert {lane["method"] for lane in pictures[-1]["methods"]} == {"bots/good", "bots/sloppy"}
    assert 0 < sum(lane["done"] for lane in pictures[-1]["methods"]) <= 108
    assert pictures[-1]["games"][0]["points"].keys() <= {"bots/good", "bots/sloppy"}


def test_a_sweep_runs_on_an_emulator_of_its_own_and_on_one_beside_it(tmp_path: Path) -> None:
    """`emulate` serves until it is ended; a sweep reaches the same model there and at its own emulator."""
    beside = subprocess.Popen(
        command("emulate", "--port", "0", "skill=0.8", "faults.rate=0.1", "faults.stall_s=0.1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert beside.stdout is not None
    url = beside.stdout.readline().strip()
    sweep = tmp_path / "e.toml"
    sweep.write_text(f"""
name = "e"
[games.taboo]
items = 6
[models.bots.methods.inside]
emulator = {{ skill = 0.8, quotas = {{ requests = 10000 }}, latency = {{ first_s = 0.001 }} }}
[models.bots.methods.beside]
provider = "emulator"
base_url = "{url}"
""")
    ran = lightbulb("run", sweep)
    beside.send_signal(signal.SIGTERM)
    _, said = beside.communicate(timeout=30)
    assert ran.returncode == 0, ran.stderr
    assert beside.returncode == 0
    assert "answered" in said
    assert f'provider = "emulator" and base_url = "{url}"' in said
    store = tmp_path / "e.duckdb"
    assert rows(store, "SELECT count(*) FROM scores") == [(12,)]
    assert rows(store, "SELECT count(DISTINCT (experiment, instance, score)) FROM scores") == [(6,)]


def test_what_workers_cannot_do_is_said(tmp_path: Path) -> None:
    """The live page, a server of this machine on a cluster, and Ray that is not installed, each with what to
    do instead."""
    sweep = bots_sweep(tmp_path)
    viewed = lightbulb("run", sweep, "--workers", 2, "--view")
    assert viewed.returncode == 2
    assert "leave out --view, or play without workers" in viewed.stderr
    sweep.write_text(sweep.read_text() + "[models.bots.methods.near]\nemulator = {}\n")
    far = lightbulb("run", sweep, "--ray", "127.0.0.1:1")
    assert far.returncode == 2
    assert "bots/near: this machine serves the method" in far.stderr
    if find_spec("ray") is None:
        missing = lightbulb("run", sweep, "--workers", 2)
        assert missing.returncode == 2
        assert "pip install 'lightbulb[ray]'" in missing.stderr


def test_a_ray_that_does_not_start_leaves_the_sweep_to_be_continued(tmp_path: Path, played: Path) -> None:
    """One sentence and exit code 2, with what Ray said; nothing was played, and the same sweep is then played
    without workers as if nothing had happened."""
    (tmp_path / "ray.py").write_text(RAY_THAT_DOES_NOT_START)
    sweep, store = bots_sweep(tmp_path), tmp_path / "t.duckdb"
    for options in (("--workers", 2), ("--ray", "127.0.0.1:1")):
        refused = apart("run", sweep, *options, env={"PYTHONPATH": str(tmp_path)})
        assert refused.returncode == 2
        assert "Traceback" not in refused.stderr
        cluster = "on this machine" if "--workers" in options else "of --ray 127.0.0.1:1"
        said = refused.stderr.splitlines()[-1]
        assert said.startswith(f"lightbulb: Ray {cluster} cannot be used: The current node timed out")
        assert said.endswith("the same command tries again")
        assert rows(store, "SELECT count(*) FROM episodes") == [(0,)]
    assert lightbulb("run", sweep).returncode == 0
    assert rows(store, RESULTS) == rows(played, RESULTS)
    assert not store.with_name("t.duckdb.workers").exists()


def test_a_cluster_with_too_few_cores_is_refused(tmp_path: Path) -> None:
    """The sentence names the cores and the workers, also where no number of workers was asked for."""
    (tmp_path / "ray.py").write_text(RAY_WITHOUT_CORES)
    refused = apart("run", bots_sweep(tmp_path), "--ray", "127.0.0.1:1", env={"PYTHONPATH": str(tmp_path)})
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "lightbulb: the Ray cluster has 0 cores, and the workers need one each; ask for fewer with --workers, or"
        " add nodes"
    )

"""The command, as a user runs it: real files, bots as the models, processes where they are killed or interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import duckdb
import pytest

from harness.core.errors import StoreError
from harness.store.file import open_to_read, translated
from tests.command import Ended, apart, command, lightbulb
from tests.disk import small_disk
from tests.replay import disagreements

BOTS = """
name = "t"
seed = 5
repeats = {repeats}
[games.taboo]
items = 12
[games.wordle]
items = 6
[models.bots.methods.good]
bots = {{ skill = 0.8, latency_s = {latency} }}
concurrency = 4
[models.bots.methods.sloppy]
bots = {{ skill = 0.8, form_errors = 0.1, latency_s = {latency} }}
concurrency = 4
"""


def bots_sweep(folder: Path, *, repeats: int = 1, latency: float = 0.0) -> Path:
    sweep = folder / "t.toml"
    sweep.write_text(BOTS.format(repeats=repeats, latency=latency))
    return sweep


def rows(store: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()


RESULTS = "SELECT key, status, outcome, score, reason, turns FROM last_episodes ORDER BY key"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a sweep that was played undisturbed."""
    folder = tmp_path_factory.mktemp("played")
    ended = lightbulb("run", bots_sweep(folder))
    assert ended.returncode == 0, ended.stderr
    return folder / "t.duckdb"


def test_a_sweep_is_played_once(played: Path) -> None:
    """Every episode has one finished row, the reference's second plays included; running the sweep again plays nothing and adds nothing."""
    assert rows(played, "SELECT count(*), count(DISTINCT episode_id), count(DISTINCT method) FROM episodes") == [(54, 54, 2)]
    before = rows(played, RESULTS)
    again = lightbulb("run", played.with_name("t.toml"))
    assert again.returncode == 0
    assert "nothing is left to play" in again.stderr
    assert rows(played, RESULTS) == before


def test_a_budget_ends_a_run_and_more_of_it_goes_on(tmp_path: Path, played: Path) -> None:
    """Half the calls: exit code 4, the budget and the way on are said, both methods played as much; a second run with the same budget adds
    nothing; with a larger one the sweep ends as if undisturbed."""
    (calls,) = rows(played, "SELECT count(*) FROM calls")[0]
    assert isinstance(calls, int)
    sweep = bots_sweep(tmp_path)
    whole = sweep.read_text()
    sweep.write_text(whole.replace("[games.taboo]", f"[budget]\ncalls = {calls // 2}\n[games.taboo]"))
    first = lightbulb("run", sweep)
    assert first.returncode == 4, first.stderr
    assert f"of {calls // 2} calls" in first.stderr
    assert "stopped by its budget; raise it, and go on with: lightbulb run" in first.stderr
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


def test_a_sweep_that_may_stop_early_does(tmp_path: Path) -> None:
    """A method that breaks most forms is played no further once that is sure: said, exit code 0, looks in the store, the audit's verdict
    is that of the last look, and the same command has nothing left to play."""
    sweep = tmp_path / "t.toml"
    settled = BOTS.format(repeats=1, latency=0.0).replace("items = 12", "items = 48").replace("0.1", "0.9")
    sweep.write_text(f'{settled}\n[audit]\nstop = "early"\nagain = false\nreference = "bots/good"\n')
    ended = lightbulb("run", sweep)
    assert ended.returncode == 0, ended.stderr
    assert "bots/sloppy differs from bots/good" in ended.stderr
    assert "It is played no further." in ended.stderr
    store = sweep.with_suffix(".duckdb")
    assert rows(store, "SELECT verdict FROM looks ORDER BY \"at\" DESC LIMIT 1") == [("DIFFERENT",)]
    assert rows(store, "SELECT count(*) < 54 FROM episodes WHERE method = 'bots/sloppy'") == [(True,)]
    (found,) = json.loads(lightbulb("audit", store, "--json").stdout)
    (comparison,) = found["scores"]["comparisons"]
    assert comparison["verdict"] == "DIFFERENT"
    assert comparison["sentence"].split(" [")[0] in ended.stderr
    assert "nothing is left to play" in lightbulb("run", sweep).stderr


def test_events_for_machines(tmp_path: Path) -> None:
    """`run --json` leaves an object a line on stdout: pictures of the run, what is said, and the end with its exit code."""
    ended = lightbulb("run", bots_sweep(tmp_path, repeats=2, latency=0.05), "--json")
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert events[-1] == {"event": "end", "finished": 108, "failed": 0, "pending": 0, "exit_code": ended.returncode}
    assert any(one["event"] == "said" and "instances of" in one["text"] for one in events)
    pictures = [one for one in events if one["event"] == "progress"]
    assert {lane["method"] for lane in pictures[-1]["methods"]} == {"bots/good", "bots/sloppy"}
    assert 0 < sum(lane["done"] for lane in pictures[-1]["methods"]) <= 108
    assert pictures[-1]["games"][0]["points"].keys() <= {"bots/good", "bots/sloppy"}


def test_days_are_held_against_each_other(tmp_path: Path, played: Path) -> None:
    """Three days of the same replies are quiet; a fourth in other words is announced, and fails where asked to. Scores are compared too."""
    stores = [tmp_path / f"day{day}.duckdb" for day in range(4)]
    for day, store in enumerate(stores):
        store.write_bytes(played.read_bytes())
        with duckdb.connect(str(store)) as connection:
            connection.execute(f"UPDATE calls SET sent_at = sent_at + {86_400 * day}")
            if day == 3:
                connection.execute("UPDATE calls SET reply = 'never', served_model = 'another'")
    quiet = lightbulb("drift", *stores[:3], "--days-mean", "9", "--fail-on-difference", "--json")
    assert quiet.returncode == 0, quiet.stderr
    found = json.loads(quiet.stdout)
    assert [one["replies"]["method"] for one in found] == ["bots/good", "bots/sloppy"]
    assert found[0]["scores"]["comparisons"][0]["points"]["difference"] == 0
    loud = lightbulb("drift", *reversed(stores), "--days-mean", "9", "--fail-on-difference")
    assert loud.returncode == 5, loud.stderr
    assert "bots/good has changed: announced on" in loud.stdout
    assert "served model: " in loud.stdout
    assert "nothing" not in loud.stdout
    assert lightbulb("drift", stores[0], stores[0]).returncode == 2


def test_an_audit_is_planned_before_any_call(tmp_path: Path, played: Path) -> None:
    """Too small a sweep is warned of, with what would settle it; earlier episodes replace the guess; a store is not needed, nor made."""
    sweep = bots_sweep(tmp_path)
    guessed = lightbulb("audit", "--plan", sweep)
    assert guessed.returncode == 0, guessed.stderr
    assert "WARNING: too small for its margins of 3 points and 5 % played" in guessed.stdout
    assert "guessed" in guessed.stdout
    (told,) = json.loads(lightbulb("audit", "--plan", sweep, "--from", played, "--json").stdout)
    assert {game["source"] for game in told["prospect"]["games"]} == {f"as in {played}"}
    assert told["planned"]["episodes"] == 54
    assert not sweep.with_suffix(".duckdb").exists()
    both = lightbulb("audit", played, "--plan", sweep)
    assert (both.returncode, "--from STORE" in both.stderr) == (2, True)


def test_every_reply_reproduces_the_stored_scores(played: Path) -> None:
    """Fed back into the games, the stored replies give the stored asks, outcomes, scores and counts."""
    assert disagreements(played) == []


def test_scores_and_verdicts_are_printed(played: Path) -> None:
    """Scores as JSON (as text in another test), verdicts as both; the verdict is one of the three."""
    (model,) = json.loads(lightbulb("scores", played, "--json").stdout)
    assert [method["method"] for method in model["methods"]] == ["bots/good", "bots/sloppy"]
    spoken = lightbulb("audit", played).stdout
    (found,) = json.loads(lightbulb("audit", played, "--json").stdout)
    (comparison,) = found["scores"]["comparisons"]
    assert comparison["verdict"] in ("DIFFERENT", "EQUIVALENT", "INCONCLUSIVE")
    assert comparison["label"] in spoken
    assert "identical prompts" in spoken
    assert found["scores"]["again"]["method"] == "bots/good (again)"
    assert "The reference against itself: " in spoken


def test_what_the_time_went_to_is_said(played: Path) -> None:
    """For each access method shares that sum to one; as text with the chief cause in words."""
    found = json.loads(lightbulb("scores", played, "--why", "--json").stdout)
    assert [one["method"] for one in found] == ["bots/good", "bots/sloppy"]
    for one in found:
        parts = [one[name] for name in ("provider", "quota", "backing_off", "own_cpu", "starved")]
        assert sum(parts) == pytest.approx(1.0)
        assert min(parts) >= 0.0
    assert "bots/good: mostly " in lightbulb("scores", played, "--why").stdout


def test_the_view_of_clemscores_is_the_score_table(played: Path) -> None:
    """The same clemscore, share played and quality as `scores` prints."""
    (model,) = json.loads(lightbulb("scores", played, "--json").stdout)
    printed = [(one["method"], *(one["clemscore"][name] for name in ("value", "played", "quality"))) for one in model["methods"]]
    assert rows(played, "SELECT method, clemscore, played, quality FROM clemscores ORDER BY method") == printed


def test_a_difference_fails_on_request_and_makes_a_page(tmp_path: Path) -> None:
    """Hopeless bots differ from good ones: exit code 5 only when asked for; the page is written; the plan was stored before the first
    call, and both verdict and JSON quote its hash."""
    sweep = bots_sweep(tmp_path)
    sweep.write_text(sweep.read_text().replace("form_errors = 0.1", "form_errors = 0.9"))
    assert lightbulb("run", sweep).returncode == 0
    store, page = sweep.with_suffix(".duckdb"), tmp_path / "audit.html"
    ((plan, before),) = rows(store, "SELECT plan_hash, made_at <= (SELECT min(sent_at) FROM calls) FROM audit_plans")
    assert before
    asked = lightbulb("audit", store, "--html", page, "--fail-on-difference")
    assert asked.returncode == 5, asked.stderr
    assert f"Plan {str(plan)[:8]}, written before the first call" in asked.stdout
    assert "<!doctype html>" in page.read_text("utf-8")
    unasked = lightbulb("audit", store, "--json", "--margin", 4)
    (found,) = json.loads(unasked.stdout)
    assert unasked.returncode == 0
    assert found["plan"]["plan_hash"] == plan
    assert found["plan"]["overruled"] == ["margin 4 instead of 3"]


def test_an_episode_is_shown(played: Path) -> None:
    """By the beginning of its id; an unknown one is a clear error."""
    episode = str(rows(played, "SELECT episode_id FROM episodes WHERE game = 'taboo' LIMIT 1")[0][0])
    shown = lightbulb("show", played, episode)
    assert "CLUE:" in shown.stdout
    assert "guesser" in shown.stdout
    missing = lightbulb("show", played, "zzz")
    assert missing.returncode == 2
    assert "no episode's id or key starts with 'zzz'" in missing.stderr


def test_sql_reads_and_cannot_write(played: Path) -> None:
    """Queries answer as a table or as JSON lines; a change is refused."""
    answered = lightbulb("sql", played, "SELECT game, count(*) AS n FROM scores GROUP BY ALL ORDER BY ALL", "--json")
    assert [json.loads(line) for line in answered.stdout.splitlines()] == [{"game": "taboo", "n": 24}, {"game": "wordle", "n": 12}]
    alike = lightbulb("sql", played, "SELECT 1 AS n, 2 AS n, 3 AS m, 4 AS n", "--json")
    assert json.loads(alike.stdout) == {"n": 1, "n_2": 2, "m": 3, "n_3": 4}
    for harm in (
        "DELETE FROM calls",
        f"COPY (SELECT 1) TO '{played}'",
        f"COPY (SELECT 1) TO '{played}.csv'",
        f"ATTACH '{played}.other' (READ_WRITE)",
        "SELECT * FROM read_text('/etc/hostname')",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELEC 1",
    ):
        with pytest.raises(StoreError), open_to_read(played) as connection, translated(played):
            connection.execute(harm).fetchall()
    assert [path.name for path in played.parent.iterdir() if path.name.startswith(f"{played.name}.")] == []
    for harm in ("DELETE FROM calls", ""):
        refused = lightbulb("sql", played, harm)
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    with open_to_read(played) as connection:
        for view in ("scores", "last_episodes", "calls_by_method", "transcripts", "sweeps", "models", "methods", "turns", "calls"):
            connection.execute(f"FROM {view} LIMIT 1").fetchall()


def test_games_are_listed_and_shown() -> None:
    """The list names rule sets and counts; an instance is shown as each seat sees it; a misspelt game is corrected."""
    assert "wordle" in lightbulb("games").stdout
    assert "describer sees" in lightbulb("games", "taboo", "--instance", 3).stdout
    wrong = lightbulb("games", "tabu")
    assert wrong.returncode == 2
    assert 'did you mean "taboo"?' in wrong.stderr


# --- stopping and going on ----------------------------------------------------------------------------------------------------


def begun(sweep: Path, *, after: int) -> subprocess.Popen[str]:
    """A run whose store has taken so many bytes: 30,000 are the empty tables, a call and its turn about 1,000."""
    process = subprocess.Popen(command("run", sweep), stderr=subprocess.PIPE, text=True)
    store = sweep.with_suffix(".duckdb")
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        wal = store.with_suffix(".duckdb.wal")
        if wal.exists() and wal.stat().st_size > after:
            break
        time.sleep(0.02)
    return process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    """The results of the sweep that the tests below interrupt."""
    sweep = bots_sweep(tmp_path_factory.mktemp("undisturbed"), repeats=2)
    assert lightbulb("run", sweep).returncode == 0
    return rows(sweep.with_suffix(".duckdb"), RESULTS)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, undisturbed: list[tuple[object, ...]]) -> None:
    """SIGKILL at some moment; afterwards one finished row a key, no reply asked for twice that was stored, and the scores of an
    undisturbed run."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=0.02)
    process = begun(sweep, after=100_000)
    assert process.poll() is None, "the run ended before it could be killed"
    process.kill()
    process.communicate()
    store = sweep.with_suffix(".duckdb")
    kept = rows(store, "SELECT episode_id, turn, reply FROM calls") if store.exists() else []
    ended = lightbulb("run", sweep)
    assert ended.returncode == 0, ended.stderr
    assert rows(store, "SELECT count(*), count(DISTINCT episode_id) FROM episodes") == [(108, 108)]
    assert rows(store, "SELECT episode_id, turn FROM calls GROUP BY ALL HAVING count(*) > 1") == []
    assert rows(store, "SELECT episode_id, turn FROM turns GROUP BY ALL HAVING count(*) > 1") == []
    assert set(kept) <= set(rows(store, "SELECT episode_id, turn, reply FROM calls"))
    assert rows(store, RESULTS) == undisturbed


def test_ctrl_c_drains_and_says_how_to_go_on(tmp_path: Path) -> None:
    """One interrupt: calls in flight come home, exit code 130, the command that resumes; and it does."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=0.05)
    process = begun(sweep, after=60_000)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"go on with: lightbulb run {sweep}" in said
    store = sweep.with_suffix(".duckdb")
    (before,) = rows(store, "SELECT count(*) FROM calls")
    assert lightbulb("run", sweep).returncode == 0
    assert rows(store, "SELECT count(*), count(DISTINCT episode_id) FROM episodes") == [(108, 108)]
    assert rows(store, "SELECT episode_id, turn FROM calls GROUP BY ALL HAVING count(*) > 1") == []
    assert rows(store, "SELECT count(*) FROM calls") > [before]


@pytest.mark.parametrize(("signals", "pause_s"), [(2, 0.05), (4, 0.03)])
def test_impatience_is_met_with_calm(tmp_path: Path, signals: int, pause_s: float) -> None:
    """Ctrl-C again gives up what is in flight; more of them only hear that rows are being written. No traceback; the store is whole."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=0.5)
    process = begun(sweep, after=60_000)
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(pause_s)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (130, False), said
    assert rows(sweep.with_suffix(".duckdb"), "SELECT count(*) > 0 FROM calls") == [(True,)]


def test_a_running_sweep_answers_questions(tmp_path: Path) -> None:
    """While a run holds the file, `sql` and `scores` are answered by it, read only; a second run is refused by the process's number."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=6.0)
    process = begun(sweep, after=60_000)
    store = sweep.with_suffix(".duckdb")
    try:
        counted = lightbulb("sql", store, "SELECT count(*) AS calls FROM calls", "--json")
        assert json.loads(counted.stdout)["calls"] > 0, counted.stderr
        assert "bots/good" in lightbulb("scores", store).stdout
        assert "bots/good: mostly " in lightbulb("scores", store, "--why").stdout
        before = lightbulb("sql", store, "SELECT count(*) FROM calls").stdout
        copied = tmp_path / "copied.csv"
        for harm in (
            "DELETE FROM calls",
            "WITH gone AS (DELETE FROM calls RETURNING *) SELECT count(*) FROM gone",
            "EXPLAIN ANALYZE DELETE FROM calls",
            f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{copied}'",
            "SELECT 1; DELETE FROM calls",
        ):
            changed = lightbulb("sql", store, harm)
            assert (changed.returncode, "read-only" in changed.stderr) == (2, True), harm
        assert int(lightbulb("sql", store, "SELECT count(*) FROM calls").stdout.split()[-1]) >= int(before.split()[-1])
        assert not copied.exists()
        refused(sweep, f"is in use by process {process.pid}")
        assert process.poll() is None, "the run ended before the questions did"
    finally:
        process.kill()
        process.communicate()


def test_a_full_disk_stops_a_sweep_and_nothing_committed_is_lost(tmp_path: Path) -> None:
    """It says what happened and how to go on; after space is made the same command keeps every committed row, plays the rest, and ends
    with the results of a run that had space."""
    sweep = bots_sweep(tmp_path, repeats=10)
    store = tmp_path / "disk" / "t.duckdb"
    kept = "SELECT episode_id, attempt, turn, try_number, reply FROM calls WHERE run_id = '0001' ORDER BY ALL"
    with small_disk(store.parent, megabytes=1) as grow:
        stopped = apart("run", sweep, "--store", store)
        assert (stopped.returncode, "Traceback" in stopped.stderr) == (2, False), stopped.stderr
        assert "the same command resumes" in stopped.stderr
        grow(256)
        committed = rows(store, kept)
        assert committed
        assert lightbulb("run", sweep, "--store", store).returncode == 0
        assert rows(store, kept) == committed
        assert rows(store, "SELECT count(*) - count(DISTINCT (episode_id, turn)) FROM calls") == [(0,)]
        assert lightbulb("run", sweep).returncode == 0
        assert rows(store, RESULTS) == rows(sweep.with_suffix(".duckdb"), RESULTS)


# --- what a person can get wrong ----------------------------------------------------------------------------------------------


class Provider(BaseHTTPRequestHandler):
    """Serves one model; answers calls with what the class says."""

    answers: ClassVar[dict[str, tuple[int, object]]] = {}

    def do_GET(self) -> None:
        self._say(200, {"data": [{"id": "toy-large"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(*self.answers["POST"])

    def _say(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def api_sweep(folder: Path, base_url: str, *more: str, served: str = "toy-large") -> Path:
    sweep = folder / "a.toml"
    lines = ['name = "a"', "[games.taboo]", "items = 4", "[retry]", "tries_max = 2", "wait_max_s = 0.1", "[models.m.methods.api]"]
    sweep.write_text("\n".join([*lines, f'base_url = "{base_url}"', f'served_name = "{served}"', *more]))
    return sweep


def refused(sweep: Path, *words: str, store: Path | None = None, by: Callable[..., Ended] = lightbulb) -> None:
    """Exit code 2, these words, no traceback."""
    ended = by("run", sweep, *(("--store", store) if store else ()))
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.stderr


def test_an_unknown_key_names_line_key_and_remedy(tmp_path: Path) -> None:
    sweep = bots_sweep(tmp_path)
    sweep.write_text(sweep.read_text().replace("items = 12", "itmes = 12"))
    refused(sweep, f"{sweep}:6: games.taboo.itmes: unknown key", 'did you mean "items"?')


def test_reprompts_are_the_users_words_and_another_puzzle(tmp_path: Path) -> None:
    """A sweep may word wordle's reprompts; the instances then count as others; an unknown kind is corrected."""
    sweep = bots_sweep(tmp_path)
    plain = sweep.read_text().replace("[models.bots.methods.good]", 'reprompts = { length = "Five, please." }\n[models.bots.methods.good]')
    sweep.write_text(plain)
    assert lightbulb("run", sweep).returncode == 0
    sweep.write_text(plain.replace("length =", "lenght ="))
    refused(sweep, 'games.wordle.reprompts.lenght: unknown kind of mistake; did you mean "length"?')
    sweep.write_text(plain.replace("Five, please.", "Five letters."))
    assert lightbulb("run", sweep).returncode == 0
    counts = rows(tmp_path / "t.duckdb", "SELECT game, count(DISTINCT content_hash) FROM episodes GROUP BY ALL ORDER BY ALL")
    assert counts == [("taboo", 12), ("wordle", 12)]


def test_what_a_verdict_rests_on_stays_as_it_was(played: Path) -> None:
    """Another margin or another method under the old name is refused; more concurrency, more repeats or a new method are not."""
    sweep = played.with_name("t.toml")
    text = sweep.read_text()
    sweep.write_text(text + "[audit]\nmargin = 50.0\n")
    refused(sweep, "audit.margin: was 3.0 when this store was begun and is 50.0 now")
    sweep.write_text(text.replace("skill = 0.8, latency", "skill = 0.3, latency"))
    refused(sweep, "models.bots.methods.good.bots: was", "give it a name of its own")
    sweep.write_text(text.replace("concurrency = 4", "concurrency = 8"))
    assert lightbulb("run", sweep).returncode == 0
    sweep.write_text(text)


def test_a_provider_that_says_nonsense_breaks_nothing(tmp_path: Path, provider: str) -> None:
    """Bytes that are no text, counts that are no counts, bodies nested without end: failed or played, never a broken store."""
    reply = {"choices": [{"message": {"content": "no clue"}}], "usage": {"prompt_tokens": 2**64 - 1}, "model": "\ud800"}
    Provider.answers = {"POST": (200, reply)}
    sweep = api_sweep(tmp_path, provider)
    assert lightbulb("run", sweep).returncode == 0
    assert rows(tmp_path / "a.duckdb", "SELECT DISTINCT prompt_tokens, outcome FROM calls JOIN episodes USING (episode_id)") == [
        (None, "aborted")
    ]
    nested: object = 1
    for _ in range(900):
        nested = [nested]
    Provider.answers = {"POST": (200, {"choices": nested})}
    ended = lightbulb("run", sweep, "--store", tmp_path / "b.duckdb")
    assert (ended.returncode, "Traceback" in ended.stderr) == (3, False)
    Provider.answers = {"POST": (401, {"error": {"message": "\x1b]0;pwned\x07\nlightbulb: all is well"}})}
    ended = lightbulb("run", sweep, "--store", tmp_path / "c.duckdb")
    assert "\x1b" not in ended.stderr
    assert "\nlightbulb: all is well" not in ended.stderr


def test_a_missing_key_variable_is_named(tmp_path: Path, provider: str) -> None:
    sweep = api_sweep(tmp_path, provider, 'key_env = "TOY_KEY"')
    refused(sweep, "models.m.methods.api.key_env", "TOY_KEY is not set", str(tmp_path / ".env"))


def test_a_key_is_taken_from_dotenv_and_written_nowhere(tmp_path: Path, provider: str) -> None:
    """The value does not appear in anything the run wrote or said."""
    Provider.answers = {"POST": (401, {"error": {"message": "bad key sk-planted-7"}})}
    sweep = api_sweep(tmp_path, provider, 'key_env = "TOY_KEY"')
    (tmp_path / ".env").write_text("TOY_KEY=sk-planted-7\n")
    ended = lightbulb("run", sweep)
    assert ended.returncode == 3
    assert "bad key [key]" in ended.stderr
    written = [path for path in tmp_path.iterdir() if path.name != ".env"]
    assert len(written) >= 2
    assert not any(b"sk-planted-7" in path.read_bytes() for path in written)
    assert "sk-planted-7" not in ended.stderr + ended.stdout


def test_an_unreachable_server_is_told_before_anything_is_played(tmp_path: Path) -> None:
    sweep = api_sweep(tmp_path, "http://127.0.0.1:9/v1")
    refused(sweep, f"{sweep}:7: models.m.methods.api: cannot connect to http://127.0.0.1:9/v1/models", "check base_url")
    assert not sweep.with_suffix(".duckdb").exists(), "a store that says nothing was left behind"


def test_a_model_that_is_not_served_is_told(tmp_path: Path, provider: str) -> None:
    sweep = api_sweep(tmp_path, provider, served="toy-lagre")
    refused(sweep, "models.m.methods.api.served_name", "does not serve 'toy-lagre'", 'did you mean "toy-large"?')


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    sweep = bots_sweep(tmp_path)
    refused(sweep, "no/such/folder/x.duckdb: cannot be used", store=tmp_path / "no/such/folder/x.duckdb")
    other = tmp_path / "notes.txt"
    other.write_text("not a database at all " * 1000)
    refused(sweep, "notes.txt", store=other)
    foreign = tmp_path / "foreign.duckdb"
    with duckdb.connect(str(foreign)) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")
    refused(sweep, "not a store of lightbulb", store=foreign)


def test_a_store_in_use_names_the_process(tmp_path: Path) -> None:
    sweep = bots_sweep(tmp_path)
    store = tmp_path / "t.duckdb"
    with duckdb.connect(str(store)):
        refused(sweep, "is in use by process", str(os.getpid()), by=apart)


def test_failing_episodes_are_no_scores(tmp_path: Path, provider: str) -> None:
    """A provider that rejects every request: failed rows with its words, no score, exit code 3; --retry-failed plays them anew."""
    Provider.answers = {"POST": (400, {"error": {"message": "temperature must be 1"}})}
    sweep = api_sweep(tmp_path, provider)
    ended = lightbulb("run", sweep)
    assert ended.returncode == 3
    assert "4 failed" in ended.stderr
    store = tmp_path / "a.duckdb"
    assert rows(store, "SELECT DISTINCT status, outcome, score, reason FROM episodes") == [
        ("failed", None, None, "Rejected: HTTP 400: temperature must be 1")
    ]
    assert "4 failed: Rejected: HTTP 400: temperature must be 1" in ended.stderr
    shown = lightbulb("show", store, str(rows(store, "SELECT min(episode_id) FROM episodes")[0][0])).stdout
    assert "turn 0" in shown, "the ask that it died on"
    assert shown.rstrip().endswith("[no reply]\n\nfailed: Rejected: HTTP 400: temperature must be 1")
    again = lightbulb("run", sweep)
    assert (again.returncode, "4 episodes failed in earlier runs" in again.stderr) == (3, True), "left alone unless asked for"
    Provider.answers = {
        "POST": (200, {"choices": [{"message": {"content": "no clue"}, "finish_reason": "stop"}], "model": "toy-large"})
    }
    assert lightbulb("run", sweep, "--retry-failed").returncode == 0
    assert rows(store, "SELECT attempt, status, outcome, count(*) FROM episodes GROUP BY ALL ORDER BY ALL") == [
        (0, "failed", None, 4),
        (1, "finished", "aborted", 4),
    ]


def test_a_sweep_runs_on_an_emulator_of_its_own_and_on_one_beside_it(tmp_path: Path) -> None:
    """`emulate` serves until it is ended; one sweep reaches the same model there and through an emulator that it starts itself."""
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
    store = tmp_path / "e.duckdb"
    assert rows(store, "SELECT count(*) FROM scores") == [(12,)]
    assert rows(store, "SELECT count(DISTINCT (experiment, instance, score)) FROM scores") == [(6,)]


def test_emulate_refuses_what_it_does_not_know() -> None:
    """A misspelt setting is answered with the right one, and a value out of range with its range."""
    ran = lightbulb("emulate", "quotas.request=300", "skill=2")
    assert ran.returncode == 2
    assert 'quotas.request: unknown key; did you mean "requests"?' in ran.stderr
    assert "skill: input should be less than or equal to 1" in ran.stderr

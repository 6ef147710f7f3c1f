"""Mistakes of a person and of a provider have clear messages."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import duckdb
import pytest

from harness.access import engine_servers
from harness.core.errors import EngineError
from tests.bots import bots_sweep, rows
from tests.command import apart, lightbulb, refused

NO_CLUE = {"choices": [{"message": {"content": "no clue"}, "finish_reason": "stop"}], "model": "toy-large"}


class Provider(BaseHTTPRequestHandler):
    """Serves one model; answers the first call, and all others, with what the class says."""

    answers: ClassVar[dict[str, tuple[int, object]]] = {}

    def do_GET(self) -> None:
        self._say(200, {"data": [{"id": "toy-large"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(*(self.answers.pop("POST first", None) or self.answers["POST"]))

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
    lines = [
        'name = "a"',
        "[games.taboo]",
        "items = 4",
        "[retry]",
        "tries_max = 2",
        "wait_max_s = 0.1",
        "[models.m.methods.api]",
    ]
    sweep.write_text("\n".join([*lines, f'base_url = "{base_url}"', f'served_name = "{served}"', *more]))
    return sweep


def test_an_unknown_key_names_line_key_and_remedy(tmp_path: Path) -> None:
    sweep = bots_sweep(tmp_path)
    sweep.write_text(sweep.read_text().replace("items = 12", "itmes = 12"))
    refused(sweep, f"{sweep}:6: games.taboo.itmes: unknown key", 'did you mean "items"?')


def test_reprompts_are_the_users_words_and_another_puzzle(tmp_path: Path) -> None:
    """A sweep may word wordle's reprompts; the instances then count as others; an unknown kind is
    corrected."""
    sweep = bots_sweep(tmp_path)
    plain = sweep.read_text().replace(
        "[models.bots.methods.good]", 'reprompts = { length = "Five, please." }\n[models.bots.methods.good]'
    )
    sweep.write_text(plain)
    assert lightbulb("run", sweep).returncode == 0
    sweep.write_text(plain.replace("length =", "lenght ="))
    refused(sweep, 'games.wordle.reprompts.lenght: unknown kind of mistake; did you mean "length"?')
    sweep.write_text(plain.replace("Five, please.", "Five letters."))
    assert lightbulb("run", sweep).returncode == 0
    counts = rows(
        tmp_path / "t.duckdb",
        "SELECT game, count(DISTINCT content_hash) FROM episodes GROUP BY ALL ORDER BY ALL",
    )
    assert counts == [("taboo", 12), ("wordle", 12)]


def test_what_a_verdict_rests_on_stays_as_it_was(played: Path) -> None:
    """Another margin or another method under the old name is refused; more concurrency, more repeats or a new
    method are not."""
    sweep = played.with_name("t.toml")
    text = sweep.read_text()
    sweep.write_text(text + "[audit]\nmargin = 50.0\n")
    refused(sweep, "audit.margin: was 3.0 when this store was made and is 50.0 now")
    sweep.write_text(text.replace("skill = 0.8, latency", "skill = 0.3, latency"))
    refused(sweep, "models.bots.methods.good.bots.skill: was 0.8 when", "give the method a new name")
    sweep.write_text(text.replace("concurrency = 4", "concurrency = 8"))
    assert lightbulb("run", sweep).returncode == 0
    sweep.write_text(text)


def test_a_provider_that_says_nonsense_breaks_nothing(tmp_path: Path, provider: str) -> None:
    """Bytes that are no text, counts that are no counts, bodies nested without end: failed or played, never a
    broken store."""
    reply = {
        "choices": [{"message": {"content": "no clue"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2**64 - 1},
        "model": "\ud800",
    }
    Provider.answers = {"POST": (200, reply)}
    sweep = api_sweep(tmp_path, provider)
    assert lightbulb("run", sweep).returncode == 0
    assert rows(
        tmp_path / "a.duckdb",
        "SELECT DISTINCT prompt_tokens, outcome FROM calls JOIN episodes USING (episode_id)",
    ) == [(None, "aborted")]
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


def test_a_name_that_no_file_can_have_is_a_sentence(tmp_path: Path) -> None:
    """Neither the sweep's name nor a store of 300 letters ends in a traceback."""
    sweep, long = bots_sweep(tmp_path), "n" * 300
    refused(sweep, "File name too long", store=tmp_path / long)
    read = lightbulb("scores", tmp_path / long)
    assert (read.returncode, "File name too long" in read.stderr) == (2, True)
    sweep.write_text(sweep.read_text().replace('name = "t"', f'name = "{long}"'))
    refused(sweep, "t.toml:2: name: is longer than 200 bytes, too long for the name of the store's file")


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
    refused(
        sweep,
        f"{sweep}:7: models.m.methods.api: cannot connect to http://127.0.0.1:9/v1/models",
        "check base_url",
    )
    assert not sweep.with_suffix(".duckdb").exists(), "a store that says nothing was left behind"


def test_who_can_be_reached_plays(tmp_path: Path, provider: str) -> None:
    """One dead server of three methods: the others are played, its episodes stay pending with the cause, exit
    code 3; the same command plays them once it is there. With --all-or-nothing nothing is played, and no
    store is left."""
    dead = "http://127.0.0.1:9/v1"
    Provider.answers = {"POST": (200, NO_CLUE)}
    sweep = api_sweep(
        tmp_path,
        provider,
        "[models.m.methods.dead]",
        f'base_url = "{dead}"',
        'served_name = "toy-large"',
        "[models.m.methods.bots]",
        "bots = {}",
        "[audit]",
        "again = false",
    )
    refused(sweep, "models.m.methods.dead: cannot connect to", options=["--all-or-nothing"])
    store = sweep.with_suffix(".duckdb")
    assert not store.exists()
    ended = lightbulb("run", sweep)
    assert ended.returncode == 3, ended.stderr
    assert "m/dead: cannot connect to http://127.0.0.1:9/v1/models" in ended.stderr
    assert "m/dead: 4 episodes were not played. Reason: cannot connect to" in ended.stderr
    assert "8 episodes finished, 0 failed, 4 pending" in ended.stderr
    by_method = "SELECT method, count(*) FROM episodes GROUP BY ALL ORDER BY ALL"
    assert rows(store, by_method) == [("m/api", 4), ("m/bots", 4)]
    assert rows(store, "SELECT gate, kind FROM gate_events WHERE kind = 'closed'") == [("m/dead", "closed")]
    assert rows(store, "SELECT method FROM methods ORDER BY ALL") == [("m/api",), ("m/bots",)]
    sweep.write_text(sweep.read_text().replace(dead, provider))
    ended = lightbulb("run", sweep)
    assert ended.returncode == 0, ended.stderr
    assert "8 of 12 episodes done, 4 to play" in ended.stderr
    assert rows(store, by_method) == [("m/api", 4), ("m/bots", 4), ("m/dead", 4)]


def test_an_engine_that_does_not_start_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a method that it serves nor an emulator in front of it is played; the rest is."""

    def install(kind: object, notify: object) -> None:
        raise EngineError("no environment can be made here")

    monkeypatch.setattr(engine_servers, "install", install)
    sweep = tmp_path / "e.toml"
    sweep.write_text("""
name = "e"
[games.taboo]
items = 2
[models.m.methods]
served.engine = { kind = "llamacpp", weights = "w.gguf" }
before.emulator = { behind = "m/served" }
bots.bots = {}
[audit]
again = false
""")
    ended = lightbulb("run", sweep)
    assert ended.returncode == 3, ended.stderr
    for method in ("m/served", "m/before"):
        assert (
            f"{method}: 2 episodes were not played. Reason: no environment can be made here" in ended.stderr
        )
    assert "2 episodes finished, 0 failed, 4 pending" in ended.stderr


def test_a_model_that_is_not_served_is_told(tmp_path: Path, provider: str) -> None:
    sweep = api_sweep(tmp_path, provider, served="toy-lagre")
    refused(
        sweep, "models.m.methods.api.served_name", "does not serve 'toy-lagre'", 'did you mean "toy-large"?'
    )


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
        refused(sweep, "is in use by ", f"(process {os.getpid()})", by=apart)


def test_failing_episodes_are_no_scores(tmp_path: Path, provider: str) -> None:
    """A provider that rejects every request but the first: failed rows with its words, no score, exit code 3;
    --retry-failed plays them anew. (One that rejects all is no provider of these calls: its episodes stay
    pending.)"""
    rejection = (400, {"error": {"message": "temperature must be 1"}})
    Provider.answers = {"POST": rejection, "POST first": (200, NO_CLUE)}
    sweep = api_sweep(tmp_path, provider, "concurrency = 1", "[audit]", "again = false")
    ended = lightbulb("run", sweep)
    assert ended.returncode == 3
    assert "3 failed" in ended.stderr
    store = tmp_path / "a.duckdb"
    assert rows(
        store, "SELECT DISTINCT status, outcome, score, reason FROM episodes WHERE status = 'failed'"
    ) == [("failed", None, None, "Rejected: HTTP 400: temperature must be 1")]
    assert "3 episodes failed: Rejected: HTTP 400: temperature must be 1" in ended.stderr
    shown = lightbulb(
        "show", store, str(rows(store, "SELECT min(episode_id) FROM episodes WHERE status = 'failed'")[0][0])
    ).stdout
    assert "turn 0" in shown, "the ask that it died on"
    assert shown.rstrip().endswith("[no reply]\n\nfailed: Rejected: HTTP 400: temperature must be 1")
    again = lightbulb("run", sweep)
    assert (again.returncode, "3 episodes failed in earlier runs" in again.stderr) == (3, True), (
        "left alone unless asked for"
    )
    Provider.answers = {"POST": (200, NO_CLUE)}
    assert lightbulb("run", sweep, "--retry-failed").returncode == 0
    assert rows(
        store, "SELECT attempt, status, outcome, count(*) FROM episodes GROUP BY ALL ORDER BY ALL"
    ) == [
        (0, "failed", None, 3),
        (0, "finished", "aborted", 1),
        (1, "finished", "aborted", 3),
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "xyzzy is exhausted, request 4711"),
        (422, "der Schluessel gilt nicht"),
        (400, "le modele demande est inconnu"),
        (401, "no"),
        (429, "You exceeded your current quota, please check your plan and billing details."),
        (404, "nothing here"),
    ],
)
def test_refusals_in_any_words_burn_no_episode(
    tmp_path: Path, provider: str, status: int, words: str
) -> None:
    """An exhausted account, a refused key, an unknown model: five answers and those in flight at most, all
    episodes pending, exit code 3, and one sentence with the provider's words."""
    Provider.answers = {"POST": (status, {"error": {"message": words}})}
    sweep = api_sweep(tmp_path, provider)
    sweep.write_text(sweep.read_text().replace("items = 4", "items = 40"))
    ended = lightbulb("run", sweep)
    assert ended.returncode == 3
    assert "0 episodes finished, 0 failed, 40 pending" in ended.stderr
    assert [line for line in ended.stderr.splitlines() if line.startswith("m/api: stopped")] == [
        line for line in ended.stderr.splitlines() if words in line and line.startswith("m/api: stopped")
    ]
    ((calls, episodes),) = rows(
        tmp_path / "a.duckdb",
        "SELECT count(*), (SELECT count(*) FROM episodes WHERE status <> 'pending') FROM calls",
    )
    assert int(str(calls)) <= 5 + 8  # the window starts with 8
    assert episodes == 0


def test_replies_that_hint_at_a_wrong_set_up_are_named_with_the_key(tmp_path: Path, provider: str) -> None:
    """Thoughts within replies, at the end of a run and in a check."""
    thinking = {"message": {"content": "<think>hm</think>no clue"}, "finish_reason": "stop"}
    Provider.answers = {"POST": (200, {"choices": [thinking]})}
    sweep = api_sweep(tmp_path, provider)
    sentence = (
        "4 of 4 replies contain </think>, so the model's thoughts are part of them; set thinks_aloud = true"
    )
    assert f"m/api: {sentence}" in lightbulb("run", sweep).stderr
    checked = lightbulb("check", sweep)
    assert "1 of 1 replies contain </think>" in checked.stdout + checked.stderr


def test_view_refuses_what_is_no_store(tmp_path: Path) -> None:
    """A text, and a device that is never read to its end."""
    (tmp_path / "notes.txt").write_text("some notes, not a store\n")
    for what in (tmp_path / "notes.txt", Path("/dev/zero")):
        ended = lightbulb("view", what)
        assert ended.returncode == 2
        assert f"{what}: is not a DuckDB file; name another" in ended.stderr

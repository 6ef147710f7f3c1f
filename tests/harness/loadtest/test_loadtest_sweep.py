"""`lightbulb bench` against an emulator in a process of its own."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import pytest

from tests.command import command, lightbulb

SWEEP = """
name = "b"
[games.taboo]
items = 4
[models.m.methods.far]
base_url = "{base_url}"
"""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """An emulator with eight workers and a tenth of a second to the first token."""
    settings = ["latency.first_s=0.1", "latency.tokens_per_s=2000", "latency.workers=8"]
    emulator = subprocess.Popen(
        command("emulate", "--port", 0, *settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert emulator.stdout is not None
    yield emulator.stdout.readline().split()[-1]
    emulator.send_signal(signal.SIGINT)
    emulator.communicate(timeout=30)


def test_a_server_is_measured(base_url: str, tmp_path: Path) -> None:
    """Each stage has its requests in the store, as JSON and as a page, and no figure is better than the
    server."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=base_url))
    stages = ("--requests", 8, "--concurrency", "1,4", "--rates", 20)
    ended = lightbulb("bench", sweep, *stages, "--html", tmp_path / "b.html", "--json")
    assert ended.returncode == 0, ended.stderr
    (found,) = json.loads(ended.stdout)["methods"]
    assert [stage["stage"]["level"] for stage in found["stages"]] == [1, 4, 20]
    for stage in found["stages"]:
        assert (stage["answered"], stage["errors"]) == (stage["stage"]["requests"], 0)
        assert (stage["figures"] is None) == (stage["refused"] is not None)
        if stage["figures"]:
            assert stage["figures"]["ttft_s"]["n"] == stage["answered"]
            assert stage["figures"]["ttft_s"]["min"] >= 0.1
    with duckdb.connect(str(tmp_path / "b.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT stage, count(*), min(first_s - sent_s) >= 0.1, bool_and(due_s <= sent_s AND sent_s <= first_s AND first_s <= done_s)"
            " FROM bench_requests GROUP BY ALL ORDER BY 1"
        ).fetchall()
        assert rows == [(0, 8, True, True), (1, 8, True, True), (2, 8, True, True)]
        assert connection.execute("SELECT count(*) FROM bench_stages WHERE cpu_share > 0").fetchall() == [
            (3,)
        ]
    page = (tmp_path / "b.html").read_text("utf-8")
    assert "m/far" in page
    assert "default-src &#x27;none&#x27;" in page


def test_what_is_asked_wrongly_is_said(base_url: str, tmp_path: Path) -> None:
    """A misspelt method and a list of stages that are no numbers are each a clear error before anything is
    measured."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=base_url))
    for arguments, words in (
        (("--method", "m/fra"), 'did you mean "m/far"?'),
        (("--concurrency", "one"), "write numbers with commas"),
        (("--arrivals", "even"), "write poisson, constant or gamma"),
        (("--find", "nee"), 'write "knee"'),
        (("--find", "knee", "--rates", "1,2"), "name one to start from"),
        (("--prefix", "shared:100"), "set --prompt-tokens too"),
        (("--trace", "t.jsonl", "--rates", "2"), "a trace decides when requests are sent"),
        (("--trace", "t.jsonl"), "cannot be read"),
        (("--prompt-tokens", "a"), "write MEAN, MEAN:SD"),
        (("--find", "knee", "--concurrency", "2000"), "set --max-level to 2000 or higher"),
        (("--ramp", "inf"), "--ramp inf: write a finite number"),
    ):
        refused = lightbulb("bench", sweep, *arguments)
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False), refused.stderr
        assert words in refused.stderr


def measured(sweep: Path, *arguments: object) -> Any:
    """Returns the one method of `bench --json`."""
    ended = lightbulb("bench", sweep, *arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["methods"][0]


def test_rates_alone_play_no_closed_loop(base_url: str, tmp_path: Path) -> None:
    """`--rates` plays what it says; the run's facts, its windows and a line of CSV are kept."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=base_url))
    table = tmp_path / "b.csv"
    found = measured(
        sweep, "--rates", 40, "--requests", 60, "--repeats", 2, "--arrivals", "constant", "--label", "even",
        "--csv", table,
    )  # fmt: skip
    assert [(one["stage"]["loop"], one["stage"]["repeat"]) for one in found["stages"]] == [
        ("open", 0),
        ("open", 1),
    ]
    (level,) = found["levels"]
    assert level["repeats"] == 2
    assert level["figures"]["e2e_s"]["n"] > 60
    assert level["figures"]["e2e_s"]["p99"] is None
    assert level["intervals"]["requests_per_s"]["low"] < level["intervals"]["requests_per_s"]["high"]
    (line,) = csv.DictReader(table.read_text().splitlines())
    assert (line["loop"], line["answered"], line["e2e_s_p99"]) == ("open", "120", "")
    with duckdb.connect(str(tmp_path / "b.duckdb"), read_only=True) as connection:
        ((method, label, facts, host),) = connection.execute(
            "SELECT method, label, profile_json, host_json FROM bench_runs"
        ).fetchall()
        assert (method, label) == ("m/far", "even")
        assert found["facts"]["profile"] == json.loads(facts)
        assert found["facts"]["host"] == json.loads(host)
        assert (found["facts"]["base_url"], found["facts"]["label"]) == (base_url, "even")
        assert json.loads(facts)["profile"]["arrivals"] == "constant"
        assert json.loads(host)["processors"] >= 1
        assert connection.execute(
            'SELECT count(*) FROM bench_stages WHERE window_to_s > window_from_s AND began_at < "at"'
        ).fetchall() == [(2,)]


def test_games_and_random_prompts_are_played(base_url: str, tmp_path: Path) -> None:
    """Whole games keep their turns in order; random prompts have the lengths that were asked for, by the
    server's own count; a trace is played at its moments."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=base_url) + 'provider = "emulator"\n')
    games = measured(sweep, "--sessions", "--concurrency", 4, "--requests", 8, "--think-time", 0.01)
    turns = games["levels"][0]["figures"]["by_turn"]
    assert [turn["turn"] for turn in turns] == list(range(len(turns)))
    assert len(turns) > 1
    assert turns[0]["ttft_s"]["n"] == 8
    random = measured(
        sweep, "--concurrency", 4, "--requests", 30, "--prompt-tokens", "200:20", "--output-tokens", 20,
    )["levels"][0]["figures"]  # fmt: skip
    assert random["prompt_tokens"]["mean"] == pytest.approx(200, rel=0.1)
    assert random["completion_tokens"]["max"] <= 20
    trace = tmp_path / "trace.jsonl"
    trace.write_text(
        "\n".join(f'{{"arrival_s": {n / 10}, "prompt_tokens": 50, "output_tokens": 5}}' for n in range(20))
    )
    measured(sweep, "--trace", trace)
    with duckdb.connect(str(tmp_path / "b.duckdb"), read_only=True) as connection:
        disordered = connection.execute(
            "SELECT count(*) FROM bench_requests AS a JOIN bench_requests AS b USING (run_id, stage, session)"
            " WHERE a.turn < b.turn AND a.done_s > b.sent_s"
        ).fetchall()
        assert disordered == [(0,)]
        due = connection.execute(
            "SELECT due_s FROM bench_requests WHERE run_id = 'bench-0003' ORDER BY due_s"
        ).fetchall()
    assert [moment for (moment,) in due] == pytest.approx([n / 10 for n in range(20)], abs=1e-6)


def test_the_calls_of_its_own_store_are_a_trace(base_url: str, tmp_path: Path) -> None:
    """A sweep is played into its store; bench sends the same calls again and writes into the same store."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=base_url) + 'provider = "emulator"\n')
    assert lightbulb("run", sweep).returncode == 0
    (stage,) = measured(sweep, "--trace", tmp_path / "b.duckdb", "--speed", 4)["stages"]
    with duckdb.connect(str(tmp_path / "b.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchall() == [(stage["answered"],)]


def test_a_page_that_cannot_be_written_costs_no_figures(base_url: str, tmp_path: Path) -> None:
    """The tables are printed before the page; the message names its path."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=base_url))
    load = ("--concurrency", 4, "--requests", 8)
    (tmp_path / "b.html").mkdir()
    ended = lightbulb("bench", sweep, *load, "--html", tmp_path / "b.html", "--json")
    assert ended.returncode == 2
    assert f"{tmp_path}/b.html: cannot be written" in ended.stderr
    assert json.loads(ended.stdout)["methods"][0]["stages"][0]["answered"] == 8


def test_an_interrupted_load_test_keeps_the_stages_that_ended(base_url: str, tmp_path: Path) -> None:
    """Ctrl-C in the second stage: a sentence names the store, which has the first."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=base_url))
    load = ("--concurrency", "8,1", "--requests", 100)
    bench = subprocess.Popen(
        command("bench", sweep, *load), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert bench.stderr is not None
    while "stage 2 of 2" not in bench.stderr.readline():
        assert bench.poll() is None
    bench.send_signal(signal.SIGINT)
    _, told = bench.communicate(timeout=30)
    assert (bench.returncode, "Traceback" in told) == (130, False)
    assert f"bench-0001 ends early; the stages that ended are in {tmp_path / 'b.duckdb'}" in told
    with duckdb.connect(str(tmp_path / "b.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT stage, requests FROM bench_stages").fetchall() == [(0, 100)]


class Refusing(BaseHTTPRequestHandler):
    """Knows the model, says its version, and refuses the key."""

    def do_GET(self) -> None:
        if self.path == "/version":
            self._answer(200, {"version": "1.2.3" if self.headers["authorization"] is None else "with a key"})
        else:
            self._answer(200, {"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(401, {"error": {"message": "Incorrect API key provided"}})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def refusing_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_a_refused_key_is_said(refusing_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's words stand beside the number of requests that failed; the version that the server
    reports is stored, and it was asked for without the key."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=refusing_url) + 'key_env = "SOME_KEY"\n')
    monkeypatch.setenv("SOME_KEY", "sk-some-key")
    ended = lightbulb("bench", sweep, "--concurrency", 2, "--requests", 6)
    assert ended.returncode == 3
    assert "6 of 6 requests failed, most often with AccountRefused" in ended.stdout
    assert "Incorrect API key provided" in ended.stdout
    with duckdb.connect(str(tmp_path / "b.duckdb"), read_only=True) as connection:
        ((facts,),) = connection.execute("SELECT engine_json FROM bench_runs").fetchall()
    reported = json.loads(facts)
    assert reported.pop("reported_server").startswith("BaseHTTP/")
    assert reported == {"reported_version": "1.2.3", "reported_by": "/version"}


@pytest.mark.parametrize(
    "load",
    [
        ("--concurrency", "1,4"),
        ("--rates", "40,80"),
        ("--find", "knee"),
        ("--find", "slo=0.9", "--rates", 40),
        ("--concurrency", "1,4", "--prompt-tokens", 50, "--repeats", 2),
        ("--trace", "t.jsonl", "--speed", "1,2"),
    ],
    ids=lambda load: "".join(map(str, load)),
)
def test_a_server_that_answers_nothing_ends_the_load_test(
    refusing_url: str, tmp_path: Path, load: tuple[object, ...]
) -> None:
    """One stage is played, its cause is said, and the exit code is 3."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=refusing_url))
    trace = tmp_path / "t.jsonl"
    trace.write_text("\n".join(f'{{"arrival_s": {n / 100}, "prompt": "Hello"}}' for n in range(30)))
    ended = lightbulb("bench", sweep, *(trace if word == "t.jsonl" else word for word in load), "--json")
    assert (ended.returncode, "Traceback" in ended.stderr) == (3, False), ended.stderr
    assert "m/far: stopped: none of " in ended.stderr
    (found,) = json.loads(ended.stdout)["methods"]
    (stage,) = found["stages"]
    assert (stage["answered"], stage["errors"] < 30) == (0, True)
    assert stage["failure"] in found["stopped"]
    with duckdb.connect(str(tmp_path / "b.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM bench_stages").fetchall() == [(1,)]


def test_a_dry_run_sends_nothing(tmp_path: Path) -> None:
    """No server is needed to see the stages and their cost at most."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(
        SWEEP.format(base_url="http://127.0.0.1:9/v1")
        + "price_input_usd_per_mtok = 1.0\nprice_output_usd_per_mtok = 2.0\n"
    )
    ended = lightbulb(
        "bench", sweep, "--dry-run", "--rates", 5, "--concurrency", "2,4", "--requests", 50, "--json"
    )
    assert ended.returncode == 0, ended.stderr
    (plan,) = json.loads(ended.stdout)
    assert plan["requests"] == 150
    assert [planned["seconds"] for planned in plan["stages"]] == [None, None, 10.0]
    assert plan["cost_usd"] == pytest.approx(
        (plan["prompt_tokens"] + 2 * plan["output_tokens"]) / 1e6, rel=1e-3
    )
    trace = tmp_path / "trace.jsonl"
    trace.write_text(
        '{"arrival_s": 10, "prompt_tokens": 30}\n{"arrival_s": 14, "prompt_tokens": 50, "output_tokens": 8}\n'
    )
    ended = lightbulb("bench", sweep, "--dry-run", "--trace", trace, "--speed", "1,2", "--json")
    (plan,) = json.loads(ended.stdout)
    assert (plan["requests"], plan["prompt_tokens"], plan["output_tokens"]) == (4, 160.0, 2 * (128 + 8))
    assert [planned["seconds"] for planned in plan["stages"]] == [4.0, 2.0]
    trace.write_text("x")
    assert lightbulb("bench", sweep, "--dry-run", "--trace", trace).returncode == 2
    nowhere = lightbulb("bench", sweep, "--csv", tmp_path / "nowhere" / "x.csv")
    assert (nowhere.returncode, "there is no folder" in nowhere.stderr) == (2, True)
    assert not (tmp_path / "b.duckdb").exists()

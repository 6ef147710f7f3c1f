"""A planted key is in nothing that a run writes or shows, however a provider repeats it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import duckdb

from tests.command import apart, lightbulb

KEY = "sk-planted-7f3a9c2e"
ENV = {"PLANTED_KEY": KEY}
SWEEP = """
name = "t"
[games.taboo]
items = 3
[models.toy.methods.served]
base_url = "{url}"
key_env = "PLANTED_KEY"
served_name = "toy"
concurrency = 1
[retry]
tries_max = 2
wait_max_s = 0.05
"""


class Quoting(BaseHTTPRequestHandler):
    """A provider that quotes the key in replies, headers and errors, and refuses it after `good` replies."""

    good: ClassVar[int]
    heard: ClassVar[int]
    on_show: ClassVar[list[str]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, {"data": [{"id": "toy", "owner": self.headers["Authorization"]}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).heard += 1
        type(self).on_show += commands_with(KEY)
        key = self.headers["Authorization"].removeprefix("Bearer ")
        if self.heard > self.good:
            self.answer(401, {"error": {"message": f"Key {key} is over.", "code": key}})
        elif self.heard % 3 == 0:
            self.answer(500, {"error": {"message": f"{key} \x1b[31mwas unlucky"}})
        else:
            message = {"content": f"CLUE: it is {key}", "reasoning": f"I know {key}"}
            choice = {"message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 3, "completion_tokens": 5}
            self.answer(
                200,
                {
                    "id": key,
                    "model": key,
                    "provider": key,
                    "system_fingerprint": key,
                    "choices": [choice],
                    "usage": usage,
                },
            )

    def answer(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "x-request-id": KEY,
            "x-ratelimit-limit-requests": KEY,
            "Content-Length": str(len(raw)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *arguments: object) -> None:
        pass


def commands_with(text: str) -> list[str]:
    """The command lines on this machine that hold it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode("utf-8", "replace")
        except OSError:  # it has ended
            continue
        if text in line:
            found.append(line)
    return found


@contextmanager
def quoting(good: int) -> Iterator[tuple[str, type[Quoting]]]:
    class Here(Quoting):
        pass

    Here.good, Here.heard, Here.on_show = good, 0, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Here)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", Here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def texts_in(store: Path) -> str:
    """Every value of every table: the file itself is packed."""
    with duckdb.connect(str(store), read_only=True) as connection:
        tables = [row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return json.dumps(
            {table: connection.execute(f'FROM "{table}"').fetchall() for table in tables}, default=str
        )


def test_the_key_is_nowhere(tmp_path: Path) -> None:
    """After a run whose key is refused half-way and one that goes on to the end: store, other files, outputs,
    the report, a query's answer, command lines. And no control sequence reaches a terminal."""
    sweep, store, page = tmp_path / "t.toml", tmp_path / "t.duckdb", tmp_path / "t.html"
    said = []
    for good, code in ((4, 3), (10_000, 0)):
        with quoting(good) as (url, provider):
            sweep.write_text(SWEEP.format(url=url))
            ended = apart("run", sweep, env=ENV)
        assert ended.returncode == code, ended.stderr
        assert provider.heard > 3
        assert provider.on_show == []
        said += [ended.stdout, ended.stderr]
    for arguments in (("report", store, "-o", page), ("sql", store, "SELECT reply, error_text FROM calls")):
        ended = lightbulb(*arguments)
        assert ended.returncode == 0, ended.stderr
        said += [ended.stdout, ended.stderr]
    assert "[key]" in said[-2]
    kept = texts_in(store)
    assert "it is [key]" in kept
    for text in (*said, kept):
        assert KEY not in text
        assert "\x1b[31m" not in text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"t.toml", "t.duckdb", "t.html"}
    for path in written:
        assert KEY.encode() not in path.read_bytes(), path

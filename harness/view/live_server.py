"""Serves the live page of some stores to this machine.

Keeps: listens on 127.0.0.1 only; a request that names another host, or that lacks the token, gets nothing but
style and script. What it does to a run is one thing: `stop`, as Ctrl-C does. Queries are those of
`lightbulb sql`: one SELECT."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from harness.analysis.store_audit import store_scores
from harness.core.errors import HarnessError, StoreError
from harness.core.protocols import Clock
from harness.report.text import escape_control
from harness.store.file import open_to_read
from harness.store.query import execute_query
from harness.store.query_server import RunningStore
from harness.store.report_queries import sweep_lines
from harness.store.view_queries import episode_lines, outcome_counts, plays_of_item
from harness.view.guard import HEADERS, is_own_host, is_token
from harness.view.live_store import LiveStore
from harness.view.pages import ASSETS, asset, live_page
from harness.view.values import GLOSSARY, safe, transcript_values

PERIOD_S = 1.0
ROWS_MAX = 2_000  # of a query's answer: more than a person reads
QUERY_BYTES_MAX = 100_000
TYPES = {".js": "text/javascript", ".css": "text/css"}

_LOG = logging.getLogger(__name__)
# What is not HTTP gets 400: it is a mistake of its sender, and no line of ours.
_LOG.addFilter(lambda row: not (row.exc_info and isinstance(row.exc_info[1], HttpProcessingError)))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ViewServer:
    """The pages of these stores.

    title   of the page
    token   each request must bear it"""

    def __init__(self, stores: Sequence[Path], *, title: str, token: str, clock: Clock) -> None:
        self._stores = [LiveStore(path, clock=clock) for path in stores]
        self._title = title
        self._token = token
        self._port = 0
        self._ending = anyio.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/?token={self._token}"

    async def serve(self, port: int, *, ready: Callable[[str], None]) -> None:
        """Serves until it is cancelled.

        port    0: any that is free
        ready   gets the page's address
        raises  OSError if the port is taken"""
        application = web.Application(middlewares=[self._guarded], client_max_size=QUERY_BYTES_MAX)
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/assets/{name}", self._asset),
                web.get("/api/stores", self._list),
                web.get("/api/events", self._events),
                web.get("/api/episodes", self._episodes),
                web.get("/api/plays", self._plays),
                web.get("/api/compare", self._compare),
                web.post("/api/sql", self._sql),
                web.post("/api/stop", self._stop),
            ]
        )
        runner = web.AppRunner(application, access_log=None, logger=_LOG, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            self._port = int(runner.addresses[0][1])
            ready(self.address)
            await anyio.sleep_forever()
        finally:
            self._ending.set()
            with anyio.CancelScope(shield=True):
                await runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses requests of other pages; adds the headers that bind this one."""
        if not is_own_host(request.headers.get("Host"), self._port):
            return web.Response(status=421, text="this server is 127.0.0.1", headers=HEADERS)
        if not request.path.startswith("/assets/") and not is_token(_given(request), self._token):
            return web.Response(
                status=403, text="open the address that lightbulb printed: it has a token", headers=HEADERS
            )
        try:
            response = await handler(request)
        except HarnessError as error:
            return _answer({"error": safe(str(error))})
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=live_page(self._title), content_type="text/html")

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        return web.Response(text=asset(name), content_type=TYPES[Path(name).suffix])

    def _store(self, request: web.Request) -> LiveStore:
        place = request.query.get("store", "0")
        if not place.isdecimal() or int(place) >= len(self._stores):
            raise web.HTTPNotFound
        return self._stores[int(place)]

    async def _list(self, request: web.Request) -> web.StreamResponse:
        rows = [await anyio.to_thread.run_sync(_facts, one.path) for one in self._stores]
        return _answer({"stores": rows, "glossary": GLOSSARY})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Sends the parts of the page that have changed, once a second, as server-sent events; last of all
        `end`, after which the page asks no more."""
        store = self._store(request)
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        version = 0
        with suppress(ConnectionError):  # the page was closed
            while not self._ending.is_set():
                version, parts = await anyio.to_thread.run_sync(store.changes, version)
                if parts:
                    await response.write(b"event: parts\ndata: " + orjson.dumps(parts) + b"\n\n")
                else:
                    await response.write(b": still here\n\n")
                with anyio.move_on_after(PERIOD_S):
                    await self._ending.wait()
            await response.write(b"event: end\ndata: {}\n\n")
        return response

    async def _episodes(self, request: web.Request) -> web.StreamResponse:
        path = self._store(request).path
        wanted = {name: request.query.get(name, "") for name in ("method", "game", "ended")}
        return _answer(await anyio.to_thread.run_sync(lambda: _episodes(path, wanted)))

    async def _plays(self, request: web.Request) -> web.StreamResponse:
        path, episode = self._store(request).path, request.query.get("id", "")
        return _answer(await anyio.to_thread.run_sync(lambda: _plays(path, episode)))

    async def _compare(self, request: web.Request) -> web.StreamResponse:
        places = [request.query.get(name, "") for name in ("left", "right")]
        if not all(place.isdecimal() and int(place) < len(self._stores) for place in places):
            raise web.HTTPNotFound
        left, right = (self._stores[int(place)].path for place in places)
        return _answer(await anyio.to_thread.run_sync(lambda: _compared(left, right)))

    async def _sql(self, request: web.Request) -> web.StreamResponse:
        path = self._store(request).path
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError as error:
            return web.Response(status=400, text=f"the query is not JSON: {error}")
        query = str(body.get("query", "")) if isinstance(body, dict) else ""
        return _answer(await anyio.to_thread.run_sync(lambda: answer_query(path, query)))

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        path = self._store(request).path
        return _answer(await anyio.to_thread.run_sync(lambda: _stopped(path)))


def _given(request: web.Request) -> str | None:
    """Returns the token of a request: of its header, or of its address where a browser can set no header."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else request.query.get("token")


def _answer(value: object) -> web.Response:
    return web.Response(
        body=orjson.dumps(value, default=str), content_type="application/json", headers=HEADERS
    )


def _facts(path: Path) -> dict[str, object]:
    """Returns a row of the list of stores; without figures where the store cannot be read now."""
    row: dict[str, object] = {"name": safe(path.name), "sweep": None, "episodes": None, "at": None}
    if path.exists():
        try:
            with open_to_read(path) as connection:
                sweeps = sweep_lines(connection)
                counts = connection.execute("SELECT count(DISTINCT episode_id) FROM episodes").fetchall()
        except StoreError:
            return row
        last = sweeps[-1] if sweeps else None
        row |= {
            "sweep": safe(last.name) if last else None,
            "episodes": counts[0][0],
            "at": last.started_at if last else None,
        }
    return row


def _episodes(path: Path, wanted: dict[str, str]) -> dict[str, object]:
    """Returns a list of episodes, and what it can be filtered by.

    wanted   column -> a choice of an earlier answer, escaped as it was there; "" lets all pass"""
    with open_to_read(path) as connection:
        outcomes = outcome_counts(connection)
        choices = {
            name: {escape_control(one): one for one in sorted({getattr(row, name) for row in outcomes})}
            for name in wanted
        }
        rows = episode_lines(
            connection, **{name: choices[name].get(one, one) for name, one in wanted.items()}
        )
    return {
        "rows": safe([row._asdict() for row in rows]),
        "choices": {name: list(known) for name, known in choices.items()},
    }


def _plays(path: Path, episode: str) -> dict[str, object]:
    with open_to_read(path) as connection:
        return transcript_values(plays_of_item(connection, episode))


def _compared(left: Path, right: Path) -> dict[str, object]:
    """Returns the clemscores of two stores by method."""
    sides = [
        {
            one.method: one.clemscore.value
            for part in store_scores(path)
            for one in (*part.methods, *part.summaries)
        }
        for path in (left, right)
    ]
    methods = sorted(set(sides[0]) | set(sides[1]))
    return {
        "rows": [
            {"method": safe(name), "left": sides[0].get(name), "right": sides[1].get(name)}
            for name in methods
        ]
    }


def answer_query(path: Path, query: str) -> dict[str, Any]:
    """Returns the first rows of a query. From a file only these are fetched; a run sends all, up to its limit
    of bytes."""
    with open_to_read(path) as connection:
        result = execute_query(connection, query)
        names = [column[0] for column in result.description or []]
        rows = result.fetchmany(ROWS_MAX + 1)
    return {
        "names": safe(names),
        "rows": safe([list(row) for row in rows[:ROWS_MAX]]),
        "cut": len(rows) > ROWS_MAX,
    }


def _stopped(path: Path) -> dict[str, object]:
    """Stops the run that holds the store, as Ctrl-C does."""
    with open_to_read(path) as connection:
        if not isinstance(connection, RunningStore):
            return {"error": "no run holds this store"}
        connection.ask("stop")
    return {"stopping": True}

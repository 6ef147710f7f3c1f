"""The live page's server and what is sent to its port."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from harness.core.clock import RealClock
from harness.core.errors import StoreError
from harness.core.event_loop import run_async
from harness.store.file import open_to_write
from harness.view.live_server import ROWS_MAX, ViewServer, answer_query

LAST_FAILS = (
    "SELECT CASE WHEN range + 1 < {rows} THEN range ELSE error('the last row') END AS n FROM range({rows})"
)


NO_HTTP = "GET / HTTP/1.1\r\nHost: {host}\r\nContent-Length: -5\r\n\r\n"
NO_JSON = (
    "POST /api/sql?store=0 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer k\r\nContent-Length: 18\r\n\r\n"
    '{{"query":"\\ud800"}}'
)


@pytest.mark.parametrize("request_text", [NO_HTTP, NO_JSON])
def test_what_is_not_a_request_gets_400_and_no_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request_text: str
) -> None:
    """A program that looks for open ports writes no line, nor does half a surrogate pair."""
    server = ViewServer([tmp_path / "s.duckdb"], title="t", token="k", clock=RealClock())

    async def sent() -> bytes:
        async with anyio.create_task_group() as tasks:
            address: list[str] = []
            ready = anyio.Event()

            def note(at: str) -> None:
                address.append(at)
                ready.set()

            tasks.start_soon(lambda: server.serve(0, ready=note))
            await ready.wait()
            port = int(address[0].split(":")[2].split("/")[0])
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(request_text.format(host=f"127.0.0.1:{port}").encode())
                answer = await stream.receive()
            tasks.cancel_scope.cancel()
        return answer

    assert run_async(sent).split(b"\r\n")[0].endswith(b" 400 Bad Request")
    assert caplog.records == []


def test_only_the_first_rows_of_a_query_are_computed(tmp_path: Path) -> None:
    """The last of ten million rows would fail; rows that are not shown take no memory."""
    store = tmp_path / "s.duckdb"
    with open_to_write(store):
        pass
    answer = answer_query(store, LAST_FAILS.format(rows=10_000_000))
    assert answer == {"names": ["n"], "rows": [[number] for number in range(ROWS_MAX)], "cut": True}
    assert not answer_query(store, f"FROM range({ROWS_MAX})")["cut"]
    assert answer_query(store, f"FROM range({ROWS_MAX + 1})")["cut"]
    with pytest.raises(StoreError, match="the last row"):
        answer_query(store, LAST_FAILS.format(rows=ROWS_MAX))

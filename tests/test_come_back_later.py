"""A provider that says when to come back: no episode fails, and the run ends at once with the moment."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from backends.emulator.server import serving
from harness.core.emulation import Emulation
from tests.bots import rows
from tests.command import lightbulb

HOUR_S = 3600
SWEEP = """
name = "later"
[games.taboo]
items = 60
[models.m.methods.a]
provider = "emulator"
base_url = "{url}"
concurrency = 16
"""
Refusal = Callable[[], web.Response]


def refusal(message: str = "Rate limit reached.", *, status: int = 429, **headers: str) -> web.Response:
    named = {name.replace("_", "-").replace("--", "_"): value for name, value in headers.items()}
    return web.json_response({"error": {"message": message, "code": status}}, status=status, headers=named)


REFUSALS: dict[str, Refusal] = {
    "seconds": lambda: refusal(Retry_After="3600"),
    "503": lambda: refusal("Overloaded.", status=503, Retry_After="3600"),
    "date": lambda: refusal(Retry_After=formatdate(time() + HOUR_S, usegmt=True)),
    "milliseconds": lambda: refusal(retry_after_ms="3600000"),
    "words": lambda: refusal("Rate limit reached. Please try again in 1h0m0s."),
    "more words": lambda: refusal("Quota of this project is used up, retry after 60 minutes"),
    "a moment": lambda: refusal(
        X_RateLimit_Remaining="0", X_RateLimit_Reset=str(int((time() + HOUR_S) * 1000))
    ),
    "of the upstream": lambda: refusal(llm__provider_retry_after="3600"),
}


class Provider:
    """An emulator behind a door that refuses, until `refuse` is None.

    requests   how many were refused"""

    def __init__(self) -> None:
        self.refuse: Refusal | None = None
        self.requests = 0
        self.url = ""
        self.open_url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(status=404)
        assert self.refuse is not None
        self.requests += 1
        return self.refuse()


@asynccontextmanager
async def _running() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", provider.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        async with serving(Emulation(skill=1.0)) as emulator:
            provider.open_url = emulator.base_url
            yield provider
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_running()) as running:
        yield running


@pytest.mark.parametrize("form", REFUSALS)
def test_sixty_episodes_stay_pending_for_an_hour(provider: Provider, tmp_path: Path, form: str) -> None:
    """60 of 60 episodes are pending and none failed, in whatever form the hour is stated. Only the calls in
    flight are spent; one sentence names the moment. A run after it plays all 60."""
    provider.refuse, provider.requests = REFUSALS[form], 0
    sweep = tmp_path / "later.toml"
    sweep.write_text(SWEEP.format(url=provider.url))
    ended = lightbulb("run", sweep)
    assert ended.returncode == 3, ended.stderr
    assert re.search(r"0 episodes finished, 0 failed, 60 pending", ended.stderr), ended.stderr
    assert provider.requests <= 16
    named = (
        r"m/a: \d+ episodes? w\w+ not played. Reason: the provider asks for a pause of 3[56]\d\d s, until 20"
    )
    assert len(re.findall(named, ended.stderr)) == 1
    store = tmp_path / "later.duckdb"
    assert rows(store, "SELECT count(*) FROM episodes") == [(0,)]
    if form == "seconds":
        sweep.write_text(SWEEP.format(url=provider.open_url))
        ended = lightbulb("run", sweep)
        assert ended.returncode == 0, ended.stderr
        assert rows(store, "SELECT status, count(*) FROM last_episodes GROUP BY ALL") == [("finished", 60)]

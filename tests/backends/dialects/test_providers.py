"""The table of providers, and the documentation's claim that a row or an entry is all that a new one
needs."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS, dialect_of, providers
from backends.dialects.openai_chat import NAMES
from backends.dialects.providers import PARAMETERS, PROVIDERS, Provider, Rule, provider
from backends.http import HttpBackend
from harness.access.methods import resolved
from harness.config.load import parse_sweep
from harness.core.clock import RealClock
from harness.core.vocabulary import Completion, Message, Prompt, ReplyFormat
from tests.backends.http_servers import serving
from tests.world import method

DOCS = (Path(__file__).parents[3] / "docs" / "providers.md").read_text("utf-8")
PROMPT = Prompt(
    messages=(Message("user", "Hi"),),
    reply_format=ReplyFormat(regex="[a-z]+"),
    episode="e",
    item="i",
    seat="s",
    turn=0,
)


def test_every_row_has_a_page_and_names_that_exist() -> None:
    """Its page, its dialect, and parameters of a sweep."""
    for name, row in PROVIDERS.items():
        assert row.docs.startswith("https://"), name
        assert row.dialect in DIALECTS, name
        assert row.base_url is None or row.base_url.startswith(("https://", "http://127.0.0.1:")), name
        assert row.names.keys() <= {*PARAMETERS, "tokens_max"}, name
        for rule in row.rules:
            assert set(rule.parameters) <= set(PARAMETERS), name
            re.compile(rule.models)


def test_the_example_sweep_of_the_documentation_is_valid() -> None:
    """Two access methods of one model, by the names of their providers."""
    blocks = "".join(re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL))
    spec = resolved(
        parse_sweep('name = "x"\n[games.taboo]\n' + blocks, source="docs", known_games=["taboo"]),
        source=Path("docs"),
    )
    assert [part.base_url for _, part in spec.methods().values()] == [
        "https://api.groq.com/openai/v1",
        "https://openrouter.ai/api/v1",
        "https://api.portkey.ai/v1",
    ]


def test_a_new_provider_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the row of the documentation in the table, its name is enough in a sweep, and requests use its
    names."""
    (row,) = re.findall(r'```python\n("example": .*?)```', DOCS, re.DOTALL)
    table = eval(f"{{{row}}}", {"Provider": Provider, "Rule": Rule})
    monkeypatch.setitem(providers.PROVIDERS, "example", table["example"])
    text = 'name = "x"\n[games.taboo]\n[models.m.methods.a]\nprovider = "example"\n'
    (_, part) = resolved(parse_sweep(text, source="s", known_games=["taboo"]), source=Path("s")).methods()[
        "m/a"
    ]
    assert (part.base_url, part.key_env) == ("https://api.example.com/v1", "EXAMPLE_API_KEY")
    sampling = replace(method().sampling, seed=7, top_k=5)
    body = DIALECTS["openai_chat"].request_body(
        replace(method(), provider="example", sampling=sampling), PROMPT
    )
    assert body.keys() == {"model", "messages", "max_completion_tokens", "temperature", "random_seed"}


def test_a_new_dialect_is_one_file_and_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and the entry of the documentation work over a real socket, whole and streamed."""
    (source,) = re.findall(r'```python\n("""The dialect of a server that repeats.*?)```', DOCS, re.DOTALL)
    (entry,) = re.findall(r'```python\n("echo": .*?)```', DOCS, re.DOTALL)
    (tmp_path / "echo.py").write_text(source)
    spec = importlib.util.spec_from_file_location("echo", tmp_path / "echo.py")
    assert spec is not None
    assert spec.loader is not None
    echo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(echo)
    monkeypatch.setitem(
        DIALECTS, "echo", eval(f"{{{entry}}}", {"dialect_of": dialect_of, "echo": echo})["echo"]
    )

    async def hear(request: web.Request) -> web.StreamResponse:
        said = (await request.json())["say"]
        if request.query_string:
            return web.Response(status=500)
        if said == "Hi":
            return web.Response(text=f"{said} {request.headers['x-key']}")
        return web.Response(text=f"data: {said}\n\n", content_type="text/event-stream")

    async def scenario(words: str, *, stream: bool) -> Completion:
        async with (
            serving(hear) as url,
            open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as wire,
        ):
            way = replace(method(), dialect="echo", base_url=url, stream=stream)
            through = HttpBackend(way, DIALECTS["echo"], wire, key="the-key", clock=RealClock())
            return await through.complete(PROMPT._replace(messages=(Message("user", words),)))

    whole, streamed = (
        anyio.run(lambda: scenario("Hi", stream=False)),
        anyio.run(lambda: scenario("You there", stream=True)),
    )
    assert whole.text == "Hi [key]"  # the key travelled; that it was quoted back is not kept
    assert streamed.text == "You there"
    assert streamed.pace is not None


def test_a_provider_without_a_row_is_generic() -> None:
    """No parameter is refused without a rule."""
    assert provider("no such") is PROVIDERS["openai-compatible"]
    assert set(NAMES) == set(PARAMETERS)

"""Every dialect and provider on requests and answers of the shapes that their documentation shows.

golden/DIALECT/PROVIDER/ holds `request.json`, what is sent for one prompt, and one answer a file, with what
it must be read as. Each names the page it rests on; those of local servers say so where they were recorded
from one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.dialects.providers import PROVIDERS, provider
from backends.dialects.responses import Arrivals, HttpResponse
from backends.http import HttpBackend
from harness.core.clock import RealClock
from harness.core.errors import CallError, TransientCallError
from harness.core.vocabulary import (
    AccessMethod,
    ChatTemplate,
    Completion,
    Message,
    Prompt,
    ReplyFormat,
    Sampling,
)
from tests.backends.http_servers import serving
from tests.world import method

GOLDEN = Path(__file__).parent / "golden"
PROMPT = Prompt(
    messages=(
        Message("system", "Be brief."),
        Message("user", "Say hello."),
        Message("assistant", "Hello."),
        Message("user", "Again."),
    ),
    reply_format=ReplyFormat(regex="[a-z]+", tokens_max=100),
    episode="e",
    item="i",
    seat="s",
    turn=0,
)
WANTED = {"request", "success", "streamed", "refused", "rate_limited", "out_of_credit", "malformed"}
LOCAL = {"vllm", "llamacpp", "transformers", "ollama", "lmstudio", "sglang"}  # no filter, no quota, no bill
UNDOCUMENTED = {  # kinds of answer that the provider's pages do not show
    "azure": {"out_of_credit"},
    "together": {"refused"},
    "groq": {"refused", "out_of_credit"},
    "fireworks": {"refused"},
    "mistral": {"refused"},
    "cohere": {"refused"},
    "gemini-compat": {"refused"},
}
Case = dict[str, Any]


def cases(*, requests: bool) -> Iterator[Any]:
    for path in sorted(GOLDEN.rglob("*.json")):
        if (path.stem == "request") == requests:
            yield pytest.param(path, id=str(path.relative_to(GOLDEN).with_suffix("")))


def read(path: Path) -> tuple[str, str, Case]:
    """dialect, provider, content."""
    return path.parts[-3], path.parts[-2], json.loads(path.read_text("utf-8"))


def test_no_row_is_without_golden_files() -> None:
    """Each provider has every kind of answer that it documents."""
    for name in PROVIDERS.keys() - {"openai-compatible"}:
        there = {path.stem for path in (GOLDEN / PROVIDERS[name].dialect / name).glob("*.json")}
        missing = (
            {"refused", "rate_limited", "out_of_credit"} if name in LOCAL else UNDOCUMENTED.get(name, set())
        )
        assert WANTED - missing <= there, name
        assert not there & missing, f"{name}: it is documented after all"


def asked(dialect: str, name: str, case: Case) -> AccessMethod:
    said = dict(case["method"])
    sampling = said.pop("sampling", {})
    sampling["stop"] = tuple(sampling.get("stop", ()))
    if "template" in said:
        said["template"] = ChatTemplate(**said["template"])
    if "upstreams" in said:
        said["upstreams"] = tuple(said["upstreams"])
    return replace(
        method(),
        dialect=dialect,
        provider=name,
        served_name=case["served_name"],
        sampling=replace(Sampling(), **sampling),
        **said,
    )


@pytest.mark.parametrize("path", list(cases(requests=True)))
def test_a_request_has_the_providers_names(path: Path) -> None:
    """Path, headers and body; parameters that are not set are not sent."""
    dialect, name, case = read(path)
    way = asked(dialect, name, case)
    speaks = DIALECTS[dialect]
    assert case["source"].startswith("https://")
    assert speaks.path(way) == case["path"]
    assert speaks.headers(provider(name), "the-key" if case["headers"] else None) == case["headers"]
    assert speaks.request_body(way, PROMPT) == case["body"]


@pytest.mark.parametrize("path", list(cases(requests=False)))
def test_an_answer_is_read_as_documented(path: Path) -> None:
    """Replies with all their fields, and errors with the class that says who must act."""
    dialect, name, case = read(path)
    assert case["source"].startswith("https://")
    expected = case["expected"]
    try:
        met: Completion | CallError = answered(dialect, name, case)
    except CallError as error:
        met = error
    if "error" in expected:
        assert isinstance(met, CallError), met
        assert (type(met).__name__, met.status) == (expected["error"], expected["status"])
        if "retry_after_s" in expected:
            assert isinstance(met, TransientCallError)
            assert met.retry_after_s == expected["retry_after_s"]
    else:
        assert isinstance(met, Completion), met
        chunks = expected.pop("chunks", None)
        assert (met.pace.chunks if met.pace else None) == chunks
        unsaid = {"cached_tokens", "reasoning_tokens"} - expected.keys()  # many say 0 there, some nothing
        said = {
            name: value
            for name, value in met._asdict().items()
            if name not in ("pace", "headers", "http_status", "held_s")
        }
        defaults = {"text": None} | met._field_defaults
        assert (
            said
            == {name: said[name] if name in unsaid else expected.get(name, defaults[name]) for name in said}
            | expected
        )


@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        ("openai_chat", "openai"),
        ("openai_chat", "azure"),
        ("anthropic_messages", "anthropic"),
        ("gemini", "gemini"),
        ("completions", "vllm"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_requests_and_answers_pass_a_real_socket(dialect: str, name: str, stream: bool) -> None:
    """Path, query, headers and body arrive, and the answer is read, whole and streamed."""
    folder = GOLDEN / dialect / name
    request = json.loads((folder / "request.json").read_text("utf-8"))
    case = json.loads((folder / f"{'streamed' if stream else 'success'}.json").read_text("utf-8"))
    way = replace(asked(dialect, name, request), stream=stream)
    heard: list[web.Request] = []

    async def answer(heard_now: web.Request) -> web.StreamResponse:
        heard.append(heard_now)
        assert await heard_now.json() == DIALECTS[dialect].request_body(way, PROMPT)
        if not stream:
            return web.json_response(case["body"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard_now)
        for event in case["events"]:
            await response.write(spelled(event, named=case.get("named_events", False)))
        return response

    async def scenario() -> Completion:
        async with (
            serving(answer) as url,
            open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as wire,
        ):
            return await HttpBackend(
                replace(way, base_url=url), DIALECTS[dialect], wire, key="the-key", clock=RealClock()
            ).complete(PROMPT)

    completion = anyio.run(scenario)
    assert (completion.text, completion.completion_tokens) == (
        case["expected"]["text"],
        case["expected"]["completion_tokens"],
    )
    assert (completion.pace is not None) == stream
    (arrived,) = heard
    assert arrived.path_qs == f"/v1{DIALECTS[dialect].path(way)}"
    for header, value in DIALECTS[dialect].headers(provider(name), "the-key").items():
        assert arrived.headers[header] == value


def answered(dialect: str, name: str, case: Case) -> Completion:
    speaks, row = DIALECTS[dialect], provider(name)
    if "events" in case:
        pieces = [spelled(event, named=case.get("named_events", False)) for event in case["events"]]
        ends = [sum(map(len, pieces[: number + 1])) for number in range(len(pieces))]
        arrivals = Arrivals(ends, [0.1 * number for number in range(1, len(ends) + 1)])
        answer = HttpResponse(case["status"], case["headers"], b"".join(pieces), arrivals)
        return speaks.read_answer(answer, 0.0, row, ())
    body = case["raw"].encode() if "raw" in case else json.dumps(case["body"]).encode()
    return speaks.read_answer(HttpResponse(case["status"], case["headers"], body), 0.0, row, ())


def spelled(event: object, *, named: bool) -> bytes:
    """An event as it is on the wire; a text that begins with a colon is a comment, another text is data as it
    is."""
    if isinstance(event, str):
        return f"{event}\n\n".encode() if event.startswith(":") else f"data: {event}\n\n".encode()
    assert isinstance(event, dict)
    head = f"event: {event['type']}\n" if named else ""
    return f"{head}data: {json.dumps(event)}\n\n".encode()

"""Every dialect and provider on requests and answers of the shapes that their documentation shows.

golden/DIALECT/PROVIDER/ holds `request.json`, what is sent for one prompt, and one answer a file, with what it must be read as. Each
names the page it rests on; those of local servers say so where they were recorded from one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from backends import DIALECTS
from backends.answers import Answer
from backends.providers import PROVIDERS, provider
from backends.sse import Streamed
from harness.core.errors import CallError, TransientCallError
from harness.core.vocabulary import AccessMethod, ChatTemplate, Completion, Form, Message, Prompt, Sampling
from tests.world import method

GOLDEN = Path(__file__).parent / "golden"
PROMPT = Prompt(
    messages=(Message("system", "Be brief."), Message("user", "Say hello."), Message("assistant", "Hello."), Message("user", "Again.")),
    form=Form(regex="[a-z]+", tokens_max=100),
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
    """Each provider has every kind of answer that it can give and documents."""
    for name in PROVIDERS.keys() - {"openai-compatible"}:
        there = {path.stem for path in (GOLDEN / PROVIDERS[name].dialect / name).glob("*.json")}
        missing = {"refused", "rate_limited", "out_of_credit"} if name in LOCAL else UNDOCUMENTED.get(name, set())
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
        method(), dialect=dialect, provider=name, served_name=case["served_name"], sampling=replace(Sampling(), **sampling), **said
    )


@pytest.mark.parametrize("path", list(cases(requests=True)))
def test_a_request_says_what_the_sweep_says_in_the_providers_words(path: Path) -> None:
    """Path, headers and body; what is not asked for is not said."""
    dialect, name, case = read(path)
    way = asked(dialect, name, case)
    speaks = DIALECTS[dialect]
    assert case["source"].startswith("https://")
    assert speaks.path(way) == case["path"]
    assert speaks.headers(provider(name), "the-key" if case["headers"] else None) == case["headers"]
    assert speaks.request_body(way, PROMPT) == case["body"]


@pytest.mark.parametrize("path", list(cases(requests=False)))
def test_an_answer_is_read_as_what_it_means(path: Path) -> None:
    """Replies with all that comes along, and errors with the class that says who must act."""
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
        said = {one.name: getattr(met, one.name) for one in fields(met) if one.name not in ("pace", "headers", "http_status", "held_s")}
        defaults = {one.name: one.default for one in fields(met)}
        assert said == {name: said[name] if name in unsaid else expected.get(name, defaults[name]) for name in said} | expected


def answered(dialect: str, name: str, case: Case) -> Completion:
    speaks, row = DIALECTS[dialect], provider(name)
    if "events" in case:
        pieces = [spelled(event, named=case.get("named_events", False)) for event in case["events"]]
        ends = [sum(map(len, pieces[: number + 1])) for number in range(len(pieces))]
        answer = Answer(status=case["status"], headers=case["headers"], body=b"".join(pieces))
        return speaks.read_stream(Streamed(answer=answer, ends=ends, came_s=[0.1 * number for number in range(1, len(ends) + 1)]), 0.0, row)
    body = case["raw"].encode() if "raw" in case else json.dumps(case["body"]).encode()
    return speaks.read_answer(Answer(status=case["status"], headers=case["headers"], body=body), 0.0, row)


def spelled(event: object, *, named: bool) -> bytes:
    """An event as it is on the wire; a text that begins with a colon is a comment, another text is data as it is."""
    if isinstance(event, str):
        return f"{event}\n\n".encode() if event.startswith(":") else f"data: {event}\n\n".encode()
    assert isinstance(event, dict)
    head = f"event: {event['type']}\n" if named else ""
    return f"{head}data: {json.dumps(event)}\n\n".encode()

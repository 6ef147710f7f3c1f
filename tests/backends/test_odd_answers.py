"""Odd answers of servers and gateways, sent over a real socket and read in the form asked for and in the
other one."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.http import HttpBackend
from harness.core.clock import RealClock
from harness.core.errors import CallError, TransientCallError, UnknownEnd
from harness.core.vocabulary import Completion, Message, Prompt, ReplyFormat
from tests.world import method

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "odd_answers.json").read_text("utf-8")
)["cases"]
PROMPT = Prompt(
    messages=(Message("user", "Hi"),),
    reply_format=ReplyFormat(regex=".*"),
    episode="e",
    item="i",
    seat="s",
    turn=0,
)


@asynccontextmanager
async def answering(case: dict[str, Any]) -> AsyncIterator[str]:
    """Yields the base URL of a server that gives this answer to every request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(sizes[0].split(b":")[1]))
            headers = {
                "Content-Type": case["content_type"],
                "Transfer-Encoding": "chunked",
                "Connection": "close",
                **case["headers"],
            }
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"HTTP/1.1 {case['status']} Reason\r\n{lines}\r\n".encode())
            for piece in case["pieces"]:
                if piece == "CLOSE":
                    return
                if isinstance(piece, float | int):
                    await asyncio.sleep(piece)
                    continue
                data = base64.b64decode(piece["base64"]) if isinstance(piece, dict) else piece.encode()
                if data:
                    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
                    await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        await server.wait_closed()


def result_of(case: dict[str, Any], *, stream: bool) -> Completion | CallError:
    dialect = case["dialect"] or "openai_chat"

    async def scenario() -> Completion | CallError:
        async with (
            answering(case) as url,
            open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as pool,
        ):
            asked = replace(method(), provider=case["provider"], dialect=dialect, base_url=url, stream=stream)
            backend = HttpBackend(asked, DIALECTS[dialect], pool, key=None, clock=RealClock())
            try:
                return await backend.complete(PROMPT)
            except CallError as error:
                return error

    return anyio.run(scenario)


@pytest.mark.parametrize("other_form", [False, True], ids=["as-asked", "other-form"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_an_odd_answer_is_read_as_what_it_means(case: dict[str, Any], other_form: bool) -> None:
    """A reply only where the provider completed one, and the class of the error that says who must act. A
    stream where none was asked for, and the reverse, mean the same."""
    expected = case["expected"]
    result = result_of(case, stream=case["stream"] is not other_form)
    if "error" in expected:
        assert isinstance(result, CallError), result
        assert type(result).__name__ in expected["error"], str(result)
        assert "\n" not in str(result)
        if "pause_s" in expected:
            assert isinstance(result, TransientCallError)
            assert result.retry_after_s == expected["pause_s"]
        if "text" in expected:
            assert isinstance(result, UnknownEnd)
            assert result.completion.text == expected["text"]
        if "names_url" in expected:
            assert "/v1/chat/completions" in str(result)
        return
    assert isinstance(result, Completion), result
    assert result.text == expected["text"]
    for name, value in (("finish", result.finish_reason), ("reasoning", result.reasoning)):
        assert name not in expected or value == expected[name]
    assert expected.get("served_model", result.served_model) == result.served_model
    if "tokens" in expected:
        assert [result.prompt_tokens, result.completion_tokens] == expected["tokens"]


def test_ends_that_the_sweep_declares_good() -> None:
    """A word, or the absence of one, is a good end where good_ends has it, and nowhere else."""
    for name, good_ends in (("s_done_no_finish", ("",)), ("finish_unknown", ("eureka",))):
        (case,) = [case for case in CASES if case["name"] == "s_done_no_finish"]
        if name == "finish_unknown":
            case = {**case, "pieces": [piece.replace("null", '"eureka"') for piece in case["pieces"]]}

        async def scenario(case: dict[str, Any] = case, good: tuple[str, ...] = good_ends) -> Completion:
            async with (
                answering(case) as url,
                open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as pool,
            ):
                asked = replace(method(), base_url=url, stream=True, good_ends=good)
                return await HttpBackend(
                    asked, DIALECTS["openai_chat"], pool, key=None, clock=RealClock()
                ).complete(PROMPT)

        assert anyio.run(scenario).text == "CLUE: a bright thing"
        assert isinstance(result_of(case, stream=True), UnknownEnd)

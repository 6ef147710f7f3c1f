"""The real engine: installed, its weights converted, served, held to a form."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import anyio
import pytest

from backends.engine_kinds import engine_kind
from backends.engines import EngineSpec, install, this_machine
from backends.local_server import serve

CLUE = r"CLUE: [A-Za-z ,]{1,80}"


def complete(base_url: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"{base_url}/chat/completions", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        answer: dict[str, object] = json.load(response)
        return answer


@pytest.mark.real
@pytest.mark.timeout(1800)  # the first time it installs the engine and converts the weights
def test_vllm_serves_the_bundled_model(tmp_path: Path) -> None:
    """It says what it is, and a reply that must have a form has it."""
    engine = install(engine_kind("vllm", this_machine()), print)
    spec = EngineSpec(kind="vllm", weights="bundled:smollm2-135m-instruct", served_name="smollm2-135m", dtype="bfloat16")
    body: dict[str, object] = {
        "model": "smollm2-135m",
        "messages": [{"role": "user", "content": "Describe the word apple in one short sentence."}],
        "max_tokens": 100,
        "temperature": 0,
        "structured_outputs": {"regex": CLUE},
    }

    async def main() -> str:
        async with serve(spec, engine, log=tmp_path / "vllm.log", say=print) as server:
            assert server.facts["engine_version"] == engine.version
            assert server.facts["dtype"] == "bfloat16"
            answer = await anyio.to_thread.run_sync(complete, server.base_url, body)
            choices = answer["choices"]
            assert isinstance(choices, list)
            return str(choices[0]["message"]["content"])

    assert re.fullmatch(CLUE, anyio.run(main))

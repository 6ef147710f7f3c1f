"""The real engine: installed, its weights converted, served, held to a form."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest

from backends.local.local_server import LocalServer
from backends.local.server_metrics import read_load

CLUE = r"CLUE: [A-Za-z ,]{1,80}"


def complete(base_url: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"{base_url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        answer: dict[str, object] = json.load(response)
        return answer


@pytest.mark.real
@pytest.mark.timeout(1800)  # the first time it installs the engine and converts the weights
def test_vllm_serves_the_bundled_model(vllm: LocalServer) -> None:
    """It says what it is, a reply that must have a form has it, and its load can be read."""
    assert vllm.facts["dtype"] == "bfloat16"
    assert len(str(vllm.facts["weights_sha256"])) == 64
    answer = complete(
        vllm.base_url,
        {
            "model": "smollm2-135m",
            "messages": [{"role": "user", "content": "Describe the word apple in one short sentence."}],
            "max_tokens": 100,
            "temperature": 0,
            "structured_outputs": {"regex": CLUE},
        },
    )
    choices = answer["choices"]
    assert isinstance(choices, list)
    assert re.fullmatch(CLUE, str(choices[0]["message"]["content"]))
    with urllib.request.urlopen(f"http://127.0.0.1:{vllm.port}{vllm.load_path}", timeout=60) as page:
        load = read_load(page.read())
    assert load is not None
    assert (load.running, load.waiting) == (0, 0)
    assert load.steps
    assert load.prefix_queries

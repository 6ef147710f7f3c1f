"""The official SDKs of providers as judges of our requests, of our golden answers, and of our emulator.

    python -m bench.conformance            makes an environment with the SDKs first, once: 150 MB

Three parts. Requests: every golden request body, and one for each sampling parameter and form that a provider
takes, validates against the SDK's typed parameters and has no field that they lack. Answers: every golden
success, whole and streamed, parses by the SDK's models. Clients: the SDKs' own clients talk to our emulator,
whole and streamed; they get the text that our client gets, and their own errors for a wrong key and an
unknown model. bench/sdk_judges.py does the judging, in that environment. Exit code 1 if anything
disagrees."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.dialects.providers import PROVIDERS, ineffective_parameters
from backends.http import HttpBackend
from bench.sdk_judges import JUDGES
from bench.tool_environments import environment
from harness.core.clock import RealClock
from harness.core.vocabulary import AccessMethod, Message, Prompt, ReplyFormat, Sampling

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "backends" / "dialects" / "golden"
KEY, MODEL = "sk-of-the-emulator", "m"
ASK = "Give a clue for the word 'lamp'. Do not say: light, bulb, shade."
SAMPLINGS = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 5,
    "seed": 7,
    "stop": ("END", "\n\n"),
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "reasoning_effort": "low",
}


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    python = environment("conformance", project["optional-dependencies"]["conformance"])
    command = [sys.executable, "-m", "harness", "emulate", "--port", "0", "--json", "--key-env", "BENCH_KEY"]
    with subprocess.Popen(
        [*command, "skill=1", f"served={MODEL}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "BENCH_KEY": KEY},
    ) as emulator:
        try:
            assert emulator.stdout is not None
            base_url = json.loads(emulator.stdout.readline())["base_url"]
            job = {
                "cases": list(_cases()),
                "address": base_url.removesuffix("/v1"),
                "key": KEY,
                "model": MODEL,
                "prompt": ASK,
                "text": anyio.run(_our_text, base_url),
            }
            script = Path(__file__).with_name("sdk_judges.py")
            ended = subprocess.run(
                [python, "-W", "ignore", script], input=json.dumps(job), text=True, check=False
            )
        finally:
            emulator.terminate()
    sys.exit(ended.returncode)


def _cases() -> Iterator[dict[str, Any]]:
    """Yields the golden files and the made requests of every provider that has a judge."""
    for folder in sorted(GOLDEN.glob("*/*/")):
        where = f"{folder.parent.name}/{folder.name}"
        if where not in JUDGES:
            continue
        for path in sorted(folder.glob("*.json")):
            case = json.loads(path.read_text("utf-8"))
            if path.stem == "request":
                yield {"where": where, "kind": path.stem, "request": case["body"]}
                yield from _made_requests(where, case["served_name"])
            elif case["status"] == 200 and "text" in case.get("expected", {}):
                said = {"events": case["events"]} if "events" in case else {"answer": case["body"]}
                yield {"where": where, "kind": path.stem, **said}


def _made_requests(where: str, served_name: str) -> Iterator[dict[str, Any]]:
    """Yields a request for each sampling parameter that the provider applies, for a stream, and for a reply
    format that it can enforce."""
    dialect, name = where.split("/")
    plain = _method(name, dialect, served_name=served_name)
    made: dict[str, AccessMethod] = {"stream": replace(plain, stream=True)}
    for parameter, value in SAMPLINGS.items():
        sampling = replace(plain.sampling, **{parameter: value})  # type: ignore[arg-type]
        if not any(ineffective_parameters(PROVIDERS[name], sampling, served_name)):
            made[parameter] = replace(plain, sampling=sampling)
    if PROVIDERS[name].constrain is not None:
        made["constrain"] = replace(plain, constrain=True)
    for kind, method in made.items():
        body = DIALECTS[dialect].bodies(method)(_prompt())
        yield {"where": where, "kind": f"request with {kind}", "request": body}


def _method(provider: str, dialect: str, *, served_name: str, base_url: str = "") -> AccessMethod:
    return AccessMethod(
        name="m/a", model="m", provider=provider, dialect=dialect, base_url=base_url, served_name=served_name,
        key_env=None, sampling=Sampling(temperature=None), constrain=False, concurrency=1,
        requests_per_second_max=None,
    )  # fmt: skip


def _prompt(*messages: Message) -> Prompt:
    return Prompt(
        messages=messages or (Message("system", "Be brief."), Message("user", ASK)),
        reply_format=ReplyFormat(regex=r"CLUE: [a-z ]{1,80}"),
        episode="",
        item="",
        seat="",
        turn=0,
    )


async def _our_text(base_url: str) -> str:
    """Returns the reply that our own client reads."""
    method = _method("openai-compatible", "openai_chat", served_name=MODEL, base_url=base_url)
    method = replace(method, sampling=Sampling(temperature=0, seed=1, tokens_max=20))
    async with open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as pool:
        backend = HttpBackend(method, DIALECTS["openai_chat"], pool, key=KEY, clock=RealClock())
        return (await backend.complete(_prompt(Message("user", ASK)))).text


if __name__ == "__main__":
    main()

"""Plays sweeps through a real gateway and asks real engines, and says what came of each access method.

    python -m bench.gateways litellm     LiteLLM's proxy in front of our emulator: good, of Anthropic, by a
                                         wildcard, flaky, with quotas, with a wrong key, an unknown model, a
                                         failing upstream
    python -m bench.gateways vllm        LiteLLM's proxy in front of a vLLM server, beside the server itself
    python -m bench.gateways llamacpp    llama.cpp's server in OpenAI's and in Anthropic's dialect

LiteLLM gets an environment of its own, made once; vLLM and llama.cpp are the engines that lightbulb installs.
The real engines get a few short requests, and one that is too long. Everything is on loopback. Each row says
what was expected and what was seen; the exit code is 1 if they differ."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import anyio
import duckdb
from anyio.to_thread import run_sync

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.emulator.server import serving
from backends.http import HttpBackend
from backends.local.engine import EngineSpec
from backends.local.engine_kinds import engine_kind
from backends.local.environments import install
from backends.local.local_server import LocalServer, free_port, serve
from backends.local.machine import this_machine
from bench.tool_environments import environment
from harness.core.clock import RealClock
from harness.core.emulation import Emulation, Fault, Faults, Quotas
from harness.core.errors import CallError, ContextExceeded
from harness.core.finish_reasons import finish_kind
from harness.core.vocabulary import AccessMethod, Completion, Message, Prompt, ReplyFormat, Sampling

LITELLM = "litellm[proxy]==1.108.7"  # the last release whose proxy installs from one index
GATEWAY_KEY, UPSTREAM_KEY = "sk-of-the-gateway", "sk-of-the-upstream"
START_S = 600.0  # LiteLLM takes minutes to start on a busy machine
EPISODES = 10
SWEEP = """
name = "{name}"
seed = 5
[games.taboo]
items = {taboo}
[games.wordle]
items = {wordle}
[retry]
tries_max = {tries_max}
wait_max_s = 2
patience_s = {patience_s}
{methods}
[audit]
again = false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The result of one access method: its episodes, its calls by error class, its scores by item."""

    finished: int
    failed: int
    errors: Mapping[str, int]
    scores: Mapping[str, float | None]
    closed: str | None

    def __str__(self) -> str:
        errors = ", ".join(f"{count} {name}" for name, count in self.errors.items()) or "none"
        closed = f"; closed: {self.closed[:140]}" if self.closed else ""
        return f"{self.finished} finished, {self.failed} failed; errors: {errors}{closed}"


Rule = Callable[[Seen], bool]


class Rows:
    """Prints rows and counts those that are not as expected."""

    def __init__(self) -> None:
        self.wrong = 0

    def add(self, name: str, expected: str, seen: object, *, good: bool) -> None:
        self.wrong += not good
        print(f"{'ok   ' if good else 'WRONG'} {name}: expected {expected}; seen: {seen}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    part = parser.parse_args().part
    rows = Rows()
    with TemporaryDirectory() as folder:
        anyio.run(PARTS[part], Path(folder), rows)
    sys.exit(rows.wrong > 0)


async def play(
    folder: Path,
    name: str,
    methods: str,
    *,
    taboo: int = 6,
    wordle: int = 4,
    tries_max: int = 6,
    patience_s: int = 60,
    key: str = GATEWAY_KEY,
) -> tuple[int, str, dict[str, Seen]]:
    """Returns exit code, messages and methods of one sweep, run by the command in a process of its own."""
    sweep = folder / f"{name}.toml"
    sweep.write_text(
        SWEEP.format(
            name=name, taboo=taboo, wordle=wordle, tries_max=tries_max, patience_s=patience_s, methods=methods
        )
    )
    command = [sys.executable, "-m", "harness", "run", str(sweep)]
    environ = {**os.environ, "GATEWAY_KEY": key}
    ended = await anyio.run_process(command, check=False, env=environ, stderr=subprocess.STDOUT)
    return ended.returncode, ended.stdout.decode(), _seen(sweep.with_suffix(".duckdb"))


def _seen(store: Path) -> dict[str, Seen]:
    if not store.exists():
        return {}
    with duckdb.connect(str(store), read_only=True) as connection:

        def rows(query: str, method: str) -> list[tuple[Any, ...]]:
            return connection.execute(query, [method]).fetchall()

        return {
            method: Seen(
                finished=status.get("finished", 0),
                failed=status.get("failed", 0),
                errors=dict(
                    rows(
                        "SELECT error_class, count(*) FROM calls WHERE method = ? AND error_class IS NOT NULL"
                        " GROUP BY ALL ORDER BY 1",
                        method,
                    )
                ),
                scores=dict(
                    rows(
                        "SELECT concat_ws(':', game, experiment, instance), coalesce(score, -1) FROM scores"
                        " WHERE method = ?",
                        method,
                    )
                ),
                closed=next(
                    (
                        detail
                        for (detail,) in rows(
                            "SELECT detail FROM gate_events WHERE kind = 'closed' AND gate = ?", method
                        )
                    ),
                    None,
                ),
            )
            for (method,) in connection.execute("SELECT DISTINCT method FROM methods ORDER BY 1").fetchall()
            for status in [
                dict(
                    rows(
                        "SELECT status, count(*) FROM last_episodes WHERE method = ? GROUP BY ALL",
                        method,
                    )
                )
            ]
        }


# --- LiteLLM --------------------------------------------------------------------------------------------


@asynccontextmanager
async def litellm(folder: Path, models: Sequence[Mapping[str, object]]) -> AsyncIterator[str]:
    """Yields the base URL of LiteLLM's proxy with these models; it passes our clients' headers on."""
    python = await run_sync(environment, "litellm", [LITELLM])
    settings = {
        "model_list": list(models),
        "general_settings": {"master_key": GATEWAY_KEY, "forward_client_headers_to_llm_api": True},
        "litellm_settings": {"num_retries": 0, "telemetry": False},
    }
    config = folder / "litellm.yaml"  # JSON is YAML
    config.write_text(json.dumps(settings))
    port = free_port()
    command = [str(python.with_name("litellm")), "--config", str(config), "--host", "127.0.0.1"]
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # it would fetch the list of prices
    with (folder / "litellm.log").open("wb") as log:
        async with await anyio.open_process(
            [*command, "--port", str(port)], stdout=log, stderr=subprocess.STDOUT, env=environ
        ) as process:
            try:
                with anyio.fail_after(START_S):
                    while not await run_sync(_answers, f"http://127.0.0.1:{port}/health/liveliness"):
                        assert process.returncode is None, (folder / "litellm.log").read_text()[-2000:]
                        await anyio.sleep(1)
                yield f"http://127.0.0.1:{port}/v1"
            finally:
                process.terminate()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except (URLError, OSError):
        return False


def _deployment(name: str, model: str, base_url: str, key: str = UPSTREAM_KEY) -> dict[str, object]:
    return {"model_name": name, "litellm_params": {"model": model, "api_base": base_url, "api_key": key}}


def _method(name: str, served_name: str, url: str, **keys: object) -> str:
    lines = {"provider": "emulator", "base_url": url, "served_name": served_name, "key_env": "GATEWAY_KEY"}
    return f"[models.m.methods.{name}]\n" + "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in {**lines, **keys}.items()
    )


async def _of_litellm(folder: Path, rows: Rows) -> None:
    faults: tuple[Fault, ...] = (
        *("429", "500", "503", "reset_before_headers", "reset_in_body", "html", "error_in_200"),
    )
    upstreams = {
        "good": Emulation(skill=0.8, served="m"),
        "flaky": Emulation(skill=0.8, faults=Faults(rate=0.15, kinds=faults, retry_after_s=1.0)),
        "cut": Emulation(skill=0.8, faults=Faults(rate=0.3, kinds=("truncated_json",))),
        "quota": Emulation(skill=0.8, quotas=Quotas(requests=60)),
        "untold": Emulation(skill=0.8, quotas=Quotas(requests=15, window_s=10.0, told=False)),
        "failing": Emulation(faults=Faults(rate=1.0, kinds=("500",))),
    }
    async with AsyncExitStack() as stack:
        urls = {
            name: (await stack.enter_async_context(serving(emulation, key=UPSTREAM_KEY))).base_url
            for name, emulation in upstreams.items()
        }
        models = [_deployment(name, "openai/m", url) for name, url in urls.items()]
        models += [
            _deployment("gw/*", "openai/*", urls["good"]),
            _deployment("claude", "anthropic/m", urls["good"].removesuffix("/v1")),
            _deployment("badkey", "openai/m", urls["good"], "sk-wrong"),
            _deployment("nomodel", "openai/nope", urls["good"]),
        ]
        url = await stack.enter_async_context(litellm(folder, models))
        await _litellm_good(folder, rows, url, urls["good"])
        await _litellm_quotas(folder, rows, url)
        await _litellm_refusing(folder, rows, url)


async def _litellm_good(folder: Path, rows: Rows, url: str, upstream: str) -> None:
    """Every way through the gateway has the scores of the upstream itself."""
    methods = {
        "direct": _method("direct", "m", upstream, key_env="UPSTREAM_KEY"),
        "whole": _method("whole", "good", url),
        "streamed": _method("streamed", "good", url, stream=True),
        "wildcard": _method("wildcard", "gw/m", url, lists_models=False),
        "claude": _method("claude", "claude", url),
        "messages": _method("messages", "claude", url, dialect="anthropic_messages", key_env="GATEWAY_KEY"),
        "messages-streamed": _method(
            "messages-streamed", "claude", url, dialect="anthropic_messages", stream=True
        ),
        "flaky": _method("flaky", "flaky", url),
        "flaky-streamed": _method("flaky-streamed", "flaky", url, stream=True),
        "cut": _method("cut", "cut", url),
        "cut-streamed": _method("cut-streamed", "cut", url, stream=True),
    }
    os.environ["UPSTREAM_KEY"] = UPSTREAM_KEY
    code, said, seen = await play(folder, "good", "\n".join(methods.values()), tries_max=12)
    if not seen:
        rows.add("litellm good", "a run", said[-1500:], good=False)
        return
    direct = seen.pop("m/direct")
    for name, found in seen.items():
        differing = sum(found.scores.get(item) != score for item, score in direct.scores.items())
        what = f"{found}; {differing} of {len(direct.scores)} scores differ from the upstream's own"
        good = found.finished == EPISODES and not differing
        if name == "m/cut-streamed":  # LiteLLM ends a stream that its upstream cut with finish_reason "stop"
            print(f"known {name}: LiteLLM takes cut streams for whole ones; seen: {what}", flush=True)
        else:
            rows.add(f"litellm {name}", f"{EPISODES} finished, the upstream's scores", what, good=good)
    rows.add("litellm, the run", "exit code 0", code, good=code == 0)


async def _litellm_quotas(folder: Path, rows: Rows, url: str) -> None:
    methods = _method("told", "quota", url) + _method("untold", "untold", url)
    _, said, seen = await play(folder, "quotas", methods)
    for name, most in (("m/told", 0), ("m/untold", 30)):
        found = seen[name]
        refused = found.errors.get("RateLimited", 0)
        rows.add(
            f"litellm quota {name}",
            f"{EPISODES} finished, at most {most} refusals",
            found,
            good=found.finished == EPISODES and refused <= most and set(found.errors) <= {"RateLimited"},
        )
    stated = "quota: 60 requests/min" in said
    rows.add("litellm quota told", "the quota is read from the headers", stated, good=stated)


async def _litellm_refusing(folder: Path, rows: Rows, url: str) -> None:
    """Refused methods stay pending and close themselves alone; another method of the key plays on."""
    methods = "\n".join(
        [_method(name, name, url) for name in ("good", "badkey", "nomodel", "failing")]
        + [_method("wildcard", "gw/nope", url, lists_models=False)]
    )
    code, said, seen = await play(folder, "refusing", methods, patience_s=20)
    rules: dict[str, tuple[str, Rule]] = {
        "good": ("all finished", lambda found: found.finished == EPISODES),
        # After an error LiteLLM answers 429 for five seconds, without asking the upstream.
        "badkey": (
            "closed by its 401",
            lambda found: set(found.errors) - {"RateLimited"} == {"AccountRefused"},
        ),
        "nomodel": (
            "closed by its 404",
            lambda found: set(found.errors) - {"RateLimited"} == {"ModelUnknown"},
        ),
        "wildcard": ("closed by its 404", lambda found: set(found.errors) == {"ModelUnknown"}),
        "failing": (
            "closed after patience_s",
            lambda found: set(found.errors) <= {"Unavailable", "RateLimited"},
        ),
    }
    for name, (what, rule) in rules.items():
        found = seen[f"m/{name}"]
        pending = name == "good" or (found.finished, found.failed) == (0, 0)
        rows.add(f"litellm {name}", f"{what}, no episode failed", found, good=rule(found) and pending)
    rows.add("litellm, the run", "exit code 3", code, good=code == 3)
    for name, served_name, key, expected in (
        ("wrong gateway key", "good", "sk-bad", "check the key in GATEWAY_KEY"),
        ("unknown model", "nothere", GATEWAY_KEY, "does not serve 'nothere'"),
    ):
        code, said, seen = await play(folder, served_name, _method("a", served_name, url), key=key)
        rows.add(
            f"litellm {name}",
            f"exit code 2 before any call, with the words {expected!r}",
            f"{code}: {said.strip()[-300:]}",
            good=code == 2 and expected in said and not any(seen.values()),
        )
    unlisted = _method("a", "nothere", url, lists_models=False)
    code, said, seen = await play(folder, "unlisted", unlisted)
    rows.add(
        "litellm unknown model that no list denies",
        "exit code 3, closed",
        f"{code}: {seen['m/a']}",
        good=code == 3 and set(seen["m/a"].errors) == {"ModelUnknown"} and not seen["m/a"].failed,
    )


# --- real engines ---------------------------------------------------------------------------------------

MODEL = "smollm2-135m"


@asynccontextmanager
async def _engine(kind: str, folder: Path) -> AsyncIterator[LocalServer]:
    engine = await run_sync(install, engine_kind(kind, this_machine()), print)
    spec = EngineSpec(kind=kind, weights="bundled:smollm2-135m-instruct", served_name=MODEL)
    async with serve(spec, engine, log=folder / f"{kind}.log", notify=print) as server:
        yield server


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to ask a real engine: address, dialect, whole or streamed, key."""

    base_url: str
    dialect: str = "openai_chat"
    stream: bool = False
    key: str | None = None


PROMPTS = ("Say hello.", "Name three colours.", "The capital of France is")
TOO_LONG = "long " * 40_000


async def _ask(way: Way, text: str) -> Completion | CallError:
    """Returns what comes of one greedy request for a few tokens."""
    method = AccessMethod(
        name="m/a", model="m", provider="openai-compatible", dialect=way.dialect, base_url=way.base_url,
        served_name=MODEL, key_env=None, sampling=Sampling(temperature=0, tokens_max=12), constrain=False,
        concurrency=1, requests_per_second_max=None, stream=way.stream,
    )  # fmt: skip
    prompt = Prompt((Message("user", text),), ReplyFormat(regex=".*"), "", "", "", 0)
    async with open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as pool:
        backend = HttpBackend(method, DIALECTS[way.dialect], pool, key=way.key, clock=RealClock())
        try:
            return await backend.complete(prompt)
        except CallError as error:
            return error


async def _ask_alike(rows: Rows, part: str, ways: Mapping[str, Way]) -> None:
    """Adds a row for each way: replies, ends and token counts as the first way's, and the error of a prompt
    that is too long."""

    def told(found: Completion | CallError) -> object:
        if isinstance(found, CallError):
            return f"{type(found).__name__}: {found}"[:160]
        end = finish_kind(found.finish_reason or "")
        return found.text, end, found.prompt_tokens, found.completion_tokens

    first: list[object] = []
    for name, way in ways.items():
        found = [await _ask(way, prompt) for prompt in PROMPTS]
        first = first or [told(one) for one in found]
        good = [told(one) for one in found] == first and all(isinstance(one, Completion) for one in found)
        rows.add(f"{part} {name}", f"{first}", [told(one) for one in found], good=good)
        failed = await _ask(way, TOO_LONG)
        rows.add(
            f"{part} {name}, a prompt that is too long",
            "ContextExceeded",
            told(failed),
            good=isinstance(failed, ContextExceeded),
        )


async def _of_vllm(folder: Path, rows: Rows) -> None:
    async with (
        _engine("vllm", folder) as server,
        litellm(folder, [_deployment(MODEL, f"hosted_vllm/{MODEL}", server.base_url, "none")]) as url,
    ):
        ways = {
            "direct": Way(base_url=server.base_url),
            "through LiteLLM": Way(base_url=url, key=GATEWAY_KEY),
            "through LiteLLM, streamed": Way(base_url=url, key=GATEWAY_KEY, stream=True),
        }
        await _ask_alike(rows, "vllm", ways)


async def _of_llamacpp(folder: Path, rows: Rows) -> None:
    async with _engine("llamacpp", folder) as server:
        ways = {
            "chat": Way(base_url=server.base_url),
            "chat, streamed": Way(base_url=server.base_url, stream=True),
            "messages": Way(base_url=server.base_url, dialect="anthropic_messages"),
            "messages, streamed": Way(base_url=server.base_url, dialect="anthropic_messages", stream=True),
        }
        await _ask_alike(rows, "llamacpp", ways)


PARTS = {"litellm": _of_litellm, "vllm": _of_vllm, "llamacpp": _of_llamacpp}

if __name__ == "__main__":
    main()

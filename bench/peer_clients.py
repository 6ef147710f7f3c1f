"""The clients of bench/peers.py. A script for the Python of an environment that has them.

Reads one job as JSON from the standard input: `client` (`sdk` or `inspect`), `url`, `window`, `core`,
`folder` and `conversations`, each a list of request bodies. Prints one line of JSON: `turns`, `wall_s`,
`cpu_s` and `version`. Imports nothing of this program."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

Conversation = list[dict[str, Any]]


def play_with_sdk(job: dict[str, Any]) -> None:
    """Posts every body by OpenAI's client; as many tasks as the window has places."""
    from openai import AsyncOpenAI

    async def play() -> None:
        async with AsyncOpenAI(api_key="none", base_url=job["url"], max_retries=0) as client:
            left: Iterator[Conversation] = iter(job["conversations"])

            async def worker() -> None:
                for conversation in left:
                    for body in conversation:
                        answer = await client.chat.completions.create(**body)
                        assert answer.choices[0].message.content

            await asyncio.gather(*(worker() for _ in range(job["window"])))

    asyncio.run(play())


def play_with_inspect(job: dict[str, Any]) -> None:
    """Evaluates one task: each sample is a conversation, each body one generation."""
    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig
    from inspect_ai.solver import Generate, TaskState, solver

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}

    @solver  # type: ignore[untyped-decorator]
    def talk() -> Any:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            for body in job["conversations"][state.metadata["number"]]:
                state.messages = [
                    kinds[message["role"]](content=message["content"]) for message in body["messages"]
                ]
                state = await generate(state)
            return state

        return solve

    first = job["conversations"][0][0]
    samples = [Sample(input="-", metadata={"number": number}) for number in range(len(job["conversations"]))]
    (log,) = evaluate(
        Task(
            dataset=MemoryDataset(samples),
            solver=talk(),
            config=GenerateConfig(max_tokens=first.get("max_tokens"), temperature=first.get("temperature")),
        ),
        model="openai/toy",
        model_base_url=job["url"],
        model_args={"api_key": "none", "responses_api": False},
        max_connections=job["window"],
        max_samples=job["window"],
        display="none",
        log_dir=job["folder"],
    )
    assert log.status == "success", log.error


CLIENTS = {"sdk": (play_with_sdk, "openai"), "inspect": (play_with_inspect, "inspect_ai")}


def main() -> None:
    job = json.load(sys.stdin)
    os.sched_setaffinity(0, {job["core"]})
    play, package = CLIENTS[job["client"]]
    warm = {**job, "conversations": job["conversations"][:2]}
    play(warm)  # imports, and what a client makes once
    began_s, cpu_s = time.perf_counter(), time.process_time()
    play(job)
    measured = {
        "turns": sum(map(len, job["conversations"])),
        "wall_s": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - cpu_s,
        "version": version(package),
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main()

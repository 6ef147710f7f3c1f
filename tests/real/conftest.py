"""One vLLM server in bfloat16 for all tests here: starting it takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal

from backends.local.engine import EngineSpec
from backends.local.engine_kinds import engine_kind
from backends.local.environments import install
from backends.local.local_server import LocalServer, serve
from backends.local.machine import this_machine


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    engine = install(engine_kind("vllm", this_machine()), print)
    spec = EngineSpec(
        kind="vllm", weights="bundled:smollm2-135m-instruct", served_name="smollm2-135m", dtype="bfloat16"
    )
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(spec, engine, log=log, notify=print)) as server,
    ):
        yield server

"""One local server, with a small stand-in for vLLM in a real process on a real port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import anyio
import pytest

from backends.local.engine import Engine, EngineKind, EngineSpec, Launch
from backends.local.engine_kinds import LLAMACPP, VLLM
from backends.local.local_server import serve
from harness.core.errors import EngineError

# Gives the proofs that vLLM gives. It has a child that ignores SIGTERM in a session of its own, and writes
# both process ids.
STAND_IN = """
import json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
mode, folder, name, port, pids = sys.argv[1:]
if mode == "dies the second time" and os.path.exists(pids):
    sys.exit("no luck")
child = os.fork()
if child == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
with open(pids + ".part", "w") as file:
    file.write(f"{os.getpid()} {child}")
os.rename(pids + ".part", pids)
for line in range(40):
    print("line", line, flush=True)
if mode == "dies":
    print("out of tokens", file=sys.stderr)
    sys.exit(3)
ANSWERS = {
    "/health": {},
    "/version": {"version": "9" if mode == "other version" else "1.2"},
    "/v1/models": {"data": [{
        "id": "another" if mode == "other model" else name, "root": "/elsewhere" if mode == "other folder" else folder,
    }]},
}
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<html>" if mode == "no json" and self.path == "/version" else json.dumps(ANSWERS[self.path]).encode()
        self.send_response(503 if mode == "never ready" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = json.dumps({
            "model": name, "choices": [{"message": {"content": f"by {os.getpid()}"}, "finish_reason": "stop"}],
        }).encode()
        if "kill me" in self.rfile.read(int(self.headers["content-length"])).decode():
            os.kill(os.getpid(), signal.SIGKILL)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


def stand_in_command(launch: Launch) -> tuple[str, ...]:
    mode, pids = launch.spec.flags
    return (
        str(launch.python),
        "-c",
        STAND_IN,
        mode,
        str(launch.weights),
        launch.spec.served_name,
        str(launch.port),
        pids,
    )


KIND = EngineKind(
    name="stand-in",
    packages=("stand-in==1.2",),
    unwanted=(),
    modules=(),
    python=((3, 11), (3, 99)),
    machines=(),
    glibc=(0, 0),
    disk_gb=0.0,
    memory_gb=0.0,
    server_gb=0.0,
    weights_factor=0.0,
    index_note="",
    grace_s=0.2,
    command=stand_in_command,
    environ=lambda launch: {"STAND_IN": "1"},
    proofs=VLLM.proofs,
)
ENGINE = Engine(kind=KIND, python=Path(sys.executable), version="1.2")


def spec_in(tmp_path: Path, mode: str) -> EngineSpec:
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    return EngineSpec(
        kind="stand-in",
        weights=str(folder),
        served_name="tiny",
        dtype="float32",
        flags=(mode, str(tmp_path / "pids")),
    )


def living(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def environ_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")


def pids_of(tmp_path: Path) -> list[int]:
    return [int(word) for word in (tmp_path / "pids").read_text(encoding="utf-8").split()]


def no_process_lives(tmp_path: Path) -> bool:
    return not any(living(pid) for pid in pids_of(tmp_path))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_expecting(tmp_path: Path, mode: str, ready_s: float = 30.0) -> str:
    """Starts a stand-in that must be refused; the error's text."""

    async def main() -> str:
        with pytest.raises(EngineError) as caught:
            async with serve(
                spec_in(tmp_path, mode),
                ENGINE,
                log=tmp_path / "log",
                ready_s=ready_s,
                notify=lambda line: None,
            ):
                pytest.fail("it was believed")
        return str(caught.value)

    return anyio.run(main)


def test_a_server_that_is_ready(tmp_path: Path) -> None:
    """It is yielded with its address, its name and its facts; afterwards no process of it is left."""
    said: list[str] = []

    async def main() -> None:
        async with serve(
            spec_in(tmp_path, "good"), ENGINE, log=tmp_path / "logs" / "log", notify=said.append
        ) as server:
            assert server.base_url.startswith("http://127.0.0.1:")
            assert server.base_url.endswith("/v1")
            assert server.served_name == "tiny"
            assert server.facts["engine_version"] == "1.2"
            assert server.facts["weights_root"] == str(tmp_path / "model")
            assert len(str(server.facts["weights_sha256"])) == 64
            assert server.facts["environment"] == "STAND_IN=1"
            assert all(living(pid) for pid in pids_of(tmp_path))
        assert no_process_lives(tmp_path)

    anyio.run(main)
    assert said[-1].startswith("tiny (stand-in, float32): ready after")
    assert "line 39" in (tmp_path / "logs" / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize(("own", "given"), [(None, "PASSIVE"), ("active", "active")])
def test_a_default_variable_gives_way_to_that_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None, given: str
) -> None:
    if own is None:
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    else:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    engine = replace(ENGINE, kind=replace(KIND, environ_defaults=LLAMACPP.environ_defaults))

    async def main() -> None:
        async with serve(
            spec_in(tmp_path, "good"), engine, log=tmp_path / "log", notify=lambda line: None
        ) as server:
            assert server.facts["environment"] == f"OMP_WAIT_POLICY={given} STAND_IN=1"
            assert all(f"OMP_WAIT_POLICY={given}" in environ_of(pid) for pid in pids_of(tmp_path))

    anyio.run(main)


def test_a_server_that_dies_at_start(tmp_path: Path) -> None:
    """The error contains the exit code, the path of the log and the log's last twenty lines."""
    text = start_expecting(tmp_path, "dies")
    assert "exit code 3" in text
    assert str(tmp_path / "log") in text
    assert "out of tokens" in text
    assert "line 39" in text
    assert "line 20\n" not in text
    assert no_process_lives(tmp_path)


def test_a_command_that_cannot_run(tmp_path: Path) -> None:
    """A missing Python of the engine is an EngineError."""
    engine = Engine(kind=KIND, python=tmp_path / "gone", version="1.2")

    async def main() -> None:
        async with serve(spec_in(tmp_path, "good"), engine, log=tmp_path / "log", notify=lambda line: None):
            pytest.fail("it was believed")

    with pytest.raises(EngineError, match="gone"):
        anyio.run(main)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("other model", "the model is another, not tiny"),
        ("other folder", "the folder is /elsewhere, not /"),
        ("other version", "the version is 9, not 1.2"),
        ("no json", "does not state the version at /version"),
    ],
)
def test_a_server_that_is_not_the_one_asked_for(tmp_path: Path, mode: str, words: str) -> None:
    """A server must serve the folder under the name in the installed version; otherwise it is refused and
    stopped."""
    assert words in start_expecting(tmp_path, mode)
    assert no_process_lives(tmp_path)


def test_a_server_that_is_never_ready(tmp_path: Path) -> None:
    """It is stopped after the time allowed."""
    assert "not ready within 1 s" in start_expecting(tmp_path, "never ready", ready_s=1.0)
    assert no_process_lives(tmp_path)


def test_a_server_killed_while_it_serves(tmp_path: Path) -> None:
    """`wait_dead` reports how it ended and its last output; its descendants are ended too."""

    async def main() -> str:
        async with serve(
            spec_in(tmp_path, "good"), ENGINE, log=tmp_path / "log", notify=lambda line: None
        ) as server:
            os.kill(pids_of(tmp_path)[0], signal.SIGKILL)
            with anyio.fail_after(60):
                return str(await server.wait_dead())

    text = anyio.run(main)
    assert "signal 9" in text
    assert "line 39" in text
    assert no_process_lives(tmp_path)


@pytest.mark.parametrize("mode", ["good", "never ready"])
def test_a_cancelled_wait_leaves_no_process(tmp_path: Path, mode: str) -> None:
    """Cancelled during the start or later, the server is stopped before the block ends."""

    async def main() -> None:
        async with anyio.create_task_group() as tasks:

            async def use() -> None:
                async with serve(
                    spec_in(tmp_path, mode), ENGINE, log=tmp_path / "log", notify=lambda line: None
                ):
                    (tmp_path / "used").touch()
                    await anyio.sleep_forever()

            tasks.start_soon(use)
            awaited = tmp_path / ("used" if mode == "good" else "pids")
            await anyio.to_thread.run_sync(until, awaited.exists)
            tasks.cancel_scope.cancel()

    anyio.run(main)
    assert no_process_lives(tmp_path)


def test_an_exception_leaves_no_process(tmp_path: Path) -> None:
    """An exception inside the block propagates after the server is stopped."""

    async def main() -> None:
        async with serve(spec_in(tmp_path, "good"), ENGINE, log=tmp_path / "log", notify=lambda line: None):
            raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        anyio.run(main)
    assert no_process_lives(tmp_path)


def test_a_kill_of_this_program_leaves_no_process(tmp_path: Path) -> None:
    """SIGKILL to the process that started two servers leaves no process of either."""
    program = dedent("""
        import sys
        from pathlib import Path
        sys.path[:0] = sys.argv[1:3]
        import anyio
        from backends.local.local_server import serve
        from test_local_server import ENGINE, spec_in

        async def main():
            one, two = Path(sys.argv[3]), Path(sys.argv[4])
            async with serve(spec_in(one, "good"), ENGINE, log=one / "log", notify=print):
                async with serve(spec_in(two, "good"), ENGINE, log=two / "log", notify=print):
                    (two / "used").touch()
                    await anyio.sleep_forever()

        anyio.run(main)
    """)
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    here = Path(__file__).parent
    with subprocess.Popen(
        (sys.executable, "-c", program, str(here.parents[2]), str(here), str(one), str(two))
    ) as holder:
        until((two / "used").exists)
        holder.kill()
    until(lambda: no_process_lives(one) and no_process_lives(two))


def test_two_servers_side_by_side(tmp_path: Path) -> None:
    """Each has its own port."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()

    async def main() -> None:
        urls: list[str] = []
        async with anyio.create_task_group() as tasks:

            async def use(place: Path) -> None:
                async with serve(
                    spec_in(place, "good"), ENGINE, log=place / "log", notify=lambda line: None
                ) as server:
                    urls.append(server.base_url)
                    await anyio.sleep_forever() if len(urls) < 2 else tasks.cancel_scope.cancel()

            tasks.start_soon(use, one)
            tasks.start_soon(use, two)
        assert len(set(urls)) == 2

    anyio.run(main)
    assert no_process_lives(one)
    assert no_process_lives(two)

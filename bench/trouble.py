"""Measures what a sweep keeps of its capacity in and after trouble, beside the same provider without faults.

A provider of our own answers on loopback from a separate process: it takes 1 to 3 s for an answer and 5 ms
for a refusal. Each case is a port of its own with its own trouble; each sweep is `lightbulb run` in a process
of its own, with at most 64 calls in flight, and all run at the same time. The rates are good answers a second
as the provider counts them, each over the rate of the port without trouble in the same seconds.

    python -m bench.trouble [--minutes 5.5] [--only random-5 places-429 ...]"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import duckdb
import orjson
import uvloop

CONCURRENCY = 64
PLACES = 40
LATENCY_S = (1.0, 3.0)
REFUSAL_S = 0.005
OUTAGE_S = 60.0  # when it begins: the sweep is at full speed by then
WARM_S = 60.0  # rates of cases without an outage are taken from here on
BACK_S = 30.0  # so long after an outage's end the rate is taken, over
SPAN_S = 30.0

Refusal = Callable[[float, int, Random], tuple[int, float | None] | None]
"""(seconds, calls in flight, chance) -> status and Retry-After of a refusal; None: the call is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of trouble.

    goal    of the rate without trouble, in the time that counts
    share   of the calls in flight that the trouble leaves: the goal is of that
    end_s   when an outage ends; None: there is none"""

    refusal: Refusal
    goal: float
    share: float = 1.0
    end_s: float | None = None


def _never(now_s: float, in_flight: int, chance: Random) -> None:
    return None


def _random(share: float, status: int) -> Refusal:
    return lambda now_s, in_flight, chance: (status, None) if chance.random() < share else None


def _outage(seconds: float, status: int, retry_after_s: float | None) -> Case:
    def refusal(now_s: float, in_flight: int, chance: Random) -> tuple[int, float | None] | None:
        return (status, retry_after_s) if OUTAGE_S <= now_s < OUTAGE_S + seconds else None

    return Case(refusal=refusal, goal=0.9, end_s=OUTAGE_S + seconds)


def _places(status: int, retry_after_s: float | None) -> Case:
    return Case(
        refusal=lambda now_s, in_flight, chance: (status, retry_after_s) if in_flight >= PLACES else None,
        goal=0.9,
        share=PLACES / CONCURRENCY,
    )


CASES = {
    "fault-free": Case(refusal=_never, goal=1.0),
    "random-1": Case(refusal=_random(0.01, 503), goal=0.95),
    "random-5": Case(refusal=_random(0.05, 503), goal=0.85),
    "random-5-429": Case(refusal=_random(0.05, 429), goal=0.85),
    "outage-90-503": _outage(90.0, 503, None),
    "outage-90-503-told": _outage(90.0, 503, 10.0),
    "outage-90-429": _outage(90.0, 429, None),
    "outage-90-429-told": _outage(90.0, 429, 10.0),
    "outage-180-503": _outage(180.0, 503, None),
    "outage-180-503-told": _outage(180.0, 503, 10.0),
    "outage-180-429": _outage(180.0, 429, None),
    "outage-180-429-told": _outage(180.0, 429, 10.0),
    "places-429": _places(429, None),
    "places-429-told": _places(429, 1.0),
    "places-503": _places(503, None),
}


# --- the provider -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Log:
    """The record of a port, in seconds since its first request: when calls were served and refused."""

    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


REPLY = orjson.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "toy",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "guess: crane\nexplanation: a start"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 12, "total_tokens": 312},
    }
)
MODELS = orjson.dumps({"object": "list", "data": [{"id": "toy", "object": "model"}]})


class Port:
    """Serves one case."""

    def __init__(self, case: Case) -> None:
        self.log = Log()
        self._case = case
        self._chance = Random(1)
        self._in_flight = 0
        self._began_s: float | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection, one after the other."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
                await reader.readexactly(int(length or 0))
                if head.startswith(b"GET"):
                    writer.write(_response(200, MODELS, None))
                else:
                    writer.write(await self._answer())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self) -> bytes:
        if self._began_s is None:
            self._began_s = time.monotonic()
        now_s = time.monotonic() - self._began_s
        refusal = self._case.refusal(now_s, self._in_flight, self._chance)
        if refusal is not None:
            self.log.refused.append(now_s)
            await asyncio.sleep(REFUSAL_S)
            body = orjson.dumps({"error": {"message": "Please try again later.", "type": "busy"}})
            return _response(refusal[0], body, refusal[1])
        self._in_flight += 1
        try:
            await asyncio.sleep(self._chance.uniform(*LATENCY_S))
        finally:
            self._in_flight -= 1
        self.log.served.append(time.monotonic() - self._began_s)
        return _response(200, REPLY, None)


def _response(status: int, body: bytes, retry_after_s: float | None) -> bytes:
    told = b"" if retry_after_s is None else b"Retry-After: %d\r\n" % retry_after_s
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status, told, len(body)) + body


def provide(names: Sequence[str], pipe: Connection) -> None:
    """Runs in a process of its own: opens a port for each case, and sends the logs when it is told to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def serve() -> dict[str, Log]:
        ports = {name: Port(CASES[name]) for name in names}
        servers = [
            await asyncio.start_server(port.serve, "127.0.0.1", 0, backlog=1024) for port in ports.values()
        ]
        pipe.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        return {name: port.log for name, port in ports.items()}

    pipe.send(uvloop.run(serve()))


# --- the sweeps ---------------------------------------------------------------------------------------------

SWEEP = """
name = "trouble"
repeats = 1000
[games.wordle]
items = 30
[audit]
again = false
[models.toy.methods.{name}]
base_url = "http://127.0.0.1:{port}/v1"
provider = "emulator"
served_name = "toy"
concurrency = {concurrency}
"""


def play(names: Sequence[str], seconds: float, folder: Path) -> dict[str, Log]:
    """Plays a sweep against each case's port for so long, all at the same time; returns the ports' logs."""
    ours, theirs = multiprocessing.Pipe()
    provider = multiprocessing.get_context("spawn").Process(target=provide, args=(names, theirs), daemon=True)
    provider.start()
    runs = []
    for name, port in zip(names, ours.recv(), strict=True):
        sweep = folder / f"{name}.toml"
        sweep.write_text(SWEEP.format(name=name, port=port, concurrency=CONCURRENCY))
        output = (folder / f"{name}.log").open("wb")
        command = [sys.executable, "-m", "harness", "run", str(sweep)]
        command += ["--store", str(folder / f"{name}.duckdb")]
        runs.append(subprocess.Popen(command, stdout=output, stderr=output))
    time.sleep(seconds)
    for run in runs:
        run.send_signal(signal.SIGINT)
    for run in runs:
        run.wait(30)
    ours.send("end")
    logs: dict[str, Log] = ours.recv()
    provider.join()
    return logs


def rate(log: Log, begin_s: float, end_s: float) -> float:
    """Returns good answers a second."""
    return sum(begin_s <= at_s < end_s for at_s in log.served) / (end_s - begin_s)


def recovery_s(log: Log, untroubled: Log, end_s: float) -> float | None:
    """Returns the seconds from an outage's end until ten seconds bring 0.9 of the good answers without
    trouble."""
    for after_s in (0.5 * half for half in range(240)):
        begin_s = end_s + after_s
        if rate(log, begin_s, begin_s + 10.0) >= 0.9 * rate(untroubled, begin_s, begin_s + 10.0):
            return after_s
    return None


def failed_episodes(store: Path) -> int:
    with duckdb.connect(str(store), read_only=True) as connection:
        row = connection.execute("SELECT count(*) FROM episodes WHERE status = 'failed'").fetchone()
    assert row is not None
    return int(row[0])


def measure(names: Sequence[str], seconds: float) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        logs = play(names, seconds, folder)
        last_s = min(log.served[-1] for log in logs.values()) - 2 * LATENCY_S[1]  # without the stopping
        untroubled = logs["fault-free"]
        print(
            "| trouble | good answers/s | without | of what is possible | goal | met | at 0.9 after s | refused"
            " | episodes failed |\n|---|---|---|---|---|---|---|---|---|"
        )
        for name in names:
            case, log = CASES[name], logs[name]
            begin_s = WARM_S if case.end_s is None else case.end_s + BACK_S
            end_s = last_s if case.end_s is None else min(last_s, begin_s + SPAN_S)
            found, whole = rate(log, begin_s, end_s), rate(untroubled, begin_s, end_s)
            share = found / (case.share * whole)
            failed = failed_episodes(folder / f"{name}.duckdb")
            met = "yes" if share >= case.goal and not failed else "NO"
            back = "" if case.end_s is None else recovery_s(log, untroubled, case.end_s)
            print(
                f"| {name} | {found:.1f} | {whole:.1f} | {share:.3f} | {case.goal} | {met} | {back} | {len(log.refused)}"
                f" | {failed} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.5)
    parser.add_argument("--only", nargs="*", default=[], metavar="CASE", help=f"of {' '.join(CASES)}")
    options = parser.parse_args()
    names = [name for name in CASES if not options.only or name in options.only or name == "fault-free"]
    measure(names, 60.0 * options.minutes)


if __name__ == "__main__":
    main()

"""Workers in processes of their own, started by Ray: on this machine, and on a cluster of two nodes.

Skipped where Ray is not installed. Bots play, so that replies are the same whoever asks for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.leases import WORKER, descendants
from tests.harness.cluster.test_workers import rows

ray_clusters = pytest.importorskip(
    "ray.cluster_utils", reason="Ray is not installed: pip install 'lightbulb[ray]'"
)
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

SWEEP = """
name = "r"
repeats = 3
[games.taboo]
items = 12
[games.wordle]
items = 6
[models.m.methods]
a = { bots = { skill = 0.9, latency_s = 0.2 }, concurrency = 8 }
b = { bots = { skill = 0.6, form_errors = 0.1, latency_s = 0.2 }, concurrency = 8 }
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "r.toml"
    path.write_text(SWEEP)
    return path


def run(sweep: Path, store: str, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "harness", "run", str(sweep), "--store", str(sweep.with_name(store))),
        *options,
    ]


def played(sweep: Path, store: str, *options: str) -> str:
    """Plays the sweep to its end; returns what the command said."""
    ended = subprocess.run(run(sweep, store, *options), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


@contextmanager
def playing(sweep: Path, store: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Gives the command once its workers have played for a while."""
    with subprocess.Popen(run(sweep, store, *options), stderr=subprocess.PIPE, text=True) as process:
        folder = sweep.with_name(f"{store}.workers")
        while not workers_of(process) or not list(folder.glob("*.duckdb")):
            assert process.poll() is None
            time.sleep(0.2)
        time.sleep(4.0)
        yield process


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    return [pid for pid, name in descendants(process.pid).items() if name.startswith(WORKER)]


@pytest.fixture
def alone(sweep: Path) -> Path:
    played(sweep, "alone.duckdb")
    return sweep.with_name("alone.duckdb")


def test_two_workers_of_which_one_is_killed(sweep: Path, alone: Path) -> None:
    """The killed worker's episodes are played on by others; the store is that of one process."""
    with playing(sweep, "w.duckdb", "--workers", "2") as process:
        os.kill(workers_of(process)[0], signal.SIGKILL)
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert "worker 1 ended" in said or "worker 2 ended" in said
    assert rows(sweep.with_name("w.duckdb")) == rows(alone)
    assert not sweep.with_name("w.duckdb.workers").exists()


def test_a_worker_that_stands_still(sweep: Path, alone: Path) -> None:
    """A stopped worker answers nothing and does not end. The others play its episodes, the run ends with the
    store of one process, and the process is gone."""
    with playing(sweep, "w.duckdb", "--workers", "2") as process:
        still = workers_of(process)[0]
        os.kill(still, signal.SIGSTOP)
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert rows(sweep.with_name("w.duckdb")) == rows(alone)
    assert not Path(f"/proc/{still}").exists()


def test_a_killed_coordinator_goes_on(sweep: Path, alone: Path) -> None:
    """Its workers end with it; the same command takes their stores in, and plays only what is left."""
    with playing(sweep, "w.duckdb", "--workers", "2") as process:
        workers = workers_of(process)
        process.kill()
    stored = len(list(sweep.with_name("w.duckdb.workers").glob("*.duckdb")))
    assert stored == 2
    said = played(sweep, "w.duckdb", "--workers", "2")
    assert "episodes done" in said
    assert rows(sweep.with_name("w.duckdb")) == rows(alone)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_an_interrupt_drains_all_workers(sweep: Path, alone: Path) -> None:
    """The first Ctrl-C lets running calls end, and merges; the same command without workers goes on."""
    with playing(sweep, "w.duckdb", "--workers", "2") as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130, said
    assert "waiting for" in said
    assert not sweep.with_name("w.duckdb.workers").exists()
    played(sweep, "w.duckdb")
    assert rows(sweep.with_name("w.duckdb")) == rows(alone)


def test_a_cluster_of_two_nodes(sweep: Path, alone: Path) -> None:
    """Workers are spread over the nodes of a cluster that runs; without --workers there are as many as it has
    cores."""
    cluster = ray_clusters.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        cluster.add_node(num_cpus=1)
        said = played(sweep, "w.duckdb", "--ray", cluster.address)
    finally:
        cluster.shutdown()
    assert "starting 2 workers" in said
    assert rows(sweep.with_name("w.duckdb")) == rows(alone)

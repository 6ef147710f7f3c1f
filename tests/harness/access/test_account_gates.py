"""Access methods made live: the gates of an account."""

from __future__ import annotations

from pathlib import Path

import anyio

from harness.access.connect import connector_for_all
from harness.access.context import RunContext
from harness.checking.check_method import NullSink
from harness.config.load import parse_sweep
from harness.core.errors import AccountRefused, Unreachable

SWEEP = """
name = "s"
[games.taboo]
[models.m.methods.a]
base_url = "http://127.0.0.1:9/v1"
key_env = "ONE"
[models.n.methods.a]
base_url = "http://127.0.0.1:9/v1"
key_env = "ONE"
[models.o.methods.a]
base_url = "http://127.0.0.1:9/v1"
key_env = "TWO"
"""


def closed_by(reason: AccountRefused | Unreachable, tmp_path: Path) -> dict[str, bool]:
    """Returns which methods' gates are closed after m/a's route was closed for the reason."""
    source = tmp_path / "s.toml"
    source.write_text(SWEEP)
    environ = {"ONE": "k1", "TWO": "k2"}
    context = RunContext(
        source=source, store=tmp_path / "s.duckdb", environ=environ, notify=lambda text: None
    )
    spec = parse_sweep(SWEEP, source=str(source), known_games=["taboo"])

    async def scenario() -> dict[str, bool]:
        async with connector_for_all(spec, context, {}, run_id="1").connected(NullSink()) as live:
            live.routes["m/a"].close(reason, key_works=False)
            return {name: gate.closed is not None for name, gate in live.gate_of.items()}

    return anyio.run(scenario)


def test_a_refused_key_closes_the_gates_of_that_key(tmp_path: Path) -> None:
    """Two models behind one key have a gate each, and both close; the gate of another key stays open."""
    assert closed_by(AccountRefused("no credit"), tmp_path) == {"m/a": True, "n/a": True, "o/a": False}


def test_what_concerns_one_gate_closes_no_other(tmp_path: Path) -> None:
    """An address at which nobody answers says nothing of the account."""
    assert closed_by(Unreachable("refused"), tmp_path) == {"m/a": True, "n/a": False, "o/a": False}

"""Planted truth over real sockets: one model reached in several ways, with a known defect or none, played and
audited whole.

The emulator serves bots at temperature 0 on loopback; the reference is played twice, and every way is probed
into the same store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import anyio

from games import GAMES
from harness.access.context import RunContext
from harness.analysis.store_audit import ModelAudit, store_audit
from harness.checking.check_sweep import check_sweep
from harness.config.load import load_sweep
from harness.running.run_sweep import run_sweep

SWEEP = """
name = "planted"
seed = {seed}
repeats = {repeats}
[games.taboo]
items = {taboo}
[games.referencegame]
items = {referencegame}
[audit]
reference = "bots/reference"
"""
WAY = """
[models.bots.methods.{name}]
emulator = {{ skill = 0.85, noise = 0.02, seed = {seed}, defects = {{ {defects} }} }}
concurrency = 64
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A way to the model.

    touches   the level on which its defect shows; None: it has none
    cause     under which name an audit should find it"""

    defects: str
    touches: str | None
    cause: str | None


WAYS = {
    "clean": Planted(defects="", touches=None, cause=None),
    "form-errors": Planted(defects="form_errors = 0.05", touches="scores", cause="replies broken in form"),
    "temperature-ignored": Planted(
        defects="temperature = 1.0", touches="replies", cause="temperature not served"
    ),
    "hidden-prompt": Planted(
        defects='system_prompt = "You are a helpful assistant. Be brief."',
        touches="replies",
        cause="a prompt of its own",
    ),
    "routed": Planted(
        defects="routed_share = 0.2, routed_skill = 0.1",
        touches="scores",
        cause="several models behind one name",
    ),
}


def play(seed: int, *, repeats: int, taboo: int, referencegame: int) -> ModelAudit:
    """One sweep through all ways over sockets, a check of all of them, and the audit of both."""
    text = SWEEP.format(seed=seed, repeats=repeats, taboo=taboo, referencegame=referencegame)
    text += WAY.format(name="reference", seed=0, defects="")
    text += "".join(
        WAY.format(name=name, seed=place + 1, defects=way.defects)
        for place, (name, way) in enumerate(WAYS.items())
    )
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "planted.toml"
        sweep.write_text(text, "utf-8")
        spec = load_sweep(sweep, known_games=list(GAMES))
        context = RunContext(
            source=sweep,
            store=sweep.with_suffix(".duckdb"),
            environ={},
            notify=lambda line: None,
        )
        end = anyio.run(lambda: run_sweep(spec, context))
        assert (end.failed, end.pending) == (0, 0)
        anyio.run(lambda: check_sweep(spec, context, probing=True, keeping=True))
        (part,) = store_audit(context.store, reference=None, margin=None)
    return part


def verdicts_of(part: ModelAudit) -> dict[tuple[str, str], str]:
    """(way, level) -> verdict."""
    assert part.replies is not None
    found = {(one.method.split("/")[1], "scores"): str(one.verdict) for one in part.scores.comparisons}
    return found | {
        (match.method.split("/")[1], "replies"): str(match.verdict) for match in part.replies.across
    }


def causes_of(part: ModelAudit) -> dict[str, tuple[str, ...]]:
    """way -> the causes that the audit names."""
    return {cause.method.split("/")[1]: cause.named for cause in part.causes}


def rightly_named(way: str, named: tuple[str, ...]) -> bool:
    """The planted cause and no other; nothing where nothing was planted."""
    cause = WAYS[way].cause
    return named == ((cause,) if cause else ())


def contradicted(verdicts: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Returns the entries (way, level, verdict) that the planted truth contradicts. A defect may show on the
    other level too."""
    return [
        (way, level, verdict)
        for way, level, verdict in verdicts
        if (WAYS[way].touches is None and verdict == "DIFFERENT")
        or (WAYS[way].touches == level and verdict == "EQUIVALENT")
    ]

"""lightbulb: plays conversational games with language models and audits the ways to reach them.

    core/        shared words: nouns, seams, rows, errors, time, chance
    spec/        a sweep file becomes typed data, and that becomes episode plans
    ways/        what a sweep says of its methods made definite: defaults, quotas, keys, budgets, servers on this machine
    limits/      gates: how not to overrun a provider
    engine/      where things wait: calls, episodes, the many episodes of a sweep, the one way to stop
    store/       rows in a DuckDB file
    progress/    what is seen of a sweep while it runs
    compose/     joins a sweep to live parts and plays it
    analysis/    hands rows to the audit
    audit/       numbers about rows; opens nothing
    report/      findings become tables and pages
    planning/    what a sweep will take, on virtual time
    checking     who is there, and does it do what it is asked?
    throughput/  load that is offered, and what came of it
    transfer/    published results brought into a store, and rows out of it
    simulation   the same engine on virtual time; loop: in real time
    cli          which commands there are; commands/ has them
    notebook     the same from Python: run, play, open_store

Data flows one way: sweep file, plans, scheduler, [game step, call through its gate], rows, DuckDB, audit, report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api import Played, Store, open_store, play, run

__all__ = ["Played", "Store", "open_store", "play", "run"]


def __getattr__(name: str) -> object:
    """Imported when first used: the command's help must not wait for engines and statistics."""
    if name in __all__:
        return getattr(import_module("harness.api"), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")

"""lightbulb: plays conversational games with language models, and audits whether the same model, reached
another way, is still the same model.

    __main__     starts the command; until it works, an interrupt ends it at once
    cli          lists the commands; commands/ has them
    api          the same verbs from Python: run, play, open_store
    running/     runs a sweep over its store
    planning/    forecasts what a sweep takes, on virtual time
    checking/    asks every access method whether it does what it is asked
    watching/    asks every access method up to 200 one-token questions a day
    rescoring/   lets a reference's weights score stored replies
    loadtest/    measures access methods under load
    cluster/     plays the episodes of one run in several processes
    foreign_games/  plays games of other libraries in processes of their own
    access/      makes a sweep's access methods definite, and connects to them
    scheduler/   plays episodes: calls, turns, many episodes at once, one clean way to stop
    limits/      gates: keep calls within the quotas and the capacity of a provider
    progress/    shows a sweep while it runs
    store/       rows in a DuckDB file
    transfer/    imports published results into a store, and exports rows
    analysis/    reads rows for the audit
    audit/       computes scores, verdicts and causes; opens nothing
    report/      turns findings into tables and pages
    view/        the page of a store: live in a browser, and frozen into one file
    config/      reads a sweep file into frozen values, and those into episode plans
    core/        shared nouns, protocols, rows, errors, time, chance; standard library and anyio only
    simulation   runs the same program on virtual time

Data flows one way: sweep file, plans, scheduler, [game step, call through its gate], rows, DuckDB, audit,
report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api import Played, Store, open_store, play, run

__all__ = ["Played", "Store", "open_store", "play", "run"]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used: the command's help must not wait for statistics."""
    if name in __all__:
        return getattr(import_module("harness.api"), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")

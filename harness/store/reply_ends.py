"""Finds stored replies that a failure or a filter cut, in stores of versions that took any end of an answer
for good.

No row is rewritten. An episode that rests on such a reply counts as failed, and its turn is asked again if
the episode is unfinished. A reply without a finish reason is kept. Ends that a sweep declares good stay
good."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from harness.core.finish_reasons import finish_kind, stated_finish
from harness.store.query_server import Readable

CUT = ("filtered", "failed")


def declared_good_ends(connection: Readable) -> dict[str, tuple[str, ...]]:
    """Returns method -> the finish reasons that the last sweep over this store declares good."""
    rows = connection.execute("SELECT spec_json FROM sweeps ORDER BY run_id DESC LIMIT 1").fetchall()
    models: Mapping[str, Mapping[str, Mapping[str, Mapping[str, object]]]] = (
        orjson.loads(rows[0][0]).get("models") or {} if rows and rows[0][0] else {}
    )
    return {
        f"{model}/{name}": tuple(ends)
        for model, part in models.items()
        for name, method in (part.get("methods") or {}).items()
        if isinstance(ends := method.get("good_ends"), list)
    }


def is_cut(finish_reason: str | None, good_ends: tuple[str, ...] = ()) -> bool:
    """Says whether this end means that a failure or a filter cut the reply."""
    stated = stated_finish(finish_reason)
    return stated is not None and finish_kind(stated, good_ends) in CUT


def cut_condition(connection: Readable) -> tuple[str, list[object]]:
    """Returns SQL that is true for an episode's attempt that rests on a cut reply, and its parameters."""
    declared = declared_good_ends(connection)
    ends = connection.execute(
        "SELECT DISTINCT method, finish_reason FROM calls WHERE error_class IS NULL AND finish_reason IS NOT NULL"
    ).fetchall()
    cut = [f"{method} {reason}" for method, reason in ends if is_cut(reason, declared.get(method, ()))]
    if not cut:
        return "false", []
    return (
        "(episode_id || ':' || attempt) IN (SELECT episode_id || ':' || attempt FROM calls"
        " WHERE error_class IS NULL AND method || ' ' || finish_reason IN (SELECT unnest(?)))",
        [cut],
    )

"""Reads the days of a watch: one-token replies to the prompts of a panel.

Knows the table `probes`; computes nothing."""

from __future__ import annotations

from harness.core.records import WATCH_KIND, ProbeRecord
from harness.store.query_server import Readable


def watch_rows(connection: Readable) -> list[ProbeRecord]:
    """Returns the answered calls of all days, by method and time."""
    names = ", ".join(f'"{name}"' for name in ProbeRecord._fields)
    rows = connection.execute(f"""
        SELECT {names} FROM probes WHERE kind = '{WATCH_KIND}' AND reply IS NOT NULL
        ORDER BY method, check_at, name, number
        """).fetchall()
    return [ProbeRecord(*row) for row in rows]

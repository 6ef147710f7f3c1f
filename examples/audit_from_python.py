"""Plays a sweep from Python, prints the verdicts, and asks the store a question of its own.

The two access methods are emulators, so it needs no model: python examples/audit_from_python.py"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import harness

SWEEP = {
    "name": "from-python",
    "repeats": 2,
    "games": {"taboo": {"items": 20}},
    "models": {
        "llama": {
            "methods": {
                "maker": {"emulator": {"skill": 0.8, "weights": "llama"}},
                "reseller": {"emulator": {"skill": 0.8, "weights": "llama", "defects": {"form_errors": 0.2}}},
            }
        }
    },
    "audit": {"reference": "llama/maker", "margin": 3.0},
}


def main(folder: Path) -> None:
    played = harness.run(SWEEP, store=folder / "from-python.duckdb")
    print(f"{played.end.finished} episodes finished, {played.end.failed} failed")
    for row in played.store.scores():
        if row["game"] is None:
            print(f"{row['method']}: clemscore {row['clemscore']:.1f} [{row['low']:.1f}, {row['high']:.1f}]")
    for model in played.store.audit():
        for comparison in model.scores.comparisons:
            print(comparison.method, comparison.verdict, comparison.sentence)
    reasons = played.store.sql(
        "SELECT method, reason, count(*) AS episodes FROM scores WHERE outcome = 'aborted'"
        " GROUP BY ALL ORDER BY ALL"
    )
    for row in reasons:
        print(row["method"], row["reason"], row["episodes"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))

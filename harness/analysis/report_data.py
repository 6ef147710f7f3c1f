"""Gathers everything that one report page shows of a store: scores, verdicts, costs, endings, transcripts.

Knows which function computes what; computes nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.csv_tables import rows_of
from harness.analysis.store_audit import ModelAudit, ModelScores, store_audit, store_scores
from harness.audit.characteristics import ModelFacts, Point, by_size
from harness.audit.regression import Regression
from harness.core.errors import AuditError
from harness.store.file import open_to_read
from harness.store.query_server import Readable
from harness.store.report_queries import (
    Cluster,
    MethodTally,
    ShownEpisode,
    SweepLine,
    chosen_episodes,
    endings,
    method_tallies,
    sweep_lines,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One store as a report page shows it.

    made_at        seconds since 1970
    episodes       in the store; `shown` holds the transcripts of some
    audits         empty where the rows cannot be audited; why_no_audit then says why
    sizes          models and the regression on their size; None where too few state their parameters"""

    store: str
    made_at: float
    sweeps: tuple[SweepLine, ...]
    episodes: int
    scores: tuple[ModelScores, ...]
    audits: tuple[ModelAudit, ...]
    why_no_audit: str | None
    sizes: tuple[tuple[Point, ...], Regression] | None
    tallies: tuple[MethodTally, ...]
    endings: tuple[Cluster, ...]
    shown: tuple[ShownEpisode, ...]


def store_story(
    store: Path,
    *,
    reference: str | None,
    margin: float | None,
    transcript_bytes: int,
    made_at: float,
    left_out: Sequence[str] = (),
) -> Story:
    """Gathers one store.

    reference, margin  None: as the sweep fixed them
    transcript_bytes   of the transcripts to show, at most
    made_at            seconds since 1970
    left_out           methods that are not compared
    raises             AuditError if no episode has ended; StoreError"""
    scores = store_scores(store)
    audits, why_no_audit = _audits(store, reference, margin, left_out)
    with open_to_read(store) as connection:
        clusters = endings(connection)
        examples = [example for cluster in clusters for _, _, example in cluster.methods]
        return Story(
            store=store.name,
            made_at=made_at,
            sweeps=sweep_lines(connection),
            episodes=connection.execute("SELECT count(*) FROM last_episodes").fetchall()[0][0],
            scores=scores,
            audits=audits,
            why_no_audit=why_no_audit,
            sizes=by_size(tuple(rows_of(scores)), _facts(connection)),
            tallies=method_tallies(connection),
            endings=clusters,
            shown=chosen_episodes(connection, bytes_max=transcript_bytes, first=examples),
        )


def _audits(
    store: Path, reference: str | None, margin: float | None, left_out: Sequence[str]
) -> tuple[tuple[ModelAudit, ...], str | None]:
    """Returns the audits, or the reason why there are none: a page needs no audit. A wrong reference is the
    user's mistake and raises."""
    try:
        return store_audit(store, reference=reference, margin=margin, left_out=left_out), None
    except AuditError as error:
        if reference is not None or left_out:
            raise
        return (), str(error).removeprefix(f"{store}: ")


def _facts(connection: Readable) -> list[ModelFacts]:
    rows = connection.execute(
        "SELECT model, parameters FROM models WHERE parameters IS NOT NULL ORDER BY run_id"
    ).fetchall()
    return [
        ModelFacts(model=model, parameters_billions=parameters / 1e9, tokens_trillions=None, guessed=False)
        for model, parameters in dict(rows).items()
    ]

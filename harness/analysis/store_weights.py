"""Hands the scores that a reference's weights gave to stored replies to the audit room."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

import orjson

from harness.analysis.completeness import Counts, player, replicate_of
from harness.audit.weights.token_measures import Place
from harness.audit.weights.weight_audit import AskedSampling, RescoredReply, WeightsFindings, audit_weights
from harness.core.errors import AuditError
from harness.core.vocabulary import split_method_key
from harness.store.file import open_to_read
from harness.store.planned_plays import play_counts
from harness.store.query_server import Readable
from harness.store.reader import AuditChoices, audit_choices
from harness.store.rescore_queries import ScoredRow, references_of_scores, sampling_of_methods, scored_rows

# What a server may be told without a change of the distribution that it samples from. A stop text is not one
# of them: a reply that it cuts can end inside a token, so its text has other tokens than were written.
_OTHER_SAMPLING = ("seed", "tokens_max", "logprobs", "reasoning_effort")


def store_weights(store: Path, reference: str) -> WeightsFindings:
    """Returns what the weights of this reference say of the store's methods.

    raises  AuditError if it has scored nothing, or none of its own replies"""
    with open_to_read(store) as connection:
        counts, choices = play_counts(connection), audit_choices(connection)
        found = weights_findings(connection, counts, choices, reference=reference)
    if not found:
        raise AuditError(
            f"{store}: {reference} has scored none of its own replies that count, so there is no null"
        )
    return found[split_method_key(reference)[0]]


def weights_findings(
    connection: Readable,
    counts: Counts,
    choices: AuditChoices,
    *,
    reference: str | None = None,
    left_out: Container[str] = (),
) -> dict[str, WeightsFindings]:
    """Returns model -> the findings by the reference that scored its replies last.

    counts   of the planned plays: of unfinished sweeps whole look blocks count
    choices  the level and the seed of the audit
    reference   the findings by this one only; None: by each one that has scored
    left_out    methods without a verdict; Holm counts them all the same"""
    asked = {
        method: _asked(sampling, constrained)
        for method, (sampling, constrained) in sampling_of_methods(connection).items()
    }
    # The audit's reference was played again; the reference of the scores can be another method.
    asked |= {replicate_of(method): of_method for method, of_method in asked.items()}
    found: dict[str, WeightsFindings] = {}
    scored = sorted(references_of_scores(connection).items(), key=lambda pair: pair[1])
    for scorer, at in scored if reference is None else [one for one in scored if one[0] == reference]:
        rows = scored_rows(connection, scorer, counts)
        audited = audit_weights(
            map(_reply, rows),
            scorer,
            asked,
            again=replicate_of(scorer),
            rescored_at=at,
            alpha=choices.alpha,
            seed=choices.seed,
            left_out=left_out,
        )
        if audited is not None:
            found[split_method_key(scorer)[0]] = audited
    return found


def _asked(sampling: Mapping[str, object], constrained: bool) -> AskedSampling:
    """Returns the sampling of a method without keys that are null or []: those were not sent, and imports and
    old stores do not have them."""
    temperature = sampling.get("temperature")
    return AskedSampling(
        temperature=float(temperature) if isinstance(temperature, int | float) else None,
        alike={
            name: value
            for name, value in sampling.items()
            if name not in _OTHER_SAMPLING and value not in (None, [])
        }
        | {"constrain": constrained},
    )


def _reply(row: ScoredRow) -> RescoredReply:
    tokens = orjson.loads(row.tokens_json)
    return RescoredReply(
        method=player(row.method, row.arm),
        item=row.item,
        turn=row.turn,
        margins=[token[0] for token in tokens],
        ranks=[token[1] for token in tokens],
        places=[Place(*token[2:]) for token in tokens if len(token) > 2],
        joined=row.joined,
        retokenised=row.reported is not None and row.reported not in (len(tokens), len(tokens) - 1),
    )

"""Computes the findings of one store: hands its columns to the audit room, with the margins that the sweep
fixed before the first call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.analysis.completeness import (
    Counts,
    MethodPlays,
    complete,
    episode_columns,
    method_plays,
    player,
    progress_of,
    replicate_of,
)
from harness.analysis.store_weights import weights_findings
from harness.audit.probes.causes import Attribution, Symptoms, attribute, symptoms_of
from harness.audit.probes.interpret import interpret_probes
from harness.audit.replies.columns import ReplyColumns
from harness.audit.replies.first_token import FirstTokens, compare_all
from harness.audit.replies.reply_audit import ReplyFindings, compare_replies
from harness.audit.scores.arrays import EMPTY, EpisodeColumns, score_array
from harness.audit.scores.clemscore import (
    GameFigures,
    MethodFigures,
    common_support,
    method_figures,
    no_figures,
    summary_figures,
)
from harness.audit.scores.findings import Audit
from harness.audit.scores.interim import with_interim_verdicts
from harness.audit.scores.missing_data import absent_as_failed
from harness.audit.scores.score_audit import audit
from harness.audit.scores.unfinished import MethodProgress, level_of
from harness.audit.weights.weight_audit import WeightsFindings
from harness.core.errors import AuditError
from harness.core.records import ProbeRecord, SummaryRecord
from harness.core.vocabulary import model_of
from harness.store.file import open_to_read
from harness.store.logprob_queries import first_logprobs
from harness.store.planned_plays import play_counts
from harness.store.reader import (
    AuditChoices,
    EpisodeRows,
    ReplyRows,
    StoredPlan,
    audit_choices,
    audit_plans,
    episode_rows,
    looks,
    methods_of_models,
    probes,
    reply_rows,
    stated_weights,
    summaries,
)
from harness.store.reply_ends import kept_replies

ALPHA = 0.05  # of the intervals of score tables


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScores:
    """One model's access methods, and the games of their common support.

    summaries   the methods of which averages were imported, beside or instead of episodes
    weights     access method -> quantisation and mean bits per weight, of those for which they are stated
    plays       of every method, planned ones without an episode included. The figures of an unfinished method
                are of its whole look blocks only; without one it has none
    complete    nothing more of this model is to be played"""

    model: str
    methods: tuple[MethodFigures, ...]
    summaries: tuple[MethodFigures, ...]
    supported_games: tuple[str, ...]
    plays: tuple[MethodPlays, ...] = ()
    complete: bool = True
    weights: Mapping[str, tuple[str | None, float | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanQuote:
    """The plan that a verdict rests on.

    plan_hash   of the newest plan; None where the store has none: the margins were chosen after the data
    made_at     seconds since 1970; before_calls: before the first call of its run
    plans       how many the store has: games, items and methods may be added, margins may not change
    overruled   options of the command that differ from the plan"""

    plan_hash: str | None
    made_at: float | None
    before_calls: bool
    plans: int
    overruled: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAudit:
    """One model's verdicts: on scores, and on replies to identical prompts (None where there were none).

    causes    of every method whose probes by `lightbulb check` are in this store
    first_tokens   of every method with log-probabilities, and of the A/A replicate; no verdict rests on it
    weights   of every method whose replies `lightbulb rescore` has scored; None where it has not
    plays     of every method, by what has become of them; complete: nothing more is to be played. If not,
              both verdicts rest on the look blocks of which both methods have ended every play"""

    model: str
    plan: PlanQuote
    scores: Audit
    replies: ReplyFindings | None
    causes: tuple[Attribution, ...] = ()
    first_tokens: tuple[FirstTokens, ...] = ()
    weights: WeightsFindings | None = None
    plays: tuple[MethodPlays, ...] = ()
    complete: bool = True

    @property
    def differs(self) -> bool:
        """Returns whether a verdict is DIFFERENT or the reference differs from itself, without weights."""
        return self.differs_on(("scores", "replies"))

    def differs_on(self, parts: Iterable[str]) -> bool:
        """Returns whether a verdict of these parts is DIFFERENT or DEVIATES, or its calibration failed.

        parts   of "scores", "replies" and "weights\""""
        calibrated = {
            "scores": self.scores.calibrated,
            "replies": self.replies is None or self.replies.calibrated,
            "weights": self.weights is None or self.weights.calibrated,
        }
        return any(
            not calibrated[part] or {"DIFFERENT", "DEVIATES"}.intersection(self.verdicts_on(part))
            for part in parts
        )

    def verdicts_on(self, part: str) -> list[str]:
        """Returns the verdicts of all methods on "scores", "replies" or "weights"; none if there are none."""
        if part == "scores":
            compared = [one.verdict for one in self.scores.comparisons]
            return [*compared, *(aside.verdict for aside in self.scores.set_aside)]
        if part == "replies":
            across = self.replies.across if self.replies is not None else ()
            return [match.verdict for match in across if match.verdict is not None]
        return [one.verdict for one in self.weights.methods] if self.weights is not None else []

    @property
    def calibrated(self) -> bool:
        return self.scores.calibrated and (self.replies is None or self.replies.calibrated)


def store_scores(store: Path) -> tuple[ModelScores, ...]:
    """Returns the score table of a store, a part for each model."""
    with open_to_read(store) as connection:
        rows = episode_rows(connection)
        counts = play_counts(connection)
        kept = kept_replies(connection)
        models = _methods(methods_of_models(connection), counts)
        averages = summaries(connection)
        weights = stated_weights(connection)
    if not averages and not rows.method:
        raise _nothing_ended(store)
    ended = set(rows.method)
    pairs = ended.difference(*models.values())
    models |= {
        pair: [pair] for pair in sorted(pairs)
    }  # two methods in one episode count as a player of their own
    columns = episode_columns(rows.counted(counts))
    parts = []
    for model, methods in models.items():
        published = _published(averages, methods)
        played = [method for method in methods if method in ended or (method, "main") in counts]
        if played:
            part = _model_scores(model, columns, played, published)
            plays = method_plays(counts, rows, played, kept)
            stated = {method: weights[method] for method in methods if method in weights}
            parts.append(replace(part, plays=plays, complete=complete(plays), weights=stated))
        elif published:
            parts.append(ModelScores(model=model, methods=(), summaries=published, supported_games=()))
    return tuple(parts)


def _methods(stored: Mapping[str, Sequence[str]], counts: Counts) -> dict[str, list[str]]:
    """Returns model -> its access methods: those of stored rows, then those that are planned only."""
    models = {model: list(methods) for model, methods in stored.items()}
    for method, _ in counts:
        known = models.setdefault(model_of(method), [])
        if method not in known:
            known.append(method)
    return models


def _model_scores(
    model: str, columns: EpisodeColumns, methods: Sequence[str], published: tuple[MethodFigures, ...]
) -> ModelScores:
    """Returns the figures of these methods; those without an episode that counts have none."""
    counted = set(columns.method)
    present = [method for method in methods if method in counted]
    array = score_array(columns, present) if present else EMPTY
    support = common_support(array, array.methods)
    return ModelScores(
        model=model,
        methods=tuple(
            method_figures(array, method, support, ALPHA) if method in counted else no_figures(method)
            for method in methods
        ),
        summaries=published,
        supported_games=tuple(game.game for game, inside in zip(array.games, support, strict=True) if inside),
    )


def _published(averages: Sequence[SummaryRecord], methods: Sequence[str]) -> tuple[MethodFigures, ...]:
    return tuple(
        summary_figures(method, [_game(row) for row in averages if row.method == method])
        for method in methods
        if any(row.method == method for row in averages)
    )


def _game(row: SummaryRecord) -> GameFigures:
    return GameFigures(
        game=row.game,
        episodes=None,
        aborted=None,
        unscored=None,
        played=row.played,
        quality=row.quality,
        std=row.quality_std,
    )


def store_audit(
    store: Path, *, reference: str | None, margin: float | None, left_out: Sequence[str] = ()
) -> tuple[ModelAudit, ...]:
    """Returns the audit of every model with more than one access method.

    reference, margin   None: as the sweep fixed them
    left_out   methods that are not compared; Holm counts them all the same
    raises  AuditError if no model has two methods, the reference was not played, a method to leave out is
            unknown, or only averages are known"""
    with open_to_read(store) as connection:
        rows = episode_rows(connection)
        counts = play_counts(connection)
        kept = kept_replies(connection)
        models = _methods(methods_of_models(connection), counts)
        choices = audit_choices(connection)
        replies = reply_rows(connection, counts)
        plans = audit_plans(connection)
        plan = _quoted(plans, choices, reference, margin)
        averages = summaries(connection)
        made = looks(connection) if choices.stop == "early" and reference is None and margin is None else None
        probed = probes(connection)
        weights = weights_findings(connection, counts, choices, left_out=left_out)
        stated = {player(*key): values for key, values in first_logprobs(connection, counts).items()}
    if not rows.method:
        raise _averages_only(store) if averages else _nothing_ended(store)
    _refuse_unknown(store, rows, models, reference, left_out)
    choices = choices if margin is None else replace(choices, margin=margin)
    progress = progress_of(counts, rows)
    planned = {model: name for one in plans for model, name in one.references.items()}
    parts = []
    for model, methods in models.items():
        known = [name for name in methods if name in {*rows.method} or (name, "main") in counts]
        if len(known) < 2:
            continue
        held_against = _held_against(known, reference or choices.reference, planned.get(model))
        scores = _scores(rows, counts, known, held_against, choices, left_out, progress)
        if made is not None:
            scores = with_interim_verdicts(scores, made)
        compared = [name for name in known if name not in left_out]
        found = _replies(replies, held_against, compared, choices, progress, family=len(known) - 1)
        plays = method_plays(counts, rows, known, kept)
        parts.append(
            ModelAudit(
                model=model,
                plan=plan,
                scores=scores,
                replies=found,
                causes=_causes(probed, scores, found),
                weights=weights.get(model),
                first_tokens=compare_all(
                    stated, held_against, [*compared, replicate_of(held_against)], seed=choices.seed
                ),
                plays=plays,
                complete=complete(plays),
            )
        )
    if not parts:
        nothing = f"{store}: nothing to compare: no model in it was played through two access methods"
        raise _averages_only(store) if averages else AuditError(nothing)
    return tuple(parts)


def _held_against(known: Sequence[str], chosen: str | None, planned: str | None) -> str:
    """Returns the reference of a model: the one that was chosen, that was planned, or its first method."""
    return next(name for name in (chosen, planned, known[0]) if name in known and name is not None)


def _refuse_unknown(
    store: Path,
    rows: EpisodeRows,
    models: Mapping[str, Sequence[str]],
    reference: str | None,
    left_out: Sequence[str],
) -> None:
    """Raises AuditError for a reference without episodes, and for methods to leave out that are none."""
    played = set(rows.method)
    if reference is not None and reference not in played:
        raise AuditError(
            f"{store}: no episodes of the reference {reference!r}; "
            f"there are episodes of {', '.join(sorted(played))}"
        )
    known = {name for methods in models.values() for name in methods}
    for name in left_out:
        if name not in known or name == reference:
            others = ", ".join(sorted(known - {reference or ""}))
            raise AuditError(f"{store}: there is no method {name!r} to leave out; there are {others}")


def _scores(
    rows: EpisodeRows,
    counts: Counts,
    methods: Sequence[str],
    reference: str,
    choices: AuditChoices,
    left_out: Sequence[str],
    progress: Mapping[str, MethodProgress],
) -> Audit:
    """Returns the audit of these methods' scores.

    rows      all ended episodes; those that do not count are left out here
    counts    of the planned plays; methods: of one model
    choices   the decisions of the sweep;  left_out: methods that are not compared
    progress  how far each planned method's plays have ended; empty: all have"""
    columns = episode_columns(rows.counted(counts))
    counted = set(columns.method)
    again = replicate_of(reference) if replicate_of(reference) in counted else None
    present = [name for name in (*methods, *([again] if again else [])) if name in counted]
    imported = {name for name in methods if (name, "main") not in counts}
    array = absent_as_failed(score_array(columns, present), imported) if present else EMPTY
    return audit(
        array,
        reference,
        again=again,
        margin=choices.margin,
        margin_played=choices.margin_played,
        margin_game=choices.margin_game,
        alpha=choices.alpha,
        seed=choices.seed,
        planned=methods,
        left_out=left_out,
        progress=progress,
    )


def _causes(
    probed: Sequence[ProbeRecord], scores: Audit, replies: ReplyFindings | None
) -> tuple[Attribution, ...]:
    """Returns the causes of the differences of probed methods, the reference included: the fault may be its
    own."""
    told = {
        match.method: {"DIFFERENT": True, "EQUIVALENT": False}.get(str(match.verdict))
        for match in (replies.across if replies else ())
    }
    symptoms = {one.method: symptoms_of(one, told.get(one.method)) for one in scores.comparisons}
    of_model = [row for row in probed if row.method == scores.reference or row.method in symptoms]
    findings = interpret_probes(of_model, dict.fromkeys(symptoms, scores.reference))
    methods = dict.fromkeys(row.method for row in of_model)
    return tuple(
        attribute(method, findings, of_model, symptoms.get(method, Symptoms())) for method in methods
    )


def _quoted(
    plans: Sequence[StoredPlan], choices: AuditChoices, reference: str | None, margin: float | None
) -> PlanQuote:
    overruled = []
    if margin is not None and margin != choices.margin:
        overruled.append(f"margin {margin:g} instead of {choices.margin:g}")
    if reference is not None and choices.reference is not None and reference != choices.reference:
        overruled.append(f"reference {reference} instead of {choices.reference}")
    last = plans[-1] if plans else None
    return PlanQuote(
        plan_hash=last.plan_hash if last else None,
        made_at=last.made_at if last else None,
        before_calls=last is not None and (last.first_call_at is None or last.made_at <= last.first_call_at),
        plans=len(plans),
        overruled=tuple(overruled),
    )


def _nothing_ended(store: Path) -> AuditError:
    return AuditError(f"{store}: no episode in this store has ended yet")


def _averages_only(store: Path) -> AuditError:
    return AuditError(
        f"{store}: published averages alone do not show whether access methods differ, "
        "because they do not name the items that each method lost; "
        "import the raw.csv or the episode folders of the same results"
    )


def _replies(
    rows: ReplyRows,
    reference: str,
    methods: Sequence[str],
    choices: AuditChoices,
    progress: Mapping[str, MethodProgress],
    *,
    family: int,
) -> ReplyFindings | None:
    """Returns the audit of replies; None where the reference has no reply that counts.

    methods   to compare, the reference included; family: how many Holm counts
    progress  how far each planned method's plays have ended; empty: all have"""
    again = replicate_of(reference)
    named = {number: player(method, arm) for number, (method, arm) in rows.players.items()}
    wanted = {number: name for number, name in named.items() if name in {*methods, again}}
    if not any(name == reference and number in rows.player for number, name in wanted.items()):
        return None
    levels = {
        name: level_of(progress.get(reference), progress.get(name), alpha=choices.alpha) for name in methods
    }
    return compare_replies(
        ReplyColumns(
            method=rows.player,
            item=rows.item,
            turn=rows.turn,
            ask_hash=rows.ask,
            reply=rows.reply,
            size=rows.size,
            ending=rows.ending,
            names=wanted,
            endings=rows.endings,
            texts=rows.texts,
        ),
        reference,
        again=again,
        margin=choices.margin_replies,
        alpha=choices.alpha,
        seed=choices.seed,
        levels={name: (level.difference, level.equivalence) for name, level in levels.items() if level},
        family=family,
    )

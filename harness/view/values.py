"""Turns a store's findings into plain values for the page's script.

Knows findings and their sentences; computes no statistics. Keeps: text of models, providers and users has its
control and direction characters escaped here; the script shows all text as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import sqrt

from harness.analysis.report_data import Story
from harness.analysis.store_audit import ModelAudit, ModelScores
from harness.audit.scores.findings import Comparison, GameFinding
from harness.audit.weights.weight_audit import WeightsFinding, WeightsFindings
from harness.core.vocabulary import game_of_item
from harness.report import plain
from harness.report.completeness import plays_lines
from harness.report.first_tokens import first_tokens_sentence
from harness.report.text import escape_control
from harness.store.report_queries import Cluster, MethodTally, ShownEpisode
from harness.store.view_queries import CommonResult

FURTHEST = 12  # items with the largest differences, of a comparison
Z95 = 1.96
CLUSTERS_MAX = 60  # rows of the table of causes, two screens; the others are counted
METHODS_A_CLUSTER = 6

# Words of the page, each with one sentence; shown where the word stands.
GLOSSARY = {
    "scores": "The verdict on scores: does the method score as the reference does, within the margin?",
    "weights": "The verdict on weights: can the reference's weights have written these replies? It does not speak of their quality.",
    "token margin": "The log-probability of the most likely token minus that of the token in the reply, in nats (natural logarithms).",
    "replies": "The verdict on replies: do they differ from the reference's more than the reference's replies differ from each other?",
    "margin": "The largest difference that does not matter; fixed before the first call.",
    "reference": "The access method that the others are compared with.",
    "clemscore": "The percentage of episodes played, multiplied by the mean score of those episodes, averaged over games.",
    "% played": "Percentage of episodes that were not aborted.",
    "quality": "Mean score, from 0 to 100, of the episodes that were completed.",
    "common": "Clemscore over the games that every method of the model could play, so that methods can be compared.",
    "aborted": "A reply broke the format more often than the game allows, or the game had no end after turns_max turns.",
    "failed": "The provider gave no reply; such an episode has no score.",
    "items": "Tasks of a game; every access method gets the same ones.",
    "interval": "A 95 % interval: chance alone rarely moves the value beyond it.",
    "equal replies": "Pairs of replies to one prompt, one of each method, that are equal character by character.",
    "p50": "Half of the calls were answered within this time.",
    "p95": "19 of 20 calls were answered within this time.",
    "p99": "99 of 100 calls were answered within this time.",
    "retries": "Calls that repeat one that failed.",
    "in flight": "Calls that were sent and not answered yet.",
    "window": "The largest number of calls in flight at once; the gate lowers it when a provider refuses calls.",
    "n": "The number of answered requests that the figures of this line rest on.",
    "TTFT": "Time to first token: from the moment when a request was due to the first chunk of its reply; the mean.",
    "TPOT": "Time per output token: seconds for each token after the first chunk; the mean.",
    "ITL": "Inter-token latency: the gaps between the chunks of the replies, of all requests together.",
    "E2E": "End to end: from the moment when a request was due to the end of its reply; the mean.",
    "goodput": "The share of the requests that kept every bound of the objective. A failed request counts as one that did not.",
    "client CPU": "The share of one processor core that lightbulb itself used.",
    "client delay": "The mean time between the moment when lightbulb should do something and the moment when it does it.",
    "quota": "The requests a minute that the provider, or the sweep file, allows.",
}


def safe(value: object) -> object:
    """Returns the value with every text in it escaped."""
    if isinstance(value, str):
        return escape_control(value)
    if isinstance(value, Mapping):
        return {escape_control(str(key)): safe(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [safe(one) for one in value]
    return value


# --- verdicts -------------------------------------------------------------------------------------------


def verdict_values(audits: Sequence[ModelAudit], why_none: str | None) -> dict[str, object]:
    """Returns the verdicts of all models.

    why_none   the reason why there are none"""
    return {"models": [_model(part) for part in audits], "why_none": why_none, "reading": plain.READING}


def _model(part: ModelAudit) -> dict[str, object]:
    scores, replies = part.scores, part.replies
    compared = {one.method: one for one in scores.comparisons}
    across = {match.method: match for match in replies.across} if replies else {}
    labels = {one.method: one.label for one in scores.comparisons}
    labels |= {aside.method: aside.label for aside in scores.set_aside}
    rows = []
    for summary in plain.summarise_methods(part):
        one, match = compared.get(summary.method), across.get(summary.method)
        rows.append(
            {
                **asdict(summary),
                "scores_label": labels.get(summary.method, summary.scores),
                "replies_label": (match.label or match.verdict) if match is not None else None,
                "points": _points(one) if one is not None else None,
                "games": [_game(game, scores.alpha) for game in one.games] if one is not None else [],
                "furthest": [
                    [_short(item.label), item.reference, item.method] for item in one.furthest[:FURTHEST]
                ]
                if one is not None
                else [],
                "survival": [[point.position, point.within, point.across] for point in match.divergence.curve]
                if match is not None and match.divergence is not None
                else [],
            }
        )
    return {
        "model": part.model,
        "reference": scores.reference,
        "margin": scores.margin,
        "opening": plain.opening(part),
        "alarm": plain.alarm(part),
        "complete": part.complete,
        "plays": plays_lines(part.plays),
        "noise": plain.noise(part),
        "plan": plain.plan(part),
        "rows": rows,
        "causes": [cause.sentence for cause in part.causes if cause.named],
        "weights": _weights(part.weights),
        "evidence": list(_evidence(part)),
    }


def _weights(found: WeightsFindings | None) -> list[dict[str, object]]:
    """Returns a row for each method that the reference's weights scored, its own second run last."""
    if found is None:
        return []
    rows: list[tuple[WeightsFinding, str]] = [(one, one.verdict) for one in found.methods]
    if found.again is not None:
        rows.append((found.again, "its second run"))
    return [
        {
            "method": one.method,
            "verdict": verdict,
            "items": one.items,
            "tokens": one.tokens,
            "value": one.tested,
            "low": one.tested_low,
            "high": one.tested_high,
            "unlike": one.unlike,
            "reference_unlike": one.reference_unlike,
        }
        for one, verdict in rows
    ]


def _points(one: Comparison) -> dict[str, object]:
    points = one.points
    return {"value": points.difference, "low": points.low, "high": points.high, "items": one.items,
            "repeats": one.repeats, "p": one.p_difference}  # fmt: skip


def _game(game: GameFinding, alpha: float) -> dict[str, object]:
    return {
        "game": game.game,
        "items": game.items,
        "value": game.difference,
        "low": game.low,
        "high": game.high,
        "by_format": game.form,
        "by_quality": game.play,
        "played": [game.played_reference, game.played_method],
        "significant": min(_known(game.p_points), _known(game.p_played)) <= alpha,
    }


def _short(item: str) -> str:
    """Returns an item's game, experiment and number, without rules, set and hash."""
    game = game_of_item(item)
    parts = item.removeprefix(game).split(":")
    return f"{game} {':'.join(parts[3:-1])}" if len(parts) >= 6 else item


def _known(p: float | None) -> float:
    return 1.0 if p is None else p


def _evidence(part: ModelAudit) -> Iterator[str]:
    """Yields the sentences with the figures of every test."""
    scores, replies = part.scores, part.replies
    for one in scores.comparisons:
        yield f"{one.method}: {one.sentence}"
    for aside in scores.set_aside:
        yield f"{aside.method}: {aside.sentence}"
    if scores.again:
        yield scores.again.sentence
    if replies:
        yield from (f"{match.method}: {match.sentence}" for match in replies.across)
        if replies.again:
            yield replies.again.sentence
    yield from plain.weights_lines(part.weights)
    yield from (first_tokens_sentence(one, against=scores.reference) for one in part.first_tokens)
    differ = {one.method for one in scores.comparisons if one.verdict == "DIFFERENT"}
    differ |= {match.method for match in replies.across if match.verdict == "DIFFERENT"} if replies else set()
    yield from (cause.sentence for cause in part.causes if cause.method in differ and not cause.named)


# --- scores, calls, causes ------------------------------------------------------------------------------


def score_values(scores: Sequence[ModelScores]) -> list[dict[str, object]]:
    """Returns the score table, a part for each model."""
    return [
        {
            "model": part.model,
            "plays": plays_lines(part.plays),
            "methods": [
                {
                    "method": one.method,
                    "published": one.episodes is None,
                    "value": one.clemscore.value,
                    "low": one.low,
                    "high": one.high,
                    "common": one.supported,
                    "played": one.clemscore.played,
                    "quality": one.clemscore.quality,
                    "episodes": one.episodes,
                    "aborted": one.aborted,
                    "failed": one.failed,
                    "games": [
                        {
                            "game": game.game,
                            "episodes": game.episodes,
                            "aborted": game.aborted,
                            "played": [game.played, game.played_low, game.played_high],
                            "quality": [game.quality, game.quality_low, game.quality_high],
                        }
                        for game in one.games
                    ],
                }
                for one in (*part.methods, *part.summaries)
            ],
        }
        for part in scores
    ]


def common_values(results: Iterable[CommonResult]) -> list[dict[str, object]]:
    """Returns the games with the mean of every method on common items, and its interval over items.

    Where all items score the same, the interval is that of a share of items that score otherwise and were not
    met: 1 - .05 ** (1 / n), the exact bound of none in n."""
    games: dict[tuple[str, str], list[dict[str, object]]] = {}
    for one in results:
        if one.deviation:
            reach = Z95 * one.deviation / sqrt(one.items)
            low, high = one.mean - reach, one.mean + reach
        else:
            unseen = 100.0 * (1.0 - 0.05 ** (1.0 / one.items))
            low, high = one.mean - unseen, one.mean + unseen
        games.setdefault((one.model, one.game), []).append(
            {
                "method": one.method,
                "items": one.items,
                "value": one.mean,
                "low": max(0.0, low),
                "high": min(100.0, high),
            }
        )
    return [{"model": model, "game": game, "methods": rows} for (model, game), rows in games.items()]


def tally_values(tallies: Sequence[MethodTally]) -> list[dict[str, object]]:
    """Returns cost and time of every method's calls."""
    return [
        {
            "method": one.method,
            "calls": one.calls,
            "errors": one.errors,
            "retries": one.retries,
            "prompt_tokens": one.prompt_tokens,
            "completion_tokens": one.completion_tokens,
            "cost_usd": one.cost_usd,
            "busy_s": one.busy_s,
            "queue_s": one.queue_s_mean,
        }
        for one in tallies
    ]


def cause_values(clusters: Sequence[Cluster], embedded: frozenset[str] | None) -> dict[str, object]:
    """Returns the ends other than success and loss, by cause.

    embedded   the episodes whose transcripts the page holds; None: all can be fetched"""
    return {
        "rows": [
            {
                "game": one.game,
                "ended": one.ended,
                "cause": one.cause,
                "count": one.count,
                "methods": [
                    {
                        "method": method,
                        "count": count,
                        "example": example if embedded is None or example in embedded else None,
                    }
                    for method, count, example in one.methods[:METHODS_A_CLUSTER]
                ],
                "more_methods": max(0, len(one.methods) - METHODS_A_CLUSTER),
            }
            for one in clusters[:CLUSTERS_MAX]
        ],
        "more": max(0, len(clusters) - CLUSTERS_MAX),
    }


def size_values(story: Story) -> dict[str, object] | None:
    """Returns models by their parameters, and the line through them; None where too few state these."""
    if story.sizes is None:
        return None
    points, fit = story.sizes
    slope = fit.slopes[0]
    return {
        "points": [[one.model, one.parameters_billions, one.score] for one in points],
        "intercept": fit.intercept,
        "slope": [slope.value, slope.low, slope.high],
        "r2": fit.r2,
    }


# --- transcripts ----------------------------------------------------------------------------------------


def transcript_values(shown: Sequence[ShownEpisode]) -> dict[str, object]:
    """Returns episodes with their transcripts; each text is held once, and messages name its place."""
    places: dict[str, int] = {}

    def place(text: str) -> int:
        return places.setdefault(escape_control(text), len(places))

    episodes = [
        {
            "id": one.episode_id,
            "model": escape_control(one.model),
            "method": escape_control(one.method),
            "game": one.game,
            "item": place(one.item),
            "puzzle": escape_control(one.puzzle),
            "repeat": one.repeat,
            "arm": one.arm,
            "ended": one.ended,
            "score": one.score,
            "reason": escape_control(one.reason),
            "turns": [
                [
                    turn.seat,
                    [
                        [message.role, place(message.text)]
                        for message in turn.added
                        if message.role != "assistant"
                    ],
                    place(turn.reply),
                    turn.violation and escape_control(turn.violation),
                ]
                for turn in one.turns
            ],
        }
        for one in shown
    ]
    return {"texts": list(places), "episodes": episodes}

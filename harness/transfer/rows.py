"""Makes the rows of a store from published results.

Knows what a row claims, and what a published result leaves open: its server is not known, its times may be
missing (then 0), and each episode was played once."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from harness.core.history import SeatHistory
from harness.core.records import CallRecord, EpisodeRecord, MethodRecord, Record, SummaryRecord, TurnRecord
from harness.core.vocabulary import EpisodePlan, Instance, Requests
from harness.transfer.published import Pair, PublishedEpisode, PublishedFigures, ResultPlace

INSTANCE_SET = "clembench-results"


def method_row(pair: Pair, *, run_id: str, model: str) -> MethodRecord:
    """Returns a pair as an access method; its server was not published."""
    return MethodRecord(
        run_id=run_id,
        method=pair.method,
        model=model,
        provider="clembench",
        dialect="published",
        base_url="",
        served_model=pair.method,
        sampling_json=orjson.dumps({"temperature": pair.temperature, "top_p": None, "seed": None}).decode(),
        constrain=False,
        concurrency=1,
        engine_json=None,
    )


def episode_rows(
    episode: PublishedEpisode, *, run_id: str, model: str, content_hash: str, attempt: int
) -> Iterator[Record]:
    """Yields the episode's calls and turns, if it has a transcript, then its own row.

    content_hash   of its item
    attempt        0, or the next after the attempts that the store holds"""
    plan = _plan(episode.place, content_hash)
    place, outcome, exchanges = episode.place, episode.outcome, episode.exchanges
    requests = outcome.requests if outcome else Requests()
    yield from transcript_rows(episode, run_id=run_id, content_hash=content_hash, attempt=attempt)
    yield EpisodeRecord(
        episode_id=plan.episode_id,
        attempt=attempt,
        run_id=run_id,
        key=plan.key,
        game=place.game,
        rules=place.rules,
        instance_set=INSTANCE_SET,
        experiment=place.experiment,
        instance=place.instance,
        content_hash=content_hash,
        method=place.pair.method,
        model=model,
        seating="+".join(place.pair.players),
        arm=plan.arm,
        batch=plan.batch,
        repeat=plan.repeat,
        status="finished" if outcome else "failed",
        outcome=outcome.state if outcome else None,
        score=outcome.score if outcome else None,
        reason=outcome.reason if outcome else episode.failure,
        requests=requests.total,
        parsed=requests.parsed,
        violated=requests.violated,
        metrics_json=orjson.dumps(dict(outcome.metrics) if outcome else {}).decode(),
        turns=len(exchanges),
        started_at=exchanges[0].sent_at if exchanges else 0.0,
        finished_at=exchanges[-1].sent_at + exchanges[-1].latency_s if exchanges else 0.0,
    )


def transcript_rows(
    episode: PublishedEpisode, *, run_id: str, content_hash: str, attempt: int
) -> Iterator[CallRecord | TurnRecord]:
    """Yields the calls and turns of the episode's transcript; see episode_rows."""
    episode_id = _plan(episode.place, content_hash).episode_id
    histories: dict[str, SeatHistory] = {}
    for number, exchange in enumerate(episode.exchanges):
        history = histories.setdefault(exchange.seat, SeatHistory())
        kept = history.advance(exchange.messages)
        method = _player(episode.place, exchange.seat)
        yield CallRecord(
            episode_id=episode_id,
            attempt=attempt,
            turn=number,
            try_number=0,
            run_id=run_id,
            method=method,
            ask_hash=history.ask_hash,
            reply=exchange.reply,
            finish_reason=exchange.finish_reason,
            prompt_tokens=exchange.prompt_tokens,
            completion_tokens=exchange.completion_tokens,
            served_model=exchange.served_model,
            request_id=None,
            http_status=None,
            error_class=None,
            error_text=None,
            queue_s=0.0,
            latency_s=exchange.latency_s,
            sent_at=exchange.sent_at,
        )
        added = [{"role": message.role, "text": message.text} for message in exchange.messages[kept:]]
        yield TurnRecord(
            episode_id=episode_id,
            attempt=attempt,
            turn=number,
            seat=exchange.seat,
            method=method,
            ask_hash=history.ask_hash,
            history_kept=kept,
            added_json=orjson.dumps(added).decode(),
            violation=exchange.violation,
        )


def _plan(place: ResultPlace, content_hash: str) -> EpisodePlan:
    instance = Instance(
        game=place.game,
        set_name=INSTANCE_SET,
        experiment=place.experiment,
        id=place.instance,
        fields={},
        content_hash=content_hash,
    )
    return EpisodePlan(instance=instance, rules=place.rules, seating=place.pair.players)


def _player(place: ResultPlace, seat: str) -> str:
    """Returns the seat's player: "Player 2" is the pair's second, any other seat its first."""
    return place.pair.players[-1] if seat == "Player 2" else place.pair.players[0]


def summary_row(figures: PublishedFigures, *, run_id: str, model: str) -> SummaryRecord:
    return SummaryRecord(
        run_id=run_id,
        method=figures.pair.method,
        model=model,
        game=figures.game,
        played=figures.played,
        quality=figures.quality,
        quality_std=figures.quality_std,
    )

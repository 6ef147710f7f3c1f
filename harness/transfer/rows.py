"""Published results as rows of a store.

Knows what a row claims, and so what a published result leaves open: it was not served by us, its stamps may be missing (then 0), and
each episode was played once."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from harness.core.history import SeatHistory
from harness.core.records import CallRecord, EpisodeRecord, MethodRecord, Record, SummaryRecord, TurnRecord
from harness.core.vocabulary import EpisodePlan, Instance
from harness.transfer.clembench_results import Pair, PublishedEpisode, PublishedFigures, ResultPlace
from harness.transfer.clembench_transcripts import Exchange

INSTANCE_SET = "clembench-results"


def method_row(pair: Pair, *, run_id: str, model: str) -> MethodRecord:
    """A pair as an access method; where it was reached is not published."""
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


def episode_rows(episode: PublishedEpisode, *, run_id: str, model: str) -> Iterator[Record]:
    """The episode's calls and turns, where it has a transcript, then its own row."""
    place = episode.place
    plan = EpisodePlan(
        instance=Instance(
            game=place.game,
            set_name=INSTANCE_SET,
            experiment=place.experiment,
            id=place.instance,
            fields={},
            content_hash=episode.content_hash,
        ),
        rules=place.rules,
        seating=place.pair.players,
    )
    yield from _turns(episode, plan.episode_id, run_id)
    outcome, said = episode.outcome, episode.exchanges
    yield EpisodeRecord(
        episode_id=plan.episode_id,
        attempt=0,
        run_id=run_id,
        key=plan.key,
        game=place.game,
        rules=place.rules,
        instance_set=INSTANCE_SET,
        experiment=place.experiment,
        instance=place.instance,
        content_hash=episode.content_hash,
        method=place.pair.method,
        model=model,
        seating="+".join(place.pair.players),
        arm=plan.arm,
        batch=plan.batch,
        repeat=plan.repeat,
        status="finished",
        outcome=outcome.state,
        score=outcome.score,
        reason=outcome.reason,
        requests=outcome.requests.total,
        parsed=outcome.requests.parsed,
        violated=outcome.requests.violated,
        metrics_json=orjson.dumps(dict(outcome.metrics)).decode(),
        turns=len(said),
        started_at=said[0].sent_at if said else 0.0,
        finished_at=said[-1].sent_at + said[-1].latency_s if said else 0.0,
    )


def _turns(episode: PublishedEpisode, episode_id: str, run_id: str) -> Iterator[CallRecord | TurnRecord]:
    histories: dict[str, SeatHistory] = {}
    for number, said in enumerate(episode.exchanges):
        history = histories.setdefault(said.seat, SeatHistory())
        kept = history.advance(said.messages)
        method = _player(episode.place, said.seat)
        yield CallRecord(
            episode_id=episode_id,
            attempt=0,
            turn=number,
            try_number=0,
            run_id=run_id,
            method=method,
            ask_hash=history.ask_hash,
            reply=said.reply,
            finish_reason=said.finish_reason,
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            served_model=said.served_model,
            request_id=None,
            http_status=None,
            error_class=None,
            error_text=None,
            queue_s=0.0,
            latency_s=said.latency_s,
            sent_at=said.sent_at,
        )
        yield _turn_row(said, episode_id, number, method, history.ask_hash, kept)


def _turn_row(
    said: Exchange, episode_id: str, number: int, method: str, ask_hash: str, kept: int
) -> TurnRecord:
    added = [{"role": message.role, "text": message.text} for message in said.messages[kept:]]
    return TurnRecord(
        episode_id=episode_id,
        attempt=0,
        turn=number,
        seat=said.seat,
        method=method,
        ask_hash=ask_hash,
        history_kept=kept,
        added_json=orjson.dumps(added).decode(),
        violation=said.violation,
    )


def _player(place: ResultPlace, seat: str) -> str:
    """Who sits there: "Player 2" is the pair's second, anyone else its first."""
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

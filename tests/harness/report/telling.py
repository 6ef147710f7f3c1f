"""A small store with known rows: two access methods play the same puzzles, and one of them writes hostile
text."""

from __future__ import annotations

import json
from pathlib import Path

from harness.core.records import (
    CallRecord,
    EpisodeRecord,
    MethodRecord,
    ModelRecord,
    Record,
    SweepRecord,
    TurnRecord,
)
from harness.core.vocabulary import digest
from harness.store.file import open_to_write
from harness.store.writer import write_batch

ITEMS, REPEATS = 4, 2
PREFIX = "the clue lacks its prefix"
HOSTILE = (
    "</script><script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<!-- <script> & \u2028 \x1b[31m \u202etxt {{ 7 * 7 }}",
    "</textarea></style><iframe src=https://example.com></iframe>",
)


def telling_store(path: Path, *, methods: tuple[str, ...] = ("m/here", "m/<b>there</b>")) -> Path:
    """Makes a store in which the second method's replies differ from the first's in one character; one in
    four of its episodes aborts."""
    rows: list[Record] = [
        SweepRecord(
            run_id="0001",
            name="told <i>",
            spec_json=json.dumps({"audit": {"reference": None, "margin": 3.0, "alpha": 0.05}, "seed": 0}),
            spec_hash="h",
            seed=0,
            version="0",
            started_at=1.7e9,
        ),
        ModelRecord(run_id="0001", model="m", parameters=1e9),
    ]
    rows += [_method(name) for name in methods]
    for place, method in enumerate(methods):
        for item in range(ITEMS):
            for repeat in range(REPEATS):
                rows += _episode(method, item, repeat, second=place > 0)
    with open_to_write(path) as connection:
        write_batch(connection, path, rows)
    return path


def _method(name: str) -> MethodRecord:
    return MethodRecord(
        run_id="0001",
        method=name,
        model="m",
        provider="p",
        dialect="openai_chat",
        base_url="http://127.0.0.1:1/v1",
        served_model="m",
        sampling_json="{}",
        constrain=False,
        concurrency=1,
        engine_json=None,
    )


def _episode(method: str, item: int, repeat: int, *, second: bool) -> list[Record]:
    episode_id = digest(method, str(item), str(repeat), bytes_of_digest=8)
    aborted = second and item == 0
    replies = ["CLUE: round 🎈 thing", f"GUESS: {HOSTILE[item]}" if second else "GUESS: a plain word"]
    if second:
        replies[0] = "CLUE: round 🎈 thin."
    rows: list[Record] = []
    for turn, reply in enumerate(replies):
        shared = {
            "episode_id": episode_id,
            "attempt": 0,
            "turn": turn,
            "method": method,
            "ask_hash": f"{item}-{turn}",
        }
        rows.append(_call(shared, reply, repeat))
        asked = [{"role": "user", "text": f"Puzzle {item}, turn {turn}: {HOSTILE[item]}"}]
        rows.append(
            TurnRecord(
                **shared,  # type: ignore[arg-type]
                seat=("describer", "guesser")[turn],
                history_kept=0,
                added_json=json.dumps(asked),
                violation=PREFIX if aborted and turn else None,
            )
        )
    rows.append(
        EpisodeRecord(
            episode_id=episode_id,
            attempt=0,
            run_id="0001",
            key=f"taboo:{item}|{method}|{repeat}",
            game="taboo",
            rules="v1.6",
            instance_set="own",
            experiment="high",
            instance=str(item),
            content_hash=str(item),
            method=method,
            model="m",
            seating=f"{method}+{method}",
            arm="main",
            batch=repeat,
            repeat=repeat,
            status="finished",
            outcome="aborted" if aborted else "success",
            score=None if aborted else 100.0,
            reason=PREFIX if aborted else "word guessed",
            requests=2,
            parsed=1 if aborted else 2,
            violated=1 if aborted else 0,
            metrics_json="{}",
            turns=2,
            started_at=1.7e9,
            finished_at=1.7e9 + 2,
        )
    )
    return rows


def _call(shared: dict[str, object], reply: str, repeat: int) -> CallRecord:
    return CallRecord(
        **shared,  # type: ignore[arg-type]
        try_number=0,
        run_id="0001",
        reply=reply,
        finish_reason="stop",
        prompt_tokens=10,
        completion_tokens=5,
        served_model="m",
        request_id=None,
        http_status=200,
        error_class=None,
        error_text=None,
        queue_s=0.01,
        latency_s=0.5 + repeat,
        sent_at=1.7e9 + repeat,
    )

"""Self-consistency: the games, fed the replies a store holds, agree with what the store says of them."""

from __future__ import annotations

from pathlib import Path

import duckdb

from games import GAMES
from games.playthrough import replay
from harness.core.history import SeatHistory
from harness.core.vocabulary import EpisodePlan, Instance, Outcome


def disagreements(store: Path) -> list[str]:
    """Returns a line for each disagreement; empty if there is none."""
    puzzles: dict[str, Instance] = {}
    for game in GAMES.values():
        for rules in game.rule_sets:
            for one in game.instances():
                puzzles[EpisodePlan(instance=one, rules=rules, seating=()).item] = one
    with duckdb.connect(str(store), read_only=True) as connection:
        episodes = connection.execute(
            "SELECT episode_id, split_part(key, '|', 1), game, rules, outcome, score, reason, requests, parsed, violated, turns"
            " FROM last_episodes WHERE status = 'finished'"
        ).fetchall()
        turns = connection.execute(
            "SELECT episode_id, ask_hash, reply, violation FROM transcripts ORDER BY episode_id, turn"
        ).fetchall()
    replies: dict[str, list[tuple[str, str, str | None]]] = {}
    for episode_id, ask_hash, reply, violation in turns:
        replies.setdefault(episode_id, []).append((ask_hash, reply, violation))
    assert episodes
    wrong = []
    for episode_id, item, name, rules, *stored in episodes:
        hashes, outcome, parses = replayed(
            name, rules, puzzles[item], [reply for _, reply, _ in replies[episode_id]]
        )
        again = [
            outcome.state,
            outcome.score,
            outcome.reason,
            outcome.requests.total,
            outcome.requests.parsed,
            outcome.requests.violated,
            len(hashes),
        ]
        if again != stored:
            wrong.append(f"{episode_id}: stored {stored}, replayed {again}")
        if hashes != [ask_hash for ask_hash, _, _ in replies[episode_id]]:
            wrong.append(f"{episode_id}: asks differ")
        if parses != [violation for _, _, violation in replies[episode_id]]:
            wrong.append(f"{episode_id}: parses differ")
    return wrong


def replayed(
    game: str, rules: str, instance: Instance, replies: list[str]
) -> tuple[list[str], Outcome, list[str | None]]:
    """The asks' hashes, the outcome, and the word on each reply."""
    transcript = replay(GAMES[game].play(instance, rules), (reply.strip() for reply in replies))
    assert transcript.outcome is not None, "the stored replies do not end the episode"
    histories = {seat: SeatHistory() for seat in GAMES[game].seats}
    hashes = []
    for ask in transcript.asks:
        histories[ask.seat].advance(ask.messages)
        hashes.append(histories[ask.seat].ask_hash)
    parses = [
        *(ask.last_parse.violation for ask in transcript.asks[1:]),
        transcript.outcome.last_parse.violation,
    ]
    return hashes, transcript.outcome, parses

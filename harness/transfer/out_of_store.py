"""Exports a store: tables as Parquet or CSV, clembench results, a folder for the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from harness.core.errors import SpecError
from harness.core.vocabulary import Message
from harness.store.export import FileFormat, copy_tables
from harness.store.file import open_to_read
from harness.store.query_server import Readable
from harness.transfer.clembench_export import ExportedEpisode, file_name, write_episode
from harness.transfer.clembench_transcripts import Exchange

PUBLISHED = ("scores", "transcripts", "episodes", "calls", "methods", "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClembenchEnd:
    """The result of an export, with the counts of what clembench's results have no place for.

    folders   one for each repeat, with one play of every instance
    failed    failed episodes
    again     episodes of A/A replicates"""

    folders: tuple[Path, ...]
    episodes: int
    failed: int
    again: int


def export_tables(store: Path, folder: Path, form: FileFormat) -> dict[str, int]:
    """Writes one file for each table; returns the rows of each.

    raises  SpecError if the folder is not empty"""
    _empty_folder(folder, store)
    return copy_tables(store, folder, form)


def export_clembench(store: Path, folder: Path, *, seats: Mapping[str, Sequence[str]]) -> ClembenchEnd:
    """Writes the finished episodes of the main arm.

    seats   of each game, in order
    raises  SpecError if the folder is not empty, or two methods would have one folder in it"""
    _refuse_shared_folders(store)
    _empty_folder(folder, store)
    with open_to_read(store) as connection:
        plays = connection.execute(
            "SELECT DISTINCT repeat, method FROM last_episodes WHERE status = 'finished' AND arm = 'main'"
            " ORDER BY ALL"
        ).fetchall()
        repeats = dict.fromkeys(repeat for repeat, _ in plays)
        folders = {repeat: folder if len(repeats) == 1 else folder / f"repeat-{repeat}" for repeat in repeats}
        ((failed, again),) = connection.execute(
            "SELECT count(*) FILTER (status = 'failed'),"
            " count(*) FILTER (status = 'finished' AND arm <> 'main') FROM last_episodes"
        ).fetchall()
        episodes = 0
        for repeat, method in plays:
            for episode in _episodes(connection, method, repeat):
                write_episode(folders[repeat], episode, seats.get(episode.game, ()))
                episodes += 1
    return ClembenchEnd(folders=tuple(folders.values()), episodes=episodes, failed=failed, again=again)


def export_hub(store: Path, folder: Path) -> dict[str, int]:
    """Writes Parquet files and the card that describes them; nothing is uploaded.

    raises  SpecError if the folder is not empty"""
    _empty_folder(folder, store)
    (folder / "data").mkdir()
    rows = copy_tables(store, folder / "data", "parquet", names=PUBLISHED)
    with open_to_read(store) as connection:
        (folder / "README.md").write_text(_card(connection, store.stem, rows), "utf-8")
    return rows


def _empty_folder(folder: Path, store: Path) -> None:
    """Makes the folder, once the store is known to be one: an export that fails leaves nothing behind."""
    with open_to_read(store):
        pass
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = any(folder.iterdir())
    except OSError as error:
        raise SpecError(f"{folder}: cannot be written to ({error.strerror}); name another folder") from error
    if held:
        raise SpecError(f"{folder}: is not empty; name a new folder")


def _refuse_shared_folders(store: Path) -> None:
    """raises  SpecError if two methods of the store would be written into one folder"""
    with open_to_read(store) as connection:
        methods = connection.execute("SELECT DISTINCT method FROM last_episodes ORDER BY ALL").fetchall()
    named: dict[str, str] = {}
    for (method,) in methods:
        if (other := named.setdefault(file_name(method), method)) != method:
            raise SpecError(
                f"{store}: the folders of {other} and {method} would have one name, {file_name(method)}; export"
                " stores that have only one of them"
            )


# --- clembench ----------------------------------------------------------------------------------------------


def _episodes(connection: Readable, method: str, repeat: int) -> Iterator[ExportedEpisode]:
    """Yields one method's plays of one repeat, each with its turns."""
    turns = _turns(connection, method, repeat)
    for episode_id, game, rules, experiment, index, instance, seating, *end in connection.execute(
        """
        SELECT episode_id, game, rules, experiment, place, instance, seating, outcome, score, requests, parsed,
               violated, metrics_json
        FROM last_episodes JOIN (
            SELECT game, experiment, row_number() OVER (PARTITION BY game ORDER BY experiment) - 1 AS place
            FROM (SELECT DISTINCT game, experiment FROM episodes)) USING (game, experiment)
        WHERE method = ? AND repeat = ? AND arm = 'main' AND status = 'finished'
        ORDER BY game, experiment, instance""",
        [method, repeat],
    ).fetchall():
        outcome, score, requests, parsed, violated, metrics = end
        yield ExportedEpisode(
            game=game,
            rules=rules,
            experiment=experiment,
            experiment_index=index,
            instance=_number(instance, game),
            seating=tuple(dict.fromkeys(seating.split("+"))),
            outcome=outcome,
            score=score,
            requests=requests,
            parsed=parsed,
            violated=violated,
            metrics={name: value for name, value in json.loads(metrics).items() if value is not None},
            turns=tuple(turns.pop(episode_id, ())),
        )


def _turns(connection: Readable, method: str, repeat: int) -> dict[str, list[Exchange]]:
    """Returns episode id -> its turns, with whole prompts."""
    turns: dict[str, list[Exchange]] = {}
    histories: dict[tuple[str, str], tuple[Message, ...]] = {}
    for episode_id, seat, kept, added, reply, violation, *usage in connection.execute(
        """
        SELECT episode_id, seat, history_kept, added_json, transcripts.reply, violation,
               transcripts.finish_reason, transcripts.prompt_tokens, transcripts.completion_tokens, served_model, sent_at,
               transcripts.latency_s
        FROM transcripts JOIN last_episodes USING (episode_id, attempt)
            JOIN calls USING (episode_id, attempt, turn)
        WHERE last_episodes.method = ? AND repeat = ? AND arm = 'main' AND status = 'finished'
            AND calls.error_class IS NULL
        ORDER BY episode_id, turn""",
        [method, repeat],
    ).fetchall():
        finish_reason, prompt_tokens, completion_tokens, served_model, sent_at, latency_s = usage
        messages = histories.get((episode_id, seat), ())[:kept] + tuple(
            Message(entry["role"], entry["text"]) for entry in orjson.loads(added)
        )
        histories[episode_id, seat] = messages
        turns.setdefault(episode_id, []).append(
            Exchange(
                seat=seat,
                messages=messages,
                reply=reply,
                violation=violation,
                finish_reason=finish_reason,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                served_model=served_model,
                sent_at=sent_at,
                latency_s=latency_s,
            )
        )
    return turns


def _number(instance: str, game: str) -> str:
    if not (instance.isascii() and instance.isdigit()):
        raise SpecError(
            f"{game}: the instance {instance!r} is not a number, and clembench numbers episodes; export as"
            " parquet or csv"
        )
    return instance


# --- the hub ------------------------------------------------------------------------------------------------

_CARD = """\
---
pretty_name: {title}
task_categories:
- text-generation
tags:
- lightbulb
- clembench
- evaluation
configs:
{configs}
---

# {name}

Conversational games that language models played through several access methods, recorded by lightbulb. One row
of `scores` is one finished episode; `transcripts` has its turns (join on `episode_id` and `attempt`), `calls`
every request with its tokens and times, `episodes` also the failed plays.

{counts}

An outcome is success, lost, aborted (a reply in the wrong format) or unscored; a score is in [0, 100]. An
episode that failed because of its provider has no outcome and no score.

| access method | model | provider | served as | sampling |
|---|---|---|---|---|
{methods}

Before you publish: choose a licence, and check that the providers' terms allow you to publish replies of their
models.
"""


def _card(connection: Readable, name: str, rows: Mapping[str, int]) -> str:
    methods = connection.execute("""
        SELECT method, model, provider, served_model, sampling_json FROM methods
        QUALIFY run_id = max(run_id) OVER (PARTITION BY method) ORDER BY model, method""").fetchall()
    return _CARD.format(
        title=json.dumps(name),
        name=_cell(name),
        configs="\n".join(f"- config_name: {table}\n  data_files: data/{table}.parquet" for table in rows),
        counts=", ".join(f"{count:,} {table}" for table, count in rows.items()) + ".",
        methods="\n".join(f"| {' | '.join(map(_cell, row))} |" for row in methods),
    )


def _cell(text: str) -> str:
    """Returns the text as one cell of a Markdown table, with special characters escaped."""
    special = r"\`*_{}[]<>#|"
    return "".join(f"\\{char}" if char in special else char for char in text.replace("\n", " "))

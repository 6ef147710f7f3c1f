"""Writes results in the form in which clembench published them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

NAN = float("nan")


def metrics(score: float | None, **more: float) -> dict[str, float]:
    """Returns the episode scores of a played episode; None: of an aborted one."""
    aborted = score is None
    main = NAN if score is None else score
    return {
        "Aborted": int(aborted),
        "Main Score": main,
        "Success": int(main == 100),
        "Lose": int(not aborted and main != 100),
        "Request Count": 3,
        "Parsed Request Count": 3 - aborted,
        "Violated Request Count": int(aborted),
        **more,
    }


def write_episode(
    root: Path, place: str, scores: Mapping[str, float] | None, *, instance: object = None, **files: object
) -> Path:
    """Writes one episode's folder and returns it.

    root       the folder of results
    place      pair/game/experiment/episode
    scores     None: no scores.json
    instance   None: no instance.json
    files      name without .json, with __ for a dot -> value"""
    folder = root / place
    folder.mkdir(parents=True)
    if instance is not None:
        (folder / "instance.json").write_text(json.dumps(instance))
    if scores is not None:
        (folder / "scores.json").write_text(
            json.dumps({"turn scores": {"0": {"Accuracy": 0}}, "episode scores": scores})
        )
    for name, value in files.items():
        (folder / f"{name.replace('__', '.')}.json").write_text(json.dumps(value))
    return folder


def write_raw(path: Path, episodes: Iterable[tuple[str, Mapping[str, float]]]) -> Path:
    """Writes a raw.csv as clembench does: an unnamed index first, the derived metric of all episodes last."""
    rows: list[Sequence[object]] = []
    derived: list[Sequence[object]] = []
    for place, scores in episodes:
        pair, game, experiment, episode = place.split("/")
        rows += [
            (game, pair, experiment, episode, name, "" if value != value else value)
            for name, value in scores.items()
        ]
        derived.append((game, pair, experiment, episode, "Played", 1 - scores["Aborted"]))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "game", "model", "experiment", "episode", "metric", "value"])
        writer.writerows([index, *row] for index, row in enumerate([*rows, *derived]))
    return path


def write_results(path: Path, games: Sequence[str], rows: Iterable[tuple[str, Mapping[str, str]]]) -> Path:
    """Writes a results.csv.

    rows   (pair, column -> text), for the three totals and "<game>_played", "<game>_quality", "<game>_std",
           by name"""
    totals = {
        "-, clemscore": "clemscore",
        "all, Average % Played": "avg_played",
        "all, Average Quality Score": "avg_quality",
    }
    kinds = {"% Played": "played", "Quality Score": "quality", "Quality Score (std)": "std"}
    columns = {
        **totals,
        **{f"{game}, {words}": f"{game}_{kind}" for game in games for words, kind in kinds.items()},
    }
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *columns])
        writer.writerows([pair, *(figures[key] for key in columns.values())] for pair, figures in rows)
    return path


def chat_call(stamp: str, prompt: Sequence[tuple[str, str]], reply: str) -> dict[str, object]:
    """Returns one entry of a requests file, as an OpenAI-like backend of clembench wrote it."""
    return {
        "timestamp": stamp,
        "manipulated_prompt_obj": [{"role": role, "content": text} for role, text in prompt],
        "raw_response_obj": {
            "model": "served",
            "choices": [{"message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2},
            "clem_player": {
                "call_start": "2024-05-30 10:00:00",
                "call_duration": "0:00:01.500000",
                "response": reply,
                "model_name": "x",
            },
        },
    }


def event(stamp: str, sender: str, receiver: str, kind: str, content: str = "") -> dict[str, object]:
    return {"from": sender, "to": receiver, "timestamp": stamp, "action": {"type": kind, "content": content}}

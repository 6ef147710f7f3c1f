"""Plays clembench's games by clemcore's own loop, with replies from a function of ours: the judge of our way.

Run by bench/foreign_games.py with the Python of clem's environment: python -P -s clem_own_loop.py CLEM_CHILD.
One line of JSON on standard input is one job: an opening of clembench_games.py, "seed" and "reply_seed". A
line of the output is {"prompts", "scores"}, or {"error"} where the loop left no episode behind.

`reply_to` is imported by the other side too: a reply depends on the seed and the messages alone."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import random
import re
import sys
import tempfile
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

# The forms of replies of a game's first seat, and of its second
GO = ["GO: north", "GO: south", "GO: east", "GO: west"]
GRAPH = '"graph": {{"nodes": ["{word}"], "edges": {{"north": [], "south": [], "east": [], "west": []}}}}'
FORMATS: dict[str, tuple[list[str], ...]] = {
    "adventuregame": (
        ["> {verb} {word}", "> go {word}", "> done", "> {verb} {word}\nNext actions: look, take {word}"],
    ),
    "guesswhat": (
        [
            "QUESTION: Does the target word contain the letter {letter}?",
            "QUESTION: Is it a {word}?",
            "GUESS: {word}",
        ],
        ["ANSWER: yes", "ANSWER: no"],
    ),
    "imagegame": (["Command: put {letter} into {word}"] * 3 + ["Command: DONE"], ["{grid}"]),
    "matchit_ascii": (
        ["DESCRIPTION: {word} {word}", "QUESTION: is there {word}?", "ANSWER: {word}", "DECISION: same grid"],
        [
            "DESCRIPTION: {word} {word}",
            "QUESTION: is there {word}?",
            "ANSWER: {word}",
            "DECISION: different grids",
        ],
    ),
    "referencegame": (["Expression: {word} {word}"], ["Answer: first", "Answer: second", "Answer: third"]),
    "taboo": (["CLUE: {word}", "CLUE: {odd}"], ["GUESS: {word}", "GUESS: {odd}"]),
    "textmapworld": ([*GO * 3, "DONE"],),
    "textmapworld_specificroom": ([*GO * 2, "DONE"],),
    "textmapworld_graphreasoning": ([f'{{{{"action":"{go}",{GRAPH}}}}}' for go in GO] * 2 + ["DONE"],),
    "wordle": (["explanation: {word}\nguess: {five}"],),
    "wordle_withclue": (["explanation: {word}\nguess: {five}"],),
    "wordle_withcritic": (
        ["explanation: {word}\nguess: {five}"],
        ["explanation: {word}\nagreement: yes", "explanation: {word}\nagreement: no"],
    ),
}
ANY = ["{word}", "A", "B", "(A)", "yes", "no", "7", "{word} {word} {word}", "the answer is {word}"]
ODD = ["", "\u00e9\u4e2d", "hm", "{}", "%s", "\\", "CLUE:", "guess:", "DONE.", "x" * 200]
FIVE = ["apple", "crane", "start", "mouse", "light", "zzzzz", "toolong", "house", "plant"]


def reply_to(game: str, seat: str, messages: list[list[str]], seed: int) -> str:
    """Returns a reply: mostly in a format of the game, with words of the prompt; sometimes something odd."""
    key = json.dumps([seed, messages]).encode()
    chance = Random(int.from_bytes(blake2b(key, digest_size=8).digest(), "big"))
    if chance.random() < 0.04:
        return chance.choice(ODD)
    words = re.findall(r"[A-Za-z]{3,12}", messages[-1][1])[-60:] or ["word"]
    tags = re.findall(r"^([A-Za-z]{3,14}:)", messages[-1][1], re.MULTILINE)
    forms = FORMATS.get(game)
    if tags and chance.random() < (0.05 if forms else 0.4):
        return f"{chance.choice(tags)} {chance.choice(words)}"
    form = chance.choice(ANY if forms is None else forms[min(len(forms), int(seat[-1])) - 1])
    grid = "\n".join(" ".join(chance.choice("\u25a2\u25a2XW") for _ in range(5)) for _ in range(5))
    drawn = {
        "letter": chance.choice("abcdWX"),
        "grid": grid,
        "odd": "unrelated",
        "verb": chance.choice(["open", "take", "put", "look", "go"]),
    }
    text = form.format(word="{word}", five="{five}", **drawn)
    return text.replace("{word}", chance.choice(words)).replace("{five}", chance.choice(FIVE))


def main(child_file: str) -> None:
    output = os.dup(1)
    os.dup2(2, 1)
    spec = importlib.util.spec_from_file_location("clem_child", child_file)
    assert spec is not None
    assert spec.loader is not None
    child = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(child)  # its tolerances hold for both loops
    import numpy
    from clemcore.clemgame import GameBenchmarkCallbackList, GameInstances
    from clemcore.clemgame.callbacks.files import InteractionsFileSaver, ResultsFolder
    from clemcore.clemgame.runners import sequential

    logging.disable(logging.CRITICAL)

    class Scripted(child.SeatModel):  # type: ignore[misc, name-defined]
        def __init__(self, seat: str, game: str, reply_seed: int, prompts: list[Any]) -> None:
            super().__init__(seat)
            self.game, self.reply_seed, self.prompts = game, reply_seed, prompts

        def generate_response(self, messages: list[dict[str, Any]]) -> Any:
            texts = [[message["role"], message["content"]] for message in messages]
            self.prompts.append([self.seat, texts])
            reply = reply_to(self.game, self.seat, texts, self.reply_seed).strip()
            return messages, {}, reply

    for line in sys.stdin:
        job = json.loads(line)
        child.LIBRARY.open(job, job["seed"])  # loads the game
        benchmark, game, rows = child.LIBRARY._loaded[job["folder"], job["name"]]
        row = rows[job["experiment"], job["id"]]
        prompts: list[Any] = []
        models = [
            Scripted(f"player {n + 1}", job["name"], job["reply_seed"], prompts) for n in range(game.players)
        ]
        with tempfile.TemporaryDirectory() as folder:
            saver = InteractionsFileSaver(ResultsFolder(Path(folder), "run"), player_model_infos={})
            random.seed(job["seed"])
            numpy.random.seed(job["seed"] % 2**32)
            sequential.run(
                benchmark,
                GameInstances(game.game_name, [{"game_name": game.game_name, **row}]),
                models,
                callbacks=GameBenchmarkCallbackList([saver]),
            )
            files = list(Path(folder).rglob("interactions.json"))
            answer: dict[str, Any] = {"prompts": prompts}
            if not files:
                answer["error"] = "the loop met an exception"
            else:
                try:
                    scorer = benchmark.create_game_scorer(row["experiment"], row["game_instance"])
                    scorer.compute_scores(json.loads(files[0].read_text("utf-8")))
                    answer["scores"] = scorer.scores["episode scores"]
                except Exception as error:
                    answer["unscored"] = f"{type(error).__name__}: {error}"
        os.write(output, json.dumps(answer, default=str).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])

"""Makes our instance sets from the word files beside it: `python -m games.instances.make` writes the same bytes every time.

Keeps: what a set may not contain is refused here (forbidden words that the rules overlook, values inside other values, clues
that tell their target), so that a committed set is free of it. With `--scowl FOLDER` it first makes the list of five-letter
words from a copy of SCOWL."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from games.instances import HERE, canonical, stop_words
from games.taboo import stem

Experiment = dict[str, object]

VERSION = 1
LICENCE = "MIT, as the rest of this distribution; sources of words in LICENCES.md"
SCOWL_SIZES = (10, 20, 35, 40, 50, 55, 60, 70, 80)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Writes our instance sets anew.")
    arguments.add_argument("--scowl", type=Path, help="a folder of SCOWL word lists: make the list of five-letter words first")
    arguments.add_argument("--out", type=Path, default=HERE, help="where to write; the sets' own folder if not given")
    chosen = arguments.parse_args()
    if chosen.scowl is not None:
        (chosen.out / "five_letter_words.txt").write_text(five_letter_words_of(chosen.scowl), encoding="utf-8")
    for game, text in every_set():
        (chosen.out / f"{game}.json").write_text(text, encoding="utf-8")


def every_set() -> Iterator[tuple[str, str]]:
    """Each game's name and the whole text of its file."""
    yield "taboo", file_text("taboo", taboo_experiments())
    for game in ("wordle", "wordle_withclue", "wordle_withcritic"):
        yield game, file_text(game, wordle_experiments(game))


def file_text(game: str, experiments: Sequence[Experiment]) -> str:
    """JSON with one instance a line, so that a change to one shows as one line."""
    lines = [f'{{"set":"{game}","version":{VERSION},"licence":{json.dumps(LICENCE)},"experiments":[']
    for number, experiment in enumerate(experiments):
        shared = {key: value for key, value in experiment.items() if key != "game_instances"}
        puzzles = experiment["game_instances"]
        assert isinstance(puzzles, list)
        lines.append(canonical(shared)[:-1] + ',"game_instances":[')
        lines.append(",\n".join(map(canonical, puzzles)))
        lines.append("]}" + ("," if number + 1 < len(experiments) else ""))
    return "\n".join([*lines, "]}", ""])


def records(name: str) -> list[list[str]]:
    """The lines of a word file, each as its parts between semicolons."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [[part.strip() for part in line.split(";")] for line in lines if line and not line.startswith("#")]


def words_in(part: str) -> list[str]:
    return [word.strip() for word in part.split(",")]


# ── taboo ────────────────────────────────────────────────────────────────────────────────────────────────────────────

TABOO_DESCRIBER = """Two players work together in this game. You know a secret word. \
Your partner does not, and has to find it from what you say about it.

How to play:
- Each of your messages must have the form CLUE: <your hint>. Your partner answers with messages that start with GUESS:
- Your hint may not contain the secret word, nor a part of it, nor the same word in another grammatical form.
- The words listed below as off limits are forbidden in just the same way.

How it ends: as soon as a hint contains the secret word or one that is off limits, the game is lost. \
If your partner says the secret word within $N$ guesses, you both win.

The secret word is:

$TARGET_WORD$

Off limits are:

$REL_WORD$

Be quick: keep every hint short and say what matters most."""

TABOO_GUESSER = """Two players work together in this game. \
Your partner knows a secret word and describes it; you have to find out which word it is.

After every hint you may name one word. Name the secret word within $N$ guesses and you both win; otherwise the game is lost.

Hints arrive as messages that start with CLUE: and each of your answers must be a single word in the form GUESS: <word>

Here is the first hint."""


def taboo_experiments() -> list[Experiment]:
    return [
        {
            "name": level,
            "max_turns": 3,
            "describer_initial_prompt": TABOO_DESCRIBER,
            "guesser_initial_prompt": TABOO_GUESSER,
            "game_instances": [
                taboo_instance(number, target, words_in(related), words_in(associations))
                for number, (_, target, related, associations) in enumerate(of_level(records("taboo_words.txt"), level))
            ],
        }
        for level in ("everyday", "familiar", "rare")
    ]


def taboo_instance(number: int, target: str, related: Sequence[str], associations: Sequence[str]) -> Mapping[str, object]:
    forbidden = [stem(word) for word in (target, *related)]
    assert len(related) == 3, f"{target}: not three related words"
    assert len(set(forbidden)) == 4, f"{target}: two forbidden words are one to the rules"
    assert not stop_words() & {target, *related}, f"{target}: a forbidden word that the rules overlook"
    assert not {stem(word) for word in associations} & set(forbidden), f"{target}: an associated word is forbidden"
    return {"game_id": number, "target_word": target, "related_word": related, "associations": associations}


def of_level(lines: Sequence[list[str]], level: str) -> list[list[str]]:
    chosen = [line for line in lines if line[0] == level]
    assert len({line[1] for line in chosen}) == len(chosen), f"{level}: a word twice"
    return chosen


# ── wordle ───────────────────────────────────────────────────────────────────────────────────────────────────────────

WORDLE_SYSTEM = "You are good with words and enjoy finding them by careful reasoning."

WORDLE_TASK = """

This is Wordle. A hidden English word has five letters, all in lower case (a-z), and you have six attempts to find it. \
Answer with two lines that start with the tags "guess:" and "explanation:", the second giving your reason in a few words.

To guess "crane", for example, you would answer
guess: crane
explanation: a word with frequent letters is a good start."""

WORDLE_CLUE = """

You are given a clue to the hidden word. With a clue such as
clue: tall bird that fishes in shallow water
a fitting answer would be
guess: crane
explanation: cranes are tall birds that stand in water, and the word has five letters."""

WORDLE_CRITIC = """

Before a guess counts I will tell you whether I agree with it, and why. My agreement does not prove the guess right. \
You then answer once more in the same form, with the same guess or with another."""

WORDLE_FEEDBACK = """

Every guess that counts is marked letter by letter: green for a letter in its right place, \
yellow for a letter that belongs in another place, red for a letter that does not belong. For "crane" you might see
guess_feedback: c<red> r<yellow> a<green> n<red> e<yellow>
Let what you have seen lead your next guess, and say so in the explanation."""

WORDLE_START = """ Do not write feedback or clues of your own.

What is your first guess?
"""

CRITIC_TASK = """You help a player of a word game. The player looks for a hidden English word of five letters, knows a clue to it, \
and shows you the next guess with the reason for it, in this way:
clue:tall bird that fishes in shallow water
guess:crane
explanation:cranes are tall birds that stand in water.

Say whether you agree with the guess. If you do not, the player may choose another word.

From the second guess on you also see how the guess before was marked: green for a letter in its right place, yellow for a letter \
that belongs in another place, red for a letter that does not belong. Judge the new guess by the clue, the reason and these marks.

Answer in lower case with two lines:
agreement:yes or no
explanation:your reason

Suggest no words yourself, and write nothing else.

"""


def wordle_experiments(game: str) -> list[Experiment]:
    with_clue, with_critic = game != "wordle", game == "wordle_withcritic"
    task = WORDLE_TASK + (WORDLE_CLUE if with_clue else "") + (WORDLE_CRITIC if with_critic else "") + WORDLE_FEEDBACK + WORDLE_START
    return [
        {
            "name": level,
            "english_words": "five_letter_words.txt",
            "use_clue": with_clue,
            "use_critic": with_critic,
            "system_definition": WORDLE_SYSTEM,
            "guesser_prompt": [{"role": "user", "content": task}],
            "guesser_critic_prompt": [{"role": "user", "content": CRITIC_TASK}] if with_critic else [],
            "game_instances": [
                wordle_instance(number, target, clue, sizes)
                for number, (_, target, clue) in enumerate(of_level(records("wordle_words.txt"), level), 1)
            ],
        }
        for level, sizes in (("common", (10, 20)), ("medium", (35,)))
    ]


def wordle_instance(number: int, target: str, clue: str, sizes: Sequence[int]) -> Mapping[str, object]:
    assert any(target in words_of_size(size) for size in sizes), f"{target}: not of its level"
    assert target not in clue, f"{target}: its clue tells it"
    return {"game_id": number, "target_word": target, "target_word_clue": clue}


def words_of_size(size: int) -> set[str]:
    """The words under one heading of our list of five-letter words."""
    text = (HERE / "five_letter_words.txt").read_text(encoding="utf-8")
    return set(text.split(f"# size {size}\n")[1].split("#")[0].split())


def five_letter_words_of(scowl: Path) -> str:
    """The list of five-letter words, made from SCOWL's lists of general and American English."""
    lines = [
        "# Five-letter English words in lower case, one a line, by the SCOWL size at which each first appears: the smaller, the commoner.",
        "# From SCOWL 2020.12.07 (english-words and american-words, sizes 10 to 80); licence and notices in LICENCES.md.",
    ]
    listed: set[str] = set()
    for size in SCOWL_SIZES:
        files = [path for kind in ("english", "american") if (path := scowl / f"{kind}-words.{size}").exists()]
        words = {word for path in files for word in path.read_text(encoding="latin-1").split() if fits_wordle(word)}
        lines += [f"# size {size}", *sorted(words - listed)]
        listed |= words
    return "\n".join(lines) + "\n"


def fits_wordle(word: str) -> bool:
    return len(word) == 5 and word.isascii() and word.isalpha() and word.islower()


if __name__ == "__main__":
    main()

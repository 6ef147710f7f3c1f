"""Makes our instance sets from the word files beside it.

`python -m games.instances.make` writes the same bytes every time. With `--scowl FOLDER` it first makes the
list of five-letter words from a copy of SCOWL. Keeps: it refuses what a set may not contain: forbidden words
that taboo's rules skip, values inside other values, clues that contain their target."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from random import Random
from string import ascii_uppercase
from typing import Any

from games.grids import EMPTY, SIDE, text_of
from games.instances import HERE, canonical, stop_words
from games.stemmer import stem
from harness.core.seeds import stream

Experiment = dict[str, object]

VERSION = 1
LICENCE = "MIT, as the rest of this distribution; sources of words in LICENCES.md"
SCOWL_SIZES = (10, 20, 35, 40, 50, 55, 60, 70, 80)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Writes our instance sets anew.")
    arguments.add_argument(
        "--scowl", type=Path, help="a folder of SCOWL word lists: make the list of five-letter words first"
    )
    arguments.add_argument(
        "--out", type=Path, default=HERE, help="where to write; the sets' own folder if not given"
    )
    chosen = arguments.parse_args()
    if chosen.scowl is not None:
        (chosen.out / "five_letter_words.txt").write_text(
            five_letter_words_of(chosen.scowl), encoding="utf-8"
        )
    for game, text in every_set():
        (chosen.out / f"{game}.json").write_text(text, encoding="utf-8")


def every_set() -> Iterator[tuple[str, str]]:
    """Yields each game's name and the whole text of its file."""
    yield "taboo", file_text("taboo", taboo_experiments())
    for game in ("wordle", "wordle_withclue", "wordle_withcritic"):
        yield game, file_text(game, wordle_experiments(game))
    yield "imagegame", file_text("imagegame", imagegame_experiments())
    yield "referencegame", file_text("referencegame", referencegame_experiments())
    yield "privateshared", file_text("privateshared", privateshared_experiments())


def file_text(game: str, experiments: Sequence[Experiment]) -> str:
    """Writes JSON with one instance a line, so that a change of one instance is a change of one line."""
    lines = [f'{{"set":"{game}","version":{VERSION},"licence":{json.dumps(LICENCE)},"experiments":[']
    for number, experiment in enumerate(experiments):
        shared = {key: value for key, value in experiment.items() if key != "game_instances"}
        entries = experiment["game_instances"]
        assert isinstance(entries, list)
        lines.append(canonical(shared)[:-1] + ',"game_instances":[')
        lines.append(",\n".join(map(canonical, entries)))
        lines.append("]}" + ("," if number + 1 < len(experiments) else ""))
    return "\n".join([*lines, "]}", ""])


def records(name: str) -> list[list[str]]:
    """Returns the lines of a word file, each split at its semicolons."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [[part.strip() for part in line.split(";")] for line in lines if line and not line.startswith("#")]


def words_in(part: str) -> list[str]:
    return [word.strip() for word in part.split(",")]


# ── taboo ───────────────────────────────────────────────────────────────────────────────────────────────────

TABOO_DESCRIBER = """Two players work together in this game. You know a secret word. \
Your partner does not, and has to find it from what you say about it.

How to play:
- Each of your messages must have the form CLUE: <your hint>. Your partner answers with messages that start \
with GUESS:
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

After every hint you may name one word. Name the secret word within $N$ guesses and you both win; otherwise \
the game is lost.

Hints arrive as messages that start with CLUE: and each of your answers must be a single word in the form \
GUESS: <word>

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
                for number, (_, target, related, associations) in enumerate(
                    of_level(records("taboo_words.txt"), level)
                )
            ],
        }
        for level in ("everyday", "familiar", "rare")
    ]


def taboo_instance(
    number: int, target: str, related: Sequence[str], associations: Sequence[str]
) -> Mapping[str, object]:
    forbidden = [stem(word) for word in (target, *related)]
    assert len(related) == 3, f"{target}: not three related words"
    assert len(set(forbidden)) == 4, f"{target}: two forbidden words have the same stem"
    assert not stop_words() & {target, *related}, f"{target}: a forbidden word that the rules skip"
    assert not {stem(word) for word in associations} & set(forbidden), (
        f"{target}: an associated word is forbidden"
    )
    return {"game_id": number, "target_word": target, "related_word": related, "associations": associations}


def of_level(lines: Sequence[list[str]], level: str) -> list[list[str]]:
    chosen = [line for line in lines if line[0] == level]
    assert len({line[1] for line in chosen}) == len(chosen), f"{level}: a word twice"
    return chosen


# ── wordle ──────────────────────────────────────────────────────────────────────────────────────────────────

WORDLE_SYSTEM = "You are good with words and enjoy finding them by careful reasoning."

WORDLE_TASK = """

This is Wordle. A hidden English word has five letters, all in lower case (a-z), and you have six attempts \
to find it. \
Answer with two lines that start with the tags "guess:" and "explanation:", the second giving your reason in \
a few words.

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

Before a guess counts I will tell you whether I agree with it, and why. My agreement does not prove the \
guess right. \
You then answer once more in the same form, with the same guess or with another."""

WORDLE_FEEDBACK = """

Every guess that counts is marked letter by letter: green for a letter in its right place, \
yellow for a letter that belongs in another place, red for a letter that does not belong. For "crane" you \
might see
guess_feedback: c<red> r<yellow> a<green> n<red> e<yellow>
Let what you have seen lead your next guess, and say so in the explanation."""

WORDLE_START = """ Do not write feedback or clues of your own.

What is your first guess?
"""

CRITIC_TASK = """You help a player of a word game. The player looks for a hidden English word of five \
letters, knows a clue to it, \
and shows you the next guess with the reason for it, in this way:
clue:tall bird that fishes in shallow water
guess:crane
explanation:cranes are tall birds that stand in water.

Say whether you agree with the guess. If you do not, the player may choose another word.

From the second guess on you also see how the guess before was marked: green for a letter in its right \
place, yellow for a letter \
that belongs in another place, red for a letter that does not belong. Judge the new guess by the clue, the \
reason and these marks.

Answer in lower case with two lines:
agreement:yes or no
explanation:your reason

Suggest no words yourself, and write nothing else.

"""


def wordle_experiments(game: str) -> list[Experiment]:
    with_clue, with_critic = game != "wordle", game == "wordle_withcritic"
    task = (
        WORDLE_TASK
        + (WORDLE_CLUE if with_clue else "")
        + (WORDLE_CRITIC if with_critic else "")
        + WORDLE_FEEDBACK
        + WORDLE_START
    )
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
    assert target not in clue, f"{target}: its clue contains it"
    return {"game_id": number, "target_word": target, "target_word_clue": clue}


def words_of_size(size: int) -> set[str]:
    """Returns the words under one heading of our list of five-letter words."""
    text = (HERE / "five_letter_words.txt").read_text(encoding="utf-8")
    return set(text.split(f"# size {size}\n")[1].split("#")[0].split())


def five_letter_words_of(scowl: Path) -> str:
    """Makes the list of five-letter words from SCOWL's lists of general and American English."""
    lines = [
        "# Five-letter English words in lower case, one a line, by the SCOWL size at which each first "
        "appears: the smaller, the commoner.",
        "# From SCOWL 2020.12.07 (english-words and american-words, sizes 10 to 80); "
        "licence and notices in LICENCES.md.",
    ]
    listed: set[str] = set()
    for size in SCOWL_SIZES:
        files = [
            path for kind in ("english", "american") if (path := scowl / f"{kind}-words.{size}").exists()
        ]
        words = {
            word for path in files for word in path.read_text(encoding="latin-1").split() if fits_wordle(word)
        }
        lines += [f"# size {size}", *sorted(words - listed)]
        listed |= words
    return "\n".join(lines) + "\n"


def fits_wordle(word: str) -> bool:
    return len(word) == 5 and word.isascii() and word.isalpha() and word.islower()


# ── grids ───────────────────────────────────────────────────────────────────────────────────────────────────

Cells = tuple[str, ...]
"""Five rows of five characters, X or a full stop."""

EVERYWHERE = [(row, column) for row in range(SIDE) for column in range(SIDE)]


def pictures(kind: str) -> list[Cells]:
    """Reads the pictures under one heading of their sheet: bands of five lines with pictures side by side."""
    sheet = (HERE / "pictures.txt").read_text(encoding="utf-8").split(f"# {kind}\n")[1].split("#")[0]
    drawn: list[Cells] = []
    for band in sheet.strip().split("\n\n"):
        drawn += zip(*(line.split(" ") for line in band.split("\n")), strict=True)
    assert len(set(drawn)) == len(drawn), f"{kind}: a picture twice"
    return drawn


def grid(cells: Cells, letter: str = "X") -> str:
    return text_of(tuple(EMPTY if cell == "." else letter for cell in row) for row in cells)


def filled(places: Iterable[tuple[int, int]]) -> Cells:
    chosen = set(places)
    return tuple(
        "".join("X" if (row, column) in chosen else "." for column in range(SIDE)) for row in range(SIDE)
    )


# ── imagegame ───────────────────────────────────────────────────────────────────────────────────────────────

EMPTY_GRID = grid(filled([]))
EXAMPLE_GRID = grid(filled([(1, 4)]), "K")

IMAGE_DESCRIBER = f"""You and I draw a picture together. It consists of letters in a grid of five rows and \
five columns. \
At first the grid is empty:

{EMPTY_GRID}

You see the finished picture, I do not. Tell me step by step which letters to put where, and I will put them \
there. \
The character "{EMPTY}" marks an empty cell; there is no need to speak of those. \
Whenever I ask "What comes next?", give one instruction on one line that starts with "Instruction: ". \
Once everything has been said, answer "Instruction: DONE".

Say, for example, that the picture is this:

{EXAMPLE_GRID}

Then we would talk like this:

What comes next?
Instruction: Write a K at the right end of the second row

What comes next?
Instruction: DONE

Now let us begin. Here is your picture."""

IMAGE_QUESTION = "What comes next?"

IMAGE_DRAWER = f"""You and I draw a picture together. It consists of letters in a grid of five rows and five \
columns. \
At first the grid is empty:

{EMPTY_GRID}

I see the finished picture, you do not. I give you one instruction after the other, each starting with \
"Instruction: ". \
Carry it out and answer with the whole grid as it then looks: five rows of five cells with one space between \
cells, \
an empty cell written as "{EMPTY}", letters as capitals. \
After "Instruction: Write a K at the right end of the second row" your answer would be

{EXAMPLE_GRID}

Keep what was drawn before, and write nothing but the grid.
"""


def imagegame_experiments() -> list[Experiment]:
    chance = stream(VERSION, "imagegame")
    drawn = [
        grid(picture, chance.choice(ascii_uppercase))
        for picture in pictures("letters")[:10] + pictures("figures")[:10]
    ]
    # The first ten scattered grids have one letter, the others two.
    scattered = [scattered_grid(chance, letters=1 + number // 10) for number in range(20)]
    return [imagegame_experiment("pictures", drawn), imagegame_experiment("scattered", scattered)]


def scattered_grid(chance: Random, *, letters: int) -> str:
    chosen = chance.sample(ascii_uppercase, letters)
    rows = [[EMPTY] * SIDE for _ in range(SIDE)]
    for number, (row, column) in enumerate(chance.sample(EVERYWHERE, chance.randint(5, 12))):
        rows[row][column] = chosen[number % letters]
    return text_of(rows)


def imagegame_experiment(name: str, targets: Sequence[str]) -> Experiment:
    assert len(set(targets)) == len(targets), f"{name}: a grid twice"
    return {
        "name": name,
        "player_1_prompt_header": IMAGE_DESCRIBER,
        "player_1_question": IMAGE_QUESTION,
        "player_2_prompt_header": IMAGE_DRAWER,
        "grid_dimension": SIDE,
        "game_instances": [
            {"game_id": number, "target_grid": target} for number, target in enumerate(targets)
        ],
    }


# ── referencegame ───────────────────────────────────────────────────────────────────────────────────────────

REFERENCE_DESCRIBER = f"""Here are three pictures. Each is a grid of five rows and five columns \
in which "X" marks a filled cell and "{EMPTY}" an empty one. \
Another player sees the same three pictures in an order of its own, and has to find yours, the first of \
them, by your words alone.

Your picture:

$1$

The other two:

$2$

$3$

Describe your picture on one line, so that it cannot be taken for one of the other two. \
Start the line with "Expression: " and write nothing else."""

REFERENCE_SELECTOR = f"""Here are three pictures. Each is a grid of five rows and five columns \
in which "X" marks a filled cell and "{EMPTY}" an empty one. \
Another player has described one of them, and you have to find out which.

The first picture:

$1$

The second picture:

$2$

The third picture:

$3$

This is the description.

TARGET_EXPRESSION

Which picture is meant: first, second or third? Start your answer with "Answer: ", add that one word and \
write nothing else."""

Triplet = tuple[Cells, Cells, Cells]
TRIPLETS = 10
PLACES = (["first", "1st", "1"], ["second", "2nd", "2"], ["third", "3rd", "3"])


def referencegame_experiments() -> list[Experiment]:
    chance = stream(VERSION, "referencegame")
    choices = [chosen for size in range(1, SIDE) for chosen in combinations(range(SIDE), size)]
    rows = [filled(place for place in EVERYWHERE if place[0] in chosen) for chosen in choices]
    columns = [filled(place for place in EVERYWHERE if place[1] in chosen) for chosen in choices]
    return [
        referencegame_experiment("rows", triplets(rows, chance)),
        referencegame_experiment("columns", triplets(columns, chance)),
        referencegame_experiment("diagonals", triplets(diagonals(), chance)),
        referencegame_experiment("letters", triplets(pictures("letters"), chance)),
        referencegame_experiment("figures", triplets(pictures("figures"), chance)),
        referencegame_experiment("scattered", [scattered_triplet(chance) for _ in range(TRIPLETS)]),
    ]


def diagonals() -> list[Cells]:
    """Returns all grids of one or two diagonals, which continue at the opposite edge."""
    falling = [
        {place for place in EVERYWHERE if (place[0] - place[1]) % SIDE == shift} for shift in range(SIDE)
    ]
    rising = [
        {place for place in EVERYWHERE if (place[0] + place[1]) % SIDE == shift} for shift in range(SIDE)
    ]
    return [
        filled(set().union(*chosen)) for size in (1, 2) for chosen in combinations(falling + rising, size)
    ]


def triplets(family: Sequence[Cells], chance: Random) -> list[Triplet]:
    """Draws different targets, each with the two nearest of six other grids."""
    assert len(set(family)) == len(family), "a picture twice"
    chosen: list[Triplet] = []
    for target in chance.sample(family, TRIPLETS):
        others = chance.sample([picture for picture in family if picture != target], 6)
        near, second, *_ = sorted(others, key=lambda other: cells_apart(target, other))
        chosen.append((target, near, second))
    return chosen


def cells_apart(one: Cells, other: Cells) -> int:
    return sum(mine != its for mine, its in zip("".join(one), "".join(other), strict=True))


def scattered_triplet(chance: Random) -> Triplet:
    """Draws a random grid and two grids that differ from it in four cells each."""
    target = set(chance.sample(EVERYWHERE, chance.randint(8, 14)))
    near, second = (filled(target ^ set(chance.sample(EVERYWHERE, 4))) for _ in range(2))
    assert near != second
    return filled(target), near, second


def referencegame_experiment(name: str, chosen: Sequence[Triplet]) -> Experiment:
    assert len({target for target, _, _ in chosen}) == TRIPLETS, f"{name}: a target twice"
    return {
        "name": name,
        "player_1_prompt_header": REFERENCE_DESCRIBER,
        "player_2_prompt_header": REFERENCE_SELECTOR,
        "game_instances": [
            referencegame_instance(3 * number + place, triplet, place)
            for number, triplet in enumerate(chosen)
            for place in range(3)
        ],
    }


def referencegame_instance(number: int, triplet: Triplet, place: int) -> Mapping[str, object]:
    """Makes an instance with the target at this place among the selector's grids."""
    target, near, second = (grid(cells) for cells in triplet)
    shown = [near, second]
    shown.insert(place, target)
    return {
        "game_id": number,
        "player_1_target_grid": target,
        "player_1_second_grid": near,
        "player_1_third_grid": second,
        "player_2_first_grid": shown[0],
        "player_2_second_grid": shown[1],
        "player_2_third_grid": shown[2],
        "target_grid_name": PLACES[place],
    }


# ── privateshared ───────────────────────────────────────────────────────────────────────────────────────────

PRIVATE_RULES = """{situation}

{facts}

So far, the {asker} knows none of it.

What the {asker} says starts with {tag}: and you reply to it in the form ANSWER: <your answer>

Now and then I, too, ask you something. What I say starts with ME: and you reply to it in the form ASIDE: \
<your answer>

Be brief and to the point, on one line."""

PROBE_MARKER = "ME: "
PROBE_TEMPLATE = "ME: {} Reply with yes or no and nothing else."
TOPIC_QUESTIONS = (
    "Has the {asker} been told {topic}?",
    "By now, is the {asker} aware of {topic}?",
    "Could the {asker} say {topic}?",
    "Have you already told the {asker} {topic}?",
    "At this point, does the {asker} know {topic}?",
)
PRIVATE_INSTANCES = 10


@dataclass(frozen=True, kw_only=True)
class SlotScene:
    """An experiment of privateshared: who asks about what, and the values that each slot may have."""

    name: str
    tag: str
    what: str
    asker: str
    situation: str
    values: Mapping[str, Sequence[str]]
    requests: Mapping[str, Sequence[str]]
    questions: Mapping[str, Sequence[str]]


def privateshared_experiments() -> list[Experiment]:
    sources = json.loads((HERE / "privateshared_facts.json").read_text(encoding="utf-8"))
    chance = stream(VERSION, "privateshared")
    return [
        privateshared_experiment(scene_of(source), sources["suffixes"], chance)
        for source in sources["experiments"]
    ]


def scene_of(source: Mapping[str, Any]) -> SlotScene:
    """Reads a scene, which lists each slot, or the names of similar slots with the values of all of them."""
    if "slots" in source:
        values = {slot: about["values"] for slot, about in source["slots"].items()}
        requests = {slot: about["requests"] for slot, about in source["slots"].items()}
        topics = {slot: about["topic"] for slot, about in source["slots"].items()}
    else:
        values = dict.fromkeys(source["alike"], source["values"])
        requests = {slot: [source["request"].replace("{}", slot)] for slot in source["alike"]}
        topics = {slot: source["topic"].replace("{}", slot) for slot in source["alike"]}
    return SlotScene(
        **{key: source[key] for key in ("name", "tag", "what", "asker", "situation")},
        values=values,
        requests=requests,
        questions={
            slot: [text.format(asker=source["asker"], topic=topic) for text in TOPIC_QUESTIONS]
            for slot, topic in topics.items()
        },
    )


def privateshared_experiment(scene: SlotScene, suffixes: Sequence[str], chance: Random) -> Experiment:
    entries = [privateshared_instance(number, scene, chance) for number in range(PRIVATE_INSTANCES)]
    assert len({canonical(entry["slots"]) for entry in entries}) == len(entries), (
        f"{scene.name}: an instance twice"
    )
    return {
        "name": scene.name,
        "tag": scene.tag,
        "lang": "en",
        "probe_marker": PROBE_MARKER,
        "probe_template": PROBE_TEMPLATE,
        "suffixes": suffixes,
        "request_sentences": scene.requests,
        "probing_questions": scene.questions,
        "game_instances": entries,
    }


def privateshared_instance(number: int, scene: SlotScene, chance: Random) -> dict[str, object]:
    slots = values_drawn(scene, chance)
    order = list(slots)
    chance.shuffle(order)
    facts = "\n".join([f"WHAT: {scene.what}", *(f"{slot.upper()}: {value}" for slot, value in slots.items())])
    return {
        "game_id": number,
        "slots": slots,
        "initial_prompt": PRIVATE_RULES.format(
            situation=scene.situation, facts=facts, asker=scene.asker, tag=scene.tag
        ),
        "request_order": order,
        "requests": {slot: chance.randrange(len(scene.requests[slot])) for slot in slots},
        "probes": {
            str(round_number): {slot: chance.randrange(len(scene.questions[slot])) for slot in slots}
            for round_number in range(len(slots) + 1)
        },
    }


def values_drawn(scene: SlotScene, chance: Random) -> dict[str, str]:
    """Draws a value for each slot; no value stands inside another one or in a text of the game."""
    slots: dict[str, str] = {}
    for slot, values in scene.values.items():
        slots[slot] = chance.choice([value for value in values if value not in slots.values()])
    texts_of_game = [
        text for texts in (*scene.requests.values(), *scene.questions.values()) for text in texts
    ]
    texts_of_game += [scene.situation, PRIVATE_RULES, PROBE_TEMPLATE, scene.what, scene.tag, *map(str, slots)]
    for slot, value in slots.items():
        others = [other for name, other in slots.items() if name != slot]
        inside = [text for text in texts_of_game + others if value.lower() in text.lower()]
        assert not inside, f"{scene.name}: {value} stands in {inside[0]!r}"
    return slots


if __name__ == "__main__":
    main()

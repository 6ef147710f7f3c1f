"""The image game: one seat sees a grid of letters and describes it step by step; the other seat draws it
unseen.

The rules are those published with clembench v1.6. A comment marks each line that keeps an oddity of them. No
reply is asked for twice. The episode ends when the describer is done or after 25 rounds; the last drawing is
then compared with the target."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from games.fields import Fields
from games.grids import EMPTY, SIDE, Rows, rows_of, text_of
from games.instances import own_set
from games.rulesets import RULE_SETS, TOKENS_MAX
from harness.core.protocols import Game
from harness.core.vocabulary import Ask, Instance, Message, Outcome, Parse, Play, ReplyFormat, Requests

DESCRIBER = "describer"
DRAWER = "drawer"

# ── instance ────────────────────────────────────────────────────────────────────────────────────────────────

ROUNDS_MAX = SIDE * SIDE

PUBLISHED_PATTERNS = {
    "player_1_response_pattern": "^instruction: [^\n]+$",
    "player_1_terminate_pattern": r"^\s*instruction\s*:\s*done\s*$",
    "player_2_response_pattern": "^\n*" + "\n".join([rf"([A-Z{EMPTY}]\s){{4}}[A-Z{EMPTY}]"] * SIDE) + "\n*$",
}
"""The patterns that an instance may name. They are compared as texts and never run, because a regular
expression from a file can take unbounded time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagegameItem:
    """A grid to describe and the first prompt of each seat."""

    target: str
    describer_prompt: str
    question: str
    drawer_prompt: str

    @classmethod
    def read(cls, instance: Instance) -> ImagegameItem:
        fields = Fields(instance)
        for name, published in PUBLISHED_PATTERNS.items():
            if name in fields and fields.text(name) != published:
                raise fields.wrong(name, "is not the published v1.6 pattern")
        if fields.number("grid_dimension") != SIDE:
            raise fields.wrong("grid_dimension", f"is not {SIDE}")
        return cls(
            target=fields.text("target_grid"),
            describer_prompt=fields.text("player_1_prompt_header"),
            question=fields.text("player_1_question"),
            drawer_prompt=fields.text("player_2_prompt_header"),
        )


# ── reply formats ───────────────────────────────────────────────────────────────────────────────────────────

INSTRUCTION_FORMAT = ReplyFormat(regex="Instruction: [!-~][ -~]{0,79}", tokens_max=TOKENS_MAX)
GRID_FORMAT = ReplyFormat(
    regex="\n".join([f"([A-Z{EMPTY}] ){{4}}[A-Z{EMPTY}]"] * SIDE), tokens_max=TOKENS_MAX
)

# The published patterns, which are the rules. Each takes linear time at most.
DONE = re.compile(r"\s*instruction\s*:\s*done\s*$", re.IGNORECASE)
INSTRUCTION = re.compile(r"instruction: [^\n]+$", re.IGNORECASE)
GRID = re.compile(r"\n*" + "\n".join([rf"(?:[A-Z{EMPTY}]\s){{4}}[A-Z{EMPTY}]"] * SIDE) + r"\n*$")

# ── play ────────────────────────────────────────────────────────────────────────────────────────────────────


def play(instance: Instance, rules: str) -> Play:
    """Plays up to 25 rounds of an instruction and a drawing; both rule sets are the same here."""
    item = ImagegameItem.read(instance)
    question = Message("user", item.question)
    describer_messages = [Message("user", f"{item.describer_prompt}\n{item.target}\n{item.question}\n")]
    drawer_messages: list[Message] = []
    opening = f"{item.drawer_prompt}\n"
    scores = ImagegameScores(item.target)

    for _ in range(ROUNDS_MAX):
        instruction = yield Ask(
            seat=DESCRIBER, messages=tuple(describer_messages), reply_format=INSTRUCTION_FORMAT
        )
        if DONE.match(instruction):
            return scores.ended("describer is done")
        if not INSTRUCTION.match(instruction):
            return scores.aborted("instruction is not one line that starts with Instruction:", calls=1)
        describer_messages.append(Message("assistant", instruction))

        forwarded = instruction.split("\n", 1)[0]
        drawer_messages.append(Message("user", opening + forwarded))
        opening = ""
        drawing = yield Ask(seat=DRAWER, messages=tuple(drawer_messages), reply_format=GRID_FORMAT)
        if not GRID.match(drawing):
            return scores.aborted("drawing is not five rows of five cells and nothing else", calls=2)
        drawer_messages.append(Message("assistant", drawing))
        describer_messages.append(question)
        scores.add(forwarded, drawing)

    return scores.ended("last round is over")


# ── scores ──────────────────────────────────────────────────────────────────────────────────────────────────

CellScores = tuple[float, float, float]
"""Precision, recall and F1 of the filled cells, each rounded to a whole percent."""


def score_drawing(target: str, drawing: str) -> CellScores | None:
    """Compares a drawing with the target; None where the published scorer failed.

    It failed on an empty drawing and on a drawing whose first row is complete and a later one is not. Here
    single spaces separate cells, although the reply format accepts any white space."""
    wanted, drawn = rows_of(target), rows_of(drawing)
    if (len(drawn), len(drawn[0])) != (len(wanted), len(wanted[0])):
        return 0.0, 0.0, 0.0
    if any(len(row) < len(wanted[0]) for row in drawn):
        return None
    pairs = [
        (want.lower(), draw.lower())
        for row, other in zip(wanted, drawn, strict=True)
        for want, draw in zip(row, other, strict=False)
    ]
    to_fill = sum(want != EMPTY for want, _ in pairs)
    filled = sum(draw != EMPTY for _, draw in pairs)
    if not to_fill or not filled:
        return None
    matching = sum(want == draw != EMPTY for want, draw in pairs)
    precision, recall = round(matching / filled, 4), round(matching / to_fill, 4)
    f1 = round(2 * precision * recall / (precision + recall), 4) if precision and recall else 0.0
    return float(round(100 * precision)), float(round(100 * recall)), float(round(100 * f1))


class ImagegameScores:
    """The running figures of an episode. The last drawing counts, not the best one."""

    __slots__ = ("_cells", "_changed", "_characters", "_last", "_rounds", "_target", "_tokens")

    def __init__(self, target: str) -> None:
        self._target = target
        self._last: CellScores = (0.0, 0.0, 0.0)
        self._cells = EMPTY * ROUNDS_MAX
        self._rounds = self._changed = self._characters = self._tokens = 0

    def add(self, instruction: str, drawing: str) -> None:
        """Adds a round.

        A drawing on which the published scorer failed keeps the scores of the round before; the published
        scores contain this."""
        self._last = score_drawing(self._target, drawing) or self._last
        cells = drawing.strip()[::2]
        self._changed += sum(before != after for before, after in zip(self._cells, cells, strict=True))
        self._cells = cells
        content = instruction.replace("Instruction:", "")
        self._characters += len(content)
        self._tokens += content.count(" ") + 1
        self._rounds += 1

    def ended(self, reason: str) -> Outcome:
        """Returns the outcome of an episode that ended by the rules.

        Without a drawing it is unscored: there the published scorer divided by zero and wrote no score."""
        if not self._rounds:
            return Outcome(state="unscored", score=None, reason="done before anything was drawn")
        precision, recall, f1 = self._last
        return Outcome(
            state="success" if f1 >= 99 else "lost",
            score=f1,
            reason=reason,
            requests=Requests(total=2 * self._rounds, parsed=2 * self._rounds),
            metrics={
                "Precision": precision,
                "Recall": recall,
                "F1": f1,
                "Average Changed Cell Count": round(self._changed / self._rounds, 4),
                "Average Generated Instruction Length": round(self._characters / self._rounds, 4),
                "Average Generated Expression Number of Tokens": round(self._tokens / self._rounds, 4),
            },
        )

    def aborted(self, reason: str, *, calls: int) -> Outcome:
        """Returns the outcome of an aborted episode.

        calls  the calls of the last round, the one with the bad reply included"""
        total = 2 * self._rounds + calls
        requests = Requests(total=total, parsed=total - 1, violated=1)
        return Outcome(
            state="aborted", score=None, reason=reason, requests=requests, last_parse=Parse(violation=reason)
        )


# ── bots ────────────────────────────────────────────────────────────────────────────────────────────────────

STEP = re.compile(r"put ([A-Z]) in row ([1-5]), columns? ([1-5](?: [1-5]){0,4})")


def describe(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Gives one instruction for each letter of each row, then DONE; on a failed draw, names wrong columns."""
    steps = list(_steps(rows_of(Fields(instance).text("target_grid"))))
    done = sum(message.role == "assistant" for message in messages)
    if done >= len(steps):
        return "Instruction: DONE"
    letter, row, columns = steps[done]
    if chance.random() >= skill:
        columns = sorted(set(range(SIDE)) - set(columns)) or [chance.randrange(SIDE)]
    named = " ".join(str(column + 1) for column in columns)
    return f"Instruction: put {letter} in row {row + 1}, column{'s' if len(columns) > 1 else ''} {named}"


def _steps(rows: Rows) -> Iterator[tuple[str, int, list[int]]]:
    for number, row in enumerate(rows):
        for letter in sorted(set(row) - {EMPTY}):
            yield letter, number, [column for column, cell in enumerate(row) if cell == letter]


def draw(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Applies a bot's instruction to its last grid; on a failed draw, writes another letter.

    An instruction that no bot wrote leaves the grid as it is."""
    drawn = next(
        (rows_of(message.text) for message in reversed(messages) if message.role == "assistant"), None
    )
    rows = [list(row) for row in drawn or ((EMPTY,) * SIDE,) * SIDE]
    step = STEP.search(messages[-1].text.rsplit("\n", 1)[-1])
    if step is not None:
        letter = step[1] if chance.random() < skill else chance.choice("QJK")
        for column in step[3].split(" "):
            rows[int(step[2]) - 1][int(column) - 1] = letter
    return text_of(rows)


GAME = Game(
    name="imagegame",
    summary="Describe a grid of letters step by step; the other seat draws it unseen.",
    seats=(DESCRIBER, DRAWER),
    rule_sets=RULE_SETS,
    turns_typical=11,
    play=play,
    instances=lambda: own_set("imagegame"),
    bots={DESCRIBER: describe, DRAWER: draw},
)

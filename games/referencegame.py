"""The reference game: one seat describes a grid so that it differs from two others; the other seat chooses
it.

The rules are those published with clembench v1.6. A comment marks each line that keeps an oddity of them. An
episode has one expression and one answer. No reply is asked for twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from games.fields import Fields
from games.grids import EMPTY, SIDE, rows_of
from games.instances import own_set
from games.rulesets import RULE_SETS, TOKENS_MAX
from harness.core.protocols import Game
from harness.core.vocabulary import Ask, Instance, Message, Outcome, Parse, Play, ReplyFormat, Requests

DESCRIBER = "describer"
SELECTOR = "selector"

# ── instance ────────────────────────────────────────────────────────────────────────────────────────────────

PUBLISHED_PATTERNS = {
    "player_1_response_pattern": "^expression:\\s(?P<content>.+)\n*(?P<remainder>.*)",
    "player_2_response_pattern": "^answer:\\s(?P<content>first|second|third|1|2|3|1st|2nd|3rd)"
    "\n*(?P<remainder>.*)",
    "player_1_response_tag": "expression:",
    "player_2_response_tag": "answer:",
}
"""The patterns that an instance may name. They are compared as texts and never run, because a regular
expression from a file can take unbounded time."""

DESCRIBER_GRIDS = ("player_1_target_grid", "player_1_second_grid", "player_1_third_grid")
SELECTOR_GRIDS = ("player_2_first_grid", "player_2_second_grid", "player_2_third_grid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencegameItem:
    """The prompt of each seat, and the words for the target's place among the selector's grids."""

    describer_prompt: str
    selector_prompt: str
    right_answers: tuple[str, ...]

    @classmethod
    def read(cls, instance: Instance) -> ReferencegameItem:
        fields = Fields(instance)
        for name, published in PUBLISHED_PATTERNS.items():
            if name in fields and fields.text(name) != published:
                raise fields.wrong(name, "is not the published v1.6 pattern")
        return cls(
            describer_prompt=_with_grids(fields, "player_1_prompt_header", DESCRIBER_GRIDS),
            selector_prompt=_with_grids(fields, "player_2_prompt_header", SELECTOR_GRIDS),
            right_answers=fields.texts("target_grid_name"),
        )


def _with_grids(fields: Fields, prompt: str, grids: tuple[str, ...]) -> str:
    """Returns the prompt with its grids in place of $1$, $2$ and $3$.

    Our sets share one prompt; the published instances repeat it with their grids."""
    text = fields.text(prompt)
    for number, name in enumerate(grids, 1):
        text = text.replace(f"${number}$", fields.text(name))
    return text


# ── reply formats ───────────────────────────────────────────────────────────────────────────────────────────

EXPRESSION_FORMAT = ReplyFormat(regex="Expression: [!-~][ -~]{0,79}", tokens_max=TOKENS_MAX)
ANSWER_FORMAT = ReplyFormat(regex="Answer: (first|second|third)", tokens_max=TOKENS_MAX)

# The published patterns, which are the rules. Each takes linear time at most.
EXPRESSION = re.compile(r"expression:\s(?P<content>.+)\n*(?P<remainder>.*)", re.IGNORECASE)
ANSWER = re.compile(r"answer:\s(?P<label>first|second|third|1|2|3)", re.IGNORECASE)

# ── play ────────────────────────────────────────────────────────────────────────────────────────────────────


def play(instance: Instance, rules: str) -> Play:
    """Plays one expression and one answer; both rule sets are the same here."""
    item = ReferencegameItem.read(instance)

    expression = yield Ask(
        seat=DESCRIBER, messages=(Message("user", item.describer_prompt),), reply_format=EXPRESSION_FORMAT
    )
    described = EXPRESSION.match(expression)
    if not described or described["remainder"]:
        return aborted_at_describer("expression is not one line that starts with Expression:")

    # The published game pasted the whole reply, tag included, into the selector's prompt.
    prompt = item.selector_prompt.replace("TARGET_EXPRESSION", expression)
    answer = yield Ask(seat=SELECTOR, messages=(Message("user", prompt),), reply_format=ANSWER_FORMAT)
    # The published scorer reads the first characters only: "Answer: firstly" means first, "Answer: 12" means
    # 1.
    chosen = ANSWER.match(answer)
    if not chosen:
        return aborted_at_selector(
            "answer does not start with Answer: and first, second or third", described["content"]
        )
    return answered(chosen["label"].lower() in item.right_answers, described["content"])


# ── scores ──────────────────────────────────────────────────────────────────────────────────────────────────
# In this game alone, Lose is 1 for aborted episodes too; the published tables contain this.


def answered(right: bool, content: str) -> Outcome:
    return Outcome(
        state="success" if right else "lost",
        score=100.0 if right else 0.0,
        reason="right grid chosen" if right else "wrong grid chosen",
        requests=Requests(total=2, parsed=2),
        metrics={
            "Lose": float(not right),
            "Aborted at Player 1": 0.0,
            "Aborted at Player 2": 0.0,
            **lengths(content),
        },
    )


def aborted_at_describer(reason: str) -> Outcome:
    return Outcome(
        state="aborted",
        score=None,
        reason=reason,
        requests=Requests(total=1, violated=1),
        metrics={"Lose": 1.0, "Aborted at Player 1": 1.0, "Aborted at Player 2": 0.0},
        last_parse=Parse(violation=reason),
    )


def aborted_at_selector(reason: str, content: str) -> Outcome:
    return Outcome(
        state="aborted",
        score=None,
        reason=reason,
        requests=Requests(total=2, parsed=1, violated=1),
        metrics={"Lose": 1.0, "Aborted at Player 1": 0.0, "Aborted at Player 2": 1.0, **lengths(content)},
        last_parse=Parse(violation=reason),
    )


def lengths(content: str) -> dict[str, float]:
    return {
        "Generated Expression Length": float(len(content)),
        "Generated Expression Number of Tokens": float(content.count(" ") + 1),
    }


# ── bots ────────────────────────────────────────────────────────────────────────────────────────────────────

PLACES = ("first", "second", "third")
FILLED = re.compile(r"row by row ((?:[0X]{5} ){4}[0X]{5})")


def describe(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Spells the target cell by cell; on a failed draw, spells a random grid."""
    spelled = _spelled(Fields(instance).text(DESCRIBER_GRIDS[0]))
    if chance.random() >= skill:
        spelled = " ".join("".join(chance.choice("0X") for _ in range(SIDE)) for _ in range(SIDE))
    return f"Expression: the grid that reads row by row {spelled}"


def select(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Chooses the grid nearest to a bot's spelling, else the target; on a failed draw, another grid."""
    fields = Fields(instance)
    target = PLACES.index(fields.texts("target_grid_name")[0])
    choice = target
    description = FILLED.search(messages[-1].text)
    if description is not None:
        grids = [_spelled(fields.text(name)) for name in SELECTOR_GRIDS]
        choice = max(range(len(PLACES)), key=lambda place: sum(map(str.__eq__, grids[place], description[1])))
    if chance.random() >= skill:
        choice = chance.choice([place for place in range(len(PLACES)) if place != target])
    return f"Answer: {PLACES[choice]}"


def _spelled(grid: str) -> str:
    return " ".join("".join("0" if cell == EMPTY else "X" for cell in row) for row in rows_of(grid))


GAME = Game(
    name="referencegame",
    summary="Describe one grid so that it differs from two others; the other seat chooses it.",
    seats=(DESCRIBER, SELECTOR),
    rule_sets=RULE_SETS,
    turns_typical=2,
    play=play,
    instances=lambda: own_set("referencegame"),
    bots={DESCRIBER: describe, SELECTOR: select},
    answer_place=lambda instance: Fields(instance).texts("target_grid_name")[0],
)

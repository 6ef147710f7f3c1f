"""The reference game: one seat describes a grid so that it can be told from two others, the other seat says which one is meant.

Rules as published with clembench v1.6; every oddity stands beside the line that keeps it. One expression, one answer; no
reply is asked for twice."""

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

# ── instance ─────────────────────────────────────────────────────────────────────────────────────────────────────────

PUBLISHED_PATTERNS = {
    "player_1_response_pattern": "^expression:\\s(?P<content>.+)\n*(?P<remainder>.*)",
    "player_2_response_pattern": "^answer:\\s(?P<content>first|second|third|1|2|3|1st|2nd|3rd)\n*(?P<remainder>.*)",
    "player_1_response_tag": "expression:",
    "player_2_response_tag": "answer:",
}
"""What an instance may say of the forms. Its patterns are recognised, never run: nothing bounds a stranger's regular expression."""

DESCRIBER_GRIDS = ("player_1_target_grid", "player_1_second_grid", "player_1_third_grid")
SELECTOR_GRIDS = ("player_2_first_grid", "player_2_second_grid", "player_2_third_grid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencegameItem:
    """What each seat is told; `right_answers` are the words for the target's place among the selector's grids."""

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
    """The prompt with $1$, $2$ and $3$ filled in: our sets share one prompt where the published instances repeat it with their grids."""
    text = fields.text(prompt)
    for number, name in enumerate(grids, 1):
        text = text.replace(f"${number}$", fields.text(name))
    return text


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────

EXPRESSION_FORM = ReplyFormat(regex="Expression: [!-~][ -~]{0,79}", tokens_max=TOKENS_MAX)
ANSWER_FORM = ReplyFormat(regex="Answer: (first|second|third)", tokens_max=TOKENS_MAX)

# The published patterns: what they let pass is the rule. Neither can take more than linear time.
EXPRESSION = re.compile(r"expression:\s(?P<content>.+)\n*(?P<remainder>.*)", re.IGNORECASE)
ANSWER = re.compile(r"answer:\s(?P<label>first|second|third|1|2|3)", re.IGNORECASE)

# ── play ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def play(instance: Instance, rules: str) -> Play:
    """One expression and one answer. Both rule sets play alike."""
    puzzle = ReferencegameItem.read(instance)

    expression = yield Ask(
        seat=DESCRIBER, messages=(Message("user", puzzle.describer_prompt),), reply_format=EXPRESSION_FORM
    )
    described = EXPRESSION.match(expression)
    if not described or described["remainder"]:
        return aborted_at_describer("expression is not one line that starts with Expression:")

    # The selector reads the whole reply, its tag included; the published game pasted it so.
    heard = puzzle.selector_prompt.replace("TARGET_EXPRESSION", expression)
    answer = yield Ask(seat=SELECTOR, messages=(Message("user", heard),), reply_format=ANSWER_FORM)
    # The published scorer looks at the first word only and lets anything follow: "Answer: firstly" is first, "Answer: 12" is 1.
    chosen = ANSWER.match(answer)
    if not chosen:
        return aborted_at_selector(
            "answer does not start with Answer: and first, second or third", described["content"]
        )
    return answered(chosen["label"].lower() in puzzle.right_answers, described["content"])


# ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────────
# Lose is 1 for aborted episodes too, which no other game does; published tables contain it.


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


# ── bots ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

PLACES = ("first", "second", "third")
FILLED = re.compile(r"row by row ((?:[0X]{5} ){4}[0X]{5})")


def describe(instance: Instance, heard: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Spells the target cell by cell; unskilled, a grid that is none of the three."""
    spelled = _spelled(Fields(instance).text(DESCRIBER_GRIDS[0]))
    if chance.random() >= skill:
        spelled = " ".join("".join(chance.choice("0X") for _ in range(SIDE)) for _ in range(SIDE))
    return f"Expression: the grid that reads row by row {spelled}"


def select(instance: Instance, heard: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Chooses the grid most like what a bot spelled, or the target if nothing was spelled; unskilled, one of the two others."""
    fields = Fields(instance)
    target = PLACES.index(fields.texts("target_grid_name")[0])
    choice = target
    said = FILLED.search(heard[-1].text)
    if said is not None:
        spelled = [_spelled(fields.text(name)) for name in SELECTOR_GRIDS]
        choice = max(range(len(PLACES)), key=lambda place: sum(map(str.__eq__, spelled[place], said[1])))
    if chance.random() >= skill:
        choice = chance.choice([place for place in range(len(PLACES)) if place != target])
    return f"Answer: {PLACES[choice]}"


def _spelled(grid: str) -> str:
    return " ".join("".join("0" if cell == EMPTY else "X" for cell in row) for row in rows_of(grid))


GAME = Game(
    name="referencegame",
    summary="Describe one grid so that it can be told from two others; the other seat chooses it.",
    seats=(DESCRIBER, SELECTOR),
    rule_sets=RULE_SETS,
    turns_typical=2,
    play=play,
    instances=lambda: own_set("referencegame"),
    bots={DESCRIBER: describe, SELECTOR: select},
)

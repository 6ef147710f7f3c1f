"""The panel of a method: the prompts that one day asks, how they are chosen, and the file that keeps them.

Knows first tokens and margins; sends nothing. Keeps: a day has at most CALLS_A_DAY calls for a method.
Source: the idea of border inputs, whose answer at temperature 0 flips between repeats, is that of B3IT (arXiv
2602.11083)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import orjson
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import TypeAdapter, ValidationError

from harness.core.errors import SpecError

CALLS_A_DAY = 200
PROMPTS_MAX = 40
REPEATS_MAX = 10
BORDER_MIN = 5  # prompts that flip, below which a mean over them is that of a few accidents
Kind = Literal["border", "margin", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPanel:
    """The prompts of one method.

    kind      "border": answers that flip at temperature 0; "margin": answers whose first two tokens are
              nearly as likely; "random": neither was found
    repeats   how often a day asks each prompt
    calls     that the search took
    sentence  what was found, for a person"""

    method: str
    kind: Kind
    prompts: Annotated[tuple[str, ...], MinLen(1), MaxLen(CALLS_A_DAY)]
    repeats: Annotated[int, Ge(1), Le(CALLS_A_DAY)]
    calls: int
    sentence: str


_PANELS = TypeAdapter(tuple[MethodPanel, ...])


def flip_share(answers: Sequence[str]) -> float:
    """Returns the share of answers that are not the most frequent one."""
    ((_, most),) = Counter(answers).most_common(1)
    return 1 - most / len(answers)


def choose_panel(
    method: str, answers: Mapping[str, Sequence[str]], margins: Mapping[str, float], calls: int
) -> MethodPanel:
    """Returns the panel of a method.

    answers   prompt -> its first tokens, one at least, in the order of asking
    margins   prompt -> log-probability of the first token above that of the second; empty: none are stated
    calls     that the search took"""
    shares = {prompt: flip_share(given) for prompt, given in answers.items()}
    border = sorted((prompt for prompt, share in shares.items() if share), key=lambda one: -shares[one])
    kind: Kind
    if len(border) >= BORDER_MIN:
        kind, prompts = "border", border[:PROMPTS_MAX]
        repeats = min(REPEATS_MAX, CALLS_A_DAY // len(prompts))
        found = f"the answer to {len(border)} of {len(answers)} prompts flips at temperature 0"
    elif margins:
        kind, prompts = "margin", sorted(margins, key=margins.__getitem__)[:PROMPTS_MAX]
        repeats = CALLS_A_DAY // len(prompts)
        found = (
            f"the answer to {len(border)} of {len(answers)} prompts flips, so these are the prompts with the "
            f"smallest margins between the first two tokens, up to {margins[prompts[-1]]:.3f}"
        )
        repeats = min(REPEATS_MAX, repeats)
    else:
        kind, prompts, repeats = "random", list(answers)[:CALLS_A_DAY], 1
        found = (
            f"the answer to {len(border)} of {len(answers)} prompts flips and no log-probabilities are given, so "
            "these are random prompts; they show large changes only"
        )
    sentence = (
        f"{method}: {found}. A day has {len(prompts) * repeats} one-token calls ({len(prompts)} prompts)."
    )
    return MethodPanel(
        method=method, kind=kind, prompts=tuple(prompts), repeats=repeats, calls=calls, sentence=sentence
    )


def write_panels(path: Path, panels: Sequence[MethodPanel]) -> None:
    """Writes the panels to a new file.

    raises  SpecError if the file exists"""
    refuse_existing(path)
    path.write_bytes(orjson.dumps([asdict(panel) for panel in panels], option=orjson.OPT_INDENT_2) + b"\n")


def refuse_existing(path: Path) -> None:
    """Raises SpecError if the file exists: days of another panel cannot be compared with those before."""
    if path.exists():
        raise SpecError(
            f"{path}: there is a panel already, and days of another one cannot be compared with its days; "
            "delete the file, or name another with --panel"
        )


def read_panels(path: Path) -> tuple[MethodPanel, ...]:
    """Returns the panels in this file.

    raises  SpecError if there is no such file, or it is no panel"""
    try:
        return _PANELS.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise SpecError(f"{path}: there is no such file; lightbulb watch init SWEEP.toml makes it") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SpecError(f"{path}: {place}: {first['msg']}; make it anew: lightbulb watch init") from error

"""The panel of a method: the prompts that one day asks, how they are chosen, and the file that keeps them.

Knows first tokens and margins; sends nothing. Keeps: a day has at most CALLS_A_DAY calls for a method.
Source: the idea of border inputs, whose answer at temperature 0 flips between repeats, is that of B3IT (arXiv
2602.11083)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import orjson
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import TypeAdapter, ValidationError

from harness.core.errors import SpecError
from harness.core.user_files import MIB, read_bytes

CALLS_A_DAY = 200
PROMPTS_MAX = 40
PANEL_BYTES_MAX = 64 * MIB  # a method has at most 40 short prompts
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
_ANEW = "name another file, or make one: lightbulb watch init SWEEP.toml"


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
        found = f"{len(border)} of {len(answers)} prompts get different answers at temperature 0"
    elif margins:
        kind, prompts = "margin", sorted(margins, key=margins.__getitem__)[:PROMPTS_MAX]
        found = (
            f"{len(border)} of {len(answers)} prompts get different answers at temperature 0, so these are those "
            f"with the smallest margins between the first two tokens, up to {margins[prompts[-1]]:.3f}"
        )
    else:
        kind, prompts = "random", list(answers)[:CALLS_A_DAY]
        found = (
            f"{len(border)} of {len(answers)} prompts get different answers at temperature 0, and no "
            "log-probabilities are given, so these are random prompts; they show large changes only"
        )
    repeats = 1 if kind == "random" else min(REPEATS_MAX, CALLS_A_DAY // len(prompts))
    sentence = (
        f"{method}: {found}. A day has {len(prompts) * repeats} one-token calls ({len(prompts)} prompts)."
    )
    return MethodPanel(
        method=method, kind=kind, prompts=tuple(prompts), repeats=repeats, calls=calls, sentence=sentence
    )


def write_panels(path: Path, panels: Sequence[MethodPanel]) -> None:
    """Writes the panels to a new file.

    raises  SpecError if the file exists or cannot be written"""
    refuse_unwritable(path)
    try:
        path.write_bytes(
            orjson.dumps([asdict(panel) for panel in panels], option=orjson.OPT_INDENT_2) + b"\n"
        )
    except OSError as error:
        path.unlink(missing_ok=True)  # a part of a panel is none
        raise SpecError(
            f"{path}: cannot be written ({error.strerror}); correct this, and search again"
        ) from error


def refuse_unwritable(path: Path) -> None:
    """Raises SpecError if the folder takes no file, or the file exists: days of another panel cannot be
    compared with those before."""
    if path.exists():
        raise SpecError(
            f"{path}: there is a panel already, and days of another one cannot be compared with its days; "
            "delete the file, or name another with --panel"
        )
    if not os.access(path.absolute().parent, os.W_OK):
        raise SpecError(
            f"{path}: cannot be written: its folder is absent or read-only; name another file with --panel"
        )


def read_panels(path: Path) -> tuple[MethodPanel, ...]:
    """Returns the panels in this file.

    raises  SpecError if there is no such file, or it does not contain panels that can be played"""
    if not path.exists():
        raise SpecError(f"{path}: there is no such file; lightbulb watch init SWEEP.toml makes it")
    try:
        panels = _PANELS.validate_json(read_bytes(path, bytes_max=PANEL_BYTES_MAX, remedy=_ANEW))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{key}: " for key in (".".join(map(str, first["loc"])),) if key)
        raise SpecError(f"{path}: {place}{first['msg']}; {_ANEW}") from error
    for problem in _problems(panels):
        raise SpecError(f"{path}: {problem}; {_ANEW}")
    return panels


def _problems(panels: Sequence[MethodPanel]) -> Iterator[str]:
    """Yields what would send other calls than a search allows, or call two panels one."""
    if not panels:
        yield "has no panel"
    methods = Counter(panel.method for panel in panels)
    yield from (f"has {count} panels of {method}" for method, count in methods.items() if count > 1)
    for panel in panels:
        if len(set(panel.prompts)) < len(panel.prompts):
            yield f"the panel of {panel.method} has one prompt twice"
        if (calls := len(panel.prompts) * panel.repeats) > CALLS_A_DAY:
            yield f"the panel of {panel.method} has {calls:,} calls a day, more than {CALLS_A_DAY}"

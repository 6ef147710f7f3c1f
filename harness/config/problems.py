"""Writes the problems of a sweep file as lines: the place in the file, the key, the problem with its remedy.

Knows TOML's lines well enough to find a key: tables, arrays of tables, and keys with quotes."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.user_files import MIB, read_text
from harness.core.vocabulary import split_method_key

Key = tuple[str | int, ...]
# The text says what is wrong, and the remedy. Where it takes time to find a remedy, the text is a function:
# of very many problems only the first are written.
Problem = tuple[Key, str | Callable[[], str]]
LINES_MAX = 50  # of one error: two screens
WORDS_MAX = 60  # an emulator and a method have fewer keys
SWEEP_BYTES_MAX = 8 * MIB  # 20,000 access methods of 400 bytes each
_PART = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w-]+)"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_TABLE = re.compile(rf"\s*(\[{{1,2}})\s*({_DOTTED})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")


def method_place(method: str, *key: str | int) -> Key:
    """Returns where the sweep file describes an access method, or this key of it."""
    model, name = split_method_key(method)
    return ("models", model, "methods", name, *key)


def sweep_text(path: Path) -> str:
    """Returns the text of a sweep file; raises SpecError if it cannot be read."""
    return read_text(path, bytes_max=SWEEP_BYTES_MAX, remedy="name a sweep file")


def spec_error(source: Path, problems: Sequence[Problem]) -> SpecError:
    """Returns an error that lists these problems of a sweep file, each with its line and key."""
    try:
        text = sweep_text(source)
    except SpecError:  # the file changed since it was read: the keys have to do without lines
        text = ""
    return SpecError(problem_lines(str(source), text, problems))


def problem_lines(source: str, text: str, problems: Sequence[Problem]) -> str:
    """Returns a line for each problem, in the order of the file; those of the file as a whole come first. Of
    more than LINES_MAX, the last line says how many are left out.

    source, text   name and text of the file; text is empty if there is none"""
    lines = _lines_of_keys(text)
    placed = [(_line_of(lines, key), key, problem) for key, problem in problems]
    placed.sort(key=lambda one: one[0] or 0)
    written = [
        f"{source}{f':{line}' if line else ''}: {'.'.join(map(str, key)) or 'the file'}: {problem_text(problem)}"
        for line, key, problem in placed[:LINES_MAX]
    ]
    if len(placed) > LINES_MAX:
        written.append(f"{source}: and {len(placed) - LINES_MAX:,} more problems; mend these first")
    return "\n".join(written)


def problem_text(problem: str | Callable[[], str]) -> str:
    return problem if isinstance(problem, str) else problem()


def suggest(word: str, known: Sequence[str]) -> str:
    """Returns the end of an error about an unknown word: the most similar known word, or the first of
    them."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    more = f" and {len(known) - WORDS_MAX:,} more" if len(known) > WORDS_MAX else ""
    return f"; known: {', '.join(known[:WORDS_MAX]) or 'none'}{more}"


def _line_of(lines: Mapping[tuple[str, ...], int], key: Key) -> int | None:
    """Returns the line of this key, or of the innermost table around it; None if the file as a whole is
    meant."""
    wanted = tuple(map(str, key))
    around = (wanted[:length] for length in range(len(wanted), 0, -1))
    return next((lines[part] for part in around if part in lines), None)


def _lines_of_keys(text: str) -> dict[tuple[str, ...], int]:
    """Returns for each key and each table of a sweep file the first line that has it."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    in_arrays: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            here = table = _parts(header[2])
            if header[1] == "[[":
                in_arrays[here] = place = in_arrays.get(here, -1) + 1
                here = table = (*here, str(place))
        elif assignment := _ASSIGNMENT.match(line):
            here = table + _parts(assignment[1])
        else:
            continue
        lines.setdefault(here, number)
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    """Returns the parts of a dotted key, without their quotes."""
    return tuple(map(_unquoted, re.findall(_PART, dotted)))


def _unquoted(part: str) -> str:
    if part[0] not in "\"'":
        return part
    try:
        return str(tomllib.loads(f"key = {part}")["key"])
    except tomllib.TOMLDecodeError:  # in the text of a value that only looks like a key
        return part

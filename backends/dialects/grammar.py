"""Writes a regular expression as a GBNF grammar, which llama.cpp's server takes in the field `grammar`.

Knows the subset of expressions that reply formats use (`ReplyFormat.regex`): literals, classes, groups,
alternatives and repeats. Pure. Python's own parser reads the expression, so both sides agree on what it
means. Keeps: the grammar matches exactly the texts that the expression matches as a whole. Does not promise:
anything for expressions outside the subset; they are refused.

Source of the notation: the GBNF guide in llama.cpp's folder grammars/."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import Any

from harness.core.errors import SpecError

_parser: Any = import_module("re._parser")  # the standard library's; its typing stubs do not list it
_constants: Any = import_module("re._constants")

_QUOTE = '"'
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


@lru_cache(maxsize=256)
def gbnf(expression: str) -> str:
    """Returns the grammar whose texts are those that the expression matches as a whole.

    Kept for each expression: a game has few formats, and a grammar is wanted for every call.
    raises  SpecError if the expression has a part outside the subset"""
    return f"root ::= {_sequence(_parser.parse(expression))}"


def _sequence(parsed: Iterable[tuple[Any, Any]]) -> str:
    written: list[str] = []
    literal = ""
    for operation, argument in parsed:
        if operation is _constants.LITERAL:
            literal += _quoted(argument, _QUOTE)
            continue
        if literal:
            written.append(f'"{literal}"')
            literal = ""
        written.append(_item(operation, argument))
    if literal or not written:
        written.append(f'"{literal}"')
    return " ".join(written)


def _item(operation: Any, argument: Any) -> str:
    if operation is _constants.NOT_LITERAL:
        return f"[^{_in_class(argument)}]"
    if operation is _constants.IN:
        return f"[{''.join(_member(kind, value) for kind, value in argument)}]"
    if operation is _constants.SUBPATTERN:
        return f"({_sequence(argument[-1])})"
    if operation is _constants.BRANCH:
        return f"({' | '.join(_sequence(branch) for branch in argument[1])})"
    if operation is _constants.MAX_REPEAT:
        least, most, repeated = argument
        bound = "" if most is _constants.MAXREPEAT else most
        return f"({_sequence(repeated)}){{{least},{bound}}}"
    raise _outside(str(operation).lower())


def _member(kind: Any, value: Any) -> str:
    if kind is _constants.NEGATE:
        return "^"
    if kind is _constants.LITERAL:
        return _in_class(value)
    if kind is _constants.RANGE:
        return f"{_in_class(value[0])}-{_in_class(value[1])}"
    raise _outside(f"{str(kind).lower()} in a class")


def _in_class(code: int) -> str:
    return _quoted(code, "]-^[")


def _quoted(code: int, special: str) -> str:
    """Returns one character as GBNF writes it, where the characters in `special` have another meaning."""
    character = chr(code)
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character in special or not 0x20 <= code < 0x7F:
        return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
    return character


def _outside(part: str) -> SpecError:
    return SpecError(
        f"a reply format that llama.cpp has to enforce has {part}; "
        "it may have literals, classes, groups, alternatives and repeats"
    )

"""The grammars that llama.cpp is sent match what the games' formats match."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects import DIALECTS
from backends.dialects.grammar import gbnf
from games import GAMES
from games.playthrough import play_by_bots
from harness.core.errors import SpecError
from harness.core.seeds import stream
from tests.backends.dialects.test_openai_chat import PROMPT
from tests.world import method

PIECE = re.compile(r'"((?:\\.|[^"\\])*)"|\[((?:\\.|[^\]\\])*)\]|(\{\d+,\d*\})|([()|])|(\s+)')
CODE = re.compile(r"\\(?:x([0-9A-F]{2})|u([0-9A-F]{4})|U([0-9A-F]{8})|([nrt\\]))")


def formats() -> dict[str, str]:
    """Returns every format that the games ask for, by game and seat."""
    found: dict[str, str] = {}
    for game in GAMES.values():
        play = play_by_bots(game, game.instances()[0], "v1.6b", skill=0.5, chance=stream(0))
        found |= {
            f"{game.name} {ask.seat} {ask.reply_format.regex[:12]}": ask.reply_format.regex
            for ask in play.asks
        }
    return found


def expression_of(grammar: str) -> str:
    """Reads the notation back, independently of how it was written, as a regular expression."""
    rule, _, body = grammar.partition(" ::= ")
    assert rule == "root"
    expression, place = "", 0
    while place < len(body):
        piece = PIECE.match(body, place)
        assert piece is not None, body[place:]
        literal, members, repeat, mark, _ = piece.groups()
        if literal is not None:
            expression += re.escape(CODE.sub(character, literal))
        elif members is not None:
            expression += f"[{CODE.sub(lambda code: re.escape(character(code)), members)}]"
        else:
            expression += repeat or {"(": "(?:"}.get(mark or "", mark or "")
        place = piece.end()
    return expression


def character(code: re.Match[str]) -> str:
    two, four, eight, letter = code.groups()
    return (
        {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}[letter]
        if letter
        else chr(int(two or four or eight, 16))
    )


@pytest.mark.parametrize("expression", formats().values(), ids=formats())
@given(data=st.data())
def test_a_grammar_matches_what_its_expression_matches(expression: str, data: st.DataObject) -> None:
    """Texts of the expression match the grammar, and texts near them match both or neither."""
    read_back = re.compile(expression_of(gbnf(expression)))
    text = data.draw(st.from_regex(expression, fullmatch=True))
    assert read_back.fullmatch(text)
    place = data.draw(st.integers(0, len(text)))
    near = (
        text[:place]
        + data.draw(st.sampled_from(['"', "\\", "]", "-", "^", "\n", "é", "▢", "NA", ""]))
        + text[place + 1 :]
    )
    assert bool(read_back.fullmatch(near)) is bool(re.fullmatch(expression, near))


@pytest.mark.parametrize(
    "expression", [r'[]"\\^\-]{1,3}', r"a|b(c|)", "[^a-c]{2,2}", 'say "no"\\\\', "", "▢[▢é]{0,2}"]
)
def test_special_characters_are_escaped(expression: str) -> None:
    """Characters with a meaning in the notation stand for themselves; the empty alternative is kept."""
    read_back = re.compile(expression_of(gbnf(expression)))
    for text in ("", "a", "b", "bc", "xy", 'say "no"\\', "]", '"\\^', "-", "▢", "▢é▢", "d]"):
        assert bool(read_back.fullmatch(text)) is bool(re.fullmatch(expression, text)), text


@pytest.mark.parametrize("expression", ["(?=a)b", "^a", r"\d", "a*?", r"(a)\1", "."])
def test_what_is_outside_the_subset_is_refused(expression: str) -> None:
    """An error names what the expression may have; nothing is sent that would mean something else."""
    with pytest.raises(SpecError, match="alternatives and repeats"):
        gbnf(expression)


def test_llamacpp_is_sent_a_grammar_and_nothing_else() -> None:
    """Its server ignores the fields of other servers with HTTP 200, so those are not sent."""
    held = replace(method("m/held"), provider="llamacpp", constrain=True)
    body = DIALECTS["openai_chat"].request_body(held, PROMPT)
    assert body["grammar"] == gbnf(PROMPT.reply_format.regex)
    assert not body.keys() & {"regex", "structured_outputs", "response_format"}

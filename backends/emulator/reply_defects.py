"""Adds planted defects to a finished reply: changed letters, lost white space, thoughts in its text. Pure."""

from __future__ import annotations

from dataclasses import replace

from backends.emulator.formats import ChatReply
from harness.core.emulation import Defects


def with_text_defects(text: str, defects: Defects) -> str:
    """Returns the text with the changes that the defects ask for."""
    if defects.strip_whitespace:
        text = text.strip()
    if defects.lowercase_first:
        text = text[:1].lower() + text[1:]
    return text


def with_thoughts_in_text(reply: ChatReply) -> ChatReply:
    """Returns the reply with its thoughts in the text, as a server without a reasoning parser sends it."""
    return replace(
        reply, text=f"<think>\n{reply.thoughts}\n</think>\n\n{reply.text}", thoughts="", thought_tokens=0
    )

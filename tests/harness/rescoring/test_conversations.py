"""Replies are grouped by the conversation that begins with theirs."""

from __future__ import annotations

from harness.core.vocabulary import Message
from harness.rescoring.conversations import Scoring, by_conversation

ASK, MORE, OTHER = Message("user", "Q"), Message("user", "more"), Message("user", "other")


def scoring(*messages: Message, reply: str, ended: bool = True, top: int = 1) -> Scoring:
    return Scoring(messages, reply, ended, top)


def test_the_turns_of_an_episode_are_one_group() -> None:
    """The longest comes first; a reply cut short and the whole one with equal text are both in it."""
    first, cut = scoring(ASK, reply="a"), scoring(ASK, reply="a", ended=False)
    second = scoring(ASK, Message("assistant", "a"), MORE, reply="b")
    third = scoring(*second.conversation, MORE, reply="c")
    assert by_conversation([first, second, cut, third]) == [[third, second, first, cut]]


def test_what_two_conversations_begin_with_is_scored_once() -> None:
    """It is in the group of the longer one, if they differ in length."""
    first = scoring(ASK, reply="a")
    short = scoring(*first.conversation, OTHER, reply="b")
    middle = scoring(*first.conversation, MORE, reply="b")
    longest = scoring(*middle.conversation, MORE, reply="c")
    assert by_conversation([first, short, middle, longest]) == [[longest, middle, first], [short]]


def test_other_texts_and_lists_are_apart() -> None:
    """Another reply, another first message, and another number of likely tokens."""
    second = scoring(ASK, Message("assistant", "a"), MORE, reply="b")
    apart = [
        second,
        scoring(ASK, reply="a "),
        scoring(OTHER, reply="a"),
        scoring(ASK, reply="a", top=20),
        scoring(Message("system", "S"), ASK, reply="a"),
    ]
    groups = by_conversation(apart)
    assert sorted(groups) == sorted([one] for one in apart)


def test_nothing_is_lost() -> None:
    """A message of the user that equals a reply is none."""
    user = scoring(Message("user", "a"), reply="b")
    assistant = scoring(Message("assistant", "a"), reply="b")
    found = by_conversation([user, assistant])
    assert sorted(one for group in found for one in group) == sorted([user, assistant])
    assert by_conversation([]) == []

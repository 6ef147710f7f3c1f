"""Items are drawn alike for all methods, and until each has enough tokens."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.vocabulary import Message
from harness.rescoring.item_sample import of_drawn_items
from harness.store.rescore_queries import StoredReply


def replies(
    method: str, tokens: int, items: Sequence[int] = range(20), *, turns: int = 2
) -> list[StoredReply]:
    return [
        StoredReply(
            method=method,
            item=f"game:{item}",
            episode_id=f"{method} {item}",
            attempt=1,
            turn=turn,
            ask_hash="",
            messages=(Message("user", "Q"),),
            reply="a",
            finish_reason="stop",
            tokens=tokens,
            scored=False,
        )
        for item in items
        for turn in range(turns)
    ]


def items_of(found: Sequence[StoredReply], method: str) -> set[str]:
    return {reply.item for reply in found if reply.method == method}


def test_each_method_gets_enough_tokens_of_the_same_items() -> None:
    """The method with the shorter replies decides: 5 tokens an item, so 6 items for 30 tokens."""
    found = of_drawn_items([*replies("m/long", 50), *replies("m/short", 5, turns=1)], 30)
    assert len(items_of(found, "m/short")) == 6
    assert items_of(found, "m/long") == items_of(found, "m/short")
    assert len([reply for reply in found if reply.method == "m/long"]) == 12  # all turns of an item


def test_more_tokens_draw_the_same_items_and_further_ones() -> None:
    """So a second call goes on where the first ended. The first items of the file are not the first drawn."""
    every = replies("m/a", 10)
    few, more = (items_of(of_drawn_items(every, tokens), "m/a") for tokens in (60, 200))
    assert few < more
    assert few != {"game:0", "game:1", "game:2"}


def test_a_method_without_enough_replies_gets_all_of_them() -> None:
    """And the others are scored on these items too, and on no more than they need."""
    found = of_drawn_items([*replies("m/a", 10), *replies("m/b", 10, items=[3, 7])], 100)
    assert items_of(found, "m/b") == {"game:3", "game:7"}
    assert items_of(found, "m/a") >= {"game:3", "game:7"}
    assert len(of_drawn_items(replies("m/a", 10), 10**9)) == 40

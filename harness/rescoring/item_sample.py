"""Draws the items whose replies are scored, where not all of them are. Pure.

Keeps: all methods get the same items, and a later call with more tokens draws the same ones first, so that
nothing is scored in vain. The draw depends on the items alone, never on replies or scores."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.seeds import derive_seed
from harness.store.rescore_queries import StoredReply


def of_drawn_items(replies: Sequence[StoredReply], tokens_min: int) -> list[StoredReply]:
    """Returns all replies to items that are drawn until each method has at least this many tokens, or no more
    items.

    replies   of all methods; those that are scored already count"""
    of_item: dict[str, list[StoredReply]] = {}
    for reply in replies:
        of_item.setdefault(reply.item, []).append(reply)
    lacking = dict.fromkeys((reply.method for reply in replies), tokens_min)
    chosen: list[StoredReply] = []
    for item in sorted(of_item, key=lambda name: derive_seed(0, "rescored items", name)):
        if all(tokens <= 0 for tokens in lacking.values()):
            break
        chosen += of_item[item]
        for reply in of_item[item]:
            lacking[reply.method] -= reply.tokens
    return chosen

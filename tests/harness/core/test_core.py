"""Tests of the shared values: messages, digests, seeds, prices."""

from __future__ import annotations

import pytest

from harness.core.seeds import derive_seed, stream
from harness.core.vocabulary import Message, Prices, digest, framed, normalised


def test_neighbours_of_one_role_are_joined_by_a_blank_line() -> None:
    """As published runs sent them: also around an empty message; a leading empty system message is dropped, a
    full one stays."""
    said = [
        Message("system", ""),
        Message("user", "a"),
        Message("user", ""),
        Message("user", "b"),
        Message("assistant", "c"),
    ]
    assert normalised(said) == (Message("user", "a\n\n\n\nb"), Message("assistant", "c"))
    assert normalised([Message("system", "s"), Message("user", "a")]) == (
        Message("system", "s"),
        Message("user", "a"),
    )
    assert normalised([]) == ()


def test_a_digest_depends_on_the_boundaries_of_its_parts() -> None:
    """Texts that join to the same string have different digests; any text has one, half surrogate pairs
    included."""
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest("\ud83d") != digest("�")
    assert len(digest("a", bytes_of_digest=8)) == 16


def test_a_digest_is_the_same_in_every_version() -> None:
    """Stores are resumed by later ones: this value may never change, and parts may come framed."""
    assert digest("a", "b") == "4fc56058b4df0ca122be9a2e429541d6"
    assert digest("a", then=framed(["b", "\ud83d", ""])) == digest("a", "b", "\ud83d", "")


def test_a_seed_is_the_same_on_every_machine() -> None:
    """These values may not change: stores are resumed on other machines."""
    assert derive_seed(7, "order", 0) == 105_546_558_271_216_044


@pytest.mark.parametrize("path", [("order", 0), ("bot", "k", "s", 1)])
def test_streams_have_names(path: tuple[str | int, ...]) -> None:
    """The same root and path give the same stream; another path or root gives another stream."""
    assert derive_seed(7, *path) == derive_seed(7, *path)
    assert derive_seed(7, *path) != derive_seed(8, *path)
    assert derive_seed(7, *path) != derive_seed(7, *path, 0)
    assert stream(7, *path).random() == stream(7, *path).random()
    assert 0 <= derive_seed(7, *path) < 2**64


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ((1_000_000, None, 0), 2.0),
        ((0, None, 1_000_000), 8.0),
        ((1_000_000, 400_000, 500_000), 1.2 + 0.2 + 4.0),
        ((10, 50, 0), 5e-6),
        ((None, None, 7), None),
        ((7, None, None), None),
    ],
)
def test_a_call_costs_what_its_tokens_do(
    usage: tuple[int | None, int | None, int | None], expected: float | None
) -> None:
    """Cached tokens are part of the prompt with their own price; without token counts there is no cost."""
    prompt_tokens, cached_tokens, completion_tokens = usage
    cost = Prices(input=2.0, output=8.0, cached=0.5).cost_usd(
        prompt_tokens=prompt_tokens, cached_tokens=cached_tokens, completion_tokens=completion_tokens
    )
    assert cost == (None if expected is None else pytest.approx(expected))


def test_cached_tokens_without_a_price_cost_like_others() -> None:
    """The higher estimate is used, so that a budget is not exceeded."""
    assert (
        Prices(input=1.0, output=1.0).cost_usd(prompt_tokens=1_000_000, cached_tokens=9, completion_tokens=0)
        == 1.0
    )

"""Makes candidates for a panel: short questions with several good answers, so that for some of them the two
most likely first tokens are nearly equally probable. Pure."""

from __future__ import annotations

from itertools import permutations

from harness.core.seeds import stream

TEMPLATES = (
    "Choose one of two words: {} or {}? Answer with that word alone.",
    "Which comes first to your mind, {} or {}? Answer with one word.",
    "Name a thing that has to do with both {} and {}. Answer with one word.",
    "Which weighs more on a rainy day, {} or {}? Answer with one word.",
)
NOUNS = (
    *("apple", "anchor", "barrel", "basket", "bell", "bottle", "branch", "bridge", "candle"),
    *("castle", "cloud", "coin", "copper", "cradle", "desert", "door", "feather", "fence"),
    *("flute", "forest", "garden", "glove", "hammer", "harbour", "honey", "island", "kettle"),
    *("ladder", "lantern", "lemon", "letter", "marble", "meadow", "mirror", "needle", "oven"),
    *("paper", "pebble", "pepper", "piano", "river", "saddle", "shadow", "spoon", "thunder"),
    *("valley", "velvet", "window"),
)


def candidates(seed: int, count: int) -> tuple[str, ...]:
    """Returns so many different prompts; the same for the same seed.

    count   at most 9,024"""
    every = [template.format(*pair) for template in TEMPLATES for pair in permutations(NOUNS, 2)]
    return tuple(stream(seed, "watch", "prompts").sample(every, count))

"""What the audit will be able to say of a sweep that nobody has played yet.

Knows how many items and repeats each game has. The spread of paired differences is that of the audit's own simulations of a capable
model, whose points differ by luck alone: a first guess, which a store's `lightbulb audit --plan` replaces by what was measured."""

from __future__ import annotations

from collections.abc import Collection
from math import sqrt

from harness.audit.planning import reach

# Variance of the difference of two plays of one item, in points squared, where two methods are truly alike: from standard errors of .71
# points (nearly the same replies each time) and 1.65 (fresh chance) over 420 items in seven games with one repeat.
STEADY, CHANCE = 147.7, 797.0


def margin_provable(items: Collection[int], *, repeats: int, fresh_chance: bool, alpha: float, methods: int) -> float:
    """Points of the smallest margin within which a method truly alike would be proved so, four times in five.

    items         of each game
    fresh_chance  the sampler is not greedy
    methods       held against the reference: Holm's first step divides alpha among them"""
    spread = CHANCE if fresh_chance else STEADY
    variance = sum(spread / (count * repeats) for count in items if count) / len(items) ** 2
    return reach(alpha / max(1, methods)) * sqrt(variance)

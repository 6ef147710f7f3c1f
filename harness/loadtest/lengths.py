"""Lengths by distribution: reads MEAN[:SD[:MIN:MAX]], draws whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from harness.core.errors import SpecError

LENGTH_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthDistribution:
    """A normal distribution, rounded and cut to [least, most]."""

    mean: float
    sd: float = 0.0
    least: float = 1
    most: float = LENGTH_MAX

    def draw(self, chance: Random) -> float:
        value = chance.gauss(self.mean, self.sd) if self.sd else self.mean
        return min(max(value, self.least), self.most)

    def draw_whole(self, chance: Random) -> int:
        return round(self.draw(chance))


def parse_length(text: str, option: str, *, least: float = 1) -> LengthDistribution:
    """Reads a distribution such as 512, 512:64 or 512:64:16:2048.

    least   where the text has no bounds
    raises  SpecError naming the option"""
    wrong = SpecError(
        f"{option} {text!r}: write MEAN, MEAN:SD or MEAN:SD:MIN:MAX, such as 512:64; the mean must be between MIN "
        f"and MAX, and no length below {least:g}"
    )
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError as error:
        raise wrong from error
    if len(numbers) not in (1, 2, 4):
        raise wrong
    mean, sd = numbers[0], numbers[1] if len(numbers) > 1 else 0.0
    low, high = numbers[2:] or (least, float(LENGTH_MAX))
    if not (sd >= 0 and least <= low <= mean <= high <= LENGTH_MAX):
        raise wrong
    return LengthDistribution(mean=mean, sd=sd, least=low, most=high)

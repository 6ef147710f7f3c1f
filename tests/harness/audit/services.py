"""Services whose days vary: each ask has a distribution of its own over six replies, which moves from day to
day.

A model of data, not data. A day's distribution of an ask is its usual one with a share of the mass moved to a
random distribution; the share is chosen so that the mean total variation of a day is as asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.audit.replies.day_variation import Panel
from harness.audit.replies.drift import Day, PanelReply
from harness.audit.scores.arrays import BoolArray, IntArray

TEXTS = 6
USUAL = np.array([0.7, 0.15, 0.08, 0.04, 0.02, 0.01])


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The way in which a service answers a panel.

    variation           mean total variation between a day's distribution and the usual one, common to all
                        asks
    weekend_variation   the same on Saturdays and Sundays, always towards one other distribution
    swapped_on          the day, from 0, from which another model answers; None: never
    swapped_share       share of the answers that the other model gives from then on
    repeat_share        share of asks that the other model answers alike
    long_tail           a day's variation is exponential, not half-normal"""

    asks: int = 30
    replies: int = 2
    variation: float = 0.05
    weekend_variation: float = 0.05
    swapped_on: int | None = None
    swapped_share: float = 1.0
    repeat_share: float = 0.0
    long_tail: bool = False


def days_of(service: Service, days: int, rng: np.random.Generator, *, first_weekday: int = 0) -> list[Day]:
    """Returns so many days in a row; weekday 0 is a Monday."""
    return [
        Day(
            label=f"day {number}",
            weekend=weekend,
            replies=tuple(
                PanelReply(item=f"i{ask}", ask=f"a{ask}", text=f"reply {text}", ending="stop")
                for ask, texts in enumerate(drawn.tolist())
                for text in texts
            ),
            facts={},
            prompt_tokens={},
        )
        for number, (weekend, drawn) in enumerate(_draw(service, days, rng, first_weekday))
    ]


def panel_of(
    service: Service, days: int, rng: np.random.Generator, *, first_weekday: int = 0
) -> tuple[Panel, BoolArray]:
    """Returns the same replies as vectors, and which days are weekends."""
    weekend, drawn = zip(*_draw(service, days, rng, first_weekday), strict=True)
    mean = (np.stack(drawn)[..., None] == np.arange(TEXTS)).mean(axis=2)
    count = np.full(mean.shape[:2], service.replies)
    return Panel(mean=mean, count=count, square=(mean**2).sum(axis=2)), np.array(weekend)


def _draw(
    service: Service, days: int, rng: np.random.Generator, first_weekday: int
) -> Iterator[tuple[bool, IntArray]]:
    """Yields for each day whether it is a weekend, and the text of each reply, (asks, replies)."""
    usual = np.array([rng.permutation(USUAL) for _ in range(service.asks)])
    swapped, weekend = (np.array([rng.permutation(USUAL) for _ in range(service.asks)]) for _ in range(2))
    same = rng.random(service.asks) < service.repeat_share
    swapped[same] = usual[same]
    swapped = service.swapped_share * swapped + (1 - service.swapped_share) * usual
    for number in range(days):
        is_weekend = (first_weekday + number) % 7 >= 5
        base = swapped if service.swapped_on is not None and number >= service.swapped_on else usual
        strength = _strength(service, is_weekend, rng)
        other = weekend if is_weekend else np.array([rng.permutation(USUAL) for _ in range(service.asks)])
        cumulative = np.cumsum((1 - strength) * base + strength * other, axis=1)
        drawn = (rng.random((service.asks, service.replies, 1)) > cumulative[:, None, :]).sum(axis=2)
        yield is_weekend, np.minimum(drawn, TEXTS - 1)


def _strength(service: Service, is_weekend: bool, rng: np.random.Generator) -> float:
    """Returns which share of the mass is moved today; the distance of two random orders is DISTANCE on
    average."""
    wanted = service.weekend_variation if is_weekend else service.variation
    drawn = rng.exponential() if service.long_tail else abs(rng.normal()) * np.sqrt(np.pi / 2)
    return min(1.0, float(drawn) * wanted / DISTANCE)


def _mean_distance() -> float:
    """Returns the mean total variation between two random orders of USUAL."""
    rng = np.random.default_rng(0)
    return float(
        np.mean([np.abs(rng.permutation(USUAL) - rng.permutation(USUAL)).sum() / 2 for _ in range(4_000)])
    )


DISTANCE = _mean_distance()

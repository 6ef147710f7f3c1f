"""Services whose days vary: each ask has a distribution of its own over six replies, which moves from day to
day.

A model of data, not data. A day's distribution of an ask is its usual one with a share of the mass moved to a
random distribution; the share is chosen so that the mean total variation of a day is as asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.audit.replies.drift import Day, PanelReply

TEXTS = 6
USUAL = np.array([0.7, 0.15, 0.08, 0.04, 0.02, 0.01])


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The way in which a service answers a panel.

    variation           mean total variation between a day's distribution and the usual one, common to all
                        asks
    weekend_variation   the same on Saturdays and Sundays, always towards one other distribution
    swapped_on          the day, from 0, from which another model answers; None: never
    repeat_share        share of asks that the other model answers otherwise"""

    asks: int = 30
    replies: int = 2
    variation: float = 0.05
    weekend_variation: float = 0.05
    swapped_on: int | None = None
    repeat_share: float = 0.0


def days_of(service: Service, days: int, rng: np.random.Generator, *, first_weekday: int = 0) -> list[Day]:
    """Returns so many days in a row; weekday 0 is a Monday."""
    usual = np.array([rng.permutation(USUAL) for _ in range(service.asks)])
    swapped, weekend = (np.array([rng.permutation(USUAL) for _ in range(service.asks)]) for _ in range(2))
    same = rng.random(service.asks) < service.repeat_share
    swapped[same] = usual[same]
    return [
        _day(service, day, (first_weekday + day) % 7 >= 5, (usual, swapped, weekend), rng)
        for day in range(days)
    ]


def _day(
    service: Service,
    number: int,
    is_weekend: bool,
    distributions: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> Day:
    usual, swapped, weekend = distributions
    is_swapped = service.swapped_on is not None and number >= service.swapped_on
    base = swapped if is_swapped else usual
    wanted = service.weekend_variation if is_weekend else service.variation
    # Today's strength varies as half a normal does; TV between two such distributions is DISTANCE on average.
    strength = min(1.0, abs(rng.normal()) * np.sqrt(np.pi / 2) * wanted / DISTANCE)
    other = weekend if is_weekend else np.array([rng.permutation(USUAL) for _ in range(service.asks)])
    cumulative = np.cumsum((1 - strength) * base + strength * other, axis=1)
    drawn = (rng.random((service.asks, service.replies, 1)) > cumulative[:, None, :]).sum(axis=2)
    return Day(
        label=f"day {number}",
        weekend=is_weekend,
        replies=tuple(
            PanelReply(item=f"i{ask}", ask=f"a{ask}", text=f"reply {text}", ending="stop")
            for ask, texts in enumerate(np.minimum(drawn, TEXTS - 1).tolist())
            for text in texts
        ),
        facts={},
        prompt_tokens={},
    )


def _mean_distance() -> float:
    """Returns the mean total variation between two random orders of USUAL."""
    rng = np.random.default_rng(0)
    return float(
        np.mean([np.abs(rng.permutation(USUAL) - rng.permutation(USUAL)).sum() / 2 for _ in range(4_000)])
    )


DISTANCE = _mean_distance()

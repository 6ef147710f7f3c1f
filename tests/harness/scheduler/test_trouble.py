"""Capacity in and after trouble, on virtual time: `python -m bench.trouble` measures the same over
sockets."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import anyio
import pytest

from harness.core.errors import CallError, RateLimited, Unavailable
from harness.core.vocabulary import Completion, Prompt
from harness.limits.gate import GateLimits
from harness.scheduler.scheduler import Tally
from tests.world import Counter, World, plan, run

SECONDS = 300
Refusal = Callable[[float, int, Random], CallError | None]
"""(second, calls in flight, chance) -> what a call meets that arrives then; None: it is served."""


class Troubled(Counter):
    """Serves in 1 to 3 s by default, and refuses within 50 ms."""

    def __init__(self, world: World, refusal: Refusal, latency_s: tuple[float, float]) -> None:
        super().__init__(world.clock)
        self._refusal = refusal
        self._latency_s = latency_s
        self._chance = Random(1)
        self.served_at: list[float] = []
        self.refused_at: list[float] = []

    async def complete(self, prompt: Prompt) -> Completion:
        error = self._refusal(self.clock.now(), self.in_flight, self._chance)
        if error is not None:
            self.refused_at.append(self.clock.now())
            await self.clock.sleep(0.05)
            raise error
        self.latency_s = self._chance.uniform(*self._latency_s)
        completion = await super().complete(prompt)
        self.served_at.append(self.clock.now())
        return completion


def play(
    refusal: Refusal, *, seconds: float = SECONDS, latency_s: tuple[float, float] = (1.0, 3.0)
) -> tuple[Troubled, Tally, list[str]]:
    """Five minutes with at most 64 calls in flight; the provider, the lane's counts, the gate's events."""

    async def scenario() -> tuple[Troubled, Tally, list[str]]:
        world = World()
        provider = Troubled(world, refusal, latency_s)
        world.add(backend=provider, limits=GateLimits(concurrency=64))
        scheduler = world.scheduler({"m/a": (plan(number, goal=6) for number in range(10**6))})
        with anyio.move_on_after(seconds):
            await scheduler.play_all()
        return provider, scheduler.tallies["m/a"], [event.detail for event in world.rows.gate_events]

    return run(scenario)


def rate(provider: Troubled, begin_s: float, end_s: float = SECONDS) -> float:
    """Good answers a second."""
    return sum(begin_s <= at_s < end_s for at_s in provider.served_at) / (end_s - begin_s)


@pytest.fixture(scope="module")
def fault_free() -> float:
    """Good answers a second without trouble, from the second minute on."""
    provider, _, events = play(lambda now_s, in_flight, chance: None)
    assert events == []
    return rate(provider, 60.0)


def busy(retry_after_s: float | None = None) -> CallError:
    return Unavailable("busy", status=503, retry_after_s=retry_after_s)


def limited(retry_after_s: float | None = None) -> CallError:
    return RateLimited("slow down", status=429, retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    ("share", "error", "least"),
    [(0.01, busy, 0.95), (0.05, busy, 0.85), (0.05, limited, 0.85), (0.2, busy, 0.75), (0.2, limited, 0.75)],
)
def test_random_errors_do_not_cost_capacity(
    share: float, error: Callable[[], CallError], least: float, fault_free: float
) -> None:
    """One call of a hundred, of twenty, of five: the others go on as fast as without, and no quota is
    learned."""
    provider, tally, events = play(
        lambda now_s, in_flight, chance: error() if chance.random() < share else None
    )
    assert rate(provider, 60.0) >= least * fault_free
    assert not any("quota" in event for event in events)
    assert tally.failed == 0


@pytest.mark.parametrize(
    ("seconds", "error", "retry_after_s"),
    [(90.0, limited, None), (90.0, busy, 10.0), (180.0, busy, None), (180.0, limited, 30.0)],
)
def test_after_an_outage_capacity_is_back_within_half_a_minute(
    seconds: float, error: Callable[[float | None], CallError], retry_after_s: float | None, fault_free: float
) -> None:
    """Ninety seconds and three minutes without service, announced or not: few requests, no failed episode,
    then full speed."""
    end_s = 40.0 + seconds
    provider, tally, _ = play(
        lambda now_s, in_flight, chance: error(retry_after_s) if 40.0 <= now_s < end_s else None
    )
    assert rate(provider, end_s + 30.0, end_s + 60.0) >= 0.9 * fault_free
    assert len(provider.refused_at) <= 100
    assert tally.failed == 0


@pytest.mark.parametrize(("error", "retry_after_s"), [(limited, None), (limited, 1.0), (busy, None)])
def test_a_limit_of_places_is_found_and_used(
    error: Callable[[float | None], CallError], retry_after_s: float | None, fault_free: float
) -> None:
    """Forty calls at once and no more: after a minute nine tenths of that are used, few calls are refused, no
    quota is learned."""
    provider, tally, events = play(
        lambda now_s, in_flight, chance: error(retry_after_s) if in_flight >= 40 else None
    )
    assert rate(provider, 60.0) >= 0.9 * 40 / 64 * fault_free
    assert len(provider.refused_at) <= 0.02 * len(provider.served_at)
    assert not any("quota" in event for event in events)
    assert any(event.startswith("concurrency lowered to ") for event in events)
    assert tally.failed == 0


@pytest.mark.parametrize(
    ("places", "error", "retry_after_s", "latency_s", "least"),
    [
        (5, limited, None, (1.0, 3.0), 0.9),
        (10, limited, None, (1.0, 3.0), 0.9),
        (10, limited, 1.0, (0.2, 0.3), 0.7),
        (16, limited, None, (0.2, 0.3), 0.85),
    ],
)
def test_few_places_are_found_and_taken_for_no_quota(
    places: int,
    error: Callable[[float | None], CallError],
    retry_after_s: float | None,
    latency_s: tuple[float, float],
    least: float,
) -> None:
    """A tenth of the calls that may be in flight, and less: the calls that are refused again and again do not
    count as served together."""
    provider, tally, events = play(
        lambda now_s, in_flight, chance: error(retry_after_s) if in_flight >= places else None,
        seconds=150.0,
        latency_s=latency_s,
    )
    assert rate(provider, 60.0, 150.0) >= least * places / (sum(latency_s) / 2)
    late = sum(at_s >= 60.0 for at_s in provider.refused_at)
    assert late <= 0.2 * sum(at_s >= 60.0 for at_s in provider.served_at)
    assert not any(event.startswith("quota") for event in events)
    assert tally.failed == 0


@pytest.mark.parametrize(("per_s", "savings"), [(10.0, 10.0), (10.0, 600.0), (25.0, 25.0)])
def test_a_quick_providers_bucket_is_learned_by_a_test_of_its_pace(per_s: float, savings: float) -> None:
    """So many requests a second and savings, refused without a word: after two minutes nearly all of it is
    used, and hardly a call is refused."""
    left, at_s = savings, 0.0

    def refusal(now_s: float, in_flight: int, chance: Random) -> CallError | None:
        nonlocal left, at_s
        left, at_s = min(savings, left + (now_s - at_s) * per_s), now_s
        if left < 1.0:
            return limited()
        left -= 1.0
        return None

    provider, tally, events = play(refusal, latency_s=(0.2, 0.3))
    assert rate(provider, 120.0) >= 0.85 * per_s
    assert sum(at >= 120.0 for at in provider.refused_at) <= 0.02 * per_s * 180.0
    assert any(event.startswith("pace: ") for event in events)
    assert any(event.startswith("quota: ") for event in events)
    assert tally.failed == 0


def test_a_quick_providers_limit_of_places_is_kept() -> None:
    """A refusal takes a fifth of the time of an answer: one call too many makes a tenth of all calls fail."""
    provider, tally, _ = play(
        lambda now_s, in_flight, chance: limited() if in_flight >= 40 else None,
        seconds=40.0,
        latency_s=(0.2, 0.3),
    )
    assert rate(provider, 15.0, 40.0) >= 0.9 * 40 / 0.25
    assert sum(at_s >= 15.0 for at_s in provider.refused_at) <= 0.03 * 40 / 0.25 * 25.0
    assert tally.failed == 0


def test_a_limit_of_places_that_falls_is_followed(fault_free: float) -> None:
    """From 48 to 24 in mid-run: a minute later nine tenths of what is left are used."""
    provider, tally, _ = play(
        lambda now_s, in_flight, chance: limited() if in_flight >= (48 if now_s < 100.0 else 24) else None
    )
    assert rate(provider, 40.0, 100.0) >= 0.9 * 48 / 64 * fault_free
    assert rate(provider, 160.0) >= 0.85 * 24 / 64 * fault_free
    assert tally.failed == 0


def test_a_quota_learned_in_an_outage_is_forgotten(fault_free: float) -> None:
    """Refused five seconds after the start and for ninety: what was taken until then is no quota."""
    provider, _, _ = play(lambda now_s, in_flight, chance: limited(20.0) if 5.0 <= now_s < 95.0 else None)
    assert rate(provider, 150.0) >= 0.9 * fault_free


def test_a_minute_quota_without_a_word_is_learned_from_two_silences() -> None:
    """600 a minute by fixed minutes, refused without headers or Retry-After: from the fourth minute on hardly
    a refusal."""
    taken: list[float] = []

    def refusal(now_s: float, in_flight: int, chance: Random) -> CallError | None:
        if sum(at_s >= now_s - now_s % 60.0 for at_s in taken) >= 600:
            return limited()
        taken.append(now_s)
        return None

    provider, _, events = play(refusal)
    assert any(event.startswith("quota: 6") for event in events)
    late = sum(at_s >= 180.0 for at_s in provider.refused_at)
    assert late <= 0.02 * rate(provider, 180.0) * 120.0
    assert rate(provider, 180.0) >= 0.9 * 10.0

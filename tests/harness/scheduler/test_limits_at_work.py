"""Gates under a whole scheduler: quotas kept and used, trouble met, all of it in the store."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Literal

import pytest

from backends.emulator.quota import QuotaAccount
from harness.core.emulation import Quotas
from harness.core.errors import CallError, RateLimited, Unavailable
from harness.core.vocabulary import Completion, EpisodePlan, Prompt
from harness.limits.gate import GateLimits
from tests.world import Counter, World, plan, run


def plans(count: int) -> Iterator[EpisodePlan]:
    return (plan(number, goal=4) for number in range(count))


def busiest_minute(sent: list[float]) -> int:
    times = sorted(sent)
    return max(bisect_left(times, start + 60.0) - index for index, start in enumerate(times))


@pytest.mark.parametrize("fault_every", [0, 7])
def test_a_known_quota_is_kept_and_used(fault_every: int) -> None:
    """120 requests a minute, with and without faults: no minute holds more, and steady use is at least 97 %
    of it."""

    async def scenario() -> World:
        world = World()

        def trouble(prompt: Prompt, number: int) -> CallError | None:
            return Unavailable("busy", status=503) if fault_every and number % fault_every == 0 else None

        limits = GateLimits(concurrency=64, requests=120)
        world.add(backend=Counter(world.clock, latency_s=0.7, trouble=trouble), limits=limits)
        await world.scheduler({"m/a": plans(300)}).play_all()
        return world

    world = run(scenario)
    sent = [row.sent_at for row in world.rows.calls]
    assert len(world.rows.episodes) == 300
    assert busiest_minute(sent) <= 120
    assert len(sent) / (max(sent) - min(sent)) * 60 >= 0.97 * 120


def test_a_token_quota_is_kept_by_learned_lengths() -> None:
    """3,000 output tokens a minute, 25 a reply where 100 were allowed: after the first calls the estimate is
    right, use within 3 %."""

    async def scenario() -> World:
        world = World()

        class Talkative(Counter):
            async def complete(self, prompt: Prompt) -> Completion:
                return (await super().complete(prompt))._replace(completion_tokens=25)

        world.add(backend=Talkative(world.clock), limits=GateLimits(concurrency=64, output_tokens=3_000))
        await world.scheduler({"m/a": plans(200)}).play_all()
        return world

    sent = [row.sent_at for row in run(scenario).rows.calls]
    assert 25 * busiest_minute(sent) <= 3_000 + 100
    assert 25 * len(sent) / (max(sent) - min(sent)) * 60 >= 0.97 * 3_000


class Strict(Counter):
    """A provider of 60 requests a minute that nobody told us of: 429 beyond them, truthful headers with every
    answer."""

    def __init__(self, world: World, *, headers: bool) -> None:
        super().__init__(world.clock)
        self._headers = headers
        self._window_s = 0.0
        self._count = 0
        self.refused = 0

    async def complete(self, prompt: Prompt) -> Completion:
        now_s = self.clock.now()
        if now_s - self._window_s >= 60.0:
            self._window_s, self._count = now_s - now_s % 60.0, 0
        self._count += 1
        reset_s = 60.0 - (now_s - self._window_s)
        said = {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": str(max(0, 60 - self._count)),
            "x-ratelimit-reset-requests": f"{reset_s:.3f}s",
        }
        if self._count > 60:
            self.refused += 1
            error = RateLimited("slow down", status=429, retry_after_s=reset_s)
            error.headers = said if self._headers else {}
            raise error
        completion = await super().complete(prompt)
        return completion._replace(headers=said) if self._headers else completion


def test_an_unknown_quota_is_learned_from_headers() -> None:
    """From the first answer on the provider's word counts: hardly a refusal, and the change is a gate
    event."""

    async def scenario() -> tuple[World, Strict, float]:
        world = World()
        strict = Strict(world, headers=True)
        world.add(backend=strict, limits=GateLimits(concurrency=64))
        await world.scheduler({"m/a": plans(100)}).play_all()
        return world, strict, world.clock.now()

    world, strict, took_s = run(scenario)
    assert len(world.rows.episodes) == 100
    assert strict.refused == 0
    assert took_s <= 1.1 * 400
    assert [event.detail for event in world.rows.gate_events if event.kind == "quota"] == [
        "quota: 60 requests/min (from response headers)"
    ]


def test_a_refusal_with_a_pause_rests_the_whole_gate() -> None:
    """Without headers the 429's Retry-After is all we hear: nothing is sent until it is over, and one trouble
    is one cut."""

    async def scenario() -> tuple[World, Strict]:
        world = World()
        strict = Strict(world, headers=False)
        world.add(backend=strict, limits=GateLimits(concurrency=32))
        await world.scheduler({"m/a": plans(100)}).play_all()
        return world, strict

    world, strict = run(scenario)
    assert len(world.rows.episodes) == 100
    kinds = [event.kind for event in world.rows.gate_events]
    assert 1 <= kinds.count("rest") <= 14
    assert kinds.count("cut") <= 7  # one a minute
    assert strict.refused <= 32 + 6 * 32
    refusals = [row for row in world.rows.calls if row.error_class == "RateLimited"]
    first = min(row.sent_at for row in refusals)
    assert not [
        row for row in world.rows.calls if first + 0.01 < row.sent_at < first - first % 60 + 60 - 0.01
    ]


def test_a_storm_is_met_with_rest_instead_of_traffic() -> None:
    """Ten minutes of outage cost few requests: probes with growing rests; when it is over every episode is
    played."""

    async def scenario() -> tuple[World, Counter]:
        world = World()

        def trouble(prompt: Prompt, number: int) -> CallError | None:
            return Unavailable("down", status=503) if 100.0 < world.clock.now() < 700.0 else None

        backend = Counter(world.clock, trouble=trouble)
        world.add(backend=backend, limits=GateLimits(concurrency=32))
        await world.scheduler({"m/a": plans(1_500)}).play_all()
        return world, backend

    world, _ = run(scenario)
    during = [row for row in world.rows.calls if row.error_class]
    assert len(during) <= 150
    assert any(event.kind == "rest" for event in world.rows.gate_events)
    failed = [row for row in world.rows.episodes if row.status == "failed"]
    assert len(world.rows.episodes) == 1_500
    assert failed == []


class Silent(Counter):
    """A provider of 120 requests a minute that says nothing of it but no, and for how long."""

    def __init__(self, world: World, law: Literal["sliding", "fixed", "bucket"]) -> None:
        super().__init__(world.clock, latency_s=0.4)
        self._account = QuotaAccount(
            Quotas(requests=120, told=False, law=law, phase_s=17.0), world.clock.now()
        )
        self.answered: list[float] = []
        self.refused: list[float] = []

    async def complete(self, prompt: Prompt) -> Completion:
        now_s = self.clock.now()
        if (no := self._account.admit(input_tokens=1.0, output_tokens=1.0, now_s=now_s)) is not None:
            self.refused.append(now_s)
            raise RateLimited("slow down", status=429, retry_after_s=no[1])
        self.answered.append(now_s)
        return await super().complete(prompt)


@pytest.mark.parametrize("law", ["sliding", "fixed", "bucket"])
def test_an_unknown_quota_is_learned_from_what_is_refused(law: Literal["sliding", "fixed", "bucket"]) -> None:
    """At least 95 % of it is used from the second minute on, and at most 1 % refused from half a minute later
    on: also just after the burst that met it first."""

    async def scenario() -> Silent:
        world = World()
        silent = Silent(world, law)
        world.add(backend=silent, limits=GateLimits(concurrency=256))
        await world.scheduler({"m/a": plans(300)}).play_all()
        return silent

    silent = run(scenario)
    end_s = max(silent.answered)
    answered = sum(at >= 60.0 for at in silent.answered)
    refused = sum(at >= 90.0 for at in silent.refused)
    assert answered >= 0.95 * 120 * (end_s - 60.0) / 60
    assert refused <= 0.01 * (answered + refused)

"""The fit finds the server it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from math import sin
from random import Random
from statistics import fmean, stdev

import anyio
import pytest

from backends.emulator.simulated import Behaviour, LatencyModel, SimulatedBackend, SimulatedProvider
from harness.core.vocabulary import Message, Prompt
from harness.planning.episode_lengths import MeasuredBackend, MeasuredFormat
from harness.planning.latency_fit import LatencyFit, TimedCalls, fit_latency
from harness.simulation import VirtualClock, simulate


def calls_of(latency: LatencyModel, *, in_flight: Sequence[int], each: int = 60, seed: int = 1) -> TimedCalls:
    """Returns the calls that a store would have of such a server, with so many in flight, one stage after the
    other."""

    async def scenario() -> TimedCalls:
        clock, chance = VirtualClock(), Random(seed)
        backend = SimulatedBackend(
            MeasuredBackend(), SimulatedProvider(Behaviour(latency=latency), clock, seed=seed)
        )
        rows: list[tuple[float, float, float, float]] = []

        async def user(number: int) -> None:
            for turn in range(each):
                reply_format = MeasuredFormat(
                    regex="x", prompt_tokens=chance.randint(50, 800), reply_tokens=chance.randint(5, 100)
                )
                sent_at = clock.wall()
                await backend.complete(
                    Prompt(
                        messages=(Message("user", "x"),),
                        reply_format=reply_format,
                        episode=str(number),
                        item="toy:1",
                        seat="a",
                        turn=turn,
                    )
                )
                rows.append(
                    (sent_at, clock.wall() - sent_at, reply_format.prompt_tokens, reply_format.reply_tokens)
                )

        for many in in_flight:
            async with anyio.create_task_group() as users:
                for number in range(many):
                    users.start_soon(user, number)
        sent_at, latency_s, prompt_tokens, reply_tokens = zip(*rows, strict=True)
        return TimedCalls(
            sent_at=sent_at, latency_s=latency_s, prompt_tokens=prompt_tokens, reply_tokens=reply_tokens
        )

    return simulate(scenario, seed=seed)


def test_a_provider_whose_calls_do_not_notice_each_other() -> None:
    """Its coefficients within 5 %, its spread as factors, and no load."""
    found = fit_latency(
        calls_of(
            LatencyModel(first_s=0.4, prompt_s=0.0005, token_s=0.02, spread=0.1), in_flight=[20], each=100
        )
    )
    assert found is not None
    assert found.load_s == 0.0
    assert found.first_s == pytest.approx(0.4, rel=0.1)
    assert found.prompt_s == pytest.approx(0.0005, rel=0.1)
    assert found.token_s == pytest.approx(0.02, rel=0.05)
    assert max(found.factors) > 1.15


def test_a_batch_is_known_by_its_load() -> None:
    """From stages of 2, 8 and 24 calls at a time: seconds a token and a token's share of each other call,
    within 10 %."""
    found = fit_latency(
        calls_of(LatencyModel(first_s=0.1, prompt_s=0.0001, token_s=0.03, load_s=0.002), in_flight=[2, 8, 24])
    )
    assert found is not None
    assert found.token_s == pytest.approx(0.03, rel=0.1)
    assert found.load_s == pytest.approx(0.002, rel=0.1)
    assert found.error < 0.1


def test_a_cold_start_is_kept_apart() -> None:
    """The first calls, four times as slow while caches are empty, do not blur what later ones take."""
    found = fit_latency(
        calls_of(
            LatencyModel(first_s=0.1, prompt_s=0.0001, token_s=0.03, load_s=0.002, cold=4.0),
            in_flight=[24, 8, 2],
        )
    )
    assert found is not None
    assert found.cold == pytest.approx(4.0, rel=0.2)
    assert found.token_s == pytest.approx(0.03, rel=0.1)
    assert found.load_s == pytest.approx(0.002, rel=0.1)


def test_a_first_wave_like_the_others_is_not_cold() -> None:
    """A first wave as fast as the later calls gives no cold factor."""
    found = fit_latency(
        calls_of(LatencyModel(first_s=0.4, prompt_s=0.0005, token_s=0.02, spread=0.3), in_flight=[20])
    )
    assert found is not None
    assert found.cold == 1.0


def test_a_call_that_was_never_seen_alone_is_not_free_there() -> None:
    """For a server seen with 16 calls and then with 4, a token of a lone call still costs as much as one call
    adds."""
    slow, quick = [25.0] * 16, [3.8] * 16
    found = fit_latency(
        TimedCalls(
            sent_at=[0.0] * 16 + [25.0 + 3.8 * (place // 4) for place in range(16)],
            latency_s=slow + quick,
            prompt_tokens=[300.0] * 32,
            reply_tokens=[8.0, 13.0, 9.0, 23.0] * 4 + [23.0] * 16,
        )
    )
    assert found is not None
    assert found.token_s >= found.load_s > 0.0


def test_the_mean_latency_is_kept() -> None:
    """Whatever the regression makes of it, drawing factors gives back the seconds that were measured."""
    calls = calls_of(LatencyModel(first_s=1.0, spread=1.2), in_flight=[10])
    found = fit_latency(calls)
    assert found is not None
    expected = (
        found.first_s
        + found.token_s * sum(calls.reply_tokens) / 600
        + found.prompt_s * sum(calls.prompt_tokens) / 600
    )
    assert expected * sum(found.factors) / len(found.factors) == pytest.approx(
        sum(calls.latency_s) / 600, rel=0.01
    )


def test_few_calls_say_nothing() -> None:
    """Below twenty there is no fit."""
    calls = calls_of(LatencyModel(first_s=1.0), in_flight=[1], each=10)
    assert fit_latency(calls) is None


def test_fits_of_samples_vary_as_fits_of_other_calls_do() -> None:
    """Over thirty servers that are alike, the fitted mean latency varies as over samples of one."""
    latency = LatencyModel(first_s=0.5, prompt_s=0.0002, token_s=0.02, spread=0.5)

    def mean_s(found: LatencyFit | None) -> float:
        assert found is not None
        return fmean(found.factors) * (found.first_s + 400 * found.prompt_s + 50 * found.token_s)

    others = [mean_s(fit_latency(calls_of(latency, in_flight=[8], each=20, seed=seed))) for seed in range(30)]
    calls = calls_of(latency, in_flight=[8], each=20, seed=40)
    samples = [mean_s(fit_latency(calls, chance=Random(seed))) for seed in range(100)]
    assert fmean(samples) == pytest.approx(mean_s(fit_latency(calls)), rel=0.02)
    assert 0.5 < stdev(samples) / stdev(others) < 2.0


def test_samples_of_a_server_whose_speed_changes_slowly_differ_more() -> None:
    """Calls of one moment are drawn together, so a slow change of speed is in the samples."""
    chance = Random(1)

    def calls(change: float) -> TimedCalls:
        latency = [1.0 + change * sin(number / 50) + 0.05 * chance.random() for number in range(400)]
        return TimedCalls(
            sent_at=[float(2 * number) for number in range(400)],
            latency_s=latency,
            prompt_tokens=[100.0] * 400,
            reply_tokens=[10.0] * 400,
        )

    def spread(found: TimedCalls) -> float:
        fits = [fit_latency(found, chance=Random(seed)) for seed in range(100)]
        return stdev(fit.first_s + 100 * fit.prompt_s + 10 * fit.token_s for fit in fits if fit is not None)

    assert spread(calls(0.3)) > 10 * spread(calls(0.0))

"""Measures whether `lightbulb bench` finds the truth, on a server whose law is known.

    python -m bench.loadtest law     rates, TTFT and TPOT against theory on virtual time, and the knee
    python -m bench.loadtest stall   p99 of an open loop whose server stops for two seconds

The server has some workers, each of which computes one reply at a time; others queue in order of arrival. A
reply takes a delay outside the workers, then a fixed time for each token; its tokens are geometrically
distributed. With Poisson arrivals that is an M/M/c queue (Erlang C), with a closed loop the machine-repair
model: both in Kleinrock, Queueing Systems 1, 1975, chapter 3. The delay may have any distribution."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from math import exp, floor, log
from random import Random

import anyio

from harness.core.protocols import Clock
from harness.core.seeds import stream
from harness.core.vocabulary import Completion, Message, Pace, Prompt, ReplyFormat
from harness.loadtest.arrivals import arrival_moments
from harness.loadtest.generator import generate_load
from harness.loadtest.ladder import Ladder, LevelGoal, MethodLoadTest, Played
from harness.loadtest.load_profile import LoadProfile, Loop, Stage
from harness.loadtest.metrics import LoadMetrics, MeasuredStage, Objective, summarise_stage
from harness.loadtest.steady_window import steady_window
from harness.loadtest.work import single_requests
from harness.simulation import VirtualClock, simulate

PROMPT = Prompt(
    messages=(Message("user", "?"),),
    reply_format=ReplyFormat(regex=".*"),
    episode="e",
    item="",
    seat="s",
    turn=0,
)
TOLERANCE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLaw:
    """A server's law. tokens: the scale of the replies' geometric lengths; stall: (from, to) without work."""

    workers: int = 8
    delay_s: float = 0.1
    token_s: float = 0.01
    tokens: float = 100.0
    stall: tuple[float, float] | None = None

    def draw_tokens(self, chance: Random) -> int:
        return 1 + floor(chance.expovariate(1 / self.tokens))

    @property
    def tokens_mean(self) -> float:
        return 1 / (1 - exp(-1 / self.tokens))

    @property
    def service_s(self) -> float:
        """Returns the mean time of a worker for a reply."""
        return self.token_s * self.tokens_mean

    def closed_rate(self, places: int) -> float:
        """Returns the requests a second of a closed loop: the mean of a birth-and-death process."""
        weight, weights = 0.0, [0.0]  # logarithms
        for present in range(1, places + 1):
            arriving = (places - present + 1) / self.delay_s
            served = min(present, self.workers) / self.service_s
            weight += log(arriving / served)
            weights.append(weight)
        most = max(weights)
        shares = [exp(one - most) for one in weights]
        busy = sum(min(present, self.workers) * share for present, share in enumerate(shares))
        return busy / sum(shares) / self.service_s

    def open_wait_s(self, rate: float) -> float:
        """Returns the mean wait for a worker under Poisson arrivals (Erlang C)."""
        load, term, below = rate * self.service_s, 1.0, 0.0
        for busy in range(self.workers):
            below += term
            term *= load / (busy + 1)
        last = term / (1 - load / self.workers)
        return last / (below + last) / (self.workers / self.service_s - rate)

    def knee(self, most: int) -> int:
        """Returns the fewest places with nine tenths of the throughput of `most` places."""
        best = self.closed_rate(most)
        return next(places for places in range(1, most + 1) if self.closed_rate(places) >= 0.9 * best)


@dataclass(slots=True)
class LawfulServer:
    """A Backend that answers by a law."""

    law: ServiceLaw
    chance: Random
    clock: Clock
    _free: anyio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._free = anyio.Semaphore(self.law.workers, fast_acquire=True)

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend."""
        law, clock = self.law, self.clock
        tokens, sent_at = law.draw_tokens(self.chance), clock.now()
        await clock.sleep(law.delay_s)
        async with self._free:
            if law.stall is not None and law.stall[0] <= clock.now() < law.stall[1]:
                await clock.sleep(law.stall[1] - clock.now())
            first_s = clock.now() - sent_at + law.token_s
            await clock.sleep(law.token_s * tokens)
        pace = Pace(
            ttft_s=first_s,
            chunks=tokens,
            gap_s_median=law.token_s,
            gap_s_p95=law.token_s,
            gap_s_max=law.token_s,
        )
        return Completion(text="x", prompt_tokens=1, completion_tokens=tokens, pace=pace)


def measure(
    law: ServiceLaw,
    profile: LoadProfile,
    seed: int,
    levels: Sequence[tuple[Loop, float]],
    goal: LevelGoal | None = None,
) -> MethodLoadTest:
    """Plays levels, or a search, on virtual time."""

    async def whole() -> MethodLoadTest:
        clock = VirtualClock()

        async def play(stage: Stage) -> Played:
            server = LawfulServer(law, stream(seed, "law", f"{stage.level}", stage.repeat), clock)
            load = await generate_load(
                stage,
                server,
                single_requests(repeat(PROMPT)),
                clock=clock,
                moments=arrival_moments(stage, stream(seed, "arrivals", f"{stage.level}", stage.repeat)),
                cpu_s=lambda: 0.0,  # real CPU time means nothing on virtual time
            )
            window = steady_window(load, warm_up_s=profile.warm_up_s, cool_down_s=profile.cool_down_s)
            measured = MeasuredStage(load=load, window=window)
            return measured, summarise_stage(measured, Objective())

        ladder = Ladder(profile, Objective(), play)
        await ladder.play_levels(levels)
        highest = await ladder.search(goal) if goal is not None else None
        return ladder.result("law", "simulated", highest)

    return simulate(whole, seed=seed)


def figures_of(found: MethodLoadTest) -> list[LoadMetrics]:
    figures = [level.figures for level in found.levels]
    assert all(one is not None for one in figures), "a level on virtual time has figures"
    return [one for one in figures if one is not None]


def ratios(
    law: ServiceLaw, *, places: int, rate: float, requests: int, seed: int
) -> Iterator[tuple[str, float]]:
    """Yields each estimate over its truth: a closed loop with so many places, an open one at this rate."""
    closed, opened = figures_of(
        measure(law, LoadProfile(requests=requests), seed, (("closed", places), ("open", rate)))
    )
    true_rate = law.closed_rate(places)
    e2e_s = places / true_rate  # Little's law
    yield f"{places} in flight: requests/s", closed.requests_per_s / true_rate
    yield (
        f"{places} in flight: output tokens/s",
        (closed.output_tokens_per_s or 0) / (true_rate * law.tokens_mean),
    )
    yield f"{places} in flight: TTFT mean", (closed.ttft_s.mean or 0) / (e2e_s - law.service_s + law.token_s)
    yield f"{places} in flight: TPOT mean", (closed.tpot_s.mean or 0) / law.token_s
    yield f"{rate:g} a second: requests/s", opened.requests_per_s / rate
    ttft_s = law.delay_s + law.open_wait_s(rate) + law.token_s
    yield f"{rate:g} a second: TTFT mean", (opened.ttft_s.mean or 0) / ttft_s
    yield f"{rate:g} a second: in flight", opened.in_flight / (rate * (ttft_s - law.token_s + law.service_s))


def knee_is_near(law: ServiceLaw, *, requests: int, seed: int) -> tuple[bool, float | None, int]:
    """Returns whether the knee that a search names is within one measured level of the true one; both."""
    goal = LevelGoal(loop="closed", slo_share=None, start=1, most=256)
    found = measure(law, LoadProfile(requests=requests), seed, (), goal)
    levels, truth = sorted(level.level for level in found.levels), law.knee(256)
    if found.knee is None:
        return False, None, truth
    true_place = next(place for place, level in enumerate(levels) if level >= truth)
    return abs(levels.index(found.knee) - true_place) <= 1, found.knee, truth


def rising(law: ServiceLaw, *, requests: int, seed: int) -> bool:
    """Says that no knee is named for a server whose throughput rises up to the bound."""
    goal = LevelGoal(loop="closed", slo_share=None, start=1, most=64)
    return measure(law, LoadProfile(requests=requests), seed, (), goal).knee is None


def compare_with_law(seeds: range, requests: int, search_requests: int) -> None:
    law, wide = ServiceLaw(), ServiceLaw(workers=1000)
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for name, value in ratios(law, places=12, rate=5.0, requests=requests, seed=seed):
            found.setdefault(name, []).append(value)
    print(
        f"| estimate over truth, {requests} requests | median | worst | within {100 * TOLERANCE:g} % |\n|---|---|---|---|"
    )
    for name, values in found.items():
        worst = max(values, key=lambda value: abs(value - 1))
        within = sum(abs(value - 1) <= TOLERANCE for value in values)
        print(
            f"| {name} | {statistics.median(values):.4f} | {worst:.4f} | {within} of {len(seeds)} |",
            flush=True,
        )
    knees = [knee_is_near(law, requests=search_requests, seed=seed) for seed in seeds]
    print(
        f"knee, {search_requests} requests a level: true {knees[0][2]}, named {[knee for _, knee, _ in knees]}: "
        f"within one level in {sum(near for near, _, _ in knees)} of {len(seeds)}",
        flush=True,
    )
    none = sum(rising(wide, requests=search_requests, seed=seed) for seed in seeds)
    print(f"throughput that rises up to the bound: no knee named in {none} of {len(seeds)}")


def compare_stall(seeds: range, requests: int) -> None:
    """Prints p99 beside that of the same arrivals without the stall."""
    for seed in seeds:
        p99 = []
        for stall in (None, (50.0, 52.0)):
            law = ServiceLaw(workers=64, stall=stall)
            (figures,) = figures_of(measure(law, LoadProfile(requests=requests), seed, (("open", 20.0),)))
            p99.append(figures.ttft_s.p99 or 0.0)
        print(
            f"seed {seed}: TTFT p99 without a stall {p99[0]:.3f} s, with one of 2 s {p99[1]:.3f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("law", "stall"))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--requests", type=int, default=20_000, help="of each level that is compared")
    parser.add_argument("--search-requests", type=int, default=2_000, help="of each level of a search")
    chosen = parser.parse_args()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    measurements: dict[str, Callable[[], None]] = {
        "law": lambda: compare_with_law(seeds, chosen.requests, chosen.search_requests),
        "stall": lambda: compare_stall(seeds, min(chosen.requests, 2_000)),
    }
    measurements[chosen.what]()


if __name__ == "__main__":
    main()

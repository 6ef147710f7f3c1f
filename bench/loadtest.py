"""Measures whether `lightbulb bench` finds the truth, on a server whose law is known.

    python -m bench.loadtest law     rates, TTFT and TPOT against theory on virtual time, and the knee
    python -m bench.loadtest stall   p99 of an open loop whose server stops for two seconds

The server has some workers, each of which computes one reply at a time; others queue in order of arrival. A
reply takes a delay outside the workers, then a fixed time for each token; its tokens are geometrically
distributed. With Poisson arrivals that is an M/M/c queue (Erlang C), with a closed loop the machine-repair
model: both in Kleinrock, Queueing Systems 1, 1975, chapter 3. The delay may have any distribution.

The law gives an expectation. A queue of finite length has a mean wait of its own, so an open loop is also
compared with the wait that its own arrivals and services make, computed apart from the measurement."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapreplace
from itertools import repeat
from math import exp, floor, log, sqrt
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
    """A Backend that answers by a law.

    began_at   when it was made
    served     of each request: when it came, and how long a worker needs for it"""

    law: ServiceLaw
    chance: Random
    clock: Clock
    began_at: float = field(init=False)
    served: list[tuple[float, float]] = field(default_factory=list)
    _free: anyio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.began_at = self.clock.now()
        self._free = anyio.Semaphore(self.law.workers, fast_acquire=True)

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend."""
        law, clock = self.law, self.clock
        tokens, sent_at = law.draw_tokens(self.chance), clock.now()
        self.served.append((sent_at, law.token_s * tokens))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnQueue:
    """The work of an open loop's queue in a window, from its arrivals and services alone."""

    requests_per_s: float
    ttft_s: float
    in_flight: float


def own_queue(
    served: Iterable[tuple[float, float]],
    window: tuple[float, float],
    *,
    workers: int,
    delay_s: float,
    first_s: float,
) -> OwnQueue:
    """Serves the requests again, by arithmetic, in order of arrival (Kiefer and Wolfowitz, Trans. AMS 78,
    1955: a request starts when it has come and the first worker is free).

    served    when each request was sent, and how long a worker needs for it
    window    (from, to) on the same clock
    delay_s   before a request can have a worker
    first_s   of a worker, before the first token"""
    from_s, to_s = window
    free_s, waits, done, present_s = [0.0] * workers, [], 0, 0.0
    for sent_s, service_s in served:
        starts_s = max(sent_s + delay_s, free_s[0])
        ends_s = starts_s + service_s
        heapreplace(free_s, ends_s)
        if from_s <= sent_s <= to_s:
            waits.append(starts_s - sent_s)
        done += from_s <= ends_s <= to_s
        present_s += max(0.0, min(ends_s, to_s) - max(sent_s, from_s))
    length_s = to_s - from_s
    return OwnQueue(
        requests_per_s=done / length_s,
        ttft_s=statistics.fmean(waits) + first_s,
        in_flight=present_s / length_s,
    )


def measure(
    law: ServiceLaw,
    profile: LoadProfile,
    seed: int,
    levels: Sequence[tuple[Loop, float]],
    goal: LevelGoal | None = None,
    servers: list[LawfulServer] | None = None,
) -> MethodLoadTest:
    """Plays levels, or a search, on virtual time.

    servers   gets the server of each stage"""

    async def whole() -> MethodLoadTest:
        clock = VirtualClock()

        async def play(stage: Stage) -> Played:
            server = LawfulServer(law, stream(seed, "law", f"{stage.level}", stage.repeat), clock)
            if servers is not None:
                servers.append(server)
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
    servers: list[LawfulServer] = []
    levels: tuple[tuple[Loop, float], ...] = (("closed", places), ("open", rate))
    found = measure(law, LoadProfile(requests=requests), seed, levels, servers=servers)
    closed, opened = figures_of(found)
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
    window, server = found.stages[1].window, servers[1]
    own = own_queue(
        server.served,
        (server.began_at + window.from_s, server.began_at + window.to_s),
        workers=law.workers,
        delay_s=law.delay_s,
        first_s=law.token_s,
    )
    yield f"{rate:g} a second, own queue: requests/s", opened.requests_per_s / own.requests_per_s
    yield f"{rate:g} a second, own queue: TTFT mean", (opened.ttft_s.mean or 0) / own.ttft_s
    yield f"{rate:g} a second, own queue: in flight", opened.in_flight / own.in_flight
    yield f"{rate:g} a second: own queue's TTFT mean over the law's", own.ttft_s / ttft_s


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
    print_ratios(
        [dict(ratios(law, places=12, rate=5.0, requests=requests, seed=seed)) for seed in seeds], TOLERANCE
    )
    knees = [knee_is_near(law, requests=search_requests, seed=seed) for seed in seeds]
    print(
        f"knee, {search_requests} requests a level: true {knees[0][2]}, named {[knee for _, knee, _ in knees]}: "
        f"within one level in {sum(near for near, _, _ in knees)} of {len(seeds)}",
        flush=True,
    )
    none = sum(rising(wide, requests=search_requests, seed=seed) for seed in seeds)
    print(f"throughput that rises up to the bound: no knee named in {none} of {len(seeds)}")


def print_ratios(found: Sequence[Mapping[str, float]], tolerance: float) -> None:
    """Prints the ratios of every seed, by their names."""
    print(
        f"| estimate over truth | mean, its standard error | worst | within {100 * tolerance:g} % |\n|---|---|---|---|"
    )
    for name in found[0]:
        values = [one[name] for one in found]
        worst = max(values, key=lambda value: abs(value - 1))
        within = sum(abs(value - 1) <= tolerance for value in values)
        mean = f"{statistics.fmean(values):.4f}, {standard_error(values):.4f}"
        print(f"| {name} | {mean} | {worst:.4f} | {within} of {len(values)} |", flush=True)


def standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0


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

"""Measures the estimated end of a run: on sweeps of virtual time whose end is known, how often it lies in the
estimated interval, and how far the estimate is off.

python -m bench.eta [--seeds 5]

Six kinds of sweeps: long episodes beside short ones, calls that hang for a minute, a quota, thirty access
methods at three shared gates, slow calls with errors, and a few episodes that are a hundred times as
long as expected, up to their limit of turns. The lengths that the estimate expects at the start are otherwise
15 % off."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from random import Random
from statistics import median

import anyio

from harness.core.clock import LoopClock
from harness.core.errors import Unavailable
from harness.core.seeds import stream
from harness.core.vocabulary import Completion, EpisodePlan, Prompt
from harness.limits.gate import Gate, GateLimits
from harness.progress.end_estimate import EndEstimator
from harness.progress.meters import Meters
from harness.progress.turns_left import EpisodeTurns
from harness.scheduler.call import Caller, RetryPolicy, Route
from harness.scheduler.episode import Beginning, Player
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler
from harness.scheduler.spending import SpendingBudget
from tests.world import COUNT, Rows, method, run, toy_instance

GAMES = {name: replace(COUNT, name=name) for name in ("short", "long")}
EXPECTED_OFF = 1.15  # the plan of a sweep of five games was off by less
HANG_S = 60.0
MOMENT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EtaCase:
    """One kind of sweep.

    episodes     game -> how many, of each method
    turns        draws how long an episode of a game is
    latency_s    draws how long a call takes
    errors       share of calls that fail with HTTP 500
    expected     draws how long an episode is expected to be; None: as `turns`
    turn_limits  game -> turns after which an episode ends at the latest, as the estimate knows it
    gates        limits of each gate; the methods are dealt to them"""

    name: str
    episodes: Mapping[str, int]
    turns: Callable[[str, Random], int]
    latency_s: Callable[[Random], float]
    gates: Sequence[GateLimits]
    methods: int = 1
    errors: float = 0.0
    expected: Callable[[str, Random], int] | None = None
    turn_limits: Mapping[str, int | None] = field(default_factory=dict)


def _turns(game: str, chance: Random) -> int:
    return chance.randint(2, 5) if game == "short" else chance.randint(25, 80)


def _lognormal(mean_s: float, sigma: float) -> Callable[[Random], float]:
    return lambda chance: mean_s * exp(chance.gauss(-sigma * sigma / 2, sigma))


def _hanging(chance: Random) -> float:
    return HANG_S if chance.random() < 0.005 else _lognormal(0.8, 0.4)(chance)


CASES = (
    EtaCase(
        name="long episodes",
        episodes={"short": 120, "long": 12},
        turns=_turns,
        latency_s=_lognormal(1.0, 0.5),
        gates=[GateLimits(concurrency=4)],
    ),
    EtaCase(
        name="hung calls",
        episodes={"short": 1000},
        turns=_turns,
        latency_s=_hanging,
        gates=[GateLimits(concurrency=8)],
    ),
    EtaCase(
        name="a quota",
        episodes={"short": 260, "long": 6},
        turns=_turns,
        latency_s=_lognormal(0.8, 0.4),
        gates=[GateLimits(concurrency=64, requests=120.0)],
    ),
    EtaCase(
        name="thirty methods",
        episodes={"short": 30, "long": 2},
        turns=_turns,
        latency_s=_lognormal(1.2, 0.6),
        gates=[GateLimits(concurrency=limit) for limit in (8, 16, 32)],
        methods=30,
    ),
    EtaCase(
        name="slow calls and errors",
        episodes={"short": 300, "long": 20},
        turns=_turns,
        latency_s=_lognormal(1.5, 1.0),
        gates=[GateLimits(concurrency=12)],
        errors=0.03,
    ),
    EtaCase(
        name="no end until a limit",
        episodes={"short": 120, "long": 3},
        turns=lambda game, chance: _turns(game, chance) if game == "short" else 400,
        latency_s=_lognormal(1.0, 0.5),
        gates=[GateLimits(concurrency=8)],
        expected=lambda game, chance: _turns("short", chance),
        turn_limits={"long": 400},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An estimate, and the truth. Seconds; at_s since the start."""

    at_s: float
    value_s: float
    low_s: float
    high_s: float
    truth_s: float

    @property
    def inside(self) -> bool:
        return self.low_s <= self.truth_s <= self.high_s

    @property
    def error(self) -> float:
        return abs(self.value_s - self.truth_s) / max(self.truth_s, MOMENT_S)


class _Provider:
    """Plays the toy game, with latencies and errors of a case."""

    def __init__(self, case: EtaCase, clock: LoopClock, chance: Random) -> None:
        self._case, self._clock, self._chance = case, clock, chance

    async def complete(self, prompt: Prompt) -> Completion:
        await self._clock.sleep(self._case.latency_s(self._chance))
        if self._chance.random() < self._case.errors:
            raise Unavailable("boom", status=500)
        number = int(prompt.messages[-1].text.split()[1].rstrip("?")) + 1
        return Completion(
            text=str(number), finish_reason="stop", prompt_tokens=3, completion_tokens=1, http_status=200
        )


def moments(case: EtaCase, seed: int) -> list[Moment]:
    """Plays the sweep; returns an estimate for every two seconds of it."""
    return run(lambda: _played(case, seed), seed=seed)


async def _played(case: EtaCase, seed: int) -> list[Moment]:
    clock, rows, chance = LoopClock(), Rows(), stream(seed, case.name)
    gates = [
        Gate(f"gate {number}", limits, clock=clock, on_event=lambda kind, detail: None)
        for number, limits in enumerate(case.gates)
    ]
    names = [f"m{number}/a" for number in range(case.methods)]
    gate_of = {name: gates[number % len(gates)] for number, name in enumerate(names)}
    turns = EpisodeTurns(dict.fromkeys(names, case.episodes), turn_limits=case.turn_limits)
    for game in case.episodes:
        turns.expect(
            game, [round(EXPECTED_OFF * (case.expected or case.turns)(game, chance)) for _ in range(12)]
        )
    meters = Meters(rows, clock, scores={}, turns=turns)
    routes = {
        name: Route(method=method(name), gate=gate, backend=_Provider(case, clock, chance))
        for name, gate in gate_of.items()
    }
    expected = ExpectedTurns(GAMES)
    policy = RetryPolicy(tries_max=8)
    caller = Caller(sink=meters, clock=clock, policy=policy, budget=SpendingBudget.unlimited(clock))
    player = Player(run_id="1", caller=caller, games=GAMES, routes=routes, expected_turns=expected, seed=seed)
    lanes = [
        Lane(name=name, plans=turns.following(name, _plans(case, name, chance)), gates=(gate,))
        for name, gate in gate_of.items()
    ]
    scheduler = Scheduler(lanes, player=player, expected=expected, beginning=lambda plan: Beginning())
    estimator = EndEstimator(
        [_EstimatedLane(name, gate) for name, gate in gate_of.items()],
        clock=clock,
        meters=meters,
        turns=turns,
        sent_times=caller.watchdog.sent_times,
        call_s_max=120.0,
    )
    seen: list[tuple[float, float, float, float]] = []

    async def look() -> None:
        while True:
            await clock.sleep(MOMENT_S)
            whole = estimator.estimate().whole
            if whole is not None:
                seen.append((clock.now(), whole.value_s, whole.low_s, whole.high_s))

    began_s = clock.now()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await scheduler.play_all()
        tasks.cancel_scope.cancel()
    end_s = clock.now()
    return [
        Moment(at_s=at_s - began_s, value_s=value_s, low_s=low_s, high_s=high_s, truth_s=end_s - at_s)
        for at_s, value_s, low_s, high_s in seen
        if at_s < end_s
    ]


@dataclass(frozen=True, slots=True)
class _EstimatedLane:
    name: str
    gate: Gate


def _plans(case: EtaCase, name: str, chance: Random) -> Iterator[EpisodePlan]:
    """Returns a method's plans in random order: a long play may come last."""
    games = [game for game, count in case.episodes.items() for _ in range(count)]
    chance.shuffle(games)
    plans = [
        EpisodePlan(
            instance=replace(toy_instance(number, goal=case.turns(game, chance)), game=game),
            rules="plain",
            seating=(name,) * 2,
        )
        for number, game in enumerate(games)
    ]
    return iter(plans)


def inside_share(found: Sequence[Moment]) -> float:
    """Returns the share of moments at which the truth lies in the interval."""
    return sum(one.inside for one in found) / len(found)


def error_after_a_tenth(found: Sequence[Moment]) -> float:
    """Returns the median relative error after the first tenth of the run."""
    whole_s = found[0].at_s + found[0].truth_s
    return median(one.error for one in found if one.at_s >= whole_s / 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    for case in CASES:
        found = [moments(case, seed) for seed in range(seeds)]
        every = [one for of_seed in found for one in of_seed]
        truths = [of_seed[0].at_s + of_seed[0].truth_s for of_seed in found]
        width = median((one.high_s - one.low_s) / max(one.truth_s, MOMENT_S) for one in every)
        errors = ", ".join(f"{error_after_a_tenth(of_seed):.0%}" for of_seed in found)
        print(
            f"{case.name:22} {median(truths):5.0f} s  inside {inside_share(every):5.1%}"
            f"  median error {median(map(error_after_a_tenth, found)):5.1%} ({errors})  width {width:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

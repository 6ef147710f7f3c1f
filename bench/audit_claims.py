"""Compares what whole audits of scores claim with a known truth: verdicts, scopes, intervals, missing data,
sessions.

    python -m bench.audit_claims --audits 1000

The generator is not that of bench.audit: an item's probability of success comes from a Beta distribution, a
score is the share of four successes, methods differ on the probability scale. Every row is its own stream.
Rows with missing plays run the whole audit; the others its tests, verdict and interval, twenty-five audits at
a time. Prints markdown; the Monte Carlo error of a rate near .05 is .007 with 1,000 audits."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import Pool
from typing import NamedTuple

import numpy as np

from harness.audit.scores.arrays import (
    ABORTED,
    ABSENT,
    FAILED,
    LOST,
    SUCCESS,
    FloatArray,
    GameScores,
    ScoreArray,
)
from harness.audit.scores.clemscore import common_support, method_figures
from harness.audit.scores.contrasts import ENDPOINTS, PairedGame, pair
from harness.audit.scores.evidence import AuditRules, Level
from harness.audit.scores.intervals import equivalence_interval, equivalence_p, strata, t_interval, total
from harness.audit.scores.missing_data import absent_as_failed
from harness.audit.scores.score_audit import audit
from harness.audit.scores.session_tests import (
    SESSIONS_MIN,
    difference_p,
    differences_by,
    sessions_equivalence_p,
)
from harness.audit.scores.sign_flips import sign_flip_test
from harness.audit.scores.unfinished import MethodProgress, level_of
from harness.audit.verdicts import decide
from harness.core.seeds import derive_seed
from tests.harness.audit.simulator import from_games

DRAWS = 999  # enough for a test at .05: resolution .001
SHARES = (0.25, 0.5, 0.75, 1.0)
MARGIN = 3.0
RULES = AuditRules(margin=MARGIN, margin_played=5.0, margin_game=10.0, alpha=0.05, seed=0)
BATCH = 25  # audits that share the draws of signs
SESSION_SPREADS = (0.65, 1.0, 1.6, 3.0)  # points: sd of the difference from session to session


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The design of the plays of two methods.

    games        items of each game;  zero: how many of them score 0 always
    beta         both parameters of the items' probabilities;  binary: a score is 0 or 100
    aborted      share of episodes aborted through the reference, and through the method
    shift        difference of the method in points, in every game but those of zeros
    apart        further difference of each game, in points; empty: none
    respond      sd of an item's own response to the method, in points
    sessions     of each repeat;  spread: sd of the difference from session to session, in points"""

    games: tuple[int, ...] = (60,) * 7
    repeats: int = 3
    zero: int = 0
    beta: tuple[float, float] = (4.0, 4.0)
    binary: bool = False
    aborted: tuple[float, float] = (0.0, 0.0)
    shift: float = 0.0
    apart: tuple[float, ...] = ()
    respond: float = 0.0
    sessions: tuple[int, ...] = ()
    spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The claims of one audit, beside the truth about these runs."""

    verdict: str
    of_method: bool
    reason: str | None
    rejected: bool
    covered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One simulated sweep and what is true of it. whole: it needs the whole audit, for plays are missing."""

    scores: ScoreArray
    truth: float
    whole: bool = False


def play(design: Design, rng: np.random.Generator) -> tuple[ScoreArray, float]:
    """Returns one sweep's scores, and the true difference of its runs: the mean over its sessions."""
    labels = np.array(design.sessions or (0,) * design.repeats)
    by_session = rng.normal(0, design.spread / np.sqrt(2), (2, labels.max() + 1)) if design.spread else None
    games = []
    realised = 0.0
    for place, items in enumerate(design.games):
        probability = np.repeat(rng.beta(*design.beta, size=(1, items, 1)), design.repeats, axis=2)
        shift = np.zeros((2, items, design.repeats))
        shift[1] += (
            design.shift + rng.normal(0, design.respond, (items, 1)) if design.respond else design.shift
        )
        if design.apart:
            shift[1] += design.apart[place]
        if by_session is not None:
            shift += by_session[:, None, labels]
        chance = np.clip(probability + shift / 100, 0, 1)
        if place < design.zero:
            chance = np.zeros_like(chance)
        realised += 100 * float((chance[1] - chance[0]).mean()) / len(design.games)
        hits = rng.binomial(1 if design.binary else 4, chance)
        score = 100.0 * hits / (1 if design.binary else 4)
        lost = rng.random(score.shape) < np.array(design.aborted)[:, None, None]
        outcome = np.where(lost, ABORTED, np.where(score == 100, SUCCESS, LOST)).astype(np.int8)
        games.append(
            GameScores(
                game=f"game{place}",
                items=tuple(f"game{place}:{item}" for item in range(items)),
                outcome=outcome,
                score=np.where(lost, np.nan, score),
            )
        )
    return replace(from_games(games, design.repeats), sessions=design.sessions), realised


def claims_of(sweeps: Sequence[Sweep], level: Level, seed: int) -> list[Claim]:
    """Returns what the tests of the audit claim of these sweeps, all at once: they share the draws of signs.

    level   alpha, or that of an interim analysis"""
    pairs = [pair(sweep.scores, "m0", ("m1",)) for sweep in sweeps]
    games = [_stacked([games[place] for games in pairs]) for place in range(len(pairs[0]))]
    shared = [game.shared for game in games]
    differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
    flips = sign_flip_test(differences, shared, [game.game for game in games], seed, DRAWS)
    points, played = (strata(values, shared) for values in differences)
    p_equivalence = np.maximum(
        equivalence_p(points, RULES.margin), equivalence_p(played, RULES.margin_played)
    )
    low, high = t_interval(total(points), 1 - level.interval)
    silent = total(points).se == 0
    if silent.any():
        bounds = equivalence_interval(points, level.interval / 2)
        low, high = np.where(silent, bounds[0], low), np.where(silent, bounds[1], high)
    beyond = (flips.adjusted[:, 0, 1:] <= level.difference) & (np.abs(points.mean) > RULES.margin_game)
    claims = []
    for index, sweep in enumerate(sweeps):
        p_difference = min(1.0, float(flips.joint[index]) * RULES.alpha / level.difference)
        p_equal = float(p_equivalence[index]) * RULES.alpha / level.equivalence if level.equivalence else 1.0
        verdict = decide(
            p_difference=p_difference,
            p_equivalence=p_equal,
            alpha=RULES.alpha,
            game_beyond=bool(beyond[index].any()),
        )
        claims.append(
            Claim(
                verdict=verdict,
                of_method=_of_method(sweep.scores, verdict, p_difference, p_equal),
                reason=None,
                rejected=p_difference <= RULES.alpha,
                covered=bool(low[index] <= sweep.truth <= high[index]),
            )
        )
    return claims


def _stacked(games: Sequence[PairedGame]) -> PairedGame:
    """Returns one game of several audits as that of several contrasts."""
    return PairedGame(
        game=games[0].game,
        **{
            name: np.concatenate([getattr(game, name) for game in games])
            for name in ("plays", "points_a", "points_b", "played_a", "played_b")
        },
    )


def _of_method(scores: ScoreArray, verdict: str, p_difference: float, p_equivalence: float) -> bool:
    """Returns whether sessions show the same as items, so that the verdict is about the access method."""
    if len(set(scores.sessions)) < SESSIONS_MIN or verdict == "INCONCLUSIVE":
        return False
    points, played = (
        differences_by(scores, "m0", ("m1",), endpoint, scores.sessions)[0] for endpoint in ENDPOINTS
    )
    if verdict == "DIFFERENT":
        return max(p_difference, difference_p(points, played) or 0.0) <= RULES.alpha
    p = sessions_equivalence_p(points, played, margin=RULES.margin, margin_played=RULES.margin_played)
    return max(p_equivalence, p or 0.0) <= RULES.alpha


def whole_claim(sweep: Sweep, seed: int) -> Claim:
    """Returns what the whole audit claims, the guard against missing plays included."""
    (comparison,) = audit(sweep.scores, "m0", margin=RULES.margin, seed=seed, draws=DRAWS).comparisons
    return Claim(
        verdict=comparison.verdict,
        of_method=comparison.scope == "the access method",
        reason=comparison.reason,
        rejected=comparison.p_difference <= RULES.alpha,
        covered=comparison.points.low <= sweep.truth <= comparison.points.high,
    )


# --- what is simulated ----------------------------------------------------------------------------------


def complete(design: Design, rng: np.random.Generator) -> Sweep:
    """Plays a sweep to its end. With a spread between sessions the truth is that of its runs, else the
    shift."""
    scores, realised = play(design, rng)
    moving = sum(place >= design.zero for place in range(len(design.games))) / len(design.games)
    truth = realised if design.spread else design.shift * moving
    return Sweep(scores=scores, truth=_aborts(design) if any(design.aborted) else truth)


def _aborts(design: Design) -> float:
    """Returns the true difference in points where episodes are aborted."""
    mean = 100 * design.beta[0] / sum(design.beta)
    a, b = design.aborted
    return (1 - b) * (mean + design.shift) - (1 - a) * mean


def missing(design: Design, rng: np.random.Generator, *, bad: float, any_play: float, code: int) -> Sweep:
    """Loses plays of the method: this share of those below 50 points, and this share of the others."""
    scores, truth = play(design, rng)
    games = []
    for game in scores.games:
        outcome, score = game.outcome.copy(), game.score.copy()
        low = np.nan_to_num(score[1]) < 50
        lost = rng.random(low.shape) < np.where(low, bad, any_play)
        outcome[1][lost], score[1][lost] = code, np.nan
        games.append(replace(game, outcome=outcome, score=score))
    thinned = replace(scores, games=tuple(games))
    return Sweep(scores=absent_as_failed(thinned, thinned.methods), truth=truth, whole=True)


def unequal(design: Design, rng: np.random.Generator, *, kept: int) -> Sweep:
    """Gives the method fewer repeats than the reference."""
    scores, truth = play(design, rng)
    games = []
    for game in scores.games:
        outcome, score = game.outcome.copy(), game.score.copy()
        outcome[1, :, kept:], score[1, :, kept:] = ABSENT, np.nan
        games.append(replace(game, outcome=outcome, score=score))
    thinned = replace(scores, games=tuple(games))
    return Sweep(scores=absent_as_failed(thinned, thinned.methods), truth=truth)


def first_blocks(sweep: Sweep, number: int) -> Sweep:
    """Returns the first of four look blocks of a sweep."""
    games = [
        replace(
            game,
            items=game.items[: len(game.items) * number // 4],
            outcome=game.outcome[:, : len(game.items) * number // 4],
            score=game.score[:, : len(game.items) * number // 4],
        )
        for game in sweep.scores.games
    ]
    return replace(sweep, scores=replace(sweep.scores, games=tuple(games)))


def level_after(number: int) -> Level:
    """Returns the levels after so many of four look blocks."""
    progress = MethodProgress(
        complete=number == 4, shares=SHARES, whole=number, planned={}, ended={}, points={}
    )
    level = level_of(progress, progress, alpha=RULES.alpha)
    assert level is not None
    return level


class Row(NamedTuple):
    """A setting: its name and truth, how a sweep of it is made, and after which of four look blocks it is
    audited, until an audit claims something."""

    name: str
    truth: str
    make: Callable[[np.random.Generator], Sweep]
    blocks: tuple[int, ...] = (4,)


def rows() -> Sequence[Row]:
    """Returns all settings."""
    graded, binary = Design(), Design(binary=True, repeats=1, beta=(0.3, 0.3))
    few = replace(graded, games=(5,) * 7)
    at_margin = replace(graded, repeats=5, shift=-MARGIN)
    lost = partial(missing, graded)
    return [
        Row("graded, 7 x 60, R 3", "0", partial(complete, graded)),
        Row("graded, R 5", "0", partial(complete, replace(graded, repeats=5))),
        Row("bimodal, 7 x 60, R 1", "0", partial(complete, binary)),
        Row("bimodal, R 3", "0", partial(complete, replace(binary, repeats=3))),
        Row("2 games of 5 items, R 3", "0", partial(complete, replace(few, games=(5, 5)))),
        Row("7 games of 5 items, R 3", "0", partial(complete, few)),
        Row("7 games of 10 items, R 3", "0", partial(complete, replace(few, games=(10,) * 7))),
        Row("4 of 7 games all 0, R 3", "0", partial(complete, replace(graded, zero=4))),
        Row("items respond +-25", "0", partial(complete, replace(graded, respond=25.0, beta=(8.0, 8.0)))),
        Row("repeats 5 against 2", "0", partial(unequal, replace(graded, repeats=5), kept=2)),
        Row("20 % failed at random", "0", partial(lost, bad=0.2, any_play=0.2, code=FAILED)),
        Row("0.8 % failed, bad ones", "0", partial(lost, bad=0.02, any_play=0.0, code=FAILED)),
        Row("15 % missing, bad ones, failed", "0", partial(lost, bad=0.4, any_play=0.0, code=FAILED)),
        Row("15 % missing, bad ones, absent", "0", partial(lost, bad=0.4, any_play=0.0, code=ABSENT)),
        Row("-3 points, graded, R 5", "margin", partial(complete, at_margin)),
        Row(
            "-3 points by 4 of 7 games", "margin", partial(complete, replace(at_margin, zero=3, shift=-5.25))
        ),
        Row("5 % fewer played", "margin", partial(complete, replace(graded, repeats=5, aborted=(0.0, 0.05)))),
        Row("-2 points, R 3", "-2", partial(complete, replace(graded, shift=-2.0))),
        Row("-6 points, R 3", "-6", partial(complete, replace(graded, shift=-6.0))),
        *_unfinished(graded),
        *_sessions(graded),
    ]


def _unfinished(graded: Design) -> Sequence[Row]:
    """Returns sweeps that are audited after one look block, and after every one."""
    return [
        Row(
            f"unfinished: {', '.join(map(str, blocks))} of 4 blocks",
            truth,
            partial(complete, replace(graded, shift=shift)),
            blocks,
        )
        for truth, shift in (("0", 0.0), ("margin", -MARGIN))
        for blocks in ((1,), (2,), (3,), (1, 2, 3, 4))
    ]


def _sessions(graded: Design) -> Sequence[Row]:
    """Returns sweeps whose methods differ from session to session, in one session and in several."""
    one = [
        Row(
            f"one session, spread {spread}, R {repeats}",
            "its runs",
            partial(complete, replace(graded, repeats=repeats, spread=spread)),
        )
        for spread in SESSION_SPREADS
        for repeats in (3, 5)
    ]
    several = [
        Row(
            f"{count} sessions, spread {spread}",
            f"{shift:g}",
            partial(
                complete,
                replace(graded, repeats=count, sessions=tuple(range(count)), spread=spread, shift=shift),
            ),
        )
        for spread in SESSION_SPREADS
        for count, shift in ((3, 0.0), (3, -3.0), (5, 0.0), (5, -3.0), (5, -4.0))
    ]
    return [*one, *several]


def _batch(job: tuple[int, range, int]) -> list[Claim]:
    """Returns the claims of a row's audits of these numbers."""
    place, numbers, seed = job
    row = rows()[place]
    sweeps = [
        row.make(np.random.default_rng(derive_seed(seed, "claims", row.name, row.truth, number)))
        for number in numbers
    ]
    if sweeps[0].whole:
        return [whole_claim(sweep, number) for sweep, number in zip(sweeps, numbers, strict=True)]
    claims: dict[int, Claim] = {}
    covered = dict.fromkeys(range(len(sweeps)), True)
    for block in row.blocks:
        left = [index for index in covered if index not in claims or claims[index].verdict == "INCONCLUSIVE"]
        if left:
            found = claims_of(
                [first_blocks(sweeps[index], block) for index in left], level_after(block), numbers[0]
            )
            for index, one in zip(left, found, strict=True):
                covered[index] = covered[index] and one.covered
                claims[index] = replace(one, covered=covered[index])
    return [claims[index] for index in range(len(sweeps))]


def claims_table(audits: int, seed: int, processes: int, only: Sequence[str]) -> None:
    print(f"\n### What audits claim ({audits:,} a row)\n")
    print(
        "| setting | truth | DIFFERENT | of the method | EQUIVALENT | of the method | p <= .05 | covered "
        "| missing data |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with Pool(processes) as pool:
        for place, row in enumerate(rows()):
            if only and not any(word in row.name for word in only):
                continue
            jobs = [
                (place, range(first, min(first + BATCH, audits)), seed) for first in range(0, audits, BATCH)
            ]
            found = [claim for batch in pool.map(_batch, jobs, chunksize=1) for claim in batch]
            print(f"| {row.name} | {row.truth} | {' | '.join(_rates(found))} |", flush=True)


def _rates(claims: Sequence[Claim]) -> list[str]:
    chosen = [
        [one.verdict == "DIFFERENT" for one in claims],
        [one.verdict == "DIFFERENT" and one.of_method for one in claims],
        [one.verdict == "EQUIVALENT" for one in claims],
        [one.verdict == "EQUIVALENT" and one.of_method for one in claims],
        [one.rejected for one in claims],
        [one.covered for one in claims],
        [one.reason == "missing data" for one in claims],
    ]
    return [f"{np.mean(values):.3f}" for values in chosen]


GAMES_APART = {
    "two games +-12, 20 items, response 20": Design(
        games=(20,) * 7, repeats=5, apart=(12.0, -12.0) + (0.0,) * 5, respond=20.0
    ),
    "two games +-12, 20 items, response 10": Design(
        games=(20,) * 7, repeats=5, apart=(12.0, -12.0) + (0.0,) * 5, respond=10.0
    ),
    "two games +-15, 10 items": Design(
        games=(10,) * 7, repeats=5, apart=(15.0, -15.0) + (0.0,) * 5, respond=10.0
    ),
    "one game -15, 8 items": Design(games=(8,) + (60,) * 6, repeats=5, apart=(-15.0,) + (0.0,) * 6),
    "two games +-10, 60 items": Design(games=(60,) * 7, repeats=5, apart=(10.0, -10.0) + (0.0,) * 5),
    "none apart, 60 items": Design(repeats=5),
}


def _games_called(job: tuple[str, int, int]) -> tuple[bool, float, float]:
    """Returns whether the means are called EQUIVALENT; and which share of the games is called equivalent, of
    those that truly are as far apart as their margin or farther, and of the others."""
    name, number, seed = job
    design = GAMES_APART[name]
    rng = np.random.default_rng(derive_seed(seed, "games", name, number))
    sweep = complete(design, rng)
    (claim,) = claims_of([sweep], level_after(4), number)
    called = [
        float(equivalence_p(strata([game.difference("points")], [game.shared]), RULES.margin_game)[0])
        <= RULES.alpha
        for game in pair(sweep.scores, "m0", ("m1",))
    ]
    apart = [abs(value) >= RULES.margin_game for value in design.apart or (0.0,) * len(called)]
    wrong = [one for one, far in zip(called, apart, strict=True) if far] or [False]
    right = [one for one, far in zip(called, apart, strict=True) if not far]
    return claim.verdict == "EQUIVALENT", float(np.mean(wrong)), float(np.mean(right))


def games_table(audits: int, seed: int, processes: int) -> None:
    """Tabulates games that differ while the mean does not: EQUIVALENT is about the mean, and each game has a
    test of its own."""
    print(f"\n### Games that differ, the mean apart ({audits:,} a row, R 5, margin of a game 10)\n")
    print("| games | the mean EQUIVALENT | of the games that differ, called equivalent | of the others |")
    print("|---|---|---|---|")
    with Pool(processes) as pool:
        for name in GAMES_APART:
            jobs = [(name, number, seed) for number in range(audits)]
            found = np.array(pool.map(_games_called, jobs, chunksize=25), dtype=np.float64).mean(axis=0)
            print(f"| {name} | {' | '.join(f'{rate:.3f}' for rate in found)} |", flush=True)


def _clemscore_held(job: tuple[tuple[int, ...], float, int, int]) -> tuple[bool, float]:
    """Returns whether one method's interval holds its true clemscore, and the interval's width."""
    games, aborted, number, seed = job
    rng = np.random.default_rng(
        derive_seed(seed, "clemscore", len(games), games[0], int(100 * aborted), number)
    )
    design = Design(games=games, aborted=(aborted, aborted), binary=True, beta=(0.3, 0.6))
    scores, _ = play(design, rng)
    figures = method_figures(scores, "m0", common_support(scores, scores.methods), 0.05)
    truth = 100 * (1 - aborted) / 3
    if figures.low is None or figures.high is None:
        return True, 100.0
    return figures.low <= truth <= figures.high, figures.high - figures.low


def clemscore_table(audits: int, seed: int, processes: int) -> None:
    """Coverage of one method's clemscore interval; games of few items are often all lost or all played."""
    print(f"\n### The interval of clemscore ({audits:,} a row, R 3)\n")
    print("| games | aborted | covered | mean width |")
    print("|---|---|---|---|")
    with Pool(processes) as pool:
        for games in ((60,) * 7, (10,) * 7, (5,) * 7, (10,), (5,)):
            for aborted in (0.0, 0.1):
                jobs = [(games, aborted, number, seed) for number in range(audits)]
                held: FloatArray = np.array(pool.map(_clemscore_held, jobs, chunksize=25), dtype=np.float64)
                covered, width = held.mean(axis=0)
                print(
                    f"| {len(games)} x {games[0]} | {aborted:g} | {covered:.3f} | {width:.1f} |", flush=True
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=1_000, help="simulated audits a row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tables", nargs="*", default=["claims", "games", "clemscore"], help="only these")
    parser.add_argument(
        "--rows", nargs="*", default=[], help="only the claims whose name contains one of these"
    )
    arguments = parser.parse_args()
    if "claims" in arguments.tables:
        claims_table(arguments.audits, arguments.seed, arguments.processes, arguments.rows)
    if "games" in arguments.tables:
        games_table(arguments.audits, arguments.seed, arguments.processes)
    if "clemscore" in arguments.tables:
        clemscore_table(arguments.audits, arguments.seed, arguments.processes)


if __name__ == "__main__":
    main()

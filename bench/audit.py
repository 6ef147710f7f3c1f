"""Calibration of the score audit: size, coverage, power, equivalence over the simulator's profiles, and its time on a full sweep.

    python -m bench.audit --audits 400

Prints markdown tables. Each row is its own stream: more audits refine a row, they do not change the others.
A model of data, not data; the Monte Carlo error of a rate near .05 is .022 / sqrt(audits / 100)."""

from __future__ import annotations

import argparse
import time

import numpy as np

from harness.audit.composite import common_support, supported_difference
from harness.audit.contrasts import ENDPOINTS, PairedGame, pair
from harness.audit.flips import FlipFindings, flip_test
from harness.audit.intervals import equivalence_p, strata, t_interval, total
from harness.audit.judgement import audit
from harness.audit.scores import EpisodeColumns, ScoreArray, score_array
from harness.core.seeds import derive_seed
from tests.harness.audit.simulator import (
    CLEAN,
    DEAD_GAME,
    MILD_QUANTISATION,
    NEW_ABORTS,
    ONE_GAME,
    QUANTISATION,
    Defect,
    simulate,
)

DRAWS = 999  # enough for a test at .05: resolution .001
DESIGNS = [(repeats, greedy) for repeats in (1, 5) for greedy in (True, False)]
MARGIN_ROWS = ((30, 0.0, 0.8), (30, 1.0, 0.8), (60, 0.5, 0.4), (60, 1.0, 0.4), (60, 2.5, 0.4), (180, 0.5, 0.4), (180, 3.0, 0.4))
PROFILES = ("strong", "mid", "weak")
DEFECTS = {
    "quality -0.25 logit": MILD_QUANTISATION,
    "quality -0.5 logit": QUANTISATION,
    "5 % new aborts": NEW_ABORTS,
    "referencegame -1.2 logit": ONE_GAME,
    "taboo never playable": DEAD_GAME,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=400, help="simulated audits a row")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    null_table(arguments.audits, arguments.seed)
    power_table(arguments.audits, arguments.seed)
    margin_table(audits=10 * arguments.audits, seed=arguments.seed)
    full_size()


def null_table(audits: int, seed: int) -> None:
    """One model through both methods."""
    print(f"\n### One model twice ({audits} audits a row, {DRAWS} draws)\n")
    print("| profile | R, chance | joint .05 | joint .10 | a game .05 | cover Delta | cover played | cover clemscore | equivalent |")
    print("|---|---|---|---|---|---|---|---|---|")
    for profile in PROFILES:
        for repeats, greedy in DESIGNS:
            rng = np.random.default_rng(derive_seed(seed, "null", profile, repeats, int(greedy)))
            rows = np.array([_null_row(simulate(profile, [CLEAN, CLEAN], rng, repeats=repeats, greedy=greedy), i) for i in range(audits)])
            rates = " | ".join(f"{rate:.3f}" for rate in rows.mean(axis=0))
            print(f"| {profile} | {repeats} {_chance(greedy)} | {rates} |", flush=True)


def _null_row(scores: ScoreArray, seed: int) -> tuple[float, ...]:
    games, flips = _flips(scores, seed)
    shared = [game.shared for game in games]
    parts = {endpoint: strata([game.difference(endpoint) for game in games], shared) for endpoint in ENDPOINTS}
    held = []
    for endpoint in ENDPOINTS:
        low, high = t_interval(total(parts[endpoint]), 0.95)
        held.append(float(low[0] <= 0 <= high[0]))
    supported = supported_difference(games, 0, common_support(scores, scores.methods), 0.05)
    same = max(float(equivalence_p(parts["points"], 3.0)[0]), float(equivalence_p(parts["played"], 5.0)[0]))
    joint = float(flips.joint[0])
    return (
        joint <= 0.05,
        joint <= 0.10,
        float((flips.adjusted[0, 0, 1:] <= 0.05).any()),
        *held,
        np.nan if supported is None else float(supported[1] <= 0 <= supported[2]),
        float(same <= 0.05),
    )


def power_table(audits: int, seed: int) -> None:
    """A planted defect in the strong profile, found by the joint test."""
    print(f"\n### Planted defects, strong profile: power of the joint test at .05 ({audits} audits a row)\n")
    print("| defect | R, chance | mean Delta | joint | points, macro alone |")
    print("|---|---|---|---|---|")
    for name, defect in DEFECTS.items():
        for repeats, greedy in ((1, True), (5, True), (5, False)):
            rng = np.random.default_rng(derive_seed(seed, "power", name, repeats, int(greedy)))
            rows = np.array([_power_row(defect, rng, repeats, greedy, i) for i in range(audits)])
            mean = rows.mean(axis=0)
            print(f"| {name} | {repeats} {_chance(greedy)} | {mean[0]:+.1f} | {mean[1]:.3f} | {mean[2]:.3f} |", flush=True)


def _power_row(defect: Defect, rng: np.random.Generator, repeats: int, greedy: bool, seed: int) -> tuple[float, ...]:
    games, flips = _flips(simulate("strong", [CLEAN, defect], rng, repeats=repeats, greedy=greedy), seed)
    whole = total(strata([game.difference("points") for game in games], [game.shared for game in games]))
    low, high = t_interval(whole, 0.95)
    return float(whole.estimate[0]), float(flips.joint[0] <= 0.05), float(not low[0] <= 0 <= high[0])


def margin_table(audits: int, seed: int) -> None:
    """A method that lost exactly the margin of 3 points: how often it is called equivalent at .05."""
    print(f"\n### False equivalence at the margin ({audits} audits a row)\n")
    print("| items of the game with rare losses | points lost there | error of the rest | called equivalent |")
    print("|---|---|---|---|")
    for items, hidden, error in MARGIN_ROWS:
        rng = np.random.default_rng(derive_seed(seed, "margin", items, int(100 * hidden), int(100 * error)))
        others = [40, 50, 180, 60, 30, 30]
        rare = np.where(rng.random((audits, items)) < hidden * 7 / 100, -100.0, 0.0)
        spread = error * 7 / np.sqrt(6)
        games = [rare, *(rng.normal(-(3 - hidden) * 7 / 6, spread * np.sqrt(n), (audits, n)) for n in others)]
        p = equivalence_p(strata(games, [np.ones(game.shape, dtype=np.bool_) for game in games]), 3.0)
        print(f"| {items} | {hidden} | {error} | {(p <= 0.05).mean():.3f} |", flush=True)


def _flips(scores: ScoreArray, seed: int) -> tuple[tuple[PairedGame, ...], FlipFindings]:
    games = pair(scores, "m0", ("m1",))
    differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
    return games, flip_test(differences, [game.shared for game in games], [game.game for game in games], seed, DRAWS)


def full_size() -> None:
    """10 methods x 7 games x 420 items x 5 repeats: from columns to findings."""
    scores = simulate("strong", [CLEAN] * 10, np.random.default_rng(1), repeats=5, greedy=False)
    columns = _columns(scores)
    start = time.perf_counter(), time.process_time()
    built = score_array(columns)
    middle = time.perf_counter(), time.process_time()
    audit(built, "m0", seed=1)
    end = time.perf_counter(), time.process_time()
    print(f"\n### {len(columns.method):,} episodes, 9 contrasts, 9,999 draws\n")
    print("| step | wall s | processor s |")
    print("|---|---|---|")
    print(f"| columns to arrays | {middle[0] - start[0]:.2f} | {middle[1] - start[1]:.2f} |")
    print(f"| arrays to findings | {end[0] - middle[0]:.2f} | {end[1] - middle[1]:.2f} |")


def _columns(scores: ScoreArray) -> EpisodeColumns:
    words = np.array(["success", "lost", "aborted", "unscored"], dtype=object)
    methods = np.array(scores.methods, dtype=object)
    places = [np.indices(game.outcome.shape).reshape(3, -1) for game in scores.games]
    return EpisodeColumns(
        method=np.concatenate([methods[m] for m, _, _ in places]),
        game=np.concatenate([np.full(place.shape[1], game.game, dtype=object) for game, place in zip(scores.games, places, strict=True)]),
        item=np.concatenate([np.array(game.items, dtype=object)[i] for game, (_, i, _) in zip(scores.games, places, strict=True)]),
        repeat=np.concatenate([r for _, _, r in places]),
        batch=np.concatenate([r for _, _, r in places]),
        outcome=np.concatenate([words[game.outcome.reshape(-1)] for game in scores.games]),
        score=np.concatenate([game.score.reshape(-1) for game in scores.games]),
    )


def _chance(greedy: bool) -> str:
    return "T0" if greedy else "T>0"


if __name__ == "__main__":
    main()

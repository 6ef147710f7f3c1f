"""Calibration of what is decided while a sweep runs and before it: looks, tripwire, planning.

    python -m bench.audit_stopping --audits 1000

Prints markdown tables. Each row is its own stream. A model of data, not data; the Monte Carlo error of a rate
near .05 is .022 / sqrt(audits / 100)."""

from __future__ import annotations

import argparse
from math import log, sqrt

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import FloatArray, ScoreArray
from harness.audit.scores.contrasts import pair
from harness.audit.scores.evidence import AuditRules
from harness.audit.scores.interim import SequentialMonitor, first_items, interim_analysis, spending
from harness.audit.scores.intervals import equivalence_p, strata
from harness.audit.scores.power import PlannedGame, estimate_power, measured
from harness.audit.scores.sample_size import reach
from harness.core.seeds import derive_seed
from tests.harness.audit.simulator import (
    CLEAN,
    DEAD_GAME,
    GAMES,
    ITEMS,
    MILD_QUANTISATION,
    NEW_ABORTS,
    ONE_GAME,
    PROFILES,
    QUANTISATION,
    Defect,
    simulate,
)

QUARTERS = (0.25, 0.5, 0.75, 1.0)
SPENT = spending(QUARTERS, 0.05)
RULES = AuditRules(margin=3.0, margin_played=5.0, margin_game=10.0, alpha=0.05, seed=1)
DRAWS = 1_999
MACRO = 2.066 / np.sqrt(
    np.array(QUARTERS)
)  # O'Brien and Fleming's bounds at .045, for the stratified t alone
BLOCKS = 30
DESIGNS = ((1, True), (5, True), (3, False))
DEFECTS = {
    "none": CLEAN,
    "quality -0.25 logit": MILD_QUANTISATION,
    "quality -0.5 logit": QUANTISATION,
    "5 % new aborts": NEW_ABORTS,
    "10 % new aborts": Defect(aborted=0.10),
    "referencegame -1.2 logit": ONE_GAME,
    "taboo never playable": DEAD_GAME,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=300, help="simulated audits a row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tables", nargs="*", help=f"only these: {', '.join(TABLES)}")
    arguments = parser.parse_args()
    for name in arguments.tables or TABLES:
        TABLES[name](arguments.audits, arguments.seed)


def _rng(seed: int, *path: str | int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "stopping", *path))


def _chance(greedy: bool) -> str:
    return "T0" if greedy else "T>0"


# --- looks ----------------------------------------------------------------------------------------------


def look_table(audits: int, seed: int) -> None:
    """Tabulates the ends of four looks beside one look after all plays, the stratified t alone, and a
    confidence sequence."""
    print(
        f"\n### Four looks ({audits} audits a row, {DRAWS} draws; share: of the items played when it ended)\n"
    )
    print(
        "| defect | profile | R, chance | fixed: DIFF, EQ | looks: DIFF, EQ, share | macro t: DIFF, EQ, "
        "share | sequence: EQ, share |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, defect in DEFECTS.items():
        for profile in PROFILES if defect is CLEAN else ("strong",):
            for repeats, greedy in DESIGNS:
                rng = _rng(seed, "looks", name, profile, repeats, int(greedy))
                rows = np.array(
                    [
                        _looked(simulate(profile, [CLEAN, defect], rng, repeats=repeats, greedy=greedy))
                        for _ in range(audits)
                    ]
                )
                a = rows.mean(axis=0)
                print(
                    f"| {name} | {profile} | {repeats} {_chance(greedy)} | {a[0]:.2f}, {a[1]:.2f} | "
                    f"{a[2]:.2f}, {a[3]:.2f}, {a[4]:.2f} "
                    f"| {a[5]:.2f}, {a[6]:.2f}, {a[7]:.2f} | {a[8]:.2f}, {a[9]:.2f} |",
                    flush=True,
                )


def _blocks(scores: ScoreArray) -> list[list[str]]:
    places = [
        (4 * place // len(game.items), item) for game in scores.games for place, item in enumerate(game.items)
    ]
    return [[item for at, item in places if at == block] for block in range(4)]


def _looked(scores: ScoreArray) -> tuple[float, ...]:
    blocks = _blocks(scores)
    looks = [
        interim_analysis(
            first_items(scores, blocks, number), "m0", "m1", number=number, spent=SPENT, rules=RULES,
            open_difference=1, open_equivalence=1, e_value=1.0, draws=DRAWS,
        )
        for number in range(1, 5)
    ]  # fmt: skip
    ended = next((look for look in looks if look.settled), looks[-1])
    t = [abs(look.difference) / look.se if look.se > 0 else 0.0 for look in looks]
    macro = ["DIFFERENT" if z >= bound else "EQUIVALENT" if look.p_equivalence < look.level_equivalence else ""
             for z, bound, look in zip(t, MACRO, looks, strict=True)]  # fmt: skip
    first = next((place for place, verdict in enumerate(macro) if verdict), 3)
    fixed_equal = looks[-1].p_equivalence <= RULES.alpha
    fixed_apart = looks[-1].p_difference <= RULES.alpha and not fixed_equal
    sequence = _sequence_share(scores)
    return (
        fixed_apart,
        fixed_equal,
        ended.verdict == "DIFFERENT",
        ended.verdict == "EQUIVALENT",
        ended.share,
        macro[first] == "DIFFERENT",
        macro[first] == "EQUIVALENT",
        QUARTERS[first],
        sequence is not None,
        sequence or 1.0,
    )


def _sequence_share(scores: ScoreArray) -> float | None:
    """Share of the items at which the asymptotic confidence sequence over 30 block means lies inside +-3,
    asked after every block."""
    games = pair(scores, "m0", ("m1",))
    means = np.array(
        [[part.mean() for part in np.array_split(game.difference("points")[0], BLOCKS)] for game in games]
    ).mean(axis=0)
    q2 = (-2 * log(0.1) + log(-2 * log(0.1)) + 1) / (BLOCKS / 2)
    for t in range(10, BLOCKS + 1):
        sd = float(means[:t].std(ddof=1))
        reached = sd * sqrt(2 * (t * q2 + 1) / (t**2 * q2) * log(sqrt(t * q2 + 1) / 0.1))
        if abs(float(means[:t].mean())) + reached < RULES.margin:
            return t / BLOCKS
    return None


def margin_table(audits: int, seed: int) -> None:
    """A method that lost exactly the margin: how often some look calls it equivalent."""
    print(
        f"\n### False equivalence at the margin, over four looks ({audits} audits a row; wanted: at most "
        ".08)\n"
    )
    print("| differences | R's worth of noise | called equivalent |")
    print("|---|---|---|")
    for kind in ("normal", "rare losses"):
        for sd in (8.0, 20.0):
            rng = _rng(seed, "margin", kind, int(sd))
            called = np.zeros(audits, dtype=bool)
            games = [_at_margin(rng, kind, sd, (audits, n)) for n in ITEMS]
            for number in range(1, 5):
                seen = [game[:, : -(-game.shape[1] * number // 4)] for game in games]
                p = equivalence_p(strata(seen, [np.ones(game.shape, dtype=np.bool_) for game in seen]), 3.0)
                called |= p < SPENT.equivalence[number - 1]
            print(f"| {kind} | sd {sd:g} | {called.mean():.3f} |", flush=True)


def _at_margin(rng: np.random.Generator, kind: str, sd: float, shape: tuple[int, int]) -> FloatArray:
    if kind == "normal":
        return rng.normal(-3.0, sd, shape)
    return np.where(rng.random(shape) < 0.03, -100.0, 0.0) + rng.normal(0, sd / 4, shape)


# --- tripwire -------------------------------------------------------------------------------------------


def tripwire_table(audits: int, seed: int) -> None:
    """Read after every item's first play."""
    print(
        f"\n### Sequential monitor, read after every item ({audits} audits a row, strong profile;"
        " share: of first plays when it reached 200)\n"
    )
    print("| defect | chance | ever 20 | ever 200 | median share |")
    print("|---|---|---|---|---|")
    for name, defect in DEFECTS.items():
        for greedy in (True, False):
            rng = _rng(seed, "tripwire", name, int(greedy))
            rows = np.array([_tripped(rng, defect, greedy) for _ in range(audits)])
            reached = rows[:, 1] <= 1
            share = f"{np.median(rows[reached, 1]):.2f}" if reached.any() else "-"
            print(
                f"| {name} | {_chance(greedy)} | {(rows[:, 0] >= 20).mean():.3f} | {reached.mean():.3f} | "
                f"{share} |",
                flush=True,
            )


def _tripped(rng: np.random.Generator, defect: Defect, greedy: bool) -> tuple[float, float]:
    scores = simulate("strong", [CLEAN, defect], rng, repeats=1, greedy=greedy)
    plays = [iter((game.points[1, :, 0] - game.points[0, :, 0]).tolist()) for game in scores.games]
    wire, at = SequentialMonitor(ITEMS), 2.0
    order = rng.permutation(np.repeat(np.arange(len(GAMES)), ITEMS)).tolist()
    for place, game in enumerate(order, 1):
        wire.add(game, next(plays[game]))
        if at > 1 and wire.highest >= 200:
            at = place / len(order)
    return wire.highest, at


# --- planning -------------------------------------------------------------------------------------------


def planning_table(audits: int, seed: int) -> None:
    """Forecasts from one pilot of three repeats, against what audits of the same design then found."""
    print(
        f"\n### Planning ({audits} audits a row; pilot of 3 repeats; forecast and found: share proved "
        "equivalent within the margin)\n"
    )
    print(
        "| profile | R, chance | margin | forecast | found | found with the forecast repeats (wanted .78) |"
    )
    print("|---|---|---|---|---|---|")
    for profile in PROFILES:
        for repeats, greedy, margin in ((1, True, 3.0), (3, True, 2.0), (3, False, 3.0), (5, False, 3.0)):
            rng = _rng(seed, "planning", profile, repeats, int(greedy))
            spreads = measured(simulate(profile, [CLEAN, CLEAN, CLEAN], rng, repeats=3, greedy=greedy))
            games = [
                PlannedGame(game=game, items=n, spread=spreads[game], source="pilot")
                for game, n in zip(GAMES, ITEMS, strict=True)
            ]
            told = estimate_power(games, repeats=repeats, methods=1, margins={"points": margin}, alpha=0.05)
            (points,) = told.endpoints
            forecast = max(0.0, 2 * float(stats.norm.cdf(margin / points.se - stats.norm.ppf(0.95))) - 1)
            found = _proved(rng, profile, repeats, greedy, margin, audits)
            needed = "-"
            if points.repeats is not None:
                needed = f"{_proved(rng, profile, points.repeats, greedy, margin, audits):.2f} (R {points.repeats})"
            print(
                f"| {profile} | {repeats} {_chance(greedy)} | {margin:g} | {forecast:.2f} | {found:.2f} | "
                f"{needed} |",
                flush=True,
            )
    print(f"\nA margin is provable when it holds {reach(0.05):.2f} standard errors.")


def _proved(
    rng: np.random.Generator, profile: str, repeats: int, greedy: bool, margin: float, audits: int
) -> float:
    proved = 0
    for _ in range(audits):
        games = pair(simulate(profile, [CLEAN, CLEAN], rng, repeats=repeats, greedy=greedy), "m0", ("m1",))
        parts = strata([game.difference("points") for game in games], [game.shared for game in games])
        proved += bool(equivalence_p(parts, margin)[0] <= 0.05)
    return proved / audits


TABLES = {
    "looks": look_table,
    "margin": margin_table,
    "monitor": tripwire_table,
    "planning": planning_table,
}

if __name__ == "__main__":
    main()

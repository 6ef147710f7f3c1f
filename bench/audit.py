"""Calibration of the audit: size, coverage, power, equivalence over the simulators of scores and of replies,
and its time on a full sweep.

    python -m bench.audit --audits 400

Prints markdown tables. Each row is its own stream: more audits refine a row, they do not change the others.
A model of data, not data; the Monte Carlo error of a rate near .05 is .022 / sqrt(audits / 100)."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.analysis.store_audit import store_audit
from harness.audit.replies.kernels import KERNELS
from harness.audit.replies.reply_audit import compare_replies
from harness.audit.scores.arrays import EpisodeColumns, ScoreArray, score_array
from harness.audit.scores.clemscore import common_support, supported_difference
from harness.audit.scores.contrasts import ENDPOINTS, PairedGame, pair
from harness.audit.scores.intervals import equivalence_p, strata, t_interval, total
from harness.audit.scores.score_audit import audit
from harness.audit.scores.sign_flips import SignFlipResult, sign_flip_test
from harness.audit.verdicts import holm
from harness.core.seeds import derive_seed
from harness.store.file import open_to_write
from tests.harness.audit.automaton import CAPPED, EIGHT_BIT, FOUR_BIT, ROUTED, TRUE, WARM, Served, ask
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
DESIGNS = [(1, True), (1, False), (3, True), (5, True), (5, False)]
MARGIN_ROWS = (
    (30, 0.0, 0.8),
    (30, 1.0, 0.8),
    (60, 0.5, 0.4),
    (60, 1.0, 0.4),
    (60, 2.5, 0.4),
    (180, 0.5, 0.4),
    (180, 3.0, 0.4),
)
PROFILES = ("strong", "mid", "weak")
FAMILY_DRAWS = (
    9_999  # the joint p cannot be smaller than its statistics over the draws, and Holm wants an eighth of .05
)
REPLY_DRAWS = 499
REPLY_DEFECTS = {
    "8-bit-like weights": (EIGHT_BIT, 0.90),
    "4-bit-like weights": (FOUR_BIT, 1.00),
    "20 % routed elsewhere": (ROUTED, 0.70),
    "T 0 served as 0.3": (WARM, 1.00),
    "output capped": (CAPPED, 1.00),
}
BIG_STORE = (
    """INSERT INTO sweeps (run_id, name, spec_json, spec_hash, seed, version, started_at)
       VALUES ('0001', 'big', '{"audit": {"reference": "m/0"}, "seed": 1, "models": {}}', 'x', 1, '0', 0)""",
    """INSERT INTO methods (run_id, method, model, provider, dialect, base_url, served_model, sampling_json, constrain, concurrency)
       SELECT '0001', 'm/' || k, 'm', 'p', 'd', '', 's', '{}', false, 1 FROM range(10) AS methods(k)""",
    """CREATE TEMP TABLE plan AS
       SELECT m, g, i, r, a, CAST(hash(m, g, i, r, a) >> 1 AS VARCHAR) AS id, random() AS form, random() AS luck
       FROM range(10) AS m(m), range(7) AS g(g), range({items}) AS i(i), range(5) AS r(r), (VALUES ('main'), ('again')) AS a(a)
       WHERE a = 'main' OR m = 0""",
    """INSERT INTO episodes (episode_id, attempt, run_id, key, game, rules, instance_set, experiment, instance, content_hash, method,
         model, seating, arm, batch, repeat, status, outcome, score, reason, requests, parsed, violated, metrics_json, turns,
         started_at, finished_at)
       SELECT id, 0, '0001', id, 'game' || g, 'r', 's', 'e', i, 'h' || i, 'm/' || m, 'm', 'm', a, r, r, 'finished',
         CASE WHEN form < 0.1 THEN 'aborted' WHEN luck < 0.5 THEN 'lost' ELSE 'success' END,
         CASE WHEN form < 0.1 THEN NULL WHEN luck < 0.5 THEN 0 ELSE 100 END, 'x', 1, 1, 0, '{}', 4, 0, 0 FROM plan""",
    """CREATE TEMP TABLE said AS
       SELECT plan.*, t, CASE WHEN random() < 0.5 THEN 0 ELSE CAST(random() * 50 AS INTEGER) END AS v FROM plan, range(4) AS t(t)""",
    """INSERT INTO calls (episode_id, attempt, turn, try_number, run_id, method, ask_hash, reply, finish_reason, prompt_tokens,
         completion_tokens, queue_s, latency_s, sent_at)
       SELECT id, 0, t, 0, '0001', 'm/' || m, md5(concat_ws('-', g, i, t, list_sum(before))),
         array_to_string(list_transform(range(25), lambda x: 'w' || (hash(g, i, t, CASE WHEN x < 12 THEN 0 ELSE v END, x) % 400)), ' '),
         'stop', 10, 10, 0, 1, 0
       FROM (SELECT *, list(v) OVER (PARTITION BY id ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM said)""",
)
DEFECTS = {
    "quality -0.25 logit": MILD_QUANTISATION,
    "quality -0.5 logit": QUANTISATION,
    "5 % new aborts": NEW_ABORTS,
    "referencegame -1.2 logit": ONE_GAME,
    "taboo never playable": DEAD_GAME,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=400, help="simulated audits a row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--items", type=int, default=60, help="items a game in the store that is made and audited"
    )
    parser.add_argument(
        "--tables", nargs="*", help="only these: null, power, margin, replies, family, size, store"
    )
    parser.add_argument("--rows", nargs="*", default=[], help='only these of null, such as "mid 1 T>0"')
    arguments = parser.parse_args()
    audits, seed, rows = arguments.audits, arguments.seed, arguments.rows
    tables: dict[str, Callable[[], None]] = {
        "null": lambda: null_table(audits, seed, rows),
        "power": lambda: power_table(audits, seed),
        "margin": lambda: margin_table(audits=10 * audits, seed=seed),
        "replies": lambda: reply_table(audits, seed),
        "family": lambda: family_table(audits, seed),
        "size": full_size,
        "store": lambda: from_a_store(arguments.items),
    }
    for name in arguments.tables or tables:
        tables[name]()


def null_table(audits: int, seed: int, only: Sequence[str]) -> None:
    """One model through both methods."""
    print(f"\n### One model twice ({audits} audits a row, {DRAWS} draws)\n")
    print(
        "| profile | R, chance | joint .05 | joint .10 | a game .05 | cover Delta | cover played | cover "
        "clemscore | equivalent |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for profile in PROFILES:
        for repeats, greedy in DESIGNS:
            if only and f"{profile} {repeats} {_chance(greedy)}" not in only:
                continue
            rng = np.random.default_rng(derive_seed(seed, "null", profile, repeats, int(greedy)))
            rows = np.array(
                [
                    _null_row(simulate(profile, [CLEAN, CLEAN], rng, repeats=repeats, greedy=greedy), i)
                    for i in range(audits)
                ]
            )
            rates = " | ".join(f"{rate:.3f}" for rate in rows.mean(axis=0))
            print(f"| {profile} | {repeats} {_chance(greedy)} | {rates} |", flush=True)


def _null_row(scores: ScoreArray, seed: int) -> tuple[float, ...]:
    games, flips = _flips(scores, seed)
    shared = [game.shared for game in games]
    parts = {
        endpoint: strata([game.difference(endpoint) for game in games], shared) for endpoint in ENDPOINTS
    }
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
            print(
                f"| {name} | {repeats} {_chance(greedy)} | {mean[0]:+.1f} | {mean[1]:.3f} | {mean[2]:.3f} |",
                flush=True,
            )


def _power_row(
    defect: Defect, rng: np.random.Generator, repeats: int, greedy: bool, seed: int
) -> tuple[float, ...]:
    games, flips = _flips(simulate("strong", [CLEAN, defect], rng, repeats=repeats, greedy=greedy), seed)
    whole = total(strata([game.difference("points") for game in games], [game.shared for game in games]))
    low, high = t_interval(whole, 0.95)
    return float(whole.estimate[0]), float(flips.joint[0] <= 0.05), float(not low[0] <= 0 <= high[0])


def margin_table(audits: int, seed: int) -> None:
    """A method that lost exactly the margin of 3 points: how often it is called equivalent at .05."""
    print(f"\n### False equivalence at the margin ({audits} audits a row)\n")
    print(
        "| items of the game with rare losses | points lost there | error of the rest | called equivalent |"
    )
    print("|---|---|---|---|")
    for items, hidden, error in MARGIN_ROWS:
        rng = np.random.default_rng(derive_seed(seed, "margin", items, int(100 * hidden), int(100 * error)))
        others = [40, 50, 180, 60, 30, 30]
        rare = np.where(rng.random((audits, items)) < hidden * 7 / 100, -100.0, 0.0)
        spread = error * 7 / np.sqrt(6)
        games = [rare, *(rng.normal(-(3 - hidden) * 7 / 6, spread * np.sqrt(n), (audits, n)) for n in others)]
        p = equivalence_p(strata(games, [np.ones(game.shape, dtype=np.bool_) for game in games]), 3.0)
        print(f"| {items} | {hidden} | {error} | {(p <= 0.05).mean():.3f} |", flush=True)


def reply_table(audits: int, seed: int) -> None:
    """The greedy panel of 60 asks x 5: one model through both ways, and planted defects."""
    print(f"\n### Replies: 60 asks x 5, {audits} audits a row, {REPLY_DRAWS} relabellings\n")
    print(
        f"| served | wanted | largest of all | {' | '.join(KERNELS)} | rho | its interval holds 1 | "
        "EQUIVALENT | DIFFERENT |"
    )
    print("|---|---|---|" + "---|" * (len(KERNELS) + 4))
    rows: list[tuple[str, Served, Served, str]] = [
        ("one model, T 0", TRUE, TRUE, ".03-.07"),
        ("one model, T 1", Served(temperature=1.0), Served(temperature=1.0), ".03-.07"),
        *((name, TRUE, defect, f">= {wanted:.2f}") for name, (defect, wanted) in REPLY_DEFECTS.items()),
    ]
    for name, one, other, wanted in rows:
        found = [
            _reply_row(one, other, derive_seed(seed, "replies", name, audit) % 2**32)
            for audit in range(audits)
        ]
        p, kernels, rho, held, verdicts = zip(*found, strict=True)
        rates = " | ".join(f"{rate:.2f}" for rate in (np.array(kernels) <= 0.05).mean(axis=0))
        shares = " | ".join(
            f"{verdicts.count(verdict) / audits:.2f}" for verdict in ("EQUIVALENT", "DIFFERENT")
        )
        print(
            f"| {name} | {wanted} | {np.mean(np.array(p) <= 0.05):.3f} | {rates} | {np.nanmedian(rho):.2f}"
            f" | {np.mean(held):.2f} | {shares} |",
            flush=True,
        )


def _reply_row(one: Served, other: Served, seed: int) -> tuple[float, list[float], float, bool, str | None]:
    (match,) = compare_replies(
        ask([one, other], prompts=60, repeats=5, seed=seed), "m0", seed=seed, draws=REPLY_DRAWS
    ).across
    assert match.p is not None
    assert match.divergence is not None
    found = match.divergence
    kernels = {kernel.kernel: kernel.p for kernel in match.turns[0].kernels}  # none where every reply agreed
    return (
        match.p,
        [kernels.get(name, 1.0) for name in KERNELS],
        found.rho if found.rho is not None else np.nan,
        found.low is None or found.high is None or found.low <= 1 <= found.high,
        match.verdict,
    )


def family_table(audits: int, seed: int) -> None:
    """Eight methods that all are the reference: how often is any called different, after Holm."""
    print(
        f"\n### Eight methods, all the same model ({audits} audits a row, {FAMILY_DRAWS:,} draws): any "
        "DIFFERENT\n"
    )
    print("| profile | R, chance | any |")
    print("|---|---|---|")
    for profile, repeats, greedy in (("strong", 1, True), ("mid", 3, False)):
        rng = np.random.default_rng(derive_seed(seed, "family", profile))
        alarms = 0
        for audit_number in range(audits):
            scores = simulate(profile, [CLEAN] * 9, rng, repeats=repeats, greedy=greedy)
            games = pair(scores, "m0", scores.methods[1:])
            differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
            flips = sign_flip_test(
                differences,
                [game.shared for game in games],
                [game.game for game in games],
                audit_number,
                FAMILY_DRAWS,
            )
            alarms += min(holm(flips.joint.tolist())) <= 0.05
        print(f"| {profile} | {repeats} {_chance(greedy)} | {alarms / audits:.3f} |", flush=True)


def big_store(store: Path, *, items: int) -> tuple[int, int]:
    """A store of 10 methods x 7 games x these items x 5 repeats, the first method in both arms, four turns an
    episode; half of the replies are the item's usual ones. Returns its calls and episodes."""
    with open_to_write(store) as connection:
        for statement in BIG_STORE:
            connection.execute(statement.replace("{items}", str(items)))
        (calls,), (episodes,) = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0]
            for table in ("calls", "episodes")
        )
    return int(calls), int(episodes)


def from_a_store(items: int) -> None:
    """10 methods x 7 games x `items` x 5 repeats, four turns each, out of the DuckDB file: scores and
    replies, and what memory it takes."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "big.duckdb"
        calls, episodes = big_store(store, items=items)
        start = time.perf_counter(), time.process_time()
        store_audit(store, reference=None, margin=None)
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n### From the file: {episodes:,} episodes, {calls:,} calls, 9 methods against a reference played "
        "twice\n"
    )
    print("| wall s | processor s | peak MB, the making of the store included |")
    print("|---|---|---|")
    print(f"| {wall:.1f} | {cpu:.1f} | {memory:.0f} |", flush=True)


def _flips(scores: ScoreArray, seed: int) -> tuple[tuple[PairedGame, ...], SignFlipResult]:
    games = pair(scores, "m0", ("m1",))
    differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
    return games, sign_flip_test(
        differences, [game.shared for game in games], [game.game for game in games], seed, DRAWS
    )


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
        game=np.concatenate(
            [
                np.full(place.shape[1], game.game, dtype=object)
                for game, place in zip(scores.games, places, strict=True)
            ]
        ),
        item=np.concatenate(
            [
                np.array(game.items, dtype=object)[i]
                for game, (_, i, _) in zip(scores.games, places, strict=True)
            ]
        ),
        repeat=np.concatenate([r for _, _, r in places]),
        batch=np.concatenate([r for _, _, r in places]),
        outcome=np.concatenate([words[game.outcome.reshape(-1)] for game in scores.games]),
        score=np.concatenate([game.score.reshape(-1) for game in scores.games]),
    )


def _chance(greedy: bool) -> str:
    return "T0" if greedy else "T>0"


if __name__ == "__main__":
    main()

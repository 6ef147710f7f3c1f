"""Measures how many tokens a rescoring needs to tell weights apart, and how often it errs.

    python -m bench.rescoring planted   the emulator's automaton with planted defects
    python -m bench.rescoring store STORE --with M/METHOD [--null M/OTHER]
                                        replies of real models that `rescore` has scored

Both draw as many items as have so many tokens on average, none twice, and test them against the reference's
own replies as the audit does. AUC: the probability that a sample of the method has a larger mean margin than
a sample of the reference of as many tokens. Power is the share of samples with p <= .05. Size is this share
for other items of the reference itself. A cell without a figure: too few items. The audit itself wants five
items; this bench does not.

Whole items, in a fixed number and none twice, keep the size of a permutation test exact. Items that are drawn
with replacement look like more independent items than they are, and an item that is cut at a number of tokens
varies less than the others."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from backends.emulator.toy_model import END_OF_REPLY, Sampler, Token, generate_text, score_text
from harness.analysis.completeness import player, replicate_of
from harness.audit.weights.item_tests import mean_excess, moments, permutation_p
from harness.audit.weights.token_measures import CAP_TESTED
from harness.store.file import open_to_read
from harness.store.rescore_queries import scored_rows

TOKENS = (50, 100, 300, 1_000, 3_000)
ALPHA = 0.05
ITEMS = 2_000  # of a planted pool
REFERENCE_ITEMS = 100  # at most so many items of the reference; drawn again for each sample
REFERENCE_ITEMS_MIN = 20  # of the reference, beside a sample of its own items
CAP_TOKENS = 30
KERNEL_NOISE = 0.02  # on logits: what other kernels do to equal weights

Floats = npt.NDArray[np.float64]
"""(items, 2): the sum of margins, cut as the test does, and the number of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One way in which the automaton is served.

    noise    on its logits; routed: share of replies of another automaton
    cap      replies end after CAP_TOKENS: "stop" says that they ended by themselves, "length" does not"""

    noise: float = KERNEL_NOISE
    temperature: float = 0.0
    routed: float = 0.0
    cap: str = ""


PLANTED: Mapping[str, Planted] = {
    "20 % routed elsewhere": Planted(routed=0.2),
    "temperature 0.3 for 0": Planted(temperature=0.3),
    "noise .1, like 8 bits": Planted(noise=0.1),
    "noise .5, like 4 bits": Planted(noise=0.5),
    "cap of 30 tokens that says stop": Planted(cap="stop"),
    "cap of 30 tokens that says length": Planted(cap="length"),
}


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = arguments.add_subparsers(dest="command", required=True)
    planted = commands.add_parser("planted", help="the emulator's automaton with planted defects")
    store = commands.add_parser("store", help="a store that lightbulb rescore has scored")
    store.add_argument("store", type=Path)
    store.add_argument("--with", dest="reference", required=True, metavar="MODEL/METHOD")
    store.add_argument(
        "--null", metavar="MODEL/METHOD", help="whose replies the others are compared with; default: its own"
    )
    for parser in (planted, store):
        parser.add_argument("--samples", type=int, default=1_000, help="samples of each size")
    chosen = arguments.parse_args()
    rng = np.random.default_rng(23)
    if chosen.command == "planted":
        own = planted_pool(Planted(), "reference", ITEMS)
        pools = {name: planted_pool(one, "method", ITEMS) for name, one in PLANTED.items()}
    else:
        pools = stored_pools(chosen.store, chosen.reference)
        own = pools.pop(chosen.null or chosen.reference)
    pools = {"the reference itself (size)": own, **pools}
    print(f"reference: {len(own)} items, {own[:, 1].sum():,.0f} tokens, {_mean(own):.5f} nats a token\n")
    print(f"| method | items | nats a token | {' | '.join(f'{tokens:,}' for tokens in TOKENS)} |")
    print("|---|---|---|" + "---|" * len(TOKENS))
    for name, pool in pools.items():
        cells = [_cell(own, pool, tokens, chosen.samples, rng) for tokens in TOKENS]
        print(f"| {name} | {len(pool)} | {_mean(pool):.5f} | {' | '.join(cells)} |", flush=True)


def _mean(pool: Floats) -> float:
    return float(pool[:, 0].sum() / pool[:, 1].sum())


def _cell(own: Floats, pool: Floats, tokens: int, samples: int, rng: np.random.Generator) -> str:
    """Returns AUC / power at this number of tokens; the items are divided anew each time."""
    drawn, of_own = items_of(pool, tokens), items_of(own, tokens)
    left = len(own) - of_own - (REFERENCE_ITEMS_MIN if pool is own else 0)
    if drawn > len(pool) or left < 0:
        return "-"
    p: list[float] = []
    means: list[tuple[float, float]] = []
    for _ in range(samples):
        order = rng.permutation(len(own))
        same, rest = own[order[:of_own]], own[order[of_own:]]
        sample = same if pool is own else pool[rng.permutation(len(pool))[:drawn]]
        reference = (rest if pool is own else own[order])[-REFERENCE_ITEMS:]
        p.append(permutation_p(moments(reference), moments(sample), mean_excess, rng, draws=199))
        means.append((_mean(own[rng.permutation(len(own))[:of_own]]), _mean(sample)))
    ours, theirs = np.array(means).T
    auc = float((theirs[:, None] > ours).mean() + 0.5 * (theirs[:, None] == ours).mean())
    return f"{auc:.3f} / {np.mean(np.array(p) <= ALPHA):.3f}"


def items_of(pool: Floats, tokens: int) -> int:
    """Returns how many items of this pool have so many tokens on average."""
    return max(1, ceil(tokens * len(pool) / float(pool[:, 1].sum())))


# --- pools ----------------------------------------------------------------------------------------------


def planted_pool(one: Planted, kind: str, items: int) -> Floats:
    """Returns the margins of replies of this automaton, as the automaton without noise scores them.

    kind   of the prompts: reference and method have other ones"""
    return np.array([_planted_item(one, f"{kind} {number}", number) for number in range(items)])


def _planted_item(one: Planted, prompt: str, number: int) -> tuple[float, float]:
    routed = (number * 0.6180339887) % 1 < one.routed
    writer = Sampler(
        weights=b"elsewhere" if routed else b"own",
        temperature=one.temperature,
        top_p=1.0,
        draw_key=prompt.encode(),
        weights_noise=one.noise,
    )
    start = prompt.encode()
    pieces = [token.text for token in generate_text(writer, start, tokens_max=60)]
    ended = len(pieces) < 60
    if one.cap:
        pieces, ended = pieces[:CAP_TOKENS], one.cap == "stop"
    scorer = Sampler(weights=b"own", temperature=0.0, top_p=1.0, draw_key=b"")
    scored = score_text(scorer, start, [*pieces, *([END_OF_REPLY] if ended else [])])
    return sum(map(_margin, scored)), len(scored)


def _margin(token: Token) -> float:
    return min(CAP_TESTED, token.logprobs()[0][1] - token.logprob())


def stored_pools(store: Path, reference: str) -> dict[str, Floats]:
    """Returns method -> the margins of its scored replies, by item; the A/A replicate is a method."""
    with open_to_read(store) as connection:
        rows = scored_rows(connection, reference)
    sums: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        margins: Sequence[Sequence[float]] = orjson.loads(row.tokens_json)
        item = sums.setdefault(player(row.method, row.arm), {}).setdefault(row.item, [0.0, 0.0])
        item[0] += sum(min(CAP_TESTED, token[0]) for token in margins)
        item[1] += len(margins)
    pools = {name: np.array([*of.values()]) for name, of in sums.items()}
    return {
        reference: pools.pop(reference),
        **dict(sorted(pools.items(), key=lambda pair: pair[0] != replicate_of(reference))),
    }


if __name__ == "__main__":
    main()

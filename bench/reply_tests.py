"""Three tests on the same stored replies of real models: the reference's weights (rescoring), the permutation
test of the reply audit, and Model Equality Testing's MMD with its Hamming kernel, from its own package.

    python -m bench.reply_tests STORE --with MODEL/METHOD [--samples 100]

The store was scored by `lightbulb rescore`. Only first replies count, because all methods have their prompts
in common. A sample has as many items, none twice, as have so many tokens of the method on average. The reply
audit and the MMD compare its replies with the reference's replies to the same items, and need a repeat of one
of the two; a reference that was played once brings its second run. The rescoring compares them with the
reference's replies to all items.
Power is the share of samples with p <= .05. In the row of the reference's second run this share is the size
of the test.
Source: Gao, Liang & Guestrin (2024), "Model Equality Testing", arXiv 2410.20247; its package
model-equality-testing 0.0.2 runs in an environment of its own, with 99 permutations a test."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import orjson

from bench.tool_environments import environment
from harness.analysis.completeness import player, replicate_of
from harness.audit.replies.columns import ReplyColumns, gather
from harness.audit.replies.label_permutation import permutation_test
from harness.audit.replies.prompt_pairs import blocks_of, compare_prompts
from harness.audit.weights.item_tests import mean_excess, moments, permutation_p
from harness.audit.weights.token_measures import CAP_TESTED
from harness.store.file import open_to_read
from harness.store.planned_plays import ITEM

PACKAGES = ("model-equality-testing==0.0.2", "tqdm", "transformers")  # its metadata lacks the last two
TOKENS = (50, 100, 300, 1_000, 3_000)
ALPHA = 0.05
DRAWS = 199  # of our two tests
CHARACTERS_MAX = 1_000  # of a reply, as in the paper's experiments
MMD = """
import json
import sys
import numpy as np
from model_equality_testing.algorithm import run_two_sample_test
from model_equality_testing.distribution import CompletionSample
from model_equality_testing.utils import pad_to_length, tokenize_unicode
for case in map(json.loads, open(sys.argv[1])):
    texts = [tokenize_unicode(case[kind]["texts"]) for kind in ("reference", "method")]
    longest = max(text.shape[1] for text in texts)
    samples = [
        CompletionSample(
            prompts=np.array(case[kind]["prompts"]), completions=pad_to_length(text, L=longest), m=case["items"]
        )
        for kind, text in zip(("reference", "method"), texts)
    ]
    p, _ = run_two_sample_test(*samples, pvalue_type="permutation_pvalue", stat_type="mmd_hamming", b=99)
    print(float(p), flush=True)
"""


class FirstReply(NamedTuple):
    """A method's first reply to an item. margin: the sum over its tokens, cut as the audit does."""

    text: str
    margin: float
    tokens: int


Pool = Mapping[str, Sequence[FirstReply]]
"""Item -> the replies of one method."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--with", dest="reference", required=True, metavar="MODEL/METHOD")
    parser.add_argument("--samples", type=int, default=100, help="samples of each size")
    chosen = parser.parse_args()
    pools = first_replies(chosen.store, chosen.reference)
    own, again = pools.pop(chosen.reference), pools.pop(replicate_of(chosen.reference), {})
    rng = np.random.default_rng(23)
    print("| method | items | replies of an item | " + " | ".join(f"{tokens:,}" for tokens in TOKENS) + " |")
    print("|---|---|---|" + "---|" * len(TOKENS))
    if again:
        _print_row("the reference's second run (size)", own, own, again, chosen.samples, rng)
    for name, pool in pools.items():
        _print_row(name, own, _both(own, again), pool, chosen.samples, rng)


def first_replies(store: Path, reference: str) -> dict[str, Pool]:
    """Returns method -> its first replies, as far as this reference has scored them."""
    with open_to_read(store) as connection:
        rows = connection.execute(
            f"""
            SELECT rescores.method, arm, {ITEM} AS item, reply, tokens_json
            FROM rescores JOIN last_episodes USING (episode_id, attempt) JOIN calls USING (episode_id, attempt, turn)
            WHERE reference = ? AND turn = 0 AND error_class IS NULL ORDER BY ALL""",
            [reference],
        ).fetchall()
    pools: dict[str, dict[str, list[FirstReply]]] = {}
    for method, arm, item, text, tokens in rows:
        margins = [min(CAP_TESTED, token[0]) for token in orjson.loads(tokens)]
        reply = FirstReply(text[:CHARACTERS_MAX], sum(margins), len(margins))
        pools.setdefault(player(method, arm), {}).setdefault(item, []).append(reply)
    return dict(pools)


def _both(first: Pool, second: Pool) -> Pool:
    return {item: [*replies, *second.get(item, ())] for item, replies in first.items()}


def _print_row(
    name: str, own: Pool, paired: Pool, pool: Pool, samples: int, rng: np.random.Generator
) -> None:
    """Prints one row: the power of the three tests, at each number of tokens.

    own     the replies of the reference, for the rescoring
    paired  its replies to each item, for the two tests of replies"""
    common = sorted(own.keys() & pool.keys())
    tokens_of_item = sum(reply.tokens for item in common for reply in pool[item]) / len(common)
    drawn = {
        tokens: [[common[place] for place in rng.permutation(len(common))[:many]] for _ in range(samples)]
        for tokens in TOKENS
        if (many := ceil(tokens / tokens_of_item)) <= len(common)
    }
    by_mmd = mmd_p(paired, pool, [items for chosen in drawn.values() for items in chosen])
    cells = {
        tokens: (
            [weights_p(own, pool, items, rng) for items in chosen],
            [replies_p(paired, pool, items, rng) for items in chosen],
            by_mmd[place * samples : (place + 1) * samples],
        )
        for place, (tokens, chosen) in enumerate(drawn.items())
    }
    shape = f"{max(map(len, pool.values()))} and {max(map(len, paired.values()))}"
    shown = " | ".join(_cell(cells.get(tokens, ())) for tokens in TOKENS)
    print(f"| {name} | {len(common)} | {shape} | {shown} |", flush=True)


def _cell(found: Sequence[Sequence[float]]) -> str:
    """Returns the power of each test; a hyphen where it could not be run."""
    powers = ("-" if not p else f"{np.mean(np.array(p) <= ALPHA):.2f}" for p in found)
    return " / ".join(powers) or "-"


def weights_p(own: Pool, pool: Pool, items: Sequence[str], rng: np.random.Generator) -> float:
    """Returns the p of the rescoring: these items of the method against all items of the reference."""
    reference, method = (
        np.array([[sum(r.margin for r in of[item]), sum(r.tokens for r in of[item])] for item in wanted])
        for of, wanted in ((own, list(own)), (pool, items))
    )
    return permutation_p(moments(reference), moments(method), mean_excess, rng, draws=DRAWS)


def replies_p(own: Pool, pool: Pool, items: Sequence[str], rng: np.random.Generator) -> float:
    """Returns the p of the reply audit for these items; 1 where all replies are equal."""
    rows = [
        (name, item, reply.text)
        for name, of in (("reference", own), ("x", pool))
        for item in items
        for reply in of[item]
    ]
    method, item, text = (list(column) for column in zip(*rows, strict=True))
    replies = gather(
        ReplyColumns(
            method=method,
            item=item,
            turn=[0] * len(rows),
            ask_hash=item,
            reply=text,
            size=[len(one.encode()) for one in text],
            ending=["stop"] * len(rows),
        )
    )
    a, b = (replies.names.index(name) for name in ("reference", "x"))
    informative = np.flatnonzero(replies.informative(a, b))
    blocks = blocks_of(
        compare_prompts(replies, a, b, informative), np.ones(replies.count.shape[1], dtype=np.bool_)
    )
    return permutation_test(blocks, rng, DRAWS).p if blocks else 1.0


def mmd_p(own: Pool, pool: Pool, samples: Sequence[Sequence[str]]) -> list[float]:
    """Returns the p of the package's test for each of these samples of items.

    Empty where a method has one reply to a prompt: the package's statistic is then not a number."""
    if min(len(replies) for of in (own, pool) for replies in of.values()) < 2:
        return []
    with TemporaryDirectory() as folder:
        cases = Path(folder) / "cases.jsonl"
        cases.write_bytes(
            b"\n".join(
                orjson.dumps(
                    {"items": len(items), "reference": _sample(own, items), "method": _sample(pool, items)}
                )
                for items in samples
            )
        )
        ended = subprocess.run(
            [environment("equality", PACKAGES), "-c", MMD, str(cases)],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    return [float(line) for line in ended.stdout.split()]


def _sample(of: Pool, items: Sequence[str]) -> dict[str, Sequence[object]]:
    rows = [(place, reply.text) for place, item in enumerate(items) for reply in of[item]]
    return {"prompts": [place for place, _ in rows], "texts": [text for _, text in rows]}


if __name__ == "__main__":
    main()

"""Verdicts on replies with a known truth: alike methods, disjoint words, half length, refusals, other
subjects; automata.

    python -m bench.replies [--audits 1000] [--prompts 200] [--repeats 5] [--only NAME ...]

Each row is so many simulated audits of one method and its reference. A model of data, not data. The Monte
Carlo error of a rate near .05 is .022 / sqrt(audits / 100). EQUIVALENT must be at most .05 in every row with
a difference."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from harness.audit.replies.columns import ReplyColumns
from harness.audit.replies.reply_audit import CrossMatch, compare_replies
from harness.core.seeds import derive_seed
from tests.harness.audit.automaton import Served, ask
from tests.harness.audit.free_text import (
    DIFFERENT_STYLES,
    REFERENCE,
    Style,
    independent_of_the_prompt,
    write,
)

DRAWS = 499  # resolution .002
Source = Callable[[int, int, int], ReplyColumns]  # prompts, repeats, seed


def _free(style: Style) -> Source:
    return lambda prompts, repeats, seed: write(
        (REFERENCE, style), prompts=prompts, repeats=repeats, seed=seed
    )


def _independent(style: Style) -> Source:
    styles = (independent_of_the_prompt(REFERENCE), independent_of_the_prompt(style))
    return lambda prompts, repeats, seed: write(styles, prompts=prompts, repeats=repeats, seed=seed)


def _automaton(reference: Served, method: Served) -> Source:
    return lambda prompts, repeats, seed: ask(
        [reference, method], prompts=prompts, repeats=repeats, seed=seed
    )


HOT, WARM = Served(temperature=1.0, tokens_max=40), Served(temperature=0.3, tokens_max=40)
ROWS: dict[str, Source] = {
    "words: same": _free(REFERENCE),
    **{f"words: {name}": _free(style) for name, style in DIFFERENT_STYLES.items()},
    "random words: same": _independent(REFERENCE),
    "random words: no word in common": _independent(Style(other_words=True)),
    "random words: half the length": _independent(Style(words=(2, 8))),
    "automaton T 1: same": _automaton(HOT, HOT),
    "automaton T .3: same": _automaton(WARM, WARM),
    "automaton T 1: weights noise .6": _automaton(HOT, Served(temperature=1.0, weights=0.6, tokens_max=40)),
    "automaton T 1: weights noise 1": _automaton(HOT, Served(temperature=1.0, weights=1.0, tokens_max=40)),
    "automaton T .3: weights noise .15": _automaton(
        WARM, Served(temperature=0.3, weights=0.15, tokens_max=40)
    ),
    "automaton T .3: weights noise .3": _automaton(WARM, Served(temperature=0.3, weights=0.3, tokens_max=40)),
    "automaton T 1 served as 2": _automaton(HOT, Served(temperature=2.0, tokens_max=40)),
    "automaton T 1: 40 % routed": _automaton(HOT, Served(temperature=1.0, routed=0.4, tokens_max=40)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=1000, help="simulated audits a row")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[*ROWS], help="rows by name")
    options = parser.parse_args()
    print(f"\n### {options.prompts} prompts x {options.repeats} ({options.audits} audits a row)\n")
    print("| truth | EQUIVALENT | DIFFERENT | p <= .05 | AUC, sd | share, sd | separation | s an audit |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.only:
        began = time.perf_counter()
        matches = [
            _match(ROWS[name], options.prompts, options.repeats, derive_seed(1, "replies", name, audit))
            for audit in range(options.audits)
        ]
        print(_row(name, matches, (time.perf_counter() - began) / len(matches)), flush=True)


def _match(source: Source, prompts: int, repeats: int, seed: int) -> CrossMatch:
    (match,) = compare_replies(source(prompts, repeats, seed), "m0", seed=seed, draws=DRAWS).across
    return match


def _row(name: str, matches: list[CrossMatch], seconds: float) -> str:
    verdicts = [match.verdict for match in matches]
    tests = [match.classifier for match in matches if match.classifier]
    shares = [test.share for test in tests if test.share is not None]
    cells = [
        name,
        *(f"{verdicts.count(verdict) / len(verdicts):.3f}" for verdict in ("EQUIVALENT", "DIFFERENT")),
        f"{np.mean([(match.p or 0.0) <= 0.05 for match in matches]):.3f}",
        _spread([test.auc for test in tests]),
        _spread(shares),
        f"{np.mean([test.separation for test in tests]):.2f}" if tests else "-",
        f"{seconds:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f}, {np.std(values):.3f}" if values else "-"


if __name__ == "__main__":
    main()

"""Planted truth over real sockets: one model reached in six ways, five of them with a known defect or none,
played and audited whole.

    python -m bench.planted --seeds 20

A sweep and a check a seed; prints a line a seed and a table: how often each way got which verdict on scores
and on replies, and how often its cause, and no other, was named. The exit code is 1 if the clean way was ever
called DIFFERENT, a defect ever EQUIVALENT on the level that it touches, or a cause ever named that was not
planted."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.planted import WAYS, causes_of, contradicted, play, rightly_named, verdicts_of

VERDICTS = ("DIFFERENT", "INCONCLUSIVE", "EQUIVALENT")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--taboo", type=int, default=60, help="items of taboo")
    parser.add_argument("--referencegame", type=int, default=100, help="items of referencegame")
    arguments = parser.parse_args()
    seen: Counter[tuple[str, str, str]] = Counter()
    rightly: Counter[str] = Counter()
    misled: list[str] = []
    calibrated = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        start = time.process_time()
        part = play(
            seed, repeats=arguments.repeats, taboo=arguments.taboo, referencegame=arguments.referencegame
        )
        verdicts = verdicts_of(part)
        calibrated += part.calibrated
        seen.update((way, level, verdict) for (way, level), verdict in verdicts.items())
        causes = causes_of(part)
        rightly.update(way for way in WAYS if rightly_named(way, causes[way]))
        misled += [
            f"seed {seed}: {way}: {name}"
            for way, planted in WAYS.items()
            for name in causes[way]
            if name != planted.cause
        ]
        told = ", ".join(
            f"{way} {verdicts[way, 'scores'][:4]}/{verdicts[way, 'replies'][:4]}" for way in WAYS
        )
        unnamed = [way for way in WAYS if not rightly_named(way, causes[way])]
        told += f"; cause wrong or not named: {', '.join(unnamed) or 'none'}"
        print(
            f"seed {seed}: {told}; calibrated {part.calibrated}; {time.process_time() - start:.0f} s of CPU",
            flush=True,
        )
    print(f"\nThe reference with itself: believable in {calibrated} of {arguments.seeds}.\n")
    print(
        "| way | touches | scores: DIFFERENT, INCONCLUSIVE, EQUIVALENT | replies: the same | cause | it "
        "alone named |"
    )
    print("|---|---|---|---|---|---|")
    for way, planted in WAYS.items():
        cells = [
            ", ".join(str(seen[way, level, verdict]) for verdict in VERDICTS)
            for level in ("scores", "replies")
        ]
        named = f"{planted.cause or 'none'} | {rightly[way]} of {arguments.seeds}"
        print(f"| {way} | {planted.touches or 'nothing'} | {cells[0]} | {cells[1]} | {named} |")
    print(*misled, sep="\n")
    sys.exit(bool(contradicted(seen) or misled))


if __name__ == "__main__":
    main()

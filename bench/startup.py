"""Measures how soon `lightbulb --help` answers, beside Python alone and Python with typer.

python -m bench.startup [--times 20]"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

STARTS = {
    "python, nothing imported": ["-c", "pass"],
    "python with typer": ["-c", "import typer"],
    "lightbulb --help": ["-m", "harness", "--help"],
    "lightbulb run --help": ["-m", "harness", "run", "--help"],
}
ENVIRON = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}  # as installed: compiled once


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--times", type=int, default=20)
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(options.parse_args().times):
        for name, arguments in STARTS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=ENVIRON)
            times[name].append(1000 * (time.perf_counter() - began))
    for name, taken in times.items():
        print(f"{name}: median {statistics.median(taken):.0f} ms, quickest {min(taken):.0f} ms")


if __name__ == "__main__":
    main()

"""Two load tests side by side, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from harness.loadtest.run_comparison import LevelComparison, MeasureRatio, RunComparison
from harness.report.loadtest import MISSING, load_text, number
from harness.report.page import seconds
from harness.report.table import table

COLUMNS = ("load", "measure", "a", "b", "b / a", "95 % interval", "b is")
NAMES = {
    "requests_per_s": "requests/s",
    "output_tokens_per_s": "output tokens/s",
    "ttft_s_mean": "TTFT, mean",
    "tpot_s_mean": "TPOT, mean",
    "e2e_s_mean": "E2E, mean",
}
UNITS = {
    "repeats": "The intervals rest on the repeats of each level.",
    "batches": (
        "The intervals rest on ten batches of requests in each stage: they hold for these two runs, not for other "
        "days. Three or more --repeats in both runs give wider and safer ones."
    ),
}


def print_comparisons(found: Sequence[RunComparison], console: Console) -> None:
    """Prints a table for each pair of methods; a level with different work has ratios and no word."""
    for one in found:
        console.print(Text(f"a: {one.a}, {one.method_a}\nb: {one.b}, {one.method_b}", style="bold"))
        console.print(table(COLUMNS, [row for level in one.levels for row in _rows(level)], left=2))
        for level in one.levels:
            for words in level.differences:
                line = f"{load_text(level)}: not the same work: {words}. The ratios say nothing about the servers."
                console.print(Text(line, style="yellow"), soft_wrap=True)
        if one.unpaired:
            console.print(
                f"Only one run has figures at: {', '.join(one.unpaired)}.", soft_wrap=True, highlight=False
            )
        if not one.levels:
            console.print("The runs have no level in common.", soft_wrap=True, highlight=False)
        for unit in dict.fromkeys(level.unit for level in one.levels):
            console.print(UNITS[unit], soft_wrap=True, highlight=False)


def _rows(level: LevelComparison) -> list[tuple[str, ...]]:
    return [(load_text(level), NAMES[name], *_cells(name, one)) for name, one in level.measures.items()]


def _cells(name: str, one: MeasureRatio) -> tuple[str, ...]:
    write = seconds if name.endswith("_s_mean") else number
    ends = MISSING if one.low is None or one.high is None else f"[{one.low:.3f}, {one.high:.3f}]"
    return write(one.a), write(one.b), f"{one.ratio:.3f}", ends, one.word or MISSING

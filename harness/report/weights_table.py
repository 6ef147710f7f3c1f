"""Prints what a reference's weights say of the methods of its model."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from harness.audit.weights.weight_audit import WeightsFinding, WeightsFindings
from harness.report import plain
from harness.report.table import table
from harness.report.text import escape_control

COLUMNS = (
    "method",
    "verdict",
    "items",
    "tokens",
    "token margin",
    "token margin minus the reference's token margin [95 %]",
    "unlike tokens",
    "p",
)
READING = (
    "CONSISTENT: the replies can be those of the reference weights. DEVIATES: other weights, another precision or "
    "another engine wrote them. No verdict on weights speaks of the quality of replies. The token margin is the "
    "log-probability of the most likely token minus that of the token in the reply, in nats (natural logarithms). A "
    "token is called unlike if it is not the most likely one."
)


def print_weights(found: WeightsFindings, console: Console) -> None:
    """Prints a row and a sentence for each method."""
    rows = [_row(one) for one in (*found.methods, *([found.again] if found.again is not None else []))]
    console.print(table(COLUMNS, rows, left=2))
    for line in plain.weights_lines(found):
        console.print(Text(escape_control(line)), soft_wrap=True)
    console.print(Text(READING, style="dim"), soft_wrap=True)


def _row(one: WeightsFinding) -> tuple[object, ...]:
    span = (
        None
        if one.low is None or one.high is None
        else f"{one.excess:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"
    )
    p = one.p if one.p_holm is None else one.p_holm
    return (
        one.method,
        one.verdict if one.p_holm is not None or one.reason is not None else "its second run",
        one.items,
        one.tokens,
        f"{one.margin:.4f}",
        span,
        f"{100 * one.unlike:.1f} %",
        None if p is None else f"{p:.4f}",
    )

"""The checks of a sweep's methods for a terminal and as JSON: reachability, parameters that are not obeyed,
cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from harness.audit.probes.interpret import ProbeFinding
from harness.audit.probes.rows import Answer
from harness.checking.check_method import CheckCost, MethodCheck, total_cost
from harness.report.table import table
from harness.report.text import escape_control

_MARKS: Mapping[Answer, str] = {"kept": "yes", "broken": "NO", "unclear": "unclear", "untested": "-"}
_STYLES: Mapping[Answer, str] = {"kept": "", "broken": "bold red", "unclear": "yellow", "untested": "dim"}

LEGEND = (
    "yes: as requested. NO: not as requested. -: not tested. prompt: no text is added to a conversation. template: no "
    "text is added to a message. letters: capitals stay capitals. one server, one model: one server and one model give all replies. "
    "words: replies at temperature 0 are those of the reference. own tokenizer: prompts have as many tokens as the "
    "tokenizer of the weights counts. load: replies are the same alone and beside other calls. effort: thoughts are "
    "longer at high effort. thoughts: replies contain no thoughts."
)


def print_checks(checks: Sequence[MethodCheck], findings: Sequence[ProbeFinding], console: Console) -> None:
    """Prints a line for each method, then the parameters that it does not obey, then a table with a column
    for each subject."""
    rows = [
        (
            check.method.name,
            check.method.base_url,
            "reached" if check.reached else "NOT REACHED",
            " ".join(f"{quota} {limit:.0f}/min" for quota, limit in check.limits.items()) or None,
            None if check.first_answer_s is None else f"{1000 * check.first_answer_s:.0f} ms",
            check.spent.calls,
            _dollars(check.spent),
        )
        for check in checks
    ]
    console.print(
        table(
            ("method", "address", "", "quotas, from response headers", "first answer", "calls", "cost"),
            rows,
            left=4,
        )
    )
    for check in checks:
        for step in check.steps:
            if not step.good:
                console.print(
                    Text(
                        f"{check.method.name}: {step.name}: {escape_control(step.observed)}", style="bold red"
                    )
                )
        for warning in check.warnings:
            console.print(
                Text(f"{check.method.name}: {escape_control(warning)}", style="yellow"), soft_wrap=True
            )
    for answer, title in (("broken", "Not as requested"), ("unclear", "Not clear")):
        chosen = [finding for finding in findings if finding.answer == answer]
        if chosen:
            console.print(Text(f"\n{title}:", style="bold"))
        for finding in chosen:
            line = f"  {finding.method}: {finding.subject}: {escape_control(finding.sentence)}"
            console.print(Text(line, style=_STYLES[finding.answer]), soft_wrap=True)
    if findings:
        subjects = list(dict.fromkeys(finding.subject for finding in findings))
        answers = {(finding.method, finding.subject): finding.answer for finding in findings}
        methods = dict.fromkeys(finding.method for finding in findings)
        console.print(Text("\nDoes each method do what is requested?", style="bold"))
        lines = [(method, *(_MARKS[answers[method, subject]] for subject in subjects)) for method in methods]
        console.print(table(("method", *subjects), lines))
        console.print(Text(LEGEND, style="dim"), soft_wrap=True)


def cost_lines(costs: Mapping[str, CheckCost | None]) -> Iterator[str]:
    """Yields the largest cost of a check, for all methods together."""
    known = [cost for cost in costs.values() if cost is not None]
    if len(known) < len(costs):
        bots = [name for name, cost in costs.items() if cost is None]
        yield f"{', '.join(bots)}: not checked, because bots play in this process without a server"
    if known:
        methods = "1 access method" if len(known) == 1 else f"{len(known)} access methods"
        yield f"{methods}: the check needs at most about {cost_text(total_cost(known))}; calls that fail are repeated"


def cost_text(cost: CheckCost) -> str:
    """Returns calls, tokens and price in one line."""
    text = f"{cost.calls} calls, {cost.prompt_tokens:,} tokens in, {cost.completion_tokens:,} tokens out"
    if cost.cost_usd is None:
        return f"{text}; the price is not known"
    return f"{text}, {_dollars(cost)}{', and the calls without a known price' if cost.is_partial else ''}"


def _dollars(cost: CheckCost) -> str:
    return "-" if cost.cost_usd is None else f"${cost.cost_usd:.4f}"


def checks_as_json(
    checks: Sequence[MethodCheck], findings: Sequence[ProbeFinding]
) -> list[dict[str, object]]:
    """Returns one object for each method."""
    return [
        {
            "method": check.method.name,
            "base_url": check.method.base_url,
            "reached": check.reached,
            "steps": [
                {"name": step.name, "good": step.good, "seen": step.observed, "seconds": step.seconds}
                for step in check.steps
            ],
            "limits": dict(check.limits),
            "first_answer_s": check.first_answer_s,
            "warnings": list(check.warnings),
            "spent": {
                "calls": check.spent.calls,
                "prompt_tokens": check.spent.prompt_tokens,
                "completion_tokens": check.spent.completion_tokens,
                "cost_usd": check.spent.cost_usd,
            },
            "findings": [
                {
                    "subject": one.subject,
                    "answer": one.answer,
                    "sentence": one.sentence,
                    "figures": dict(one.figures),
                }
                for one in findings
                if one.method == check.method.name
            ],
        }
        for check in checks
    ]

"""What a check saw, as a terminal shows it: the way there, what is not kept, what it cost."""

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


def print_looks(looks: Sequence[MethodCheck], findings: Sequence[ProbeFinding], console: Console) -> None:
    """A line for each method, then what each does not do as it is asked, then one column a subject."""
    rows = [
        (
            look.method.name,
            look.method.base_url,
            "reached" if look.reached else "NOT REACHED",
            " ".join(f"{quota} {limit:.0f}/min" for quota, limit in look.limits.items()) or None,
            None if look.first_answer_s is None else f"{1000 * look.first_answer_s:.0f} ms",
            look.spent.calls,
        )
        for look in looks
    ]
    console.print(
        table(("method", "address", "", "limits, as it says", "first answer", "calls"), rows, left=4)
    )
    for look in looks:
        for step in look.steps:
            if not step.good:
                console.print(
                    Text(f"{look.method.name}: {step.name}: {escape_control(step.seen)}", style="bold red")
                )
    for answer, title in (("broken", "Not as asked"), ("unclear", "Unclear")):
        chosen = [finding for finding in findings if finding.answer == answer]
        if chosen:
            console.print(Text(f"\n{title}:", style="bold"))
        for finding in chosen:
            words = f"  {finding.method}: {finding.subject}: {escape_control(finding.sentence)}"
            console.print(Text(words, style=_STYLES[finding.answer]), soft_wrap=True)
    if findings:
        subjects = list(dict.fromkeys(finding.subject for finding in findings))
        answers = {(finding.method, finding.subject): finding.answer for finding in findings}
        methods = dict.fromkeys(finding.method for finding in findings)
        console.print(Text("\nKept as asked?", style="bold"))
        lines = [(method, *(_MARKS[answers[method, subject]] for subject in subjects)) for method in methods]
        console.print(table(("method", *subjects), lines))


def cost_lines(costs: Mapping[str, CheckCost | None]) -> Iterator[str]:
    """What a check may cost, for all methods together."""
    spents = [spent for spent in costs.values() if spent is not None]
    if len(spents) < len(costs):
        bots = [name for name, spent in costs.items() if spent is None]
        yield f"{', '.join(bots)}: bots inside this program; there is nothing to reach"
    if spents:
        yield f"{len(spents)} access methods: at most about {cost_words(total_cost(spents))}"


def cost_words(spent: CheckCost) -> str:
    """What so many calls and tokens are, in one line."""
    words = f"{spent.calls} calls, {spent.prompt_tokens:,} tokens in, {spent.completion_tokens:,} out"
    return f"{words}, ${spent.cost_usd:.4f}" if spent.cost_usd is not None else f"{words}, no price known"


def looks_as_json(looks: Sequence[MethodCheck], findings: Sequence[ProbeFinding]) -> list[dict[str, object]]:
    """One object a method."""
    return [
        {
            "method": look.method.name,
            "base_url": look.method.base_url,
            "reached": look.reached,
            "steps": [
                {"name": step.name, "good": step.good, "seen": step.seen, "seconds": step.seconds}
                for step in look.steps
            ],
            "limits": dict(look.limits),
            "first_answer_s": look.first_answer_s,
            "spent": {
                "calls": look.spent.calls,
                "prompt_tokens": look.spent.prompt_tokens,
                "completion_tokens": look.spent.completion_tokens,
                "cost_usd": look.spent.cost_usd,
            },
            "findings": [
                {
                    "subject": one.subject,
                    "answer": one.answer,
                    "sentence": one.sentence,
                    "figures": dict(one.figures),
                }
                for one in findings
                if one.method == look.method.name
            ],
        }
        for look in looks
    ]

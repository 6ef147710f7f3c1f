"""Findings from rows of probes: which parameters an access method keeps. Pure.

Reads rows, fresh or from a store. Keeps: every method has a finding for every subject, in one order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.audit.probes import counts, crowd, reasoning, texts
from harness.audit.probes.rows import Answer
from harness.core.records import ProbeRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFinding:
    """The finding on one parameter: does the method keep it?

    subject   "temperature", "seed", "max tokens", "output cap", "stop", "usage", "prompt", "template",
              "context", "letters", "one server", "one model", "words", "own tokenizer", "load",
              "effort", "thoughts"
    answer    kept: as asked; broken: not; unclear: the rows contradict each other or are too few; untested:
              not asked, or refused
    figures   the numbers that the sentence rests on"""

    method: str
    subject: str
    answer: Answer
    sentence: str
    figures: Mapping[str, float]


def interpret_probes(rows: Sequence[ProbeRecord], references: Mapping[str, str]) -> tuple[ProbeFinding, ...]:
    """Returns the findings of every method, in the order of the rows.

    references   method -> the method it is compared with; a method without one, or that is its own, is judged
                 alone"""
    by_method: dict[str, list[ProbeRecord]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    findings: list[ProbeFinding] = []
    for method, own in by_method.items():
        reference = references.get(method)
        compared = by_method.get(reference, []) if reference is not None and reference != method else []
        findings += _findings(method, own, compared)
    return tuple(findings)


def _findings(
    method: str, own: Sequence[ProbeRecord], reference: Sequence[ProbeRecord]
) -> Iterator[ProbeFinding]:
    prompt, template = counts.prompt_and_template(own, reference)
    readings = {
        "usage": counts.usage(own),
        "max tokens": counts.max_tokens(own),
        "output cap": counts.output_cap(own),
        "stop": texts.stop(own),
        "context": counts.context(own),
        "prompt": prompt,
        "template": template,
        "temperature": texts.temperature(own),
        "seed": texts.seed(own),
        "letters": texts.letters(own, reference),
        "one server": texts.one_server(own),
        "one model": texts.one_model(own, reference),
        "words": texts.same_words(own, reference),
        "own tokenizer": counts.own_tokenizer(own),
        "load": crowd.load(own),
        "effort": reasoning.effort(own),
        "thoughts": reasoning.thoughts(own),
    }
    for subject, (answer, sentence, figures) in readings.items():
        yield ProbeFinding(method=method, subject=subject, answer=answer, sentence=sentence, figures=figures)

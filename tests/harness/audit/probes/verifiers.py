"""Faults that vendors' verifiers look for, each planted alone in an emulated provider."""

from __future__ import annotations

from harness.audit.probes.causes import Attribution, Symptoms, attribute
from harness.audit.probes.interpret import interpret_probes
from harness.core.emulation import Defects, Emulation
from tests.harness.audit.probed import probed

THINKING = Emulation(thoughts=100)

# Fault -> its subject, the provider, and the reasoning_effort of the sweep.
FAULTS: dict[str, tuple[str, Emulation, str | None]] = {
    "effort ignored": ("effort", Emulation(thoughts=100, defects=Defects(effort_ignored=True)), "medium"),
    "thoughts in one reply of five": (
        "thoughts",
        Emulation(thoughts=10, defects=Defects(thoughts_leaked=0.2)),
        None,
    ),
    "prompt tokens 5 % too many": (
        "own tokenizer",
        Emulation(defects=Defects(prompt_tokens_factor=1.05)),
        None,
    ),
    "under load every second reply drawn again": ("load", Emulation(defects=Defects(load_noise=0.5)), None),
    "another served model for one answer of ten": (
        "one server",
        Emulation(defects=Defects(served_changes=0.1)),
        None,
    ),
    "another upstream for one answer of ten": (
        "one server",
        Emulation(defects=Defects(upstream_changes=0.1)),
        None,
    ),
}

# Fault -> the cause that the audit names.
CAUSES: dict[str, str] = {
    "effort ignored": "reasoning effort ignored",
    "thoughts in one reply of five": "thoughts in replies",
    "prompt tokens 5 % too many": "prompt tokens counted differently",
    "under load every second reply drawn again": "replies that depend on the load",
    "another served model for one answer of ten": "several models behind one name",
    "another upstream for one answer of ten": "several models behind one name",
}


def attributed(
    emulation: Emulation, symptoms: Symptoms | None = None, effort: str | None = None
) -> Attribution:
    """The causes of this provider beside an honest one. effort: the reasoning_effort of the sweep."""
    honest = probed(Emulation(thoughts=emulation.thoughts), "m/reference", effort)
    rows = [*honest, *probed(emulation, "m/here", effort)]
    return attribute(
        "m/here",
        interpret_probes(rows, {"m/here": "m/reference"}),
        rows,
        symptoms or Symptoms(failed_apart=False),
    )

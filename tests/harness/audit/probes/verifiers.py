"""Faults that vendors' verifiers look for, each planted alone in an emulated provider."""

from __future__ import annotations

from harness.core.emulation import Defects, Emulation

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

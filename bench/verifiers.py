"""Faults that vendors' verifiers look for, each planted in emulated providers: how often it is found, how
often the audit names its cause and no other, and how often an honest provider is blamed.

    python -m bench.verifiers [--providers 20] [--honest 100]

In virtual time, through the real questions, dialect and provider. Honest providers come in four kinds: exact,
with noisy batches, thinking, and thinking with noisy batches. An emulated model is no real one."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace

from harness.audit.probes.interpret import interpret_probes
from harness.core.emulation import Emulation
from tests.harness.audit.probed import probed
from tests.harness.audit.probes.verifiers import CAUSES, FAULTS, attributed

SUBJECTS = ("effort", "thoughts", "own tokenizer", "load", "one server", "stop", "max tokens")
HONEST = (Emulation(), Emulation(noise=0.1), Emulation(thoughts=100), Emulation(thoughts=10, noise=0.1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--providers", type=int, default=20, help="emulated providers with each fault")
    parser.add_argument("--honest", type=int, default=100, help="honest providers of each kind")
    options = parser.parse_args()
    print("| planted | subject | found | others of these subjects broken | its cause alone is named |")
    print("|---|---|---|---|---|")
    for name, (subject, emulation, effort) in FAULTS.items():
        broken = _broken(emulation, options.providers, effort)
        others = {other: count for other, count in broken.items() if other in SUBJECTS and other != subject}
        named = sum(
            attributed(replace(emulation, seed=1000 + seed), effort=effort).named == (CAUSES[name],)
            for seed in range(options.providers)
        )
        cells = (
            f"{broken[subject]} of {options.providers} | {others or 'none'} | {named} of {options.providers}"
        )
        print(f"| {name} | {subject} | {cells} |", flush=True)
    for emulation in HONEST:
        effort = "medium" if emulation.thoughts else None
        broken = _broken(emulation, options.honest, effort)
        blamed = Counter(
            cause
            for seed in range(options.honest)
            for cause in attributed(replace(emulation, seed=1000 + seed), effort=effort).named
        )
        cells = ", ".join(f"{subject} {broken[subject]}" for subject in SUBJECTS)
        print(
            f"| nothing: noise {emulation.noise}, thoughts {emulation.thoughts} | all "
            f"| broken of {options.honest}: {cells} | | causes named in {options.honest}: {dict(blamed) or 'none'} |",
            flush=True,
        )


def _broken(emulation: Emulation, providers: int, effort: str | None) -> Counter[str]:
    """Counts the broken findings of so many providers, by subject."""
    return Counter(
        finding.subject
        for seed in range(providers)
        for finding in interpret_probes(probed(replace(emulation, seed=1000 + seed), effort=effort), {})
        if finding.answer == "broken"
    )


if __name__ == "__main__":
    main()

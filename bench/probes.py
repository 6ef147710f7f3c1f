"""Figures of the probes at emulated providers: the source of the thresholds in harness/audit/probes.

    python -m bench.probes [--providers 20]

Each row is one planted defect at so many emulated providers, compared with an honest one; a cell has the
smallest, the middle and the largest value of a figure. An emulated model is no real one: real noise can be
larger."""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace

import numpy as np

from harness.audit.probes.interpret import interpret_probes
from harness.core.emulation import Defects, Emulation
from tests.harness.audit.probed import probed

HONEST = Emulation()
PLANTED: dict[str, Emulation] = {
    "none": HONEST,
    "noise .02": Emulation(noise=0.02),
    "noise .05": Emulation(noise=0.05),
    "temperature ignored": Emulation(defects=Defects(temperature=1.0)),
    "always greedy": Emulation(defects=Defects(temperature=0.0)),
    "seed ignored": Emulation(defects=Defects(seed_ignored=True)),
    "small letters": Emulation(defects=Defects(lowercase_first=True)),
    "second model for .2": Emulation(defects=Defects(routed_share=0.2)),
    "second model for .3": Emulation(defects=Defects(routed_share=0.3)),
    "weights noise .3": Emulation(defects=Defects(weights_noise=0.3)),
    "other weights": Emulation(weights="another"),
}
FIGURES = (
    ("temperature", "match at 0"),
    ("temperature", "match at 1"),
    ("temperature", "p"),
    ("seed", "same seed"),
    ("seed", "other seeds"),
    ("letters", "small"),
    ("one model", "not the usual one"),
    ("one model", "prompts with a second one"),
    ("words", "within"),
    ("words", "across"),
    ("words", "p"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--providers", type=int, default=20, help="emulated providers a row")
    providers = parser.parse_args().providers
    reference = probed(HONEST, "m/reference")
    print(f"| planted | {' | '.join(f'{subject}: {figure}' for subject, figure in FIGURES)} |")
    print(f"|---|{'---|' * len(FIGURES)}")
    for name, emulation in PLANTED.items():
        values = defaultdict(list)
        for seed in range(providers):
            rows = [*reference, *probed(replace(emulation, seed=seed), "m/here")]
            for finding in interpret_probes(rows, {"m/here": "m/reference"}):
                if finding.method == "m/here":
                    for figure, value in finding.figures.items():
                        values[finding.subject, figure].append(value)
        cells = [
            " ".join(f"{value:.3g}" for value in np.quantile(values[key], [0, 0.5, 1])) for key in FIGURES
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

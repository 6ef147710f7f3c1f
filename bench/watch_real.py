"""The watch on a real model: vLLM in float32, then in bfloat16, then with noise in the weights.

    python -m bench.watch_real [--calls 3000] [--noise 0.001] [--seeds 2]

The bundled model of 0.135B parameters. The bench finds a panel with the float32 model and plays
it on eight days. Then it plays days of each change. A day is one play of the panel; there is no pause between
days."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import anyio
import numpy as np

from backends.local.bundled import run_engine_python
from backends.local.engine_kinds import engine_kind
from backends.local.environments import install
from backends.local.machine import this_machine
from backends.local.weights import prepare
from games import GAMES
from harness.access.context import RunContext
from harness.access.methods import resolved
from harness.audit.replies.drift import DAYS_MEAN, Day, PanelReply
from harness.audit.replies.token_days import judge_token_days, token_panel
from harness.config.load import parse_sweep
from harness.config.sweep import SweepSpec
from harness.core.records import ProbeRecord
from harness.watching.candidates import candidates
from harness.watching.panel import MethodPanel
from harness.watching.search import CALLS_MAX, TRIES, find_panel
from harness.watching.watch_sweep import asking_methods

WEIGHTS = "bundled:smollm2-135m-instruct"
BASELINE = 8  # the last of them has the seven earlier days that a comparison needs
SWEEP = """
name = "watch"
[games.taboo]
items = 1
[models.m.methods.here]
engine = {{ kind = "vllm", weights = "{weights}", dtype = "{dtype}" }}
"""
NOISE = """
import shutil
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
source, target, share, seed = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
shutil.copytree(source, target)
torch.manual_seed(seed)
weights = load_file(source / "model.safetensors")
noisy = {name: (w.float() * (1 + share * torch.randn(w.shape))).contiguous() for name, w in weights.items()}
save_file(noisy, target / "model.safetensors", metadata={"format": "pt"})
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--noise", type=float, default=0.001, help="relative, of each weight")
    parser.add_argument("--seeds", type=int, default=2, help="of the noise")
    parser.add_argument("--calls", type=int, default=CALLS_MAX, help="of the search, at most")
    parser.add_argument("--after", type=int, default=7, help="days of each change")
    options = parser.parse_args()
    engine = install(engine_kind("vllm", this_machine()), _say)
    weights = prepare(WEIGHTS, None, engine, _say).path
    panel, usual = anyio.run(_find, WEIGHTS, options.calls)
    print(panel.sentence, f"{panel.calls} calls", flush=True)
    with TemporaryDirectory() as folder:
        _print_change("bfloat16", usual, anyio.run(_play, WEIGHTS, "bfloat16", panel, options.after))
        for seed in range(options.seeds):
            noisy = Path(folder) / f"noisy-{seed}"
            run_engine_python(
                engine,
                "-c",
                NOISE,
                *(str(weights), str(noisy), str(options.noise), str(seed)),
                failure="no noisy weights",
            )
            days = anyio.run(_play, str(noisy), "float32", panel, options.after)
            _print_change(f"noise {options.noise}, seed {seed}", usual, days)


async def _find(weights: str, calls_max: int) -> tuple[MethodPanel, list[Day]]:
    """Returns the panel of the model in float32, and its days before the change."""
    spec, context = _sweep(weights, "float32")
    async with asking_methods(spec, context) as (_, methods):
        asking = methods["m/here"]
        panel = await find_panel(
            "m/here", candidates(0, calls_max // TRIES), asking.first_tokens, calls_max=calls_max
        )
        days = [_day(await asking.rows(panel.prompts, panel.repeats, logprobs=None)) for _ in range(BASELINE)]
    return panel, days


async def _play(weights: str, dtype: str, panel: MethodPanel, days: int) -> list[Day]:
    spec, context = _sweep(weights, dtype)
    async with asking_methods(spec, context) as (_, methods):
        asking = methods["m/here"]
        return [_day(await asking.rows(panel.prompts, panel.repeats, logprobs=None)) for _ in range(days)]


def _sweep(weights: str, dtype: str) -> tuple[SweepSpec, RunContext]:
    source = Path(gettempdir()) / "watch.toml"
    text = SWEEP.format(weights=weights, dtype=dtype)
    spec = resolved(parse_sweep(text, source=source.name, known_games=GAMES), source=source)
    store = source.with_suffix(".duckdb")
    return spec, RunContext(source=source, store=store, environ=os.environ, notify=_say)


def _say(line: str) -> None:
    print(line, flush=True)


def _day(rows: Sequence[ProbeRecord]) -> Day:
    replies = tuple(
        PanelReply(item=row.name, ask=row.name, text=row.reply, ending=None)
        for row in rows
        if row.reply is not None
    )
    assert len(replies) == len(rows), "every call was answered"
    return Day(label="", replies=replies, facts={}, prompt_tokens={})


def _print_change(name: str, usual: Sequence[Day], changed: Sequence[Day]) -> None:
    days = [*usual, *changed]
    found = judge_token_days(
        token_panel(days), np.zeros(len(days), dtype=np.bool_), [""] * len(days), DAYS_MEAN
    )
    alarms = [place - len(usual) + 1 for place, day in enumerate(found) if day.alarm]
    before = found[len(usual) - 1]
    first = found[len(usual)]
    print(
        f"{name}: announced on day {alarms[0] if alarms else 'none'} of {len(changed)} after the change; total variation of "
        f"its first day {first.difference:.3f} above ordinary days ({first.ordinary:.4f}); of the last day before "
        f"{before.difference:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()

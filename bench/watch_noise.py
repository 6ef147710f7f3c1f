"""The watch's panel of smallest margins on a real model whose weights change: how many first tokens move, and
how often a change is announced on its second day.

    python -m bench.watch_noise [--candidates 240] [--noises 0.001] [--seeds 20] [--bfloat16]

The bundled model of 0.135B parameters in transformers, float32, one forward pass a prompt: a deterministic
engine. Changes: relative noise in every weight, and bfloat16. Days of a deterministic engine are equal, so a
change that is not announced on its second day never is. One process holds the model for all changes; prompts
of equal length share a pass, and their common beginning is computed once for each change. A line for each
change appears at once, so that a run that is stopped has shown what it measured."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from backends.local.child_environ import pip_environ
from backends.local.engine import Engine
from backends.local.engine_kinds import engine_kind
from backends.local.environments import install
from backends.local.machine import this_machine
from backends.local.weights import prepare
from harness.audit.replies.drift import DAYS_MEAN, Day, PanelReply
from harness.audit.replies.token_days import judge_token_days, token_panel
from harness.watching.candidates import candidates
from harness.watching.panel import choose_panel

WEIGHTS = "bundled:smollm2-135m-instruct"
BASELINE = 7
BATCH = 16  # prompts of equal length in one pass
SERVE = """
import copy
import json
import sys
from collections import defaultdict
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging
logging.disable_progress_bar()
torch.set_num_threads(1)  # more threads wait for each other on a busy machine
folder, batch = sys.argv[1], int(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder)

def load(dtype):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

def batches(ids):
    places = defaultdict(list)
    for place, one in enumerate(ids):
        places[len(one)].append(place)
    for equal in places.values():
        for first in range(0, len(equal), batch):
            yield equal[first : first + batch]

@torch.inference_mode()
def first_tokens(model, prompts):
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        for prompt in prompts
    ]
    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    shared = next(place for place in range(len(ids[0])) if len({one[place] for one in ids}) > 1)
    beginning = model(torch.tensor([ids[0][:shared]]), use_cache=True).past_key_values
    found = [None] * len(ids)
    for places in batches(ids):
        cache = copy.deepcopy(beginning)
        cache.batch_repeat_interleave(len(places))
        rest = torch.tensor([ids[place][shared:] for place in places])
        scores = model(rest, past_key_values=cache, logits_to_keep=1).logits[:, -1].float().log_softmax(-1)
        values, best = scores.topk(2)
        for place, (first, second), (token, _) in zip(places, values.tolist(), best.tolist()):
            found[place] = [tokenizer.decode(token), first - second]
    return found

model = load(torch.float32)
kept = {name: value.clone() for name, value in model.named_parameters()}
for line in sys.stdin:
    asked = json.loads(line)
    if asked["change"] == "bfloat16":
        reply = first_tokens(load(torch.bfloat16), asked["prompts"])
    else:
        torch.manual_seed(asked["seed"])
        with torch.no_grad():
            for name, weight in model.named_parameters():
                noise = asked["noise"] * torch.randn(weight.shape) if asked["noise"] else 0.0
                weight.copy_(kept[name] * (1 + noise))
        reply = first_tokens(model, asked["prompts"])
    print(json.dumps(reply), flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the weights.

    noise  standard deviation, relative to each weight;  seed  of the noise"""

    change: str
    noise: float = 0.0
    seed: int = 0


USUAL = Change(change="none")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=240)
    parser.add_argument("--noises", default="0.001", help="standard deviations, relative to each weight")
    parser.add_argument("--seeds", type=int, default=20, help="of each noise")
    parser.add_argument("--bfloat16", action="store_true", help="also the weights in bfloat16")
    options = parser.parse_args()
    changes = [
        Change(change=f"noise {noise}", noise=float(noise), seed=seed)
        for noise in options.noises.split(",")
        for seed in range(options.seeds)
    ]
    if options.bfloat16:
        changes.append(Change(change="bfloat16"))
    engine = install(engine_kind("transformers", this_machine()), print)
    weights = prepare(WEIGHTS, None, engine, print).path
    with Model(engine, weights) as model:
        prompts = candidates(0, options.candidates)
        asked = model.first_tokens(USUAL, prompts)
        panel = choose_panel(
            "m/here",
            {prompt: [text] for prompt, (text, _) in zip(prompts, asked, strict=True)},
            {prompt: margin for prompt, (_, margin) in zip(prompts, asked, strict=True)},
            len(prompts),
        )
        print(panel.sentence, flush=True)
        usual = [text for text, _ in model.first_tokens(USUAL, panel.prompts)]
        found: dict[str, list[tuple[float, bool]]] = {}
        for change in changes:
            run = [text for text, _ in model.first_tokens(change, panel.prompts)]
            moved = float(np.mean([a != b for a, b in zip(usual, run, strict=True)]))
            found.setdefault(change.change, []).append((moved, _announced(usual, run)))
            print(f"{change.change}, seed {change.seed}: {moved:.3f} move", flush=True)
    _print_table(found)


def _print_table(found: Mapping[str, Sequence[tuple[float, bool]]]) -> None:
    print("| change | runs | share of first tokens that move | announced on its second day |")
    print("|---|---|---|---|")
    for name, runs in found.items():
        moved = [share for share, _ in runs]
        print(
            f"| {name} | {len(runs)} | {np.mean(moved):.3f} ({min(moved):.3f} to {max(moved):.3f}) "
            f"| {np.mean([seen for _, seen in runs]):.2f} |"
        )


class Model:
    """The model in a process of its engine, which answers one line after another."""

    def __init__(self, engine: Engine, weights: Path) -> None:
        self._process = subprocess.Popen(
            (str(engine.python), "-c", SERVE, str(weights), str(BATCH)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=pip_environ(os.environ) | {"HF_HUB_OFFLINE": "1"},
        )

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def first_tokens(self, change: Change, prompts: Sequence[str]) -> list[tuple[str, float]]:
        """Returns first token and margin of each prompt.

        raises  RuntimeError if the process has ended; it has written why"""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(change) | {"prompts": prompts}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the model's process ended with code {self._process.wait()}")
        found: list[tuple[str, float]] = json.loads(line)
        return found


def _announced(usual: Sequence[str], changed: Sequence[str]) -> bool:
    """Returns whether two days of these first tokens after a week of the usual ones raise the alarm."""
    days = [_day(usual)] * BASELINE + [_day(changed)] * 2
    found = judge_token_days(
        token_panel(days), np.zeros(len(days), dtype=np.bool_), [""] * len(days), DAYS_MEAN
    )
    return found[-1].alarm


def _day(texts: Sequence[str]) -> Day:
    replies = tuple(
        PanelReply(item=str(place), ask=str(place), text=text, ending=None)
        for place, text in enumerate(texts)
    )
    return Day(label="", replies=replies, facts={}, prompt_tokens={})


if __name__ == "__main__":
    main()

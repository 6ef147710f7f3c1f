"""The watch's panel of smallest margins on a real model whose weights change: how many first tokens move, and
how often a change is announced on its second day.

    python -m bench.watch_noise [--candidates 800] [--noises 0.001,0.01] [--seeds 20]

The bundled model of 0.135B parameters in transformers, float32, one forward pass a prompt: a deterministic
engine. Changes: bfloat16, and relative noise in every weight. Days of a deterministic engine are equal, so a
change that is not announced on its second day never is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from backends.local.bundled import run_engine_python
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
RUN = """
import json
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)  # more threads wait for each other on a busy machine
folder, asked = sys.argv[1], json.load(open(sys.argv[2]))
tokenizer = AutoTokenizer.from_pretrained(folder)

def load(dtype):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

@torch.inference_mode()
def first_tokens(model, prompts):
    found = []
    for prompt in prompts:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        scores = model(ids).logits[0, -1].float().log_softmax(-1)
        top = scores.topk(2)
        found.append([tokenizer.decode(top.indices[0]), float(top.values[0] - top.values[1])])
    return found

reply = {"float32": first_tokens(load(torch.float32), asked["prompts"])}
if asked["changes"]:
    reply["bfloat16"] = first_tokens(load(torch.bfloat16), asked["prompts"])
    model = load(torch.float32)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    for noise in asked["noises"]:
        for seed in range(asked["seeds"]):
            torch.manual_seed(seed)
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    weight.copy_(kept[name] * (1 + noise * torch.randn(weight.shape)))
            reply[f"noise {noise} {seed}"] = first_tokens(model, asked["prompts"])
print(json.dumps(reply))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=800)
    parser.add_argument("--noises", default="0.001,0.01", help="standard deviations, relative to each weight")
    parser.add_argument("--seeds", type=int, default=20, help="of each noise")
    options = parser.parse_args()
    engine = install(engine_kind("transformers", this_machine()), print)
    weights = prepare(WEIGHTS, None, engine, print).path
    prompts = candidates(0, options.candidates)
    asked = _asked(engine, weights, prompts, noises=(), seeds=0)["float32"]
    panel = choose_panel(
        "m/here",
        {prompt: [text] for prompt, (text, _) in zip(prompts, asked, strict=True)},
        {prompt: margin for prompt, (_, margin) in zip(prompts, asked, strict=True)},
        len(prompts),
    )
    print(panel.sentence, flush=True)
    noises = [float(noise) for noise in options.noises.split(",")]
    _print_changes(_asked(engine, weights, panel.prompts, noises=noises, seeds=options.seeds))


def _print_changes(found: Mapping[str, Sequence[tuple[str, float]]]) -> None:
    usual = [text for text, _ in found["float32"]]
    print("| change | runs | share of first tokens that move | announced on its second day |")
    print("|---|---|---|---|")
    groups: dict[str, list[list[str]]] = {}
    for name, given in found.items():
        if name != "float32":
            groups.setdefault(name.rpartition(" ")[0] or name, []).append([text for text, _ in given])
    for name, runs in groups.items():
        moved = [np.mean([a != b for a, b in zip(usual, run, strict=True)]) for run in runs]
        seen = np.mean([_announced(usual, run) for run in runs])
        print(
            f"| {name} | {len(runs)} | {np.mean(moved):.3f} "
            f"({min(moved):.3f} to {max(moved):.3f}) | {seen:.2f} |",
            flush=True,
        )


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


def _asked(
    engine: Engine, weights: Path, prompts: Sequence[str], *, noises: Sequence[float], seeds: int
) -> dict[str, list[tuple[str, float]]]:
    """Returns change -> first token and margin of each prompt. seeds: of each noise; 0: no change."""
    with TemporaryDirectory() as folder:
        asked = Path(folder) / "asked.json"
        asked.write_text(
            json.dumps({"prompts": prompts, "seeds": seeds, "noises": noises, "changes": seeds > 0})
        )
        written = run_engine_python(
            engine, "-c", RUN, str(weights), str(asked), failure="The model could not be asked"
        )
    found: dict[str, list[tuple[str, float]]] = json.loads(written.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()

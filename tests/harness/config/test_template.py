"""Tests of the sweep file that `lightbulb init` writes, and of the schema for editors."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from backends.dialects.providers import PROVIDERS, ineffective_parameters
from games import GAMES
from harness.access.methods import method_of_provider, resolved
from harness.config.json_schema import sweep_schema
from harness.config.load import parse_sweep
from harness.config.template import Choices, NewMethod, read_method, sweep_text
from harness.core.errors import SpecError
from harness.core.vocabulary import Sampling

WAYS = (
    "a=http://127.0.0.1:8000/v1",
    "b=https://api.example.com/v1",
    "c=vllm:bundled:smollm2-135m-instruct",
    "d=bots",
)
SWEEPS = sorted((Path(__file__).parents[3] / "bench" / "sweeps").glob("*.toml"))


def written(*, model: str = "llama-3-8b", key_env: str | None = "KEY") -> str:
    choices = Choices(
        name="mine",
        games=["taboo", "wordle"],
        model=model,
        methods=[read_method(way) for way in WAYS],
        key_env=key_env,
    )
    return sweep_text(choices)


@pytest.mark.parametrize("model", ["llama-3-8b", "llama-3.1:8b", 'a"quote', "模型"])
def test_what_it_writes_loads(model: str) -> None:
    """The file loads unchanged with any model name and contains every chosen method."""
    spec = parse_sweep(written(model=model), source="new", known_games=list(GAMES))
    assert list(spec.methods()) == [f"{model}/{way}" for way in "abcd"]
    assert (spec.audit.reference, spec.repeats) == (f"{model}/a", 3)


def test_games_of_other_libraries_load() -> None:
    """With their keys, as the file is and with each # taken away."""
    games = ["clem:taboo", "textarena:Nim-v0", "taboo"]
    methods = [read_method("a=bots")]
    text = sweep_text(Choices(name="mine", games=games, model="m", methods=methods))
    assert list(parse_sweep(text, source="new", known_games=list(GAMES)).games) == games
    bare = re.sub(r"^# (?=[\w.]+ = |\[)", "", text, flags=re.MULTILINE)
    spec = parse_sweep(bare, source="new", known_games=list(GAMES))
    assert [spec.games[name].turns_max for name in games] == [1000, 1000, None]


def test_commented_keys_load_too() -> None:
    """Every key that is commented out loads when the # is taken away, with the value that a reader finds
    there."""
    bare = re.sub(r"^# (?=[\w.]+ = |\[)", "", written(), flags=re.MULTILINE)
    assert "\n# items" not in bare
    spec = parse_sweep(bare, source="new", known_games=list(GAMES))
    assert spec.games["taboo"].items == 30
    assert spec.models["llama-3-8b"].methods["a"].requests_per_minute == 60
    assert spec.retry.tries_max == 6
    keyless = written(key_env=None)
    assert [
        part.key_env
        for _, part in parse_sweep(keyless, source="new", known_games=list(GAMES)).methods().values()
    ] == [None] * 4
    assert keyless.count('# key_env = "MY_API_KEY"') == written().count('\nkey_env = "KEY"')


@pytest.mark.parametrize("option", ["here", "=bots", "here=ftp://x", "here=vlm:x"])
def test_a_method_without_a_place_is_refused(option: str) -> None:
    with pytest.raises(SpecError, match="NAME=https://host/v1"):
        read_method(option)


@pytest.mark.parametrize("text", [written(), *(path.read_text() for path in SWEEPS)])
def test_the_schema_takes_good_sweeps(text: str) -> None:
    """The schema is valid and accepts sweeps that load."""
    schema = sweep_schema(known_games=list(GAMES))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads(text), schema)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("repeats = 3", "repeats = 0"),
        ("[games.wordle]", "[games.wordel]"),
        ("margin = 3.0", "marign = 3.0"),
        ("key_env", "kye_env"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(was: str, now: str) -> None:
    """Both refuse unknown keys, unknown games and values out of range."""
    wrong = written().replace(was, now)
    assert wrong != written()
    with pytest.raises(SpecError):
        parse_sweep(wrong, source="new", known_games=list(GAMES))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(wrong), sweep_schema(known_games=list(GAMES)))


def test_the_schema_explains_keys() -> None:
    """An editor shows the explanations of the docstrings."""
    parts = json.loads(json.dumps(sweep_schema(known_games=list(GAMES))))["$defs"]
    assert parts["MethodPart"]["properties"]["concurrency"]["description"].startswith(
        "maximum number of calls in flight"
    )
    assert parts["GamePart"]["properties"]["items"]["description"].startswith("maximum number of instances")


WITH_ADDRESS = {name: row for name, row in PROVIDERS.items() if row.base_url}
TAKE_TEMPERATURE = [  # DeepSeek's models think, and a run says what to write for them
    name
    for name, row in WITH_ADDRESS.items()
    if not any(ineffective_parameters(row, Sampling(temperature=0.0), "m"))
]


@pytest.mark.parametrize("name", sorted(TAKE_TEMPERATURE))
def test_a_provider_becomes_a_method(name: str, tmp_path: Path) -> None:
    """The file of any provider with an address loads, and so does its method with the table's defaults."""
    choices = Choices(name="mine", games=["taboo"], model="m", methods=[method_of_provider(name)])
    spec = resolved(
        parse_sweep(sweep_text(choices), source="new", known_games=list(GAMES)), source=tmp_path / "new.toml"
    )
    part = spec.models["m"].methods[name]
    assert (part.base_url, part.key_env) == (PROVIDERS[name].base_url, PROVIDERS[name].key_env)
    assert choices.methods == [
        NewMethod(name, f"provider:{name}", PROVIDERS[name].key_env, PROVIDERS[name].router)
    ]


def test_a_provider_without_one_address_is_refused() -> None:
    with pytest.raises(SpecError, match='did you mean "groq"'):
        method_of_provider("grok")
    without = next(name for name, row in PROVIDERS.items() if row.base_url is None)
    with pytest.raises(SpecError, match=f"--method {without}=https://ADDRESS"):
        method_of_provider(without)

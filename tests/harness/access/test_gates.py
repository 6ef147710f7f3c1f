"""Methods that draw on one quota share a gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.access.gates import group_by_quota
from harness.config.load import parse_sweep
from harness.core.errors import SpecError

HEAD = 'name = "s"\n[games.taboo]\n'
REMOTE = 'base_url = "https://api.example.com/v1"\nkey_env = "EXAMPLE_KEY"\n'


def ceilings(tmp_path: Path, text: str, reporting: tuple[str, ...] = ()) -> list[int]:
    file = tmp_path / "s.toml"
    file.write_text(HEAD + text)
    spec = parse_sweep(HEAD + text, source=str(file), known_games=["taboo"])
    return [
        gate.limits.concurrency
        for gate in group_by_quota(spec, spec.methods(), source=file, reporting=reporting)
    ]


def test_what_is_in_flight_at_most_where_the_sweep_does_not_say(tmp_path: Path) -> None:
    """The default is high where the server reports trouble or its queue, and low at a silent local server."""
    text = f"""
[models.m.methods.far]
{REMOTE}
[models.m.methods.said]
{REMOTE}concurrency = 7
quota_group = "other"
[models.m.methods.near]
base_url = "http://127.0.0.1:11434/v1"
[models.m.methods.nearer]
base_url = "http://127.0.0.1:8000/v1"
[models.m.methods.vllm]
engine = {{ kind = "vllm", weights = "w" }}
[models.m.methods.transformers]
engine = {{ kind = "transformers", weights = "w" }}
"""
    assert ceilings(tmp_path, text, reporting=("http://127.0.0.1:8000/v1",)) == [1024, 7, 32, 1024, 1024, 2]


def test_a_figure_for_a_server_of_ones_own_holds_from_the_start(tmp_path: Path) -> None:
    """A stated concurrency holds from the start at a server on this machine, within bounds; others start
    low."""
    text = f"""
[models.m.methods.far]
{REMOTE}concurrency = 32
[models.m.methods.near]
base_url = "http://127.0.0.1:8000/v1"
concurrency = 32
[models.m.methods.vllm]
engine = {{ kind = "vllm", weights = "w" }}
concurrency = 500
[models.m.methods.unsaid]
base_url = "http://127.0.0.1:8001/v1"
"""
    file = tmp_path / "s.toml"
    file.write_text(HEAD + text)
    spec = parse_sweep(HEAD + text, source=str(file), known_games=["taboo"])
    assert [gate.limits.at_once for gate in group_by_quota(spec, spec.methods(), source=file)] == [
        8,
        32,
        64,
        8,
    ]


def doors(tmp_path: Path, text: str) -> list[tuple[tuple[str, ...], bool, float | None]]:
    file = tmp_path / "s.toml"
    file.write_text(HEAD + text)
    spec = parse_sweep(HEAD + text, source=str(file), known_games=["taboo"])
    return [
        (gate.methods, gate.alone, gate.limits.requests)
        for gate in group_by_quota(spec, spec.methods(), source=file)
    ]


def test_methods_of_one_account_and_model_draw_on_one_quota(tmp_path: Path) -> None:
    """Two samplings of one served model share a gate and its quota, stated once; another model has its
    own."""
    text = f"""
[models.m.methods.cold]
{REMOTE}served_name = "x"
requests_per_minute = 60
[models.m.methods.hot]
{REMOTE}served_name = "x"
temperature = 1
[models.n.methods.a]
{REMOTE}
"""
    assert doors(tmp_path, text) == [(("m/cold", "m/hot"), True, 60.0), (("n/a",), True, None)]


def test_a_quota_group_joins_models(tmp_path: Path) -> None:
    """An account whose quota covers all models is one gate; an unknown model must not close it."""
    text = f"""
[models.m.methods.a]
{REMOTE}quota_group = "all"
[models.n.methods.a]
{REMOTE}quota_group = "all"
"""
    assert doors(tmp_path, text) == [(("m/a", "n/a"), False, None)]


def test_two_quotas_for_one_door_are_refused(tmp_path: Path) -> None:
    """Two different figures for one gate are an error that names both, and the remedy."""
    text = f"""
[models.m.methods.a]
{REMOTE}requests_per_minute = 60
[models.m.methods.b]
{REMOTE}requests_per_minute = 90
"""
    with pytest.raises(
        SpecError,
        match=r"b\.requests_per_minute: 90 here, but 60 for m/a, which shares the quota; state it once",
    ):
        doors(tmp_path, text)


def test_bots_and_keyless_methods_are_their_own_account(tmp_path: Path) -> None:
    """Bots share no gate; two keyless methods at one address and model share one, as they share a server."""
    text = """
[models.m.methods.a]
bots = {}
[models.m.methods.b]
bots = {}
[models.m.methods.c]
base_url = "http://127.0.0.1:8000/v1"
[models.m.methods.d]
base_url = "http://127.0.0.1:8000/v1"
temperature = 1
"""
    assert [methods for methods, _, _ in doors(tmp_path, text)] == [("m/a",), ("m/b",), ("m/c", "m/d")]


def test_an_account_is_a_key_at_an_address(tmp_path: Path) -> None:
    """Gates with one key at one address have one account; another key or address, or no key, is another
    one."""
    text = f"""
[models.m.methods.a]
{REMOTE}
[models.n.methods.a]
{REMOTE}
[models.n.methods.other_key]
base_url = "https://api.example.com/v1"
key_env = "OTHER_KEY"
[models.n.methods.other_address]
base_url = "https://other.example.com/v1"
key_env = "EXAMPLE_KEY"
[models.m.methods.keyless]
base_url = "https://api.example.com/v1"
"""
    file = tmp_path / "s.toml"
    file.write_text(HEAD + text)
    spec = parse_sweep(HEAD + text, source=str(file), known_games=["taboo"])
    accounts = {gate.name: gate.account for gate in group_by_quota(spec, spec.methods(), source=file)}
    assert accounts["m/a"] == accounts["n/a"]
    assert len({accounts[name] for name in ("m/a", "n/other_key", "n/other_address", "m/keyless")}) == 4


def test_methods_without_a_key_have_an_account_each(tmp_path: Path) -> None:
    """A refusal of one of them says nothing of the other."""
    text = """
[models.m.methods.a]
base_url = "http://127.0.0.1:8000/v1"
[models.n.methods.a]
base_url = "http://127.0.0.1:8000/v1"
"""
    file = tmp_path / "s.toml"
    file.write_text(HEAD + text)
    spec = parse_sweep(HEAD + text, source=str(file), known_games=["taboo"])
    assert [gate.account for gate in group_by_quota(spec, spec.methods(), source=file)] == [
        ("m/a",),
        ("n/a",),
    ]

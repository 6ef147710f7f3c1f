"""Keys come from the environment or a .env beside the sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.access.keys import Credentials, read_keys
from harness.config.load import parse_sweep
from harness.config.sweep import SweepSpec
from harness.core.errors import SpecError


def spec(more: str = "") -> SweepSpec:
    text = f"""
name = "x"
[games.taboo]
[models.m.methods.a]
base_url = "https://a.example/v1"
key_env = "A_KEY"
[models.m.methods.b]
base_url = "https://b.example/v1"
{more}
"""
    return parse_sweep(text, source="s", known_games=["taboo"])


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A method without key_env has no key; an exported variable is stronger than the file."""
    (tmp_path / ".env").write_text('# ours\nA_KEY="from ${HOME} file"\n')
    keys = read_keys(spec(), source=tmp_path / "s.toml", environ={})
    assert {name: credentials.key for name, credentials in keys.items()} == {
        "m/a": "from ${HOME} file",
        "m/b": None,
    }
    assert (
        read_keys(spec(), source=tmp_path / "s.toml", environ={"A_KEY": "exported"})["m/a"].key == "exported"
    )


def test_a_key_is_stripped_and_checked(tmp_path: Path) -> None:
    """A line end after a key is dropped; the error for a control character inside does not show the key."""
    assert read_keys(spec(), source=tmp_path / "s.toml", environ={"A_KEY": " sk-1\r\n"})["m/a"].key == "sk-1"
    with pytest.raises(SpecError, match="A_KEY contains a character that no key can contain") as caught:
        read_keys(spec(), source=tmp_path / "s.toml", environ={"A_KEY": "planted\n7"})
    assert "planted" not in str(caught.value)


def test_an_empty_variable_does_not_hide_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A_KEY=from-file")
    assert read_keys(spec(), source=tmp_path / "s.toml", environ={"A_KEY": ""})["m/a"].key == "from-file"


@pytest.mark.parametrize("content", ["A_KEY=schlüssel".encode("latin-1"), "A_KEY=x".encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_refused_where_it_is_needed(tmp_path: Path, content: bytes) -> None:
    """With its place; a sweep whose keys are all exported does not read it."""
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SpecError, match=r"\.env: is not UTF-8 text \(byte \d+\); save it as UTF-8"):
        read_keys(spec(), source=tmp_path / "s.toml", environ={})
    assert (
        read_keys(spec(), source=tmp_path / "s.toml", environ={"A_KEY": "exported"})["m/a"].key == "exported"
    )


@pytest.mark.parametrize("environ", [{}, {"A_KEY": ""}])
def test_a_missing_key_is_named_with_its_remedy(tmp_path: Path, environ: dict[str, str]) -> None:
    """The variable, who wants it, and where it may be written; an empty one is missing."""
    with pytest.raises(
        SpecError, match=r"models\.m\.methods\.a\.key_env: the environment variable A_KEY is not set"
    ):
        read_keys(spec(), source=tmp_path / "s.toml", environ=environ)


def test_header_values_come_from_the_environment_or_are_literal(tmp_path: Path) -> None:
    """The name of a variable becomes its value, which is a secret; other texts are sent as written."""
    more = 'headers = { "x-portkey-config" = "PORTKEY_CONFIG", "x-title" = "my run", "x-zone" = "EU" }'
    environ = {"A_KEY": "sk-1", "PORTKEY_CONFIG": "pc-secret"}
    credentials = read_keys(spec(more), source=tmp_path / "s.toml", environ=environ)["m/b"]
    assert credentials.headers == {"x-portkey-config": "pc-secret", "x-title": "my run", "x-zone": "EU"}
    assert credentials.secrets == ("pc-secret",)
    assert "pc-secret" not in repr(credentials)
    with pytest.raises(
        SpecError, match=r"b\.headers\.x-portkey-config: the environment variable PORTKEY_CONFIG"
    ):
        read_keys(spec(more), source=tmp_path / "s.toml", environ={"A_KEY": "sk-1"})


def test_credentials_show_no_secret() -> None:
    """Neither the key nor a header stands in the text of an object, which a traceback can show."""
    credentials = Credentials(key="k-secret", headers={"x-token": "t-secret"}, secrets=("t-secret",))
    assert "secret" not in repr(credentials).replace("secrets", "")
    assert Credentials() == Credentials(key=None, headers={}, secrets=())

"""Plug-ins by entry points: what is found, and what is wrong with it."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from games import GAMES, OWN_GAMES
from harness.core import plugins
from harness.core.errors import SpecError
from harness.core.plugins import WithPlugins
from harness.core.protocols import Game


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=plugins.GAMES)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:GAME", "cannot be imported: No module named 'no_such_module'"),
        ("harness.core.plugins:NOTHING", "cannot be imported: .*no attribute 'NOTHING'"),
        ("harness.core.plugins:GAMES", "is a str and should be a Game"),
    ],
)
def test_a_broken_plugin_is_named(monkeypatch: pytest.MonkeyPatch, value: str, words: str) -> None:
    """A plug-in that cannot be used is an error when its game is asked for, and not before."""
    monkeypatch.setattr(plugins, "_entry_points", lambda group: {"broken": entry("broken", value)})
    games = WithPlugins(OWN_GAMES, group=plugins.GAMES, kind=Game)
    assert "broken" in games
    assert set(games) == {*OWN_GAMES, "broken"}
    assert games["taboo"] is OWN_GAMES["taboo"]
    with pytest.raises(SpecError, match=words):
        games["broken"]
    with pytest.raises(KeyError):
        games["nothing"]


def test_our_own_names_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in cannot replace a game of ours."""
    monkeypatch.setattr(plugins, "_entry_points", lambda group: {"taboo": entry("taboo", "nothing:GAME")})
    games = WithPlugins(OWN_GAMES, group=plugins.GAMES, kind=Game)
    assert list(games) == list(OWN_GAMES)
    assert games["taboo"] is GAMES["taboo"]

"""The emulator, as the command takes its settings."""

from __future__ import annotations

from tests.command import lightbulb


def test_emulate_refuses_what_it_does_not_know() -> None:
    """A misspelt setting is answered with the right one, and a value out of range with its range."""
    ran = lightbulb("emulate", "quotas.request=300", "skill=2")
    assert ran.returncode == 2
    assert 'quotas.request: unknown key; did you mean "requests"?' in ran.stderr
    assert "skill: input should be less than or equal to 1" in ran.stderr

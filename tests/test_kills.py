"""After a SIGKILL nothing older than a second is lost, nothing needless is asked again, and the scores are
the same."""

from __future__ import annotations

from pathlib import Path

import anyio

from bench.kills import killed


def test_a_sweep_that_is_killed_again_and_again_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """Real processes, sockets and files: after every kill all answers older than a second are in the store;
    nothing is there twice; only what was in flight or younger than a second is asked again; every result is
    the undisturbed run's."""
    account = anyio.run(lambda: killed(tmp_path, kills=10, repeats=3, seed=1, slack_s=2.0))
    assert len(account.lives_s) >= 8  # on a quick machine the sweep may come to its end between kills
    assert account.kept > 0
    assert account.lost == 0
    assert account.duplicates == 0
    assert account.needed <= account.asked <= account.needed + account.excused
    assert account.agrees

"""Load on virtual time: what is offered is offered, and what is noted is what happened."""

from __future__ import annotations

from itertools import repeat

import pytest

from harness.core.clock import LoopClock
from harness.core.errors import Unavailable
from harness.core.vocabulary import Completion, Message, Pace, Prompt, ReplyFormat
from harness.loadtest.generator import Stage, StageLoad, generate_load
from harness.simulation import simulate

PROMPT = Prompt(
    messages=(Message("user", "?"),),
    reply_format=ReplyFormat(regex=".*"),
    episode="e",
    item="i",
    seat="s",
    turn=0,
)


class Server:
    """Answers after a second, `places` at once; every `fails`-th request not at all."""

    def __init__(self, *, held_s: float = 0.0, fails: int = 10**9) -> None:
        self.clock = LoopClock()
        self.in_flight = self.most = self.asked = 0
        self._held_s, self._fails = held_s, fails

    async def complete(self, prompt: Prompt) -> Completion:
        self.asked += 1
        number = self.asked
        await self.clock.sleep(self._held_s)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await self.clock.sleep(1.0)
        self.in_flight -= 1
        if number % self._fails == 0:
            raise Unavailable("no")
        pace = Pace(ttft_s=0.4, chunks=3, gap_s_median=0.3, gap_s_p95=0.3, gap_s_max=0.3)
        return Completion(text="x", prompt_tokens=5, completion_tokens=3, pace=pace, held_s=self._held_s)


def offered(stage: Stage, server: Server, seed: int = 1) -> StageLoad:
    async def whole() -> StageLoad:
        return await generate_load(stage, server, repeat(PROMPT), clock=LoopClock(), seed=seed)

    return simulate(whole, seed=seed)


def test_a_closed_loop_keeps_so_many_in_flight() -> None:
    """Never more, and as many until the requests run out: 12 by fours take three seconds."""
    server = Server()
    found = offered(Stage(loop="closed", level=4, requests=12), server)
    assert (server.most, server.asked, len(found.shots)) == (4, 12, 12)
    assert found.wall_s == pytest.approx(3.0)


def test_an_open_loop_does_not_wait_for_answers() -> None:
    """Requests come at Poisson moments, the same for the same seed, however many are under way; their mean distance is the rate's."""
    server = Server()
    found = offered(Stage(loop="open", level=50.0, requests=400), server)
    due = sorted(shot.due_at for shot in found.shots)
    assert server.most > 20
    assert 400 / (due[-1] - due[0]) == pytest.approx(50, rel=0.15)
    again = offered(Stage(loop="open", level=50.0, requests=400), Server())
    assert sorted(shot.due_at for shot in again.shots) == due
    assert (
        sorted(
            shot.due_at
            for shot in offered(Stage(loop="open", level=50.0, requests=400), Server(), seed=2).shots
        )
        != due
    )


def test_the_moments_are_kept_apart() -> None:
    """A ceiling on the wire holds a request back for half a second: due, sent, first piece and end are each in their place."""
    found = offered(Stage(loop="closed", level=1, requests=2), Server(held_s=0.5))
    for shot in found.shots:
        assert shot.sent_at - shot.due_at == pytest.approx(0.5)
        assert shot.first_at is not None
        assert shot.first_at - shot.sent_at == pytest.approx(0.4)
        assert shot.done_at - shot.sent_at == pytest.approx(1.0)


def test_a_refusal_is_noted_and_not_tried_again() -> None:
    """Every third fails: as many requests as offered, the failed ones with their class."""
    server = Server(fails=3)
    found = offered(Stage(loop="closed", level=2, requests=9), server)
    assert server.asked == 9
    assert [shot.error for shot in found.shots].count("Unavailable") == 3

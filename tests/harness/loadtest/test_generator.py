"""The load generator on virtual time: it sends what the stage says and records what happened."""

from __future__ import annotations

from itertools import repeat

import pytest

from harness.core.clock import LoopClock
from harness.core.errors import CallError, TimedOut, Unavailable
from harness.core.protocols import Backend
from harness.core.seeds import stream
from harness.core.vocabulary import Completion, Message, Pace, Prompt, ReplyFormat
from harness.loadtest.arrivals import arrival_moments
from harness.loadtest.generator import StageLoad, generate_load
from harness.loadtest.load_profile import Stage
from harness.loadtest.metrics import MeasuredStage, Objective, metrics_of
from harness.loadtest.steady_window import steady_window
from harness.loadtest.work import single_requests
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
    """A server that answers after a second, `places` requests at once, and fails every `fails`-th."""

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


def offered(stage: Stage, server: Backend, seed: int = 1) -> StageLoad:
    async def whole() -> StageLoad:
        moments = arrival_moments(stage, stream(seed, "arrivals"))
        return await generate_load(
            stage, server, single_requests(repeat(PROMPT)), clock=LoopClock(), moments=moments
        )

    return simulate(whole, seed=seed)


def test_a_closed_loop_keeps_so_many_in_flight() -> None:
    """A closed loop keeps exactly so many in flight until the requests run out: 12 by fours take three
    seconds."""
    server = Server()
    found = offered(Stage(loop="closed", level=4, requests=12), server)
    assert (server.most, server.asked, len(found.requests)) == (4, 12, 12)
    assert found.wall_s == pytest.approx(3.0)


def test_an_open_loop_does_not_wait_for_answers() -> None:
    """An open loop sends at Poisson moments of the given rate, the same for the same seed, however many are
    in flight."""
    server = Server()
    found = offered(Stage(loop="open", level=50.0, requests=400), server)
    due = sorted(request.due_at for request in found.requests)
    assert server.most > 20
    assert 400 / (due[-1] - due[0]) == pytest.approx(50, rel=0.15)
    again = offered(Stage(loop="open", level=50.0, requests=400), Server())
    assert sorted(request.due_at for request in again.requests) == due
    assert (
        sorted(
            request.due_at
            for request in offered(Stage(loop="open", level=50.0, requests=400), Server(), seed=2).requests
        )
        != due
    )


def test_the_moments_are_kept_apart() -> None:
    """The request rate limiter holds a request back for half a second: due, sent, first chunk and end are
    recorded apart."""
    found = offered(Stage(loop="closed", level=1, requests=2), Server(held_s=0.5))
    for request in found.requests:
        assert request.sent_at - request.due_at == pytest.approx(0.5)
        assert request.first_at is not None
        assert request.first_at - request.sent_at == pytest.approx(0.4)
        assert request.done_at - request.sent_at == pytest.approx(1.0)


def test_a_refusal_is_noted_and_not_tried_again() -> None:
    """A failed request is recorded with its class, among as many requests as offered."""
    server = Server(fails=3)
    found = offered(Stage(loop="closed", level=2, requests=9), server)
    assert server.asked == 9
    assert [request.error for request in found.requests].count("Unavailable") == 3


class Dead:
    """A server that fails every request."""

    def __init__(self, failure: CallError) -> None:
        self._failure, self.asked = failure, 0

    async def complete(self, prompt: Prompt) -> Completion:
        self.asked += 1
        raise self._failure


@pytest.mark.parametrize(
    ("stage", "failure", "asked"),
    [
        (Stage(loop="closed", level=4, requests=100), Unavailable("refused"), 10),
        (Stage(loop="open", level=50.0, requests=100), Unavailable("refused"), 10),
        (Stage(loop="closed", level=1, requests=100), TimedOut("silent"), 1),
        (Stage(loop="closed", level=4, requests=100), TimedOut("silent"), 4),
        (Stage(loop="open", level=50.0, requests=100), TimedOut("silent"), 10),
    ],
)
def test_a_dead_server_is_not_asked_for_long(stage: Stage, failure: CallError, asked: int) -> None:
    """Nothing was answered: ten failures end the stage, or a timeout of each place of a closed loop."""
    server = Dead(failure)
    found = offered(stage, server)
    assert (server.asked, len(found.requests)) == (asked, asked)


def test_time_bounds_a_stage() -> None:
    """After the bound no request begins; those in flight are waited for."""
    closed = offered(Stage(loop="closed", level=2, requests=None, seconds=2.5), Server())
    assert (len(closed.requests), closed.wall_s, closed.offered_s) == pytest.approx((6, 3.0, 2.0))
    opened = offered(Stage(loop="open", level=10, requests=None, seconds=5, arrivals="constant"), Server())
    assert len(opened.requests) == 50
    assert opened.wall_s == pytest.approx(6.0)


def test_a_closed_loop_grows_during_its_ramp() -> None:
    """Four places begin a second apart in a ramp of four seconds."""
    found = offered(Stage(loop="closed", level=4, requests=8, ramp_s=4.0), Server())
    begun = sorted(request.due_at - found.began_at for request in found.requests)
    assert begun[:4] == pytest.approx([0, 1, 1, 2])  # the first place goes on after a second


class StalledServer(Server):
    """A server that answers nothing for two seconds, once."""

    async def complete(self, prompt: Prompt) -> Completion:
        begun = self.clock.now()
        if 30.0 <= begun < 32.0:
            await self.clock.sleep(32.0 - begun)
        return await super().complete(prompt)


def test_a_stall_is_seen_by_all_that_were_due_in_it() -> None:
    """An open loop goes on offering while the server stalls: of 1,200 requests at 20 a second the 40 that
    were due in a stall of two seconds wait up to two seconds, so p99 is what the stall makes it."""
    stage = Stage(loop="open", level=20, requests=1200, arrivals="constant")
    found = offered(stage, StalledServer())
    late = [one.done_at - one.due_at for one in found.requests if one.done_at - one.due_at > 1.001]
    assert len(late) == 40
    measured = MeasuredStage(load=found, window=steady_window(found, warm_up_s=None, cool_down_s=None))
    figures = metrics_of([measured], Objective())
    assert figures is not None
    assert figures.e2e_s.p50 == pytest.approx(1.0)
    # 40 of 1,180 latencies are spread evenly over 1 to 3 s: 11.8 lie above p99
    assert figures.e2e_s.p99 == pytest.approx(3.0 - 2.0 * 11.8 / 40, abs=0.1)

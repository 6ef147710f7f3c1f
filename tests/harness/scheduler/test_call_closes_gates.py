"""The failures of a call decide about its gate: a pause, a limit, or its closing."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from harness.core.errors import (
    AccountRefused,
    AllRefused,
    CallError,
    ConnectFailed,
    Garbled,
    GateClosing,
    ModelUnknown,
    NotServed,
    RateLimited,
    Rejected,
    TimedOut,
    Unavailable,
)
from harness.core.vocabulary import Completion
from harness.scheduler.call import Route, _result_of_failure
from tests.harness.scheduler.calls import PLACE, PROMPT, outcome_of
from tests.world import Counter, World, run


@pytest.mark.parametrize(
    "error",
    [RateLimited("per day", status=429), Unavailable("busy", status=503), ConnectFailed("refused")],
)
def test_a_gate_at_which_no_call_is_served_closes_after_its_patience(error: CallError) -> None:
    """A quarter of an hour after the first refusal, not before; from the fifth minute on one call a minute at
    most is spent on it."""
    world, met, ended = outcome_of([error] * 1_000)
    assert isinstance(met, NotServed)
    assert "no call was served for 15 minutes" in str(met)
    assert str(error) in str(met)
    assert 900.0 <= ended <= 902.0
    sent = [row.sent_at - world.rows.calls[0].sent_at for row in world.rows.calls]
    assert sum(at_s >= 300.0 for at_s in sent) <= 11
    assert len(sent) <= 45


def test_a_pause_longer_than_the_patience_closes_the_gate_at_once() -> None:
    """The reason names how long, until when and why; the call is left pending after one request."""
    world, met, ended = outcome_of([RateLimited("per day", status=429, retry_after_s=18_000.0)])
    assert isinstance(met, NotServed)
    assert "asks for a pause of 18000 s, until " in str(met)
    assert "HTTP 429" in str(met)
    assert ended < 2.0
    assert len(world.rows.calls) == 1


def test_a_longer_pause_of_an_outage_closes_the_gate_too() -> None:
    """Maintenance for an hour, said with a 503, is no affair of one call."""
    _, met, ended = outcome_of([Unavailable("maintenance", status=503, retry_after_s=3_600.0)])
    assert isinstance(met, NotServed)
    assert ended < 2.0


def test_a_shorter_pause_is_waited_for() -> None:
    """Fourteen minutes, longer than the call's deadline: it is answered after that, at the second try."""
    world, met, ended = outcome_of([RateLimited("later", status=429, retry_after_s=840.0)])
    assert isinstance(met, Completion)
    assert 841.0 <= ended <= 845.0
    assert len(world.rows.calls) == 2


def test_an_infinite_pause_is_silence() -> None:
    """It is no moment to wait for: the gate probes as if nothing had been asked, and goes on when it is
    served."""
    world, met, ended = outcome_of([RateLimited("never", status=429, retry_after_s=float("inf"))] * 3)
    assert isinstance(met, Completion)
    assert ended < 30.0
    assert len(world.rows.calls) == 4


@pytest.mark.parametrize("error", [AccountRefused("no credit", status=429)])
def test_what_concerns_the_account_closes_the_gate(error: GateClosing) -> None:
    """A refused account closes its gate at once, with the provider's words."""
    world, met, _ = outcome_of([error])
    assert isinstance(met, AccountRefused)
    assert len(world.rows.calls) == 1
    (event,) = world.rows.gate_events
    assert (event.kind, event.detail) == ("closed", "no credit")


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        (RateLimited("slow down", status=429), "limited", "HTTP 429"),
        (Unavailable("busy", status=503), "unserved", "HTTP 503"),
        (TimedOut("silence"), "unserved", "timeouts"),
        (Garbled("cut off"), "other", "broken responses"),
    ],
)
def test_a_failure_says_what_it_means_for_limits(error: CallError, kind: str, cause: str) -> None:
    """Too fast, not served, or nothing; its cause is the status, or in words where there is none."""
    found = _result_of_failure(error)
    assert (found.kind, found.cause, found.error) == (kind, cause, str(error))


@pytest.mark.parametrize("error", [ModelUnknown("no such model"), AllRefused("all refused")])
def test_a_method_that_has_its_gate_to_itself_closes_it(error: GateClosing) -> None:
    """A route is alone at its gate unless it is said otherwise; a gate that is shared stays open."""

    async def scenario() -> list[bool]:
        world = World()
        closed = []
        for shared in (False, True):
            made = world.add()
            route = (
                replace(made, alone=False, sole=False)
                if shared
                else Route(method=made.method, gate=made.gate, backend=made.backend)
            )
            route.close(error, key_works=False)
            closed.append(made.gate.closed is not None)
        return closed

    assert run(scenario) == [True, False]


def test_the_reason_of_a_closed_method_names_the_refusal_that_it_rests_on() -> None:
    """A single refusal has no other cause."""

    async def scenario() -> list[type | None]:
        world = World()
        route = world.add(
            backend=Counter(world.clock, trouble=lambda *_: Rejected("HTTP 400: no", status=400))
        )
        causes, caller = list[type | None](), world.caller()
        for _ in range(5):
            with pytest.raises(CallError) as caught:
                await caller.call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
            causes.append(type(caught.value.__cause__) if caught.value.__cause__ else None)
        return causes

    assert run(scenario) == [None] * 4 + [Rejected]

"""The simulated provider: latency, batches, quotas, faults; and that its quotas are those of the emulator on
a socket."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from typing import Literal

import anyio
import pytest

from backends.bots import own_instance
from backends.emulator.exchange import Request, Response
from backends.emulator.provider import EmulatedProvider
from backends.emulator.simulated import (
    Behaviour,
    FaultModel,
    LatencyModel,
    SimulatedBackend,
    SimulatedProvider,
)
from harness.core.emulation import Emulation, Quotas
from harness.core.errors import CallError, RateLimited, Unavailable
from harness.core.vocabulary import Completion, Prompt, ReplyFormat
from harness.simulation import VirtualClock, simulate


@dataclass(frozen=True, slots=True)
class Fixed:
    """A Backend whose every reply has so many tokens."""

    prompt_tokens: int
    completion_tokens: int

    async def complete(self, prompt: Prompt) -> Completion:
        return Completion(
            text="x", prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens
        )


def prompt(number: int) -> Prompt:
    return Prompt(
        messages=(), reply_format=ReplyFormat(regex="x"), episode=str(number), item="toy:1", seat="a", turn=0
    )


def served(
    behaviour: Behaviour, starts: Sequence[float], *, prompt_tokens: int = 100, completion_tokens: int = 50
) -> list[tuple[float, Completion | CallError]]:
    """Returns for each call sent at these moments when it returned, and with what."""

    async def scenario() -> list[tuple[float, Completion | CallError]]:
        clock = VirtualClock()
        backend = SimulatedBackend(
            Fixed(prompt_tokens, completion_tokens), SimulatedProvider(behaviour, clock, seed=1)
        )
        ends: dict[int, tuple[float, Completion | CallError]] = {}

        async def call(number: int, start_s: float) -> None:
            await clock.sleep(start_s)
            try:
                met: Completion | CallError = await backend.complete(prompt(number))
            except CallError as error:
                met = error
            ends[number] = (clock.now(), met)

        async with anyio.create_task_group() as calls:
            for number, start_s in enumerate(starts):
                calls.start_soon(call, number, start_s)
        return [ends[number] for number in range(len(starts))]

    return simulate(scenario, seed=1)


def test_an_answer_takes_its_first_token_its_prompt_and_its_length() -> None:
    """Half a second, 100 tokens read at 1 ms and 50 written at 20 ms are 1.6 s, however many calls come at
    once."""
    behaviour = Behaviour(latency=LatencyModel(first_s=0.5, prompt_s=0.001, token_s=0.02))
    assert all(isclose(at_s, 1.6) for at_s, _ in served(behaviour, [0.0] * 30))


def test_a_batch_shares_its_server() -> None:
    """Two calls of 50 tokens at 20 ms, and 10 ms for each other call: 1.5 s together, 1 s alone, in between
    for one that comes half-way."""
    behaviour = Behaviour(latency=LatencyModel(first_s=0.0, token_s=0.02, load_s=0.01))
    assert [at_s for at_s, _ in served(behaviour, [0.0])] == pytest.approx([1.0])
    assert [at_s for at_s, _ in served(behaviour, [0.0, 0.0])] == pytest.approx([1.5, 1.5])
    assert [at_s for at_s, _ in served(behaviour, [0.0, 0.5])] == pytest.approx(
        [1.25, 1.75]
    )  # .5 alone, .75 together, .5 alone


def test_a_call_slows_the_others_before_its_first_token() -> None:
    """The first call is written for .5 s beside one that is still before its first token, a second beside its
    reply, and then the other is alone for .33 s: a token takes 30 ms beside a call and 20 ms alone."""
    behaviour = Behaviour(latency=LatencyModel(first_s=0.5, token_s=0.02, load_s=0.01))
    ends = [at_s for at_s, _ in served(behaviour, [0.0, 0.5])]
    assert ends == pytest.approx([2.0, 2.0 + (50 - 100 / 3) * 0.02])


def test_workers_have_a_queue() -> None:
    """Three calls of a second each through one worker end one after the other."""
    behaviour = Behaviour(latency=LatencyModel(first_s=0.0, token_s=0.02, workers=1))
    assert [at_s for at_s, _ in served(behaviour, [0.0, 0.1, 0.2])] == pytest.approx([1.0, 2.0, 3.0])


def test_a_worker_has_its_call_from_the_beginning() -> None:
    """Half a second before the first token passes at a worker too, as in the emulator on a socket."""
    behaviour = Behaviour(latency=LatencyModel(first_s=0.5, token_s=0.02, workers=1))
    assert [at_s for at_s, _ in served(behaviour, [0.0, 0.1, 0.2])] == pytest.approx([1.5, 3.0, 4.5])


def test_a_fixed_window_begins_at_its_phase() -> None:
    """Two a minute, minutes that begin at second 30: refused until then, with the seconds that are left."""
    behaviour = Behaviour(
        latency=LatencyModel(first_s=0.0), quotas=Quotas(requests=2, law="fixed", phase_s=30.0)
    )
    *good, (_, refusal), (_, later) = served(behaviour, [0.0, 1.0, 10.0, 30.5])
    assert all(isinstance(met, Completion) for _, met in good)
    assert isinstance(refusal, RateLimited)
    assert refusal.retry_after_s == pytest.approx(20.0)
    assert isinstance(later, Completion)


def test_a_sliding_window_has_no_new_minute() -> None:
    """Two a minute in any 60 s: the third waits until the first is 60 s old."""
    behaviour = Behaviour(latency=LatencyModel(first_s=0.0), quotas=Quotas(requests=2))
    met = [one for _, one in served(behaviour, [0.0, 40.0, 59.0, 60.5, 61.0])]
    assert [isinstance(one, RateLimited) for one in met] == [False, False, True, False, True]


def test_tokens_are_counted_and_limits_change() -> None:
    """300 tokens a minute let two calls of 150 through; doubled from second 10 on, two more. The headers say
    so."""
    behaviour = Behaviour(
        latency=LatencyModel(first_s=0.0),
        quotas=Quotas(tokens=300, law="fixed"),
        quota_changes=[(10.0, 2.0)],
    )
    met = [one for _, one in served(behaviour, [0.0, 1.0, 2.0, 11.0, 12.0, 13.0])]
    assert [isinstance(one, RateLimited) for one in met] == [False, False, True, False, False, True]
    assert met[0].headers["x-ratelimit-remaining-tokens"] == "150"
    assert met[3].headers["x-ratelimit-limit-tokens"] == "600"


def test_a_second_may_have_its_own_quota() -> None:
    """60 a minute, at most a twentieth of them in one second: the fourth in one second is refused, the next
    second's is not."""
    behaviour = Behaviour(latency=LatencyModel(first_s=0.0), quotas=Quotas(requests=60, per_second=1 / 20))
    met = [one for _, one in served(behaviour, [0.1, 0.2, 0.3, 0.4, 1.1])]
    assert [isinstance(one, RateLimited) for one in met] == [False, False, False, True, False]


def test_an_outage_refuses_everything_for_its_time() -> None:
    """From second 10 to second 20 there is no service."""
    behaviour = Behaviour(latency=LatencyModel(first_s=0.0), faults=FaultModel(outages=[(10.0, 20.0)]))
    assert [type(met) for _, met in served(behaviour, [9.0, 10.0, 19.0, 20.0])] == [
        Completion,
        Unavailable,
        Unavailable,
        Completion,
    ]


def test_measured_factors_are_drawn_as_they_were_measured() -> None:
    """Latencies are the expected one times one of the factors."""
    behaviour = Behaviour(latency=LatencyModel(first_s=1.0, factors=(0.5, 2.0)))
    assert {round(at_s, 6) for at_s, _ in served(behaviour, [0.0] * 40)} == {0.5, 2.0}


ARRIVALS = [0.37 * number for number in range(120)] + [45.0 + 0.11 * number for number in range(600)]


def emulated(quotas: Quotas, arrivals: Sequence[float]) -> list[float | None]:
    """Returns for each arrival at the emulator's account None if it is admitted, else the wait of its
    refusal."""
    provider = EmulatedProvider(Emulation(quotas=quotas), find_instance=own_instance, key=None, now_s=0.0)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 9})
    waits: list[float | None] = []
    for at_s in arrivals:
        response = provider.respond(Request(b"POST", "/v1/chat/completions", {}, body.encode()), at_s, at_s)
        assert isinstance(response, Response)
        found = re.search(r"try again in ([\d.]+)s", response.pieces[0].decode())
        waits.append(float(found[1]) if response.status == 429 and found else None)
    return waits


@pytest.mark.parametrize("law", ["sliding", "fixed", "bucket"])
@pytest.mark.parametrize("per_second", [None, 0.05])
def test_the_same_arrivals_meet_the_same_quota_in_both_providers(
    law: Literal["sliding", "fixed", "bucket"], per_second: float | None
) -> None:
    """720 requests under each law: the emulator on a socket and the simulated provider refuse the same ones
    with the same waits."""
    quotas = Quotas(requests=100, law=law, phase_s=17.0, per_second=per_second)
    refused = emulated(quotas, ARRIVALS)
    simulated = [
        met.retry_after_s if isinstance(met, RateLimited) else None
        for _, met in served(Behaviour(latency=LatencyModel(first_s=0.0), quotas=quotas), ARRIVALS)
    ]
    assert 100 < sum(wait is not None for wait in refused) < 700
    assert simulated == pytest.approx(refused, abs=0.001)

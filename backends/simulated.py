"""A provider without a socket, for virtual time: latency and faults around any backend's answers."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.errors import Garbled, RateLimited, TransientCallError, Unavailable
from harness.core.protocols import Backend, Clock
from harness.core.seeds import stream
from harness.core.vocabulary import Completion, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How the provider behaves.

    latency_s    median seconds to an answer
    spread       sigma of the answer times' lognormal spread
    fault_rate   share of calls that fail, in turn by 429, 503 and a cut body"""

    latency_s: float = 1.0
    spread: float = 0.6
    fault_rate: float = 0.0


class SimulatedBackend:
    """A Backend around another; the same prompt tried again has new luck."""

    def __init__(self, inner: Backend, behaviour: Behaviour, clock: Clock, *, seed: int) -> None:
        self._inner = inner
        self._behaviour = behaviour
        self._clock = clock
        self._seed = seed
        self._tries: dict[tuple[str, str, int], int] = {}

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend."""
        place = (prompt.episode, prompt.seat, prompt.turn)
        number = self._tries.pop(place, 0)
        chance = stream(self._seed, "simulated", *place, number)
        await self._clock.sleep(self._behaviour.latency_s * chance.lognormvariate(0.0, self._behaviour.spread))
        if chance.random() < self._behaviour.fault_rate:
            self._tries[place] = number + 1
            raise _fault(chance.randrange(3))
        return await self._inner.complete(prompt)


def _fault(kind: int) -> TransientCallError:
    if kind == 0:
        return RateLimited("simulated: too many requests", status=429, retry_after_s=0.5)
    if kind == 1:
        return Unavailable("simulated: overloaded", status=503)
    return Garbled("simulated: the answer broke off", status=200)

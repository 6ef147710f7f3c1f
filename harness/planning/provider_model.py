"""How each gate's provider will behave: by the sweep file, by a store's calls, or as its kind usually does; said which.

Knows a sweep's methods and what stores told; measures nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import get_args

from backends.emulator.simulated import Behaviour, FaultModel, LatencyModel, Quota, QuotaModel
from harness.access.gates import GateSpec
from harness.config.sweep import MethodPart
from harness.core.emulation import Quotas
from harness.limits.gate import GateLimits
from harness.planning.latency_fit import LatencyFit

# A chat model of middling size over the internet, and a small one on a machine of one's own: round figures to begin with, no more.
HOSTED = LatencyModel(first_s=0.6, prompt_s=0.0001, token_s=1 / 60, spread=0.4)
LOCAL = LatencyModel(first_s=0.05, prompt_s=0.0002, token_s=1 / 40, load_s=1 / 2000, spread=0.2)
QUANTILES = 200
QUOTAS: tuple[Quota, ...] = get_args(Quota)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBehaviour:
    """What a store told of a gate.

    fit      None where its calls were too few
    failed   share of calls that failed for another reason than a quota
    quotas   as the gate learned them"""

    store: str
    fit: LatencyFit | None
    failed: float
    quotas: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateModel:
    """A gate with its provider's behaviour, and in words where that comes from."""

    limits: GateLimits
    behaviour: Behaviour
    source: str


def model_gate(door: GateSpec, parts: Sequence[MethodPart], known: StoredBehaviour | None) -> GateModel:
    """How this door's provider behaves, the sweep's word on quotas before the store's."""
    first = parts[0]
    tempo, source = _by_kind(first)
    trouble = FaultModel()
    if known is not None and known.fit is not None:
        found = known.fit
        tempo = LatencyModel(
            first_s=found.first_s,
            prompt_s=found.prompt_s,
            token_s=found.token_s,
            load_s=found.load_s,
            factors=found.factors,
            cold=found.cold,
            slots=tempo.slots,
        )
        trouble = replace(trouble, fault_rate=known.failed, faults=("overloaded", "garbled"))
        source = f"fitted to {found.calls} calls of {known.store}"
    limits = door.limits
    if known is not None:
        limits = _with(
            limits, {name: known.quotas[name] for name in known.quotas if getattr(limits, name, 0.0) is None}
        )
    emulated = {} if first.emulator is None else _emulated(first.emulator.quotas)
    if first.emulator is not None and first.emulator.quotas.told:  # from the first answer on
        limits = _with(limits, emulated)
    if first.requests_per_second_max is not None:
        limits = replace(
            limits, requests=min(60.0 * first.requests_per_second_max, limits.requests or float("inf"))
        )
    declared = {name: value for name in QUOTAS if (value := getattr(limits, name)) is not None}
    enforcement = QuotaModel(limits=declared, window="sliding")
    if first.emulator is not None and emulated:
        of = first.emulator.quotas
        enforcement = QuotaModel(
            limits=emulated,
            window="fixed" if of.law == "fixed" else "sliding",
            phase_s=of.phase_s,
            per_second=of.per_second,
            headers=of.told,
        )
    return GateModel(
        limits=limits,
        behaviour=Behaviour(tempo=tempo, enforcement=enforcement, trouble=trouble),
        source=source,
    )


def _emulated(quotas: Quotas) -> dict[Quota, float]:
    """What an emulator lets pass in a minute."""
    allowed = {name: getattr(quotas, name) for name in QUOTAS}
    return {name: value * 60.0 / quotas.window_s for name, value in allowed.items() if value is not None}


def _with(limits: GateLimits, quotas: Mapping[Quota, float] | Mapping[str, float]) -> GateLimits:
    return replace(
        limits,
        requests=quotas.get("requests", limits.requests),
        tokens=quotas.get("tokens", limits.tokens),
        input_tokens=quotas.get("input_tokens", limits.input_tokens),
        output_tokens=quotas.get("output_tokens", limits.output_tokens),
    )


def _by_kind(part: MethodPart) -> tuple[LatencyModel, str]:
    if part.expect is not None:
        expected = part.expect
        token_s = 1 / expected.tokens_per_s
        in_all = expected.tokens_per_s_in_all
        load_s = 0.0 if in_all is None else 1 / in_all
        return LatencyModel(
            first_s=expected.first_s, token_s=max(token_s, load_s), load_s=load_s, spread=0.3
        ), "expected by the sweep file"
    if part.bots is not None:
        return LatencyModel(first_s=part.bots.latency_s, factors=_exponential()), "the sweep file's bots"
    if part.emulator is not None:
        of = part.emulator.latency
        token_s = 0.0 if of.tokens_per_s is None else 1 / of.tokens_per_s
        return LatencyModel(
            first_s=of.first_s, token_s=token_s, slots=of.workers, spread=of.spread
        ), "the sweep file's emulator"
    if part.engine is not None:
        return LOCAL, "a local server, guessed"
    return HOSTED, "a provider, guessed"


def _exponential() -> tuple[float, ...]:
    """Quantiles of the exponential distribution of mean 1."""
    return tuple(-log(1 - (place + 0.5) / QUANTILES) for place in range(QUANTILES))

"""Models the provider of each gate: by the sweep file, by a store's calls, or by its kind.

Knows a sweep's methods and what stores recorded; measures nothing itself. Every model names its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

from backends.emulator.simulated import Behaviour, FaultModel, LatencyModel
from harness.access.gates import GateSpec
from harness.config.sweep import MethodPart
from harness.core.emulation import Quotas
from harness.limits.gate import GateLimits
from harness.planning.latency_fit import LatencyFit
from harness.planning.simulate import QUOTAS, with_limits, with_quotas

# Round figures, of the order of a chat model of middling size over the internet, and of a small model on
# one's own machine.
HOSTED = LatencyModel(first_s=0.6, prompt_s=0.0001, token_s=1 / 60, spread=0.4)
LOCAL = LatencyModel(first_s=0.05, prompt_s=0.0002, token_s=1 / 40, load_s=1 / 2000, spread=0.2)
EXPECTED_SPREAD = 0.3  # where the sweep file expects a mean speed and says nothing of its spread
QUANTILES = 200  # of the exponential distribution of a bot's latency


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBehaviour:
    """A store's record of one gate's provider.

    fit      None where the calls were too few
    failed   share of calls that failed for another reason than a quota
    quotas   a minute, as the gate learned them"""

    store: str
    fit: LatencyFit | None
    failed: float
    quotas: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateModel:
    """A gate and its provider's behaviour; source: in words, where that comes from."""

    limits: GateLimits
    behaviour: Behaviour
    source: str


def model_gate(gate: GateSpec, parts: Sequence[MethodPart], stored: StoredBehaviour | None) -> GateModel:
    """Returns the model of one gate. Quotas of the sweep file come before those of a store.

    gate    with the limits that the sweep file states
    parts   the sweep file's methods at this gate
    stored  None where no store knows the gate"""
    first = parts[0]
    latency, source = _latency_by_kind(first)
    faults = FaultModel()
    limits = gate.limits
    if stored is not None and stored.fit is not None:
        faults = FaultModel(rate=stored.failed, kinds=("503", "truncated_json"))
        if latency.workers is None:  # with workers the fit would contain the wait for one
            fit = stored.fit
            latency = LatencyModel(
                first_s=fit.first_s,
                prompt_s=fit.prompt_s,
                token_s=fit.token_s,
                load_s=fit.load_s,
                factors=fit.factors,
                cold=fit.cold,
            )
            source = f"a fit to {fit.calls} calls of {stored.store}"
    if stored is not None:
        unstated = {name: quota for name, quota in stored.quotas.items() if _unstated(limits, name)}
        limits = with_limits(limits, unstated)
    enforced = None if first.emulator is None else first.emulator.quotas
    emulated = {} if enforced is None else _per_minute(enforced)
    if enforced is not None and enforced.told:  # the gate learns them from the first answer
        limits = with_limits(limits, emulated)
    if first.requests_per_second_max is not None:
        requests = min(60.0 * first.requests_per_second_max, limits.requests or float("inf"))
        limits = replace(limits, requests=requests)
    if enforced is None or not emulated:
        declared = {name: getattr(limits, name) for name in QUOTAS}
        enforced = with_quotas(Quotas(law="sliding", told=False), declared)
    return GateModel(
        limits=limits, behaviour=Behaviour(latency=latency, quotas=enforced, faults=faults), source=source
    )


def _unstated(limits: GateLimits, name: str) -> bool:
    return name in QUOTAS and getattr(limits, name) is None


def _per_minute(quotas: Quotas) -> dict[str, float]:
    """Returns the quotas of an emulator as amounts a minute, as gates count."""
    stated = {name: getattr(quotas, name) for name in QUOTAS}
    return {name: quota * 60.0 / quotas.window_s for name, quota in stated.items() if quota is not None}


def _latency_by_kind(part: MethodPart) -> tuple[LatencyModel, str]:
    """Returns the latency of this kind of method, and where it comes from."""
    if part.expect is not None:
        expected = part.expect
        token_s = 1 / expected.tokens_per_s
        in_all = expected.tokens_per_s_in_all
        load_s = 0.0 if in_all is None else 1 / in_all
        latency = LatencyModel(
            first_s=expected.first_s, token_s=max(token_s, load_s), load_s=load_s, spread=EXPECTED_SPREAD
        )
        return latency, "the sweep file's `expect`"
    if part.bots is not None:
        return LatencyModel(first_s=part.bots.latency_s, factors=_exponential()), "the sweep file's bots"
    if part.emulator is not None:
        own = part.emulator.latency
        token_s = 0.0 if own.tokens_per_s is None else 1 / own.tokens_per_s
        latency = LatencyModel(first_s=own.first_s, token_s=token_s, workers=own.workers, spread=own.spread)
        return latency, "the sweep file's emulator"
    if part.engine is not None:
        return LOCAL, "a guess for a local server"
    return HOSTED, "a guess for a hosted provider"


def _exponential() -> tuple[float, ...]:
    """Returns quantiles of the exponential distribution of mean 1."""
    return tuple(-log(1 - (place + 0.5) / QUANTILES) for place in range(QUANTILES))

"""Gates, and results of calls, for the tests of gates."""

from __future__ import annotations

from harness.core.clock import LoopClock
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits

ONE = CallCost()


FINE = CallResult(kind="clean")


def new_gate(window: int) -> Gate:
    return Gate("g", GateLimits(concurrency=window), clock=LoopClock(), on_event=lambda kind, detail: None)


def headers(
    remaining: float, reset_s: float, *, quota: str = "requests", limit: float = 6_000.0
) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{quota}": f"{limit:g}",
        f"x-ratelimit-remaining-{quota}": f"{remaining:g}",
        f"x-ratelimit-reset-{quota}": f"{reset_s:g}s",
    }


def noted_gate(events: list[str], **limits: float) -> Gate:
    made = GateLimits(concurrency=8, **limits)  # type: ignore[arg-type]
    return Gate("g", made, clock=LoopClock(), on_event=lambda kind, detail: events.append(detail))


def limited(pause_s: float | None) -> CallResult:
    return CallResult(kind="limited", retry_after_s=pause_s, cause="HTTP 429")

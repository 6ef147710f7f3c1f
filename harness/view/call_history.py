"""Sums a store's calls by access method and time. Each row is read once, however long a page is open.

Keeps: all sums are of the same rows, the first `rows` of the table. At most SLOTS_MAX slots of time are kept:
when a run grows longer, the slots double."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.store.query_server import Readable
from harness.store.view_queries import (
    BINS_A_DECADE,
    CallSum,
    ErrorSum,
    LatencyBin,
    call_count,
    call_sums,
    error_sums,
    latency_bins,
    time_span,
)

STEP_S = 5.0  # of the first slots
SLOTS_MAX = 240  # more than a chart has pixels for
BINS_MAX = 400


@dataclass(slots=True)
class Sums:
    """Calls of one method, or of one slot. cost_usd: None where no price is known."""

    calls: int = 0
    errors: int = 0
    retries: int = 0
    tokens: int = 0
    cost_usd: float | None = None
    latency_s: float = 0.0
    kinds: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    bins: Counter[int] = field(default_factory=Counter)

    def add(self, other: CallSum | Sums) -> None:
        self.calls += other.calls
        self.errors += other.errors
        self.retries += other.retries
        self.tokens += other.tokens
        self.latency_s += other.latency_s
        if other.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + other.cost_usd
        if isinstance(other, Sums):
            self.kinds.update(other.kinds)
            self.bins.update(other.bins)

    def quantile_s(self, probability: float) -> float | None:
        """Returns a quantile of the latency of answered calls, to the middle of a bin of 10 %."""
        wanted, passed = probability * sum(self.bins.values()), 0
        for place in sorted(self.bins):
            passed += self.bins[place]
            if passed >= wanted:
                return float(10 ** ((place + 0.5) / BINS_A_DECADE))
        return None


class CallHistory:
    """See the module's header."""

    def __init__(self) -> None:
        self.rows = 0
        self.step_s = STEP_S
        self.methods: dict[str, Sums] = {}
        self.slots: dict[int, Sums] = {}
        self.last_errors: dict[str, dict[tuple[str, int | None], ErrorSum]] = {}

    def update(self, connection: Readable) -> None:
        """Reads the rows that came since the last update."""
        rows = call_count(connection)
        if rows <= self.rows:
            return
        self._widen(time_span(connection))
        first, step_s = self.rows, self.step_s
        self._add_sums(call_sums(connection, first, rows, step_s=step_s))
        self._add_errors(error_sums(connection, first, rows, step_s=step_s))
        self._add_bins(latency_bins(connection, first, rows, step_s=step_s))
        self.rows = rows

    def _widen(self, span: tuple[float, float] | None) -> None:
        """Doubles the slots until the whole time has few enough of them."""
        if span is None:
            return
        while (span[1] - span[0]) / self.step_s > SLOTS_MAX:
            self.step_s *= 2
            wider: dict[int, Sums] = {}
            for slot, sums in self.slots.items():
                wider.setdefault(slot // 2, Sums()).add(sums)
            self.slots = wider

    def _of(self, method: str, slot: int | None) -> Iterable[Sums]:
        yield self.methods.setdefault(method, Sums())
        if slot is not None:
            yield self.slots.setdefault(slot, Sums())

    def _add_sums(self, rows: Sequence[CallSum]) -> None:
        for row in rows:
            for sums in self._of(row.method, row.slot):
                sums.add(row)

    def _add_errors(self, rows: Sequence[ErrorSum]) -> None:
        for row in rows:
            for sums in self._of(row.method, row.slot):
                sums.kinds[row.error_class, row.http_status] += row.calls
            of_method = self.last_errors.setdefault(row.method, {})
            known = of_method.get((row.error_class, row.http_status))
            if known is None or row.at >= known.at:
                of_method[row.error_class, row.http_status] = row

    def _add_bins(self, rows: Sequence[LatencyBin]) -> None:
        for row in rows:
            for sums in self._of(row.method, row.slot):
                sums.bins[row.place] += row.calls

    # --- as values ------------------------------------------------------------------------------------------

    def method_values(self, method: str) -> dict[str, object]:
        """Returns one method's sums for the page."""
        sums = self.methods.get(method, Sums())
        causes: list[dict[str, Any]] = [
            {
                "error_class": last.error_class,
                "status": last.http_status,
                "text": last.text,
                "count": sums.kinds[kind],
                "at": last.at,
            }
            for kind, last in self.last_errors.get(method, {}).items()
        ]
        return {
            "calls": sums.calls,
            "errors": sums.errors,
            "retries": sums.retries,
            "tokens": sums.tokens,
            "cost_usd": sums.cost_usd,
            "latency_s": {name: sums.quantile_s(level) for name, level in QUANTILES.items()},
            "histogram": [[place, sums.bins[place]] for place in sorted(sums.bins)],
            "error_causes": sorted(causes, key=lambda one: -one["count"]),
            "last_error": max(causes, key=lambda one: one["at"], default=None),
        }

    def time_values(self) -> dict[str, object]:
        """Returns the lines over time: one value a slot, from the first to the last slot."""
        if not self.slots:
            return {"step_s": self.step_s, "first_at": None, "slots": 0}
        first, last = min(self.slots), max(self.slots)
        sums = [self.slots.get(slot, Sums()) for slot in range(first, last + 1)]
        minute = 60.0 / self.step_s
        kinds = Counter[str]()
        for one in sums:
            kinds.update(_by_name(one.kinds))
        named = [name for name, _ in kinds.most_common(6)]
        return {
            "step_s": self.step_s,
            "first_at": first * self.step_s,
            "slots": len(sums),
            "requests_a_minute": [one.calls * minute for one in sums],
            "in_flight": [one.latency_s / self.step_s for one in sums],
            "latency_s": {name: [one.quantile_s(level) for one in sums] for name, level in QUANTILES.items()},
            "errors_a_minute": {name: [_by_name(one.kinds)[name] * minute for one in sums] for name in named},
        }


QUANTILES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _by_name(kinds: Mapping[tuple[str, int | None], int]) -> Counter[str]:
    """Returns counts by the name of an error: its HTTP status where it has one, else its class."""
    names = Counter[str]()
    for (error_class, status), count in kinds.items():
        names[f"HTTP {status}" if status is not None and status >= 400 else error_class] += count
    return names

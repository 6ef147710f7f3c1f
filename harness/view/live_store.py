"""Follows one store for a page: reads what has changed, and computes the verdicts as they stand.

Knows the store's file and the run that holds it. Keeps: a file that no run holds is opened only after it has
changed, so that a run can begin; verdicts are computed in a thread of their own, and no more often than a
twentieth of the time allows, whatever they cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.analysis.store_audit import store_audit, store_scores
from harness.core.errors import AuditError, HarnessError
from harness.core.protocols import Clock
from harness.core.vocabulary import model_of
from harness.store.file import open_to_read
from harness.store.planned_plays import play_counts
from harness.store.query_server import Readable, RunningStore
from harness.store.report_queries import endings, method_tallies
from harness.store.view_queries import common_results, gate_events, outcome_counts, sweep_budget
from harness.view.bench_values import bench_values
from harness.view.call_history import CallHistory
from harness.view.values import (
    cause_values,
    common_values,
    safe,
    score_values,
    tally_values,
    verdict_values,
)

FAST_S, RESULTS_S, VERDICTS_S = 1.0, 3.0, 10.0  # at least so long between two readings of each kind
COST_TIMES = 20.0  # between two readings lies so many times what one takes
Values = dict[str, Any]


class LiveStore:
    """See the module's header. All of it may be called from any thread.

    clock   tells the time of readings"""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._history = CallHistory()
        self._parts: dict[str, tuple[int, object]] = {}
        self._version = 0
        self._due_s = dict.fromkeys(("fast", "results", "verdicts"), 0.0)
        self._stamp: object = None
        self._owes_results = True  # a large store's take seconds, and the first figures need not wait
        self._owes_verdicts = True  # of the rows as they are
        self._computing: threading.Thread | None = None

    def changes(self, since: int) -> tuple[int, Values]:
        """Returns the version that the page then has, and the parts that are newer than `since`."""
        with self._lock:
            self._read()
            return self._version, {name: one for name, (at, one) in self._parts.items() if at > since}

    def _read(self) -> None:
        now_s = self._clock.now()
        if now_s < self._due_s["fast"]:
            return
        self._due_s["fast"] = now_s + FAST_S
        if not self.path.exists():
            self._put("state", "waiting")
            return
        stamp = _stamp(self.path)
        try:
            is_first = self._stamp is None
            is_changed = is_first or stamp != self._stamp or self._value("state") == "playing"
            self._owes_verdicts = self._owes_verdicts or is_changed
            if is_changed or self._owes_results or (self._owes_verdicts and self._may_compute(now_s)):
                with open_to_read(self.path) as connection:
                    self._read_from(connection, now_s, is_first=is_first)
                self._stamp = stamp
            self._put("problem", None)
        except HarnessError as error:
            self._put("problem", safe(str(error)))

    def _read_from(self, connection: Readable, now_s: float, *, is_first: bool) -> None:
        is_running = isinstance(connection, RunningStore)
        progress = connection.ask("progress") if isinstance(connection, RunningStore) else None
        self._put("state", "playing" if is_running else "ended")
        self._history.update(connection)
        if not is_first and (now_s >= self._due_s["results"] or not is_running):
            self._timed("results", RESULTS_S, lambda: self._read_results(connection))
            self._owes_results = False
        plays = self._plays()
        lanes = {lane["method"]: lane for lane in progress["methods"]} if progress else {}
        self._put("calls", safe([self._method(name, plays, lanes) for name in self._names(lanes)]))
        self._put("rows", self._history.rows)
        self._put("times", safe(self._history.time_values()))
        self._put("events", safe([event._asdict() for event in gate_events(connection)]))
        self._put("run", safe(_run(progress, plays)))
        self._put("live_lines", _lines(progress))
        if not is_first and self._may_compute(now_s):
            self._owes_verdicts = False
            self._computing = threading.Thread(target=self._compute_verdicts, daemon=True)
            self._computing.start()

    def _may_compute(self, now_s: float) -> bool:
        is_computing = self._computing is not None and self._computing.is_alive()
        return now_s >= self._due_s["verdicts"] and not is_computing

    def _timed(self, kind: str, least_s: float, read: Callable[[], None]) -> None:
        began_s = self._clock.now()
        read()
        ended_s = self._clock.now()
        self._due_s[kind] = ended_s + max(least_s, COST_TIMES * (ended_s - began_s))

    def _read_results(self, connection: Readable) -> None:
        counts = play_counts(connection)
        plays: dict[str, dict[str, int]] = {}
        for one in counts.values():
            mine = plays.setdefault(one.method, {"planned": 0, "done": 0, "failed": 0})
            mine["planned"] += one.planned
            mine["done"] += one.ended + one.failed
            mine["failed"] += one.failed
        outcomes = outcome_counts(connection)
        self._put("plays", plays)
        self._put("budget", sweep_budget(connection))
        self._put("common", safe(common_values(common_results(connection))))
        self._put("causes", safe(cause_values(endings(connection), None)))
        self._put("cost", safe(tally_values(method_tallies(connection))))
        self._put("outcomes", safe([one._asdict() for one in outcomes]))
        self._put("bench", safe(bench_values(connection)))
        self._put("episodes_ended", sum(one.episodes for one in outcomes))

    def _compute_verdicts(self) -> None:
        """Computes scores and verdicts; runs in a thread of its own."""

        def compute() -> None:
            try:
                scores = safe(score_values(store_scores(self.path)))
                verdicts = safe(verdict_values(store_audit(self.path, reference=None, margin=None), None))
            except AuditError as error:
                why = str(error).removeprefix(f"{self.path}: ")
                scores, verdicts = [], {"models": [], "why_none": safe(why), "reading": ""}
            except HarnessError:  # the store is held or gone for the moment: the last ones stand until then
                with self._lock:
                    self._owes_verdicts = True
                return
            with self._lock:
                self._put("scores", scores)
                self._put("verdicts", verdicts)

        self._timed("verdicts", VERDICTS_S, compute)

    def _names(self, lanes: Mapping[str, object]) -> list[str]:
        return list(dict.fromkeys([*lanes, *self._plays(), *self._history.methods]))

    def _value(self, name: str) -> object:
        return self._parts.get(name, (0, None))[1]

    def _plays(self) -> dict[str, dict[str, int]]:
        plays = self._value("plays")
        return plays if isinstance(plays, dict) else {}

    def _method(
        self, name: str, plays: Mapping[str, Mapping[str, int]], lanes: Mapping[str, Mapping[str, Any]]
    ) -> Values:
        lane, mine = lanes.get(name), plays.get(name, {})
        done, planned = mine.get("done", 0), mine.get("planned", 0)
        return {
            "method": name,
            "model": model_of(name),
            **self._history.method_values(name),
            "done": lane["done"] if lane else done,
            "planned": lane["planned"] if lane else planned,
            "failed": lane["failed"] if lane else mine.get("failed", 0),
            "in_flight": lane["in_flight"] if lane else None,
            "window": lane["window"] if lane else None,
            "to_go_s": lane["to_go_s"] if lane else None,
            "state": _state(lane, done, planned),
        }

    def _put(self, name: str, value: object) -> None:
        """Keeps a part; a page hears of it only if it has changed."""
        known = self._parts.get(name)
        if known is None or known[1] != value:
            self._version += 1
            self._parts[name] = (self._version, value)


def _stamp(path: Path) -> object:
    """Returns what changes when rows are written: times and sizes of the file and of its log."""
    found = []
    for one in (path, path.with_name(f"{path.name}.wal")):
        if one.exists():
            status = one.stat()
            found.append((status.st_mtime_ns, status.st_size))
    return tuple(found)


def _state(lane: Mapping[str, Any] | None, done: int, planned: int) -> str:
    if lane is None:
        return "done" if planned and done >= planned else ""
    if lane["done"] >= lane["planned"]:
        return "done"
    if lane["closed"]:
        return "stopped"
    if lane["calls"] and lane["calls"] == lane["errors"]:
        return "every call fails"
    return "pausing" if lane["paused_until"] else "playing"


def _run(progress: Mapping[str, Any] | None, plays: Mapping[str, Mapping[str, int]]) -> Values | None:
    """Returns the whole sweep: from the run that plays it, else from the store's plan."""
    if progress is None:
        if not plays:
            return None
        return {name: sum(one[name] for one in plays.values()) for name in ("done", "planned", "failed")}
    lanes = progress["methods"]
    turns = [lane["turns_to_go"] for lane in lanes if lane["turns_to_go"] is not None]
    return {
        **{name: sum(lane[name] for lane in lanes) for name in ("done", "planned", "failed")},
        **{name: progress[name] for name in ("to_go_s", "to_go_low_s", "to_go_high_s", "trouble")},
        "turns_to_go": sum(turns) if turns else None,
    }


def _lines(progress: Mapping[str, Any] | None) -> Values:
    """Returns the limits that the charts show: window and quota of all gates together."""
    if progress is None:
        return {}
    gates = {lane["gate"]: lane for lane in progress["methods"]}.values()
    quotas = [gate["limits"].get("requests") for gate in gates]
    known = [quota for quota in quotas if quota is not None]
    return {
        "window": sum(gate["window"] for gate in gates) or None,
        "quota": sum(known) if known and len(known) == len(quotas) else None,
    }

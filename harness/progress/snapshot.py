"""The figures of a running sweep at a moment; every presentation shows these.

Plain values, which become JSON as they are: fields are added, and none changes its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.progress.end_estimate import SlowCalls
from harness.progress.meters import ErrorCount


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSnapshot:
    """One access method, or a pair of players, at a moment.

    done, failed, planned   episodes: done in all runs, failed in this one, planned in all
    open, never_begun       episodes that this run plays now, and those that are still to be begun
    in_flight, window, queue, retrying   calls at its gate: sent, allowed in flight, waiting, pausing before
                                         another try; 0 for a pair
    calls, errors, cost_usd   of this run; cost None where no price is known
    limits        quotas a minute, by name, as far as known
    score         mean score of this run's scored episodes; None: there is none yet
    to_go_s       estimated seconds to the lane's end; None before a turn was answered, and at a closed gate
    to_go_low_s, to_go_high_s   its 90 % interval
    turns_to_go   estimated turns to the lane's end; None: not known
    gate          the methods that share its gate, separated by spaces; empty for a pair
    closed        why its gate is closed; None: it is open
    paused_until  seconds since 1970 until which its gate sends no call; None: it does not pause
    pause_cause   why
    last_error    the last error of its calls; None: there was none"""

    method: str
    planned: int
    done: int
    failed: int
    open: int
    never_begun: int
    in_flight: int
    window: int
    queue: int
    retrying: int
    calls: int
    errors: int
    requests_a_minute: float
    tokens_a_minute: float
    limits: Mapping[str, float]
    cost_usd: float | None
    score: float | None
    to_go_s: float | None
    to_go_low_s: float | None = None
    to_go_high_s: float | None = None
    turns_to_go: float | None = None
    gate: str = ""
    closed: str | None = None
    paused_until: float | None = None
    pause_cause: str = ""
    last_error: ErrorCount | None = None

    @property
    def is_done(self) -> bool:
        return self.done >= self.planned

    @property
    def is_stalled(self) -> bool:
        """Returns whether calls have ended, all of them with errors."""
        return self.calls > 0 and self.errors == self.calls


@dataclass(frozen=True, slots=True, kw_only=True)
class GameSnapshot:
    """One model's results in one game, in all runs.

    points    mean score by access method; an aborted episode counts 0
    spread    the largest mean less the smallest; None: there is only one
    episodes  that have ended, of all its access methods"""

    model: str
    game: str
    points: Mapping[str, float]
    spread: float | None
    episodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSnapshot:
    """A sweep at a moment.

    at                 seconds since 1970
    lag_s, lag_s_max   mean and maximum event loop delay of the last second
    rows_behind        rows that are not written yet
    to_go_s, to_go_low_s, to_go_high_s   estimated seconds to the end of the run, and its 90 % interval
    slow               calls that are waited for unusually long"""

    at: float
    elapsed_s: float
    lag_s: float
    lag_s_max: float
    rows_behind: int
    methods: tuple[LaneSnapshot, ...]
    games: tuple[GameSnapshot, ...]
    to_go_s: float | None = None
    to_go_low_s: float | None = None
    to_go_high_s: float | None = None
    slow: tuple[SlowCalls, ...] = ()

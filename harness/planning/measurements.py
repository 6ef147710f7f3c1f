"""Reads what was measured before a plan: lengths of episodes and speeds of servers, from stores or a trial.

Sends nothing. Keeps: a sample of a trial differs from the trial as another trial would have, in
lengths, in fits of latencies and in the pace of servers. Does not promise: that the sweep meets the same
machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from random import Random

from harness.audit.scores.power import Spread, measured
from harness.planning.calibrate import Trial, degrees_of_turns, of_whole_games, resampled
from harness.planning.episode_lengths import StoredPlay
from harness.planning.latency_fit import (
    CALLS_MIN,
    CALLS_MIN_TRIAL,
    LatencyFit,
    TimedCalls,
    fit_latency,
)
from harness.planning.power import stored_scores
from harness.planning.provider_model import StoredBehaviour
from harness.planning.workload import stored_plays
from harness.store.file import open_to_read
from harness.store.plan_queries import ServerRows, engine_starts, servers

TRIAL = "the trial"  # in place of a store's name

# Standard deviation of a server's pace from one trial to another. A trial of a minute cannot measure it. The
# root mean square of two changes, 8 % and 14 %, of two quiet cores within minutes (bench/LOG.md, 2026-11-30).
PACE_SD = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHistory:
    """The finished plays of stores, method -> the behaviour of its provider, method -> seconds in which its
    engine became ready, game -> the spread of its scores."""

    plays: tuple[StoredPlay, ...]
    behaviours: Mapping[str, StoredBehaviour]
    starts_s: Mapping[str, float]
    spreads: Mapping[str, Spread]


def read_history(stores: Sequence[Path]) -> StoredHistory:
    """Reads what these stores hold; where two know one server or one game, the later store counts."""
    plays: list[StoredPlay] = []
    behaviours: dict[str, StoredBehaviour] = {}
    spreads: dict[str, Spread] = {}
    starts: dict[str, float] = {}
    for store in stores:
        with open_to_read(store) as connection:
            plays += stored_plays(connection)
            starts |= engine_starts(connection)
            if (scores := stored_scores(connection)) is not None:
                spreads |= measured(scores)
            behaviours |= _behaviours(store.name, servers(connection))
    return StoredHistory(plays=tuple(plays), behaviours=behaviours, starts_s=starts, spreads=spreads)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialHistory:
    """The store of a trial, of which every play that began has ended.

    whole    all of it, each play standing for its whole game
    plays    the same plays, item by item
    servers  the calls that its behaviours were fitted to"""

    whole: StoredHistory
    plays: tuple[StoredPlay, ...]
    servers: tuple[ServerRows, ...]

    def sample(self, chance: Random) -> StoredHistory:
        """Returns what another trial could have measured."""
        return replace(
            self.whole,
            plays=of_whole_games(resampled(self.plays, chance)),
            behaviours=_behaviours(TRIAL, self.servers, calls_min=CALLS_MIN_TRIAL, chance=chance),
        )

    def gaps(
        self, methods: Mapping[str, str], games: Iterable[str], closings: Mapping[str, str]
    ) -> Iterator[str]:
        """Yields a warning for what a plan needs and the trial does not show.

        methods   name -> model
        closings  method -> why its episodes could not be played to their ends"""
        played = {play.method for play in self.plays}
        if silent := [name for name in methods if name not in played]:
            yield (
                f"no episode of {', '.join(silent)} ended in the trial, so the lengths and speeds of "
                f"{'these methods' if len(silent) > 1 else 'this method'} were not measured"
            )
        for name in (name for name in methods if name in played and name in closings):
            yield (
                f"the trial of {name} stopped before its episodes ended, so long ones are missing and the "
                f"forecast can be too short: {closings[name]}"
            )
        for model in dict.fromkeys(methods[name] for name in methods if name in played):
            for game in games:
                items = {play.item for play in self.plays if (play.model, play.game) == (model, game)}
                if not items:
                    yield f"{model}: no episode of {game} ended in the trial, so their lengths were not measured"
                elif len(items) == 1:
                    yield (
                        f"{model}: the trial played only one item of {game}, so the intervals do not allow for "
                        "other lengths"
                    )

    def degrees(self, episodes: Mapping[tuple[str, str], int]) -> float:
        """See degrees_of_turns."""
        return degrees_of_turns(self.plays, episodes)


def read_trial(trial: Trial) -> TrialHistory:
    """Reads a trial."""
    with open_to_read(trial.store) as connection:
        rows = tuple(servers(connection))
        plays = tuple(stored_plays(connection, every=True))
        whole = StoredHistory(
            plays=of_whole_games(plays),
            behaviours=_behaviours(TRIAL, rows, calls_min=CALLS_MIN_TRIAL),
            starts_s=engine_starts(connection),
            spreads={},
        )
    return TrialHistory(whole=whole, plays=plays, servers=rows)


def _behaviours(
    store: str, servers: Iterable[ServerRows], *, calls_min: int = CALLS_MIN, chance: Random | None = None
) -> dict[str, StoredBehaviour]:
    """Returns method -> the behaviour of its server; with chance, as another trial could have measured it."""
    found: dict[str, StoredBehaviour] = {}
    for rows in servers:
        calls = TimedCalls(
            sent_at=rows.sent_at,
            latency_s=rows.latency_s,
            prompt_tokens=rows.prompt_tokens,
            reply_tokens=rows.reply_tokens,
        )
        fit = fit_latency(calls, calls_min=calls_min, chance=chance)
        if fit is not None and chance is not None:
            fit = _slower(fit, exp(chance.gauss(0.0, PACE_SD)))
        behaviour = StoredBehaviour(store=store, fit=fit, failed=rows.failed, quotas=rows.quotas)
        found |= dict.fromkeys(rows.methods, behaviour)
    return found


def _slower(fit: LatencyFit, factor: float) -> LatencyFit:
    return replace(
        fit,
        first_s=factor * fit.first_s,
        prompt_s=factor * fit.prompt_s,
        token_s=factor * fit.token_s,
        load_s=factor * fit.load_s,
    )

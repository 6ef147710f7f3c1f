"""Plays one game from its first ask to its outcome, after a replay of the turns that the store holds.

A game is a pure function of its instance and the replies, so a resume is a replay: recorded replies are fed
back as long as the asks agree with the recorded ones, and play goes on from there. Only this file turns an
error into an episode's end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from random import Random

import orjson

from harness.core.errors import CallError, GameFailed, GameUnavailable, GateClosing, Rejected, UnknownEnd
from harness.core.history import SeatHistory
from harness.core.protocols import Clock, RecordSink
from harness.core.records import EpisodeRecord, TurnRecord
from harness.core.seeds import stream
from harness.core.steps import Playable
from harness.core.vocabulary import Ask, EpisodePlan, Outcome, Prompt, storable
from harness.limits.admission import CallGate
from harness.scheduler.call import Caller, CallPlace, Route
from harness.scheduler.spending import SpendingBudget


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTurn:
    """A turn that an interrupted play left in the store.

    stored   its turn row is there too, not only its call's row"""

    ask_hash: str
    reply: str
    stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The stored beginning of an unfinished episode.

    attempt   the play's number
    turns     its replies so far"""

    attempt: int = 0
    turns: Sequence[RecordedTurn] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftPending:
    """An episode that is neither played nor failed: the answer to one of its calls decides nothing, or its
    game has no process to run in.

    error     the answer to the call, or what happened to the game
    method    whose call it was; of a game's failure the first seat's
    failure   the rows of a failed episode, to be stored if the method answers other calls in this run: then
              this request was refused, and not the method; None: the episode stays pending in any case"""

    error: Rejected | UnknownEnd | GameUnavailable
    method: str
    failure: tuple[TurnRecord, EpisodeRecord] | None


@dataclass(frozen=True, slots=True)
class PutOff:
    """An episode whose process ended: its rows are stored there, and it is played on once they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """Plays episodes; holds what all episodes of a run have in common.

    expected_turns   (game, experiment) -> how many turns such an episode takes, by what is known so far
    seed             root of the random streams"""

    run_id: str
    caller: Caller
    games: Mapping[str, Playable]
    routes: Mapping[str, Route]
    expected_turns: Callable[[str, str], float]
    seed: int

    @property
    def clock(self) -> Clock:
        return self.caller.clock

    @property
    def budget(self) -> SpendingBudget:
        return self.caller.budget

    @property
    def sink(self) -> RecordSink:
        return self.caller.sink

    def answered(self, method: str) -> bool:
        """Says whether a call of this method was answered in this run."""
        return self.caller.refusals.answered(method)

    async def watch(self, gates: Sequence[CallGate]) -> None:
        """Names calls that are stuck, until it is cancelled."""
        await self.caller.watchdog.watch(gates, self.caller.clock)

    def sent_times(self) -> dict[str, list[float]]:
        """Returns method -> when each of its calls in flight was sent."""
        return self.caller.watchdog.sent_times()

    async def play(
        self, plan: EpisodePlan, beginning: Beginning, on_ask: Callable[[], None]
    ) -> EpisodeRecord | GateClosing | LeftPending:
        """Plays to an end. Returns the finished or failed episode's row, which the sink has; or what left the
        episode pending.

        on_ask   called right before a turn goes to its gate"""
        while True:
            episode = _Episode(self, plan, beginning, on_ask)
            try:
                return await episode.play()
            except GameUnavailable as error:
                return LeftPending(error=error, method=plan.seating[0], failure=None)
            except GameFailed as error:
                return await episode.fail(error)
            except GateClosing as reason:
                return reason
            except _RulesChanged as change:
                await episode.abandon(str(change))
                beginning = Beginning(attempt=beginning.attempt + 1)


class _RulesChanged(Exception):
    """A recorded ask is not the one that the game makes now."""


class _Episode:
    """One play of one plan."""

    def __init__(
        self, player: Player, plan: EpisodePlan, beginning: Beginning, on_ask: Callable[[], None]
    ) -> None:
        self._player = player
        self._on_ask = on_ask
        self._plan = plan
        self._key = plan.key
        self._item = plan.item
        self._episode_id = plan.episode_id
        self._beginning = beginning
        self._game = player.games[plan.instance.game]
        self._methods = dict(zip(self._game.seats, plan.seating, strict=True))
        self._histories = {seat: SeatHistory() for seat in self._game.seats}
        self._turn = 0
        self._started_at = player.caller.clock.wall()

    async def play(self) -> EpisodeRecord | LeftPending:
        """Plays to the end. Raises GameUnavailable and GameFailed, which `Player.play` turns into ends."""
        with closing(self._game.open(self._plan.instance, self._plan.rules)) as steps:
            step = await steps.begin()
            last: tuple[TurnRecord, ...] = ()
            while not isinstance(step, Outcome):
                ask = step
                history = self._histories[ask.seat]
                kept = history.advance(ask.messages)
                ask_hash = history.ask_hash
                reply, stored = self._replayed(ask_hash)
                if reply is None:
                    try:
                        reply = await self._ask(ask, ask_hash)
                    except GateClosing:
                        raise
                    except CallError as error:
                        return await self._end_without_reply(
                            error, ask, self._turn_record(ask, kept, ask_hash, None)
                        )
                try:
                    step = await steps.step(reply.strip())
                except GameFailed:
                    if not stored:
                        await self._player.caller.sink.put(self._turn_record(ask, kept, ask_hash, None))
                    self._turn += 1
                    raise
                last = () if stored else (self._turn_record(ask, kept, ask_hash, step.last_parse.violation),)
                if last and not isinstance(step, Outcome):
                    await self._player.caller.sink.put(*last)
                self._turn += 1
            record = self._finished(step)
            await self._player.caller.sink.put(*last, record)
            return record

    async def fail(self, error: GameFailed) -> EpisodeRecord:
        """Stores the episode as failed by its game."""
        record = self._record(status="failed", reason=_reason(error), outcome=None)
        await self._player.caller.sink.put(record)
        return record

    def _replayed(self, ask_hash: str) -> tuple[str | None, bool]:
        """Returns the recorded reply to this turn's ask and whether the turn's row is stored; (None, False)
        after the last record."""
        if self._turn >= len(self._beginning.turns):
            return None, False
        recorded = self._beginning.turns[self._turn]
        if recorded.ask_hash != ask_hash:
            raise _RulesChanged(f"started again: the ask of turn {self._turn} is no longer the recorded one")
        return recorded.reply, recorded.stored

    async def _ask(self, ask: Ask, ask_hash: str) -> str:
        player, plan = self._player, self._plan
        place = CallPlace(player.run_id, self._episode_id, self._beginning.attempt, self._turn, ask_hash)
        expected = player.expected_turns(plan.instance.game, plan.instance.experiment)

        def chance() -> Random:
            return stream(player.seed, "pause", self._episode_id, self._beginning.attempt, self._turn)

        self._on_ask()
        completion = await player.caller.call(
            player.routes[self._methods[ask.seat]],
            Prompt(ask.messages, ask.reply_format, self._key, self._item, ask.seat, self._turn),
            place,
            remainder=max(1.0, expected - self._turn),
            chance=chance,
        )
        return completion.text

    def _turn_record(self, ask: Ask, kept: int, ask_hash: str, violation: str | None) -> TurnRecord:
        added = [{"role": role, "text": text} for role, text in ask.messages[kept:]]
        attempt, method, added_json = (
            self._beginning.attempt,
            self._methods[ask.seat],
            orjson.dumps(added).decode(),
        )
        return TurnRecord(
            self._episode_id, attempt, self._turn, ask.seat, method, ask_hash, kept, added_json, violation
        )

    async def _end_without_reply(
        self, error: CallError, ask: Ask, unanswered: TurnRecord
    ) -> EpisodeRecord | LeftPending:
        """Stores the episode as failed, never with a score, and the turn that got no reply; or leaves it
        pending."""
        method = self._methods[ask.seat]
        record = self._record(status="failed", reason=_reason(error), outcome=None)
        if isinstance(error, UnknownEnd):
            return LeftPending(error=error, method=method, failure=None)
        if isinstance(error, Rejected) and not self._player.caller.refusals.answered(method):
            return LeftPending(error=error, method=method, failure=(unanswered, record))
        await self._player.caller.sink.put(unanswered, record)
        return record

    async def abandon(self, reason: str) -> None:
        """Stores why this play ends and another begins; this is not the episode's end."""
        await self._player.caller.sink.put(self._record(status="abandoned", reason=reason, outcome=None))

    def _finished(self, outcome: Outcome) -> EpisodeRecord:
        return self._record(status="finished", reason=outcome.reason, outcome=outcome)

    def _record(self, *, status: str, reason: str, outcome: Outcome | None) -> EpisodeRecord:
        plan, instance, player = self._plan, self._plan.instance, self._player
        methods = tuple(dict.fromkeys(plan.seating))
        models = tuple(dict.fromkeys(player.routes[method].method.model for method in methods))
        return EpisodeRecord(
            episode_id=self._episode_id,
            attempt=self._beginning.attempt,
            run_id=player.run_id,
            key=self._key,
            game=instance.game,
            rules=plan.rules,
            instance_set=instance.set_name,
            experiment=instance.experiment,
            instance=instance.id,
            content_hash=instance.content_hash,
            method="+".join(methods),
            model="+".join(models),
            seating="+".join(plan.seating),
            arm=plan.arm,
            batch=plan.batch,
            repeat=plan.repeat,
            status=status,
            outcome=outcome.state if outcome else None,
            score=outcome.score if outcome else None,
            reason=reason,
            requests=outcome.requests.total if outcome else 0,
            parsed=outcome.requests.parsed if outcome else 0,
            violated=outcome.requests.violated if outcome else 0,
            metrics_json=orjson.dumps(dict(outcome.metrics)).decode() if outcome else "{}",
            turns=self._turn,
            started_at=self._started_at,
            finished_at=player.caller.clock.wall(),
            session=plan.session,
        )


def _reason(error: CallError | GameFailed) -> str:
    return storable(f"{type(error).__name__}: {error}")

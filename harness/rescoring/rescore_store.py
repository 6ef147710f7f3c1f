"""Wires `lightbulb rescore`: reads stored replies, starts the engine of the reference if it has one, lets it
score each reply once, stores the rows.

Knows the store, the last sweep in it, and connections; computes no statistics. Keeps: equal replies to equal
prompts are scored once; replies whose tokens a longer conversation contains are scored by its request; what
is scored already is not scored again, so that a second call continues."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio
import orjson

from backends.prompt_scorer import PromptScorer, ReplyTokens
from games import GAMES
from harness.access.connect import connector_for_all
from harness.access.context import RunContext
from harness.access.methods import resolved
from harness.config.contradictions import address_problems
from harness.config.load import read_sweep
from harness.config.problems import suggest
from harness.config.sweep import MethodPart, SweepSpec
from harness.core.errors import CallError, ContextExceeded, FinalCallError, SpecError, TransientCallError
from harness.core.finish_reasons import finish_kind, is_cut
from harness.core.protocols import Clock
from harness.core.vocabulary import ScoredToken, split_method_key
from harness.rescoring.conversations import Scoring, by_conversation
from harness.rescoring.item_sample import of_drawn_items
from harness.rescoring.scores import TOP_GREEDY, TOP_SAMPLED, is_sampled, row_of
from harness.store.file import open_to_read, open_to_write
from harness.store.rescore_queries import StoredReply, last_sweep, replies_of_model, sampling_of_methods
from harness.store.writer import StoreWriter, writing

IN_FLIGHT = 8  # requests at once: a server holds the distribution of a whole prompt for each
TRIES_MAX = 4
PAUSE_S = 2.0  # before another try
PROGRESS_S = 30.0  # between two lines of progress

T = TypeVar("T")
Equal = dict[Scoring, list[StoredReply]]
"""What is scored once -> the replies that are equal."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlace:
    """The place of the reference's server, as far as the sweep does not say it. None: as the sweep says.

    chat_template   a model folder, tokenizer_config.json or a .jinja file"""

    base_url: str | None = None
    chat_template: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RescoreEnd:
    """The result of a rescoring: replies scored now, and replies that the server refused as too long."""

    scored: int
    too_long: int


async def rescore_store(
    context: RunContext, reference: str, place: ServerPlace, *, tokens_min: int | None = None
) -> RescoreEnd:
    """Scores the replies of all methods of the reference's model that it has not scored yet.

    context     relative paths of the sweep start beside its source
    reference   "model/method" of the sweep in the store
    tokens_min  score only replies to items that are drawn until each method has so many tokens; None: all
    raises      SpecError, EngineError before anything is stored, CallError, StoreError"""
    with open_to_read(context.store) as connection:  # what is refused leaves the file as it was
        spec = _restricted(last_sweep(connection), reference, context, place)
        every = replies_of_model(connection, split_method_key(reference)[0], reference)
        if not any(reply.method == reference for reply in every):
            raise SpecError(
                f"--with {reference}: {context.store} has no reply of this method that can be scored (empty "
                "replies and replies with thoughts cannot); its own replies are the null, so play it first"
            )
    with open_to_write(context.store, notify=context.notify) as connection:
        wanted = every if tokens_min is None else of_drawn_items(every, tokens_min)
        replies = [reply for reply in wanted if not reply.scored]
        asked = sampling_of_methods(connection)
        if not replies:
            return RescoreEnd(scored=0, too_long=0)
        connector = connector_for_all(spec, context, {}, run_id="rescore")
        async with writing(connection, context.store) as writer, connector.connected(writer) as live:
            await connector.prove(live)
            server = live.servers.started.get(reference)
            work = _Rescoring(
                scorer=PromptScorer(live.routes[reference].method, live.wired[reference]),
                asked={name: sampling for name, (sampling, _) in asked.items()},
                reference=reference,
                engine_json=orjson.dumps(dict(server.facts)).decode() if server else None,
                clock=connector.clock,
                writer=writer,
                context=context,
                rescored_at=connector.clock.wall(),
            )
            return await work.run(replies)


def _restricted(
    stored: Mapping[str, Any] | None, reference: str, context: RunContext, place: ServerPlace
) -> SweepSpec:
    """Returns the stored sweep with the reference alone, in the dialect of plain completions.

    raises  SpecError if the store has no such method, or its engine cannot score"""
    if stored is None:
        raise SpecError(
            f"{context.store}: there is no sweep in this store; rescore needs one that was played"
        )
    raw = {**stored, "pairs": [], "audit": {**stored["audit"], "reference": None}}
    spec = read_sweep(raw, source=str(context.store), known_games={*GAMES, *stored["games"]})
    if reference not in spec.methods():
        raise SpecError(
            f"--with {reference}: the sweep in {context.store} has no such access method"
            f"{suggest(reference, list(spec.methods()))}; it must have played, because its own replies are the null"
        )
    model, part = spec.methods()[reference]
    part = _as_scorer(reference, part, place)
    alone = dataclasses.replace(spec.models[model], methods={split_method_key(reference)[1]: part})
    return resolved(dataclasses.replace(spec, models={model: alone}), source=context.source)


def _as_scorer(reference: str, part: MethodPart, place: ServerPlace) -> MethodPart:
    """Returns the method as one that scores texts; raises SpecError if its engine cannot."""
    engine = part.engine.kind if part.engine and place.base_url is None else None
    if engine not in (None, "vllm") or part.bots is not None or part.emulator is not None:
        what = engine or ("bots" if part.bots is not None else "an emulator of the run's own")
        elsewhere = ", or say --base-url with a vLLM server of the same weights" if engine else ""
        raise SpecError(
            f"--with {reference}: {what} returns no log-probabilities of a prompt over HTTP; name a method that vLLM "
            f"serves{elsewhere}"
        )
    if place.base_url is not None:
        for problem in address_problems(place.base_url, plain_http=part.allow_plain_http):
            raise SpecError(f"--base-url: {problem}")
        part = dataclasses.replace(part, base_url=place.base_url, engine=None)
    return dataclasses.replace(
        part,
        dialect="completions",
        constrain=False,
        stream=False,
        logprobs=None,
        chat_template=place.chat_template or part.chat_template,
    )


@dataclasses.dataclass(slots=True, kw_only=True)
class _Rescoring:
    """The requests of one rescoring."""

    scorer: PromptScorer
    asked: Mapping[str, Mapping[str, Any]]
    reference: str
    engine_json: str | None
    clock: Clock
    writer: StoreWriter
    context: RunContext
    rescored_at: float
    done: int = 0
    too_long: int = 0

    async def run(self, replies: Sequence[StoredReply]) -> RescoreEnd:
        equal: Equal = {}
        for reply in replies:
            equal.setdefault(self._scoring(reply), []).append(reply)
        groups = by_conversation(equal)
        self.context.notify(
            f"{self.reference} scores {len(replies):,} replies ({len(equal):,} different, in {len(groups):,} "
            f"conversations) of {len({reply.method for reply in replies})} access methods"
        )
        limit = anyio.Semaphore(IN_FLIGHT)
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._report_progress, len(equal))
            async with anyio.create_task_group() as tasks:
                for group in groups:
                    await limit.acquire()
                    tasks.start_soon(self._score_group, group, equal, limit)
            beside.cancel_scope.cancel()
        return RescoreEnd(scored=len(replies) - self.too_long, too_long=self.too_long)

    def _scoring(self, reply: StoredReply) -> Scoring:
        sampling = self.asked.get(reply.method, {})
        reason = reply.finish_reason or ""
        ended = not sampling.get("stop") and not is_cut(reason) and finish_kind(reason) == "good"
        top = TOP_SAMPLED if is_sampled(sampling) else TOP_GREEDY
        return Scoring(reply.messages, reply.reply, ended, top)

    async def _score_group(self, group: Sequence[Scoring], equal: Equal, limit: anyio.Semaphore) -> None:
        """Scores the longest conversation with all that its tokens contain, then likewise what is left."""
        try:
            left = await self._tokenised(group, equal)
            left.sort(key=lambda pair: -len(pair[1].ids))
            while left:
                longest = left[0][1]
                together = [pair for pair in left if longest.contains(pair[1])]
                contained = [tokens for _, tokens in together]
                try:
                    found = await self._patiently(
                        partial(self.scorer.score, longest, contained, top=group[0].top)
                    )
                except ContextExceeded:  # shorter ones may fit
                    self._count_too_long(equal[left.pop(0)[0]])
                    continue
                await self._store(
                    (equal[one], tokens, scores)
                    for (one, tokens), scores in zip(together, found, strict=True)
                )
                self.done += len(together)
                left = [pair for pair in left if not longest.contains(pair[1])]
        except CallError as error:
            raise FinalCallError(
                f"{self.reference} at {self.scorer.base_url}: {str(error).rstrip('.')}; the scores until now are in "
                f"{self.context.store}: correct this, and give the same command again to go on"
            ) from error
        finally:
            limit.release()

    async def _tokenised(self, group: Sequence[Scoring], equal: Equal) -> list[tuple[Scoring, ReplyTokens]]:
        """Returns each with its tokens, except texts that are too long for the server."""
        found = []
        for one in group:
            ask = partial(self.scorer.tokens, one.messages, one.reply, ended=one.ended)
            try:
                found.append((one, await self._patiently(ask)))
            except ContextExceeded:
                self._count_too_long(equal[one])
        return found

    def _count_too_long(self, equal: Sequence[StoredReply]) -> None:
        self.too_long += len(equal)
        self.done += 1

    async def _store(
        self, scored: Iterable[tuple[Sequence[StoredReply], ReplyTokens, Sequence[ScoredToken]]]
    ) -> None:
        """Stores scores.

        scored   equal replies, their tokens, the scores of these"""
        await self.writer.put(
            *(
                row_of(
                    reply,
                    scores,
                    self.asked.get(reply.method, {}),
                    joined=tokens.joined,
                    reference=self.reference,
                    engine_json=self.engine_json,
                    rescored_at=self.rescored_at,
                )
                for equal, tokens, scores in scored
                for reply in equal
            )
        )

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks the server, and again after a transient error."""
        for _ in range(TRIES_MAX - 1):
            try:
                return await ask()
            except TransientCallError:
                await self.clock.sleep(PAUSE_S)
        return await ask()

    async def _report_progress(self, count: int) -> None:
        """Reports every PROGRESS_S how many replies are scored."""
        while True:
            await self.clock.sleep(PROGRESS_S)
            self.context.notify(f"{self.done:,} of {count:,} different replies scored")

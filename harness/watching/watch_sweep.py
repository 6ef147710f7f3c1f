"""Wires `lightbulb watch`: finds the panels of a sweep's methods, and plays one day of them into a store.

Keeps: calls go through each method's own gate, with its quota and its tries. Games are not played, and the
sweep's budget is not used: a day is at most 200 calls of one token for each method."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
import orjson

from harness.access.connect import connector_for_all, retry_policy
from harness.access.context import RunContext
from harness.access.game_sets import game_sets
from harness.audit.probes.asks import ProbeAsk
from harness.checking.ask_probes import CheckTarget, LastCalls, ask_probes
from harness.checking.check_method import NullSink
from harness.config.sweep import SweepSpec
from harness.core.errors import SpecError
from harness.core.records import WATCH_KIND, LogprobRecord, ProbeRecord
from harness.core.vocabulary import Message, Sampling, digest
from harness.scheduler.call import Caller
from harness.scheduler.spending import SpendingBudget
from harness.store.file import open_to_write
from harness.store.writer import StoreWriter, writing
from harness.watching.candidates import candidates
from harness.watching.panel import MethodPanel
from harness.watching.search import TRIES, FirstToken, find_panel

PATIENCE_S = 65.0  # a pause for a quota a minute is waited for; cron comes again tomorrow
TOP = 2  # log-probabilities that a margin needs


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSearch:
    """The panels that were found, and a sentence for each method without one."""

    panels: tuple[MethodPanel, ...]
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchDay:
    """One day of a method. check_at: of its calls, in seconds since 1970, None if there is no call; failed:
    calls without a reply; why: the first error."""

    method: str
    check_at: float | None
    calls: int
    failed: int
    why: str | None


async def init_watch(spec: SweepSpec, context: RunContext, *, calls_max: int, seed: int) -> PanelSearch:
    """Finds a panel for every access method that has a server, all at the same time.

    calls_max   one-token calls for each method, at most
    seed        draws the candidates
    raises      SpecError, EngineError"""
    prompts = candidates(seed, calls_max // TRIES)
    panels: dict[str, MethodPanel] = {}
    failures: dict[str, str] = {}

    async def search(name: str, asking: Asking) -> None:
        try:
            panels[name] = await find_panel(name, prompts, asking.first_tokens, calls_max=calls_max)
        except SpecError as error:
            why = f"; the last failed call: {asking.why}" if asking.why else ""
            failures[name] = f"{error}{why}"

    for name, (_, part) in spec.methods().items():
        if part.bots is not None:
            context.notify(f"{name}: not watched, because bots play in this process without a server")
    async with asking_methods(spec, context) as (lost, open_methods):
        failures.update(lost)
        async with anyio.create_task_group() as tasks:
            for name, asking in open_methods.items():
                tasks.start_soon(search, name, asking)
    return PanelSearch(
        panels=tuple(panels[name] for name in spec.methods() if name in panels),
        failures=tuple(failures[name] for name in spec.methods() if name in failures),
    )


async def play_watch_day(
    spec: SweepSpec, context: RunContext, panels: Sequence[MethodPanel]
) -> tuple[WatchDay, ...]:
    """Asks each method its panel once, and writes the rows of each method as soon as all its calls ended.

    The store is opened before the first call.
    raises  SpecError if a panel's method is not in the sweep; EngineError, StoreError"""
    unknown = [panel.method for panel in panels if panel.method not in spec.methods()]
    if unknown:
        raise SpecError(
            f"{context.source} has no access method {unknown[0]}, which the panel names; restore it, or make "
            "the panel anew: lightbulb watch init"
        )
    rows: dict[str, list[ProbeRecord]] = {}

    async def play(panel: MethodPanel, asking: Asking, writer: StoreWriter) -> None:
        rows[panel.method] = await asking.rows(panel.prompts, panel.repeats, logprobs=None)
        await writer.put(*rows[panel.method])

    with open_to_write(context.store, notify=context.notify) as connection:
        async with (
            writing(connection, context.store) as writer,
            asking_methods(spec, context) as (lost, open_methods),
            anyio.create_task_group() as tasks,
        ):
            for panel in panels:
                if panel.method in open_methods:
                    tasks.start_soon(play, panel, open_methods[panel.method], writer)
    return tuple(_day(panel.method, rows.get(panel.method, []), lost.get(panel.method)) for panel in panels)


def _day(method: str, rows: Sequence[ProbeRecord], lost: str | None) -> WatchDay:
    failed = [row for row in rows if row.reply is None]
    return WatchDay(
        method=method,
        check_at=rows[0].check_at if rows else None,
        calls=len(rows),
        failed=len(failed),
        why=failed[0].error_text if failed else lost,
    )


@dataclass(slots=True, kw_only=True)
class Asking:
    """One method that answers one-token calls.

    states_logprobs   whether log-probabilities are asked for; it becomes false when they are refused
    why               the error of the last call without a reply; None: each has one"""

    target: CheckTarget
    caller: Caller
    kept: LastCalls
    check_at: float
    states_logprobs: bool = True
    asked: int = 0
    why: str | None = None

    async def first_tokens(self, prompts: Sequence[str], tries: int) -> dict[str, list[FirstToken]]:
        """Returns prompt -> the first tokens that came. See search.AskTokens."""
        if self.states_logprobs and self.asked == 0:
            (probe,) = await self.rows(prompts[:1], 1, logprobs=TOP)
            self.states_logprobs = probe.reply is not None and bool(self.kept.logprobs)
        rows = await self.rows(prompts, tries, logprobs=TOP if self.states_logprobs else None)
        found: dict[str, list[FirstToken]] = {prompt: [] for prompt in prompts}
        of_name = {prompt_name(prompt): prompt for prompt in prompts}
        for row in rows:
            if row.reply is None:
                self.why = row.error_text
            else:
                margin = _margin(self.kept.logprobs.get(f"{row.kind} {row.name} {row.number}"))
                found[of_name[row.name]].append(FirstToken(row.reply, margin))
        return found

    async def rows(self, prompts: Sequence[str], repeats: int, *, logprobs: int | None) -> list[ProbeRecord]:
        """Asks each prompt so many times, all at once as far as the gate allows."""
        asks = [
            ProbeAsk(
                kind=WATCH_KIND,
                name=prompt_name(prompt),
                number=self.asked + number,
                messages=(Message("user", prompt),),
                sampling=Sampling(temperature=0.0, logprobs=logprobs),
                tokens_max=1,
            )
            for number in range(repeats)
            for prompt in prompts
        ]
        self.asked += repeats
        return await ask_probes(self.target, self.caller, self.kept, asks, self.check_at)


def prompt_name(prompt: str) -> str:
    """Returns the hash of a prompt, by which its days are compared."""
    return digest(prompt, bytes_of_digest=8)


def _margin(record: LogprobRecord | None) -> float | None:
    """Returns how far the first token is above the second, in log-probability."""
    if record is None:
        return None
    _, _, top = orjson.loads(record.tokens_json)[0]
    values = sorted((value for _, value in top), reverse=True)
    return values[0] - values[1] if len(values) > 1 else None


@asynccontextmanager
async def asking_methods(
    spec: SweepSpec, context: RunContext
) -> AsyncIterator[tuple[dict[str, str], dict[str, Asking]]]:
    """Yields the methods that cannot be asked, each with a sentence, and those that can."""
    spec = replace(spec, retry=replace(spec.retry, patience_s=min(spec.retry.patience_s, PATIENCE_S)))
    connector = connector_for_all(spec, context, game_sets(spec, context.source), run_id=WATCH_KIND)
    clock, check_at = connector.clock, connector.clock.wall()
    async with connector.connected(NullSink()) as live:
        for gate in dict.fromkeys(live.gate_of.values()):
            live.background.start_soon(gate.run_timer)
        found = {}
        for name, backend in live.wired.items():
            kept = LastCalls()
            caller = Caller(
                sink=kept, clock=clock, policy=retry_policy(spec), budget=SpendingBudget.unlimited(clock)
            )
            target = CheckTarget(route=live.routes[name], server=backend, proxy=connector.proxy_of(name))
            found[name] = Asking(target=target, caller=caller, kept=kept, check_at=check_at)
        lost = {name: f"{name}: its engine did not start: {why}" for name, why in live.servers.failed.items()}
        yield lost, found

"""Reads which plays a store's sweeps planned and how many of them have ended: in all, and in whole look
blocks.

Knows the plan in the sweep rows, and the tables of episodes, calls and interim analyses; computes no score.
Keeps: the ended episodes of an unfinished sweep are no sample, because short plays end first; a look block of
which every planned play has ended or failed is one, because no outcome chooses its items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson

from harness.core.vocabulary import game_of_item, split_method_key
from harness.store.query_server import Readable

ITEM = "concat_ws(':', game, rules, instance_set, experiment, instance, content_hash)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayCounts:
    """One access method's plays of one arm, by what has become of them.

    ended     with an outcome; failed: without one, by an error; open: begun, and neither of these
    settled   interim analyses ended the play before the plan did
    shares    of the planned plays up to the end of each unit of the plan, rising to 1; a unit is a look
              block, or a session if there are several; empty where an older store does not name its items
    whole     how many units, from the first on, consist of ended and failed plays only
    games     the planned plays of each game
    items, repeats  of the plays in whole units; None: all"""

    method: str
    arm: str
    planned: int
    ended: int
    failed: int
    open: int = 0
    settled: bool = False
    shares: tuple[float, ...] = ()
    whole: int = 0
    games: Mapping[str, int] = field(default_factory=dict, repr=False)
    items: frozenset[str] | None = field(default=None, repr=False)
    repeats: frozenset[int] | None = None

    @property
    def never_begun(self) -> int:
        return max(0, self.planned - self.ended - self.failed - self.open)

    @property
    def complete(self) -> bool:
        """Returns whether nothing more is to be played."""
        return self.settled or self.all_ended

    @property
    def all_ended(self) -> bool:
        return self.ended + self.failed >= self.planned

    @property
    def counts_all(self) -> bool:
        """Returns whether every ended episode counts: all ended, or the play was stopped within its first
        unit."""
        return self.all_ended or (self.settled and not self.whole)

    def counts(self, item: str, repeat: int) -> bool:
        """Returns whether an episode counts for scores and audits."""
        if self.counts_all:
            return True
        return (self.items is None or item in self.items) and (self.repeats is None or repeat in self.repeats)


class _Plan(NamedTuple):
    """The plays of a sweep, as its row in the store has them.

    sessions  the session of each repeat
    methods   name -> its arms and games"""

    blocks: tuple[tuple[str, ...], ...]
    sessions: tuple[int, ...]
    methods: Mapping[str, Mapping[str, Sequence[str]]]


class _EndedPlays(NamedTuple):
    """The numbers of ended and of failed plays of one cell of the plan."""

    method: str
    arm: str
    game: str
    block: int
    repeat: int
    ended: int
    failed: int


def play_counts(connection: Readable) -> dict[tuple[str, str], PlayCounts]:
    """Returns (method, arm) -> its counts, for every method that a stored plan names, by the last plan that
    does.

    Imported methods have no plan and are not among them."""
    rows = connection.execute("SELECT planned_json FROM sweeps ORDER BY run_id").fetchall()
    texts = [text for (text,) in rows if text is not None]
    plans = {text: _plan(text) for text in dict.fromkeys(texts)}
    last = {name: text for text in texts for name in plans[text].methods}
    counts = {
        (found.method, found.arm): found
        for text, plan in plans.items()
        for found in _counted(connection, plan, [name for name, used in last.items() if used == text])
    }
    if not texts:
        counts = {(found.method, found.arm): found for found in _counted_by_totals(connection)}
    if all(found.all_ended for found in counts.values()):
        return counts
    begun, settled = _open_plays(connection), _settled(connection, [method for method, _ in counts])
    return {
        (method, arm): replace(
            found,
            open=begun[_players(method)] if arm == "main" and not found.all_ended else 0,
            settled=method in settled,
        )
        for (method, arm), found in counts.items()
    }


def counted_condition(counts: Iterable[PlayCounts]) -> tuple[str, list[object]]:
    """Returns a SQL condition that holds for the episodes that count, and its parameters.

    The condition names the columns of `episodes`; it is "true" where nothing is restricted."""
    restricted = [found for found in counts if not found.counts_all]
    if not restricted:
        return "true", []
    arms = [f"{found.method}|{found.arm}" for found in restricted]
    items = [f"{found.method}|{found.arm}|{item}" for found in restricted for item in found.items or ()]
    repeats = [
        f"{found.method}|{found.arm}|{repeat}" for found in restricted for repeat in found.repeats or ()
    ]
    listed = "(SELECT unnest(CAST(? AS VARCHAR[])))"
    return (
        f"(concat_ws('|', method, arm) NOT IN {listed} OR concat_ws('|', method, arm, {ITEM}) IN {listed}"
        f" OR concat_ws('|', method, arm, repeat) IN {listed})",
        [arms, items, repeats],
    )


def _plan(text: str) -> _Plan:
    plan = orjson.loads(text)
    return _Plan(
        blocks=tuple(map(tuple, plan["blocks"])), sessions=tuple(plan["sessions"]), methods=plan["methods"]
    )


def _counted(connection: Readable, plan: _Plan, methods: Sequence[str]) -> Iterator[PlayCounts]:
    """Yields the counts of these methods by this plan."""
    cells: dict[tuple[str, str], list[_EndedPlays]] = {}
    for row in _ended_plays(connection, plan):
        cells.setdefault((row.method, row.arm), []).append(row)
    for method in methods:
        games = frozenset(plan.methods[method]["games"])
        for arm in plan.methods[method]["arms"]:
            rows = [row for row in cells.get((method, arm), ()) if row.game in games]
            yield _counts_of(plan, method, arm, games, rows)


def _counts_of(
    plan: _Plan, method: str, arm: str, games: frozenset[str], rows: Sequence[_EndedPlays]
) -> PlayCounts:
    """Returns the counts of one method and arm that plays these games; rows: its own."""
    blocks = [[item for item in block if game_of_item(item) in games] for block in plan.blocks]
    by_session = max(plan.sessions, default=0) > 0
    done: Counter[int] = Counter()
    for row in rows:
        done[plan.sessions[row.repeat] if by_session else row.block] += row.ended + row.failed
    items = sum(map(len, blocks))
    sizes = (
        [items * plan.sessions.count(session) for session in range(max(plan.sessions) + 1)]
        if by_session
        else [len(block) * len(plan.sessions) for block in blocks]
    )
    whole = next((unit for unit, size in enumerate(sizes) if done[unit] < size), len(sizes))
    planned = sum(sizes)
    return PlayCounts(
        method=method,
        arm=arm,
        planned=planned,
        ended=sum(row.ended for row in rows),
        failed=sum(row.failed for row in rows),
        shares=tuple(sum(sizes[: unit + 1]) / planned for unit in range(len(sizes)) if planned),
        whole=whole,
        games=dict(Counter(game_of_item(item) for block in blocks for item in block for _ in plan.sessions)),
        items=None if by_session else frozenset(item for block in blocks[:whole] for item in block),
        repeats=frozenset(repeat for repeat, session in enumerate(plan.sessions) if session < whole)
        if by_session
        else None,
    )


def _ended_plays(connection: Readable, plan: _Plan) -> list[_EndedPlays]:
    items = [(item, number) for number, block in enumerate(plan.blocks) for item in block]
    rows = connection.execute(
        f"""
        WITH planned AS (SELECT unnest(CAST($1 AS VARCHAR[])) AS item, unnest(CAST($2 AS BIGINT[])) AS block)
        SELECT method, arm, game, block, repeat, count(*) FILTER (status = 'finished'),
               count(*) FILTER (status <> 'finished')
        FROM (SELECT method, arm, game, repeat, status, {ITEM} AS item FROM last_episodes)
            JOIN planned USING (item)
        WHERE repeat < $3 GROUP BY ALL""",
        [[item for item, _ in items], [block for _, block in items], len(plan.sessions)],
    ).fetchall()
    return [_EndedPlays(*row) for row in rows]


def _counted_by_totals(connection: Readable) -> Iterator[PlayCounts]:
    """Yields the counts of a store whose sweep rows do not name the planned items: its audit plan has their
    number.

    Such a store has no whole unit unless all plays have ended. A sweep without a comparison had no audit
    plan."""
    rows = connection.execute("SELECT plan_json FROM audit_plans ORDER BY run_id").fetchall()
    last = {name: plan for plan in (orjson.loads(text) for (text,) in rows) for name in plan["methods"]}
    totals = {
        (method, arm): (ended, failed)
        for method, arm, ended, failed in connection.execute(
            """SELECT method, arm, count(*) FILTER (status = 'finished'),
                   count(*) FILTER (status <> 'finished')
               FROM last_episodes GROUP BY ALL"""
        ).fetchall()
    }
    for method, plan in last.items():
        repeated = plan["audit"].get("again") and method in plan["references"].values()
        for arm in ("main", "again") if repeated else ("main",):
            ended, failed = totals.get((method, arm), (0, 0))
            yield PlayCounts(
                method=method,
                arm=arm,
                planned=plan["repeats"] * sum(game["items"] for game in plan["games"].values()),
                ended=ended,
                failed=failed,
                games={name: plan["repeats"] * game["items"] for name, game in plan["games"].items()},
                items=frozenset(),
            )


def _players(method: str) -> str:
    """Returns the methods of a play in alphabetical order, joined by +."""
    return "+".join(sorted(set(method.split("+"))))


def _open_plays(connection: Readable) -> Counter[str]:
    """Returns how many plays without a row were begun, by the methods that were called for them.

    A call does not name its arm: open plays of a reference and of its A/A replicate count for the reference.
    A play of two methods counts for the first of them until the second is called."""
    rows = connection.execute("""
        SELECT methods, count(*) FROM (
            SELECT string_agg(DISTINCT method, '+' ORDER BY method) AS methods
            FROM calls WHERE episode_id NOT IN (SELECT episode_id FROM last_episodes) GROUP BY episode_id)
        GROUP BY methods""").fetchall()
    return Counter(dict(rows))


def _settled(connection: Readable, methods: Iterable[str]) -> frozenset[str]:
    """Returns the methods whose last interim analysis was made, and the references of which all others'
    were."""
    rows = connection.execute("""
        SELECT reference, method, verdict <> 'INCONCLUSIVE' OR look = looks FROM looks
        QUALIFY row_number() OVER (PARTITION BY reference, method ORDER BY look DESC, "at" DESC) = 1
        """).fetchall()
    settled = {method for _, method, last in rows if last}
    references = {reference for reference, _, _ in rows}
    return frozenset(
        settled
        | {
            reference
            for reference in references
            if all(
                method in settled
                for method in methods
                if method != reference and _model(method) == _model(reference)
            )
        }
    )


def _model(method: str) -> str:
    return split_method_key(method.partition("+")[0])[0]

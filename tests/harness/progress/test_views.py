"""Snapshots of a run, their presentations and the counting behind them; on virtual time."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import anyio
from rich.console import Console

from harness.core.clock import LoopClock
from harness.core.records import EpisodeRecord
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
from harness.progress import notebook_bar
from harness.progress.event_loop_delay import DelayMonitor
from harness.progress.live_table import live
from harness.progress.meters import Meters, ScoreSum
from harness.progress.views import EVENT_PERIOD_S, PLAIN_PERIOD_S, LaneView, Progress
from harness.progress.words import plain_lines, score_line
from harness.scheduler.scheduler import Tally
from tests.harness.store.test_store import CALL, EPISODE
from tests.world import Rows, run

PRICED = CALL._replace(prompt_tokens=30, completion_tokens=10, cost_usd=0.01)


def lane(clock: LoopClock, name: str, tally: Tally, limits: GateLimits) -> LaneView:
    gate = Gate(name, limits, clock=clock, on_event=lambda kind, detail: None)
    return LaneView(name=name, planned=100, done_before=20, tally=tally, gate=gate)


def watching(rows: Rows, clock: LoopClock) -> tuple[Meters, Progress]:
    """Two access methods of one model: m/a with quotas and half done, m/b not begun."""
    meters = Meters(
        rows,
        clock,
        scores={
            ("m/a", "g"): ScoreSum(episodes=1, total=50.0),
            ("m/b", "g"): ScoreSum(episodes=2, total=100.0),
        },
    )
    lanes = [
        lane(
            clock,
            "m/a",
            Tally(finished=38, failed=2, score_sum=60.0, scored=2),
            GateLimits(concurrency=4, requests=60, tokens=9_000),
        ),
        lane(clock, "m/b", Tally(), GateLimits(concurrency=4)),
    ]
    delay = DelayMonitor(run_id="1", clock=clock, sink=rows)
    return meters, Progress(lanes, clock=clock, meters=meters, delay=delay, rows_behind=lambda: 7)


def test_a_pair_has_a_line_of_its_own() -> None:
    """It shows its episodes and its score; its calls are counted in its players' lines, its scores in no
    access method's."""

    async def scenario() -> tuple[str, list[str]]:
        clock, rows = LoopClock(), Rows()
        scores = {
            ("m/a", "g"): ScoreSum(episodes=1, total=50.0),
            ("m/a+n/b", "g"): ScoreSum(episodes=1, total=90.0),
        }
        meters = Meters(rows, clock, scores=scores)
        pair = LaneView(
            name="m/a+n/b",
            planned=10,
            done_before=2,
            tally=Tally(finished=3, score_sum=120.0, scored=3),
            gate=None,
        )
        snapshot = Progress(
            [pair],
            clock=clock,
            meters=meters,
            delay=DelayMonitor(run_id="1", clock=clock, sink=rows),
            rows_behind=int,
        ).snapshot()
        return plain_lines(snapshot)[0], [f"{one.model} {one.game} {one.spread}" for one in snapshot.games]

    line, games = run(scenario)
    assert line.startswith("method m/a+n/b, done 5/10, failed 0, open 0, not started 5, in flight -,")
    assert "score 40.0" in line
    assert games == ["m g None", "m/a+n/b g None"]


def test_a_notebook_has_a_bar_until_the_end() -> None:
    """Once a second, and once more when the run ends: the bar says what is done of how many."""

    async def scenario() -> list[str]:
        clock, rows, shown = LoopClock(), Rows(), list[str]()
        lane = LaneView(name="m/<b>", planned=10, done_before=2, tally=Tally(), gate=None)
        delay = DelayMonitor(run_id="1", clock=clock, sink=rows)
        progress = Progress(
            [lane], clock=clock, meters=Meters(rows, clock, scores={}), delay=delay, rows_behind=int
        )
        with anyio.move_on_after(2.5):
            await notebook_bar.live(progress, shown.append, clock=clock)
        return shown

    shown = run(scenario)
    assert len(shown) == 4
    assert all(line.startswith('<progress value="2" max="10"') for line in shown)
    assert shown[-1].endswith("</progress> all: done 2/10, to go -, errors 0, cost -")


def test_rates_are_the_last_minutes() -> None:
    """A call a second for two minutes is 60 a minute, half a minute later half of that; every row is handed
    on unchanged."""

    async def scenario() -> tuple[list[float], Rows]:
        clock, rows = LoopClock(), Rows()
        meters, found = Meters(rows, clock, scores={}), []
        for second in range(120):
            await meters.put(PRICED)
            if second == 9:
                found.append(meters.requests_a_minute("m/a"))
            await anyio.sleep(1)
        found += [meters.requests_a_minute("m/a"), meters.tokens_a_minute("m/a")]
        await anyio.sleep(30)
        found += [meters.requests_a_minute("m/a"), meters.requests_a_minute("m/other")]
        await anyio.sleep(60)
        return [*found, meters.requests_a_minute("m/a")], rows

    (early, minute, tokens, half, other, silent), rows = run(scenario)
    assert 60 <= early <= 70
    assert 59 <= minute <= 60
    assert tokens == 40 * minute
    assert 29 <= half <= 30
    assert (other, silent) == (0.0, 0.0)
    assert rows.all == [PRICED] * 120


def test_a_snapshot_holds_all_figures() -> None:
    """The lines show counts, limits, cost, errors, the time to go and mean scores, these as no sample while
    plays are open."""

    async def scenario() -> tuple[list[str], Progress]:
        clock, rows = LoopClock(), Rows()
        meters, progress = watching(rows, clock)
        await anyio.sleep(20)
        lost: EpisodeRecord = EPISODE._replace(outcome="aborted", score=None)
        await meters.put(
            PRICED,
            PRICED._replace(error_class="Unavailable", http_status=500, error_text="down", cost_usd=None),
            lost,
            EPISODE._replace(status="failed"),
        )
        return plain_lines(progress.snapshot()), progress

    (first, second, whole, scores, error, harness), _ = run(scenario)
    assert first == (
        "method m/a, done 60/100, failed 2, open 0, not started 40, in flight 0/4, queue 0, retrying 0,"
        " calls 2, errors 1, requests/min 6/60, tokens/min 240/9000, cost $0.01, score 30.0, to go -"
    )
    assert whole == "all: done 80/200, to go -, errors 1, cost $0.01"
    assert error == "m/a: last error: Unavailable (HTTP 500): down"
    assert second.endswith("requests/min 0, tokens/min 0, cost -, score -, to go -")
    assert scores == "mean scores so far (no fair sample: short episodes end first): m g 37.5"
    assert harness == "running for 20 s; event loop delay 0.0 ms (max 0.0 ms); 7 rows not written yet"


def test_a_pause_is_shown_with_its_end_and_its_cause() -> None:
    """In the lines and in the table, for a pause that a refusal asks for and for a spent quota; one that is
    nearly over is not shown."""

    async def scenario() -> tuple[list[str], str, list[str]]:
        clock, rows = LoopClock(), Rows()
        told = lane(clock, "m/a", Tally(), GateLimits(concurrency=4))
        spent = lane(clock, "m/b", Tally(), GateLimits(concurrency=4, requests=2))
        progress = Progress(
            [told, spent],
            clock=clock,
            meters=Meters(rows, clock, scores={}),
            delay=DelayMonitor(run_id="1", clock=clock, sink=rows),
            rows_behind=int,
        )
        screen = io.StringIO()
        async with anyio.create_task_group() as tasks:
            for one in (told, spent):
                assert one.gate is not None
                admission = await one.gate.enter(1.0, CallCost())
                refused = CallResult(kind="limited", retry_after_s=200.0, cause="HTTP 429")
                one.gate.leave(admission, refused if one is told else CallResult(kind="clean"))
                tasks.start_soon(one.gate.enter, 1.0, CallCost())
            await anyio.sleep(1.0)
            lines = plain_lines(progress.snapshot())
            with anyio.move_on_after(0.6):
                await live(
                    progress, clock=clock, console=Console(file=screen, width=120, force_terminal=True)
                )
            await anyio.sleep(196.0)
            late = plain_lines(progress.snapshot())
            tasks.cancel_scope.cancel()
        return lines, screen.getvalue(), late

    lines, screen, late = run(scenario)
    pauses = [line for line in lines if "no call before" in line]
    assert [line[:20] for line in pauses] == ["m/a: no call before ", "m/b: no call before "]
    assert pauses[0].endswith(" (HTTP 429)")
    assert pauses[1].endswith(" (a quota is spent)")
    assert all(line in screen for line in pauses)
    assert not any("m/a: no call before" in line for line in late)


def test_the_spread_of_scores_waits_for_the_end() -> None:
    """Once all plays have ended the line has the spread between access methods."""

    async def scenario() -> str:
        progress = watching(Rows(), LoopClock())[1]
        snapshot = progress.snapshot()
        ended = tuple(replace(lane, done=lane.planned) for lane in snapshot.methods)
        return score_line(replace(snapshot, methods=ended))

    assert run(scenario).endswith("over 2 access methods)")
    assert run(scenario).startswith("mean scores: m g ")


def test_many_games_leave_the_line_of_scores_readable() -> None:
    """The games with the most ended episodes, in their order, and the number of the others; in a window as
    many as fit, and no line where none does."""

    async def scenario() -> list[str]:
        snapshot = watching(Rows(), LoopClock())[1].snapshot()
        (game,) = snapshot.games
        games = tuple(replace(game, game=f"g{number}", episodes=number % 100) for number in range(170))
        many = replace(snapshot, games=games)
        return [
            score_line(many),
            score_line(many, 100),
            score_line(many, 60),
            score_line(replace(many, games=())),
        ]

    whole, narrow, narrower, without = run(scenario)
    assert len(whole) < 200
    assert re.findall(r" g(\d+) ", whole) == [str(number) for number in range(92, 100)]
    assert whole.endswith("; and 162 more")
    assert len(narrow) <= 100
    assert re.findall(r" g(\d+) ", narrow) == ["98", "99"]
    assert narrow.endswith("; and 168 more")
    assert (narrower, without) == ("", "")


def test_lines_table_and_events_show_the_same() -> None:
    """A pipe gets lines, a terminal a table, a program JSON events; each goes on until it is cancelled."""

    async def scenario() -> tuple[list[str], str, str, list[str]]:
        clock = LoopClock()
        _, progress = watching(Rows(), clock)
        plain: list[str] = []
        terminal, narrow, events = io.StringIO(), io.StringIO(), []
        with anyio.move_on_after(2.5 * PLAIN_PERIOD_S):
            await progress.lines(plain.append)
        with anyio.move_on_after(1.0):
            await live(progress, clock=clock, console=Console(file=terminal, width=200, force_terminal=True))
        with anyio.move_on_after(1.0):
            await live(progress, clock=clock, console=Console(file=narrow, width=80, force_terminal=True))
        await live(
            progress, clock=clock, console=Console(file=terminal, force_terminal=False)
        )  # which is none, so there is no waiting
        with anyio.move_on_after(3.5 * EVENT_PERIOD_S):
            await progress.events(lambda event: events.append(json.dumps(event)))
        return plain, terminal.getvalue(), narrow.getvalue(), events

    plain, terminal, narrow, events = run(scenario)
    assert sum(line.startswith("method m/a, done 60/100") for line in plain) == 2
    assert "tokens/min" in terminal
    assert "60/100" in terminal
    assert "tokens/min" not in narrow
    assert all(name in narrow for name in ("  a", "60/100", "in flight", "errors", "score", "to go"))
    assert "…" not in narrow
    assert len(events) == 3
    assert json.loads(events[0])["methods"][0]["limits"] == {"requests": 60.0, "tokens": 9000.0}

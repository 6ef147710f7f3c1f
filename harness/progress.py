"""What a person sees while a sweep runs: a live table on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.core.protocols import Clock
from harness.engine.scheduler import Tally
from harness.limits.gate import Gate

TERMINAL_PERIOD_S = 0.5
PLAIN_PERIOD_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """What is shown of one access method. done_before: episodes that the store held when the run began."""

    name: str
    planned: int
    done_before: int
    tally: Tally
    gate: Gate


class Progress:
    """Shows lanes; `watch` runs until it is cancelled."""

    def __init__(self, lanes: Sequence[LaneView], *, clock: Clock, console: Console, rows_behind: Callable[[], int]) -> None:
        self._lanes = lanes
        self._clock = clock
        self._console = console
        self._rows_behind = rows_behind
        self._began = clock.now()

    async def watch(self) -> None:
        if not self._console.is_terminal:
            while True:
                await self._clock.sleep(PLAIN_PERIOD_S)
                for line in self.lines():
                    self._console.print(line, highlight=False, soft_wrap=True)
        with Live(self._table(), console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                await self._clock.sleep(TERMINAL_PERIOD_S)
                live.update(self._table(), refresh=True)

    def lines(self) -> list[str]:
        """One plain line a lane."""
        return [", ".join(f"{name} {value}" for name, value in self._cells(lane).items()) for lane in self._lanes]

    def _table(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0))
        rows = [self._cells(lane) for lane in self._lanes]
        for name in rows[0] if rows else ():
            table.add_column(name, justify="left" if name == "method" else "right")
        for row in rows:
            table.add_row(*row.values())
        elapsed_s = self._clock.now() - self._began
        return Group(table, Text(f"{elapsed_s:.0f} s; {self._rows_behind()} rows on their way to the store", style="dim"))

    def _cells(self, lane: LaneView) -> Mapping[str, str]:
        tally, gate = lane.tally, lane.gate.statistics()
        elapsed_s = max(self._clock.now() - self._began, 1e-9)
        ended = tally.finished + tally.failed
        left = lane.planned - lane.done_before - ended
        mean = f"{tally.score_sum / tally.scored:.1f}" if tally.scored else "-"
        return {
            "method": lane.name,
            "done": f"{lane.done_before + ended}/{lane.planned}",
            "failed": str(tally.failed),
            "in flight": f"{gate.in_flight}/{gate.window}",
            "queue": str(gate.waiting),
            "retrying": str(gate.resting),
            "calls": str(gate.calls),
            "calls/s": f"{gate.calls / elapsed_s:.1f}",
            "score": mean,
            "to go": _duration(left * elapsed_s / ended) if ended and left else ("-" if left else "done"),
        }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""Shows a running sweep on a terminal: the snapshots as a table that changes in place.

Keeps: a number is never cut, and nothing is wider or higher than the window. Where it is too small, columns
are left out, names are cut in the middle, methods that are done share a row, and of the others those in
trouble and those that end last are shown. Below WIDTH_TABLE columns each method has one short line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.core.protocols import Clock
from harness.core.short_texts import middle_cut
from harness.core.vocabulary import model_of
from harness.progress.snapshot import LaneSnapshot, ProgressSnapshot
from harness.progress.views import Progress
from harness.progress.words import all_cells, all_line, cells, harness_line, score_line, to_go, trouble

PERIOD_S = 0.5  # often enough to look live; a drawing takes milliseconds
GAP = 2  # characters between columns
WIDTH_TABLE = 50  # characters; a narrower window has no room for a table
NAME_MIN = 12  # characters of a method's name, at least
TROUBLE_LINES = 4
COLUMNS = ("method", "done", "to go", "errors", "score", "cost", "in flight", "requests/min", "failed")
DROPPED_FIRST = ("failed", "requests/min", "cost", "in flight", "score", "errors")  # in a narrow window
ADDED_LAST = ("queue", "open", "not started", "retrying", "calls", "tokens/min")  # in a wide one
STYLES = {"error": "red", "wait": "yellow"}


async def live(progress: Progress, *, clock: Clock, console: Console | None = None) -> None:
    """Shows the table until cancelled. Returns at once on a terminal that cannot change text in place (rich
    decides, by TERM).

    console   None: on stderr"""
    shown = console or Console(stderr=True, markup=False, emoji=False)  # names may have [ and :
    if not shown.is_terminal or shown.is_dumb_terminal:
        return

    def drawn() -> Group:
        return drawing(progress.snapshot(), width=shown.width, height=shown.height)

    with Live(drawn(), console=shown, auto_refresh=False, transient=True, vertical_overflow="crop") as view:
        while True:
            await clock.sleep(PERIOD_S)
            view.update(drawn(), refresh=True)


def drawing(snapshot: ProgressSnapshot, *, width: int, height: int) -> Group:
    """Returns the snapshot as lines that fit into a window of this size."""
    below = [Text(one.line(width), style=STYLES[one.kind]) for one in list(trouble(snapshot))[:TROUBLE_LINES]]
    if scores := score_line(snapshot, width):
        below.append(Text(scores))
    below.append(Text(harness_line(snapshot, width), style="dim"))
    rows = max(3, height - len(below) - 2)
    if width < WIDTH_TABLE:
        return Group(*_short_lines(snapshot, width, rows), *below)
    whole = Text(all_line(snapshot, width), style="bold")
    return Group(_table(snapshot, width, rows - 2), whole, *below)


def _table(snapshot: ProgressSnapshot, width: int, rows: int) -> Table:
    """Returns the methods grouped by model, and a row for those that are not shown."""
    shown, done, others = _chosen(snapshot.methods, rows)
    lines = _grouped(shown)
    texts = [texts for _, texts, _ in lines] + [all_cells(snapshot)]
    columns, name_width = _fitting(texts, width)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for title, of_lane, lane in lines:
        cut = {**of_lane, "method": middle_cut(title, name_width)}
        table.add_row(*(_cell(name, cut.get(name, ""), lane) for name in columns), style=_row_style(lane))
    for words, folded in ((f"{len(done)} done", done), (f"{len(others)} more", others)):
        if folded:
            summed = {**all_cells(_of(snapshot, folded)), "method": words, "to go": ""}
            table.add_row(*(summed[name] for name in columns), style="dim")
    return table


def _of(snapshot: ProgressSnapshot, lanes: Sequence[LaneSnapshot]) -> ProgressSnapshot:
    return ProgressSnapshot(
        at=snapshot.at,
        elapsed_s=snapshot.elapsed_s,
        lag_s=0.0,
        lag_s_max=0.0,
        rows_behind=0,
        methods=tuple(lanes),
        games=(),
    )


def _chosen(
    lanes: Sequence[LaneSnapshot], rows: int
) -> tuple[list[LaneSnapshot], list[LaneSnapshot], list[LaneSnapshot]]:
    """Returns the lanes to show, in their order, those that are done and those that are left out.

    While everything fits, everything is shown. Each model takes a row too."""
    models = len({_model(lane) for lane in lanes})
    if len(lanes) + models <= rows:
        return list(lanes), [], []
    playing = [lane for lane in lanes if not lane.is_done]
    done = [lane for lane in lanes if lane.is_done]
    by_need = sorted(playing, key=lambda lane: (not _in_trouble(lane), -(lane.to_go_s or 0.0)))
    taken: list[LaneSnapshot] = []
    for lane in by_need:
        kept = [*taken, lane]
        if len(kept) + len({_model(one) for one in kept}) > rows - 2:
            break
        taken = kept
    return [lane for lane in lanes if lane in taken], done, [lane for lane in playing if lane not in taken]


def _grouped(lanes: Sequence[LaneSnapshot]) -> list[tuple[str, Mapping[str, str], LaneSnapshot | None]]:
    """Returns (title, cells, lane) of each row: a model's name before its methods, where it has several."""
    rows: list[tuple[str, Mapping[str, str], LaneSnapshot | None]] = []
    models = list(dict.fromkeys(map(_model, lanes)))
    for model in models:
        of_model = [lane for lane in lanes if _model(lane) == model]
        if len(of_model) == 1:
            rows.append((of_model[0].method, cells(of_model[0]), of_model[0]))
            continue
        rows.append((model, {"method": model}, None))
        rows += [(f"  {lane.method.removeprefix(f'{model}/')}", cells(lane), lane) for lane in of_model]
    return rows


def _model(lane: LaneSnapshot) -> str:
    return model_of(lane.method)


def _fitting(texts: Sequence[Mapping[str, str]], width: int) -> tuple[list[str], int]:
    """Returns the columns that fit into the width, and the width of the names."""
    widths = {
        name: max(len(name), *(len(row.get(name, "")) for row in texts)) + GAP
        for name in (*COLUMNS, *ADDED_LAST)
    }
    whole_names = widths.pop("method")
    columns = list(COLUMNS)
    for name in DROPPED_FIRST:
        if sum(widths[column] for column in columns[1:]) + NAME_MIN + GAP > width:
            columns.remove(name)
    for name in ADDED_LAST:
        if sum(widths[column] for column in [*columns[1:], name]) + whole_names <= width:
            columns.append(name)
    return columns, max(NAME_MIN, width - GAP - sum(widths[column] for column in columns[1:]))


def _short_lines(snapshot: ProgressSnapshot, width: int, rows: int) -> list[Text]:
    """Returns one line for each method: name, done, score, time to go; and one for all."""
    lanes = [lane for lane in snapshot.methods if not lane.is_done] or list(snapshot.methods)
    by_need = sorted(lanes, key=lambda lane: (not _in_trouble(lane), -(lane.to_go_s or 0.0)))
    shown = [lane for lane in lanes if lane in by_need[: max(1, rows - 2)]]
    lines = []
    for lane in shown:
        texts = cells(lane)
        figures = f"{texts['done']} {texts['score']} {texts['to go']}"
        name = middle_cut(lane.method, max(4, width - len(figures) - 1))
        lines.append(Text(f"{name:<{max(4, width - len(figures) - 1)}} {figures}", style=_row_style(lane)))
    if len(shown) < len(snapshot.methods):
        lines.append(Text(f"and {len(snapshot.methods) - len(shown)} more", style="dim"))
    whole = all_cells(snapshot)
    lines.append(
        Text(f"all {whole['done']} {to_go(snapshot)} {whole['errors']} err {whole['cost']}", style="bold")
    )
    return lines


def _in_trouble(lane: LaneSnapshot) -> bool:
    return lane.is_stalled or lane.closed is not None or lane.failed > 0


def _row_style(lane: LaneSnapshot | None) -> str:
    if lane is None:
        return "bold"
    if lane.is_stalled or (lane.closed is not None and not lane.is_done):
        return "red"
    return "green" if lane.is_done else ""


def _cell(name: str, text: str, lane: LaneSnapshot | None) -> Text:
    troubled = lane is not None and ((name == "errors" and lane.errors) or (name == "failed" and lane.failed))
    return Text(text, style="red" if troubled else "")

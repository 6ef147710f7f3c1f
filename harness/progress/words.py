"""Presents a snapshot in words: the cells of a table, lines for a log, what is wrong and what is waited for.

Pure: the same snapshot gives the same words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from harness.core.short_texts import clock_duration, cut_end, middle_cut
from harness.progress.meters import ErrorCount
from harness.progress.snapshot import GameSnapshot, LaneSnapshot, ProgressSnapshot

PAUSE_SHOWN_S = 5.0  # shorter ones are over before they are read
HALF_DAY_S = 43_200.0
ERROR_TEXT = 120  # characters of a provider's words
NAMES_SHOWN = 2  # of the methods that share a gate
GAMES_SHOWN = 8  # in the line of mean scores: one line of a log stays readable


def plain_lines(snapshot: ProgressSnapshot) -> list[str]:
    """Returns one line for each access method, one for all, one for the scores, those of trouble, and one for
    the harness itself."""
    lines = [", ".join(_named(*cell) for cell in cells(lane).items()) for lane in snapshot.methods]
    if len(snapshot.methods) > 1:
        lines.append(all_line(snapshot))
    if snapshot.games:
        lines.append(score_line(snapshot))
    return [*lines, *(one.line() for one in trouble(snapshot)), harness_line(snapshot)]


def _named(name: str, value: str) -> str:
    """Returns a cell with its name; a word in the place of a time speaks for itself."""
    return value if name == "to go" and value.isalpha() else f"{name} {value}"


def cells(lane: LaneSnapshot) -> Mapping[str, str]:
    """Returns the texts of a lane by column."""
    tokens = (
        lane.limits.get("tokens")
        or sum(lane.limits.get(name, 0.0) for name in ("input_tokens", "output_tokens"))
        or None
    )
    return {
        "method": lane.method,
        "done": f"{lane.done}/{lane.planned}",
        "failed": str(lane.failed),
        "open": str(lane.open),
        "not started": str(lane.never_begun),
        "in flight": f"{lane.in_flight}/{lane.window}" if lane.window else "-",
        "queue": str(lane.queue),
        "retrying": str(lane.retrying),
        "calls": str(lane.calls),
        "errors": str(lane.errors),
        "requests/min": _of_limit(lane.requests_a_minute, lane.limits.get("requests")),
        "tokens/min": _of_limit(lane.tokens_a_minute, tokens),
        "cost": money(lane.cost_usd),
        "score": "-" if lane.score is None else f"{lane.score:.1f}",
        "to go": _lane_to_go(lane),
    }


def all_cells(snapshot: ProgressSnapshot) -> Mapping[str, str]:
    """Returns the texts of the row that sums up all lanes."""
    lanes = snapshot.methods
    costs = [lane.cost_usd for lane in lanes if lane.cost_usd is not None]
    return {
        "method": "all",
        "done": f"{sum(lane.done for lane in lanes)}/{sum(lane.planned for lane in lanes)}",
        "failed": str(sum(lane.failed for lane in lanes)),
        "open": str(sum(lane.open for lane in lanes)),
        "not started": str(sum(lane.never_begun for lane in lanes)),
        "in flight": str(_over_gates(lanes, "in_flight")),
        "queue": str(_over_gates(lanes, "queue")),
        "retrying": str(_over_gates(lanes, "retrying")),
        "calls": str(sum(lane.calls for lane in lanes)),
        "errors": str(sum(lane.errors for lane in lanes)),
        "requests/min": f"{sum(lane.requests_a_minute for lane in lanes):.0f}",
        "tokens/min": f"{sum(lane.tokens_a_minute for lane in lanes):.0f}",
        "cost": money(sum(costs) if costs else None),
        "score": "",
        "to go": to_go(snapshot),
    }


def _over_gates(lanes: Sequence[LaneSnapshot], name: str) -> int:
    """Returns the sum of a gate's figure, each gate counted once."""
    return sum({lane.gate: int(getattr(lane, name)) for lane in lanes}.values())


def all_line(snapshot: ProgressSnapshot, width: int | None = None) -> str:
    """Returns the sum of all lanes: episodes, time to the end, errors, cost; as much as fits into a width."""
    texts = all_cells(snapshot)
    time = f"to go {texts['to go']}"
    if snapshot.to_go_low_s is not None and snapshot.to_go_high_s is not None and snapshot.to_go_s:
        time += f" ({clock_duration(snapshot.to_go_low_s)} to {clock_duration(snapshot.to_go_high_s)})"
    parts = [f"all: done {texts['done']}", time, f"errors {texts['errors']}", f"cost {texts['cost']}"]
    return _fitting(parts, ", ", width)


def _fitting(parts: Sequence[str], between: str, width: int | None) -> str:
    """Returns the first parts that fit into the width, joined: a number is never cut."""
    count = len(parts)
    while width is not None and count > 1 and len(between.join(parts[:count])) > width:
        count -= 1
    return between.join(parts[:count])


def to_go(snapshot: ProgressSnapshot) -> str:
    """Returns the time to the end of the run."""
    if all(lane.is_done for lane in snapshot.methods):
        return "done"
    return "-" if snapshot.to_go_s is None else clock_duration(snapshot.to_go_s)


def _lane_to_go(lane: LaneSnapshot) -> str:
    if lane.is_done:
        return "done"
    if lane.closed is not None:
        return "stopped"
    if lane.is_stalled:
        return "stalled"
    return "-" if lane.to_go_s is None else clock_duration(lane.to_go_s)


def money(usd: float | None) -> str:
    return "-" if usd is None else f"${usd:.2f}"


def _of_limit(rate: float, limit: float | None) -> str:
    return f"{rate:.0f}" if limit is None else f"{rate:.0f}/{limit:.0f}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong, or waited for: the name that it is about, a line, and "error" or "wait"."""

    name: str
    text: str
    kind: str

    def line(self, width: int | None = None) -> str:
        """Returns the line; in a narrow window with its name cut in the middle."""
        if width is None:
            return self.text.format(name=self.name)
        room = max(width // 3, width - len(self.text.format(name="")))
        return cut_end(self.text.format(name=middle_cut(self.name, room)), width)


def trouble(snapshot: ProgressSnapshot) -> Iterator[Trouble]:
    """Yields what is wrong and what is waited for."""
    for lane in snapshot.methods:
        if lane.is_stalled and lane.last_error is not None:
            failed = f"{lane.errors} of {lane.calls} calls failed"
            yield Trouble(
                lane.method,
                "{name}: " + _literal(f"stalled: {failed}; {error_text(lane.last_error)}"),
                "error",
            )
        elif lane.last_error is not None:
            yield Trouble(
                lane.method, "{name}: " + _literal(f"last error: {error_text(lane.last_error)}"), "error"
            )
    pauses = {lane.gate: lane for lane in snapshot.methods if lane.paused_until is not None}
    for gate, lane in pauses.items():
        if lane.paused_until is not None and lane.paused_until >= snapshot.at + PAUSE_SHOWN_S:
            until = local_time(lane.paused_until, snapshot.at)
            yield Trouble(
                gate_name(gate), "{name}: " + _literal(f"no call before {until} ({lane.pause_cause})"), "wait"
            )
    for slow in snapshot.slow:
        calls = "1 call" if slow.calls == 1 else f"{slow.calls} calls"
        yield Trouble(slow.method, f"waiting {slow.seconds:.0f} s for {calls} of {{name}}", "wait")


def local_time(moment: float, now: float) -> str:
    """Returns a moment in seconds since 1970 as a local time, with the date where that is needed."""
    form = "%H:%M:%S" if moment - now < HALF_DAY_S else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(moment).astimezone().strftime(form)


def _literal(text: str) -> str:
    """Returns the text for str.format: a provider's words may hold braces."""
    return text.replace("{", "{{").replace("}", "}}")


def error_text(error: ErrorCount) -> str:
    """Returns an error with its class, its HTTP status, how many of its kind there were, and the provider's
    words."""
    status = f"HTTP {error.status}" if error.status is not None else ""
    known = "; ".join(filter(None, [status, f"{error.count} such errors" if error.count > 1 else ""]))
    text = " ".join(error.text.split()).removeprefix(f"{status}: ")
    return f"{error.error_class}{known and f' ({known})'}: {cut_end(text, ERROR_TEXT)}"


def gate_name(methods: str) -> str:
    """Returns a short name of a gate, from the methods that share it, which spaces separate."""
    names = methods.split(" ")
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown


def score_line(snapshot: ProgressSnapshot, width: int | None = None) -> str:
    """Returns the mean scores of the games with the most ended episodes, and how many other games there are.

    A mean is over the access methods; once all plays have ended, their spread stands beside it. Before, short
    plays have ended and long ones have not, in unequal numbers: a spread would compare these.

    width   fewer games are shown where the line would be longer; empty if not even one fits"""
    unfinished = any(lane.done < lane.planned for lane in snapshot.methods)
    so_far = " so far (no fair sample: short episodes end first)" if unfinished else ""
    by_episodes = sorted(snapshot.games, key=lambda game: -game.episodes)
    for count in range(min(GAMES_SHOWN, len(by_episodes)), 0, -1):
        texts = [_game_score(game, unfinished) for game in snapshot.games if game in by_episodes[:count]]
        others = len(snapshot.games) - count
        more = f"; and {others} more" if others else ""
        line = f"mean scores{so_far}: {'; '.join(texts)}{more}"
        if width is None or len(line) <= width:
            return line
    return ""


def _game_score(game: GameSnapshot, unfinished: bool) -> str:
    spread = (
        ""
        if game.spread is None or unfinished
        else f" (spread {game.spread:.1f} over {len(game.points)} access methods)"
    )
    return f"{game.model} {game.game} {sum(game.points.values()) / len(game.points):.1f}{spread}"


def harness_line(snapshot: ProgressSnapshot, width: int | None = None) -> str:
    """Returns how the harness itself is doing; as much as fits into a width."""
    delay = f"event loop delay {1e3 * snapshot.lag_s:.1f} ms (max {1e3 * snapshot.lag_s_max:.1f} ms)"
    parts = [f"running for {snapshot.elapsed_s:.0f} s", delay, f"{snapshot.rows_behind} rows not written yet"]
    return _fitting(parts, "; ", width)

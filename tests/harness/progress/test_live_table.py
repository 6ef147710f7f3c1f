"""The table of a running sweep in windows of every size."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from harness.core.short_texts import middle_cut
from harness.progress.end_estimate import SlowCalls
from harness.progress.live_table import drawing
from harness.progress.meters import ErrorCount
from harness.progress.snapshot import LaneSnapshot, ProgressSnapshot

BOOM = ErrorCount(error_class="Unavailable", status=500, text="boom", count=17)
LANE = LaneSnapshot(
    method="m/a",
    planned=165,
    done=41,
    failed=0,
    open=4,
    never_begun=120,
    in_flight=4,
    window=8,
    queue=2,
    retrying=0,
    calls=12_345,
    errors=0,
    requests_a_minute=1373.0,
    tokens_a_minute=82_400.0,
    limits={"requests": 12_000.0},
    cost_usd=1.25,
    score=90.2,
    to_go_s=73.0,
)


def sweep(methods: int, *, done: int = 0) -> ProgressSnapshot:
    """Returns a sweep of methods with long names; the first ones are done, the last one is stalled."""
    lanes = [
        replace(
            LANE,
            method=f"Meta-Llama-3.1-405B-Instruct-Turbo-{number // 3}/provider-with-a-long-name-{number}",
            gate=f"gate-{number}",
            done=165 if number < done else 41,
            to_go_s=float(number),
        )
        for number in range(methods)
    ]
    lanes[-1] = replace(lanes[-1], calls=17, errors=17, score=None, last_error=BOOM)
    return ProgressSnapshot(
        at=0.0,
        elapsed_s=60.0,
        lag_s=0.001,
        lag_s_max=0.002,
        rows_behind=3,
        methods=tuple(lanes),
        games=(),
        to_go_s=192.0,
        to_go_low_s=160.0,
        to_go_high_s=250.0,
        slow=(SlowCalls(method=lanes[0].method, calls=2, seconds=47.0),),
    )


def drawn(snapshot: ProgressSnapshot, *, width: int, height: int = 24, colour: bool = False) -> str:
    text = io.StringIO()
    console = Console(
        file=text,
        width=width,
        height=height,
        force_terminal=colour,
        color_system="standard" if colour else None,
    )
    console.print(drawing(snapshot, width=width, height=height))
    return text.getvalue()


@pytest.mark.parametrize("width", [38, 50, 62, 80, 100, 120, 180, 200])
@pytest.mark.parametrize("methods", [1, 4, 30])
def test_nothing_is_wider_or_higher_than_the_window(width: int, methods: int) -> None:
    """Every line fits, every number is whole, the sum and the time to the end are there."""
    text = drawn(sweep(methods), width=width)
    lines = text.splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= width
    assert not re.findall(r"\d…|…\d+/|\d+/\d*…", re.sub(r"\S*[A-Za-z]\S*", "", text))
    assert f"{41 * methods}/{165 * methods}" in text
    assert "3:12" in text


def test_rows_can_be_told_from_each_other() -> None:
    """Methods of one model stand under its name, with the ends of their own."""
    text = drawn(sweep(6), width=62)
    assert all(f"{number} " in text for number in range(6))
    assert len({line for line in text.splitlines() if "41/165" in line}) == 6
    assert middle_cut("provider-with-a-long-name-17", 12) == "provid…me-17"


def test_done_methods_share_a_row_when_there_is_no_room() -> None:
    """Twenty-four lines for thirty methods: the stalled one, those that end last, a row for the others."""
    text = drawn(sweep(30, done=12), width=100)
    assert "12 done" in text
    assert "stalled" in text
    assert "name-28" in text
    assert re.search(r"\d+ more", text)


def test_trouble_has_a_colour_and_a_cause() -> None:
    """A method whose every call failed says so, with class, status and count; slow calls are counted."""
    plain = drawn(sweep(2), width=200)
    assert "stalled: 17 of 17 calls failed; Unavailable (HTTP 500; 17 such errors): boom" in plain
    assert "waiting 47 s for 2 calls of Meta-Llama" in plain
    assert "to go 3:12 (2:40 to 4:10)" in plain
    coloured = drawn(sweep(2), width=200, colour=True)
    assert "\x1b[31m" in coloured
    assert "\x1b[33m" in coloured

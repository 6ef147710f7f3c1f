"""Engines that do not fit on this machine together take turns, one whole session at a time."""

from __future__ import annotations

from pathlib import Path

from harness.access.engine_turns import (
    Capacity,
    Server,
    divide,
    engine_turns,
    memory_of,
    servers_of_lanes,
    this_capacity,
)
from harness.commands.arguments import load
from harness.config.load import parse_sweep
from harness.core.event_loop import run_async
from harness.running.prepare import LanePlan, RunOptions
from harness.running.run_sweep import run_sweep
from tests.bots import rows
from tests.harness.running.test_sessions import context, plan_of, sweep

ENGINES = """
name = "s"
[games.taboo]
items = 4
[models.m.methods]
a.engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "bfloat16" }
held.engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "bfloat16" }
held.constrain = true
b.engine = { kind = "vllm", weights = "bundled:qwen2.5-coder-1.5b-instruct", dtype = "float32" }
c.engine = { kind = "llamacpp", weights = "bundled:qwen2.5-coder-1.5b-instruct", quantisation = "Q8_0" }
bots.bots = {}
behind.emulator = { behind = "m/c" }
[[pairs]]
seats = ["m/a", "m/c"]
"""


def servers_of(text: str) -> dict[str, frozenset[Server]]:
    spec = parse_sweep(text, source="s.toml", known_games=["taboo"])
    return servers_of_lanes(spec, spec.seatings(), source=Path("s.toml"))


def test_which_servers_a_lane_needs() -> None:
    """Methods of one engine share its server; a pair needs those of both seats, an emulator the one behind
    it, bots none."""
    servers = servers_of(ENGINES)
    assert servers["m/a"] == servers["m/held"] != servers["m/b"]
    assert servers["m/behind"] == servers["m/c"]
    assert servers["m/a+m/c"] == servers["m/a"] | servers["m/c"]
    assert servers["m/bots"] == frozenset()


def test_the_memory_of_a_server_is_near_the_measured_one() -> None:
    """The measured figures are 4.5, 2.7 (Q4_K_M) and 1.0 GB; eight bits take more than four."""
    servers = servers_of(ENGINES)
    memory = {name: sum(map(memory_of, servers[name])) for name in ("m/a", "m/b", "m/c")}
    assert 4.0 < memory["m/a"] < 5.0
    assert 12.0 < memory["m/b"] < 15.0
    assert 4.0 < memory["m/c"] < 6.0


def test_lanes_join_the_first_turn_with_room() -> None:
    """Memory decides, then the number; what would not fit alone has its own turn; the file's order stays."""
    servers = servers_of(ENGINES)
    lanes = list(servers)
    roomy = Capacity(memory_gb=100, engines=9)
    assert divide(lanes, servers, roomy) == (tuple(lanes),)
    (with_c,) = servers["m/c"]

    def of_one_each(server: Server) -> float:
        return 3.0 if server == with_c else 2.0

    assert divide(lanes, servers, Capacity(memory_gb=4, engines=9), of_one_each) == (
        ("m/a", "m/held", "m/b", "m/bots"),
        ("m/c", "m/behind"),
        ("m/a+m/c",),
    )
    assert divide(lanes, servers, Capacity(memory_gb=100, engines=1), of_one_each) == (
        ("m/a", "m/held", "m/bots"),
        ("m/b",),
        ("m/c", "m/behind"),
        ("m/a+m/c",),
    )
    assert divide(lanes, servers, Capacity(memory_gb=1, engines=9), of_one_each) == (
        ("m/a", "m/held", "m/bots"),
        ("m/b",),
        ("m/c", "m/behind"),
        ("m/a+m/c",),
    )


def test_turns_play_a_whole_session_each(tmp_path: Path) -> None:
    """With one lane a turn, every lane ends the first session before any begins the second; nothing is played
    twice, and what a turn leaves for later is named."""
    path = sweep(tmp_path, gap="0s")
    lines: list[str] = []

    def one(lanes: tuple[LanePlan, ...]) -> tuple[LanePlan, ...]:
        return lanes[:1]

    spec = load(path)
    end = run_async(lambda: run_sweep(spec, context(path, lines), RunOptions(first_turn=one)))
    assert (end.finished, end.failed, end.pending, end.interrupted) == (24, 0, 0, False)
    store = path.with_suffix(".duckdb")
    turns = "SELECT run_id, session, method, count(*) FROM episodes GROUP BY ALL ORDER BY ALL"
    assert rows(store, turns) == [
        ("0001", 0, "m/a", 4),
        ("0002", 0, "m/b", 4),
        ("0003", 0, "other/c", 4),
        ("0004", 1, "m/a", 4),
        ("0005", 1, "m/b", 4),
        ("0006", 1, "other/c", 4),
    ]
    assert (
        "engines take turns, because they do not fit on this machine together: now m/a; later m/b, other/c"
        in lines
    )
    assert plan_of(path).lanes == ()


def test_failed_episodes_are_tried_once_a_run(tmp_path: Path) -> None:
    """A lane that plays its failed episodes again, and fails again, does not get the next turn too."""
    more = 'd.base_url = "http://127.0.0.1:9/v1"'
    path = sweep(tmp_path, repeats=1, sessions=1, gap="0s", more=more)
    lines: list[str] = []
    spec, options = load(path), RunOptions(retry_failed=True, first_turn=lambda lanes: lanes[-1:])
    end = run_async(lambda: run_sweep(spec, context(path, lines), options))
    assert end.finished == 12
    assert end.pending == 4
    assert "other/d" in end.closings


def test_interim_analyses_keep_all_lanes_in_one_turn() -> None:
    """They compare methods while these play; so do sweeps with fewer than two engines."""

    def turns_of(text: str) -> int:
        spec = parse_sweep(text, source="s.toml", known_games=["taboo"])
        return len(engine_turns(spec, spec.seatings(), source=Path("s.toml"), engines_max=1))

    one, *_ = ENGINES.split("b.engine")
    two, *_ = ENGINES.split("c.engine")
    assert turns_of(ENGINES) == 4
    assert turns_of(two) == 2
    assert turns_of(ENGINES.replace("[models", '[audit]\nstop = "early"\n[models', 1)) == 1
    assert turns_of(one) == 1


def test_the_number_of_engines_is_what_the_user_says() -> None:
    """Their memory is a share of what is free."""
    found = this_capacity(3)
    assert found.engines == 3
    assert found.memory_gb > 0

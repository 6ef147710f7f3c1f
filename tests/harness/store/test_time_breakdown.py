"""Tests of the use of wall time: by hand, by brute force, and in runs with a planted bottleneck."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import anyio
import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import RateLimited
from harness.core.records import CallRecord, GateEvent, MethodRecord, PulseRecord, Record
from harness.limits.gate import GateLimits
from harness.store import schema
from harness.store.reader import MethodTime, time_by_method
from harness.store.writer import write_batch
from tests.harness.store.test_store import CALL
from tests.world import Counter, World, plan, run

METHOD = MethodRecord(
    run_id="1",
    method="m/a",
    model="m",
    provider="p",
    dialect="d",
    base_url="",
    served_model="m",
    sampling_json="{}",
    constrain=False,
    concurrency=4,
    engine_json=None,
)


@pytest.fixture(scope="module")
def store() -> Iterator[duckdb.DuckDBPyConnection]:
    """A store in memory."""
    with duckdb.connect() as connection:
        for statement in schema.statements():
            connection.execute(statement)
        yield connection


def times(store: duckdb.DuckDBPyConnection, rows: Sequence[Record]) -> list[MethodTime]:
    """Returns the times of these rows alone."""
    for table in schema.TABLES.values():
        store.execute(f"DELETE FROM {table}")
    write_batch(store, Path(":memory:"), list(rows))
    return time_by_method(store)


def try_(
    episode: str,
    turn: int,
    ready: float,
    *,
    place: float = 0,
    rest: float = 0,
    quota: float = 0,
    latency: float = 1,
    number: int = 0,
) -> CallRecord:
    waited = place + rest + quota
    return CALL._replace(
        episode_id=episode,
        turn=turn,
        try_number=number,
        queue_s=waited,
        quota_s=quota,
        rest_s=rest,
        latency_s=latency,
        sent_at=ready + waited,
    )


def by_brute_force(calls: Sequence[CallRecord], pulses: Sequence[PulseRecord], places: int) -> list[float]:
    """Computes the definition moment by moment: provider, quota, backing off, own CPU, starved."""
    spans: list[tuple[str, float, float]] = []
    ordered = sorted(calls, key=lambda call: (call.episode_id, call.turn, call.try_number))
    for call, after in zip(ordered, [*ordered[1:], None], strict=True):
        quota_s, rest_s = call.quota_s or 0.0, call.rest_s or 0.0
        answered = call.sent_at + call.latency_s
        late_s = min(next((pulse.lag_s for pulse in pulses if pulse.at >= answered), 0.0), call.latency_s)
        spans += [
            ("place", call.sent_at - call.queue_s, call.sent_at - quota_s - rest_s),
            ("rest", call.sent_at - quota_s - rest_s, call.sent_at - quota_s),
            ("quota", call.sent_at - quota_s, call.sent_at),
            ("flight", call.sent_at, answered - late_s),
            ("late", answered - late_s, answered),
        ]
        if after is not None and after.episode_id == call.episode_id:
            spans.append(
                ("pausing" if after.turn == call.turn else "working", answered, after.sent_at - after.queue_s)
            )
    parts = [0.0] * 5
    moments = sorted({moment for _, start, end in spans for moment in (start, end)})
    for start, end in pairwise(moments):
        middle, long_s = (start + end) / 2, end - start
        now = {
            kind: sum(1 for name, a, b in spans if name == kind and a < middle < b) for kind, _, _ in spans
        }
        flying, late = now["flight"], now["late"]
        if now["quota"]:
            parts[1] += long_s
        elif now["rest"]:
            parts[2] += long_s
        elif now["place"]:
            parts[0] += long_s * (flying / (flying + late) if flying + late else 1)
            parts[3] += long_s * (late / (flying + late) if flying + late else 0)
        else:
            most = max(places, flying + late)
            at_work = min(now.get("working", 0), most - flying - late)
            at_rest = min(now.get("pausing", 0), most - flying - late - at_work)
            for part, count in (
                (0, flying),
                (2, at_rest),
                (3, late + at_work),
                (4, most - flying - late - at_work - at_rest),
            ):
                parts[part] += long_s * count / most
    return parts


def test_one_episode_by_hand(store: duckdb.DuckDBPyConnection) -> None:
    """Four places; a call of 2 s, 1 s of our own work, 3 s for a quota, a call of 1 s that fails, a pause of
    4 s, a call of 2 s."""
    rows: list[Record] = [
        METHOD,
        try_("e", 0, 100.0, latency=2),
        try_("e", 1, 103.0, quota=3, latency=1),
        try_("e", 1, 111.0, number=1, latency=2),
    ]
    (found,) = times(store, rows)
    assert found.seconds == pytest.approx(13.0)
    assert found.quota_s == pytest.approx(3.0)
    assert found.provider_s == pytest.approx((2 + 1 + 2) / 4)
    assert found.own_cpu_s == pytest.approx(1 / 4)
    assert found.backing_off_s == pytest.approx(4 / 4)
    assert found.starved_s == pytest.approx(10 * 3 / 4)


def test_a_late_loop_is_our_own(store: duckdb.DuckDBPyConnection) -> None:
    """An answer that lay unread for as long as the loop was late is not the provider's latency, whether turns
    wait for places or not."""
    pulses = [PulseRecord(run_id="1", at=at, lag_s=0.25, lag_s_max=1.0) for at in (101.0, 102.0, 103.0)]
    calls = [try_("e", 0, 100.0), try_("f", 0, 100.0, place=1), try_("g", 0, 100.0, place=2)]
    full: list[Record] = [METHOD._replace(concurrency=1), *pulses, *calls]
    (found,) = times(store, full)
    assert [found.provider_s, found.own_cpu_s, found.starved_s] == pytest.approx([2.25, 0.75, 0.0])


TRIES = st.lists(
    st.tuples(
        *[st.integers(0, 3)] * 6
    ),  # gap before, place, rest, quota, latency, and 0: the same turn again
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=25)
@given(
    episodes=st.lists(TRIES, min_size=1, max_size=5),
    places=st.integers(1, 4),
    lags=st.lists(st.integers(0, 2), max_size=5),
)
def test_the_query_is_the_definition(
    store: duckdb.DuckDBPyConnection, episodes: list[list[tuple[int, ...]]], places: int, lags: list[int]
) -> None:
    """For any calls the query gives what counting moment by moment gives, and the parts add up."""
    calls = []
    for number, tries in enumerate(episodes):
        now, turn, attempt = 100.0 + 0.3 * number, 0, 0
        for place, (gap, *waits, latency, again) in enumerate(tries):
            turn, attempt = (turn, attempt + 1) if place and again == 0 else (turn + (place > 0), 0)
            now += gap * 0.7
            call = try_(
                f"e{number}",
                turn,
                now,
                place=waits[0],
                rest=waits[1],
                quota=waits[2],
                latency=latency * 0.9 + 0.1,
                number=attempt,
            )
            calls.append(call)
            now = call.sent_at + call.latency_s
    pulses = [
        PulseRecord(run_id="1", at=100.0 + 4.0 * place, lag_s=lag * 0.4, lag_s_max=2.0)
        for place, lag in enumerate(lags)
    ]
    (found,) = times(store, [METHOD._replace(concurrency=places), *pulses, *calls])
    parts = [found.provider_s, found.quota_s, found.backing_off_s, found.own_cpu_s, found.starved_s]
    assert parts == pytest.approx(by_brute_force(calls, pulses, places), abs=1e-5)
    assert sum(parts) == pytest.approx(found.seconds)


def simulated(limits: GateLimits, *, episodes: int, errors: float) -> list[Record]:
    """The rows of a run under these limits, on virtual time."""

    async def scenario() -> World:
        world = World()
        chance = random.Random(7)
        backend = Counter(
            world.clock,
            trouble=lambda prompt, number: (
                RateLimited("slow", status=429, retry_after_s=30.0) if chance.random() < errors else None
            ),
        )
        world.add(backend=backend, limits=limits)
        with anyio.fail_after(1e6):
            await world.scheduler({"m/a": (plan(number, goal=4) for number in range(episodes))}).play_all()
        return world

    return [METHOD._replace(concurrency=limits.concurrency), *run(scenario).rows.all]


@pytest.mark.parametrize(
    ("cause", "limits", "episodes", "errors"),
    [
        ("provider", GateLimits(concurrency=4), 80, 0.0),
        ("quota", GateLimits(concurrency=16, requests=30), 40, 0.0),
        ("backing_off", GateLimits(concurrency=4), 40, 0.1),
        ("starved", GateLimits(concurrency=64), 3, 0.0),
    ],
)
def test_a_planted_bottleneck_is_named(
    store: duckdb.DuckDBPyConnection, cause: str, limits: GateLimits, episodes: int, errors: float
) -> None:
    """Few places, a small quota, a provider that asks for long rests, too few episodes: each is found to have
    most of the time."""
    (found,) = times(store, simulated(limits, episodes=episodes, errors=errors))
    assert getattr(found, f"{cause}_s") > 0.8 * found.seconds, found


def test_waiting_at_the_users_limit_is_told_from_the_providers(store: duckdb.DuckDBPyConnection) -> None:
    """With four calls in flight of four allowed the wait is for the user's limit; of sixteen allowed it is
    not."""
    calls = [try_(f"e{number}", 0, 100.0, latency=2) for number in range(4)]
    waiting = [try_(f"w{number}", 0, 100.0, place=2, latency=2) for number in range(4)]
    for concurrency, at_limit_s in ((4, 2.0), (16, 0.0)):
        (found,) = times(store, [METHOD._replace(concurrency=concurrency), *calls, *waiting])
        assert found.at_limit_s == pytest.approx(at_limit_s)


def test_the_last_calls_are_counted(store: duckdb.DuckDBPyConnection) -> None:
    """Four episodes end after 2 s, two of them go on with one call each of 30 s and 60 s."""
    calls = [try_(f"e{number}", 0, 100.0, latency=2) for number in range(4)]
    last = [try_("e0", 1, 102.0, latency=30), try_("e1", 1, 102.0, latency=60)]
    (found,) = times(store, [METHOD, *calls, *last])
    assert found.tail_s == pytest.approx(60.0)
    assert found.tail_calls == 2


def test_who_still_waits_counts(store: duckdb.DuckDBPyConnection) -> None:
    """A call is refused, the gate pauses for 300 s, and the run is interrupted 100 s later: those are backing
    off. With calls in flight that a dead server never answers they are the provider's."""
    rest = GateEvent(run_id="1", gate="m/a", kind="rest", detail="pausing 300.0 s (HTTP 429)", at=102.0)
    pulse = PulseRecord(run_id="1", at=202.0, lag_s=0.0, lag_s_max=0.0)
    (found,) = times(store, [METHOD, try_("e", 0, 100.0, latency=2), rest, pulse])
    assert found.backing_off_s == pytest.approx(100.0)
    assert found.seconds == pytest.approx(102.0)
    silent = GateEvent(
        run_id="1", gate="m/a", kind="stuck", detail="m/a: no answer to any of 3 calls in flight", at=112.0
    )
    (found,) = times(store, [METHOD, try_("e", 0, 100.0, latency=2), silent, pulse])
    assert found.provider_s == pytest.approx(0.5 + 100.0), "until the run's end"
    assert found.seconds == pytest.approx(102.0)
    later = try_("f", 0, 100.0, latency=13)
    assert times(store, [METHOD, later, silent, pulse])[0].seconds == pytest.approx(13.0)
    closed = GateEvent(run_id="1", gate="m/a", kind="closed", detail="stopped", at=112.0)
    (found,) = times(store, [METHOD, try_("e", 0, 100.0, latency=2), rest, closed, pulse])
    assert found.backing_off_s == pytest.approx(10.0)

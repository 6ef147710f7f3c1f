"""Methods whose every call is refused are closed by evidence, whatever the words; single refusals are the
request's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.core.errors import AccountRefused, AllRefused, CallError, Rejected, UnknownEnd
from harness.core.vocabulary import Completion, EpisodePlan
from harness.limits.gate import GateLimits
from harness.scheduler.refusals import REFUSALS_MAX, Refusals
from harness.scheduler.scheduler import Tally
from tests.world import Counter, World, plan, run

WINDOW = 8  # calls in flight when the evidence suffices
Trouble = Callable[[int], CallError | None]


def plans(count: int, name: str = "m/a") -> Iterator[EpisodePlan]:
    return (plan(number, method=name) for number in range(count))


def unknown_end(number: int) -> UnknownEnd:
    return UnknownEnd(
        "the finish reason 'eureka' is not known", completion=Completion(text=f"reply {number}")
    )


def play(trouble: Trouble, count: int = 40) -> tuple[World, Tally]:
    async def scenario() -> tuple[World, Tally]:
        world = World()
        backend = Counter(world.clock, trouble=lambda prompt, number: trouble(number))
        world.add(backend=backend, limits=GateLimits(concurrency=WINDOW, at_once=WINDOW))
        scheduler = world.scheduler({"m/a": plans(count)})
        await scheduler.play_all()
        return world, scheduler.tallies["m/a"]

    return run(scenario)


@pytest.mark.parametrize(
    "refusal",
    [
        lambda number: Rejected(f"HTTP 400: no quota left, request {number}", status=400),
        lambda number: Rejected(f'HTTP 400: der Schluessel "sk-{number}" gilt nicht', status=400),
        lambda number: Rejected(f"HTTP 422: modèle inconnu `m{number}`", status=422),
        unknown_end,
    ],
    ids=["account", "key", "model", "end"],
)
def test_a_method_that_refuses_all_calls_is_closed_by_evidence(refusal: Trouble) -> None:
    """Five refusals and what is in flight with them are spent; no episode fails, all stay pending; one
    sentence says why."""
    world, tally = play(refusal)
    assert REFUSALS_MAX <= len(world.rows.calls) <= REFUSALS_MAX + WINDOW
    assert world.rows.episodes == []
    assert (tally.finished, tally.failed, tally.pending) == (0, 0, 40)
    assert isinstance(tally.closing, AllRefused)
    assert str(tally.closing).startswith("no call succeeded, and 5 calls failed with the same error: ")
    assert [event.kind for event in world.rows.gate_events].count("closed") == 1


def test_a_refusal_before_the_first_answer_fails_its_episode_after_it() -> None:
    """Until a call is answered nobody knows whether the request is at fault or the method: then it is the
    request."""
    world, tally = play(
        lambda number: Rejected("HTTP 400: bad", status=400) if number in (1, 9, 20) else None
    )
    assert (tally.finished, tally.failed, tally.pending) == (37, 3, 0)
    assert [row.status for row in world.rows.episodes].count("failed") == 3
    assert tally.closing is None


def test_refusals_of_different_kinds_are_no_evidence() -> None:
    """Three refused requests, each for another reason, close nothing before the fourth is answered."""
    _, tally = play(
        lambda number: Rejected(f"HTTP 400: {'-abc'[number]}", status=400) if number < 4 else None
    )
    assert (tally.finished, tally.failed, tally.pending) == (37, 3, 0)


def test_few_refusals_and_no_answer_leave_episodes_pending() -> None:
    """Two episodes are too few for evidence; neither is burnt, and the end says what the answer was."""
    _, tally = play(lambda number: Rejected("HTTP 400: no", status=400), count=2)
    assert (tally.finished, tally.failed, tally.pending) == (0, 0, 2)
    assert str(tally.closing) == "2 episodes got no usable reply: HTTP 400: no"


def test_the_first_of_several_refusals_is_the_reason() -> None:
    """Two episodes are refused in different words; the end of the run names those of the first answer."""
    world, tally = play(lambda number: Rejected(f"HTTP 400: {'abc'[number]}", status=400), count=2)
    first, second = (row.error_text for row in world.rows.calls)
    assert first != second
    assert str(tally.closing) == f"2 episodes got no usable reply: {first}"


def test_an_unknown_end_leaves_its_episode_pending_and_keeps_the_text() -> None:
    """Beside good answers it closes nothing; a later run, told of the end, asks again."""
    world, tally = play(lambda number: unknown_end(number) if number in (3, 30) else None)
    assert (tally.finished, tally.failed, tally.pending) == (38, 0, 2)
    kept = [row for row in world.rows.calls if row.error_class == "UnknownEnd"]
    assert [row.reply for row in kept] == ["reply 3", "reply 30"]
    assert "eureka" in str(tally.closing)


def test_refusals_at_a_shared_gate_end_their_own_method_only() -> None:
    """Two methods draw on one quota; one refuses everything, the other plays to its end through the same
    gate."""

    async def scenario() -> dict[str, tuple[int, int, int]]:
        world = World()
        shared = world.gate("shared", GateLimits(concurrency=WINDOW))
        refused = Rejected("HTTP 400: temperature", status=400)
        world.add_at(shared, "m/a", backend=Counter(world.clock, trouble=lambda *_: refused), sole=False)
        world.add_at(shared, "m/b", sole=False)
        scheduler = world.scheduler({name: plans(40, name) for name in ("m/a", "m/b")})
        await scheduler.play_all()
        return {name: (t.finished, t.failed, t.pending) for name, t in scheduler.tallies.items()}

    assert run(scenario) == {"m/a": (0, 0, 40), "m/b": (40, 0, 0)}


@pytest.mark.parametrize("key_users", [(), ("m/a", "n/a")])
def test_a_key_that_has_worked_is_refused_for_one_method_only(key_users: tuple[str, ...]) -> None:
    """A gateway passes on the 401 of one upstream: the other method of its key goes on, because calls with
    the key were answered before."""

    async def scenario() -> dict[str, int]:
        world = World()
        first, second = (world.gate(name, GateLimits(concurrency=4)) for name in ("m/a", "n/a"))
        refused = AccountRefused("HTTP 401: upstream", status=401)
        backend = Counter(world.clock, trouble=lambda prompt, number: refused if number == 30 else None)
        world.add_at(first, "m/a", backend=backend, account=(first, second), key_users=key_users)
        world.add_at(second, "n/a", account=(first, second), key_users=key_users)
        scheduler = world.scheduler({name: plans(40, name) for name in ("m/a", "n/a")})
        await scheduler.play_all()
        return {name: tally.finished for name, tally in scheduler.tallies.items()}

    finished = run(scenario)
    assert finished["m/a"] < 40
    assert (finished["n/a"] == 40) is bool(key_users)


def test_an_answer_ends_the_evidence() -> None:
    """A method that has answered once is not closed by later refusals."""
    refusals = Refusals()
    error = Rejected("HTTP 400: 1", status=400)
    assert [refusals.note_refusal("m/a", error) for _ in range(4)] == [None] * 4
    refusals.note_answer("m/a")
    assert [refusals.note_refusal("m/a", error) for _ in range(9)] == [None] * 9
    refusals.check("m/a")
    assert [bool(refusals.note_refusal("m/b", error)) for _ in range(6)] == [False] * 4 + [True] * 2
    with pytest.raises(AllRefused):
        refusals.check("m/b")


def test_refusals_in_different_words_are_of_different_kinds() -> None:
    """Numbers and quoted parts do not count, nor do capitals."""
    refusals = Refusals()
    for word in ("a", "b", "c", "d", "e", "f"):
        assert refusals.note_refusal("m/a", Rejected(f"HTTP 400: {word}", status=400)) is None
    alike = ['no "x" 1', "no 'y' 22", "No `z` 333", 'NO "long name" 4', "no '' 5"]
    closings = [refusals.note_refusal("m/b", Rejected(text, status=400)) for text in alike]
    assert [bool(closing) for closing in closings] == [False] * 4 + [True]

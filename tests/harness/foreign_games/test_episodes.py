"""Episodes in processes: play, deaths, hangs, replay. The library is a toy of the standard library."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from games import GAMES
from harness.core.errors import GameFailed, GameUnavailable, SpecError
from harness.core.vocabulary import LIBRARY_TURNS_MAX, Ask, Instance, Outcome
from harness.foreign_games.catalog import ForeignGame, any_reply, with_turns_max
from harness.foreign_games.episodes import (
    ForeignSteps,
    GameHosts,
    LiveForeignGame,
    game_hosts,
    playable_games,
)
from harness.foreign_games.libraries import TEXTARENA, GameProgram

T = TypeVar("T")
TOY = {"toy": GameProgram(python=Path(sys.executable), file=Path(__file__).with_name("toy_child.py"))}


def dice(throws: int = 3) -> ForeignGame:
    def opening(instance: Instance) -> Mapping[str, object]:
        return {"throws": throws}

    return ForeignGame(
        name="toy:dice",
        library="toy",
        summary="a die is thrown",
        seats=("player 1",),
        rule_sets=("toy-1",),
        turns_typical=3,
        instances=lambda wanted: (),
        opening=opening,
        process="toy",
        reply_format=any_reply(10),
    )


def instance(number: int) -> Instance:
    return Instance(
        game="toy:dice",
        set_name="s",
        experiment="e",
        id=str(number),
        fields={},
        content_hash=f"{number:x}".ljust(32, "0"),
    )


def play(
    scenario: Callable[[GameHosts], Awaitable[T]],
    programs: Mapping[str, GameProgram] = TOY,
    step_s: float = 60.0,
) -> T:
    async def main() -> list[T]:
        results = []
        async with game_hosts(programs, step_s=step_s) as hosts:
            results.append(await scenario(hosts))
        return results

    return anyio.run(main)[0]


def opened(hosts: GameHosts, number: int, throws: int = 3) -> ForeignSteps:
    game: LiveForeignGame = hosts.playable(dice(throws))
    return game.open(instance(number), "toy-1")


def limited(hosts: GameHosts, turns_max: int) -> ForeignSteps:
    """Opens an episode of five throws with a limit of turns."""
    return hosts.playable(with_turns_max(dice(5), turns_max)).open(instance(1), "toy-1")


async def whole(steps: ForeignSteps, replies: Sequence[str]) -> list[Ask | Outcome]:
    """Plays with these replies; returns all that the game said."""
    return [await steps.begin(), *[await steps.step(reply) for reply in replies]]


def test_an_episode_in_a_process() -> None:
    """Asks grow by what is new, a violation is that of the last reply, and the end has all parts of an
    outcome; what the game prints disturbs nothing."""
    first, second, third, end = play(lambda hosts: whole(opened(hosts, 1), ["x", "bad", "good"]))
    assert isinstance(first, Ask)
    assert isinstance(second, Ask)
    assert isinstance(third, Ask)
    assert [message.role for message in third.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert second.messages[:1] == first.messages
    assert third.messages[:3] == second.messages
    assert (second.last_parse.violation, third.last_parse.violation) == (None, "bad word")
    assert isinstance(end, Outcome)
    assert (end.state, end.score, end.reason, end.requests.total) == ("success", 100.0, "played", 2)
    assert 1 <= end.metrics["Last"] <= 6


def test_halves_of_characters_disturb_nothing() -> None:
    """A reply, or a text of the game, with half of a surrogate pair is read with a question mark in its
    place."""
    _, second, third, end = play(lambda hosts: whole(opened(hosts, 1), ["half \ud83d", "odd", "good"]))
    assert isinstance(second, Ask)
    assert isinstance(third, Ask)
    assert second.messages[1].text == "half ?"
    assert third.messages[-2].text == "half a character: ?"
    assert isinstance(end, Outcome)


def test_interleaved_episodes_play_as_alone() -> None:
    """The library draws from the global random generator; each episode has a state of its own."""

    def alone_with(number: int) -> list[Ask | Outcome]:
        return play(lambda hosts: whole(opened(hosts, number), ["x"] * 3))

    alone = [alone_with(number) for number in range(4)]

    async def together(hosts: GameHosts) -> list[list[Ask | Outcome]]:
        episodes = [opened(hosts, number) for number in range(4)]
        said = [[await steps.begin()] for steps in episodes]
        for _ in range(3):
            for one, steps in zip(said, episodes, strict=True):
                one.append(await steps.step("x"))
        return said

    assert play(together) == alone
    assert len({str(one) for one in alone}) == 4


def test_an_episode_without_an_end_is_aborted_at_its_limit() -> None:
    """After so many replies, without a score, with the game's count of violations; its process forgets it."""

    async def scenario(hosts: GameHosts) -> tuple[Ask | Outcome, object]:
        steps = limited(hosts, 3)
        said = await whole(steps, ["x", "bad", "bad"])
        host = await hosts.host(dice())
        steps.close()
        number = host.number()
        request = {"do": "step", "reply": "x", "episode": steps._episode}
        return said[-1], (await host.ask(number, request))["error"]

    end, error = play(scenario)
    assert isinstance(end, Outcome)
    assert (end.state, end.score, end.reason) == ("aborted", None, "no end after 3 turns (turns_max)")
    assert (end.requests.total, end.requests.parsed, end.requests.violated) == (3, 1, 2)
    assert end.last_parse.violation == "bad word"
    assert str(error).startswith("KeyError")


def test_an_end_at_the_limit_is_the_games_own() -> None:
    """A game that ends with the last reply that is allowed has the outcome that it says."""
    end = play(lambda hosts: whole(limited(hosts, 5), ["x", "x", "x", "x", "good"]))[-1]
    assert isinstance(end, Outcome)
    assert (end.state, end.score) == ("success", 100.0)


def test_a_replayed_episode_ends_at_the_same_limit(tmp_path: Path) -> None:
    """A death in between changes neither the end nor its counts."""
    replies = ["bad", f"die once {tmp_path / 'died'}", "bad"]
    broken = play(lambda hosts: whole(limited(hosts, 3), replies))
    assert (tmp_path / "died").exists()
    assert broken == play(lambda hosts: whole(limited(hosts, 3), replies))


def test_another_limit_is_another_rule_set() -> None:
    """So its items are other items; the limit that holds anyway is not."""
    game = dice()
    assert with_turns_max(game, None) is game
    assert with_turns_max(game, LIBRARY_TURNS_MAX) is game
    other = with_turns_max(game, 2)
    assert (other.turns_max, other.turns_typical, other.rule_sets) == (2, 2, ("toy-1+turns_max=2",))


def test_a_fault_of_the_game_fails_its_episode_alone() -> None:
    """An exception in the game's code ends this episode with the exception's words; the process plays on."""

    async def scenario(hosts: GameHosts) -> tuple[str, list[Ask | Outcome]]:
        good, bad = opened(hosts, 1), opened(hosts, 2)
        said = [await good.begin()]
        await bad.begin()
        with pytest.raises(GameFailed) as caught:
            await bad.step("raise")
        said += [await good.step("x") for _ in range(3)]
        return str(caught.value), said

    words, said = play(scenario)
    assert words == "toy:dice: KeyError: 'a fault of the game'"
    assert isinstance(said[-1], Outcome)


def test_three_deaths_in_one_episode_fail_it() -> None:
    """The process ends each time that this reply is played; the third time the episode is failed, with the
    process's last line. Another episode in the same processes goes on with the same messages."""

    async def scenario(hosts: GameHosts) -> tuple[str, list[Ask | Outcome]]:
        good, bad = opened(hosts, 1), opened(hosts, 2)
        said = [await good.begin(), await good.step("x")]
        await bad.begin()
        with pytest.raises(GameFailed) as caught:
            await bad.step("die")
        said += [await good.step("x"), await good.step("good")]
        return str(caught.value), said

    words, said = play(scenario)
    assert "3 processes died in this episode" in words
    assert "ended with code 7" in words
    assert "about to end" in words
    assert said == play(lambda hosts: whole(opened(hosts, 1), ["x", "x", "good"]))


def test_an_episode_goes_on_after_one_death(tmp_path: Path) -> None:
    """The episode is begun again in another process with the same replies, and nothing of it is lost."""
    replies = ["x", f"die once {tmp_path / 'died'}", "good"]
    broken = play(lambda hosts: whole(opened(hosts, 1), replies))
    assert (tmp_path / "died").exists()
    assert broken == play(lambda hosts: whole(opened(hosts, 1), replies))


def test_a_killed_process_is_replaced() -> None:
    """A process that somebody kills between two steps is replaced, and the episode replayed."""

    async def scenario(hosts: GameHosts) -> list[Ask | Outcome]:
        steps = opened(hosts, 1)
        said = [await steps.begin(), await steps.step("x")]
        host = await hosts.host(dice())
        os.kill(host.process_id, signal.SIGKILL)
        await host.wait_end()
        return [*said, await steps.step("x"), await steps.step("good")]

    assert play(scenario) == play(lambda hosts: whole(opened(hosts, 1), ["x", "x", "good"]))


def test_a_process_that_hangs_is_killed() -> None:
    """A step that takes too long is the death of its process, and is said so."""

    async def scenario(hosts: GameHosts) -> str:
        steps = opened(hosts, 1)
        await steps.begin()
        with pytest.raises(GameFailed) as caught:
            await steps.step("hang")
        return str(caught.value)

    assert "was killed: it did not answer for 0 s" in play(scenario, step_s=0.2)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (GameProgram(python=Path("/nowhere/python"), file=TOY["toy"].file), "cannot be started"),
        (GameProgram(python=Path(sys.executable), file=Path("/nowhere/child.py")), "FileNotFoundError"),
    ],
)
def test_a_library_that_cannot_start_leaves_episodes_pending(program: GameProgram, words: str) -> None:
    """The error is GameUnavailable, with the process's last lines, and later episodes get it at once."""

    async def scenario(hosts: GameHosts) -> list[str]:
        found = []
        for number in (1, 2):
            with pytest.raises(GameUnavailable) as caught:
                await opened(hosts, number).begin()
            found.append(str(caught.value))
        return found

    for text in play(scenario, {"toy": program}):
        assert words in text


def test_a_game_whose_processes_always_die_is_given_up() -> None:
    """After nine deaths without the end of an episode, episodes of the game are left pending."""

    async def scenario(hosts: GameHosts) -> None:
        for number in range(3):
            steps = opened(hosts, number)
            await steps.begin()
            with pytest.raises(GameFailed):
                await steps.step("die")
        with pytest.raises(GameUnavailable, match="ended with code 7"):
            await opened(hosts, 4).begin()

    play(scenario)


def test_a_process_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named variables pass; a key does not."""
    monkeypatch.setenv("PROVIDER_API_KEY", "secret")

    async def scenario(hosts: GameHosts) -> bytes:
        host = await hosts.host(dice())
        return await anyio.Path(f"/proc/{host.process_id}/environ").read_bytes()

    environ = play(scenario)
    assert b"secret" not in environ
    assert b"PYTHONHASHSEED=0" in environ


def test_a_library_that_is_missing_is_refused_before_anything_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Games of this package need no library; a game of another that is not installed is an error of the call,
    not of its block."""
    monkeypatch.setenv("LIGHTBULB_CACHE", str(tmp_path))

    async def names() -> list[str]:
        async with playable_games({"taboo": GAMES["taboo"]}) as games:
            return list(games)

    assert anyio.run(names) == ["taboo"]
    with pytest.raises(SpecError, match="lightbulb games install textarena"):
        playable_games({"dice": replace(dice(), library=TEXTARENA)})

"""Tests of transcripts whose prompts were not recorded as chat messages: the games rebuild them from the
replies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from games import GAMES
from games.clembench import read_instances
from games.playthrough import Playthrough, replay
from harness.core.seeds import stream
from harness.core.vocabulary import Instance, Message
from tests.command import lightbulb
from tests.harness.transfer.published import NAN, chat_call, write_episode

CHECKOUT = os.environ.get("LIGHTBULB_CLEMBENCH")
REPROMPTS = {
    "length": "five letters, please",
    "letters": "letters only, please",
    "unknown": "a word that exists, please",
    "format": "in this format, please",
    "critic": "yes or no, please",
}
OF_FOLDER = ("english_words",)  # what the test puts into the experiment's file


def in_chat_form(messages: Sequence[Message]) -> object:
    return [{"role": message.role, "content": message.text} for message in messages]


def in_parts(messages: Sequence[Message]) -> object:
    """Returns the messages as the backend for Anthropic recorded them: the system message is not there."""
    return [
        {"role": message.role, "content": [{"type": "text", "text": message.text}]}
        for message in messages
        if message.role != "system"
    ]


def in_one_text(messages: Sequence[Message]) -> object:
    """Returns the messages as the backends for Hugging Face and llama.cpp models recorded them."""
    return {"inputs": "<s>" + "".join(f"[{m.role}] {m.text} [end]" for m in messages), "max_new_tokens": 100}


FORMS: Mapping[str, Callable[[Sequence[Message]], object]] = {
    "chat": in_chat_form,
    "parts": in_parts,
    "text": in_one_text,
}


def played(name: str, instance: Instance, skill: float) -> Playthrough:
    """Plays by v1.6's rules with bots that also make mistakes of format."""
    game, chance = GAMES[name], stream(1, name, instance.id)
    play = game.play(instance, "v1.6")
    replies: list[str] = []
    ask = next(play)
    while True:
        reply = game.bots[ask.seat](instance, ask.messages, skill, chance)
        replies.append("hm" if chance.random() < 0.1 else reply)
        try:
            ask = play.send(replies[-1])
        except StopIteration:
            return replay(game.play(instance, "v1.6"), replies)


def publish(root: Path, player: str, name: str, instance: Instance, through: Playthrough) -> None:
    """Writes one play as v1.6 published it, with the prompts in the player's form."""
    outcome = through.outcome
    assert outcome is not None
    fields = {key: value for key, value in instance.fields.items() if key not in OF_FOLDER}
    shared = {key: list(instance.fields[key]) for key in OF_FOLDER if key in instance.fields}  # type: ignore[call-overload]
    fields.pop("reprompts", None)
    calls = []
    for number, (ask, reply) in enumerate(zip(through.asks, through.replies, strict=False)):
        call = chat_call(f"2024-05-30T10:00:{number:02}", [], f"  {reply}\n")
        calls.append({**call, "manipulated_prompt_obj": FORMS[player](ask.messages)})
    scores: dict[str, float] = {
        "Aborted": int(outcome.state == "aborted"),
        "Success": int(outcome.state == "success"),
        "Lose": int(outcome.state == "lost"),
        "Request Count": outcome.requests.total,
        "Parsed Request Count": outcome.requests.parsed,
        "Violated Request Count": outcome.requests.violated,
        "Main Score": NAN if outcome.score is None else outcome.score,
    }
    folder = write_episode(
        root,
        f"{player}-t0.0--{player}-t0.0/{name}/0_{instance.experiment}/episode_{instance.id}",
        None if outcome.state == "unscored" else scores,
        instance=fields,
        requests=calls,
        interactions={"turns": []},
    )
    (folder.parent / f"experiment_{instance.experiment}.json").write_text(
        json.dumps({"name": instance.experiment, "timestamp": "2024", **shared})
    )


def prompts(store: Path) -> dict[str, list[Any]]:
    """Returns the prompts' hashes and replies of each access method."""
    with duckdb.connect(str(store), read_only=True) as connection:
        found: dict[str, list[Any]] = {}
        for method, *row in connection.execute(
            "SELECT method, game, instance, turn, ask_hash, trim(reply, ' \n')"
            " FROM calls JOIN last_episodes USING (episode_id, attempt, method) ORDER BY ALL"
        ).fetchall():
            found.setdefault(method, []).append(row)
        return found


@pytest.mark.parametrize("name", ["taboo", "imagegame", "referencegame", "wordle", "wordle_withclue"])
def test_every_form_gives_the_same_prompts(tmp_path: Path, name: str) -> None:
    """Chat messages, parts without the system message and one long text become the same transcript."""
    turns = 0
    for instance in GAMES[name].instances()[:6]:
        through = played(name, instance, skill=0.7)
        if name.startswith("wordle") and "hm" in through.replies:
            continue  # reprompts have a test of their own
        turns += len(through.replies)
        for player in FORMS:
            publish(tmp_path / "r", player, name, instance, through)
    ended = lightbulb("import", tmp_path / "r", "--store", tmp_path / "s.duckdb", "--model", "toy=*")
    assert ended.returncode == 0, ended.stderr
    assert "have no transcript" not in ended.stderr
    found = prompts(tmp_path / "s.duckdb")
    assert len(found["chat"]) == turns > 0
    assert found["text"] == found["parts"] == found["chat"]


def test_wordles_reprompts_are_the_users(tmp_path: Path) -> None:
    """With v1.6's texts given, a transcript with reprompts is rebuilt; without them it is left out and
    counted."""
    (instance,) = GAMES["wordle"].instances()[:1]
    worded = Instance(
        game="wordle",
        set_name=instance.set_name,
        experiment=instance.experiment,
        id=instance.id,
        fields={**instance.fields, "reprompts": REPROMPTS},
        content_hash="",
    )
    through = replay(
        GAMES["wordle"].play(worded, "v1.6"), ["hm", *(f"guess:{w}\nexplanation:x" for w in ["zzzzz"] * 20)]
    )
    assert through.outcome is not None
    assert through.outcome.state == "aborted"
    publish(tmp_path / "r", "text", "wordle", instance, through)
    ended = lightbulb("import", tmp_path / "r", "--store", tmp_path / "without.duckdb")
    assert ended.returncode == 3
    assert "1 of the played episodes have no transcript" in ended.stderr
    assert "the transcripts of 1 imported episodes; the first: " in ended.stderr
    (tmp_path / "texts.json").write_text(json.dumps(REPROMPTS))
    given = lightbulb(
        "import", tmp_path / "r", "--store", tmp_path / "with.duckdb", "--reprompts", tmp_path / "texts.json"
    )
    assert given.returncode == 0, given.stderr
    assert len(prompts(tmp_path / "with.duckdb")["text"]) == len(through.replies)


def test_a_transcript_that_does_not_fit_is_left_out(tmp_path: Path) -> None:
    """Other prompts, or another end than the published one: the score is kept, the transcript is not."""
    first, second = GAMES["taboo"].instances()[:2]
    through = played("taboo", first, skill=1.0)
    publish(tmp_path / "r", "text", "taboo", second, through)  # its folder has another instance
    ended = lightbulb("import", tmp_path / "r", "--store", tmp_path / "s.duckdb")
    assert (ended.returncode, "cannot be rebuilt" in ended.stderr) == (3, True)
    assert prompts(tmp_path / "s.duckdb") == {}


@pytest.mark.skipif(CHECKOUT is None, reason="LIGHTBULB_CLEMBENCH names no checkout")
def test_privateshared_takes_its_texts_from_a_checkout(tmp_path: Path) -> None:
    """The results do not contain them."""
    assert CHECKOUT is not None
    instance = read_instances(Path(CHECKOUT), "privateshared")[0]
    through = played("privateshared", instance, skill=0.9)
    publish(tmp_path / "r", "text", "privateshared", instance, through)
    without = lightbulb("import", tmp_path / "r", "--store", tmp_path / "a.duckdb")
    assert (without.returncode, "name a checkout" in without.stderr) == (3, True)
    given = lightbulb(
        "import", tmp_path / "r", "--store", tmp_path / "b.duckdb", "--checkout", Path(CHECKOUT)
    )
    assert given.returncode == 0, given.stderr
    assert len(prompts(tmp_path / "b.duckdb")["text"]) == len(through.replies)

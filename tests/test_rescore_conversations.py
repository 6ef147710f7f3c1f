"""`lightbulb rescore` of episodes of several turns: one request scores a conversation, with the scores that
one request for each reply returns."""

from __future__ import annotations

from pathlib import Path

import orjson
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from backends.dialects.chat_templates import chat_template, rendered
from backends.dialects.prompt_logprobs import read_scores, read_token_ids, scoring_body, tokenize_body
from backends.dialects.responses import HttpResponse
from backends.emulator.scoring import CHAT_TEMPLATE, Scorer
from backends.emulator.server import serving
from backends.emulator.toy_model import END_OF_REPLY
from harness.core.emulation import Emulation
from harness.rescoring.conversations import Scoring, by_conversation
from harness.rescoring.scores import row_of
from harness.store.file import open_to_read
from harness.store.rescore_queries import StoredReply, replies_of_model
from tests.bots import rows
from tests.command import lightbulb
from tests.test_rescore import LimitedScorer, rescored, scoring, write_sweep

FORGETFUL = (  # as a template that leaves thoughts out of earlier replies changes the beginning
    "{% for message in messages if message.role != 'assistant' %}<|{{ message.role }}|>{{ message.content }}"
    "{% endfor %}<|assistant|>"
)


class CountingScorer(LimitedScorer):
    """Counts the tokens of each text that it scores, and refuses longer ones than `context`."""

    def __init__(self, context: int | None = None) -> None:
        super().__init__()
        self.context, self.lengths = context, list[int]()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/completions"):
            length = len((await request.json())["prompt"])
            if self.context is not None and length > self.context:
                told = {
                    "error": {"message": f"This model's maximum context length is {self.context} tokens."}
                }
                return web.json_response(told, status=400)
            self.lengths.append(length)
        return await super().answer(request)


def played(folder: Path) -> list[StoredReply]:
    """Returns the replies of episodes of several turns, which bots of little skill played."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(Emulation(skill=0.3))) as server,
    ):
        sweep = write_sweep(
            folder,
            {"own": server.base_url},
            keys='provider = "emulator"',
            items=3,
            games=("taboo", "imagegame"),
        )
        ended = lightbulb("run", sweep)
    assert ended.returncode == 0, ended.stderr
    with open_to_read(folder / "t.duckdb") as connection:
        return replies_of_model(connection, "m", "m/own")


def different(replies: list[StoredReply]) -> set[Scoring]:
    return {Scoring(reply.messages, reply.reply, True, 1) for reply in replies}


class Alone:
    """One request for each reply."""

    def __init__(self, template: str) -> None:
        self._template = chat_template(template, {"eos_token": END_OF_REPLY})
        self._scorer = Scorer("", 0.0)

    def ids(self, text: str) -> list[int]:
        return read_token_ids(self._ask("/tokenize", tokenize_body("m", text))) or []

    def texts(self, reply: StoredReply) -> tuple[str, str]:
        """Returns the prompt, and the prompt with the reply and its end."""
        prompt = rendered(self._template, reply.messages)
        return prompt, prompt + reply.reply + END_OF_REPLY

    def scored(self, replies: list[StoredReply]) -> dict[tuple[str, int], tuple[int, str]]:
        """Returns (episode, turn) -> tokens and scores as a row has them."""
        found = {}
        for reply in replies:
            before, whole = map(self.ids, self.texts(reply))
            assert whole[: len(before)] == before
            answer = self._ask("/v1/completions", scoring_body("m", whole, top=1))
            scores = read_scores(answer, whole, start=len(before))
            assert scores
            row = row_of(reply, scores, {}, joined=False, reference="", engine_json=None, rescored_at=0.0)
            found[reply.episode_id, reply.turn] = (row.tokens, row.tokens_json)
        return found

    def _ask(self, path: str, body: dict[str, object]) -> HttpResponse:
        return HttpResponse(status=200, headers={}, body=self._scorer.answer(path, orjson.dumps(body)))


def stored(folder: Path) -> dict[tuple[str, int], tuple[int, str]]:
    """The same of the rows in the store."""
    every = rows(folder / "t.duckdb", "SELECT episode_id, turn, tokens, tokens_json FROM rescores")
    return {(str(episode), int(str(turn))): (int(str(n)), str(listed)) for episode, turn, n, listed in every}


def test_one_request_scores_a_conversation(tmp_path: Path) -> None:
    """All its replies get the scores that one request for each returns, the ends of the replies included."""
    replies = played(tmp_path)
    with scoring(scorer := CountingScorer()) as url:
        ended = rescored(tmp_path, url)
    groups = by_conversation(different(replies))
    assert max(map(len, groups)) >= 3
    assert len(scorer.lengths) == len(groups) < len(different(replies))
    assert f"({len(different(replies))} different, in {len(groups)} conversations)" in ended.stderr
    assert f"{len(replies)} replies scored" in ended.stderr
    assert stored(tmp_path) == Alone(CHAT_TEMPLATE).scored(replies)


def test_a_template_that_changes_earlier_messages_is_found(tmp_path: Path) -> None:
    """Token ids decide: no longer text begins with the tokens of a reply, so each takes a request."""
    replies = played(tmp_path)
    with scoring(scorer := CountingScorer()) as url:
        (tmp_path / "template.jinja").write_text(FORGETFUL)
        rescored(tmp_path, url)
    assert len(scorer.lengths) == len(different(replies))
    assert stored(tmp_path) == Alone(FORGETFUL).scored(replies)


def test_of_a_conversation_that_is_too_long_the_beginning_is_scored(tmp_path: Path) -> None:
    """Replies that are within the context are scored, the others counted; a larger context scores them."""
    replies = played(tmp_path)
    alone = Alone(CHAT_TEMPLATE)
    lengths = {(one.episode_id, one.turn): len(alone.ids(alone.texts(one)[1])) for one in replies}
    context = sorted(lengths.values())[len(lengths) // 2]
    every = alone.scored(replies)
    fitting = {place: scores for place, scores in every.items() if lengths[place] <= context}
    with scoring(CountingScorer(context)) as url:
        ended = rescored(tmp_path, url)
    assert stored(tmp_path) == fitting
    assert f"{len(fitting)} replies scored; {len(every) - len(fitting)} are too long" in ended.stderr
    with scoring(CountingScorer()) as url:
        again = rescored(tmp_path, url)
    assert f"{len(every) - len(fitting)} replies scored" in again.stderr
    assert stored(tmp_path) == every

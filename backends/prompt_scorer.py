"""Sends stored replies to a server, which returns the log-probability of each of their tokens.

Knows one access method in the dialect of plain completions. Keeps: each reply takes two or three
requests for token ids; one request scores a reply and all others that its tokens contain; no sampled token is
used. Does not promise: the tokens in which the reply was written, because a text does not show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from yarl import URL

from backends.dialects.chat_templates import rendered
from backends.dialects.error_responses import error_from_response
from backends.dialects.prompt_logprobs import (
    TOKENIZE_PATH,
    read_scores,
    read_token_ids,
    scoring_body,
    tokenize_body,
)
from backends.dialects.providers import provider
from backends.http import HttpBackend, endpoint
from harness.core.errors import SpecError
from harness.core.vocabulary import AccessMethod, Message, ScoredToken

NO_PATH = (404, 405, 501)  # HTTP statuses of a server that does not know /tokenize


class ReplyTokens(NamedTuple):
    """The tokens of a reply after those of its prompt.

    start    place of the reply's first token in `ids`
    joined   prompt and reply as one text have other tokens at their border than each alone; these are the
             tokens of each alone"""

    ids: list[int]
    start: int
    joined: bool

    def contains(self, other: ReplyTokens) -> bool:
        """Returns whether these ids begin with the other ones, so that their scores are equal."""
        return self.ids[: len(other.ids)] == other.ids


class PromptScorer:
    """Scores replies by one access method."""

    def __init__(self, method: AccessMethod, backend: HttpBackend) -> None:
        """method   with its chat template;  backend   its connection"""
        assert method.template is not None, "the wiring gives it the dialect of plain completions"
        self._method = method
        self._template = method.template
        self._backend = backend
        root, query = method.base_url.partition("?")[::2]
        root = root.rstrip("/").removesuffix("/v1")
        self._tokenize_url = endpoint(f"{root}?{query}" if query else root, TOKENIZE_PATH)
        self._score_url = endpoint(method.base_url, "/completions")

    @property
    def base_url(self) -> str:
        """The address of the server."""
        return self._method.base_url

    async def tokens(self, messages: tuple[Message, ...], reply: str, *, ended: bool) -> ReplyTokens:
        """Returns the tokens by which this reply is scored.

        ended    the reply ended by itself, so the token that ends a reply is scored, too
        raises   SpecError if the server cannot return token ids; CallError, as for other calls"""
        prompt = rendered(self._template, messages)
        text = reply + (self._template.end if ended else "")
        before = await self._ids(prompt)
        whole = await self._ids(prompt + text)
        joined = whole[: len(before)] != before
        if joined:
            whole = before + await self._ids(text)
        return ReplyTokens(whole, len(before), joined)

    async def score(
        self, longest: ReplyTokens, contained: Sequence[ReplyTokens], *, top: int
    ) -> list[tuple[ScoredToken, ...]]:
        """Returns the scores of the tokens of each contained reply, all of them from one request.

        longest    is sent;  contained  replies that it contains, itself among them
        top        how many of the most likely tokens to return at each place
        raises     SpecError if the server cannot score; CallError, as for other calls"""
        start = min(reply.start for reply in contained)
        if start == len(longest.ids):
            return [() for _ in contained]
        answer = await self._backend.post(
            self._score_url, scoring_body(self._method.served_name, longest.ids, top=top)
        )
        if not answer.succeeded:
            raise error_from_response(answer, 0.0, provider(self._method.provider))
        scores = read_scores(answer, longest.ids, start=start)
        if scores is None:
            raise SpecError(
                self._refusal(
                    "its completions do not have a log-probability and a rank for each prompt token"
                )
            )
        return [scores[reply.start - start : len(reply.ids) - start] for reply in contained]

    async def _ids(self, text: str) -> list[int]:
        answer = await self._backend.post(self._tokenize_url, tokenize_body(self._method.served_name, text))
        if not answer.succeeded and answer.status not in NO_PATH:
            raise error_from_response(answer, 0.0, provider(self._method.provider))
        ids = read_token_ids(answer)
        if not ids:  # also an empty list: no text here is empty
            raise SpecError(self._refusal(f"POST {URL(self._tokenize_url).path} returns no token ids"))
        return ids

    def _refusal(self, why: str) -> str:
        return (
            f"{self._method.name} at {self._method.base_url} cannot score stored replies: {why}; "
            "serve these weights with vLLM, whose server can"
        )

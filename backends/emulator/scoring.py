"""Scores texts as vLLM's completions do with `prompt_logprobs`, and counts their tokens. Pure.

The emulator's chat template is CHAT_TEMPLATE; a marker is one token, and every other token has four
characters. So the reply of a chat and the same reply in a text have the same tokens.
Does not promise: to complete a text.
Source: vLLM's reference of /tokenize and of /v1/completions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import cast

import orjson

from backends.emulator.formats import BadRequest
from backends.emulator.toy_model import (
    CHARACTERS_A_TOKEN,
    END_OF_REPLY,
    Sampler,
    Token,
    conversation_state,
    score_text,
)
from harness.core.vocabulary import Message, Role

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}<|assistant|>"
)
SCORING_PATHS = ("/tokenize", "/v1/completions")
_MARKERS = re.compile(r"(<\|(?:system|user|assistant|end)\|>)")


class Tokenizer:
    """Numbers the tokens that it meets."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Returns the number of the token with this text."""
        if text not in self._numbers:
            self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return self._numbers[text]

    def numbers(self, text: str) -> list[int]:
        """Returns the tokens of a text."""
        found = []
        for part in _MARKERS.split(text):
            whole = _MARKERS.fullmatch(part) is not None
            step = len(part) if whole else CHARACTERS_A_TOKEN
            found += [self.number(part[place : place + step]) for place in range(0, len(part), step or 1)]
        return found

    def text(self, number: object) -> str:
        """raises  BadRequest if no token has this number"""
        if type(number) is not int or not 0 <= number < len(self._texts):
            raise BadRequest(f"token id {number} is out of vocabulary")
        return self._texts[number]


class Scorer:
    """The part of the emulated server that scores texts.

    Of the planted defects only `weights_noise` changes scores; the others change only replies to chats."""

    def __init__(self, weights: str, weights_noise: float) -> None:
        self._tokenizer = Tokenizer()
        self._sampler = Sampler(
            weights=weights.encode(), temperature=0.0, top_p=1.0, draw_key=b"", weights_noise=weights_noise
        )

    def answer(self, path: str, raw: bytes) -> bytes:
        """Returns the answer to a request at one of SCORING_PATHS.

        raises   BadRequest, ValueError with what the client did wrong"""
        body = orjson.loads(raw)
        if not isinstance(body, dict):
            raise BadRequest("the body is not a JSON object")
        if path == "/tokenize":
            numbers = self._tokenizer.numbers(str(body.get("prompt", "")))
            return orjson.dumps({"count": len(numbers), "max_model_len": 1_000_000, "tokens": numbers})
        entries = self._scored(body.get("prompt"), body.get("prompt_logprobs"))
        choice = {"index": 0, "text": END_OF_REPLY, "finish_reason": "length", "prompt_logprobs": entries}
        return orjson.dumps({"object": "text_completion", "model": body.get("model"), "choices": [choice]})

    def _scored(self, numbers: object, most: object) -> list[object]:
        """Returns an entry for each token. Entries of tokens outside the replies have no meaning."""
        if not isinstance(numbers, list) or type(most) is not int:
            raise BadRequest("only token ids with prompt_logprobs are served here")
        texts = [self._tokenizer.text(number) for number in numbers]
        starts = [place + 1 for place, text in enumerate(texts) if text == "<|assistant|>"]
        if not starts:
            raise BadRequest("the prompt has no <|assistant|>")
        entries: list[object] = [None, *({str(number): _entry("", 0.0, 1)} for number in numbers[1:])]
        for start in starts:
            reply = _reply(texts[start:])
            tokens = score_text(self._sampler, conversation_state(_messages(texts[: start - 1])), reply)
            entries[start : start + len(reply)] = [self._entries(token, most) for token in tokens]
        return entries

    def _entries(self, token: Token, most: int) -> dict[str, object]:
        ranked = token.logprobs()
        places = {text: place for place, (text, _) in enumerate(ranked, 1)}
        scored = _entry(token.text, token.logprob(), places.get(token.text, len(ranked) + 1))
        listed = {
            str(self._tokenizer.number(text)): _entry(text, value, place)
            for place, (text, value) in enumerate(ranked[:most], 1)
        }
        return {str(self._tokenizer.number(token.text)): scored, **listed}


def _reply(tokens: Sequence[str]) -> list[str]:
    """Returns the tokens of the reply with which these begin, the one that ends it among them."""
    reply = list(takewhile(lambda text: not _MARKERS.fullmatch(text), tokens))
    return [*reply, END_OF_REPLY] if tokens[len(reply) :][:1] == [END_OF_REPLY] else reply


def _messages(tokens: Sequence[str]) -> tuple[Message, ...]:
    """Returns the conversation that the template made these tokens of."""
    messages: list[Message] = []
    for text in tokens:
        if text == END_OF_REPLY:
            continue
        if _MARKERS.fullmatch(text):
            messages.append(Message(cast(Role, text[2:-2]), ""))
        elif messages:
            messages[-1] = Message(messages[-1].role, messages[-1].text + text)
    return tuple(messages)


def _entry(text: str, logprob: float, rank: int) -> dict[str, object]:
    return {"logprob": logprob, "rank": rank, "decoded_token": text}

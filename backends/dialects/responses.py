"""An HTTP answer as bytes, and what the answers of all dialects share. Pure; knows no sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import orjson

from harness.core.errors import Garbled
from harness.core.vocabulary import Completion

PAUSE_S_MAX = 86_400.0  # whoever asks for a longer one made a mistake
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class HttpResponse(NamedTuple):
    """headers: a mapping that does not mind the case of names, or has them in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """The body as JSON; halves of surrogate pairs, which no UTF-8 text may hold, become U+FFFD.

        raises  Garbled if it is anything else"""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            pass
        try:
            return _mended(json.loads(self.body.decode("utf-8", "replace")))
        except (ValueError, RecursionError) as error:
            start = self.body[:120].decode("utf-8", "replace")
            raise Garbled(f"the answer is not JSON but begins {start!r}", status=self.status) from error

    def retry_after_s(self, wall_s: float) -> float | None:
        """How long the provider asks us to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
        for header, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            said = self.headers.get(header, "").strip()
            try:
                seconds = float(said) * unit_s
            except ValueError:
                continue
            return min(max(seconds, 0.0), PAUSE_S_MAX) if seconds == seconds else None
        try:
            return min(
                max(0.0, parsedate_to_datetime(self.headers["retry-after"]).timestamp() - wall_s), PAUSE_S_MAX
            )
        except (KeyError, ValueError, TypeError):
            return None


def thoughts_apart(completion: Completion) -> Completion:
    """The completion of a model that thinks aloud: all up to </think> is thought, and so is a reply that never comes to it.

    A template may have written the opening tag already."""
    thought, end, reply = completion.text.partition("</think>")
    if not end and not thought.lstrip().startswith("<think>"):
        return completion
    thought = thought.lstrip().removeprefix("<think>")
    return completion._replace(text=reply.lstrip("\n"), reasoning=(completion.reasoning or "") + thought)


def text_in(value: object) -> str | None:
    """A text, or nothing: what a provider sends in its place never becomes one."""
    return value if isinstance(value, str) else None


def count_in(value: object) -> int | None:
    """A count that the store can hold, or nothing."""
    return value if type(value) is int and 0 <= value < 2**63 else None


def mapping_in(value: object) -> Mapping[str, object]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def _mended(value: object) -> object:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("�", value)
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {key: _mended(one) for key, one in value.items()}
    return value

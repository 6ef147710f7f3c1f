"""An HTTP response as bytes, and what the responses of all dialects share. Pure; knows no sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import orjson

from harness.core.errors import Garbled
from harness.core.vocabulary import Completion

PAUSE_S_MAX = 86_400.0  # one day; a longer pause is taken for a mistake of the provider
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class HttpResponse(NamedTuple):
    """One response. headers: a mapping that ignores the case of names, or has them in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """Returns the body as JSON; half surrogate pairs, which UTF-8 cannot hold, become U+FFFD.

        raises  Garbled if the body is not JSON"""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            pass
        try:
            return _without_lone_surrogates(json.loads(self.body.decode("utf-8", "replace")))
        except (ValueError, RecursionError) as error:
            start = self.body[:120].decode("utf-8", "replace")
            raise Garbled(f"the answer is not JSON but begins {start!r}", status=self.status) from error

    def retry_after_s(self, wall_s: float) -> float | None:
        """Returns the pause asked for: `retry-after-ms`, or `retry-after` in seconds or as a date.

        wall_s   now, in seconds since 1970"""
        for header, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            text = self.headers.get(header, "").strip()
            try:
                seconds = float(text) * unit_s
            except ValueError:
                continue
            return min(max(seconds, 0.0), PAUSE_S_MAX) if seconds == seconds else None
        try:
            return min(
                max(0.0, parsedate_to_datetime(self.headers["retry-after"]).timestamp() - wall_s), PAUSE_S_MAX
            )
        except (KeyError, ValueError, TypeError):
            return None


def split_thoughts(completion: Completion) -> Completion:
    """Moves all text up to </think> from the reply to the reasoning; a reply without it is reasoning only.

    The opening tag may be missing: a chat template may have written it."""
    thoughts, end, reply = completion.text.partition("</think>")
    if not end and not thoughts.lstrip().startswith("<think>"):
        return completion
    thoughts = thoughts.lstrip().removeprefix("<think>")
    return completion._replace(text=reply.lstrip("\n"), reasoning=(completion.reasoning or "") + thoughts)


def text_or_none(value: object) -> str | None:
    """Returns the value if it is a text; any other value is never made one."""
    return value if isinstance(value, str) else None


def count_or_none(value: object) -> int | None:
    """Returns the value if it is a count that the store can hold."""
    return value if type(value) is int and 0 <= value < 2**63 else None


def mapping_or_empty(value: object) -> Mapping[str, object]:
    """Returns the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _without_lone_surrogates(value: object) -> object:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("�", value)
    if isinstance(value, list):
        return [_without_lone_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_lone_surrogates(item) for key, item in value.items()}
    return value

"""An HTTP response as bytes, and what the responses of all dialects share. Pure; knows no sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

import orjson

from harness.core.errors import CallError, Garbled
from harness.core.vocabulary import Completion

# tokens of one call; a greater count is an error of the server, and sums must not overflow
COUNT_MAX = 1_000_000_000
ROUNDING = 1e-3  # above 0: a log-probability computed in 16 bits may exceed 0 by less
_BOM = b"\xef\xbb\xbf"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Arrivals(NamedTuple):
    """The times at which the pieces of a streamed body arrived.

    ends      where in the body each piece ends
    times_s   when it arrived, in seconds after the request was sent"""

    ends: Sequence[int]
    times_s: Sequence[float]


class HttpResponse(NamedTuple):
    """One response.

    headers    a mapping that ignores the case of names, or has them in lower case
    arrivals   of a response that was read as a stream
    broken     what ended the connection before the end of the body; the body is what arrived until then"""

    status: int
    headers: Mapping[str, str]
    body: bytes
    arrivals: Arrivals | None = None
    broken: CallError | None = None

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> object:
        """Returns the body as JSON; half surrogate pairs, which UTF-8 cannot hold, become U+FFFD.

        raises  what ended the connection, if the end is missing; Garbled if the body is not JSON"""
        try:
            return json_value(self.body)
        except ValueError as error:
            raise self.broken or Garbled(
                f"the answer is not JSON but begins {self.start()!r}", status=self.status
            ) from error

    def start(self) -> str:
        """Returns the beginning of the body, for messages."""
        return one_line(self.body[:200].decode("utf-8", "replace")) or "(empty body)"


def json_value(text: bytes) -> object:
    """Returns the value of a JSON text, read leniently: a BOM, NaN, invalid UTF-8 and lone surrogates are
    accepted.

    raises  ValueError if the text is not JSON"""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return _without_lone_surrogates(json.loads(text.removeprefix(_BOM).decode("utf-8", "replace")))
    except RecursionError as error:
        raise ValueError("the JSON text is nested too deeply") from error


def split_thoughts(completion: Completion) -> Completion:
    """Moves all text up to </think> from the reply to the reasoning; a reply without it is reasoning only.

    The opening tag may be missing: a chat template may have written it."""
    thoughts, end, reply = completion.text.partition("</think>")
    if not end and not thoughts.lstrip().startswith("<think>"):
        return completion
    thoughts = thoughts.lstrip().removeprefix("<think>")
    return completion._replace(text=reply.lstrip("\n"), reasoning=(completion.reasoning or "") + thoughts)


def one_line(text: str) -> str:
    """Returns the text on one line and without control characters, so that a message can quote it safely."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "�" for c in text[:2000]).split())


def text_or_none(value: object) -> str | None:
    """Returns the value if it is a text; any other value is never made one."""
    return value if isinstance(value, str) else None


def count_or_none(value: object) -> int | None:
    """Returns the value if it is a plausible count of tokens; a float must be a whole number."""
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= COUNT_MAX else None


def logprob_or_none(value: object) -> float | None:
    """Returns the value if it can be a log-probability: a number that is at most 0, or minus infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value <= ROUNDING:  # or NaN
        return None
    # A JSON integer may be too large for a float.
    return min(0.0, float(value)) if value >= -COUNT_MAX else -inf


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

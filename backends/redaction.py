"""Removes keys and other secrets from everything that a server answers: a quoted secret must not reach the
store. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from backends.dialects.responses import HttpResponse
from harness.core.errors import CallError, UnknownEnd
from harness.core.vocabulary import Completion

# a shorter "key" is a placeholder, such as EMPTY or none, and a word that replies may contain
SECRET_CHARS_MIN = 6
REPLACEMENT = "[key]"


class Redaction:
    """The secrets of one access method.

    Raw bytes are searched before they are parsed, and every parsed text again: a server may spell a secret
    with the escapes of JSON."""

    def __init__(self, secrets: Iterable[str | None]) -> None:
        self._secrets = tuple(secret for secret in secrets if secret and len(secret) >= SECRET_CHARS_MIN)
        self._raw = tuple(secret.encode() for secret in self._secrets)

    def response(self, answer: HttpResponse) -> HttpResponse:
        """Returns the response without secrets in its body and headers."""
        if not self._secrets:
            return answer
        body = answer.body
        for raw in self._raw:
            if raw in body:
                body = body.replace(raw, REPLACEMENT.encode())
        if body is not answer.body:
            answer = answer._replace(body=body)
        values = "\n".join(answer.headers.values())
        if any(secret in values for secret in self._secrets):
            answer = answer._replace(
                headers={name.lower(): self.text(value) for name, value in answer.headers.items()}
            )
        return answer

    def completion(self, completion: Completion) -> Completion:
        """Returns the completion without secrets in any of its texts."""
        if not self._secrets:
            return completion
        texts = "\n".join([value for value in completion if isinstance(value, str)])
        if not any(secret in texts for secret in self._secrets):
            return completion
        return Completion._make(self.text(value) if isinstance(value, str) else value for value in completion)

    def error(self, error: CallError) -> CallError:
        """Returns the same error without secrets in its message, its request id and its completion."""
        error.args = (self.text(str(error)),)
        error.request_id = error.request_id and self.text(error.request_id)
        if isinstance(error, UnknownEnd):
            error.completion = self.completion(error.completion)
        return error

    def text(self, text: str) -> str:
        """Returns the text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, REPLACEMENT)
        return text

"""Secrets are removed from everything that a server answers."""

from __future__ import annotations

from backends.dialects.responses import HttpResponse
from backends.redaction import Redaction
from harness.core.errors import UnknownEnd
from harness.core.vocabulary import Completion

SECRET = "sk-very-secret"


def test_no_text_of_a_completion_keeps_a_secret() -> None:
    """Every text field, however the answer spelled it."""
    completion = Completion(
        text=SECRET,
        finish_reason=SECRET,
        prompt_tokens=7,
        served_model=SECRET,
        request_id=SECRET,
        reasoning=SECRET,
        upstream=SECRET,
        system_fingerprint=SECRET,
    )
    cleared = Redaction([None, SECRET]).completion(completion)
    assert SECRET not in repr(cleared)
    assert (cleared.text, cleared.prompt_tokens) == ("[key]", 7)


def test_no_error_keeps_a_secret() -> None:
    """Its message, its request id, and the completion of an unknown end."""
    error = UnknownEnd(f"end {SECRET}", completion=Completion(text=SECRET), request_id=SECRET)
    cleared = Redaction([SECRET]).error(error)
    assert isinstance(cleared, UnknownEnd)
    assert SECRET not in f"{cleared} {cleared.request_id} {cleared.completion}"


def test_raw_answers_are_cleared_before_they_are_parsed() -> None:
    """Body and headers."""
    answer = Redaction([SECRET, "header-secret"]).response(
        HttpResponse(200, {"X-Request-Id": f"for {SECRET}"}, f"{SECRET} header-secret".encode())
    )
    assert (answer.body, answer.headers) == (b"[key] [key]", {"x-request-id": "for [key]"})


def test_a_placeholder_is_no_secret() -> None:
    """Local servers take any key: replies that contain the word EMPTY are not changed."""
    assert Redaction(["EMPTY"]).completion(Completion(text="EMPTY")).text == "EMPTY"

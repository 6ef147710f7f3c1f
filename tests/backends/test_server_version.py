"""The pages on which self-hosted servers say their version."""

from __future__ import annotations

import pytest

from backends.dialects.providers import provider
from backends.dialects.responses import HttpResponse
from backends.server_version import is_self_hosted, reported_version


@pytest.mark.parametrize(
    ("path", "status", "body", "version"),
    [
        ("/version", 200, b'{"version": "0.32.0"}', "0.32.0"),
        ("/props", 200, b'{"build_info": "b6123-abc", "version": 3}', "b6123-abc"),
        ("/info", 200, b'{"version": 3}', None),
        ("/version", 404, b'{"version": "0.32.0"}', None),
        ("/version", 200, b"<html>", None),
        ("/version", 200, b"[]", None),
    ],
)
def test_a_version_is_read_from_its_field(path: str, status: int, body: bytes, version: str | None) -> None:
    """Only a good answer with a text in the field of that page has a version."""
    assert reported_version(path, HttpResponse(status, {}, body)) == version


def test_services_are_not_asked() -> None:
    """Servers of users are asked for their version, services on the internet are not."""
    assert all(is_self_hosted(provider(name)) for name in ("vllm", "sglang", "ollama", "my own"))
    assert not any(is_self_hosted(provider(name)) for name in ("openai", "groq", "anthropic"))

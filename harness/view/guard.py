"""Decides who may ask the live page's server, and what the page may load.

The server listens on 127.0.0.1 only, but every page in the user's browser can send requests there. So each
request must name this host (which defeats a foreign name that resolves to 127.0.0.1), and each one but for
style and script must bear a token that only the printed address has."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping

TOKEN_BYTES = 24

LIVE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": LIVE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_own_host(host: str | None, port: int) -> bool:
    """Returns whether a Host header names this server as its user does."""
    return host in (f"127.0.0.1:{port}", f"localhost:{port}")


def is_token(given: str | None, token: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), token.encode())


def file_policy(style: str, script: str) -> str:
    """Returns the content policy of a page that is one file: it runs this style and script, and loads
    nothing."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

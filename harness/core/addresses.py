"""What an address says of itself, and what its silence does."""

from __future__ import annotations

from errno import ECONNREFUSED
from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """This machine, by name or number."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def why_unconnected(error: BaseException) -> str:
    """Of an error of the socket's, or of a library's that was raised from it: what a person can do something about."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, BaseExceptionGroup):
        return why_unconnected(error.exceptions[0])
    if isinstance(error, OSError):
        return "nobody listens there" if error.errno == ECONNREFUSED else error.strerror or str(error)
    return str(error)

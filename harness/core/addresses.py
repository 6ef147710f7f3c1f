"""Tells loopback addresses from others, and names the cause of a connection that could not be made."""

from __future__ import annotations

from errno import ECONNREFUSED
from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Returns whether the host is this machine, by name or by number."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def why_unconnected(error: BaseException) -> str:
    """Returns the cause of a failed connection in a few words, from the first error in the chain of
    causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, BaseExceptionGroup):
        return why_unconnected(error.exceptions[0])
    if isinstance(error, OSError):
        return "no server is running there" if error.errno == ECONNREFUSED else error.strerror or str(error)
    return str(error)

"""Reads the network settings of the environment: proxies, and the certificate authorities of an organisation.

Pure but for the certificate files that it loads. A proxy is found as curl finds it: HTTP_PROXY or HTTPS_PROXY
by the scheme of the address (the names in lower case first), unless NO_PROXY names the host. Loopback
addresses never have a proxy. ~/.netrc is not read. Does not promise: SOCKS proxies, automatic
configuration."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from harness.core.addresses import is_loopback
from harness.core.errors import SpecError

if TYPE_CHECKING:
    import ssl

CA_VARIABLES = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)  # SSL_CERT_FILE and SSL_CERT_DIR are read by OpenSSL itself
CA_REMEDY = "if your organisation signs its own certificates, set SSL_CERT_FILE to the file of its authority"


def proxy_for(address: str, environ: Mapping[str, str]) -> str | None:
    """Returns the URL of the proxy for this address; None if there is none.

    raises  SpecError if the proxy is of a kind that is not supported"""
    parts = urlsplit(address)
    host = parts.hostname or ""
    name = f"{parts.scheme}_proxy"
    proxy = environ.get(name) or environ.get(name.upper()) or ""
    if not proxy or is_loopback(host) or _is_excluded(host, parts.port, environ):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise SpecError(
            f"{name.upper()} names a proxy that is not supported ({without_password(proxy)}); "
            f"name an http:// proxy, or add {host} to NO_PROXY"
        )
    return proxy


def without_password(proxy: str) -> str:
    """Returns the address of a proxy without user and password, for messages."""
    parts = urlsplit(proxy)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def tls_context(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """Returns a TLS context that also trusts the authorities of CA_VARIABLES; None if none of them is set.

    raises  SpecError if the file cannot be read"""
    import ssl  # slow to load, and seldom needed here

    for name in CA_VARIABLES:
        if bundle := environ.get(name):
            context = ssl.create_default_context()
            try:
                if Path(bundle).is_dir():
                    context.load_verify_locations(capath=bundle)
                else:
                    context.load_verify_locations(cafile=bundle)
            except (OSError, ssl.SSLError) as error:
                raise SpecError(
                    f"{name} names {bundle}, which cannot be read ({error}); name a PEM file"
                ) from error
            return context
    return None


def _is_excluded(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """Says whether NO_PROXY names the host: by its name, a domain above it, its network, or *."""
    entries = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").replace(",", " ").lower().split()
    return any(_matches(entry, host.lower(), port) for entry in entries)


def _matches(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal():
        if port is None or int(number) != port:
            return False
        entry = name
    domain = entry.removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))

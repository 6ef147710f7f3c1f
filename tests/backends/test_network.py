"""Proxies and certificate authorities as the environment states them."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.network import proxy_for, tls_context, without_password
from harness.core.errors import SpecError

PROXIES = {"HTTPS_PROXY": "http://user:word@proxy.lan:3128", "http_proxy": "proxy.lan:8080"}


@pytest.mark.parametrize(
    ("address", "proxy"),
    [
        ("https://api.example/v1", "http://user:word@proxy.lan:3128"),
        ("http://models.corp/v1", "http://proxy.lan:8080"),
        ("http://127.0.0.1:8000/v1", None),
        ("http://localhost:8000/v1", None),
        ("http://[::1]:8000/v1", None),
    ],
)
def test_a_proxy_is_found_by_the_scheme(address: str, proxy: str | None) -> None:
    """Names in either case, an address without a scheme; never for this machine."""
    assert proxy_for(address, PROXIES) == proxy
    assert proxy_for(address, {}) is None


@pytest.mark.parametrize(
    ("no_proxy", "excluded"),
    [
        ("api.example", True),
        ("example", True),
        (".example", True),
        ("*.example", True),
        ("ample", False),
        ("other.example", False),
        ("a, api.example ,b", True),
        ("api.example:443", True),
        ("api.example:8443", False),
        ("*", True),
        ("10.0.0.0/8", False),
        ("", False),
    ],
)
def test_no_proxy_excludes_hosts(no_proxy: str, excluded: bool) -> None:
    """A host, a domain above it, a port, everything."""
    environ = {**PROXIES, "NO_PROXY": no_proxy}
    assert (proxy_for("https://api.example:443/v1", environ) is None) is excluded


def test_no_proxy_excludes_networks() -> None:
    """An address within a network."""
    environ = {**PROXIES, "no_proxy": "10.0.0.0/8,192.168.1.7"}
    assert proxy_for("http://10.1.2.3/v1", environ) is None
    assert proxy_for("http://192.168.1.7/v1", environ) is None
    assert proxy_for("http://11.1.2.3/v1", environ) == "http://proxy.lan:8080"


def test_a_proxy_that_is_not_supported_is_named_with_its_remedy() -> None:
    """SOCKS; the password is not shown."""
    with pytest.raises(SpecError, match=r"add api\.example to NO_PROXY") as caught:
        proxy_for("https://api.example/v1", {"HTTPS_PROXY": "socks5://user:word@proxy.lan:1080"})
    assert "word" not in str(caught.value)
    assert without_password("http://user:word@proxy.lan:3128") == "http://proxy.lan:3128"


def test_certificate_authorities_of_the_environment(tmp_path: Path) -> None:
    """A file that cannot be read is named; without a variable the system's authorities hold."""
    assert tls_context({}) is None
    (tmp_path / "ca.pem").write_text("no certificate")
    for bundle in ("ca.pem", "missing.pem"):
        with pytest.raises(SpecError, match=r"REQUESTS_CA_BUNDLE names .*; name a PEM file"):
            tls_context({"REQUESTS_CA_BUNDLE": str(tmp_path / bundle)})

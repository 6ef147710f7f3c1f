"""Reads the version that a self-hosted server reports at an address of its own. Pure.

These addresses are no part of the dialects: a server may answer at none of them."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from backends.dialects.providers import Provider
from backends.dialects.responses import HttpResponse

# Path below the server's root, and the field with the version.
VERSION_PAGES: Mapping[str, str] = {
    "/version": "version",  # vLLM, TensorRT-LLM
    "/server_info": "version",  # SGLang
    "/get_server_info": "version",  # SGLang, before
    "/props": "build_info",  # llama.cpp
    "/api/version": "version",  # Ollama
    "/info": "version",  # Text Generation Inference
}


def is_self_hosted(row: Provider) -> bool:
    """Says whether users run this provider's server: its address is their own, or on their machine."""
    return row.base_url is None or row.base_url.startswith("http://127.0.0.1")


def reported_version(path: str, answer: HttpResponse) -> str | None:
    """Returns the version on one of the pages; None if the answer has none."""
    if answer.status != 200:
        return None
    try:
        page = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    version = page.get(VERSION_PAGES[path]) if isinstance(page, dict) else None
    return version if isinstance(version, str) else None

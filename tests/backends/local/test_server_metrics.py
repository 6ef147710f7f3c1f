"""Loads read from recorded pages, cut to some families: vLLM 0.32.0 at 24 requests, llama.cpp with 8 slots at
12."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.local.server_metrics import read_load
from harness.core.vocabulary import ServerLoad

PAGES = Path(__file__).with_name("load_pages")


@pytest.mark.parametrize(
    ("server", "load"),
    [
        (
            "vllm",
            ServerLoad(
                running=24,
                waiting=0,
                steps=164,
                cache_use=0.06597938144329896,
                prefix_queries=30603,
                prefix_hits=7680,
            ),
        ),
        (
            "llamacpp",
            ServerLoad(running=8, waiting=4, steps=1, cache_use=None, prefix_queries=38, prefix_hits=0),
        ),
    ],
)
def test_a_servers_page(server: str, load: ServerLoad) -> None:
    """The figures of the page are read; figures that are missing stay unknown."""
    assert read_load((PAGES / f"{server}.txt").read_bytes()) == load


def test_engines_side_by_side_are_one_load() -> None:
    """Requests and tokens of all engines of a server add up; the greatest cache use counts."""
    one = (PAGES / "vllm.txt").read_bytes()
    load = read_load(one + one.replace(b'engine="0"', b'engine="1"').replace(b"0.0659", b"0.5"))
    assert load is not None
    assert (load.running, load.prefix_hits) == (48, 15360)
    assert load.cache_use is not None
    assert load.cache_use > 0.5


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<html>not found</html>",
        b"# HELP up\nup 1\n",
        b"vllm:num_requests_running NaN?\n",
        b"\xff\xfe 1",
    ],
)
def test_an_unknown_page_has_no_load(page: bytes) -> None:
    """Other pages and broken ones report no load."""
    assert read_load(page) is None

"""What a model server tells of its load, in the text format of Prometheus. Pure.

Sources: vLLM's documentation of its production metrics; the documentation of llama.cpp's server."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.core.vocabulary import ServerLoad

# What ServerLoad calls it -> what a server calls it, or the parts of it. One page has the names of one server.
NAMES: tuple[Mapping[str, tuple[str, ...]], ...] = (
    {
        "running": ("vllm:num_requests_running",),
        "waiting": ("vllm:num_requests_waiting",),
        "steps": ("vllm:iteration_tokens_total_count",),
        "cache_use": ("vllm:kv_cache_usage_perc",),
        "prefix_queries": ("vllm:prefix_cache_queries_total",),
        "prefix_hits": ("vllm:prefix_cache_hits_total",),
    },
    {
        "running": ("llamacpp:requests_processing",),
        "waiting": ("llamacpp:requests_deferred",),
        "steps": ("llamacpp:n_decode_total",),
        "prefix_queries": ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
        "prefix_hits": ("llamacpp:prompt_tokens_cached_total",),
    },
)
_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{[^\n]*\})? (\S+)", re.MULTILINE)


def read_load(page: bytes) -> ServerLoad | None:
    """The load that this page tells of; None if it is of no server that we know.

    Engines side by side in one server (vLLM's data parallelism) are added up; of their cache use the fullest counts."""
    seen: dict[str, list[float]] = {}
    for name, text in _LINE.findall(page.decode("utf-8", "replace")):
        try:
            seen.setdefault(name, []).append(float(text))
        except ValueError:
            return None
    for names in NAMES:
        if names["running"][0] in seen and names["waiting"][0] in seen:
            told = {
                claim: [value for part in parts for value in seen.get(part, ())]
                for claim, parts in names.items()
                if parts[0] in seen
            }
            return ServerLoad(
                running=int(sum(told["running"])),
                waiting=int(sum(told["waiting"])),
                steps=_whole(told.get("steps")),
                cache_use=max(told["cache_use"]) if "cache_use" in told else None,
                prefix_queries=_whole(told.get("prefix_queries")),
                prefix_hits=_whole(told.get("prefix_hits")),
            )
    return None


def _whole(values: list[float] | None) -> int | None:
    return None if values is None else int(sum(values))

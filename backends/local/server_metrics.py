"""Reads the load of a model server from its metrics page, in the text format of Prometheus. Pure.

Sources: vLLM's documentation of its production metrics; the documentation of llama.cpp's server."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.core.vocabulary import ServerLoad

# Field of ServerLoad -> the server's metric, or the metrics to be added. A page has the names of one server.
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
    """Returns the load that this page reports; None if it is not the page of a known server.

    Several engines in one server (vLLM's data parallelism) are added up; their greatest cache use counts."""
    samples: dict[str, list[float]] = {}
    for name, text in _LINE.findall(page.decode("utf-8", "replace")):
        try:
            samples.setdefault(name, []).append(float(text))
        except ValueError:
            return None
    for names in NAMES:
        if names["running"][0] in samples and names["waiting"][0] in samples:
            values = {
                claim: [value for part in parts for value in samples.get(part, ())]
                for claim, parts in names.items()
                if parts[0] in samples
            }
            return ServerLoad(
                running=int(sum(values["running"])),
                waiting=int(sum(values["waiting"])),
                steps=_whole(values.get("steps")),
                cache_use=max(values["cache_use"]) if "cache_use" in values else None,
                prefix_queries=_whole(values.get("prefix_queries")),
                prefix_hits=_whole(values.get("prefix_hits")),
            )
    return None


def _whole(values: list[float] | None) -> int | None:
    return None if values is None else int(sum(values))

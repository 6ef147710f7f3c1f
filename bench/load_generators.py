"""Other people's load generators, `vllm bench serve` and guidellm. A script for the Python of an environment
that has them.

Its arguments are `vllm` or `guidellm`, and a file with one job as JSON: `url`, `model`, `tokenizer` (a
folder), `prompts` (a file; each line has `prompt`, `output_tokens` and `output_tokens_count`), `in_flight`,
`ignore_eos` and `folder`. Each line of the standard input is a number of requests: they are sent, and one
line of JSON answers with `requests`, `requests_per_s`, `output_tokens_per_s`, `output_tokens`, `ttft_s`,
`tpot_s` and `e2e_s` (each with `p50` and `p99`), and `cpu_s`, the CPU time of the whole run with its
processes. The generator stays loaded between runs, because loading it takes longer than a run. Imports
nothing of this program."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[int], dict[str, Any]]


def with_vllm(job: dict[str, Any]) -> Run:
    """Returns a run of vLLM's generator. Its reader of prompt files is replaced: that one wants pandas, which
    vLLM's environment has not."""
    import argparse

    from vllm.benchmarks.datasets import CustomDataset
    from vllm.benchmarks.serve import add_cli_args, main

    def load_data(self: Any) -> None:
        lines = Path(self.dataset_path).read_text(encoding="utf-8").splitlines()
        self.data = [json.loads(line) for line in lines]

    CustomDataset.load_data = load_data
    parser = argparse.ArgumentParser()
    add_cli_args(parser)
    result = Path(job["folder"]) / "vllm-bench.json"
    words = (
        "--backend", "openai-chat", "--endpoint", "/v1/chat/completions", "--base-url", job["url"],
        "--model", job["model"], "--tokenizer", job["tokenizer"], "--dataset-name", "custom",
        "--dataset-path", job["prompts"], "--custom-output-len", "-1", "--disable-shuffle", "--skip-chat-template",
        "--max-concurrency", str(job["in_flight"]), "--temperature", "0", "--ready-check-timeout-sec", "0",
        "--save-result", "--result-filename", str(result), "--percentile-metrics", "ttft,tpot,e2el",
        "--metric-percentiles", "99", *(["--ignore-eos"] if job["ignore_eos"] else []),
    )  # fmt: skip

    def run(requests: int) -> dict[str, Any]:
        # Parsed anew: a run leaves marks on its arguments that the next one refuses.
        main(parser.parse_args([*words, "--num-prompts", str(requests)]))
        found = json.loads(result.read_text(encoding="utf-8"))
        assert found["failed"] == 0, found
        return {
            "requests": found["completed"],
            "requests_per_s": found["request_throughput"],
            "output_tokens_per_s": found["output_throughput"],
            "output_tokens": found["total_output_tokens"],
            **{
                f"{name}_s": {"p50": found[f"median_{key}_ms"] / 1000, "p99": found[f"p99_{key}_ms"] / 1000}
                for name, key in (("ttft", "ttft"), ("tpot", "tpot"), ("e2e", "e2el"))
            },
        }

    return run


def with_guidellm(job: dict[str, Any]) -> Run:
    """Runs guidellm and returns its figures.

    guidellm reports an "inter-token latency": the time after the first token, divided by the number of
    further tokens. The other generators call this figure TPOT."""
    from guidellm.benchmark import benchmark_generative_text
    from guidellm.schemas.benchmark import BenchmarkScenario

    result = Path(job["folder"]) / "guidellm.json"
    spec = {
        "backend": {
            "kind": "openai_http",
            "target": job["url"],
            "model": job["model"],
            "request_format": "/v1/chat/completions",
            "extras": {"body": {"temperature": 0}},
        },
        "profile": {"kind": "concurrent", "streams": [job["in_flight"]]},
        "tokenizer": {"kind": "hf_auto", "model": job["tokenizer"]},
        "data": [{"kind": "json_file", "path": job["prompts"]}],
        "outputs": [{"kind": "json", "path": str(result)}],
    }

    def run(requests: int) -> dict[str, Any]:
        args = BenchmarkScenario.create(
            scenario=None, spec=spec | {"constraints": [{"kind": "max_requests", "count": requests}]}
        )
        asyncio.run(benchmark_generative_text(args=args, progress=False, console=None))
        (found,) = json.loads(result.read_text(encoding="utf-8"))["benchmarks"]
        metrics, wall_s = found["metrics"], found["duration"]
        assert not metrics["request_totals"]["errored"], metrics["request_totals"]

        def both(name: str, factor: float) -> dict[str, float]:
            percentiles = metrics[name]["successful"]["percentiles"]
            return {"p50": percentiles["p50"] * factor, "p99": percentiles["p99"] * factor}

        tokens = metrics["output_token_count"]["successful"]["total_sum"]
        return {
            "requests": metrics["request_totals"]["successful"],
            "requests_per_s": metrics["request_totals"]["successful"] / wall_s,
            "output_tokens_per_s": tokens / wall_s,
            "output_tokens": tokens,
            "ttft_s": both("time_to_first_token_ms", 0.001),
            "tpot_s": both("inter_token_latency_ms", 0.001),
            "e2e_s": both("request_latency", 1.0),
        }

    return run


def cpu_s() -> float:
    """Returns the CPU seconds of this process and of its children that ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


GENERATORS = {"vllm": with_vllm, "guidellm": with_guidellm}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a generator prints is no answer
    run = GENERATORS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        before_s = cpu_s()
        found = run(int(line))
        print(json.dumps(found | {"cpu_s": cpu_s() - before_s}), file=answers, flush=True)


if __name__ == "__main__":
    main()

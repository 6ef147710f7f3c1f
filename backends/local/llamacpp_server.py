"""Runs llama.cpp's server. A script for the engine's Python: `llamacpp_server.py FILE NAME
[SETTING=VALUE...]`

Knows the package xllamacpp, which contains llama.cpp's server as a library; imports nothing of this program.
A setting is a field of its CommonParams, with dots for nested ones: `n_threads_http=2`,
`cpuparams.n_threads=4`. LLAMA_ARG_THREADS, llama.cpp's own variable, sets the number of threads where no
setting does: threads wait for each other hundreds of times a token, so on a busy machine fewer are faster.
Listens on 127.0.0.1."""

from __future__ import annotations

import os
import signal
import sys
from enum import Enum


def put(params: object, setting: str) -> None:
    """Sets one field; the text is converted to the type of the present value."""
    path, _, text = setting.partition("=")
    *parents, name = path.split(".")
    for parent in parents:
        params = getattr(params, parent)
    present = getattr(params, name)
    value: object
    if isinstance(present, bool):
        value = {"true": True, "false": False}[text.lower()]
    elif isinstance(present, Enum):
        value = type(present)[text]
    elif isinstance(present, (int, float, str)):
        value = type(present)(text)
    else:
        raise ValueError(f"{path} is not a simple value")
    setattr(params, name, value)


def main() -> None:
    import xllamacpp

    file, name, *settings = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.model_alias = {name}
    params.endpoint_metrics = True
    if threads := os.environ.get("LLAMA_ARG_THREADS"):
        of_threads = [f"{stage}.n_threads={threads}" for stage in ("cpuparams", "cpuparams_batch")]
        settings = [*of_threads, *settings]
    for setting in settings:
        try:
            put(params, setting)
        except (AttributeError, KeyError, ValueError) as error:
            sys.exit(f"llama.cpp has no setting {setting!r}: {error}")
    server = xllamacpp.Server(params)
    print(f"xllamacpp {xllamacpp.__version__} at {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()

"""Runs llama.cpp's server. Run as a script by the engine's own Python: `python -I llamacpp_server.py FILE NAME [SETTING=VALUE...]`

Knows the package xllamacpp, which carries llama.cpp's server without its program; standard library beside it, and no import of ours.
A setting is a field of its CommonParams, with dots for those within: `n_threads_http=2`, `cpuparams.n_threads=4`. Listens on 127.0.0.1."""

from __future__ import annotations

import signal
import sys
from enum import Enum


def put(params: object, setting: str) -> None:
    """Sets one field, read as its present value is."""
    path, _, text = setting.partition("=")
    *way, name = path.split(".")
    for step in way:
        params = getattr(params, step)
    now = getattr(params, name)
    value: object
    if isinstance(now, bool):
        value = {"true": True, "false": False}[text.lower()]
    elif isinstance(now, Enum):
        value = type(now)[text]
    elif isinstance(now, (int, float, str)):
        value = type(now)(text)
    else:
        raise ValueError(f"{path} is no simple value")
    setattr(params, name, value)


def main() -> None:
    import xllamacpp

    file, name, *settings = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.model_alias = {name}
    params.endpoint_metrics = True
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

"""The environment variables of an engine's processes: named ones, instead of all but the suspicious ones.
Pure.

An engine is foreign code. It gets what programs need to run, what GPUs and mathematical libraries read,
proxies and certificate files, and what the sweep names in `engine.env`. It never gets a key of the sweep.
It gets no environment variable that configures Python. With PYTHONPATH it could import our modules. With the
user's site-packages it could import other versions of its packages. With PYTHONDONTWRITEBYTECODE each start
would take 40 s longer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

_PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|TZ|TMPDIR|TEMP|TMP|LD_LIBRARY_PATH|TOKENIZERS_PARALLELISM|HF_HOME|"
    r"SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|(HTTP|HTTPS|NO)_PROXY|(http|https|no)_proxy|"
    r"(LC|XDG|CUDA|NVIDIA|NCCL|HIP|ROCR|HSA|OMP|KMP|GOMP|MKL|OPENBLAS|VLLM|TORCH|PYTORCH|TRITON|GGML|LLAMA)_.*"
)
_FOR_ENGINES = re.compile(
    r"(HF|HUGGINGFACE|HUGGING_FACE|TRANSFORMERS|VLLM|TORCH|CUDA|GGML|LLAMA|ONEAPI|SYCL)_.*"
)
_SECRET = re.compile(r".*(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL).*", re.IGNORECASE)
_PIP = re.compile(r"PIP_.*")  # pip reads the user's own configuration: an index may need a password


def engine_environ(
    environ: Mapping[str, str], *, named: Iterable[str] = (), withheld: Collection[str] = ()
) -> dict[str, str]:
    """Returns the variables for a process of an engine.

    named     names that the sweep passes on besides the usual ones
    withheld  names of the sweep's keys, which are passed on in no case"""
    chosen = {name for name in environ if _PASSED.fullmatch(name) and not _SECRET.fullmatch(name)}
    passed = (chosen | set(named)) - set(withheld)
    return {name: value for name, value in environ.items() if name in passed} | {"PYTHONNOUSERSITE": "1"}


def pip_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables for pip: those of an engine, and pip's own."""
    named = [name for name in environ if _PIP.fullmatch(name)]
    return engine_environ(environ, named=named) | {
        "PIP_USER": "0",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def dropped_names(environ: Mapping[str, str], passed: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the names that look meant for an engine and are not passed on."""
    return tuple(sorted(name for name in environ if _FOR_ENGINES.fullmatch(name) and name not in passed))

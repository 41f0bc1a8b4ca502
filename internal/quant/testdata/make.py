"""Makes the golden files of internal/quant: NAME.bin has random blocks followed by the float32 values that PyPI gguf
gives for them; NAME.quantized.bin has random float32 values followed by the blocks that gguf packs them into.

Needs gguf==0.19.0 and numpy. Usage: python make.py DIRECTORY [BLOCKS [SEED]]
"""
import pathlib
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

# Offsets of the float16 numbers in a block.
HALVES = {
    "F16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
# NaNs of both kinds and signs, infinities, zeros, subnormal numbers, the smallest and largest normal ones.
SPECIAL = [0x7e00, 0xfe01, 0x7c01, 0x7c00, 0xfc00, 0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x83ff, 0x0400, 0x7bff, 0xfbff]
ALL = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4"]
PACKED = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4"]


def main(out, blocks=0, seed=1):
    np.seterr(all="ignore")
    rng = np.random.default_rng(seed)
    for name in ALL:
        size, nbytes = GGML_QUANT_SIZES[T[name]]
        n = blocks or {1: 1024, 32: 48, 256: 16}[size]
        b = rng.integers(0, 256, (n, nbytes), dtype=np.uint8)
        for at in HALVES.get(name, []):
            half = rng.normal(0, 0.1, n).astype(np.float16).view(np.uint16)
            some = rng.permutation(n)[: n // 2]  # in half of the blocks a special scale
            half[some] = [SPECIAL[i % len(SPECIAL)] for i in range(len(some))]
            b[:, at : at + 2] = half.view(np.uint8).reshape(n, 2)
        if name == "MXFP4":
            b[: min(n, 8), 0] = [0, 1, 2, 3, 126, 127, 254, 255][: min(n, 8)]
        values = np.concatenate([dequantize(row, T[name]) for row in np.array_split(b, n)] if name not in ("F32", "F16") else [dequantize(b.reshape(-1), T[name])])
        (out / f"{name}.bin").write_bytes(b.tobytes() + np.ascontiguousarray(values, np.float32).tobytes())
    for name in PACKED:
        size, _ = GGML_QUANT_SIZES[T[name]]
        n = blocks or {1: 512, 32: 16}[size]
        x = (rng.normal(0, 1, (n, size)) * 10.0 ** rng.uniform(-6, 3, (n, 1))).astype(np.float32)
        x[0] = 0
        (out / f"{name}.quantized.bin").write_bytes(x.tobytes() + quantize(x, T[name]).tobytes())


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))

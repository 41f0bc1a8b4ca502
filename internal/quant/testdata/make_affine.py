"""Makes affine.bin: for every bit width, group and scale type in turn, 256 random weights as packed codes, scales,
biases, and the float32 values that mx.dequantize gives with scales and biases converted to float32. After them, per bit
width and group: 256 random float32 weights and the codes, scales and biases that mx.quantize makes of them.

Needs mlx[cpu]==0.32.4 and numpy. Usage: python make_affine.py FILE [SEED]
"""
import sys

import mlx.core as mx
import numpy as np

N = 256
mx.set_default_device(mx.cpu)


def stored(x, dtype):
    x = mx.array(x).astype(dtype)
    raw = np.array(x.view(mx.uint32 if dtype == mx.float32 else mx.uint16))
    return raw.tobytes(), x.astype(mx.float32)


def main(path, seed=1):
    rng = np.random.default_rng(seed)
    with open(path, "wb") as f:
        for bits in (2, 3, 4, 5, 6, 8):
            for group in (32, 64, 128):
                for dtype in (mx.float32, mx.float16, mx.bfloat16):
                    codes = rng.integers(0, 2**32, (1, N * bits // 32), dtype=np.uint32)
                    scales = rng.normal(0, 0.05, (1, N // group)).astype(np.float32)
                    biases = rng.normal(0, 0.5, (1, N // group)).astype(np.float32)
                    if dtype != mx.float32:
                        scales[0, 0] = [0.0, -0.0, np.inf, np.nan, 1e-40, 6e-8][bits % 6]
                    raw_scales, s = stored(scales, dtype)
                    raw_biases, b = stored(biases, dtype)
                    y = mx.dequantize(mx.array(codes), s, b, group_size=group, bits=bits)
                    f.write(codes.tobytes() + raw_scales + raw_biases + np.array(y, dtype=np.float32).tobytes())
        for bits in (2, 3, 4, 5, 6, 8):
            for group in (32, 64, 128):
                w = (rng.normal(0, 1, (1, N)) * 10.0 ** rng.uniform(-4, 2)).astype(np.float32)
                w[0, :group] = 0.25 if bits == 4 else w[0, :group]  # a constant group
                parts = mx.quantize(mx.array(w), group_size=group, bits=bits)
                f.write(w.tobytes() + b"".join(np.array(p).tobytes() for p in parts))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

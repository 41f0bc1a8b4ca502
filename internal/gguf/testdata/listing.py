"""Lists a GGUF file as PyPI gguf reads it: each key with its kind and value, each tensor with its type, shape, offset and
a CRC-32 of its data. Floats are the bits of a float64; strings are length and CRC-32; an array is its length and the
CRC-32 of its elements' lines.

Needs gguf==0.19.0. Usage: python listing.py MODEL.gguf > MODEL.txt
"""
import struct
import sys
import zlib

from gguf import GGUFReader, GGUFValueType

r = GGUFReader(sys.argv[1])


def text(x):
    if isinstance(x, bool):
        return str(x).lower()
    if isinstance(x, int):
        return str(x)
    if isinstance(x, float):
        return struct.pack(">d", x).hex()
    b = x.encode("utf-8")
    return f"{len(b)}:{zlib.crc32(b):08x}"


for f in r.fields.values():
    if f.name.startswith("GGUF."):
        continue
    v = f.contents()
    kind = GGUFValueType(f.types[0]).name.lower()
    if isinstance(v, list):
        crc = zlib.crc32("".join(text(x) + "\n" for x in v).encode())
        print(f"{f.name} array {len(v)} {GGUFValueType(f.types[1]).name.lower()} {crc:08x}")
    else:
        print(f"{f.name} {kind} {text(v)}")
for t in r.tensors:
    print(t.name, t.tensor_type.name, [int(d) for d in t.shape], int(t.data_offset), f"{zlib.crc32(t.data.tobytes()):08x}")

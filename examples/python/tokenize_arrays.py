"""Encodes the lines of a file on all cores, into NumPy arrays: python tokenize_arrays.py TOKENIZER FILE"""

import sys

import krserve

tokenizer, file = sys.argv[1:]
with open(file, encoding="utf-8") as f:
    lines = f.read().splitlines()
with krserve.Tokenizer(tokenizer) as tok:
    ids, offsets = tok.encode_batch_arrays(lines)
    print(f"{len(lines)} lines, {len(ids)} tokens, {offsets.size} offsets")
    assert [tok.decode(ids[offsets[i] : offsets[i + 1]]) for i in range(len(lines))] == lines

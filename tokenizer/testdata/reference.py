"""Answers for differential tests: what the reference says about texts that arrive on stdin.

usage: python reference.py FILE
FILE is a tokenizer.json (HF tokenizers) or a SentencePiece .model. A request is uint32 length, uint32 flags, the text's bytes, in which invalid
UTF-8 counts as U+FFFD. The answer is uint32 number of ids, the ids as uint32; with OFFSETS two more uint32 (code points) for each id; with
DECODED uint32 length and the UTF-8 text of the ids.
"""
import array, struct, sys

SPECIAL, OFFSETS, DECODED = 1, 2, 4

def main():
    path = sys.argv[1]
    if path.endswith(".model"):
        import sentencepiece
        sp = sentencepiece.SentencePieceProcessor(model_file=path)
        encode = lambda s, flags: (sp.encode(s), None)
        decode = sp.decode
    else:
        from tokenizers import Tokenizer
        tok = Tokenizer.from_file(path)
        tok.no_truncation(); tok.no_padding()
        def encode(s, flags):
            special = bool(flags & SPECIAL)
            if not flags & OFFSETS: return tok.encode_batch_fast([s], add_special_tokens=special)[0].ids, None
            e = tok.encode(s, add_special_tokens=special)
            return e.ids, e.offsets
        decode = lambda ids: tok.decode(ids, skip_special_tokens=False)
    read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
    while head := read(8):
        n, flags = struct.unpack("<II", head)
        ids, offs = encode(read(n).decode("utf-8", "replace"), flags)
        write(struct.pack("<I", len(ids)) + array.array("I", ids).tobytes())
        if flags & OFFSETS: write(array.array("I", [x for o in offs for x in o]).tobytes())
        if flags & DECODED:
            b = decode(ids).encode()
            write(struct.pack("<I", len(b)) + b)
        sys.stdout.buffer.flush()

main()

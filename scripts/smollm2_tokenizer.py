"""Rebuilds SmolLM2's tokenizer.json and chat template from its GGUF.

usage: smollm2_tokenizer.py MODEL.gguf OUTDIR
"""

import json
import os
import sys

from gguf import GGUFReader

CONTROL_TYPES = (3, 4)  # GGUF token types: control, user defined


def main(path, out):
    fields = GGUFReader(path).fields

    def value(key):
        return fields[key].contents()

    tokens = value("tokenizer.ggml.tokens")
    types = value("tokenizer.ggml.token_type")
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, t in enumerate(tokens)
            if types[i] in CONTROL_TYPES
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, {**byte_level, "add_prefix_space": False}],
        },
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {t: i for i, t in enumerate(tokens)},
            "merges": value("tokenizer.ggml.merges"),
        },
    }
    config = {
        "chat_template": value("tokenizer.chat_template"),
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
    }
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "tokenizer.json"), "w") as f:
        json.dump(tokenizer, f, ensure_ascii=False)
    with open(os.path.join(out, "tokenizer_config.json"), "w") as f:
        json.dump(config, f, ensure_ascii=False)


if __name__ == "__main__":
    main(*sys.argv[1:3])

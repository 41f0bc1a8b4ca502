"""Streams a model's answer: python chat.py MODEL PROMPT. Ctrl-C ends the answer."""

import sys

import krserve

model, prompt = sys.argv[1:]
with krserve.Engine(model) as engine:
    with engine.stream([{"role": "user", "content": prompt}], max_tokens=200) as stream:
        for piece in stream:
            print(piece, end="", flush=True)
    print()
    print(f"{stream.usage.prompt_tokens} tokens in, {stream.usage.completion_tokens} out", file=sys.stderr)

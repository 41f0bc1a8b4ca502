"""Evaluates generated models with mlx-lm in float32 and prints testdata/mlx_lm.json.

    go test ./internal/model -run GeneratedMLX -write-peers DIR
    python internal/model/testdata/eval_mlx.py DIR > internal/model/testdata/mlx_lm.json
"""
import json, sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model

mx.set_default_device(mx.cpu)
out = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    model, config = load_model(path)
    model.set_dtype(mx.float32)
    vocab = config["vocab_size"]
    ids = [(i * 7919 + 13) % vocab for i in range(96)]
    logits = np.array(model(mx.array([ids]))[0]).astype(np.float64)
    top = logits.max(-1, keepdims=True)
    logp = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    best = np.argsort(-logp[-1])[:20]
    out[path.name] = {
        "logprobs": [round(float(logp[i, ids[i + 1]]), 5) for i in range(len(ids) - 1)],
        "top": [[int(t), round(float(logp[-1, t]), 5)] for t in best],
    }
json.dump(out, sys.stdout, separators=(",", ":"))

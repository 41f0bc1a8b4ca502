"""Compares krserve with mlx-lm on a directory of Qwen2.5-7B-Instruct-4bit's shape and random weights.

    go run ./internal/model/modelgen/cmd/modelgen -tokenizer .testdata/tok/qwen3/tokenizer.json qwen2.5-7b:AFFINE4 DIR
    python bench/mlx7b.py BIN DIR OUT.json     # with mlx[cpu] 0.32.4 and mlx-lm 0.32.2 installed; 3 minutes, 10 GB

mlx-lm evaluates in float32 on the CPU. OUT gets the largest and mean difference of 23 log-probabilities, of the 20 best
and of 64 logits, and the seconds from process start to the first token of `krserve run`.
"""
import datetime, json, os, platform, statistics, subprocess, sys, time
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model

binary, path, out = sys.argv[1:]
mx.set_default_device(mx.cpu)
model, config = load_model(Path(path))
model.set_dtype(mx.float32)
ids = [(i * 7919 + 13) % config["vocab_size"] for i in range(24)]
logits = np.array(model(mx.array([ids]))[0]).astype(np.float64)
del model
logp = logits - logits.max(-1, keepdims=True)
logp -= np.log(np.exp(logp).sum(-1, keepdims=True))
ours = json.loads(subprocess.run([binary, "score", "-model", path], input=json.dumps({"ids": ids}), capture_output=True, text=True, check=True).stdout)
theirs = [float(logp[i, ids[i + 1]]) for i in range(23)]
first = []
for _ in range(5):
    start = time.perf_counter()
    subprocess.run([binary, "run", "-model", path, "-raw", "-n", "1", "Hello"], capture_output=True, check=True)
    first.append(time.perf_counter() - start)
diff = [abs(a - b) for a, b in zip(theirs, ours["logprobs"])]
result = {
    "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    "machine": "%s, %d cores" % (next(l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), os.cpu_count()),
    "system": platform.platform(), "command": "bench/mlx7b.py BIN qwen2.5-7b:AFFINE4 OUT",
    "logprob_max": max(diff), "logprob_mean": statistics.mean(diff),
    "top_max": max(abs(logp[-1, t] - p) for t, p in ours["top"]),
    "top20_same": len({t for t, _ in ours["top"]} & set(np.argsort(-logp[-1])[:20].tolist())),
    "logits_max": max(abs(a - b) for a, b in zip(logits[-1][:64], ours["logits_first64"])),
    "start_to_first_token_s": sorted(first),
}
with open(out, "w") as f:
    json.dump(result, f, indent=1)
print(json.dumps(result, indent=1))

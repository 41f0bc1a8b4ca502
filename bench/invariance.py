"""Measures what it costs that no sum's order depends on the batch. Against the library stand builds of the same sources that
give the rule up where it could cost something:

  BIN-1048576   attention in one run over all positions: no segments, no merging (one thread)
  BIN-2112      attention in as many segments as there are threads, as a split made for this one sequence would have
  BIN-openblas  prompts through OpenBLAS' sgemm, whose order varies with the number of rows (-kernel Accelerate)

How near decoding comes to what plain reading reaches bounds what any other order could gain there.

usage: python bench/invariance.py -bin BIN -model GGUF -out bench/results/FILE [-depth 4096] [-rounds 3]
Runs alternate; medians. Standard library only.
"""
import argparse, datetime, json, os, platform, statistics, subprocess


def run(cmd):
    done = subprocess.run(cmd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit("%s: %s" % (" ".join(cmd), done.stderr.strip()[-500:]))
    return json.loads(done.stdout)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-bin", required=True)
    p.add_argument("-model", required=True)
    p.add_argument("-out", required=True)
    p.add_argument("-depth", type=int, default=4096)
    p.add_argument("-rounds", type=int, default=3)
    a = p.parse_args()
    deep = ["-prompt", "16", "-depth", str(a.depth), "-gen", "64"]
    flat = ["-prompt", "1024", "-depth", "0", "-gen", "64"]
    runs = [  # name, binary, flags, what is read
        ("decode after %d tokens, 1 thread" % a.depth, "", ["-threads", "1"] + deep, "decode_tok_s"),
        ("the same without segments", "-1048576", ["-threads", "1"] + deep, "decode_tok_s"),
        ("decode after %d tokens, 2 threads" % a.depth, "", ["-threads", "2"] + deep, "decode_tok_s"),
        ("the same with a segment per thread", "-2112", ["-threads", "2"] + deep, "decode_tok_s"),
        ("prompt of 1024 tokens, 2 threads", "", ["-threads", "2"] + flat, "prefill_tok_s"),
        ("the same by OpenBLAS", "-openblas", ["-threads", "2", "-kernel", "Accelerate"] + flat, "prefill_tok_s"),
    ]
    results = [[] for _ in runs]
    for _ in range(a.rounds):
        for i, (_, suffix, flags, _) in enumerate(runs):
            results[i].append(run([a.bin + suffix, "bench", "-model", a.model, "-parallel", "", "-reps", "1", "-drafts=false", "-json"] + flags))
    one = results[4][0]
    lines = [
        "# What the fixed order of sums costs",
        "",
        "%s, %s, %d cores; %s. %s, `make bench-invariance`; runs alternate, medians of %d (range)."
        % (datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), one["device"], os.cpu_count(), platform.platform(),
           os.path.basename(a.model), a.rounds),
        "The second line of each pair is a build of the same sources that gives the rule up in one place (bench/invariance.py says how).",
        "",
        "| | tokens/s | free order gains |",
        "|---|---|---|",
    ]
    for i, (name, _, _, key) in enumerate(runs):
        v = [r[key] for r in results[i]]
        gain = ""
        if i % 2:
            gain = "%+.1f %%" % (100 * (statistics.median(v) / statistics.median(r[key] for r in results[i - 1]) - 1))
        lines.append("| %s | %.1f (%.1f–%.1f) | %s |" % (name, statistics.median(v), min(v), max(v), gain))
    fraction = statistics.median(r["bandwidth_fraction"] for r in results[4])
    lines += ["", "Decoding without context reads its weights at %.0f %% of the speed of plain reading (%.1f GB/s), on 2 threads: no order of sums gains "
              "more there than the rest." % (100 * fraction, statistics.median(r["read_gb_s"] for r in results[4]))]
    with open(a.out + ".json", "w") as f:
        json.dump({name: rs for (name, _, _, _), rs in zip(runs, results)}, f)
    with open(a.out + ".md", "w") as f:
        f.write("\n".join(lines) + "\n")
    print("\n".join(lines))


main()

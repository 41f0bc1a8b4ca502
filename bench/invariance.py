"""Measures what it costs that no sum's order depends on the batch. Against the library stand builds of the same sources that
give the rule up where it could cost something:

  BIN-1048576   attention in one run over all positions: no segments, no merging (one thread)
  BIN-2112      attention in as many segments as there are threads, as a split made for this one sequence would have
  BIN-openblas  prompts through OpenBLAS' sgemm, whose order varies with the number of rows (-kernel Accelerate)

usage: python bench/invariance.py -bin BIN -model GGUF -out bench/results/FILE [-rounds 3] [-keep DIR [-most N]]
Runs alternate; medians. -keep holds every run's result in a folder, where a further call goes on; -most ends a call after N
runs. Standard library only.
"""
import argparse, datetime, json, os, platform, statistics, subprocess, sys


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
    p.add_argument("-rounds", type=int, default=3)
    p.add_argument("-keep")
    p.add_argument("-most", type=int, default=1 << 30)
    a = p.parse_args()

    def deep(depth):
        return ["-prompt", "16", "-depth", str(depth), "-gen", "64"]

    flat = ["-prompt", "1024", "-depth", "0", "-gen", "64"]
    runs = [  # name, binary, flags, what is read
        ("decode after 2048 tokens, 1 thread", "", ["-threads", "1"] + deep(2048), "decode_tok_s"),
        ("the same without segments", "-1048576", ["-threads", "1"] + deep(2048), "decode_tok_s"),
        ("decode after 4096 tokens, 2 threads", "", ["-threads", "2"] + deep(4096), "decode_tok_s"),
        ("the same with a segment per thread", "-2112", ["-threads", "2"] + deep(4096), "decode_tok_s"),
        ("prompt of 1024 tokens, 2 threads", "", ["-threads", "2"] + flat, "prefill_tok_s"),
        ("the same by OpenBLAS", "-openblas", ["-threads", "2", "-kernel", "Accelerate"] + flat, "prefill_tok_s"),
    ]
    results = [[] for _ in runs]
    for n in range(a.rounds):
        for i, (_, suffix, flags, _) in enumerate(runs):
            kept = os.path.join(a.keep, "%d-%d.json" % (n, i)) if a.keep else ""
            if kept and os.path.exists(kept):
                with open(kept) as f:
                    results[i].append(json.load(f))
                continue
            if a.most == 0:
                sys.exit("not all runs are done")
            a.most -= 1
            results[i].append(run([a.bin + suffix, "bench", "-model", a.model, "-parallel", "", "-reps", "1", "-drafts=false", "-json"] + flags))
            if kept:
                with open(kept, "w") as f:
                    json.dump(results[i][-1], f)
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
    with open(a.out + ".json", "w") as f:
        json.dump({name: rs for (name, _, _, _), rs in zip(runs, results)}, f)
    with open(a.out + ".md", "w") as f:
        f.write("\n".join(lines) + "\n")
    print("\n".join(lines))


main()

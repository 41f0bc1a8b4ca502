"""Measures what a long prompt costs again: the turn after it, and the first request after a restart with a file of keys and
values. Every process is one life of `krserve bench prefix` with the same prompts; the file is new for each pair. Writes
FILE.json with every life and FILE.md with the tables.

usage: python bench/prefix.py -krserve BIN -model GGUF -out bench/results/FILE [-pool kvcache.test] [-tokens 4096] [-rounds 2]
-pool adds the pool's own benchmarks. Standard library only.
"""
import argparse, datetime, json, os, platform, statistics, subprocess, tempfile


def run(cmd):
    done = subprocess.run(cmd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit("%s: %s" % (" ".join(cmd), done.stderr.strip()[-500:]))
    return done.stdout


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-krserve", required=True)
    p.add_argument("-model", required=True)
    p.add_argument("-out", required=True)
    p.add_argument("-pool")
    p.add_argument("-tokens", type=int, default=4096)
    p.add_argument("-rounds", type=int, default=2)
    a = p.parse_args()
    command = ["bench", "prefix", "-model", a.model, "-tokens", str(a.tokens), "-reps", "1", "-json"]
    rounds = []
    for n in range(a.rounds):
        with tempfile.TemporaryDirectory() as folder:
            lives = [json.loads(run([a.krserve] + command + ["-seed", str(n + 1), "-file", os.path.join(folder, "kv")])) for _ in range(2)]
        rounds.append({"cold": lives[0], "warm": lives[1]})
    pool = run([a.pool, "-test.run", "^$", "-test.bench", "Acquire4k|Forks", "-test.benchmem", "-test.benchtime", "1s"]) if a.pool else ""

    def ttft(life, turn):
        return statistics.median(r[life][turn][0]["ttft_ms"] for r in rounds)

    cold, second, warm = ttft("cold", "first"), ttft("cold", "second"), ttft("warm", "first")
    last = rounds[-1]
    one = last["cold"]
    with open(a.out + ".json", "w") as f:
        json.dump({"rounds": rounds, "pool": pool}, f)
    lines = [
        "# A long prompt, its next turn, and a restart",
        "",
        "%s, %s, %d cores; %s. %s, %d threads, keys and values %s, `make bench-prefix`; medians of %d rounds, each a new file."
        % (datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), one["device"], os.cpu_count(), platform.platform(),
           os.path.basename(a.model), one["threads"], one["kv_type"], a.rounds),
        "A life is a process of its own, `krserve %s -file F`: cold is its first request, the next turn adds the answer and %d tokens,"
        % (" ".join(command[:3] + [os.path.basename(a.model)] + command[4:-1]), last["cold"]["second"][0]["prompt_tokens"] - a.tokens - 16),
        "warm is the first request of a second process with the same file, opening not included (%.0f ms)." % last["warm"]["open_ms"],
        "",
        "| | prompt tokens | of them found | first token after, ms | of cold | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for name, life, turn, value, want in (("cold", "cold", "first", cold, ""), ("next turn", "cold", "second", second, "≤ 1/20"),
                                          ("after a restart", "warm", "first", warm, "≤ 1/5")):
        t = last[life][turn][0]
        part = "1/%.1f" % (cold / value) if want else ""
        lines.append("| %s | %d | %d | %.1f | %s | %s |" % (name, t["prompt_tokens"], t["cached_tokens"], value, part, want))
    if pool:
        lines += ["", "`go test ./kvcache -run '^$' -bench 'Acquire4k|Forks' -benchmem` (wanted: a match of 4k tokens in ≤ 20 µs without allocation, "
                  "≤ 1 block per fork):", "```", pool.strip(), "```"]
    with open(a.out + ".md", "w") as f:
        f.write("\n".join(lines) + "\n")
    print("\n".join(lines))


main()

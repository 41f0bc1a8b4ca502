"""Measures krserve against llama.cpp in one run: the same model files, threads and numbers of tokens, the two in turn,
medians over the rounds. Writes FILE.json with every repetition and FILE.md with the table.

usage: python bench/peers.py -krserve BIN -peers DIR -models DIR -out bench/results/FILE [-rounds 3] [-only PATTERN]
DIR of peers is what bench/peers.sh makes; DIR of models has smollm2.gguf and gemma3-270m.gguf. Standard library only.

llama.cpp runs as llama-bench and llama-batched-bench with flash attention as its own default chooses; krserve as
`krserve bench`, with activations of 16 bits, its default, and of 8, which is what llama.cpp rounds them to, and without
drafts, which llama-bench has not. Both read the
model through mmap from a warm page cache, and both load it outside of what is timed. In the rows named "busy" one spinning process per core runs beside.
"""
import argparse, contextlib, datetime, json, multiprocessing, os, platform, re, statistics, subprocess, time

THREADS = "2"
SYSTEMS = "krserve", "krserve, 8 bits", "llama.cpp"


def out(cmd):
    done = subprocess.run(cmd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError("%s: %s" % (" ".join(cmd), done.stderr.strip()[-500:]))
    return done.stdout


class Peers:
    def __init__(self, a):
        self.k, self.p = a.krserve, a.peers

    def ours(self, model, bits, prompt=32, gen=2, parallel="", depth=0, kernel=""):
        cmd = [self.k, "bench", "-model", model, "-activation-bits", str(bits), "-threads", THREADS, "-prompt", str(prompt), "-gen", str(gen), "-reps", "1", "-drafts=false",
               "-parallel", parallel, "-depth", str(depth), "-json"]
        return json.loads(out(cmd + (["-kernel", kernel] if kernel else [])))

    def llama(self, model, *args, build="llama"):
        rows = json.loads(out([os.path.join(self.p, build, "bin", "llama-bench"), "-m", model, "-t", THREADS, "-r", "1", "-o", "json", *args]))
        return [r["avg_ts"] for r in rows]

    def prefill(self, model, n, kernel="", build="llama"):
        return (lambda bits: self.ours(model, bits, prompt=n, kernel=kernel)["prefill_tok_s"],
                lambda: self.llama(model, "-p", str(n), "-n", "0", build=build)[0])

    def decode(self, model, n, depth=0, kernel="", build="llama"):
        return (lambda bits: self.ours(model, bits, gen=n, depth=depth, kernel=kernel)["decode_tok_s"],
                lambda: self.llama(model, "-p", "0", "-n", str(n), "-d", str(depth), build=build)[0])

    def batch(self, model, n, prompt, gen):
        def theirs():
            text = out([os.path.join(self.p, "llama", "bin", "llama-batched-bench"), "-m", model, "-t", THREADS, "-c", str(n * (prompt + gen)),
                        "-npp", str(prompt), "-ntg", str(gen), "-npl", str(n), "--output-format", "jsonl"])
            return next(json.loads(l)["speed"] for l in text.splitlines() if l.startswith("{"))
        return lambda bits: self.ours(model, bits, prompt=prompt, gen=gen, parallel=str(n))["parallel"][0]["total_tok_s"], theirs

    def load(self, model):
        """Seconds of a whole process that answers a prompt of about 32 tokens with one token."""
        text = "The quick brown fox jumps over the lazy dog, and then it does so again and again until the evening comes to the quiet valley below."

        def wall(cmd):
            start = time.perf_counter()
            out(cmd)
            return time.perf_counter() - start
        return (lambda bits: wall([self.k, "run", "-model", model, "-activation-bits", str(bits), "-raw", "-n", "1", text]),
                lambda: wall([os.path.join(self.p, "llama", "bin", "llama-bench"), "-m", model, "-t", THREADS, "-p", "32", "-n", "0", "-r", "1", "--no-warmup"]))


def spin():
    while True:
        pass


@contextlib.contextmanager
def hogs(n):
    ps = [multiprocessing.Process(target=spin, daemon=True) for _ in range(n)]
    for p in ps:
        p.start()
    try:
        yield
    finally:
        for p in ps:
            p.kill()
            p.join()


def table(a):
    p = Peers(a)
    smol, gemma = (os.path.join(a.models, m + ".gguf") for m in ("smollm2", "gemma3-270m"))
    seven = {t: os.path.join(a.peers, "qwen2.5-7b-%s.gguf" % t) for t in ("Q4_0", "Q4_K")}
    cores = os.cpu_count()
    # name, unit, goal as a ratio, (ours, theirs), rounds or 0 for the default, hogs
    yield "SmolLM2 135M Q4_1, prefill 512", "tok/s", 7, p.prefill(smol, 512), 0, 0
    yield "SmolLM2 135M Q4_1, decode 64", "tok/s", 2, p.decode(smol, 64), 0, 0
    yield "SmolLM2 135M Q4_1, 10 x (128+64)", "tok/s", 5, p.batch(smol, 10, 128, 64), 0, 0
    yield "Gemma 3 270M Q4_K_M, prefill 512", "tok/s", 3, p.prefill(gemma, 512), 0, 0
    yield "Gemma 3 270M Q4_K_M, decode 64", "tok/s", 1.5, p.decode(gemma, 64), 0, 0
    yield "SmolLM2, prefill 7168", "tok/s", 4, p.prefill(smol, 7168), 1, 0
    yield "SmolLM2, decode 32 at depth 7000", "tok/s", 2, p.decode(smol, 32, depth=7000), 1, 0
    for t in ("Q4_0", "Q4_K"):
        yield "Qwen2.5-7B shape %s, prefill 128" % t, "tok/s", 2, p.prefill(seven[t], 128), 1, 0
        yield "Qwen2.5-7B shape %s, decode 16" % t, "tok/s", 1.1, p.decode(seven[t], 16), 0, 0
    yield "SmolLM2, prefill 512, AVX2 only", "tok/s", None, p.prefill(smol, 512, "AVX2", "llama-avx2"), 0, 0
    yield "SmolLM2, decode 64, AVX2 only", "tok/s", None, p.decode(smol, 64, 0, "AVX2", "llama-avx2"), 0, 0
    yield "Gemma 3 270M, prefill 512, AVX2 only", "tok/s", None, p.prefill(gemma, 512, "AVX2", "llama-avx2"), 0, 0
    yield "Gemma 3 270M, decode 64, AVX2 only", "tok/s", None, p.decode(gemma, 64, 0, "AVX2", "llama-avx2"), 0, 0
    yield "SmolLM2, decode 64, busy", "tok/s", None, p.decode(smol, 64), 0, cores
    yield "SmolLM2, prefill 512, busy", "tok/s", None, p.prefill(smol, 512), 0, cores
    yield "SmolLM2, process start to first token, 32-token prompt", "s", None, p.load(smol), 5, 0


def main():
    q = argparse.ArgumentParser()
    for name in ("krserve", "peers", "models", "out"):
        q.add_argument("-" + name, required=True)
    q.add_argument("-rounds", type=int, default=3)
    q.add_argument("-only", default="")
    a = q.parse_args()
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.processor())
    result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "machine": "%s, %d cores" % (cpu, os.cpu_count()),
              "system": platform.platform(), "command": "bench/peers.py -rounds %d" % a.rounds + (" -only '%s'" % a.only if a.only else ""),
              "threads": int(THREADS), "rows": []}
    note = os.path.join(a.peers, "llama", "build-note.txt")
    if os.path.exists(note):
        result["note"] = open(note).read().strip()
    one = out([a.krserve, "bench", "-model", os.path.join(a.models, "smollm2.gguf"), "-parallel", "", "-prompt", "8", "-gen", "2", "-reps", "1", "-json"])
    result["read_gb_s"] = json.loads(one)["read_gb_s"]
    for name, unit, goal, (ours, theirs), rounds, busy in table(a):
        if a.only and not re.search(a.only, name):
            continue
        row = {"name": name, "unit": unit, "goal": goal, **{system: [] for system in SYSTEMS}}
        with hogs(busy):
            for _ in range(rounds or a.rounds):
                for system, f in zip(SYSTEMS, (lambda: ours(16), lambda: ours(8), theirs)):
                    try:
                        row[system].append(f())
                    except (RuntimeError, OSError, StopIteration) as e:
                        row["error"] = "%s: %s" % (system, e)
        if all(row[system] for system in SYSTEMS):
            k, k8, l = (statistics.median(row[system]) for system in SYSTEMS)
            row["ratio"], row["ratio, 8 bits"] = (l / k, l / k8) if unit == "s" else (k / l, k8 / l)
            print("%-55s krserve %8.2f, 8 bits %8.2f  llama.cpp %8.2f %-5s  %.2fx, %.2fx" % (name, k, k8, l, unit, row["ratio"], row["ratio, 8 bits"]), flush=True)
        else:
            print("%-55s %s" % (name, row.get("error")), flush=True)
        result["rows"].append(row)
        write(a.out, result)
    if not a.only:
        memory(a, result)
        write(a.out, result)


def memory(a, result):
    """Peak resident memory with one full context of 2,048 tokens, and what it is made of."""
    smol = os.path.join(a.models, "smollm2.gguf")
    kv = 2048 * 23400
    one = json.loads(out([a.krserve, "bench", "-model", smol, "-threads", THREADS, "-prompt", "1984", "-gen", "64", "-parallel", "", "-reps", "1",
                          "-kv-bytes", str(kv), "-json"]))
    result["peak_rss"], result["file_bytes"], result["kv_bytes"] = int(one["peak_mb"] * 2**20), os.path.getsize(os.path.realpath(smol)), kv


def write(path, r):
    with open(path + ".json", "w") as f:
        json.dump(r, f, indent=1)
    with open(path + ".md", "w") as f:
        f.write("# krserve and llama.cpp\n\n%s, %s; %s. %d threads, all in turn, medians. krserve with 16-bit activations, and with 8-bit ones as llama.cpp. Plain reading by all threads: %.1f GB/s.\n`%s`\n\n"
                % (r["date"], r["machine"], r["system"], r["threads"], r["read_gb_s"], r["command"]))
        f.write("| | krserve | 8 bits | llama.cpp | unit | ratio | 8 bits | wanted |\n|---|---|---|---|---|---|---|---|\n")
        for row in r["rows"]:
            if "ratio" not in row:
                f.write("| %s | | | | | failed: %s | | |\n" % (row["name"], row.get("error")))
                continue
            f.write("| %s | %s | %s | %.2f | %.2f | %s |\n" % (row["name"], " | ".join("%.4g" % statistics.median(row[system]) for system in SYSTEMS),
                                                           row["unit"], row["ratio"], row["ratio, 8 bits"], row["goal"] or ""))
        if "note" in r:
            f.write("\n%s\n" % r["note"])
        if "peak_rss" in r:
            f.write("\nPeak resident memory of krserve with SmolLM2 and a context of 2,048 tokens: %.1f MB; the file has %.1f MB, keys and values %.1f MB.\n"
                    % (r["peak_rss"] / 1e6, r["file_bytes"] / 1e6, r["kv_bytes"] / 1e6))


if __name__ == "__main__":
    main()

"""Times krserve's tokenizer against gigatoken and fastokens: a fresh process for each repetition, systems interleaved,
medians over the rounds, on one machine in one run. Writes OUT.json with every repetition, and OUT.md.

usage: python tokenizer.py -krserve BIN -tokenizers DIR -texts DIR [-gguf FILE,FILE] [-only qwen3,gemma3] [-on en,zh]
                           [-bytes 7000000] [-rounds 5] [-limit SECONDS] -out results/tokenizer
DIR of tokenizers has NAME/tokenizer.json, DIR of texts NAME.txt. Needs the packages gigatoken, fastokens and numpy.
With -limit it stops after that many seconds with status 75, and goes on from OUT.json when called again with the same
binary and arguments. Every round is one process of each system for each tokenizer and text; a table holds the medians so far.

What is compared: text in memory to ids in memory. krserve returns a new []uint32 (or writes into the caller's: "buffer"),
gigatoken a numpy array, fastokens an object of its own; making those is part of their time, as a caller would see it.
Loading is reported apart.
"""
import argparse, datetime, hashlib, json, os, platform, statistics, subprocess, sys, tempfile, time

SYSTEMS = ("krserve", "gigatoken", "fastokens")
NAMES = {"qwen3": "Qwen3", "llama3_1": "Llama 3.1", "gpt4o": "GPT-4o", "deepseek_v3": "DeepSeek-V3", "gemma3": "Gemma 3", "llama2": "Llama 2"}
PROMPT, MIDDLE = 20_000, 4_000_000


def peer(system, path, file, limit):
    import numpy
    text = open(file, "rb").read()[:int(limit) or None].decode("utf-8", "ignore").encode()
    start = time.perf_counter()
    if system == "gigatoken":
        import gigatoken
        tok = gigatoken.Tokenizer(path)
        encode, give, form = tok.encode, lambda b: b, lambda ids: numpy.asarray(ids)
    else:
        import fastokens
        tok = fastokens._native.Tokenizer.from_file(path)
        encode, give, form = lambda s: tok.encode(s, add_special_tokens=False), lambda b: b.decode(), lambda r: list(r.ids)
    load = time.perf_counter() - start
    given = give(text)

    def rate(do, n=len(text)):
        start = time.perf_counter()
        out = do()
        return out, n / 1e6 / (time.perf_counter() - start)

    best = lambda do: max(rate(do)[1] for _ in range(3))
    ids, cold = rate(lambda: encode(given))
    warm = best(lambda: encode(given))
    peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) / 1024
    ids = form(ids)
    slices = [give(text[i:i + PROMPT].decode("utf-8", "ignore").encode()) for i in range(0, len(text), PROMPT)]

    def prompts():
        for s in slices:
            encode(s)

    def decode():
        return tok.decode(ids) if system == "gigatoken" else tok.decode(ids, skip_special_tokens=False)

    flat = numpy.asarray(ids, dtype=numpy.uint32).reshape(-1)
    print(json.dumps({"load_ms": load * 1e3, "bytes": len(text), "tokens": len(flat), "cold_mb_s": cold, "warm_mb_s": warm,
                      "prompt_mb_s": best(prompts), "decode_mb_s": best(decode), "peak_mb": peak,
                      "ids_sha256": hashlib.sha256(flat.astype("<u4").tobytes()).hexdigest()}))


def main():
    if sys.argv[1:2] == ["-peer"]:
        return peer(*sys.argv[2:6])
    p = argparse.ArgumentParser()
    for name in ("krserve", "tokenizers", "texts", "out"):
        p.add_argument("-" + name, required=True)
    p.add_argument("-only", default=",".join(NAMES))
    p.add_argument("-on", default="en,go,zh,ja,ru,multi")
    p.add_argument("-gguf", default="")
    p.add_argument("-bytes", type=int, default=7_000_000)
    p.add_argument("-rounds", type=int, default=5)
    p.add_argument("-limit", type=float, default=0)
    a = p.parse_args()
    begun, out = time.monotonic(), a.out + ".json"
    same = {"binary": hashlib.sha256(open(a.krserve, "rb").read()).hexdigest(), "bytes": a.bytes, "rounds": a.rounds, "only": a.only, "on": a.on}
    result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "machine": machine(), "same": same,
              "command": "make bench-tokenizer" + (" TOK_FLAGS='%s'" % " ".join("-%s %s" % (k, getattr(a, k)) for k in ("only", "on", "bytes", "rounds")
                                                                             if getattr(a, k) != p.get_default(k))).replace(" TOK_FLAGS=''", ""), "rows": [], "load": {}}
    if os.path.exists(out):
        old = json.load(open(out))
        if old["same"] == same and old["machine"]["cpu"] == result["machine"]["cpu"]:
            result = old
    rows = {(r["tokenizer"], r["text"]): r for r in result["rows"]}

    def save():
        json.dump(result, open(out, "w"), indent=1)
        open(a.out + ".md", "w").write(page(result))

    def late():
        return a.limit and time.monotonic() - begun > a.limit

    mixed(a.texts)
    loads(a, result["load"])
    # The texts outside, the tokenizers inside: a run that is cut short has seen every tokenizer.
    for n in range(a.rounds):
        for text in a.on.split(","):
            for name in a.only.split(","):
                row = rows.get((name, text))
                if row is None:
                    row = rows[name, text] = {"tokenizer": name, "text": text, "reps": {}, "median": {}}
                    result["rows"].append(row)
                for system, (command, threads) in commands(a, name, text).items():
                    reps = row["reps"].setdefault(system, [])
                    if len(reps) > n:
                        continue
                    if late():
                        save()
                        print("to be continued", flush=True)
                        return 75
                    reps.append(call(command, threads))
                    summarise(row)
                save()
                print(line(row), flush=True)
    save()
    return 0


def loads(a, result):
    """Times loading from GGUF files and from what was compiled: five processes each."""
    with tempfile.TemporaryDirectory() as tmp:
        text = os.path.join(tmp, "text")
        open(text, "w").write("a")
        paths = {os.path.basename(p): p for p in a.gguf.split(",") if p}
        for name in a.only.split(","):
            paths[name] = os.path.join(a.tokenizers, name, "tokenizer.json")
        for name, path in paths.items():
            command = [a.krserve, "bench", "tokenizer", "-tokenizer", path, "-file", text, "-json"]
            for how, more in {"": [], " compiled": ["-cache", tmp]}.items():
                if name + how in result or how == "" and not path.endswith(".gguf"):
                    continue
                if how:
                    call(command + more, 1)
                result[name + how] = [call(command + more, 1).get("load_ms") for _ in range(5)]


def mixed(folder, size=13_000_000, part=50_000):
    """Makes multi.txt where there is none: the other texts in turn, some lines of each."""
    file = os.path.join(folder, "multi.txt")
    if os.path.exists(file):
        return
    texts = [open(os.path.join(folder, n), "rb") for n in sorted(os.listdir(folder)) if n.endswith(".txt")]
    with open(file + ".part", "wb") as f:
        while texts and f.tell() < size:
            lines = texts[0].readlines(part)
            f.writelines(lines)
            texts = texts[1:] + texts[:1] if lines else texts[1:]
    os.rename(file + ".part", file)


def call(command, threads):
    done = subprocess.run(command, env=dict(os.environ, RAYON_NUM_THREADS=str(threads)), capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip()[-300:]}
    got = json.loads(done.stdout.strip().splitlines()[-1])
    got.pop("tokenizer", None)  # a path of this machine
    return got


def commands(a, name, text):
    path, file = os.path.join(a.tokenizers, name, "tokenizer.json"), os.path.join(a.texts, text + ".txt")
    ours = lambda n, threads, *more: [a.krserve, "bench", "tokenizer", "-tokenizer", path, "-file", file, "-bytes", str(n), "-threads", str(threads), "-json", *more]
    theirs = lambda system, n: [sys.executable, __file__, "-peer", system, path, file, str(n)]
    runs = {"krserve": (ours(a.bytes, 1), 1), "gigatoken": (theirs("gigatoken", a.bytes), 1), "fastokens": (theirs("fastokens", a.bytes), 1),
            "krserve into a buffer": (ours(a.bytes, 1, "-buffer"), 1),
            "krserve 4 MB": (ours(MIDDLE, 1), 1), "krserve 4 MB, 2 threads": (ours(MIDDLE, 2), 2),
            "krserve 20 KB": (ours(PROMPT, 1), 1)}
    if name == "qwen3" and text in ("en", "zh"):  # what the peers do with a second thread and a short text
        for s in SYSTEMS[1:]:
            runs.update({s + " 4 MB": (theirs(s, MIDDLE), 1), s + " 4 MB, 2 threads": (theirs(s, MIDDLE), 2), s + " 20 KB": (theirs(s, PROMPT), 1)})
    return runs


def summarise(row):
    for k, rs in row["reps"].items():
        good = [r for r in rs if "error" not in r]
        if good:
            row["median"][k] = {f: statistics.median(r[f] for r in good) for f in good[0] if isinstance(good[0][f], (int, float))}
            row["median"][k]["ids_sha256"] = good[0]["ids_sha256"]


def get(row, system, field):
    return row["median"].get(system, {}).get(field, float("nan"))


def ratio(row, field, ours="krserve"):
    best = [get(row, s, field) for s in SYSTEMS[1:] if s in row["median"]]
    return get(row, ours, field) / max(best) if best else float("nan")


def agree(row):
    return ", ".join(s for s in SYSTEMS[1:] if get(row, s, "ids_sha256") == get(row, "krserve", "ids_sha256")) or "neither"


def scaling(row, field, system="krserve"):
    return get(row, system + " 4 MB, 2 threads", field) / get(row, system + " 4 MB", field)


def line(row):
    return "%-12s %-6s cold %.2f warm %.2f decode %.2f times the better peer; same ids: %s" % (
        row["tokenizer"], row["text"], ratio(row, "cold_mb_s"), ratio(row, "warm_mb_s"), ratio(row, "decode_mb_s"), agree(row))


def rounds(rows):
    """How many processes each figure is the median of: a number, or the least and the greatest."""
    n = sorted({len(reps) for r in rows for reps in r["reps"].values()})
    return "–".join(str(x) for x in dict.fromkeys((n[0], n[-1])))


def page(result):
    rows = sorted(result["rows"], key=lambda r: list(NAMES).index(r["tokenizer"]))
    m = result["machine"]
    out = ["# Tokenizers, " + result["date"][:10], "",
           "`%s` on %s, %d cores, %s. Medians of %s fresh processes, systems interleaved; MB/s, one thread unless said. g gigatoken 0.10.0, f fastokens 0.3.5; "
           "\"times\" is against the better of the two. Every repetition is in the JSON file beside this one." % (
               result["command"], m["cpu"], m["cores"], m["system"], rounds(rows)), ""]

    def table(title, head, cells):
        out.extend(["## " + title, "", "| tokenizer | text | " + " | ".join(head) + " |", "|---" * (2 + len(head)) + "|"])
        for r in rows:
            v = cells(r)
            if v:
                out.append("| %s | %s | %s |" % (NAMES[r["tokenizer"]], r["text"], " | ".join(x if isinstance(x, str) else "–" if x != x else "%.2f" % x if x < 10 else "%.0f" % x for x in v)))
        out.append("")

    def versus(field, *also):
        return lambda r: [get(r, "krserve", field), *(get(r, k, f) for k, f in also), get(r, "gigatoken", field), get(r, "fastokens", field), ratio(r, field)]

    table("Cold: the first encoding of 7 MB", ["new slice", "caller's buffer", "g", "f", "times", "same ids as"],
          lambda r: versus("cold_mb_s", ("krserve into a buffer", "cold_mb_s"))(r) + [agree(r)])
    table("Warm: best of three more", ["new slice", "caller's buffer", "g", "f", "times"], versus("warm_mb_s", ("krserve", "buffer_mb_s")))
    table("The text as prompts of 20 KB, warm", ["krserve", "g", "f", "times"], versus("prompt_mb_s"))
    table("Decoding", ["krserve", "first", "g", "f", "times"], versus("decode_mb_s", ("krserve", "decode1_mb_s")))
    table("Two threads on one text of 4 MB", ["cold 1", "cold 2", "times", "warm 1", "warm 2", "times", "g cold", "f cold"],
          lambda r: [get(r, "krserve 4 MB", "cold_mb_s"), get(r, "krserve 4 MB, 2 threads", "cold_mb_s"), scaling(r, "cold_mb_s"),
                     get(r, "krserve 4 MB", "warm_mb_s"), get(r, "krserve 4 MB, 2 threads", "warm_mb_s"), scaling(r, "warm_mb_s"),
                     scaling(r, "cold_mb_s", "gigatoken"), scaling(r, "cold_mb_s", "fastokens")])
    table("The first 20 KB of a fresh process", ["cold", "warm", "g cold", "f cold"],
          lambda r: [get(r, "krserve 20 KB", "cold_mb_s"), get(r, "krserve 20 KB", "warm_mb_s"), get(r, "gigatoken 20 KB", "cold_mb_s"), get(r, "fastokens 20 KB", "cold_mb_s")])
    table("Loading tokenizer.json, ms, and resident memory after encoding, MB", ["load", "g", "f", "MB", "g MB", "f MB"],
          lambda r: [get(r, s, f) for f in ("load_ms", "peak_mb") for s in SYSTEMS])
    for name, ms in result["load"].items():
        good = [v for v in ms if v]
        if good:
            out.append("Loading %s: %.1f ms (%s)." % (name, statistics.median(good), ", ".join("%.1f" % v for v in good)))
    failed = sorted({"%s: %s" % (k, x["error"].splitlines()[-1] if x["error"] else "") for r in rows for k, rs in r["reps"].items() for x in rs if "error" in x})
    return "\n".join(out + ["Failed: " + f for f in failed]) + "\n"


def machine():
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.processor())
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.system() + " " + platform.machine(), "load": os.getloadavg()[0]}


if __name__ == "__main__":
    sys.exit(main())

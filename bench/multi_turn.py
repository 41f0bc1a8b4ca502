"""Measures chats of many users on krserve and on llama-server in one run: the same prompt file, answers of one length
(ignore_eos), the two in turn, medians. Writes FILE.json with every round and FILE.md with the tables.

usage: python bench/multi_turn.py -krserve BIN -server LLAMA-SERVER -model GGUF -out bench/results/FILE [-rounds 3]
llama-server runs with one slot per user and its prompt cache on, over HTTP on the loopback interface; krserve in the
process that measures it (`krserve bench multi-turn`). Standard library only.
"""
import argparse, contextlib, datetime, http.client, json, os, platform, socket, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import load


def run(cmd):
    done = subprocess.run(cmd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError("%s: %s" % (" ".join(cmd), done.stderr.strip()[-500:]))
    return done.stdout


def ask(port, method, path, body=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    c.request(method, path, body, {"Content-Type": "application/json"})
    r = c.getresponse()
    data = r.read()
    c.close()
    return r.status, data


@contextlib.contextmanager
def server(a, slots, context):
    """A fresh llama-server that has answered once."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    cmd = [a.server, "-m", a.model, "-t", str(a.threads), "-np", str(slots), "-c", str(slots * context), "--cache-prompt", "--host", "127.0.0.1",
           "--port", str(port)]
    log = tempfile.TemporaryFile()
    p = subprocess.Popen(cmd, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                if ask(port, "GET", "/health")[0] == 200:
                    break
            except OSError:
                pass
            if p.poll() is not None or time.monotonic() > until:
                log.seek(0)
                raise RuntimeError("llama-server: %s" % log.read()[-500:])
            time.sleep(0.1)
        ask(port, "POST", "/completion", json.dumps({"prompt": "warm up " * 100, "n_predict": 16, "ignore_eos": True}))
        yield port, " ".join(["llama-server"] + ["-m", os.path.basename(a.model)] + cmd[3:-2])
    finally:
        p.terminate()
        p.wait()


def theirs(a, file, work, gen, context):
    with server(a, work["users"], context) as (port, cmd):
        r = load.replay(file, port, gen, "m")
    if r["n_errors"]:
        raise RuntimeError("llama-server: %s" % r["errors"])
    return dict(r, command=cmd)


def ours(a, file, gen):
    return json.loads(run([a.krserve, "bench", "multi-turn", "-model", a.model, "-threads", str(a.threads), "-prompts", file, "-gen", str(gen), "-reps", "1", "-json"]))


# name, users, turns, tokens of an answer, words of the system prompt, llama-server's context per slot
WORKS = [
    ("chats", dict(users=10, turns=3, words=250), 64, 2048),
    ("long", dict(users=1, turns=2, words=2700), 16, 8192),
]

FIGURES = [("tokens/s", lambda r: r["tok_s"], False), ("TTFT of the first turn, p50, ms", lambda r: r["ttft_first_ms"]["p50"], True),
           ("TTFT of the first turn, p95, ms", lambda r: r["ttft_first_ms"]["p95"], True), ("TTFT of the first turn, p99, ms", lambda r: r["ttft_first_ms"]["p99"], True),
           ("TTFT of later turns, p50, ms", lambda r: r["ttft_later_ms"]["p50"], True), ("TTFT of later turns, p95, ms", lambda r: r["ttft_later_ms"]["p95"], True),
           ("TTFT of later turns, p99, ms", lambda r: r["ttft_later_ms"]["p99"], True), ("between tokens, mean, ms", lambda r: r["itl_ms"]["mean"], True),
           ("between tokens, p99, ms", lambda r: r["itl_ms"]["p99"], True), ("prompt tokens found in the cache, %", lambda r: 100 * r["hit_rate"], None)]
WANTED = {"chats": {0: "≥ 5", 1: "≥ 8", 4: "≥ 5"}, "long": {}}


def middle(rounds, f):
    return statistics.median([f(r) for r in rounds])


def main():
    q = argparse.ArgumentParser()
    for name in ("krserve", "server", "model", "out"):
        q.add_argument("-" + name, required=True)
    q.add_argument("-rounds", type=int, default=3)
    q.add_argument("-threads", type=int, default=os.cpu_count())
    a = q.parse_args()
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.processor())
    result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "machine": "%s, %d cores" % (cpu, os.cpu_count()),
              "system": platform.platform(), "command": "make bench-multi-turn", "threads": a.threads, "rounds": a.rounds, "model": os.path.basename(a.model)}
    with tempfile.TemporaryDirectory() as tmp:
        for name, work, gen, context in WORKS:
            file = os.path.join(tmp, name + ".json")
            load.write(file, work["users"], work["turns"], 1, work["words"])
            row = {"work": work, "gen": gen, "krserve": [], "llama-server": []}
            for _ in range(a.rounds):
                row["krserve"].append(ours(a, file, gen))
                row["llama-server"].append(theirs(a, file, work, gen, context))
            result[name] = row
            write(a.out, result)
        chats = os.path.join(tmp, "chats.json")
        result["ablation"] = json.loads(run([a.krserve, "bench", "multi-turn", "-model", a.model, "-threads", str(a.threads), "-prompts", chats, "-gen", "64",
                                             "-reps", "1", "-ablate", "-json"]))["ablation"]
        at_once = json.loads(run([a.krserve, "bench", "-model", a.model, "-threads", str(a.threads), "-prompt", "8", "-gen", "64", "-parallel", "10", "-reps", "1",
                                  "-ablate", "-json"]))
        result["ablation_at_once"] = at_once["parallel"][0]["ablation"]
    write(a.out, result)


def write(path, r):
    with open(path + ".json", "w") as f:
        json.dump(r, f, indent=1)
    with open(path + ".md", "w") as f:
        f.write("# Chats of many users: krserve and llama-server\n\n%s, %s; %s. %s, %d threads, `%s`; the two in turn, medians of %d rounds.\n"
                % (r["date"], r["machine"], r["system"], r["model"], r["threads"], r["command"], r["rounds"]))
        f.write("Both replay one prompt file of bench/load.py with ignore_eos: llama-server over HTTP on the loopback interface with "
                "`%s`, krserve in the process that measures it, with its defaults. Ratios above 1 are in krserve's favour.\n"
                % r["chats"]["llama-server"][0]["command"])
        for name, _, _, _ in WORKS:
            if name not in r:
                continue
            w, ks, ls = r[name]["work"], r[name]["krserve"], r[name]["llama-server"]
            f.write("\n## %d user%s × %d turns × %d tokens, a shared system prompt of %d words\n\n| | krserve | llama-server | ratio | wanted |\n|---|---|---|---|---|\n"
                    % (w["users"], "s" * (w["users"] > 1), w["turns"], r[name]["gen"], w["words"]))
            for i, (figure, value, lower) in enumerate(FIGURES):
                k, l = middle(ks, value), middle(ls, value)
                ratio = "" if lower is None or not k or not l else "%.1f" % (l / k if lower else k / l)
                f.write("| %s | %.4g | %.4g | %s | %s |\n" % (figure, k, l, ratio, WANTED[name].get(i, "")))
            if name == "long":
                first, later = middle(ks, FIGURES[1][1]), middle(ks, FIGURES[4][1])
                f.write("\nkrserve's second turn begins after 1/%.0f of the time of the first, which is cold (wanted: ≤ 1/20).\n" % (first / later))
        for key, title in (("ablation", "10 users × 3 turns × 64 tokens, each feature off in turn"), ("ablation_at_once", "10 chats of one turn at once, each feature off in turn")):
            if key not in r:
                continue
            f.write("\n## krserve, %s\n\n| | baseline, tok/s | + feature, tok/s | improvement | first TTFT p50, ms | later TTFT p50, ms | hit rate |\n|---|---|---|---|---|---|---|\n" % title)
            for x in r[key]:
                pair = lambda v, s=1: "%.3g → %.3g" % (v["baseline"] * s, v["feature"] * s)
                f.write("| %s | %.1f | %.1f | %+.1f %% | %s | %s | %s |\n" % (x["feature"], x["baseline_tok_s"], x["feature_tok_s"], x["improvement_pct"],
                        pair(x["ttft_first_ms_p50"]), pair(x["ttft_later_ms_p50"]), pair(x["hit_rate"])))


if __name__ == "__main__":
    main()

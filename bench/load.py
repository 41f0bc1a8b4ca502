"""Chats of many users at once with an OpenAI-compatible server.

usage: load.py write FILE USERS TURNS [SEED [WORDS]]   what the users say, as JSON: {"system": …, "users": [[turn, …], …]}
       load.py replay FILE PORT TOKENS MODEL           says it, and prints what was measured as one JSON object
Every user shares a system prompt of WORDS random words (250 are about 400 tokens) and then talks alone, turn after turn;
answers have TOKENS tokens each (ignore_eos). Time to first token counts from before the connection is opened to the
first text. `krserve bench multi-turn -prompts FILE` replays the same file in process. Standard library only.
"""
import http.client, json, random, sys, threading, time

W = "river stone engine market purple window silent bridge copper garden planet mirror forest silver thunder letter candle harbor winter orange signal velvet marble shadow engineer coffee library morning".split()


def write(path, users, turns, seed=1, words=250):
    rnd = random.Random(seed)
    system = "You are a careful assistant. " + " ".join(rnd.choice(W) for _ in range(words)) + "."
    said = []
    for i in range(users):
        r = random.Random(seed * 1000 + i)
        said.append([f"User {i} turn {t}: tell me about " + " ".join(r.choice(W) for _ in range(40)) for t in range(turns)])
    with open(path, "w") as f:
        json.dump({"system": system, "users": said}, f, indent=1)


def quantiles(v):
    v = sorted(v)
    q = lambda p: v[min(len(v) - 1, int(p * len(v)))] if v else 0
    return {"p50": q(.5), "p95": q(.95), "p99": q(.99), "mean": sum(v) / max(len(v), 1)}


def replay(path, port, ntok, model):
    with open(path) as f:
        work = json.load(f)
    turns = len(work["users"][0])
    ttft, gaps, total, prompts, cached, errs = [[] for _ in range(turns)], [[] for _ in range(turns)], [0], [0], [0], []
    lock = threading.Lock()

    def user(i):
        msgs = [{"role": "system", "content": work["system"]}]
        for t, said in enumerate(work["users"][i]):
            msgs.append({"role": "user", "content": said})
            b = json.dumps({"model": model, "messages": msgs, "max_tokens": ntok, "temperature": 0, "stream": True, "ignore_eos": True,
                            "stream_options": {"include_usage": True}})
            try:
                t0 = time.perf_counter()
                c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
                c.request("POST", "/v1/chat/completions", b, {"Content-Type": "application/json"})
                resp = c.getresponse()
                if resp.status != 200:
                    raise RuntimeError(f"{resp.status} {resp.read()[:200]}")
                text, came, usage = "", [], None
                for line in resp:
                    if not line.startswith(b"data: ") or b"[DONE]" in line:
                        continue
                    d = json.loads(line[6:])
                    usage = d.get("usage") or usage
                    for ch in d.get("choices", []):
                        if ch["delta"].get("content"):
                            came.append(time.perf_counter())
                            text += ch["delta"]["content"]
                c.close()
                n = usage["completion_tokens"] if usage else len(came)
                if n != ntok or not came:
                    raise RuntimeError(f"{n} tokens came, {ntok} were asked for")
                with lock:
                    ttft[t].append((came[0] - t0) * 1e3)
                    gaps[t] += [(y - x) * 1e3 for x, y in zip(came, came[1:])]
                    total[0] += n
                    prompts[0] += (usage or {}).get("prompt_tokens", 0)
                    cached[0] += ((usage or {}).get("prompt_tokens_details") or {}).get("cached_tokens", 0)
                msgs.append({"role": "assistant", "content": text})
            except Exception as e:
                with lock:
                    errs.append(repr(e)[:200])
                return
    t0 = time.perf_counter()
    th = [threading.Thread(target=user, args=(i,)) for i in range(len(work["users"]))]
    [x.start() for x in th]
    [x.join() for x in th]
    el = time.perf_counter() - t0
    later = [x for v in ttft[1:] for x in v]
    return {"users": len(th), "turns": turns, "gen": ntok, "seconds": el, "tokens": total[0], "tok_s": total[0] / el,
            "ttft_first_ms": quantiles(ttft[0]), "ttft_later_ms": quantiles(later), "itl_ms": quantiles([x for v in gaps for x in v]),
            "hit_rate": cached[0] / max(prompts[0], 1),
            "per_turn": [{"turn": t + 1, "ttft_ms": quantiles(ttft[t]), "itl_ms": quantiles(gaps[t])} for t in range(turns)],
            "errors": errs[:3], "n_errors": len(errs)}


if __name__ == "__main__":
    a = sys.argv[1:]
    if len(a) in (4, 5, 6) and a[0] == "write":
        write(a[1], *map(int, a[2:]))
    elif len(a) == 5 and a[0] == "replay":
        print(json.dumps(replay(a[1], int(a[2]), int(a[3]), a[4])))
    else:
        sys.exit(__doc__)

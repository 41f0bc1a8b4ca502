"""Scores `krserve regress history` against apache-otava, ruptures and a baseline that never alarms, as docs/regress.md says.
Writes OUT.md, and OUT.json with every row.

usage: python regress.py -krserve BIN -otava SOURCE_PACKAGE [-scale 1] [-limit SECONDS] -out results/regress
Needs the packages apache-otava and ruptures. -scale multiplies the number of series; 1 takes 20 minutes of one core.
With -limit it stops after that many seconds with status 75, and goes on from OUT.partial when called again.

Two ways of looking: once at a whole series, and after every commit as CI does, where an alarm is a change point that was
not reported before (within the margin). Each peer runs as it comes, and with its threshold set so that it raises as
many false alarms as krserve does on change-free series of the same noise, whose seeds the score does not use.
"""
import argparse, csv, datetime, functools, hashlib, importlib.metadata, json, math, multiprocessing, os, platform, statistics, subprocess, sys
import tempfile, time

import numpy as np

import regress_series as series

MARGIN = 5   # of the Turing Change Point Dataset's F1
FIRST = 10   # commits before peers are asked for the first time


# Measures of the Turing Change Point Dataset (van den Burg, Williams 2020, section 4.1). The first commit counts as a
# change point of both.
def precision_recall(truth, found):
    truth, left = {0, *truth}, {0, *found}
    n, hits = len(left), 0
    for t in sorted(truth):
        near = min(left, key=lambda f: (abs(f - t), f), default=None)
        if near is not None and abs(near - t) <= MARGIN:
            left.remove(near)
            hits += 1
    return hits / n, hits / len(truth)


def f1(truth, found):
    p, r = precision_recall(truth, found)
    return 2 * p * r / (p + r)


def covering(truth, found, n):
    cut = lambda points: [set(range(a, b)) for a, b in zip([0, *points], [*points, n])]
    parts = cut(sorted(set(found) - {0}))
    return sum(len(a) * max(len(a & b) / len(a | b) for b in parts) for a in cut(sorted(truth))) / n


# The peers. Each takes values and a threshold and returns change points; a higher index in its grid is more sensitive.
class WindowsOnce:
    """Remembers what otava found in a window, so that looking again after a commit costs only the windows it changed."""
    seen = {}

    def __init__(self, significance_tester, calculator):
        self.p, self.make = significance_tester.max_pvalue, lambda: self.detector(significance_tester=significance_tester, calculator=calculator)

    def get_change_points(self, values, start, end):
        import copy
        key = (self.p, tuple(values[start:end]))
        if key not in self.seen:
            if len(self.seen) > 5000:
                self.seen.clear()
            self.seen[key] = self.make().get_change_points(list(values[start:end]))
        out = copy.deepcopy(self.seen[key])
        for c in out:
            c.index += start
        return out


def otava(x, p, magnitude=0.01):
    import otava.analysis as analysis
    if analysis.ChangePointDetector is not WindowsOnce:
        WindowsOnce.detector, analysis.ChangePointDetector = analysis.ChangePointDetector, WindowsOnce
    return [int(c.index) for c in analysis.compute_change_points(list(x), max_pvalue=p, min_magnitude=magnitude)[0]]


def spread(x):
    """Robust standard deviation of the noise, from differences, as steps do not raise it."""
    d = np.diff(x)
    s = np.median(np.abs(d - np.median(d))) / 0.6745 / math.sqrt(2)
    return s or np.std(d) / math.sqrt(2)


def pelt_l2(x, pen):
    """Pelt(model="l2", jump=1) by ruptures' C code, penalty in units of the noise's variance times log n."""
    import ruptures
    x, s = np.array(x), spread(x)
    return [int(i) for i in ruptures.KernelCPD(kernel="linear", min_size=2).fit(x).predict(pen=pen * s * s * math.log(len(x)))[:-1]] if s else []


def pelt_rbf(x, pen):
    """Pelt(model="rbf", jump=1) by ruptures' C code."""
    import ruptures
    return [int(i) for i in ruptures.KernelCPD(kernel="rbf", min_size=2).fit(np.array(x)).predict(pen=pen * math.log(len(x)))[:-1]]


def pelt_readme(x, _):
    import ruptures
    return [int(i) for i in ruptures.Pelt(model="rbf").fit(np.array(x)).predict(pen=10)[:-1]]


PEERS = {"otava": otava, "ruptures l2": pelt_l2, "ruptures rbf": pelt_rbf}
GRIDS = {"otava": np.geomspace(1e-9, 0.02, 60), "ruptures l2": np.geomspace(60, 1, 60), "ruptures rbf": np.geomspace(20, 0.4, 60)}
AS_THEY_COME = {"otava as it comes": lambda x, _: otava(x, 0.001, 0), "ruptures as in its README": pelt_readme, "never alarms": lambda x, _: []}
FUNCTIONS = PEERS | AS_THEY_COME


def online(find, x, threshold, once=False):
    """Alarms as (commit that raised it, change point), looking after every commit."""
    out, known = [], []
    for n in range(min(FIRST, len(x)), len(x) + 1):
        for c in find(x[:n], threshold):
            if all(abs(c - k) > MARGIN for k in known):
                out.append((n - 1, c))
                if once:
                    return out
            known.append(c)
    return out


def judge_alarms(truth, alarms):
    """Delays of the changes that were found, and how many alarms were false."""
    delays, false = {}, 0
    for at, c in alarms:
        near = min(truth, key=lambda t: abs(t - c), default=None)
        if near is None or abs(near - c) > MARGIN:
            false += 1
        else:
            delays.setdefault(near, max(0, at - near + 1))
    return list(delays.values()), false


def strictest(job):
    """The first threshold of a peer's grid that alarms on a series; alarms grow with the index."""
    peer, x, looking = job
    find, grid = PEERS[peer], GRIDS[peer]
    low, high = 0, len(grid)
    while low < high:
        mid = (low + high) // 2
        hit = online(find, x, grid[mid], once=True) if looking else find(x, grid[mid])
        low, high = (low, mid) if hit else (mid + 1, high)
    return low


def measure(job):
    name, threshold, x, looking = job
    return online(FUNCTIONS[name], x, threshold) if looking else FUNCTIONS[name](x, threshold)


def krserve(binary, lists):
    """Per series the changes, each with the change point as it was placed at the time of the alarm."""
    def history(columns):
        out = []
        for i in range(0, len(columns), 500):
            part = columns[i:i + 500]
            with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="") as f:
                w = csv.writer(f)
                w.writerow(["commit", *(f"s{k}" for k in range(len(part)))])
                for n in range(max(map(len, part))):
                    w.writerow([f"c{n}", *(repr(p[n]) if n < len(p) else "" for p in part)])
                f.flush()
                r = subprocess.run([binary, "regress", "history", "-series", "1", "-json", f.name], capture_output=True, text=True)
            if r.returncode not in (0, 3):
                sys.exit(r.stderr)
            out += [x["changes"] or [] for x in json.loads(r.stdout)]
        return out
    found = history(lists)
    alarms = [(i, c["alarm"]) for i, cs in enumerate(found) for c in cs]
    for (i, at), cs in zip(alarms, history([lists[i][:at + 1] for i, at in alarms]) if alarms else []):
        next(c for c in found[i] if c["alarm"] == at)["then"] = next(c for c in cs if c["alarm"] == at)
    return found


def steps(changes):
    return [c["index"] for c in changes if c["kind"] == "step" and not c.get("passing")]


def step_alarms(changes):
    return [(c["alarm"], c["then"]["index"]) for c in changes if c["then"]["kind"] == "step"]


class Parts:
    """What is done already, by name, kept in a file for as long as the run is not complete."""

    def __init__(self, path, limit, key):
        self.path, self.until, self.done, self.key = path, limit and time.monotonic() + limit, {}, key
        if os.path.exists(path):
            kept = json.load(open(path))
            self.done = kept["done"] if kept["key"] == key else {}

    def get(self, name, make):
        if name not in self.done:
            if self.until and time.monotonic() > self.until:
                sys.exit(75)
            self.done[name] = make()
            with open(self.path + ".new", "w") as f:
                json.dump({"key": self.key, "done": self.done}, f)
            os.replace(self.path + ".new", self.path)
            print(name, file=sys.stderr)
        return self.done[name]


def main():
    a = argparse.ArgumentParser()
    for flag in ("-krserve", "-otava", "-out"):
        a.add_argument(flag, required=True)
    a.add_argument("-scale", type=float, default=1)
    a.add_argument("-limit", type=float)
    a.add_argument("-purpose", default="score", help="seeds: score, or develop")
    o = a.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with open(o.krserve, "rb") as f:
        key = [hashlib.sha256(f.read()).hexdigest(), o.scale, o.purpose]
    parts = Parts(o.out + ".partial", o.limit, key)
    with multiprocessing.Pool() as pool:
        rows, calibration = run(o, parts, functools.partial(pool.map, chunksize=4))
    write(o, rows, calibration)
    os.remove(parts.path)


def calibrate(o, pmap, name, noise, count):
    """One threshold for every peer and way of looking: as many change-free series with an alarm as krserve has."""
    sample = [s["x"] for s in series.make(name, series.FLAT, count, "calibrate")]
    # krserve is fast, so its rate is known better than by the sample of the peers.
    ours = krserve(o.krserve, [s["x"] for s in series.make(name, series.FLAT, 10 * count, "calibrate")])
    out = []
    for looking in (False, True):
        rate = statistics.mean(bool(step_alarms(c) if looking else steps(c)) for c in ours)
        for peer, grid in GRIDS.items():
            first = sorted(pmap(strictest, [(peer, x, looking) for x in sample]))
            # Between the series that alarm first and second, and so on: the rate falls between two shares of the sample.
            k = first[max(0, math.ceil(rate * len(first)) - 1)]
            k = min(k, len(grid) - 1) if round(rate * len(first)) else max(0, first[0] - 1)
            out.append({"noise": noise, "looking": looking, "peer": peer, "threshold": float(grid[k]),
                        "krserve": rate, "peer_rate": statistics.mean(f <= k for f in first)})
    return out


def score(o, pmap, name, sample, thresholds):
    xs, truths = [s["x"] for s in sample], [s["truth"] for s in sample]
    noise = sample[0].get("noise", "white")
    noise = "white" if noise == "spread" else noise
    ours = krserve(o.krserve, xs)
    results = {"krserve": ([steps(c) for c in ours], [step_alarms(c) for c in ours])}
    for who, find in FUNCTIONS.items():
        both = []
        for looking in (False, True):
            # ruptures' Python is slow: a part of the series suffices to show its rate.
            part = xs[:20] if find is pelt_readme and looking else xs
            both.append(pmap(measure, [(who, thresholds.get((who, noise, looking)), x, looking) for x in part]))
        results[who] = both
    rows = []
    for who, (found, alarms) in results.items():
        pr = [precision_recall(t, f) for t, f in zip(truths, found)]
        judged = [judge_alarms(t, al) for t, al in zip(truths, alarms)]
        delays = [d for ds, _ in judged for d in ds]
        changes = sum(map(len, truths[:len(alarms)]))
        delays += [math.inf] * (changes - len(delays))
        rows.append({
            "series": name, "who": who, "count": len(xs),
            "precision": statistics.mean(p for p, _ in pr), "recall": statistics.mean(r for _, r in pr),
            "f1": statistics.mean(f1(t, f) for t, f in zip(truths, found)),
            "covering": statistics.mean(covering(t, f, len(x)) for t, f, x in zip(truths, found, xs)),
            "false_per_1000": 1000 * sum(n for _, n in judged) / sum(map(len, xs[:len(alarms)])),
            "ever_false": statistics.mean(n > 0 for _, n in judged),
            "detected": sum(map(math.isfinite, delays)) / changes if changes else None,
            "delay": statistics.median(delays) if changes else None,
            "found": found if len(xs) == 1 else None,
        })
    return rows


def run(o, parts, pmap):
    count = lambda n: max(4, int(n * o.scale))
    calibration = []
    for name, (noise, _) in series.FLAT.items():
        calibration += parts.get("calibrated: " + noise, lambda: calibrate(o, pmap, name, noise, count(100)))
    thresholds = {(c["peer"], c["noise"], c["looking"]): c["threshold"] for c in calibration}
    groups = [(n, series.make(n, series.FLAT, count(100), o.purpose)) for n in series.FLAT]
    groups += [(n, series.make(n, series.DRIFT, count(40), o.purpose)) for n in series.DRIFT]
    groups += [(n, series.make(n, series.SCENARIOS, count(40), o.purpose)) for n in series.SCENARIOS]
    extra = series.generated(count(20)) + series.shipped(o.otava)
    groups += [(n, [s for s in extra if s["name"] == n]) for n in dict.fromkeys(s["name"] for s in extra)]
    rows = []
    for name, sample in groups:
        rows += parts.get(name, lambda: score(o, pmap, name, sample, thresholds))
    return rows, calibration


def table(rows, names, cell, best=None):
    who = list(dict.fromkeys(r["who"] for r in rows))
    by = {(r["series"], r["who"]): r for r in rows}
    out = ["| series | " + " | ".join(who) + " |", "|---" * (len(who) + 1) + "|"]
    for n in names:
        out.append(f"| {n} | " + " | ".join(cell(by[n, w]) for w in who) + " |")
    if best:
        out.append("| **mean** | " + " | ".join(f"**{statistics.mean(by[n, w][best] for n in names):.3f}**" for w in who) + " |")
    return "\n".join(out) + "\n"


def write(o, rows, calibration):
    def machine():
        try:
            return next(l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name"))
        except (OSError, StopIteration):
            return platform.machine()
    names = list(dict.fromkeys(r["series"] for r in rows))
    flat, changing = [n for n in names if n.startswith("no change")], [n for n in names if n in series.SCENARIOS]
    public = [n for n in names if n not in flat and n not in changing]
    scaled = "" if o.scale == 1 else f' with REGRESS_FLAGS="-scale {o.scale:g}"'
    counts = {r["series"]: r["count"] for r in rows}
    version = importlib.metadata.version
    who = list(dict.fromkeys(r["who"] for r in rows))
    mean = lambda w, among, key: statistics.mean(r[key] for r in rows if r["who"] == w and r["series"] in among)
    noises = [n for n in flat if n != "no change, slow drift"]
    stepping = [n for n in changing if n not in ("trend begins", "variance changes")]
    summary = "| mean over the rows below | " + " | ".join(who) + " |\n" + "|---" * (len(who) + 1) + "|\n"
    for label, among, key, form in (("change-free series with a false alarm, by noise", noises, "ever_false", "{:.1%}"),
                                    ("false alarms per 1,000 commits, the same", noises, "false_per_1000", "{:.2f}"),
                                    ("steps found, asked after every commit", stepping, "detected", "{:.1%}"),
                                    ("F1, asked once, all rows", names, "f1", "{:.3f}"), ("covering, all rows", names, "covering", "{:.3f}")):
        summary += f"| {label} | " + " | ".join(form.format(mean(w, among, key)) for w in who) + " |\n"
    tuned = "| noise | asked | krserve, series with a false alarm | " + " | ".join(PEERS) + " |\n" + "|---" * (len(PEERS) + 3) + "|\n"
    for noise, looking in dict.fromkeys((c["noise"], c["looking"]) for c in calibration):
        those = {c["peer"]: c for c in calibration if (c["noise"], c["looking"]) == (noise, looking)}
        tuned += f"| {noise} | {'after every commit' if looking else 'once'} | {next(iter(those.values()))['krserve']:.1%} | " + " | ".join(
            f"{those[p]['threshold']:.3g}" for p in PEERS) + " |\n"
    delay = lambda r: f'{r["detected"]:.2f} / ' + (f'{r["delay"]:.0f}' if math.isfinite(r["delay"]) else "–")
    text = f"""# Change points, {datetime.date.today()}

`make bench-regress`{scaled}{"" if o.purpose == "score" else ", development seeds"} on {machine()}, Linux {platform.machine()}: apache-otava {version("apache-otava")}, ruptures {version("ruptures")}, numpy {version("numpy")}. Nothing here is
timed: another machine gives the same numbers. "otava as it comes" has its defaults (window 50, p 0.001, no least change); "ruptures as
in its README" is `Pelt(model="rbf")` with penalty 10, as ruptures has no default. "otava", "ruptures l2" and "ruptures rbf"
have their p or penalty set for every kind of noise to the share of change-free series with a false alarm that krserve has there, on
other seeds than these (thresholds in the JSON file); otava then also has krserve's least change of 1 %. krserve has its defaults and counts steps,
not what it calls a drift or a disturbance that has passed. Rows of change-free series have {counts[flat[0]]} series, of scenarios {counts[changing[0]]}.

{summary}
## Change-free series, asked after every commit: false alarms per 1,000 commits (share of series of 100 commits with any)

{table(rows, flat, lambda r: f'{r["false_per_1000"]:.2f} ({100 * r["ever_false"]:.0f} %)')}
## Series with changes, asked after every commit: share of changes found / median delay in commits, a miss counting as endless

{table(rows, changing + public, lambda r: delay(r) if r["detected"] is not None else f'{r["false_per_1000"]:.0f} false')}
## The same: false alarms per 1,000 commits

{table(rows, changing + public, lambda r: f'{r["false_per_1000"]:.2f}')}
## Whole series, asked once: F1 with a margin of {MARGIN} commits

{table(rows, flat + changing + public, lambda r: f'{r["f1"]:.3f}', "f1")}
## The same: precision / recall

{table(rows, flat + changing + public, lambda r: f'{r["precision"]:.2f} / {r["recall"]:.2f}')}
## The same: covering

{table(rows, flat + changing + public, lambda r: f'{r["covering"]:.3f}', "covering")}
## Calibration: krserve's false alarms on {10 * counts[flat[0]]} other change-free series of 100 commits, and the peers' p or penalty for as many

{tuned}"""
    open(o.out + ".md", "w").write(text)
    with open(o.out + ".json", "w") as f:
        json.dump({"rows": [{k: (None if v == math.inf else v) for k, v in r.items()} for r in rows], "calibration": calibration}, f, indent=0)


if __name__ == "__main__":
    main()

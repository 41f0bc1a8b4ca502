"""Series with known change points for regress.py: seeded ones in the style of the Turing Change Point Dataset, those that
ruptures generates, and those that apache-otava's source package ships."""
import ast, csv, os

import numpy as np

# Zero-mean noise of about unit spread, as benchmarks show it.
NOISES = {
    "white": lambda rng, n: rng.standard_normal(n),
    "heavy tails": lambda rng, n: rng.standard_t(3, n) / 1.13,
    "skewed": lambda rng, n: (np.exp(0.8 * rng.standard_normal(n)) - 1) / 0.83,
    "outliers": lambda rng, n: rng.standard_normal(n) + (rng.random(n) < 0.05) * rng.uniform(6, 20, n),
    "autocorrelated": lambda rng, n: ar1(rng, n, 0.5),
    "quantised": lambda rng, n: 1.5 * np.round(rng.standard_normal(n) / 1.5),
    "two modes": lambda rng, n: 0.5 * rng.standard_normal(n) + 2.5 * (rng.random(n) < 0.3),
}


def ar1(rng, n, phi):
    e = rng.standard_normal(n)
    out = np.empty(n)
    out[0] = e[0]
    for i in range(1, n):
        out[i] = phi * out[i - 1] + np.sqrt(1 - phi * phi) * e[i]
    return out


def level(n, *steps):
    """Zero, and from each place on higher by a size."""
    out = np.zeros(n)
    for at, size in steps:
        out[at:] += size
    return out


def either(rng):
    return rng.choice((-1, 1))


def one_step(rng, n, low, high, small, large):
    at = int(rng.integers(low, high))
    return level(n, (at, either(rng) * rng.uniform(small, large))), [at]


def three_steps(rng):
    at = [int(50 * (i + 1) + rng.integers(-12, 13)) for i in range(3)]
    return level(200, *((a, either(rng) * rng.uniform(2, 5)) for a in at)), at


def bump(rng):
    at = int(rng.integers(30, 60))
    size = either(rng) * 4
    return level(100, (at, size), (at + 15, -size)), [at, at + 15]


def trend(rng):
    at = int(rng.integers(40, 80))
    return either(rng) * 0.1 * np.maximum(0, np.arange(150) - at), [at]


# What a series does, beside its noise: name -> (noise, function giving the level and the change points).
SCENARIOS = {f"step of 2 to 4 sd, {k}": (k, lambda rng: one_step(rng, 100, 30, 71, 2, 4)) for k in NOISES} | {
    "step of 1 sd in 200": ("white", lambda rng: one_step(rng, 200, 60, 141, 1, 1)),
    "step of 15 sd in 60": ("white", lambda rng: one_step(rng, 60, 15, 46, 15, 15)),
    "three steps in 200": ("white", three_steps),
    "up and back in 15": ("white", bump),
    "short, 25 commits": ("white", lambda rng: one_step(rng, 25, 8, 18, 5, 5)),
    "trend begins": ("white", trend),
    "variance changes": ("spread", lambda rng: one_step(rng, 200, 60, 141, 0, 0)),
}
FLAT = {f"no change, {k}": (k, lambda rng: (np.zeros(100), [])) for k in NOISES}
DRIFT = {"no change, slow drift": ("white", lambda rng: (either(rng) * np.linspace(0, 3, 100), []))}


def make(name, table, seeds, purpose):
    """Series of a scenario; purpose keeps the seeds of calibration and of the score apart."""
    noise, shape = table[name]
    number = sorted(SCENARIOS | FLAT | DRIFT).index(name)
    out = []
    for i in range(seeds):
        rng = np.random.default_rng([{"calibrate": 1, "score": 2, "develop": 3}[purpose], number, i])
        base, truth = shape(rng)
        if noise == "spread":
            z = rng.standard_normal(len(base))
            z[truth[0]:] *= 3
        else:
            z = NOISES[noise](rng, len(base))
        out.append({"name": name, "noise": noise, "x": [float(v) for v in 100 * (1 + 0.02 * (base + z))], "truth": truth})
    return out


def generated(seeds=20):
    """ruptures' own generators, one feature, at the noise of its documentation and at half a jump."""
    from ruptures import datasets
    out = []
    for seed in range(seeds):
        for n, sd in ((200, 1), (200, 2)):
            x, ends = datasets.pw_constant(n, 1, 3, noise_std=sd, seed=seed)
            out.append({"name": f"ruptures.pw_constant, noise {sd}", "x": [float(v) for v in x[:, 0] + 100], "truth": [int(e) for e in ends[:-1]]})
    return out


def shipped(source):
    """The series in apache-otava's source package, with the change points that its tests and comments name."""
    tests = os.path.join(source, "tests")
    tree = ast.parse(open(os.path.join(tests, "tigerbeetle_test.py")).read())
    fn = next(f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == "_get_series")
    tiger = ast.literal_eval(next(s.value for s in fn.body if isinstance(s, ast.Return)))
    out = [{"name": "otava tigerbeetle", "x": [float(v) for v in tiger], "truth": [15, 71, 95]}]
    lists = {}
    for file in ("series_test.py", "analysis_test.py"):
        for node in ast.walk(ast.parse(open(os.path.join(tests, file)).read())):
            if isinstance(node, ast.FunctionDef):
                for s in node.body:
                    if isinstance(s, ast.Assign) and isinstance(s.value, ast.List) and s.targets[0].id.startswith("series"):
                        lists.setdefault((node.name, s.targets[0].id), ast.literal_eval(s.value))
    for test, var, truth in (("test_change_point_detection", "series_1", [6]), ("test_change_point_detection", "series_2", [4]),
                             ("test_single_series", "series", [10])):
        out.append({"name": f"otava {test} {var}", "x": lists[test, var], "truth": truth})
    with open(os.path.join(tests, "resources", "sample.csv")) as f:
        rows = list(csv.DictReader(f))
    for column, truth in (("metric1", []), ("metric2", [6])):
        out.append({"name": f"otava sample.csv {column}", "x": [float(r[column]) for r in rows], "truth": truth})
    return out

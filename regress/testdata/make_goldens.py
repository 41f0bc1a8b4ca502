"""Writes goldens.json: what apache-otava and ruptures say of the series that they ship or generate.

usage: make_goldens.py OTAVA_SOURCE_PACKAGE > goldens.json, with requirements.txt installed (`make regress-goldens`)

Where the method is the same, the numbers are compared: ruptures' cost l1 is the one that places a change, its cost rank
the one that raises an alarm. Otava's E-divisive with Student's test, and Pelt, are other methods: their change points stand
beside ours."""
import json
import os
import sys

import numpy as np
import ruptures

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "bench"))
import regress
import regress_series as series


def same_method(x):
    """Costs on both sides of every split, and the best split."""
    x = np.array(x)
    l1 = ruptures.costs.CostL1().fit(x)
    rank = ruptures.costs.CostRank().fit(x)
    n, whole = len(x), float(np.squeeze(rank.error(0, len(x))))
    ks = list(range(2, n - 1))
    return {
        "left": [float(f"{l1.error(0, k):.12g}") for k in ks],
        "right": [float(f"{l1.error(k, n):.12g}") for k in ks],
        "l1_split": int(ruptures.Binseg(model="l1", jump=1).fit(x).predict(n_bkps=1)[0]),
        "rank_gain": [float(f"{whole - float(np.squeeze(rank.error(0, k) + rank.error(k, n))):.12g}") for k in ks],
        "rank_split": int(ruptures.Binseg(model="rank", jump=1).fit(x).predict(n_bkps=1)[0]),
    }


def main():
    out = []
    made = [s for s in series.generated(8)]
    for i, s in enumerate(made):
        s["x"] = [round(v, 6) for v in s["x"]]
    for s in series.shipped(sys.argv[1]) + made:
        x = s["x"]
        g = {"name": s["name"], "x": x, "truth": s["truth"], "peers": {
            "otava": regress.otava(x, 0.001, 0),
            "ruptures l2": regress.pelt_l2(x, 2),  # BIC for known noise
            "ruptures rbf": [int(i) for i in ruptures.KernelCPD(kernel="rbf", min_size=2).fit(np.array(x)).predict(pen=10)[:-1]],
        }}
        out.append(g)
    for i in (6, 7, 9):
        out[i]["same"] = same_method(out[i]["x"])
    # One value to a line would be many lines.
    print("[\n" + ",\n".join(json.dumps(g) for g in out) + "\n]")


if __name__ == "__main__":
    main()

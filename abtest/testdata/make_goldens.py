"""Writes goldens.json: what gbstats, scipy and statsmodels say of one experiment.

usage: pip install -r requirements.txt; make_goldens.py > goldens.json"""

import hashlib
import json
import math
import sys

import numpy as np
import scipy.stats as ss
from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import (
    ProportionStatistic,
    QuantileStatistic,
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
    compute_theta,
)
from gbstats.utils import check_srm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

rng = np.random.default_rng(20)
SIZES = {"control": 150, "warm": 160, "hot": 140}
TUNED = 800
LEVEL = 0.9


def arm(i, n):
    pre = rng.lognormal(3, 0.4, n)
    den = rng.poisson(4, n) + 1.0
    return {
        "tokens": pre * 0.8 + rng.normal(4 + 2 * i, 5, n),
        "pre": pre,
        "good": (rng.uniform(size=n) < 0.5 + 0.12 * i).astype(float),
        "hits": rng.binomial(den.astype(int), 0.3 + 0.05 * i).astype(float),
        "asked": den,
        "seconds": rng.lognormal(-1 + 0.15 * i, 0.5, n),
    }


arms = {v: {k: np.round(x, 4) for k, x in arm(i, n).items()} for i, (v, n) in enumerate(SIZES.items())}


def mean(x):
    return SampleMeanStatistic(n=len(x), sum=x.sum(), sum_squares=(x**2).sum())


def quantile(x):
    h = ss.norm.ppf(0.975) * np.sqrt(LEVEL * (1 - LEVEL) / len(x))
    low, at, high = (np.quantile(x, p) for p in (LEVEL - h, LEVEL, LEVEL + h))
    return QuantileStatistic(n=len(x), n_star=len(x), nu=LEVEL, quantile_hat=at, quantile_lower=low, quantile_upper=high)


def adjusted(a, theta):
    return RegressionAdjustedStatistic(
        n=len(a["tokens"]),
        post_statistic=mean(a["tokens"]),
        pre_statistic=mean(a["pre"]),
        post_pre_sum_of_products=(a["tokens"] * a["pre"]).sum(),
        theta=theta,
    )


def statistics(metric, a, b):
    if metric == "adjusted":
        theta = compute_theta(adjusted(a, 0), adjusted(b, 0))
        return adjusted(a, theta), adjusted(b, theta)
    one = {
        "tokens": lambda x: mean(x["tokens"]),
        "good": lambda x: ProportionStatistic(n=len(x["good"]), sum=x["good"].sum()),
        "hits": lambda x: RatioStatistic(
            n=len(x["hits"]), m_statistic=mean(x["hits"]), d_statistic=mean(x["asked"]), m_d_sum_of_products=(x["hits"] * x["asked"]).sum()
        ),
        "seconds": lambda x: quantile(x["seconds"]),
    }[metric]
    return one(a), one(b)


def effect(r):
    return dict(estimate=r.expected, low=r.ci[0], high=r.ci[1], p=r.p_value)


comparisons = []
for metric in ("tokens", "adjusted", "good", "hits", "seconds"):
    for variant in ("warm", "hot"):
        a, b = statistics(metric, arms["control"], arms[variant])
        inverse = metric == "seconds"
        row = dict(metric=metric, variant=variant, theta=getattr(a, "theta", 0))
        for kind in ("absolute", "relative"):
            row["fixed_" + kind] = effect(TwoSidedTTest(a, b, FrequentistConfig(difference_type=kind)).compute_result())
            row["sequential_" + kind] = effect(
                SequentialTwoSidedTTest(a, b, SequentialConfig(difference_type=kind, sequential_tuning_parameter=TUNED)).compute_result()
            )
        for name, prior in (("flat", GaussianPrior()), ("prior", GaussianPrior(mean=0.01, variance=0.3**2, proper=True))):
            r = EffectBayesianABTest(a, b, EffectBayesianConfig(difference_type="absolute", inverse=inverse, prior_effect=prior)).compute_result()
            row[name] = dict(chance=r.chance_to_win, estimate=r.expected, low=r.ci[0], high=r.ci[1], risk_control=r.risk[0], risk=r.risk[1])
        comparisons.append(row)

ps = [c["fixed_absolute"]["p"] for c in comparisons]
power = []
for delta, sd, alpha, ratio, n in ((2, 10, 0.05, 1, 300), (0.5, 1, 0.01, 2, 60), (0.1, 3, 0.05, 0.5, 20000)):
    solve = NormalIndPower().solve_power
    power.append(
        dict(
            delta=delta, sd=sd, alpha=alpha, ratio=ratio, n=n, power=NormalIndPower().power(delta / sd, n, alpha, ratio), size=solve(delta / sd, alpha=alpha, power=0.8, ratio=ratio)
        )
    )


# The assignment, as its documentation says it.
def uniform(*parts):
    text = b"".join(len(p.encode()).to_bytes(8, "little") + p.encode() for p in parts)
    x = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
    return ((x >> 12) + 0.5) / 2**52


def assign(salt, weights, traffic, unit):
    if traffic < 1 and uniform(salt, "traffic", "", unit) >= traffic:
        return ""
    return min(weights, key=lambda v: -math.log(uniform(salt, "variant", v, unit)) / weights[v])


assignments = [
    dict(salt=s, weights=w, traffic=f, variants=[assign(s, w, f, f"unit-{i}-ü") for i in range(60)])
    for s, w, f in (("sampler", {"greedy": 1, "warm": 2, "hot": 1}, 1), ("x", {"a": 0.001, "b": 1}, 0.5))
]
json.dump(
    dict(
        assignments=assignments,
        tuned=TUNED,
        level=LEVEL,
        arms={v: {k: list(x) for k, x in a.items()} for v, a in arms.items()},
        comparisons=comparisons,
        holm=list(multipletests(ps, method="holm")[1]),
        bh=list(multipletests(ps, method="fdr_bh")[1]),
        srm=check_srm(list(SIZES.values()), [1, 1, 1]),
        srm_scipy=ss.chisquare(list(SIZES.values())).pvalue,
        fisher=[[s, n, t, m, ss.fisher_exact([[t, m - t], [s, n - s]]).pvalue] for s, n, t, m in ((0, 120, 9, 110), (2, 400, 4, 380), (60, 60, 50, 55))],
        power=power,
    ),
    sys.stdout,
    default=float,
)

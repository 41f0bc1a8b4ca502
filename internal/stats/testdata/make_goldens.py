"""Writes goldens.json: what scipy, statsmodels, gbstats and mpmath say.

usage: pip install -r requirements.txt; make_goldens.py > goldens.json

confseq has no wheel for a current Python; the numbers that its own tests publish stand in published_test.go."""

import json
import math

import mpmath as mp
import numpy as np
import scipy.stats as ss
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import (
    ProportionStatistic,
    QuantileStatistic,
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
    compute_theta,
)
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, proportions_ztest

rng = np.random.default_rng(7)
out = {}


def clean(x):
    if isinstance(x, (list, tuple)):
        return [clean(v) for v in x]
    if isinstance(x, dict):
        return {k: clean(v) for k, v in x.items() if k != "kind"}
    x = float(x)
    return str(x) if math.isinf(x) or math.isnan(x) else x


def samples():
    yield rng.normal(10, 2, 12), rng.normal(11, 5, 9)
    yield rng.lognormal(0, 1, 30), rng.lognormal(0.4, 1, 25)
    yield rng.normal(1e5, 3, 20), rng.normal(1e5, 3, 20)
    yield rng.exponential(1, 200), rng.exponential(1.1, 300)
    yield np.array([1.0, 2.0]), np.array([5.0, 9.0, 7.0])


out["welch"] = []
out["mannwhitney"] = []
for a, b in samples():
    for side, alt in ((0, "two-sided"), (1, "greater"), (2, "less")):
        r = ss.ttest_ind(b, a, equal_var=False, alternative=alt)
        ci = r.confidence_interval(0.95)
        out["welch"].append(dict(a=list(a), b=list(b), side=side, t=r.statistic, df=r.df, p=r.pvalue, ci=[ci.low, ci.high]))
        method = "exact" if len(a) + len(b) <= 120 else "asymptotic"
        u = ss.mannwhitneyu(b, a, alternative=alt, method=method)
        out["mannwhitney"].append(dict(a=list(a), b=list(b), side=side, u=u.statistic, p=u.pvalue))
# Ties: the exact distribution by full permutation.
for a, b in (([1, 1, 2, 3, 3], [2, 3, 3, 4, 5, 5]), ([0, 0, 0, 0, 1], [0, 0, 1, 1, 1]), ([3, 3, 3], [3, 3, 3])):

    def u2(x, y, axis=-1):
        x, y = np.asarray(x), np.asarray(y)
        d = x[..., :, None] - y[..., None, :]
        return (d > 0).sum((-1, -2)) + 0.5 * (d == 0).sum((-1, -2))

    for side, alt in ((1, "greater"), (2, "less")):
        r = ss.permutation_test((b, a), u2, alternative=alt, n_resamples=np.inf, vectorized=True, permutation_type="independent")
        out["mannwhitney"].append(dict(a=a, b=b, side=side, u=r.statistic, p=r.pvalue))
a, b = rng.normal(0, 1, 150), np.round(rng.normal(0.3, 1, 140), 1)
a = np.round(a, 1)
for side, alt in ((0, "two-sided"), (1, "greater"), (2, "less")):
    u = ss.mannwhitneyu(b, a, alternative=alt, method="asymptotic")
    out["mannwhitney"].append(dict(a=list(a), b=list(b), side=side, u=u.statistic, p=u.pvalue))

out["tsurvival"] = []
for nu in (1, 2.5, 10, 300, 1e6):
    for t in (-40, -3, -0.1, 0, 0.5, 2, 12, 200):
        out["tsurvival"].append([t, nu, ss.t.sf(t, nu)])

out["adjust"] = []
for ps in ([0.01, 0.04, 0.03, 0.005], [0.5], [1, 1, 0.2], [1e-12, 0.05, 0.05, 0.9, 0.2, 0.04]):
    out["adjust"].append(dict(p=ps, holm=list(multipletests(ps, method="holm")[1]), bh=list(multipletests(ps, method="fdr_bh")[1])))

out["srm"] = [dict(counts=c, weights=w, p=ss.chisquare(c, np.array(w) / sum(w) * sum(c)).pvalue) for c, w in (([500, 520], [1, 1]), ([1000, 90, 110], [8, 1, 1]), ([10**7, 10**7 + 20000], [1, 1]))]

out["proportions"] = []
for sc, nc, st, nt in ((14, 28, 16, 30), (5, 1000, 20, 1100), (0, 50, 3, 60)):
    for side, alt in ((0, "two-sided"), (1, "larger"), (2, "smaller")):
        z, p = proportions_ztest([st, sc], [nt, nc], alternative=alt)
        out["proportions"].append(dict(args=[sc, nc, st, nt], side=side, z=z, p=p))
out["wilson"] = [[s, n, *proportion_confint(s, n, 0.05, "wilson")] for s, n in ((0, 10), (3, 10), (10, 10), (1, 100000))]

out["power"] = [[d, n, a, NormalIndPower().power(d, n, a)] for d, n, a in ((0.2, 100, 0.05), (0.5, 64, 0.05), (0.05, 5000, 0.01))]
out["samplesize"] = [[d, a, p, NormalIndPower().solve_power(effect_size=d, alpha=a, power=p)] for d, a, p in ((0.2, 0.05, 0.8), (0.5, 0.05, 0.9), (0.02, 0.01, 0.8))]

# gbstats: absolute and relative differences, sequential intervals, ratios.
out["gbstats"] = []
A = dict(sum=1396.87, sum_squares=52377.9767, n=3407)
B = dict(sum=2422.7, sum_squares=134698.29, n=3461)
for kind, sa, sb in (
    ("mean", SampleMeanStatistic(**A), SampleMeanStatistic(**B)),
    ("proportion", ProportionStatistic(sum=14, n=28), ProportionStatistic(sum=16, n=30)),
    ("proportion", ProportionStatistic(sum=300, n=5000), ProportionStatistic(sum=350, n=5100)),
):
    for relative in (False, True):
        r = TwoSidedTTest(sa, sb, FrequentistConfig(difference_type="relative" if relative else "absolute")).compute_result()
        q = SequentialTwoSidedTTest(sa, sb, SequentialConfig(difference_type="relative" if relative else "absolute", sequential_tuning_parameter=5000)).compute_result()
        out["gbstats"].append(
            dict(kind=kind, a=[sa.n, sa.mean, sa.variance], b=[sb.n, sb.mean, sb.variance], relative=relative, estimate=r.expected, ci=r.ci, p=r.p_value, seq_ci=q.ci)
        )
x, y = rng.poisson(5, 400) + 1.0, rng.poisson(3, 400) * 1.0
r = RatioStatistic(
    n=400,
    m_statistic=SampleMeanStatistic(n=400, sum=y.sum(), sum_squares=(y**2).sum()),
    d_statistic=SampleMeanStatistic(n=400, sum=x.sum(), sum_squares=(x**2).sum()),
    m_d_sum_of_products=(x * y).sum(),
)
out["ratio"] = dict(num=list(y), den=list(x), mean=r.mean, variance=r.variance)

# One-sided Bernoulli mixture e-value, by quadrature in 60 digits.
mp.mp.dps = 60
out["bernoulli"] = []
for s, n, p0 in ((0, 100, 1e-2), (3, 10, 1e-4), (5, 2000, 1e-3), (20, 20, 0.5), (1, 500, 1e-4), (600, 1000, 0.5), (4, 1000, 0.5)):
    a = b = mp.mpf(1) / 2
    num = mp.betainc(b + n - s, a + s, 0, 1 - mp.mpf(p0))
    den = mp.betainc(b, a, 0, 1 - mp.mpf(p0))
    out["bernoulli"].append([s, n, p0, mp.log(mp.re(num) / mp.re(den)) - s * mp.log(mp.mpf(p0)) - (n - s) * mp.log(1 - mp.mpf(p0))])

# Appended after the first goldens, so that their random numbers stay.
mp.mp.dps = 40


def t_sf(t, nu):
    t, nu = mp.mpf(t), mp.mpf(nu)
    return mp.betainc(nu / 2, mp.mpf(1) / 2, 0, nu / (nu + t * t), regularized=True) / 2


out["tsurvival"] += [[t, nu, t_sf(t, nu)] for nu in (9.9e4, 1.1e5, 1e7, 1e9) for t in (1e-3, 0.5, 3, 12, 30)]
out["tupper"] = [[q, nu, ss.t.isf(q, nu)] for nu in (1, 1.7, 4, 30, 5000, 2e6) for q in (1e-12, 1e-4, 0.025, 0.3, 0.8)]
out["tupper"] += [[q, math.inf, ss.norm.isf(q)] for q in (1e-200, 1e-12, 1e-4, 0.025, 0.3, 0.8, 0.999)]
out["newcombe"] = []
for sc, nc, st, nt in ((14, 28, 16, 30), (5, 1000, 20, 1100), (0, 50, 3, 60), (0, 10, 0, 20), (10, 10, 0, 20), (1, 1, 0, 1)):
    lo, hi = confint_proportions_2indep(st, nt, sc, nc, method="newcomb", compare="diff", alpha=0.05)
    out["newcombe"].append([sc, nc, st, nt, lo, hi])
out["fisher"] = []
for sc, nc, st, nt in ((1, 9, 11, 14), (0, 10, 10, 10), (0, 5, 0, 7), (30, 1000, 60, 1100), (5, 5, 3, 4), (2, 50, 40, 60), (0, 1, 1, 1)):
    for side, alt in ((0, "two-sided"), (1, "greater"), (2, "less")):
        out["fisher"].append([sc, nc, st, nt, side, ss.fisher_exact([[st, nt - st], [sc, nc - sc]], alternative=alt).pvalue])
out["shift"] = []
for a, b in list(samples())[:3]:
    out["shift"].append(dict(a=list(a), b=list(b), median=np.median(np.subtract.outer(b, a))))
for d, n, a, ratio, alt in ((0.2, 100, 0.05, 2, "two-sided"), (0.3, 50, 0.01, 0.5, "larger"), (-0.4, 30, 0.05, 1, "smaller"), (0.4, 30, 0.05, 9, "smaller")):
    side = {"two-sided": 0, "larger": 1, "smaller": 2}[alt]
    out.setdefault("design", []).append([d, n, a, ratio, side, NormalIndPower().power(d, n, a, ratio, alt)])
# gbstats: regression adjustment, quantiles, ratios between arms.
out["cuped"] = []
for effect, slope in ((0.5, 0.8), (0.0, -1.2), (3.0, 0.0)):
    pre = [rng.normal(10, 3, 60), rng.normal(10, 3, 75)]
    y = [slope * p + rng.normal(i * effect, 1, len(p)) for i, p in enumerate(pre)]

    def adjusted(i, theta):
        def mean(x):
            return SampleMeanStatistic(n=len(x), sum=x.sum(), sum_squares=(x**2).sum())

        return RegressionAdjustedStatistic(n=len(y[i]), post_statistic=mean(y[i]), pre_statistic=mean(pre[i]), post_pre_sum_of_products=(y[i] * pre[i]).sum(), theta=theta)

    theta = compute_theta(adjusted(0, None or 0), adjusted(1, 0))
    for relative in (False, True):
        kind = "relative" if relative else "absolute"
        a, b = adjusted(0, theta), adjusted(1, theta)
        r = TwoSidedTTest(a, b, FrequentistConfig(difference_type=kind)).compute_result()
        q = SequentialTwoSidedTTest(a, b, SequentialConfig(difference_type=kind)).compute_result()
        out["cuped"].append(dict(yc=list(y[0]), pc=list(pre[0]), yt=list(y[1]), pt=list(pre[1]), theta=theta, relative=relative, estimate=r.expected, ci=r.ci, p=r.p_value, seq_ci=q.ci, seq_p=q.p_value))
out["quantile"] = []
for p in (0.5, 0.9, 0.95):
    x = [np.sort(rng.lognormal(0, 0.6, 300)), np.sort(rng.lognormal(0.2, 0.6, 280))]

    def quantile(v):
        h = ss.norm.ppf(0.975) * np.sqrt(p * (1 - p) / len(v))
        return QuantileStatistic(n=len(v), n_star=len(v), nu=p, quantile_hat=np.quantile(v, p), quantile_lower=np.quantile(v, p - h), quantile_upper=np.quantile(v, p + h))

    r = TwoSidedTTest(quantile(x[0]), quantile(x[1]), FrequentistConfig(difference_type="absolute")).compute_result()
    out["quantile"].append(dict(a=list(x[0]), b=list(x[1]), q=p, estimate=r.expected, ci=r.ci, p=r.p_value))

# Theorem 2 of Waudby-Smith and Ramdas as vectors, level 0.05.
x = rng.beta(2, 5, 300)
t = np.arange(1, 301)
mu = (0.5 + np.cumsum(x)) / (t + 1)
s2 = (0.25 + np.cumsum((x - mu) ** 2)) / (t + 1)
mu0, s20 = np.append(0.5, mu[:-1]), np.append(0.25, s2[:-1])
lam = np.minimum(0.5, np.sqrt(2 * np.log(2 / 0.05) / (s20 * t * np.log(1 + t))))
v, psi = 4 * (x - mu0) ** 2, (-np.log(1 - lam) - lam) / 4
c = np.cumsum(lam * x) / np.cumsum(lam)
h = (np.log(2 / 0.05) + np.cumsum(v * psi)) / np.cumsum(lam)
lo, hi = np.maximum.accumulate(np.maximum(c - h, 0)), np.minimum.accumulate(np.minimum(c + h, 1))
out["meancs"] = dict(x=list(x), at=[1, 10, 100, 300], low=[lo[i - 1] for i in (1, 10, 100, 300)], high=[hi[i - 1] for i in (1, 10, 100, 300)])

# The Dirichlet-multinomial mixture and the mixture over rate ratios, in 40 digits.
out["seqsrm"] = []
for counts, weights in (([500, 520], [1, 1]), ([1000, 90, 110], [8, 1, 1]), ([10**6, 10**6 + 9000], [1, 1]), ([0, 0], [1, 3])):
    w = [mp.mpf(x) / sum(weights) for x in weights]
    e = sum(mp.loggamma(100 * w[i] + c) - mp.loggamma(100 * w[i]) - c * mp.log(w[i]) for i, c in enumerate(counts))
    out["seqsrm"].append(dict(counts=counts, weights=weights, loge=e - mp.loggamma(100 + sum(counts)) + mp.loggamma(100)))
out["events"] = []
for margin, reverse, alpha in ((1, 0, 0), (1.5, 0, 0), (1.5, 1, 0), (1, 0, 0.3), (1.5, 1, 0.3)):
    if not alpha:
        ws = list(rng.uniform(0, 1, 50)) + [1e-300, 1 - 1e-16, 0.1]
        arm = list(rng.integers(0, 2, 50)) + [1, 0, 1]
    m = mp.mpf(margin)
    bets = [[mp.mpf(th), mp.mpf(share)] for th, share in ((1.5, 0.15), (2, 0.45), (3, 0.25), (10, 0.08), (100, 0.07))]
    wealth, crossed = mp.mpf(1), False
    for w, k in zip(ws, arm):
        odds = mp.mpf(w) / (1 - mp.mpf(w))
        w0 = m * odds / (1 + m * odds)
        after = [[], []]
        for th, share in bets:
            th = m / th if reverse else m * th
            q = th * odds / (1 + th * odds)
            after[0].append(share * (1 - q) / (1 - w0))
            after[1].append(share * q / w0)
        total = sum(share for _, share in bets)
        gain = [sum(after[0]) / total, sum(after[1]) / total]
        up = 0 if reverse else 1  # the outcome that speaks against the null
        p = [1 - w0, w0]
        if alpha and gain[up] * wealth > 1 / mp.mpf(alpha):
            gain[up] = 1 / mp.mpf(alpha) / wealth
            gain[1 - up] = (1 - p[up] * gain[up]) / p[1 - up]
            crossed = True
        wealth *= gain[k]
        for bet, share in zip(bets, after[k]):
            bet[1] = share
    assert crossed == bool(alpha), (margin, reverse, alpha)
    out["events"].append(dict(margin=margin, reverse=reverse, alpha=alpha, weights=ws, arm=arm, loge=mp.log(wealth)))
out["logbeta"] = [[a, b, mp.log(mp.beta(mp.mpf(a), mp.mpf(b)))] for a, b in ((0.5, 0.5), (0.5, 20), (3, 9), (12, 15), (40.5, 1e6), (1e9, 3e9), (0.5, 1e8), (0.5, 1e12))]

json.dump({k: clean(v) for k, v in out.items()}, __import__("sys").stdout)

package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
)

const (
	maxResamples = 10_000_000
	maxJackknife = 4000
)

// Bootstrap returns the bias-corrected and accelerated percentile interval (Efron 1987) of stat(control, treatment),
// from reps resamples drawn with the seed. Beyond 4,000 observations in all the acceleration, which vanishes with the
// sample size and takes quadratic time, is left out. A statistic that lies outside all its resamples, as a maximum may,
// gets their whole range: the bootstrap is no method for it.
func Bootstrap(control, treatment []float64, stat func(control, treatment []float64) float64, reps int, alpha float64, seed uint64) (Interval, error) {
	if len(control) < 2 || len(treatment) < 2 || reps < 100 || reps > maxResamples {
		return Interval{}, fmt.Errorf("%w: bootstrap of %d and %d observations with %d resamples", ErrInput, len(control), len(treatment), reps)
	}
	if err := checkSamples(control, treatment); err != nil {
		return Interval{}, err
	}
	if err := checkLevel(TwoSided, alpha); err != nil {
		return Interval{}, err
	}
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	est := stat(control, treatment)
	if !finite(est) {
		return Interval{}, fmt.Errorf("%w: the statistic is %g", ErrInput, est)
	}
	c, t := make([]float64, len(control)), make([]float64, len(treatment))
	vals := make([]float64, reps)
	below := 0.0
	for i := range vals {
		resample(rng, c, control)
		resample(rng, t, treatment)
		vals[i] = stat(c, t)
		if !finite(vals[i]) {
			return Interval{}, fmt.Errorf("%w: the statistic of a resample is %g", ErrInput, vals[i])
		}
		switch {
		case vals[i] < est:
			below++
		case vals[i] == est:
			below += 0.5
		}
	}
	sort.Float64s(vals)
	if below == 0 || below == float64(reps) || vals[0] == vals[reps-1] {
		return Interval{vals[0], vals[reps-1]}, nil
	}
	z0 := NormalQuantile(below / float64(reps))
	acc := 0.0
	if len(control)+len(treatment) <= maxJackknife {
		acc = acceleration(control, treatment, stat)
	}
	at := func(p float64) float64 {
		z := z0 + NormalQuantile(p)
		if d := 1 - acc*z; d > 0 {
			z = z0 + z/d
		} else {
			z = math.Copysign(math.Inf(1), z)
		}
		q := NormalSurvival(-z)
		k := int(math.Floor(q * float64(reps)))
		return vals[min(max(k, 0), reps-1)]
	}
	return Interval{at(alpha / 2), at(1 - alpha/2)}, nil
}

func resample(rng *rand.Rand, dst, src []float64) {
	for i := range dst {
		dst[i] = src[rng.IntN(len(src))]
	}
}

// acceleration is the jackknife estimate of the skewness of the statistic over both samples.
func acceleration(control, treatment []float64, stat func(c, t []float64) float64) float64 {
	var num, den float64
	sample := func(n int, leave func(i int) float64) {
		vals, mean := make([]float64, n), 0.0
		for i := range vals {
			vals[i] = leave(i)
			mean += vals[i] / float64(n)
		}
		for _, v := range vals {
			d := (float64(n) - 1) * (mean - v) / float64(n)
			num += d * d * d
			den += d * d
		}
	}
	sample(len(control), func(i int) float64 { return stat(without(control, i), treatment) })
	sample(len(treatment), func(i int) float64 { return stat(control, without(treatment, i)) })
	if den == 0 {
		return 0
	}
	return num / (6 * math.Pow(den, 1.5))
}

func without(xs []float64, i int) []float64 {
	return append(append(make([]float64, 0, len(xs)-1), xs[:i]...), xs[i+1:]...)
}

// Permutation returns the p-value of stat(control, treatment) under random relabelling: exact when there are at most
// reps relabellings, otherwise (1 + hits) / (1 + reps) over reps random ones (Phipson, Smyth 2010).
func Permutation(control, treatment []float64, stat func(control, treatment []float64) float64, side Side, reps int, seed uint64) (p float64, exact bool, err error) {
	n, m := len(control), len(treatment)
	if reps < 1 || reps > maxResamples {
		return 0, false, fmt.Errorf("%w: permutation of %d and %d observations, %d times", ErrInput, n, m, reps)
	}
	if err := checkSamples(control, treatment); err != nil {
		return 0, false, err
	}
	if err := checkLevel(side, 0.5); err != nil {
		return 0, false, err
	}
	all := append(append(make([]float64, 0, n+m), control...), treatment...)
	est := stat(control, treatment)
	if !finite(est) {
		return 0, false, fmt.Errorf("%w: the statistic is %g", ErrInput, est)
	}
	var vals []float64
	count := func(v float64) { vals = append(vals, v) }
	if logChoose(int64(n+m), int64(n)) <= math.Log(float64(reps))+1e-9 {
		c, t := make([]float64, n), make([]float64, m)
		combinations(n+m, n, func(pick []bool) {
			i, j := 0, 0
			for k, in := range pick {
				if in {
					c[i] = all[k]
					i++
				} else {
					t[j] = all[k]
					j++
				}
			}
			count(stat(c, t))
		})
		p, err := relabelled(side, est, vals, 0)
		return p, true, err
	}
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	for range reps {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		count(stat(all[:n], all[n:]))
	}
	p, err = relabelled(side, est, vals, 1)
	return p, false, err
}

// relabelled returns the p-value of est among the statistics of relabellings, with extra hits counted in.
func relabelled(side Side, est float64, vals []float64, extra float64) (float64, error) {
	scale := math.Abs(est)
	for _, v := range vals {
		if !finite(v) {
			return 0, fmt.Errorf("%w: the statistic of a relabelling is %g", ErrInput, v)
		}
		scale = math.Max(scale, math.Abs(v))
	}
	// Equal splits may differ by rounding; the tolerance is relative, so that the unit of the statistic does not matter.
	tol := 1e-14 * scale
	up, lo, total := extra, extra, float64(len(vals))+extra
	for _, v := range vals {
		if v >= est-tol {
			up++
		}
		if v <= est+tol {
			lo++
		}
	}
	return pOf(side, up/total, lo/total), nil
}

// combinations calls f with every way to pick k of n.
func combinations(n, k int, f func(pick []bool)) {
	pick := make([]bool, n)
	var rec func(i, left int)
	rec = func(i, left int) {
		if n-i < left {
			return
		}
		if i == n {
			f(pick)
			return
		}
		if left > 0 {
			pick[i] = true
			rec(i+1, left-1)
			pick[i] = false
		}
		rec(i+1, left)
	}
	rec(0, k)
}

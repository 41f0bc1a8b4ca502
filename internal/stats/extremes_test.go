package stats

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// TestExtremes throws awkward samples at every procedure: each either refuses with ErrInput or answers without NaN,
// with a p-value between 0 and 1 and an estimate inside its interval.
func TestExtremes(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	samples := map[string][]float64{
		"none": nil, "one": {3}, "zeros": {0, 0, 0}, "constant": {0.1, 0.1, 0.1}, "huge": {1e308, 1e308, -1e308}, "huge constant": {1e308, 1e308},
		"tiny": {1e-308, 2e-308, 5e-324}, "nan": {1, nan, 2}, "inf": {1, inf, 2}, "plain": {1, 2, 4}, "offset": {1e15, 1e15 + 1, 1e15 + 3}, "negative": {-3, -1, -2},
		"large": {1e200, 2e200, 3e200}, "wide": {1e-300, 1, 1e100},
	}
	names := []string{}
	for n := range samples {
		names = append(names, n)
	}
	sort.Strings(names)
	checked := func(what string, err error, est, p float64, iv Interval, bad bool) {
		t.Helper()
		switch {
		case err != nil:
			if !errors.Is(err, ErrInput) {
				t.Errorf("%s: %v is not ErrInput", what, err)
			}
		case bad:
			t.Errorf("%s: accepted, %g %g %v", what, est, p, iv)
		case !(p >= 0 && p <= 1) || math.IsNaN(est) || math.IsInf(est, 0) || math.IsNaN(iv.Low) || math.IsNaN(iv.High):
			t.Errorf("%s: estimate %g, p %g, interval %v", what, est, p, iv)
		case !iv.Contains(est):
			t.Errorf("%s: estimate %g outside its interval %v", what, est, iv)
		}
	}
	for _, an := range names {
		for _, bn := range names {
			a, b := samples[an], samples[bn]
			bad := an == "none" || bn == "none" || an == "nan" || bn == "nan" || an == "inf" || bn == "inf"
			for side := TwoSided; side <= Less; side++ {
				what := fmt.Sprintf("%s / %s side %d", an, bn, side)
				sa, ea := Summarize(a)
				sb, eb := Summarize(b)
				if ea == nil && eb == nil {
					r, err := Welch(sa, sb, side, 0.05)
					checked("welch "+what, err, r.Estimate, r.P, r.CI, bad)
					r, err = RelativeDifference(sa, sb, side, 0.05)
					checked("relative "+what, err, r.Estimate, r.P, r.CI, bad)
				} else {
					checked("summary "+what, errors.Join(ea, eb), 0, 0, Interval{}, bad)
				}
				r, err := MannWhitney(a, b, side)
				checked("mannwhitney "+what, err, r.Estimate, r.P, r.CI, bad)
				sortedA, sortedB := ascendingCopy(a), ascendingCopy(b)
				d, err := QuantileDifference(sortedA, sortedB, 0.5, side, 0.05)
				checked("quantile "+what, err, d.Estimate, d.P, d.CI, bad)
				p, _, err := Permutation(a, b, func(c, t []float64) float64 { return t[0] - c[0] }, side, 100, 1)
				checked("permutation "+what, err, 0, p, Interval{}, bad)
			}
			what := an + " / " + bn
			iv, err := Bootstrap(a, b, func(c, t []float64) float64 { return t[0] - c[0] }, 200, 0.05, 1)
			checked("bootstrap "+what, err, iv.Low, 0, iv, bad)
			if iv, err := ShiftInterval(a, b, 0.05); err == nil && (math.IsNaN(iv.Low) || math.IsNaN(iv.High) || iv.Low > iv.High) {
				t.Errorf("shift %s: %v", what, iv)
			}
			if s, err := RatioSummary(a, b); err == nil {
				checked("ratio "+what, s.check("ratio"), s.Mean, 0, Interval{s.Mean, s.Mean}, bad)
			}
			if ca, cb, theta, err := CUPED(a, a, b, b); err == nil {
				checked("cuped "+what, errors.Join(ca.check("a"), cb.check("b")), theta, 0, Interval{theta, theta}, bad)
			}
		}
		if s, err := QuantileSummary(ascendingCopy(samples[an]), 0.5); err == nil && s.check(an) != nil {
			t.Errorf("quantile summary of %s: %v", an, s)
		}
	}
	for _, f := range []float64{nan, inf, -inf, -1, 0, 1, 2, 0.5, 1e-320, 1 - 1e-16} {
		for _, g := range []float64{nan, inf, -1, 0, 0.5, 1, 1e308} {
			check := func(what string, x float64, err error) {
				t.Helper()
				if err == nil && (math.IsNaN(x) || math.IsInf(x, -1)) {
					t.Errorf("%s(%g, %g) = %g", what, f, g, x)
				}
			}
			r, err := Proportions(f, g, g, g, TwoSided, 0.05)
			check("proportions", r.P+r.CI.Low+r.CI.High, err)
			iv := Wilson(f, g, 0.05)
			check("wilson", iv.Low+iv.High, nil)
			iv = AsymptoticCS(f, g, 10, 0.05, 100)
			if math.IsNaN(iv.Low) || math.IsNaN(iv.High) {
				t.Errorf("AsymptoticCS(%g, %g) = %v", f, g, iv)
			}
			if iv = AsymptoticLowerCS(f, g, 10, 0.05, 100); math.IsNaN(iv.Low) {
				t.Errorf("AsymptoticLowerCS(%g, %g) = %v", f, g, iv)
			}
			check("asymptotic p", AsymptoticPValue(f, g, 10, 0.05, 100), nil)
			n, err := SampleSizeMeans(f, g, Design{})
			check("sample size", n, err)
			n, err = SampleSizeProportions(f, g, Design{})
			check("sample size of proportions", n, err)
			n, err = PowerMeans(f, 1, g, Design{})
			check("power", n, err)
			n, err = SRM([]int64{10, 12}, []float64{f, g})
			check("srm", n, err)
			n, err = SequentialSRM([]int64{10, 12}, []float64{f, g})
			check("sequential srm", n, err)
			check("bernoulli", BernoulliLogE(3, 10, f), nil)
			check("bernoulli lower", BernoulliLower(3, 10, f)+BernoulliUpper(3, 2, g), nil)
			for _, alpha := range []float64{f, g} {
				e := NewEventTest(f, alpha, Gradual)
				e.Observe(true, g)
				e.Observe(false, f)
				e.Observe(true, 1-1e-16)
				check("events", e.LogE()+e.PValue(), nil)
			}
			if c, err := NewMeanCS(0.05, 0, f); err == nil {
				_ = c.Observe(g)
				check("mean", c.Interval().Low+c.Interval().High, nil)
			}
			for _, alpha := range []float64{f, g} {
				if _, err := Welch(Summary{3, 0, 1}, Summary{3, 0, 1}, TwoSided, alpha); err == nil && !(alpha > 0 && alpha < 1) {
					t.Errorf("Welch accepts alpha %g", alpha)
				}
			}
			if _, err := Holm([]float64{f, g}); err == nil && !(f >= 0 && f <= 1 && g >= 0 && g <= 1) {
				t.Errorf("Holm accepts %g and %g", f, g)
			}
		}
	}
	if _, err := Welch(Summary{3, 0, 1}, Summary{3, 0, 1}, Side(7), 0.05); err == nil {
		t.Error("Welch accepts side 7")
	}
	if _, err := QuantileCS([]float64{2, 1}, 0.5, 0.05); err == nil {
		t.Error("a sample out of order is accepted")
	}
	if _, err := RestoreMeanCS(MeanState{Alpha: 0.05, Max: 1, N: 3, Sum: nan}); err == nil {
		t.Error("a state with NaN is accepted")
	}
}

// TestScales: the unit of measurement changes no p-value, and swapping the arms mirrors the interval.
func TestScales(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	a, b := make([]float64, 30), make([]float64, 40)
	for i := range a {
		a[i] = math.Round(10 * rng.NormFloat64())
	}
	for i := range b {
		b[i] = math.Round(10*rng.NormFloat64()) + 4
	}
	type look struct{ welch, rank, quantile float64 }
	at := func(scale, shift float64) look {
		f := func(xs []float64) []float64 {
			out := make([]float64, len(xs))
			for i, x := range xs {
				out[i] = scale*x + shift
			}
			return out
		}
		x, y := f(a), f(b)
		sx, _ := Summarize(x)
		sy, _ := Summarize(y)
		w, err := Welch(sx, sy, TwoSided, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		m, err := MannWhitney(x, y, TwoSided)
		if err != nil {
			t.Fatal(err)
		}
		q, err := QuantileDifference(ascendingCopy(x), ascendingCopy(y), 0.5, TwoSided, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		back, err := QuantileDifference(ascendingCopy(y), ascendingCopy(x), 0.5, TwoSided, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(q.CI.Low+back.CI.High) > 1e-9*scale || q.LogEUp != back.LogEDown {
			t.Errorf("swapped arms: %v and %v", q, back)
		}
		return look{w.P, m.P, q.P}
	}
	want := at(1, 0)
	for _, c := range [][2]float64{{1 << 20, 0}, {1e-140, 0}, {1e140, 0}, {1, 1e6}} {
		if got := at(c[0], c[1]); math.Abs(got.welch-want.welch) > 1e-9 || math.Abs(got.rank-want.rank) > 1e-12 || math.Abs(got.quantile-want.quantile) > 1e-12 {
			t.Errorf("scale %g shift %g: %v, want %v", c[0], c[1], got, want)
		}
	}
}

// TestNthDifference compares with sorting all differences; TestShiftInterval checks coverage.
func TestNthDifference(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for range 50 {
		c, tr := make([]float64, 1+rng.IntN(20)), make([]float64, 1+rng.IntN(20))
		for i := range c {
			c[i] = float64(rng.IntN(9))
		}
		for i := range tr {
			tr[i] = rng.NormFloat64()
		}
		sort.Float64s(c)
		sort.Float64s(tr)
		var all []float64
		for _, x := range c {
			for _, y := range tr {
				all = append(all, y-x)
			}
		}
		sort.Float64s(all)
		for k, want := range all {
			if got := nthDifference(c, tr, k); got != want {
				t.Fatalf("difference %d = %g, want %g", k, got, want)
			}
		}
	}
}

func TestShiftInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for _, n := range []int{10, 80} {
		covered := 0
		for range 500 {
			c, tr := make([]float64, n), make([]float64, n)
			for i := range c {
				c[i], tr[i] = rng.ExpFloat64(), rng.ExpFloat64()+2
			}
			iv, err := ShiftInterval(c, tr, 0.1)
			if err != nil {
				t.Fatal(err)
			}
			if iv.Contains(2) {
				covered++
			}
		}
		if covered < 430 || covered > 482 {
			t.Errorf("n = %d: 90 %% interval covers in %d of 500 runs", n, covered)
		}
	}
}

package stats

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// TestProportionDifferenceMinimum compares the search for the least favourable p with a fine grid.
func TestProportionDifferenceMinimum(t *testing.T) {
	for _, c := range [][4]int64{{0, 100, 9, 100}, {0, 1000, 1000, 1000}, {3, 5000, 30, 5000}, {40, 100, 70, 100}, {0, 2, 2, 2}, {1, 100000, 15, 90000}, {0, 1, 1, 1}, {999, 1000, 1000, 1000}} {
		for _, shift := range []float64{0, -0.02, 0.01, -0.5} {
			got := proportionLogE(c[0], c[1], c[2], c[3], shift)
			want := math.Inf(1)
			for i := range 4000 {
				p := (float64(i) + 0.5) / 4000
				if i%2 == 1 {
					p = math.Exp(-20 * p) // small p
				}
				if p+shift < 0 || p+shift > 1 {
					continue
				}
				want = math.Min(want, BernoulliLogE(c[2], c[3], p+shift)+BernoulliLogE(c[1]-c[0], c[1], 1-p))
			}
			if want > 0 && math.Abs(got-want) > 1e-2*(1+want) {
				t.Errorf("%v, shift %g: %g, a grid says %g", c, shift, got, want)
			}
		}
	}
}

func TestProportionDifference(t *testing.T) {
	d, err := ProportionDifference(0, 1000, 1000, 1000, TwoSided, 0.05)
	if err != nil || d.P > 1e-100 || d.CI.Low < 0.98 || d.CI.High != 1 {
		t.Errorf("none against all: %+v, %v", d, err)
	}
	a, _ := ProportionDifference(3, 500, 20, 400, TwoSided, 0.05)
	b, _ := ProportionDifference(20, 400, 3, 500, TwoSided, 0.05)
	if math.Abs(a.P-b.P) > 1e-9*a.P || math.Abs(a.CI.Low+b.CI.High) > 1e-9 || math.Abs(a.CI.High+b.CI.Low) > 1e-9 {
		t.Errorf("arms swapped: %+v and %+v", a, b)
	}
	for _, bad := range [][4]int64{{0, 0, 1, 2}, {3, 2, 0, 1}, {-1, 2, 0, 1}} {
		if _, err := ProportionDifference(bad[0], bad[1], bad[2], bad[3], TwoSided, 0.05); !errors.Is(err, ErrInput) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := ProportionDifference(0, 1, 0, 1, TwoSided, math.NaN()); !errors.Is(err, ErrInput) {
		t.Error("alpha of NaN passes")
	}
}

// TestProportionDifferenceExpectation sums over all tables: under the null an e-value has mean at most 1.
func TestProportionDifferenceExpectation(t *testing.T) {
	const n = 30
	var loge [n + 1][n + 1]float64
	for c := range loge {
		for s := range loge[c] {
			loge[c][s] = proportionLogE(int64(c), n, int64(s), n, 0)
		}
	}
	logP := func(s int, p float64) float64 {
		return logChoose(n, int64(s)) + float64(s)*math.Log(p) + float64(n-s)*math.Log1p(-p)
	}
	for _, p := range []float64{0.003, 0.03, 0.2, 0.5, 0.9, 0.99} {
		sum := 0.0
		for c := range loge {
			for s := range loge[c] {
				sum += math.Exp(logP(c, p) + logP(s, p) + loge[c][s])
			}
		}
		if !(sum <= 1) {
			t.Errorf("p = %g: mean e-value %g", p, sum)
		}
	}
}

// TestNonInferior agrees with the upper end of the interval, stops early or not.
func TestNonInferior(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	yes := 0
	for range 25 {
		nc, nt := 1+rng.Int64N(3000), 1+rng.Int64N(3000)
		sc, st := rng.Int64N(nc/20+1), rng.Int64N(nt/20+1)
		d, err := ProportionDifference(sc, nc, st, nt, Less, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		for _, away := range []float64{-1e-6, 1e-6} {
			margin := d.CI.High + away
			if !(margin >= 0 && margin < 1) {
				continue
			}
			got, err := NonInferior(sc, nc, st, nt, margin, 0.05)
			if err != nil || got != (away > 0) {
				t.Errorf("%d/%d and %d/%d, margin %g, interval to %g: %v, %v", sc, nc, st, nt, margin, d.CI.High, got, err)
			}
			if got {
				yes++
			}
		}
	}
	if yes < 12 {
		t.Errorf("only %d shown", yes)
	}
	for _, bad := range [][6]float64{{-1, 10, 0, 10, 0.1, 0.05}, {11, 10, 0, 10, 0.1, 0.05}, {0, 10, 11, 10, 0.1, 0.05}, {0, 10, 0, 10, -0.1, 0.05}, {0, 10, 0, 10, 1, 0.05}, {0, 10, 0, 10, math.NaN(), 0.05}, {0, 10, 0, 10, 0.1, 0}} {
		if _, err := NonInferior(int64(bad[0]), int64(bad[1]), int64(bad[2]), int64(bad[3]), bad[4], bad[5]); !errors.Is(err, ErrInput) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if got, err := NonInferior(0, 0, 0, 10, 0.5, 0.05); got || err != nil {
		t.Errorf("without a control: %v, %v", got, err)
	}
	const huge = 1e15
	if got, err := NonInferior(0, huge, 0, huge, 1e-9, 0.05); !got || err != nil {
		t.Errorf("no faults in 1e15: %v, %v", got, err)
	}
	if got, err := NonInferior(0, huge, huge, huge, 0.5, 0.05); got || err != nil {
		t.Errorf("only faults in 1e15: %v, %v", got, err)
	}
}

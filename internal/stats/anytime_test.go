package stats

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// TestEventTestFalseAlarms simulates equal rates under ramping weights and bursts of a common cause, looked at after
// every event: the share of false rejections must stay below alpha, with three standard errors of slack.
func TestEventTestFalseAlarms(t *testing.T) {
	const runs, requests, alpha = 1000, 3000, 0.05
	for _, burst := range []float64{1, 6} {
		rng := rand.New(rand.NewPCG(1, uint64(burst)))
		rejected := 0
		for range runs {
			e := NewEventTest(1, alpha, Gradual)
			for i := range requests {
				w := []float64{0.1, 0.25, 0.5}[3*i/requests]
				p := 0.01
				if i/200%5 == 4 {
					p *= burst
				}
				if canary := rng.Float64() < w; rng.Float64() < p {
					e.Observe(canary, w)
				}
			}
			if e.Rejected(alpha) {
				rejected++
			}
		}
		if limit := alpha*runs + 3*math.Sqrt(alpha*(1-alpha)*runs); float64(rejected) > limit {
			t.Errorf("burst ×%g: %d of %d healthy runs rejected, want ≤ %.0f", burst, rejected, runs, limit)
		}
	}
}

// TestEventTestPower checks that a total failure is found within five treatment requests at alpha = 0.01, and that the
// reversed test proves a healthy arm non-inferior.
func TestEventTestPower(t *testing.T) {
	e := NewEventTest(1, 0.01, Gradual)
	n := 0
	for !e.Rejected(0.01) {
		e.Observe(true, 0.1)
		if n++; n > 5 {
			t.Fatalf("a treatment that always fails is not rejected after %d requests", n)
		}
	}
	rng := rand.New(rand.NewPCG(3, 3))
	r := NewNonInferiorityTest(1.5, 0.05)
	for range 20000 {
		r.Observe(rng.Float64() < 0.5, 0.5)
	}
	if !r.Rejected(0.05) {
		t.Errorf("equal rates are not shown to be within ×1.5 after 20000 events: p = %g", r.PValue())
	}
}

// TestEventTestLevel: whatever has happened so far, the e-value's mean over the next event under the null is what it was,
// and it never exceeds 1/α; with a level it never needs more events to reject than without.
func TestEventTestLevel(t *testing.T) {
	const alpha = 0.01
	rng := rand.New(rand.NewPCG(6, 6))
	sooner := 0
	for run := range 400 {
		reverse, stakes := run%2 == 1, []Stakes{Gradual, Sudden}[run/2%2]
		e, plain := newEventTest(1.5, alpha, reverse, stakes), newEventTest(1.5, 0, reverse, stakes)
		bad := 0.9 * rng.Float64()
		for !plain.Rejected(alpha) && e.events[0]+e.events[1] < 400 {
			w := 0.05 + 0.9*rng.Float64()
			p := 1.5 * w / (1.5*w + 1 - w)
			mean := 0.0
			for in, share := range map[bool]float64{true: p, false: 1 - p} {
				next, err := RestoreEventTest(e.State())
				if err != nil {
					t.Fatal(err)
				}
				next.Observe(in, w)
				if next.LogE() > -math.Log(alpha) {
					t.Fatalf("log e = %g beyond the limit", next.LogE())
				}
				mean += share * math.Exp(next.LogE()-e.LogE())
			}
			if math.Abs(mean-1) > 1e-9 {
				t.Fatalf("the e-value grows by %g on average under the null", mean)
			}
			in := rng.Float64() < p+(1-p)*bad
			if reverse {
				in = rng.Float64() < p*(1-bad)
			}
			had := e.Rejected(alpha)
			e.Observe(in, w)
			plain.Observe(in, w)
			if e.Rejected(alpha) && !had && !plain.Rejected(alpha) {
				sooner++
			}
			if plain.Rejected(alpha) && !e.Rejected(alpha) {
				t.Fatal("a level has cost power")
			}
		}
	}
	if sooner == 0 {
		t.Error("no run was rejected sooner")
	}
}

// TestEventTestRestore splits a run at every event and compares with the unsplit one, bit for bit.
func TestEventTestRestore(t *testing.T) {
	for _, alpha := range []float64{0, 0.01} {
		restoreAtEveryEvent(t, alpha)
	}
}

func restoreAtEveryEvent(t *testing.T, alpha float64) {
	rng := rand.New(rand.NewPCG(5, 5))
	whole := NewEventTest(1.2, alpha, Gradual)
	part := NewEventTest(1.2, alpha, Gradual)
	for range 200 {
		in, w := rng.Float64() < 0.3, rng.Float64()
		whole.Observe(in, w)
		restored, err := RestoreEventTest(part.State())
		if err != nil {
			t.Fatal(err)
		}
		part = restored
		part.Observe(in, w)
		if whole.LogE() != part.LogE() || whole.MaxLogE() != part.MaxLogE() {
			t.Fatal("a restored test differs from the unbroken one")
		}
	}
	bad := whole.State()
	bad.Bets[0] = math.NaN()
	if _, err := RestoreEventTest(bad); err == nil {
		t.Error("a state with NaN is accepted")
	}
}

// TestCoverage looks at every confidence sequence after each observation and counts the runs that ever miss the truth.
func TestCoverage(t *testing.T) {
	const runs, n, alpha = 400, 1000, 0.1
	limit := alpha*runs + 3*math.Sqrt(alpha*(1-alpha)*runs)
	missed := map[string]int{}
	rng := rand.New(rand.NewPCG(11, 11))
	for range runs {
		m, err := NewMeanCS(alpha, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		var s int64
		missMean, missLow, missUp, missQ, missA := false, false, false, false, false
		var xs []float64
		mean, m2 := 0.0, 0.0
		for i := range n {
			x := rng.Float64()
			x *= x // mean 1/3, median 1/4
			if err := m.Observe(x); err != nil {
				t.Fatal(err)
			}
			iv := m.Interval()
			missMean = missMean || !iv.Contains(1.0/3)
			k := float64(i + 1)
			d := x - mean
			mean += d / k
			m2 += d * (x - mean)
			if i >= 100 {
				missA = missA || !AsymptoticCS(mean, m2/(k-1), k, alpha, 500).Contains(1.0/3)
			}
			if rng.Float64() < 0.02 {
				s++
			}
			if i%10 == 9 {
				missLow = missLow || BernoulliLower(s, int64(i+1), alpha) > 0.02
				missUp = missUp || BernoulliUpper(s, int64(i+1), alpha) < 0.02
			}
			j := sort.SearchFloat64s(xs, x)
			xs = append(xs, 0)
			copy(xs[j+1:], xs[j:])
			xs[j] = x
			if i%10 == 9 {
				iv, err := QuantileCS(xs, 0.5, alpha)
				if err != nil {
					t.Fatal(err)
				}
				missQ = missQ || !iv.Contains(0.25)
			}
		}
		for name, miss := range map[string]bool{"mean": missMean, "lower": missLow, "upper": missUp, "quantile": missQ, "asymptotic": missA} {
			if miss {
				missed[name]++
			}
		}
		if iv := m.Interval(); iv.High-iv.Low > 0.15 {
			t.Fatalf("empirical Bernstein interval after %d observations is %v", n, iv)
		}
	}
	for name, k := range missed {
		if float64(k) > limit {
			t.Errorf("%s: %d of %d runs missed the truth at some time, want ≤ %.0f", name, k, runs, limit)
		}
	}
}

func TestQuantileTest(t *testing.T) {
	const runs, alpha = 200, 0.05
	rng := rand.New(rand.NewPCG(2, 9))
	alarm, found := 0, 0
	for range runs {
		draw := func(n int, scale float64) []float64 {
			xs := make([]float64, n)
			for i := range xs {
				xs[i] = scale * math.Exp(0.6*rng.NormFloat64())
			}
			sort.Float64s(xs)
			return xs
		}
		look := func(c, tr []float64, p float64) Difference {
			d, err := QuantileDifference(c, tr, p, Greater, alpha)
			if err != nil {
				t.Fatal(err)
			}
			if rejected := d.LogEUp >= -math.Log(alpha); rejected != (d.P <= alpha) || rejected && d.CI.Low < 0 || !rejected && d.CI.Low > 0 {
				t.Fatalf("interval %v and p-value %g disagree (log e %g)", d.CI, d.P, d.LogEUp)
			}
			return d
		}
		if look(draw(2000, 1), draw(500, 1), 0.95).P <= alpha {
			alarm++
		}
		if look(draw(4000, 1), draw(2000, 1.5), 0.95).P <= alpha {
			found++
		}
	}
	if alarm > runs*5/100+9 {
		t.Errorf("%d of %d equal samples rejected", alarm, runs)
	}
	if found < runs*9/10 {
		t.Errorf("a p95 that is 50 %% higher is found in %d of %d runs", found, runs)
	}
}

func TestResampling(t *testing.T) {
	diff := func(c, t []float64) float64 {
		a, _ := Summarize(c)
		b, _ := Summarize(t)
		return b.Mean - a.Mean
	}
	p, exact, err := Permutation([]float64{1, 2, 3}, []float64{4, 5, 6}, diff, Greater, 1000, 1)
	if err != nil || !exact || math.Abs(p-1.0/20) > 1e-12 {
		t.Errorf("exact permutation p = %g, %v, %v; want 1/20", p, exact, err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	covered := 0
	for i := range 200 {
		c, tr := make([]float64, 40), make([]float64, 40)
		for k := range c {
			c[k], tr[k] = rng.ExpFloat64(), rng.ExpFloat64()+0.5
		}
		iv, err := Bootstrap(c, tr, diff, 400, 0.1, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		if iv.Contains(0.5) {
			covered++
		}
	}
	if covered < 165 || covered > 195 {
		t.Errorf("90 %% bootstrap interval covers in %d of 200 runs", covered)
	}
}

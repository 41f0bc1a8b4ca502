package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRankTestFalseAlarms: arms that are alike, or a treatment that is better, at changing weights and while both drift
// and jump, looked at after every value.
func TestRankTestFalseAlarms(t *testing.T) {
	const runs, values, alpha = 200, 1500, 0.05
	draws := map[string]func(rng *rand.Rand, i int, treatment bool) float64{
		"lognormal": func(rng *rand.Rand, _ int, _ bool) float64 { return math.Exp(0.6 * rng.NormFloat64()) },
		"drift":     func(rng *rand.Rand, i int, _ bool) float64 { return math.Exp(0.3*rng.NormFloat64() + float64(i)/500) },
		"bursts":    func(rng *rand.Rand, i int, _ bool) float64 { return rng.ExpFloat64() * float64(1+5*(i/200%2)) },
		"few":       func(rng *rand.Rand, _ int, _ bool) float64 { return float64(rng.IntN(3)) },
		"heavy":     func(rng *rand.Rand, _ int, _ bool) float64 { return math.Pow(rng.Float64(), -2) },
		"better at the tail": func(rng *rand.Rand, _ int, tr bool) float64 {
			x := rng.ExpFloat64()
			if tr && x > 1 {
				x = 1
			}
			return x
		},
		"better below": func(rng *rand.Rand, _ int, tr bool) float64 {
			x := rng.ExpFloat64()
			if tr && x < 1 {
				x /= 2
			}
			return x
		},
	}
	for name, draw := range draws {
		rng := rand.New(rand.NewPCG(4, uint64(len(name))))
		rejected := 0
		for range runs {
			e := NewRankTest(alpha)
			for i := range values {
				w := []float64{0.1, 0.25, 0.5}[3*i/values]
				in := rng.Float64() < w
				e.Observe(draw(rng, i, in), in, w)
			}
			if e.MaxLogE() >= -math.Log(alpha) {
				rejected++
			}
		}
		if limit := alpha*runs + 3*math.Sqrt(alpha*(1-alpha)*runs); float64(rejected) > limit {
			t.Errorf("%s: %d of %d healthy runs rejected, want ≤ %.0f", name, rejected, runs, limit)
		}
	}
}

// TestRankTestFactors: after any past, at any x, the mean factor under equal arms is 1, and what the treatment's value
// brings does not fall with x. From these two the null of stochastic order follows.
func TestRankTestFactors(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for run := range 200 {
		e := NewRankTest([]float64{0, 0.01}[run%2])
		for range 1 + rng.IntN(600) {
			in, w := rng.Float64() < 0.4, rng.Float64()
			x := rng.NormFloat64()
			if in {
				x += 0.02 * float64(run%50)
			}
			e.Observe(x, in, w)
		}
		if e.wealth >= e.limit {
			continue
		}
		w, last := 0.02+0.9*rng.Float64(), math.Inf(-1)
		for x := -4.0; x <= 4; x += 0.125 {
			var gain [2]float64
			for k, in := range []bool{false, true} {
				next, err := RestoreRankTest(e.State())
				if err != nil {
					t.Fatal(err)
				}
				next.Observe(x, in, w)
				gain[k] = math.Exp(next.LogE() - e.LogE())
			}
			if mean := w*gain[1] + (1-w)*gain[0]; math.Abs(mean-1) > 1e-9 {
				t.Fatalf("the e-value grows by %g on average under the null", mean)
			}
			if gain[1] < last-1e-9 {
				t.Fatalf("at x = %g the factor %g is below %g", x, gain[1], last)
			}
			last = gain[1]
		}
	}
}

// TestRankTestPower: a shift of 20 % in lognormal values of spread 0.3, the treatment having a tenth of the traffic. An
// optimal test that knows both distributions needs about 41 values of the treatment for e = 2,000.
func TestRankTestPower(t *testing.T) {
	const alpha = 0.0005
	var delays []float64
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		e := NewRankTest(alpha)
		for e.MaxLogE() < -math.Log(alpha) {
			x, in := math.Exp(0.3*rng.NormFloat64()), rng.Float64() < 0.1
			if in {
				x *= 1.2
			}
			e.Observe(x, in, 0.1)
			if _, n := e.Values(); n > 2000 {
				break
			}
		}
		_, n := e.Values()
		delays = append(delays, float64(n))
	}
	slices.Sort(delays)
	t.Logf("median %g, 90th percentile %g", delays[100], delays[180])
	if delays[100] > 80 {
		t.Errorf("found after a median of %g values of the treatment", delays[100])
	}
}

// TestRankTestRestore splits a run at every value and compares with the unsplit one, bit for bit; states that no run
// leaves are errors.
func TestRankTestRestore(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	whole, part := NewRankTest(0.01), NewRankTest(0.01)
	for range 700 {
		x, in, w := math.Floor(20*rng.Float64()), rng.Float64() < 0.3, rng.Float64()
		whole.Observe(x, in, w)
		restored, err := RestoreRankTest(part.State())
		if err != nil {
			t.Fatal(err)
		}
		part = restored
		part.Observe(x, in, w)
		if whole.LogE() != part.LogE() || whole.MaxLogE() != part.MaxLogE() {
			t.Fatal("a restored test differs from the unbroken one")
		}
	}
	for name, spoil := range map[string]func(s *RankState){
		"bet":     func(s *RankState) { s.Bets[0] = math.NaN() },
		"bets":    func(s *RankState) { s.Bets = s.Bets[1:] },
		"level":   func(s *RankState) { s.Alpha = 2 },
		"maximum": func(s *RankState) { s.MaxLogE = s.LogE - 1 },
		"window":  func(s *RankState) { s.Window = s.Window[1:] },
		"value":   func(s *RankState) { s.Window[3] = math.Inf(1) },
		"count":   func(s *RankState) { s.Values[1] = -1 },
	} {
		bad := whole.State()
		spoil(&bad)
		if _, err := RestoreRankTest(bad); err == nil {
			t.Errorf("%s: a damaged state is accepted", name)
		}
	}
	for _, x := range []float64{math.NaN(), math.Inf(1)} {
		before := whole.State()
		whole.Observe(x, true, 0.1)
		if after := whole.State(); after.Values != before.Values || after.LogE != before.LogE {
			t.Errorf("%g was counted", x)
		}
	}
}

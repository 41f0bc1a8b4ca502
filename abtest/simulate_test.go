package abtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestOperatingCharacteristics simulates experiments without and with an effect: the chance of a wrong verdict at one
// look and under peeking, and how often intervals hold the truth.
func TestOperatingCharacteristics(t *testing.T) {
	const units, looks, alpha = 800, 8, 0.05
	rng := rand.New(rand.NewPCG(11, 12))
	draw := map[string]func(effect float64) Value{
		"normal":     func(e float64) Value { return Value{Value: 5 + e + rng.NormFloat64()} },
		"lognormal":  func(e float64) Value { return Value{Value: e + math.Exp(rng.NormFloat64())} },
		"proportion": func(e float64) Value { return Value{Value: coin(rng, 0.1+e)} },
		"rare":       func(e float64) Value { return Value{Value: coin(rng, 0.004+e)} },
		"ratio": func(e float64) Value {
			n := 1 + rng.IntN(8)
			v := Value{Den: float64(n)}
			share := 0.3 + e + 0.1*rng.NormFloat64()
			for range n {
				v.Value += coin(rng, share)
			}
			return v
		},
		"quantile": func(e float64) Value { return Value{Value: e + math.Exp(0.5*rng.NormFloat64())} },
		"cuped": func(e float64) Value {
			p := rng.NormFloat64()
			return Value{Value: e + 2*p + rng.NormFloat64(), Pre: &p}
		},
	}
	for _, c := range []struct {
		metric Metric
		effect float64
	}{
		{Metric{Name: "normal"}, 0.3}, {Metric{Name: "lognormal"}, 0.6}, {Metric{Name: "proportion", Kind: Proportion}, 0.12}, {Metric{Name: "rare", Kind: Proportion}, 0.06},
		{Metric{Name: "ratio", Kind: Ratio}, 0.06}, {Metric{Name: "quantile", Kind: Quantile, Quantile: 0.5}, 0.3}, {Metric{Name: "cuped", CUPED: true}, 0.3},
	} {
		runs := 150
		if testing.Short() {
			runs = 30
		}
		if c.metric.Name == "rare" { // the exact test takes its time
			runs /= 4
		}
		var fixed, peeked, sequential, lostFixed, lostSequential, found int
		for run := range 2 * runs {
			effect := c.effect * float64(run%2)
			d := Data{Metrics: []Metric{c.metric}, Experiment: Experiment{Name: "s", Variants: []Variant{{Name: "a"}, {Name: "b"}}}}
			var peekedNow, sequentialNow, lostNow bool
			for look := 1; look <= looks; look++ {
				for i := len(d.Rows); i < units*look/looks; i++ {
					v := draw[c.metric.Name](effect * float64(i%2))
					d.Rows = append(d.Rows, Row{Unit: fmt.Sprint(i), Variant: []string{"a", "b"}[i%2], Values: map[string]Value{c.metric.Name: v}})
				}
				s := analyze(t, d, Options{Tuned: units})
				sequentialNow = sequentialNow || s.Verdict != Inconclusive
				lostNow = lostNow || !s.Absolute.CI.Contains(effect)
				if effect != 0 && look < looks {
					continue
				}
				f := analyze(t, d, Options{Method: FixedHorizon})
				peekedNow = peekedNow || f.Verdict != Inconclusive
				if look == looks {
					lostFixed += one(!f.Absolute.CI.Contains(effect))
					fixed += one(effect == 0 && f.Verdict != Inconclusive)
				}
			}
			lostSequential += one(lostNow)
			if effect == 0 {
				sequential += one(sequentialNow)
				peeked += one(peekedNow)
			} else {
				found += one(sequentialNow)
			}
		}
		share := func(n, of int) float64 { return float64(n) / float64(of) }
		t.Logf("%-10s wrong verdicts: fixed %.3f, fixed with %d looks %.3f, sequential with %d looks %.3f; intervals that miss: fixed %.3f, sequential ever %.3f; effect found sequentially %.2f",
			c.metric.Name, share(fixed, runs), looks, share(peeked, runs), looks, share(sequential, runs), share(lostFixed, 2*runs), share(lostSequential, 2*runs), share(found, runs))
		// Alpha and three standard errors of the simulation.
		if limit := alpha + 3*math.Sqrt(alpha*(1-alpha)/float64(runs)); share(fixed, runs) > limit || share(sequential, runs) > limit {
			t.Errorf("%s: wrong verdicts above %.3f", c.metric.Name, limit)
		}
		if limit := alpha + 3*math.Sqrt(alpha*(1-alpha)/float64(2*runs)); share(lostFixed, 2*runs) > limit || share(lostSequential, 2*runs) > limit {
			t.Errorf("%s: intervals miss more often than %.3f", c.metric.Name, limit)
		}
		if !testing.Short() && c.metric.Name != "rare" && share(peeked, runs) < 0.08 {
			t.Errorf("%s: peeking costs nothing in the simulation", c.metric.Name)
		}
		if found < runs/4 {
			t.Errorf("%s: the effect is found in %d of %d runs", c.metric.Name, found, runs)
		}
	}
}

func coin(rng *rand.Rand, p float64) float64 { return float64(one(rng.Float64() < p)) }

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func analyze(t *testing.T, d Data, o Options) Comparison {
	t.Helper()
	r, err := Analyze(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return r.Comparisons[0]
}

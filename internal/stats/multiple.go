package stats

import (
	"fmt"
	"math"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// Holm adjusts p-values for the family-wise error rate (Holm 1979). The result is in the order of the input.
func Holm(ps []float64) ([]float64, error) {
	if err := checkProbabilities(ps); err != nil {
		return nil, err
	}
	order := ascending(ps)
	out := make([]float64, len(ps))
	run := 0.0
	for i, k := range order {
		run = math.Max(run, math.Min(1, float64(len(ps)-i)*ps[k]))
		out[k] = run
	}
	return out, nil
}

// BenjaminiHochberg adjusts p-values for the false discovery rate of independent or positively dependent tests
// (Benjamini, Hochberg 1995).
func BenjaminiHochberg(ps []float64) ([]float64, error) {
	if err := checkProbabilities(ps); err != nil {
		return nil, err
	}
	order := ascending(ps)
	out := make([]float64, len(ps))
	run := 1.0
	for i := len(order) - 1; i >= 0; i-- {
		run = math.Min(run, ps[order[i]]*float64(len(ps))/float64(i+1))
		out[order[i]] = run
	}
	return out, nil
}

func checkProbabilities(ps []float64) error {
	for i, p := range ps {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("%w: p-value %g at index %d", ErrInput, p, i)
		}
	}
	return nil
}

func ascending(ps []float64) []int {
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return ps[order[a]] < ps[order[b]] })
	return order
}

// checkSplit refuses impossible counts and weights. It returns the total count and weight and whether an arm of weight
// 0 has units, which no chance explains.
func checkSplit(counts []int64, weights []float64) (n, w float64, impossible bool, err error) {
	if len(counts) != len(weights) || len(counts) < 2 {
		return 0, 0, false, fmt.Errorf("%w: %d counts and %d weights", ErrInput, len(counts), len(weights))
	}
	for i, c := range counts {
		if c < 0 || !(weights[i] >= 0) || math.IsInf(weights[i], 0) {
			return 0, 0, false, fmt.Errorf("%w: count %d with weight %g at index %d", ErrInput, c, weights[i], i)
		}
		n += float64(c)
		w += weights[i]
	}
	if !(w > 0) || math.IsInf(w, 0) {
		return 0, 0, false, fmt.Errorf("%w: weights add up to %g", ErrInput, w)
	}
	for i, c := range counts {
		impossible = impossible || c > 0 && weights[i]/w == 0
	}
	return n, w, impossible, nil
}

// SRM tests for a sample ratio mismatch: Pearson's chi-squared test of the observed counts against the weights, which
// need not add up to 1. An arm of weight 0 must be empty and is left out.
func SRM(counts []int64, weights []float64) (p float64, err error) {
	n, w, impossible, err := checkSplit(counts, weights)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 1, nil
	}
	if impossible {
		return 0, nil
	}
	x, arms := 0.0, 0
	for i := range counts {
		if e := n * (weights[i] / w); e > 0 {
			d := float64(counts[i]) - e
			x += d * d / e
			arms++
		}
	}
	if arms < 2 {
		return 1, nil
	}
	return distuv.ChiSquared{K: float64(arms - 1)}.Survival(x), nil
}

// SequentialSRM is the anytime-valid test of the same null for counts that may be looked at after every unit: the
// Dirichlet-multinomial mixture e-value [LM20]. It returns log e.
func SequentialSRM(counts []int64, weights []float64) (float64, error) {
	n, w, impossible, err := checkSplit(counts, weights)
	if err != nil {
		return 0, err
	}
	if impossible {
		return math.Inf(1), nil
	}
	const mass = 100 // prior observations: tuned to small mismatches
	lg := func(x float64) float64 { v, _ := math.Lgamma(x); return v }
	logE := 0.0
	for i, c := range counts {
		if share := weights[i] / w; c > 0 {
			logE += lg(mass*share+float64(c)) - lg(mass*share) - float64(c)*math.Log(share)
		}
	}
	return logE - lg(mass+n) + lg(mass), nil
}

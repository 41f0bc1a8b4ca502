package stats

import (
	"fmt"
	"math"
	"sort"
)

// exactLimit bounds the work of the exact Mann–Whitney distribution: beyond it the normal approximation is used.
const exactLimit = 120

// MannWhitney compares two samples by ranks. Statistic is U of the treatment: the number of pairs in which the
// treatment is larger, ties counting half. Up to 120 observations in all the p-value is exact given the ties (the full
// permutation distribution, by dynamic programming); beyond it is the normal approximation with tie and continuity
// correction. Estimate is the Hodges–Lehmann shift; CI is unbounded, see ShiftInterval.
func MannWhitney(control, treatment []float64, side Side) (Result, error) {
	n, m := len(control), len(treatment)
	if err := checkSamples(control, treatment); err != nil {
		return Result{}, err
	}
	if err := checkLevel(side, 0.5); err != nil {
		return Result{}, err
	}
	type obs struct {
		x float64
		t bool
	}
	all := make([]obs, 0, n+m)
	for _, x := range control {
		all = append(all, obs{x, false})
	}
	for _, x := range treatment {
		all = append(all, obs{x, true})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].x < all[j].x })
	ranks2 := make([]int, n+m) // twice the midrank
	rankSum2, tieTerm := 0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].x == all[i].x {
			j++
		}
		t := float64(j - i)
		tieTerm += t*t*t - t
		for k := i; k < j; k++ {
			ranks2[k] = i + 1 + j
			if all[k].t {
				rankSum2 += ranks2[k]
			}
		}
		i = j
	}
	nf, mf := float64(n), float64(m)
	u := float64(rankSum2)/2 - mf*(mf+1)/2
	r := Result{Statistic: u, DF: math.Inf(1), CI: Interval{math.Inf(-1), math.Inf(1)}}
	if r.Estimate = hodgesLehmann(control, treatment); !finite(r.Estimate) {
		return Result{}, fmt.Errorf("%w: differences between the samples overflow float64; rescale them", ErrInput)
	}
	if n+m <= exactLimit {
		upper, lower := rankSumTails(ranks2, m, rankSum2)
		r.P = pOf(side, upper, lower)
		return r, nil
	}
	total := nf + mf
	sd := math.Sqrt(nf * mf / 12 * (total + 1 - tieTerm/(total*(total-1))))
	if !(sd > 0) { // all observations are equal
		r.P = 1
		return r, nil
	}
	d := u - nf*mf/2
	r.StdErr = sd
	r.P = pOf(side, NormalSurvival((d-0.5)/sd), NormalSurvival((-d-0.5)/sd))
	return r, nil
}

func checkSamples(control, treatment []float64) error {
	if len(control) == 0 || len(treatment) == 0 {
		return fmt.Errorf("%w: %d observations in control and %d in treatment", ErrInput, len(control), len(treatment))
	}
	if err := checkFinite("control", control); err != nil {
		return err
	}
	return checkFinite("treatment", treatment)
}

// rankSumTails returns P(S ≥ s) and P(S ≤ s) for the sum S of m of the doubled ranks, drawn without replacement.
func rankSumTails(ranks2 []int, m, s int) (upper, lower float64) {
	total, unit := 0, 2
	for _, r := range ranks2 {
		total += r
		if r%2 == 1 {
			unit = 1
		}
	}
	if 2*m > len(ranks2) { // the smaller sample has the shorter table
		lower, upper = rankSumTails(ranks2, len(ranks2)-m, total-s)
		return upper, lower
	}
	// Without midranks all doubled ranks are even.
	total, s = total/unit, s/unit
	// ways[k][v] is the share of k-subsets with sum v.
	ways := make([][]float64, m+1)
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	seen := 0 // sum of the ranks so far
	for i, r := range ranks2 {
		r /= unit
		seen += r
		for k := min(i+1, m); k >= 1; k-- {
			// A uniformly random k-subset of the first i+1 items holds item i+1 with probability k/(i+1).
			p := float64(k) / float64(i+1)
			row, prev := ways[k], ways[k-1]
			keep := 1 - p
			if i < k {
				keep = 0
			}
			for v := seen; v >= r; v-- {
				row[v] = keep*row[v] + p*prev[v-r]
			}
			for v := min(r-1, seen); v >= 0; v-- {
				row[v] *= keep
			}
		}
	}
	for v, x := range ways[m] {
		if v >= s {
			upper += x
		}
		if v <= s {
			lower += x
		}
	}
	return math.Min(1, upper), math.Min(1, lower)
}

// hodgesLehmann returns the median of all differences treatment − control.
func hodgesLehmann(control, treatment []float64) float64 {
	c, t := ascendingCopy(control), ascendingCopy(treatment)
	k := len(c) * len(t)
	if k%2 == 1 {
		return nthDifference(c, t, k/2)
	}
	a, b := nthDifference(c, t, k/2-1), nthDifference(c, t, k/2)
	return a + (b-a)/2
}

// ShiftInterval returns the distribution-free interval for a shift of the treatment against the control that inverts
// the two-sided Mann–Whitney test (Hodges, Lehmann 1963; Moses). Coverage is at least 1 − alpha up to 120
// observations in all and close to it beyond, for continuous data; ties make it wider. It is unbounded when the samples
// are too small for the level.
func ShiftInterval(control, treatment []float64, alpha float64) (Interval, error) {
	if err := checkSamples(control, treatment); err != nil {
		return Interval{}, err
	}
	if err := checkLevel(TwoSided, alpha); err != nil {
		return Interval{}, err
	}
	n, m := len(control), len(treatment)
	var k int // how many differences are left out at either end: the largest with P(U ≤ k−1) ≤ alpha/2
	if n+m <= exactLimit {
		ranks2 := make([]int, n+m)
		for i := range ranks2 {
			ranks2[i] = 2 * (i + 1)
		}
		k = sort.Search(n*m, func(u int) bool {
			_, lower := rankSumTails(ranks2, m, 2*u+m*(m+1))
			return lower > alpha/2
		})
	} else {
		nf, mf := float64(n), float64(m)
		k = int(math.Max(0, math.Floor(nf*mf/2-normalUpper(alpha/2)*math.Sqrt(nf*mf*(nf+mf+1)/12))))
	}
	if k == 0 {
		return Interval{math.Inf(-1), math.Inf(1)}, nil
	}
	c, t := ascendingCopy(control), ascendingCopy(treatment)
	return Interval{nthDifference(c, t, k-1), nthDifference(c, t, n*m-k)}, nil
}

func ascendingCopy(xs []float64) []float64 {
	s := append([]float64(nil), xs...)
	sort.Float64s(s)
	return s
}

// nthDifference returns the k-th smallest (from 0) of all t[j] − c[i] of two ascending samples, by bisection over the
// float64 values themselves: exact, in linear time and constant memory.
func nthDifference(c, t []float64, k int) float64 {
	atMost := func(v float64) int { // pairs with t − c ≤ v; each t has them from some c on
		count, i := 0, 0
		for _, y := range t {
			for i < len(c) && y-c[i] > v {
				i++
			}
			count += len(c) - i
		}
		return count
	}
	lo, hi := orderedBits(t[0]-c[len(c)-1]), orderedBits(t[len(t)-1]-c[0])
	for lo < hi {
		mid := lo + (hi-lo)/2
		if atMost(fromOrderedBits(mid)) > k {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return fromOrderedBits(lo)
}

// orderedBits maps floats to unsigned integers of the same order.
func orderedBits(x float64) uint64 {
	b := math.Float64bits(x)
	if b>>63 == 1 {
		return ^b
	}
	return b | 1<<63
}

func fromOrderedBits(b uint64) float64 {
	if b>>63 == 1 {
		return math.Float64frombits(b &^ (1 << 63))
	}
	return math.Float64frombits(^b)
}

package regress

import (
	"math"
	"slices"

	"github.com/krserve/krserve/internal/stats"
)

func median(xs []float64) float64 {
	s := slices.Sorted(slices.Values(xs))
	n := len(s)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return s[n/2]
	}
	return s[n/2-1] + (s[n/2]-s[n/2-1])/2
}

// effect is a shift between two samples with its interval and p-value.
type effect struct{ est, low, high, p float64 }

// exactRanks bounds the samples whose rank distributions are enumerated; beyond it they are close to normal.
const exactRanks = 60

// shift compares independent samples: the Hodges–Lehmann estimate of new − old, the interval that inverts the
// Mann–Whitney test (Hollander, Wolfe, Chicken 2013, section 4.3), and the test's exact p-value.
func shift(old, new []float64, alpha float64) (effect, error) {
	r, err := stats.MannWhitney(old, new, stats.TwoSided)
	if err != nil {
		return effect{}, err
	}
	diffs := make([]float64, 0, len(old)*len(new))
	for _, x := range old {
		for _, y := range new {
			diffs = append(diffs, y-x)
		}
	}
	slices.Sort(diffs)
	e := effect{est: median(diffs), p: r.P}
	e.low, e.high = ordered(diffs, tailCount(rankSumCounts(len(old), len(new)), len(old), len(new), alpha/2))
	return e, nil
}

// paired compares pairs by their differences: the median of Walsh averages, the interval that inverts Wilcoxon's
// signed-rank test (ibid., section 3.3), and the exact p-value over all sign flips of the observed ranks.
func paired(diffs []float64, alpha float64) effect {
	walsh := make([]float64, 0, len(diffs)*(len(diffs)+1)/2)
	for i, x := range diffs {
		for _, y := range diffs[:i+1] {
			walsh = append(walsh, x+(y-x)/2)
		}
	}
	slices.Sort(walsh)
	n := len(diffs)
	e := effect{est: median(walsh), p: signedRankP(diffs)}
	ranks := make([]int, n)
	for i := range ranks {
		ranks[i] = i + 1
	}
	var counts []float64
	if n <= exactRanks {
		counts = subsetSums(ranks)
	}
	total := float64(n*(n+1)) / 2
	k := tailIndex(counts, alpha/2, total/2, math.Sqrt(float64(n*(n+1)*(2*n+1))/24))
	e.low, e.high = ordered(walsh, k)
	return e
}

// ordered returns the k-th smallest and k-th largest value; k = 0 is an unbounded interval.
func ordered(sorted []float64, k int) (low, high float64) {
	if k < 1 || len(sorted) < 2*k-1 {
		return math.Inf(-1), math.Inf(1)
	}
	return sorted[k-1], sorted[len(sorted)-k]
}

func tailCount(counts []float64, n, m int, tail float64) int {
	nm := float64(n * m)
	return tailIndex(counts, tail, nm/2, math.Sqrt(nm*float64(n+m+1)/12))
}

// tailIndex returns the largest k with P(T ≤ k−1) ≤ tail, T having the given probabilities, or the normal
// approximation if there are none.
func tailIndex(probs []float64, tail, mean, sd float64) int {
	if probs == nil {
		return max(0, int(math.Floor(mean-0.5+stats.NormalQuantile(tail)*sd))+1)
	}
	sum, k := 0.0, 0
	for _, p := range probs {
		if sum += p; sum > tail*(1+1e-12) {
			break
		}
		k++
	}
	return k
}

// rankSumCounts returns the null distribution of the Mann–Whitney statistic without ties.
func rankSumCounts(n, m int) []float64 {
	if n+m > exactRanks {
		return nil
	}
	// prev[u] over (i−1, j) and row by row: f(i, j, u) = i/(i+j) f(i−1, j, u−j) + j/(i+j) f(i, j−1, u).
	f := make([][]float64, m+1)
	for j := range f {
		f[j] = []float64{1}
	}
	for i := 1; i <= n; i++ {
		g := make([][]float64, m+1)
		g[0] = []float64{1}
		for j := 1; j <= m; j++ {
			row := make([]float64, i*j+1)
			p := float64(i) / float64(i+j)
			for u, x := range f[j] {
				row[u+j] += p * x
			}
			for u, x := range g[j-1] {
				row[u] += (1 - p) * x
			}
			g[j] = row
		}
		f = g
	}
	return f[m]
}

// subsetSums returns the distribution of the sum of a random subset, each element taken with probability ½.
func subsetSums(values []int) []float64 {
	total := 0
	for _, v := range values {
		total += v
	}
	f := make([]float64, total+1)
	f[0] = 1
	for _, v := range values {
		for s := total; s >= 0; s-- {
			x := f[s] / 2
			if s >= v {
				x += f[s-v] / 2
			}
			f[s] = x
		}
	}
	return f
}

// signedRankP is the two-sided p-value of Wilcoxon's signed-rank test; zeros drop out, ties share midranks.
func signedRankP(diffs []float64) float64 {
	var xs []float64
	for _, d := range diffs {
		if d != 0 {
			xs = append(xs, d)
		}
	}
	n := len(xs)
	if n == 0 {
		return 1
	}
	slices.SortFunc(xs, func(a, b float64) int { return cmpFloat(math.Abs(a), math.Abs(b)) })
	twice, plus, squares := make([]int, n), 0, 0.0
	for i := 0; i < n; {
		j := i
		for j < n && math.Abs(xs[j]) == math.Abs(xs[i]) {
			j++
		}
		for k := i; k < j; k++ {
			twice[k] = i + 1 + j
			squares += float64(twice[k]) * float64(twice[k])
			if xs[k] > 0 {
				plus += twice[k]
			}
		}
		i = j
	}
	total := n * (n + 1) // twice the sum of all ranks
	far := max(plus, total-plus)
	if n > exactRanks {
		z := (float64(far) - float64(total)/2 - 1) / (math.Sqrt(squares) / 2)
		return math.Min(1, 2*stats.NormalSurvival(z))
	}
	p := 0.0
	for s, x := range subsetSums(twice) {
		if s >= far {
			p += x
		}
	}
	return math.Min(1, 2*p)
}

func cmpFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

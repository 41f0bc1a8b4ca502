package regress

import (
	"math"
	"slices"
	"sync"

	"github.com/krserve/krserve/internal/stats"
)

// smallSide is up to how many commits on the shorter side of a split the rank statistic is exact; the normal
// approximation denies the first few commits after a change the evidence that they are.
const smallSide = 12

// exactScores holds, for n commits of which m stand on one side of a split, the normal quantile that is as extreme as the
// Mann–Whitney statistic u, for every u in the tail that a limit may lie in. The counts are those of the m-subsets of 1…n by
// the sum of their ranks, by recursion over n.
var exactScores = sync.OnceValue(func() *[Window + 1][smallSide + 1][]float64 {
	const most = 400 // values of u in the tail, which ends at a probability of 1 %
	var counts [smallSide + 1][]float64
	for m := range counts {
		counts[m] = make([]float64, most)
	}
	counts[0][0] = 1
	out := new([Window + 1][smallSide + 1][]float64)
	for n := 1; n <= Window; n++ {
		for m := min(n, smallSide); m >= 1; m-- {
			for u := most - 1; u >= n-m; u-- {
				counts[m][u] += counts[m-1][u-(n-m)]
			}
			total, sum := math.Exp(logBinomial(n, m)), 0.0
			for u := range most {
				sum += counts[m][u]
				p := sum / total
				if p > 0.01 {
					break
				}
				out[n][m] = append(out[n][m], -stats.NormalQuantile(p))
			}
		}
	}
	return out
})

func logBinomial(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// normalScore is the standardised Mann–Whitney statistic of n commits split after the first k, whose doubled ranks are
// away from their expectation.
func normalScore(n, k, away int) float64 {
	return math.Sqrt(3 * float64(away) * float64(away) / (float64(k) * float64(n-k) * float64(n+1)))
}

// shortest is how many commits a split leaves on each side at least: two outliers in a row are no change.
const shortest = 3

// split returns where a window of doubled midranks divides best, as the number of items before, and the rank statistic
// there, as a normal quantile.
func split(rank2 []int) (k int, score float64) {
	n, u, exact := len(rank2), 0, exactScores()
	for i := 1; i <= n-shortest; i++ {
		if u += n + 1 - rank2[i-1]; i < shortest {
			continue
		}
		away := max(u, -u)
		z := normalScore(n, i, away)
		if m := min(i, n-i); m <= smallSide && n <= Window {
			if t := (m*(n-m) - away + 1) / 2; t < len(exact[n][m]) {
				z = exact[n][m][t]
			}
		}
		if z > score {
			k, score = i, z
		}
	}
	return k, score
}

// What apart needs before and after a change, and the share of the false alarms that it may use at one commit.
const (
	apartBefore = 4
	apartAfter  = 6 // at most
	apartShare  = 0.1
)

// apart looks for a step that a short history cannot prove by ranks: the last measurements, three at least, all lie beyond
// all that came before, and Student's test, with what autocorrelation takes from it, says the same at a level far below
// the false-alarm rate. Complete separation is what keeps outliers and heavy tails, which Student's test does not
// stand, from raising it.
func apart(w []float64, rate float64) (k int, score, limit float64) {
	for m := shortest; m <= apartAfter && len(w)-m >= apartBefore; m++ {
		k := len(w) - m
		before, after := w[:k], w[k:]
		if !(slices.Max(before) < slices.Min(after) || slices.Max(after) < slices.Min(before)) {
			continue
		}
		a, va := moments(before)
		b, vb := moments(after)
		df := float64(len(w) - 2)
		se := math.Sqrt((va + vb) / df * (1/float64(k) + 1/float64(m)))
		t := math.Abs(a-b) / se / math.Sqrt(inflation(w, k))
		if math.IsInf(t, 0) || math.IsNaN(t) {
			continue // nothing varies: jump counts
		}
		if p := stats.StudentSurvival(t, df); p <= apartShare*rate/2 {
			return k, -stats.NormalQuantile(math.Max(p, math.SmallestNonzeroFloat64)), -stats.NormalQuantile(apartShare * rate / 2)
		}
	}
	return 0, 0, 0
}

// moments returns the mean and the sum of squares around it.
func moments(xs []float64) (mean, squares float64) {
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		squares += (x - mean) * (x - mean)
	}
	return mean, squares
}

// A jump is too large for its ranks to say so within a few commits.
const (
	jumpSpreads = 8.0 // robust standard deviations that every measurement after a jump is away
	jumpAfter   = shortest
	jumpBefore  = 6
)

// jump looks for a step so large that waiting for the rank test is waste: the last measurements, three at least, all lie
// far to one side of all that came before. How many it takes depends on how often a measurement went that far alone:
// with the frequency q, as many as bring q to that power below the false-alarm rate.
func jump(w []float64, rate float64) (k int, score float64) {
	for m := jumpAfter; m <= 2*jumpAfter && len(w)-m >= jumpBefore; m++ {
		k := len(w) - m
		med := median(w[:k])
		spread := 0.0
		rest := make([]float64, k)
		for i, x := range w[:k] {
			rest[i] = math.Abs(x - med)
		}
		spread = 1.4826 * median(rest)
		side, least := math.Copysign(1, w[k]-med), math.Inf(1)
		for _, x := range w[k:] {
			least = math.Min(least, side*(x-med))
		}
		if !(least > jumpSpreads*spread && least > 0) {
			return 0, 0 // nor do more of them
		}
		far := 1.0
		for _, x := range w[:k] {
			if side*(x-med) >= jumpSpreads*spread && x != med {
				far++
			}
		}
		if math.Pow(far/float64(k+1), float64(m)) <= rate {
			return k, math.Min(least/spread, math.MaxFloat64)
		}
	}
	return 0, 0
}

// abrupt reports whether what follows a split at k at once is apart from all that came before, or a jump.
func abrupt(w []float64, k int, rate float64) bool {
	for m := shortest; m <= apartAfter && k+m <= len(w); m++ {
		if at, _, _ := apart(w[:k+m], rate); at == k {
			return true
		}
	}
	at, _ := jump(w[:min(len(w), k+jumpAfter)], 1)
	return at == k
}

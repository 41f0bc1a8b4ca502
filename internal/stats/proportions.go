package stats

import (
	"fmt"
	"math"
)

func checkCounts(sc, nc, st, nt float64) error {
	if !(nc >= 1 && nt >= 1 && sc >= 0 && st >= 0 && sc <= nc && st <= nt) || math.IsInf(nc, 0) || math.IsInf(nt, 0) {
		return fmt.Errorf("%w: proportions %g/%g and %g/%g", ErrInput, sc, nc, st, nt)
	}
	return nil
}

// Proportions compares two proportions, sc of nc and st of nt, with the pooled z-test; StdErr is unpooled. The interval is Newcombe's
// hybrid score interval (Statistics in Medicine 17, 1998, method 10), which keeps its width at 0 and 1. For small
// expected counts FisherExact gives the p-value.
func Proportions(sc, nc, st, nt float64, side Side, alpha float64) (Result, error) {
	if err := checkCounts(sc, nc, st, nt); err != nil {
		return Result{}, err
	}
	if err := checkLevel(side, alpha); err != nil {
		return Result{}, err
	}
	pc, pt := sc/nc, st/nt
	pool := (sc + st) / (nc + nt)
	r := Result{Estimate: pt - pc, StdErr: math.Sqrt(pc*(1-pc)/nc + pt*(1-pt)/nt), DF: math.Inf(1), P: 1}
	if se := math.Sqrt(pool * (1 - pool) * (1/nc + 1/nt)); se > 0 {
		r.Statistic = (pt - pc) / se
		r.P = pOf(side, NormalSurvival(r.Statistic), NormalSurvival(-r.Statistic))
	}
	if side == TwoSided {
		r.CI = newcombe(sc, nc, st, nt, alpha)
	} else {
		r.CI = newcombe(sc, nc, st, nt, math.Min(2*alpha, 1))
	}
	switch side {
	case Greater:
		r.CI.High = math.Inf(1)
	case Less:
		r.CI.Low = math.Inf(-1)
	}
	return r, nil
}

func newcombe(sc, nc, st, nt, alpha float64) Interval {
	pc, pt := sc/nc, st/nt
	a, b := Wilson(sc, nc, alpha), Wilson(st, nt, alpha)
	return Interval{pt - pc - math.Hypot(pt-b.Low, a.High-pc), pt - pc + math.Hypot(b.High-pt, pc-a.Low)}
}

// Wilson returns Wilson's score interval for a proportion of s in n; without observations it is [0, 1].
func Wilson(s, n, alpha float64) Interval {
	if !(n > 0 && finite(n) && s >= 0 && s <= n && alpha > 0) {
		return Interval{0, 1}
	}
	z := normalUpper(math.Min(alpha, 1) / 2)
	p, z2 := s/n, z*z
	c := (p + z2/(2*n)) / (1 + z2/n)
	h := z / (1 + z2/n) * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	iv := Interval{math.Max(0, c-h), math.Min(1, c+h)}
	if s == 0 {
		iv.Low = 0
	}
	if s == n {
		iv.High = 1
	}
	return iv
}

// maxFisher bounds the work of FisherExact.
const maxFisher = 10_000_000

// FisherExact returns the p-value of Fisher's exact test of equal proportions, sc of nc and st of nt. The two-sided one sums the tables that are
// at most as likely as the observed one, as R and scipy do.
func FisherExact(sc, nc, st, nt int64, side Side) (float64, error) {
	if err := checkCounts(float64(sc), float64(nc), float64(st), float64(nt)); err != nil {
		return 0, err
	}
	if err := checkLevel(side, 0.5); err != nil {
		return 0, err
	}
	k := sc + st // successes in all; the treatment's number is hypergeometric
	lo, hi := max(0, k-nc), min(k, nt)
	if hi-lo > maxFisher {
		return 0, fmt.Errorf("%w: Fisher's exact test of %d/%d and %d/%d is too large; use Proportions", ErrInput, sc, nc, st, nt)
	}
	logp := func(x int64) float64 { return logChoose(nt, x) + logChoose(nc, k-x) - logChoose(nt+nc, k) }
	at := logp(st)
	// Sums are relative to the observed table, so that p-values far below 1 keep their digits.
	upper, lower, both := 0.0, 0.0, 0.0
	for x := lo; x <= hi; x++ {
		l := logp(x)
		p := math.Exp(l)
		if x >= st {
			upper += p
		}
		if x <= st {
			lower += p
		}
		if l <= at+1e-7 {
			both += p
		}
	}
	switch side {
	case Greater:
		return math.Min(1, upper), nil
	case Less:
		return math.Min(1, lower), nil
	}
	return math.Min(1, both), nil
}

func logChoose(n, k int64) float64 {
	if k == 0 || k == n {
		return 0
	}
	return -math.Log(float64(n)+1) - logBeta(float64(n-k)+1, float64(k)+1)
}

package stats

import (
	"fmt"
	"math"
)

// Summary is a sample reduced to count, mean and unbiased variance.
type Summary struct {
	N        float64
	Mean     float64
	Variance float64 // with divisor N−1; 0 for a single observation, which no comparison accepts
}

// Summarize reduces a sample of at least one finite observation. What float64 cannot hold is an error: a variance that
// overflows, or one that underflows to 0 although the observations differ.
func Summarize(xs []float64) (Summary, error) {
	if len(xs) == 0 {
		return Summary{}, fmt.Errorf("%w: empty sample", ErrInput)
	}
	if err := checkFinite("sample", xs); err != nil {
		return Summary{}, err
	}
	n := float64(len(xs))
	// A shift by the first element, then by the first mean, keeps every digit of samples far from zero.
	mean := xs[0]
	for range 2 {
		d := 0.0
		for _, x := range xs {
			d += (x - mean) / n
		}
		mean += d
	}
	ss, comp, differ := 0.0, 0.0, false
	for _, x := range xs {
		ss += (x - mean) * (x - mean)
		comp += x - mean
		differ = differ || x != xs[0]
	}
	if !differ {
		return Summary{n, xs[0], 0}, nil
	}
	s := Summary{n, mean, (ss - comp*comp/n) / (n - 1)}
	if math.IsNaN(s.Mean+s.Variance) || math.IsInf(s.Mean, 0) || math.IsInf(s.Variance, 0) {
		return Summary{}, fmt.Errorf("%w: the variance of the sample overflows float64; rescale it", ErrInput)
	}
	if !(s.Variance > 0) {
		return Summary{}, fmt.Errorf("%w: the variance of the sample underflows float64; rescale it", ErrInput)
	}
	return s, nil
}

// Moments reduces n observations known by their sum and their sum of squares. Where the mean is large beside the
// deviation the digits are gone already; Summarize keeps them.
func Moments(n, sum, sumSquares float64) (Summary, error) {
	if !(n >= 1) || math.IsInf(n, 0) || !finite(sum) || !finite(sumSquares) || sumSquares < 0 {
		return Summary{}, fmt.Errorf("%w: moments of %g observations: sum %g, sum of squares %g", ErrInput, n, sum, sumSquares)
	}
	s := Summary{N: n, Mean: sum / n}
	ss := sumSquares - sum/n*sum
	if !finite(ss) || ss < -1e-9*sumSquares {
		return Summary{}, fmt.Errorf("%w: a sum of squares of %g is too small for %g observations with sum %g", ErrInput, sumSquares, n, sum)
	}
	if n > 1 {
		s.Variance = math.Max(0, ss) / (n - 1)
	}
	return s, nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// checkFinite refuses NaN and infinities, naming the place.
func checkFinite(what string, xs []float64) error {
	for i, x := range xs {
		if !finite(x) {
			return fmt.Errorf("%w: %s holds %g at index %d", ErrInput, what, x, i)
		}
	}
	return nil
}

func checkLevel(side Side, alpha float64) error {
	if side != TwoSided && side != Greater && side != Less {
		return fmt.Errorf("%w: side %d", ErrInput, side)
	}
	if !(alpha > 0 && alpha < 1) {
		return fmt.Errorf("%w: alpha %g is not between 0 and 1", ErrInput, alpha)
	}
	return nil
}

// check refuses summaries that no sample of two or more observations has.
func (s Summary) check(name string) error {
	if !(s.N >= 2) || math.IsInf(s.N, 0) || !finite(s.Mean) || !finite(s.Variance) || s.Variance < 0 {
		return fmt.Errorf("%w: %s has %g observations, mean %g, variance %g; at least two finite observations are needed", ErrInput, name, s.N, s.Mean, s.Variance)
	}
	return nil
}

func checkPair(control, treatment Summary, side Side, alpha float64) error {
	if err := control.check("control"); err != nil {
		return err
	}
	if err := treatment.check("treatment"); err != nil {
		return err
	}
	return checkLevel(side, alpha)
}

// Result is the outcome of a two-sample comparison. Estimate is treatment minus control unless said otherwise.
type Result struct {
	Estimate  float64
	StdErr    float64
	Statistic float64 // infinite when two different constants are compared
	DF        float64 // degrees of freedom; infinite for a normal approximation
	P         float64
	CI        Interval // level 1 − alpha; one end is infinite for a one-sided alternative
}

// Welch compares two means with unequal variances (Welch 1947; degrees of freedom by Satterthwaite). Of two constants
// equal ones have P = 1, different ones P = 0, as in scipy; whoever decides on that should look at N.
func Welch(control, treatment Summary, side Side, alpha float64) (Result, error) {
	if err := checkPair(control, treatment, side, alpha); err != nil {
		return Result{}, err
	}
	va, vb := control.Variance/control.N, treatment.Variance/treatment.N
	return tResult(treatment.Mean-control.Mean, math.Sqrt(va+vb), welchDF(va, vb, control.N, treatment.N), side, alpha)
}

// welchDF is Satterthwaite's number, from the shares of the two variances of means, which cannot overflow.
func welchDF(va, vb, na, nb float64) float64 {
	sum := va + vb
	if sum == 0 {
		return na + nb - 2
	}
	fa, fb := va/sum, vb/sum
	return 1 / (fa*fa/(na-1) + fb*fb/(nb-1))
}

// tResult builds a Result for an estimate whose error follows Student's distribution.
func tResult(est, se, df float64, side Side, alpha float64) (Result, error) {
	if !finite(est) || !finite(se) || !(df > 0) {
		return Result{}, fmt.Errorf("%w: the comparison overflows float64 (difference %g, standard error %g); rescale the samples", ErrInput, est, se)
	}
	r := Result{Estimate: est, StdErr: se, DF: df}
	switch {
	case est == 0:
	case se == 0:
		r.Statistic = math.Copysign(math.Inf(1), est)
	default:
		r.Statistic = est / se
	}
	r.P = pOf(side, tSurvival(r.Statistic, df), tSurvival(-r.Statistic, df))
	switch side {
	case Greater:
		r.CI = Interval{est - times(tUpper(alpha, df), se), math.Inf(1)}
	case Less:
		r.CI = Interval{math.Inf(-1), est + times(tUpper(alpha, df), se)}
	default:
		h := times(tUpper(alpha/2, df), se)
		r.CI = Interval{est - h, est + h}
	}
	return r, nil
}

// times is a·b with 0 · ∞ = 0.
func times(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a * b
}

package stats

import (
	"fmt"
	"math"
	"sort"
)

// quantileMass is the weight, in observations, of the Beta prior of the two-sided mixture for quantiles.
const quantileMass = 10

func checkSorted(what string, xs []float64, p float64) error {
	if !(p > 0 && p < 1) {
		return fmt.Errorf("%w: quantile %g is not between 0 and 1", ErrInput, p)
	}
	if err := checkFinite(what, xs); err != nil {
		return err
	}
	if !sort.Float64sAreSorted(xs) {
		return fmt.Errorf("%w: %s is not in ascending order", ErrInput, what)
	}
	return nil
}

// Quantile returns the p-quantile of a sample in ascending order, interpolated linearly between order statistics
// (Hyndman, Fan 1996, type 7).
func Quantile(sorted []float64, p float64) (float64, error) {
	if len(sorted) == 0 {
		return 0, fmt.Errorf("%w: quantile of an empty sample", ErrInput)
	}
	if err := checkSorted("sample", sorted, p); err != nil {
		return 0, err
	}
	h := p * float64(len(sorted)-1)
	i := int(h)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1], nil
	}
	f := h - float64(i)
	return (1-f)*sorted[i] + f*sorted[i+1], nil
}

// QuantileSummary reduces a sample in ascending order to its p-quantile and the variance, per observation, that the
// spacing of order statistics around it implies, so that Welch compares quantiles (Deng, Knoblich, Lu, KDD 2018,
// section 4.2): a fixed-horizon method for independent observations. The order statistics that bound the 95 % interval
// of the quantile must exist.
func QuantileSummary(sorted []float64, p float64) (Summary, error) {
	q, err := Quantile(sorted, p)
	if err != nil {
		return Summary{}, err
	}
	n := float64(len(sorted))
	z := normalUpper(0.025)
	h := z * math.Sqrt(p*(1-p)/n)
	if p-h <= 0 || p+h >= 1 {
		return Summary{}, fmt.Errorf("%w: %g observations are too few for the spread of quantile %g; %.0f are needed", ErrInput, n, p, math.Ceil(z*z*math.Max(p/(1-p), (1-p)/p)*(1+1e-9)))
	}
	lo, err := Quantile(sorted, p-h)
	if err != nil {
		return Summary{}, err
	}
	hi, err := Quantile(sorted, p+h)
	if err != nil {
		return Summary{}, err
	}
	half := (hi - lo) / (2 * z)
	s := Summary{n, q, (n - 1) * half * half}
	if !finite(s.Variance) {
		return Summary{}, fmt.Errorf("%w: the variance of the quantile overflows float64; rescale the sample", ErrInput)
	}
	return s, nil
}

// QuantileCS returns one look at a confidence sequence for the p-quantile of independent, identically distributed
// observations (sorted ascending): the interval of order statistics that the two-sided Beta-mixture supermartingale
// for P(X ≤ q) = p does not reject [HR22, section 4, with the conjugate mixture]. Atoms make it conservative.
func QuantileCS(sorted []float64, p, alpha float64) (Interval, error) {
	n := len(sorted)
	if err := checkLevel(TwoSided, alpha); err != nil {
		return Interval{}, err
	}
	if err := checkSorted("sample", sorted, p); err != nil {
		return Interval{}, err
	}
	limit := -math.Log(alpha)
	// lo is the least count of X ≤ q, hi the greatest count of X < q, that is compatible with p.
	mode := int(math.Floor(p * float64(n)))
	logE := func(s int) float64 { return bernoulliLogE2(float64(s), float64(n), p, quantileMass) }
	lo := sort.Search(mode, func(s int) bool { return logE(s) < limit })
	hi := mode + sort.Search(n-mode, func(d int) bool { return logE(mode+d+1) >= limit })
	iv := Interval{math.Inf(-1), math.Inf(1)}
	if lo > 0 {
		iv.Low = sorted[lo-1]
	}
	if hi < n {
		iv.High = sorted[hi]
	}
	return iv, nil
}

// bernoulliLogE2 is the log of the two-sided mixture likelihood ratio for s successes in n trials against probability
// p, with a Beta prior centred at p that weighs mass observations [HRMS21, the beta-binomial mixture].
func bernoulliLogE2(s, n, p, mass float64) float64 {
	a, b := mass*p, mass*(1-p)
	return logBeta(a+s, b+n-s) - logBeta(a, b) - s*math.Log(p) - (n-s)*math.Log1p(-p)
}

// BernoulliCS returns one look at the two-sided confidence sequence for a success probability after s successes in n
// trials, tightest near n = tuned: the beta-binomial mixture with the parameter that [HRMS21] recommend, as confseq's
// bernoulli_confidence_interval computes it.
func BernoulliCS(s, n int64, alpha, tuned float64) (Interval, error) {
	if err := checkLevel(TwoSided, alpha); err != nil {
		return Interval{}, err
	}
	if n < 0 || s < 0 || s > n || !(tuned > 0) || math.IsInf(tuned, 0) {
		return Interval{}, fmt.Errorf("%w: %d successes in %d trials, tuned for %g", ErrInput, s, n, tuned)
	}
	if n == 0 {
		return Interval{0, 1}, nil
	}
	mass := bernoulliMass(tuned, alpha)
	sf, nf := float64(s), float64(n)
	f := func(p float64) float64 { return bernoulliLogE2(sf, nf, p, mass) + math.Log(alpha) }
	iv := Interval{0, 1}
	const tiny = 1e-300
	mid := (sf + 0.5) / (nf + 1)
	if s > 0 && f(tiny) > 0 {
		iv.Low = math.Exp(bisect(math.Log(tiny), math.Log(mid), func(l float64) float64 { return f(math.Exp(l)) }))
	}
	if s < n {
		// The mirror image, so that both ends have full precision.
		g := func(q float64) float64 { return bernoulliLogE2(nf-sf, nf, q, mass) + math.Log(alpha) }
		if g(tiny) > 0 {
			iv.High = 1 - math.Exp(bisect(math.Log(tiny), math.Log(1-mid), func(l float64) float64 { return g(math.Exp(l)) }))
		}
	}
	return iv, nil
}

// bernoulliMass turns the time for which a sequence is tuned into the mass of its prior [HRMS21, section 3.5].
func bernoulliMass(tuned, alpha float64) float64 {
	return math.Max(1/asymptoticRho2(alpha, tuned)-1, 1e-3)
}

// Difference is one look at an anytime-valid comparison of two arms.
type Difference struct {
	Estimate float64  // treatment minus control
	LogEUp   float64  // log e-value against "the treatment is not larger"
	LogEDown float64  // log e-value against "the treatment is not smaller"
	P        float64  // anytime-valid p-value of the side asked for, from this look alone
	CI       Interval // one look at a confidence sequence at level 1 − alpha
}

// QuantileDifference compares the p-quantiles of two arms from all observations so far, sorted ascending, and may be
// looked at any time.
//
// If Q_treatment ≤ Q_control, then at q = Q_control both P(control < q) ≤ p and P(treatment ≤ q) ≥ p. The product of the
// one-sided Bernoulli e-values against these two facts is an e-process whatever q is, and its minimum over all q bounds
// it from below without knowing q [HR22, section 5]. Ties and atoms are covered, no distribution is assumed. The
// interval holds the shifts of the control that this test does not reject.
func QuantileDifference(control, treatment []float64, p float64, side Side, alpha float64) (Difference, error) {
	if err := checkLevel(side, alpha); err != nil {
		return Difference{}, err
	}
	if err := checkSamples(control, treatment); err != nil {
		return Difference{}, err
	}
	if err := checkSorted("control", control, p); err != nil {
		return Difference{}, err
	}
	if err := checkSorted("treatment", treatment, p); err != nil {
		return Difference{}, err
	}
	qc, _ := Quantile(control, p)
	qt, _ := Quantile(treatment, p)
	d := Difference{Estimate: qt - qc, CI: Interval{math.Inf(-1), math.Inf(1)}}
	span := math.Max(treatment[len(treatment)-1], control[len(control)-1]) - math.Min(treatment[0], control[0])
	if !finite(span) {
		return Difference{}, fmt.Errorf("%w: differences between the samples overflow float64; rescale them", ErrInput)
	}
	up := newQuantileShift(control, treatment, p)
	down := newQuantileShift(treatment, control, p)
	d.LogEUp, d.LogEDown = up.logE(0), down.logE(0)
	level := alpha
	switch side {
	case Greater:
		d.P = math.Min(1, math.Exp(-d.LogEUp))
	case Less:
		d.P = math.Min(1, math.Exp(-d.LogEDown))
	default:
		d.P = math.Min(1, 2*math.Exp(-math.Max(d.LogEUp, d.LogEDown)))
		level = alpha / 2
	}
	limit := -math.Log(level)
	// The largest rejected shift lies within the span of the data: beyond it every order statistic agrees with the null.
	bound := func(t *quantileShift) float64 {
		lo, hi := -1.01*span-math.SmallestNonzeroFloat64, d.Estimate
		if t == down {
			hi = -d.Estimate
		}
		if t.logE(lo) < limit {
			return math.Inf(-1)
		}
		for range 60 {
			mid := lo + (hi-lo)/2
			if mid <= lo || mid >= hi {
				break
			}
			if t.logE(mid) >= limit {
				lo = mid
			} else {
				hi = mid
			}
		}
		return lo
	}
	if side != Less {
		d.CI.Low = bound(up)
	}
	if side != Greater {
		d.CI.High = -bound(down)
	}
	return d, nil
}

// quantileShift tests Q_p(b) ≤ Q_p(a) + shift.
type quantileShift struct {
	a, b         []float64
	below, above []float64 // log e-values by the count of a below q, and of b above q
}

func newQuantileShift(a, b []float64, p float64) *quantileShift {
	return &quantileShift{a, b, bernoulliTable(len(a), p), bernoulliTable(len(b), 1-p)}
}

// bernoulliTable returns bernoulliLogE for every count of n.
func bernoulliTable(n int, p float64) []float64 {
	t := make([]float64, n+1)
	for s := range t {
		t[s] = bernoulliLogE(int64(s), int64(n), p)
	}
	return t
}

// logE returns the minimum over q of the product of both e-values. The product is piecewise constant in q and its
// pieces have their least value at a point of a (where q is not yet counted), at a point of b (where it no longer is),
// or beyond both ends.
func (t *quantileShift) logE(shift float64) float64 {
	best := math.Inf(1)
	i, j := 0, 0 // a[:i] < q and b[:j] ≤ q
	na, nb := len(t.a), len(t.b)
	for i < na || j < nb {
		q := math.Inf(1)
		if i < na {
			q = t.a[i] + shift
		}
		if j < nb {
			q = math.Min(q, t.b[j])
		}
		for j < nb && t.b[j] <= q {
			j++
		}
		best = math.Min(best, t.below[i]+t.above[nb-j])
		for i < na && t.a[i]+shift <= q {
			i++
		}
	}
	return math.Min(best, math.Min(t.below[na]+t.above[0], t.below[0]+t.above[nb]))
}

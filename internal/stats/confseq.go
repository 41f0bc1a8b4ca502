package stats

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mathext"
)

// MeanCS is a confidence sequence for the mean of observations in a known range: the predictable plug-in empirical
// Bernstein sequence of [WSR24, Theorem 2]. At every time it covers the mean with probability 1 − alpha simultaneously,
// with no assumption but the range.
type MeanCS struct{ s MeanState }

// MeanState is a MeanCS as plain data, to be stored and restored without loss.
type MeanState struct {
	Alpha float64 `json:"alpha"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	N     int64   `json:"n"`
	// Of observations scaled to [0, 1]: their sum, the squared deviations from the running mean, the bets, the bets times
	// observations, the variance process, and the running intersection.
	Sum     float64 `json:"sum"`
	SumSq   float64 `json:"sum_sq"`
	SumLam  float64 `json:"sum_lam"`
	SumLamX float64 `json:"sum_lam_x"`
	V       float64 `json:"v"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
}

// NewMeanCS returns an empty sequence at level 1 − alpha for observations in [lowest, highest].
func NewMeanCS(alpha, lowest, highest float64) (*MeanCS, error) {
	if err := checkLevel(TwoSided, alpha); err != nil {
		return nil, err
	}
	if !(lowest < highest) || !finite(highest-lowest) {
		return nil, fmt.Errorf("%w: range [%g, %g]", ErrInput, lowest, highest)
	}
	return &MeanCS{MeanState{Alpha: alpha, Min: lowest, Max: highest, High: 1}}, nil
}

// RestoreMeanCS rebuilds a sequence from its State.
func RestoreMeanCS(s MeanState) (*MeanCS, error) {
	if _, err := NewMeanCS(s.Alpha, s.Min, s.Max); err != nil {
		return nil, err
	}
	if !finite(s.Sum+s.SumSq+s.SumLam+s.SumLamX+s.V+s.Low+s.High) || s.N < 0 || s.Sum < 0 || s.Sum > float64(s.N) || s.SumSq < 0 || s.V < 0 || s.N > 0 && !(s.SumLam > 0) {
		return nil, fmt.Errorf("%w: state of a confidence sequence after %d observations", ErrInput, s.N)
	}
	return &MeanCS{s}, nil
}

// State returns the sequence as plain data.
func (c *MeanCS) State() MeanState { return c.s }

// Observe adds one observation; one outside the range is an error and changes nothing.
func (c *MeanCS) Observe(x float64) error {
	s := &c.s
	if !(x >= s.Min && x <= s.Max) {
		return fmt.Errorf("%w: observation %g outside [%g, %g]", ErrInput, x, s.Min, s.Max)
	}
	x = math.Min(1, (x-s.Min)/(s.Max-s.Min))
	t := float64(s.N + 1)
	prevMean := (0.5 + s.Sum) / t
	prevVar := (0.25 + s.SumSq) / t
	lam := math.Min(0.5, math.Sqrt(2*math.Log(2/s.Alpha)/(prevVar*t*math.Log1p(t))))
	s.N++
	s.Sum += x
	mean := (0.5 + s.Sum) / (t + 1)
	s.SumSq += (x - mean) * (x - mean)
	s.SumLam += lam
	s.SumLamX += lam * x
	s.V += (x - prevMean) * (x - prevMean) * (-math.Log1p(-lam) - lam)
	center, half := s.SumLamX/s.SumLam, (math.Log(2/s.Alpha)+s.V)/s.SumLam
	s.Low, s.High = math.Max(s.Low, center-half), math.Min(s.High, center+half)
	return nil
}

// N returns the number of observations.
func (c *MeanCS) N() int64 { return c.s.N }

// Interval returns the intersection of all intervals so far; it is empty (Low > High) with probability at most alpha.
func (c *MeanCS) Interval() Interval {
	r := c.s.Max - c.s.Min
	return Interval{c.s.Min + r*c.s.Low, c.s.Min + r*c.s.High}
}

// AsymptoticCS returns the asymptotic confidence sequence of [WS24, eq. 9] for a mean: n observations with the given
// sample mean and variance, level 1 − alpha. It is tightest near n = tuned observations. Without a positive variance
// nothing is known about the error yet, and the interval is unbounded, as it is for arguments out of range.
func AsymptoticCS(mean, variance float64, n, alpha, tuned float64) Interval {
	half := math.Inf(1)
	if asymptoticUsable(mean, variance, n, alpha, tuned) {
		half = math.Sqrt(variance) * mixtureHalf(n, alpha, asymptoticRho2(alpha, tuned))
	}
	return around(mean, half)
}

// AsymptoticPValue returns the anytime-valid p-value against a mean of zero that belongs to AsymptoticCS at level
// 1 − alpha [WS24, eq. 155]; alpha and tuned choose the mixture, so they must be fixed beforehand.
func AsymptoticPValue(mean, variance float64, n, alpha, tuned float64) float64 {
	if !asymptoticUsable(mean, variance, n, alpha, tuned) {
		return 1
	}
	rho2 := asymptoticRho2(alpha, tuned)
	z := mean / math.Sqrt(variance)
	k := n*rho2 + 1
	return math.Min(1, math.Exp(0.5*math.Log(k)-rho2*n*z*z*n/(2*k)))
}

// AsymptoticLowerCS is the one-sided form of AsymptoticCS [WS24, eq. 134]: High is infinite.
func AsymptoticLowerCS(mean, variance float64, n, alpha, tuned float64) Interval {
	iv := Interval{math.Inf(-1), math.Inf(1)}
	if asymptoticUsable(mean, variance, n, alpha, tuned) {
		rho2 := asymptoticRho2(2*math.Min(alpha, 0.5), tuned)
		half := math.Sqrt(2 * (n*rho2 + 1) / (n * n * rho2) * math.Log(1+math.Sqrt(n*rho2+1)/(2*alpha)))
		iv.Low = mean - math.Sqrt(variance)*half
	}
	return iv
}

func asymptoticUsable(mean, variance, n, alpha, tuned float64) bool {
	return finite(mean) && variance > 0 && finite(variance) && n > 0 && finite(n) && alpha > 0 && alpha < 1 && tuned > 0 && finite(tuned)
}

// mixtureHalf is the half-width of the two-sided normal mixture boundary [HRMS21, section 3.2] for unit variance.
func mixtureHalf(n, alpha, rho2 float64) float64 {
	return math.Sqrt(2 * (n*rho2 + 1) / (n * n * rho2) * math.Log(math.Sqrt(n*rho2+1)/alpha))
}

func around(mean, half float64) Interval {
	if math.IsInf(half, 0) || math.IsNaN(mean) {
		return Interval{math.Inf(-1), math.Inf(1)}
	}
	return Interval{mean - half, mean + half}
}

// asymptoticRho2 is the squared mixture parameter that is close to optimal at n = tuned.
func asymptoticRho2(alpha, tuned float64) float64 {
	l := -2 * math.Log(alpha)
	return (l + math.Log1p(l)) / tuned
}

// BernoulliLower returns a time-uniform lower confidence bound for a success probability after s successes in n
// independent trials. The test of p ≤ p0 bets with a Beta(a, b) prior truncated to (p0, 1), a = b = 1/2: an exact
// one-sided mixture supermartingale [HRMS21, section 3.4]. Impossible counts and levels bound nothing.
func BernoulliLower(s, n int64, alpha float64) float64 {
	if n <= 0 || s <= 0 || s > n || !(alpha > 0 && alpha < 1) {
		return 0
	}
	f := func(p float64) float64 { return bernoulliLogE(s, n, p) + math.Log(alpha) }
	hi := float64(s) / float64(n)
	const tiny = 1e-300
	if f(tiny) <= 0 {
		return 0
	}
	if hi == 1 {
		hi = 1 - 1e-16
	}
	if f(hi) > 0 {
		return hi
	}
	// The bound can lie many decades below s/n, so the search is on a logarithmic scale.
	return math.Exp(bisect(math.Log(tiny), math.Log(hi), func(l float64) float64 { return f(math.Exp(l)) }))
}

// BernoulliUpper returns the time-uniform upper confidence bound that mirrors BernoulliLower.
func BernoulliUpper(s, n int64, alpha float64) float64 { return 1 - BernoulliLower(n-s, n, alpha) }

// BernoulliLogE returns the log e-value against the null that the success probability is at most p0. Impossible
// arguments are no evidence: 0.
func BernoulliLogE(s, n int64, p0 float64) float64 {
	if n <= 0 || s < 0 || s > n || !(p0 >= 0 && p0 < 1) {
		return 0
	}
	return bernoulliLogE(s, n, math.Max(p0, 1e-300))
}

func bernoulliLogE(s, n int64, p float64) float64 {
	const a, b = 0.5, 0.5
	sf, ff := float64(s), float64(n-s)
	return logBeta(a+sf, b+ff) - logBeta(a, b) +
		logUpperBeta(a+sf, b+ff, p) - logUpperBeta(a, b, p) -
		sf*math.Log(p) - ff*math.Log1p(-p)
}

// logUpperBeta returns log P(X > p) for X ~ Beta(a, b).
func logUpperBeta(a, b, p float64) float64 {
	if v := mathext.RegIncBeta(b, a, 1-p); v > 1e-290 {
		return math.Log(v)
	}
	// Far tail, where the probability itself underflows.
	x := 1 - p
	return b*math.Log(x) + a*math.Log(p) - math.Log(b) - logBeta(a, b) + math.Log(betaFraction(b, a, x))
}

// betaFraction evaluates the continued fraction of the incomplete beta function by Lentz's method (DLMF 8.17.22); it
// converges fast for x < (a+1)/(a+b+2).
func betaFraction(a, b, x float64) float64 {
	const tiny = 1e-300
	c, d := 1.0, 1/(1-(a+b)*x/(a+1))
	h := d
	for m := 1.0; m < 10000; m++ {
		for _, t := range [2]float64{
			m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m)),
			-(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1)),
		} {
			d, c = 1+t*d, 1+t/c
			if d == 0 {
				d = tiny
			}
			if c == 0 {
				c = tiny
			}
			d = 1 / d
			h *= d * c
		}
		if math.Abs(d*c-1) < 1e-15 {
			break
		}
	}
	return h
}

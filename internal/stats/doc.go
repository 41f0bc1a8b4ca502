// Package stats is the statistics core under canary, abtest and regress.
//
// Two kinds of procedure live here. Anytime-valid ones (EventTest, MeanCS, BernoulliLower, QuantileDifference, …) may be
// looked at after every observation: their error guarantee holds uniformly over time. Fixed-horizon ones (Welch,
// MannWhitney, Proportions, …) hold at one look, at a sample size chosen beforehand.
//
// Every procedure is a pure function or a small value type without goroutines, clocks or I/O. Types are not safe for
// concurrent use. Sources are cited at each procedure:
//
//	[HR22]  Howard, Ramdas: Sequential estimation of quantiles with applications to A/B testing. Bernoulli 28(3), 2022.
//	[HRMS21] Howard, Ramdas, McAuliffe, Sekhon: Time-uniform, nonparametric, nonasymptotic confidence sequences.
//	        Annals of Statistics 49(2), 2021.
//	[WSR24] Waudby-Smith, Ramdas: Estimating means of bounded random variables by betting. JRSS-B 86(1), 2024.
//	[WS24]  Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas: Time-uniform central limit theory and asymptotic confidence
//	        sequences. Annals of Statistics 52(6), 2024 (arXiv 2103.06476).
//	[LM20]  Lindon, Malek: Anytime-valid inference for multinomial count data. arXiv 2011.03567.
package stats

import "errors"

// ErrInput is wrapped by every error about an argument that is out of range; the text names it.
var ErrInput = errors.New("stats: invalid input")

// Side is the direction of an alternative.
type Side int

const (
	TwoSided Side = iota
	Greater       // the second sample, or the treatment, is larger
	Less          // the second sample, or the treatment, is smaller
)

// Interval is a confidence interval or one look at a confidence sequence. Unbounded ends are infinite.
type Interval struct{ Low, High float64 }

// Contains reports whether x lies in the closed interval.
func (iv Interval) Contains(x float64) bool { return x >= iv.Low && x <= iv.High }

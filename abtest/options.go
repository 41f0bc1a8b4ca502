package abtest

import (
	"encoding/json"
	"math"
	"slices"
)

// Method says when a verdict may be read.
type Method string

const (
	// Sequential verdicts hold at any number of looks; the zero Method. Means, ratios and proportions have the asymptotic
	// confidence sequence of Waudby-Smith et al. (Annals of Statistics 52, 2024), as GrowthBook's engine; quantiles and
	// proportions of few events have exact e-processes.
	Sequential Method = "sequential"
	// FixedHorizon verdicts hold at one look, at Options.Planned units: Welch's test, the delta method for ratios, the
	// spacing of order statistics for quantiles; Fisher's exact test and Newcombe's interval for proportions of few events.
	FixedHorizon Method = "fixed"
)

// Correction says how the number of comparisons is paid for.
type Correction string

// Holm bounds the chance of any wrong verdict in the report; it is the zero Correction. BenjaminiHochberg bounds the
// expected share of wrong verdicts among those given. NoCorrection leaves every comparison at Alpha.
const (
	Holm              Correction = "holm"
	BenjaminiHochberg Correction = "bh"
	NoCorrection      Correction = "none"
)

// Prior is a normal prior of the relative effect for the Bayesian summary.
type Prior struct{ Mean, SD float64 }

// Options of an analysis; the zero value is a sequential one at 95 %.
type Options struct {
	Method     Method
	Correction Correction
	Alpha      float64 // level of the verdicts; 0 is 0.05
	// Planned is the number of units, over all variants, at which a fixed-horizon verdict falls (Plan finds it). Below it
	// verdicts are withheld. 0 says that this look is the only one.
	Planned int
	// Looks counts the looks so far that could have ended a fixed-horizon experiment, this one included; 0 is the data's
	// own count, or else 1.
	Looks int
	// Tuned is the number of units of the two compared variants at which sequential intervals are tightest; it must be
	// chosen beforehand. 0 is 5000.
	Tuned float64
	// Segments name the dimensions to report apart. Their comparisons are corrected as a family of their own.
	Segments []string
	Prior    *Prior // nil is flat
}

// Validate names the first field that is out of range.
func (o Options) Validate() error {
	switch o.Method {
	case "", Sequential, FixedHorizon:
	default:
		return invalid("Options.Method %q is neither sequential nor fixed", o.Method)
	}
	switch o.Correction {
	case "", Holm, BenjaminiHochberg, NoCorrection:
	default:
		return invalid("Options.Correction %q is none of holm, bh, none", o.Correction)
	}
	if !(o.Alpha >= 0 && o.Alpha < 1) || o.Alpha > 0 && o.Alpha < 1e-12 {
		return invalid("Options.Alpha is %g, not between 1e-12 and 1", o.Alpha)
	}
	if o.Planned < 0 {
		return invalid("Options.Planned is %d", o.Planned)
	}
	if o.Looks < 0 {
		return invalid("Options.Looks is %d", o.Looks)
	}
	if !(o.Tuned >= 0 && o.Tuned <= 1e15) || o.Tuned > 0 && o.Tuned < 1 {
		return invalid("Options.Tuned is %g, not between 1 and 1e15", o.Tuned)
	}
	for i, s := range o.Segments {
		if s == "" || slices.Contains(o.Segments[:i], s) {
			return invalid("Options.Segments[%d] %q is empty or occurs twice", i, s)
		}
	}
	if p := o.Prior; p != nil && (!finite(p.Mean, p.SD) || !(p.SD > 0)) {
		return invalid("Options.Prior has mean %g and SD %g", p.Mean, p.SD)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Method == "" {
		o.Method = Sequential
	}
	if o.Correction == "" {
		o.Correction = Holm
	}
	if o.Alpha == 0 {
		o.Alpha = 0.05
	}
	if o.Tuned == 0 {
		o.Tuned = 5000
	}
	return o
}

// Interval is a range; ends that nothing bounds are infinite, and null in JSON.
type Interval struct{ Low, High float64 }

// Contains reports whether x lies in the closed interval.
func (iv Interval) Contains(x float64) bool { return x >= iv.Low && x <= iv.High }

type interval struct {
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
}

// MarshalJSON writes {"low": …, "high": …}.
func (iv Interval) MarshalJSON() ([]byte, error) {
	var out interval
	if finite(iv.Low) {
		out.Low = &iv.Low
	}
	if finite(iv.High) {
		out.High = &iv.High
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (iv *Interval) UnmarshalJSON(b []byte) error {
	var in interval
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*iv = Interval{math.Inf(-1), math.Inf(1)}
	if in.Low != nil {
		iv.Low = *in.Low
	}
	if in.High != nil {
		iv.High = *in.High
	}
	return nil
}

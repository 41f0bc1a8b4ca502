package regress

import (
	"cmp"
	"fmt"
	"math"

	"github.com/krserve/krserve/internal/stats"
)

// Options says how two sets of measurements are compared. Zero values are the defaults.
type Options struct {
	// Alpha bounds the chance that any of the series differs by chance alone. Default 0.05.
	Alpha float64
	// MinEffect is the smallest change of a median worth a verdict, as a share of the old one. Default 0.01.
	MinEffect float64
	// FDR corrects for the number of series by Benjamini and Hochberg, so that Alpha bounds the expected share of false
	// verdicts, in place of Holm's method.
	FDR bool
	// Paired says that the i-th values of a series were measured together; Run makes such samples.
	Paired bool
	// Control holds further measurements of the old side, made in the same way. What they show is noise.
	Control []Sample
}

func (o Options) withDefaults() Options {
	o.Alpha = cmp.Or(o.Alpha, 0.05)
	o.MinEffect = cmp.Or(o.MinEffect, 0.01)
	return o
}

// Validate reports the first field that is out of range. Zero fields are valid.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case !(o.Alpha > 0 && o.Alpha < 1):
		return fmt.Errorf("%w: Alpha = %g", ErrOptions, o.Alpha)
	case !(o.MinEffect >= 0 && o.MinEffect < 1e6):
		return fmt.Errorf("%w: MinEffect = %g", ErrOptions, o.MinEffect)
	}
	return nil
}

// Verdict is what a comparison says about one series.
type Verdict string

// The verdicts. Regression and Improvement are certain and larger than MinEffect; the others fail nothing.
const (
	Regression  Verdict = "regression"
	Improvement Verdict = "improvement"
	Same        Verdict = "same"    // any difference is smaller than MinEffect, with confidence
	Unclear     Verdict = "unclear" // the measurements do not tell
	Noise       Verdict = "noise"   // the control differs from itself as much
)

// Effect is a ratio new/old with its confidence interval, at level 1 − Alpha for this series alone, and a p-value.
// Without an interval, for lack of measurements, Low is 0 and High is −1.
type Effect struct {
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	P     float64 `json:"p"`
}

// Bounded reports whether the effect has an interval.
func (e Effect) Bounded() bool { return e.Low <= e.High }

// Result is the comparison of one series.
type Result struct {
	Name      string  `json:"name"`
	Unit      string  `json:"unit"`
	Higher    bool    `json:"higher,omitempty"`
	Old       float64 `json:"old"` // medians
	New       float64 `json:"new"`
	OldN      int     `json:"old_n"`
	NewN      int     `json:"new_n"`
	Effect    Effect  `json:"effect"`
	Adjusted  float64 `json:"p_adjusted"` // for the number of series
	Control   *Effect `json:"control,omitempty"`
	Verdict   Verdict `json:"verdict"`
	Reason    string  `json:"reason"`
	Confirmed bool    `json:"confirmed,omitempty"` // a second, independent run says the same
}

// Report is the comparison of all series.
type Report struct {
	Results []Result `json:"results"`
	OnlyOld []string `json:"only_old,omitempty"` // series that the other side lacks
	OnlyNew []string `json:"only_new,omitempty"`
}

// Regressions returns the results whose verdict is Regression.
func (r Report) Regressions() []Result {
	var out []Result
	for _, x := range r.Results {
		if x.Verdict == Regression {
			out = append(out, x)
		}
	}
	return out
}

// Compare judges every series that both sides have.
//
// Positive measurements are compared by the ratio of levels: the Hodges–Lehmann shift of their logarithms with the
// interval and p-value of the exact Mann–Whitney test; paired ones by the median of ratios with Wilcoxon's exact
// signed-rank test. Others, such as counts that may be zero, are compared by their values. P-values are corrected for
// the number of series.
func Compare(old, new []Sample, o Options) (Report, error) {
	if err := o.Validate(); err != nil {
		return Report{}, err
	}
	o = o.withDefaults()
	find := func(list []Sample, like Sample) *Sample {
		for i := range list {
			if list[i].Name == like.Name && list[i].Unit == like.Unit {
				return &list[i]
			}
		}
		return nil
	}
	var rep Report
	var ps []float64
	for _, a := range old {
		b := find(new, a)
		if b == nil {
			rep.OnlyOld = append(rep.OnlyOld, a.Name+" "+a.Unit)
			continue
		}
		r := Result{Name: a.Name, Unit: a.Unit, Higher: a.Higher, Old: median(a.Values), New: median(b.Values), OldN: len(a.Values), NewN: len(b.Values)}
		var err error
		if r.Effect, err = compare(a, *b, o); err != nil {
			return Report{}, err
		}
		if c := find(o.Control, a); c != nil {
			e, err := compare(a, *c, o)
			if err != nil {
				return Report{}, err
			}
			r.Control = &e
		}
		ps = append(ps, r.Effect.P)
		rep.Results = append(rep.Results, r)
	}
	for _, b := range new {
		if find(old, b) == nil {
			rep.OnlyNew = append(rep.OnlyNew, b.Name+" "+b.Unit)
		}
	}
	correct := stats.Holm
	if o.FDR {
		correct = stats.BenjaminiHochberg
	}
	adjusted, err := correct(ps)
	if err != nil {
		return Report{}, fmt.Errorf("%w: p-values: %v", ErrInput, err)
	}
	for i := range rep.Results {
		rep.Results[i].Adjusted = adjusted[i]
		judge(&rep.Results[i], o)
	}
	return rep, nil
}

// compare returns the effect of one series.
func compare(a, b Sample, o Options) (Effect, error) {
	if o.Paired && len(a.Values) != len(b.Values) {
		return Effect{}, fmt.Errorf("%w: %s %s: %d and %d paired values", ErrInput, a.Name, a.Unit, len(a.Values), len(b.Values))
	}
	logs := true
	for _, x := range append(append([]float64(nil), a.Values...), b.Values...) {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return Effect{}, fmt.Errorf("%w: %s %s: value %g", ErrInput, a.Name, a.Unit, x)
		}
		logs = logs && x > 0
	}
	x, y := a.Values, b.Values
	if logs {
		x, y = logarithms(x), logarithms(y)
	}
	var e effect
	if o.Paired {
		d := make([]float64, len(x))
		for i := range d {
			d[i] = y[i] - x[i]
		}
		e = paired(d, o.Alpha)
	} else {
		var err error
		if e, err = shift(x, y, o.Alpha); err != nil {
			return Effect{}, fmt.Errorf("%w: %s %s: %v", ErrInput, a.Name, a.Unit, err)
		}
	}
	ratio := math.Exp
	if !logs {
		base := math.Abs(median(a.Values))
		if base == 0 {
			base = math.SmallestNonzeroFloat64 // any change from zero is as large as can be
		}
		ratio = func(d float64) float64 { return clamp(1 + d/base) }
	}
	out := Effect{Ratio: clamp(ratio(e.est)), Low: 0, High: -1, P: e.p}
	if !math.IsInf(e.low, 0) {
		out.Low, out.High = ratio(e.low), ratio(e.high)
	}
	return out, nil
}

// clamp keeps a ratio finite, as JSON needs it.
func clamp(x float64) float64 { return math.Max(-math.MaxFloat64, math.Min(math.MaxFloat64, x)) }

func logarithms(xs []float64) []float64 {
	out := make([]float64, len(xs))
	for i, x := range xs {
		out[i] = math.Log(x)
	}
	return out
}

func judge(r *Result, o Options) {
	e := r.Effect
	size := math.Abs(e.Ratio - 1)
	significant := r.Adjusted <= o.Alpha
	worse := (e.Ratio > 1) != r.Higher
	switch {
	case significant && size < o.MinEffect:
		r.Verdict, r.Reason = Same, fmt.Sprintf("differs by less than %.3g %%", 100*o.MinEffect)
	case significant && r.Control != nil && !beyond(e, *r.Control):
		r.Verdict = Noise
		r.Reason = fmt.Sprintf("the old side measured twice differs by up to %.2g %% in the same job", 100*floor(*r.Control))
	case significant && worse:
		r.Verdict, r.Reason = Regression, fmt.Sprintf("%+.2f %%, p = %.2g", 100*(e.Ratio-1), r.Adjusted)
	case significant:
		r.Verdict, r.Reason = Improvement, fmt.Sprintf("%+.2f %%, p = %.2g", 100*(e.Ratio-1), r.Adjusted)
	case e.Bounded() && e.Low >= 1-o.MinEffect && e.High <= 1+o.MinEffect, r.Old == r.New && e.P == 1 && min(r.OldN, r.NewN) > 1:
		r.Verdict, r.Reason = Same, fmt.Sprintf("within %.3g %%", 100*o.MinEffect)
	case !e.Bounded():
		r.Verdict, r.Reason = Unclear, fmt.Sprintf("%d and %d measurements are too few", r.OldN, r.NewN)
	default:
		r.Verdict, r.Reason = Unclear, fmt.Sprintf("between %+.2f %% and %+.2f %%", 100*(e.Low-1), 100*(e.High-1))
	}
}

// floor is the largest difference that the control's interval allows, or its estimate without one.
func floor(c Effect) float64 {
	d := math.Abs(c.Ratio - 1)
	if c.Bounded() {
		d = math.Max(math.Abs(c.Low-1), math.Abs(c.High-1))
	}
	return d
}

// beyond reports whether an effect is larger than what the control shows.
func beyond(e, control Effect) bool { return math.Abs(e.Ratio-1) > floor(control) }

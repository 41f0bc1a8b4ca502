package abtest

import (
	"cmp"
	"math"

	"github.com/krserve/krserve/internal/stats"
)

// Plan is a comparison before it begins: what is there, what is to be found, and at what risk.
type Plan struct {
	// Kind Proportion takes its spread from Baseline; of the other kinds SD is that of one unit, as Arm.SD of a pilot's
	// report says it (for ratios and quantiles too).
	Kind     Kind    `json:"kind,omitempty"`
	Baseline float64 `json:"baseline"` // the control's value
	SD       float64 `json:"sd,omitempty"`
	// Effect is the difference to be found, in the metric's units, or relative to Baseline with Relative.
	Effect   float64 `json:"effect"`
	Relative bool    `json:"relative,omitempty"`

	Alpha float64 `json:"alpha,omitempty"` // 0 is 0.05
	Power float64 `json:"power,omitempty"` // wanted chance to find the effect; 0 is 0.8
	// Comparisons is the number of metrics times variants without the control, among which Alpha is divided; 0 is 1.
	Comparisons int     `json:"comparisons,omitempty"`
	Ratio       float64 `json:"ratio,omitempty"`       // units of the variant per unit of the control; 0 is 1
	Correlation float64 `json:"correlation,omitempty"` // with the value from before the experiment, which CUPED uses
	Method      Method  `json:"method,omitempty"`
	Tuned       float64 `json:"tuned,omitempty"` // of the sequential method, as in Options
}

// Size is the number of units that a plan needs.
type Size struct {
	Control int64   `json:"control"`
	Variant int64   `json:"variant"`
	Total   int64   `json:"total"` // of the two
	Power   float64 `json:"power"` // at these numbers
}

// Validate names the first field that is out of range.
func (p Plan) Validate() error {
	if err := p.validate(); err != nil {
		return err
	}
	delta := p.delta()
	if delta == 0 || !finite(delta) {
		return invalid("Plan.Effect is %g: a difference of %g cannot be found", p.Effect, delta)
	}
	if q := p.Baseline + delta; p.Kind == Proportion && !(q >= 0 && q <= 1) {
		return invalid("Plan.Effect is %g: it makes the proportion %g", p.Effect, q)
	}
	return nil
}

func (p Plan) validate() error {
	switch p.Kind {
	case "", Mean, Ratio, Quantile:
		if !(p.SD > 0) || !finite(p.SD) {
			return invalid("Plan.SD is %g, not positive", p.SD)
		}
	case Proportion:
		if !(p.Baseline >= 0 && p.Baseline <= 1) {
			return invalid("Plan.Baseline is %g, no proportion", p.Baseline)
		}
		if p.SD != 0 {
			return invalid("Plan.SD is %g, but a proportion has its own", p.SD)
		}
	default:
		return invalid("Plan.Kind %q is none of mean, proportion, ratio, quantile", p.Kind)
	}
	switch p.Method {
	case "", Sequential, FixedHorizon:
	default:
		return invalid("Plan.Method %q is neither sequential nor fixed", p.Method)
	}
	d := p.withDefaults()
	switch {
	case !finite(p.Baseline) || p.Relative && p.Baseline == 0:
		return invalid("Plan.Baseline is %g", p.Baseline)
	case !(d.Alpha >= 1e-12 && d.Alpha < 1):
		return invalid("Plan.Alpha is %g, not between 1e-12 and 1", p.Alpha)
	case !(d.Power > d.Alpha && d.Power < 1):
		return invalid("Plan.Power is %g, not between alpha %g and 1", d.Power, d.Alpha)
	case d.Comparisons < 1:
		return invalid("Plan.Comparisons is %d", p.Comparisons)
	case !(d.Ratio >= 1e-9 && d.Ratio <= 1e9):
		return invalid("Plan.Ratio is %g, not between 1e-9 and 1e9", p.Ratio)
	case !(p.Correlation > -1 && p.Correlation < 1):
		return invalid("Plan.Correlation is %g, not between -1 and 1", p.Correlation)
	case !(d.Tuned >= 1 && d.Tuned <= 1e15):
		return invalid("Plan.Tuned is %g, not between 1 and 1e15", p.Tuned)
	}
	return nil
}

func (p Plan) withDefaults() Plan {
	p.Alpha = cmp.Or(p.Alpha, 0.05)
	p.Power = cmp.Or(p.Power, 0.8)
	p.Comparisons = cmp.Or(p.Comparisons, 1)
	p.Ratio = cmp.Or(p.Ratio, 1)
	p.Method = cmp.Or(p.Method, Sequential)
	p.Tuned = cmp.Or(p.Tuned, 5000)
	return p
}

func (p Plan) delta() float64 {
	if p.Relative {
		return p.Effect * math.Abs(p.Baseline)
	}
	return p.Effect
}

// powerOf is the chance that a comparison with n control units finds a difference. That of a sequential verdict counts
// the look at n alone; earlier looks add a little.
func (p Plan) powerOf(delta, n float64) float64 {
	vc, vt := p.SD*p.SD, p.SD*p.SD
	if p.Kind == Proportion {
		q := math.Min(1, math.Max(0, p.Baseline+delta))
		vc, vt = p.Baseline*(1-p.Baseline), q*(1-q)
	}
	shift := math.Abs(delta) / math.Sqrt((vc+vt/p.Ratio)*(1-p.Correlation*p.Correlation)/n)
	alpha := p.Alpha / float64(p.Comparisons)
	z := -stats.NormalQuantile(alpha / 2)
	if p.Method == Sequential {
		// The boundary in standard errors: of a mean with variance 1.
		total := n * (1 + p.Ratio)
		z = stats.AsymptoticCS(0, 1, total, alpha, p.Tuned).High * math.Sqrt(total)
	}
	return stats.NormalSurvival(z-shift) + stats.NormalSurvival(z+shift)
}

// most is the largest number of control units that a plan may need.
const most = 1e15

// Size returns the units at which the plan's effect is found with its power.
func (p Plan) Size() (Size, error) {
	if err := p.Validate(); err != nil {
		return Size{}, err
	}
	p = p.withDefaults()
	delta := p.delta()
	if !(p.powerOf(delta, most) >= p.Power) {
		return Size{}, invalid("Plan.Effect is %g: no %g units find it", p.Effect, most)
	}
	lo, hi := 0.0, most // in logarithms: power grows with the number of units
	for lo, hi = math.Log(1), math.Log(most); hi-lo > 1e-14*hi; {
		if mid := (lo + hi) / 2; p.powerOf(delta, math.Exp(mid)) >= p.Power {
			hi = mid
		} else {
			lo = mid
		}
		if next := (lo + hi) / 2; next <= lo || next >= hi {
			break
		}
	}
	n := math.Max(2, math.Ceil(math.Exp(hi)*(1-1e-12)))
	s := Size{Control: int64(n), Variant: int64(math.Max(2, math.Ceil(n*p.Ratio))), Power: p.powerOf(delta, n)}
	s.Total = s.Control + s.Variant
	return s, nil
}

// PowerAt returns the chance to find the plan's effect with a number of control units.
func (p Plan) PowerAt(control int64) (float64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	if control < 2 || float64(control) > most {
		return 0, invalid("%d units in the control", control)
	}
	return p.withDefaults().powerOf(p.delta(), float64(control)), nil
}

// EffectAt returns the least difference, upward and in the metric's units, that a number of control units finds with the
// plan's power. Effect is not looked at.
func (p Plan) EffectAt(control int64) (float64, error) {
	if err := p.validate(); err != nil {
		return 0, err
	}
	if control < 2 || float64(control) > most {
		return 0, invalid("%d units in the control", control)
	}
	p = p.withDefaults()
	n := float64(control)
	hi := p.SD
	if p.Kind == Proportion {
		if hi = 1 - p.Baseline; p.powerOf(hi, n) < p.Power || hi == 0 {
			return 0, invalid("%d units find no proportion above %g", control, p.Baseline)
		}
	}
	for p.powerOf(hi, n) < p.Power {
		if hi *= 2; math.IsInf(hi, 0) {
			return 0, invalid("Plan.SD is %g: the effect overflows", p.SD)
		}
	}
	lo := 0.0
	for range 200 {
		mid := lo + (hi-lo)/2
		if mid <= lo || mid >= hi {
			break
		}
		if p.powerOf(mid, n) >= p.Power {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi, nil
}

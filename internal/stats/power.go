package stats

import (
	"fmt"
	"math"
)

// Design is a planned comparison of two arms.
type Design struct {
	Alpha float64 // level of the test; 0 is 0.05
	Power float64 // wanted probability to find the effect; 0 is 0.8
	Side  Side
	Ratio float64 // treatment units per control unit; 0 is 1
}

func (d Design) withDefaults() (Design, error) {
	if d.Alpha == 0 {
		d.Alpha = 0.05
	}
	if d.Power == 0 {
		d.Power = 0.8
	}
	if d.Ratio == 0 {
		d.Ratio = 1
	}
	if err := checkLevel(d.Side, d.Alpha); err != nil {
		return d, err
	}
	if !(d.Power > d.Alpha && d.Power < 1) {
		return d, fmt.Errorf("%w: power %g is not between alpha %g and 1", ErrInput, d.Power, d.Alpha)
	}
	if !(d.Ratio > 0) || math.IsInf(d.Ratio, 0) {
		return d, fmt.Errorf("%w: ratio of treatment to control %g", ErrInput, d.Ratio)
	}
	return d, nil
}

// power is that of a z-test for a difference of delta, with n control units and the variances of single units.
func (d Design) power(delta, vc, vt, n float64) float64 {
	shift := delta / math.Sqrt(vc/n+vt/(n*d.Ratio))
	switch d.Side {
	case Greater:
		return NormalSurvival(normalUpper(d.Alpha) - shift)
	case Less:
		return NormalSurvival(normalUpper(d.Alpha) + shift)
	}
	z := normalUpper(d.Alpha / 2)
	return NormalSurvival(z-shift) + NormalSurvival(z+shift)
}

// size is the number of control units, rounded up.
func (d Design) size(delta, vc, vt float64) (float64, error) {
	const most = 1e18
	if d.power(delta, vc, vt, most) < d.Power {
		return 0, fmt.Errorf("%w: no sample of up to %g units finds a difference of %g", ErrInput, most, delta)
	}
	n := math.Exp(bisect(math.Log(1e-12), math.Log(most), func(l float64) float64 { return d.power(delta, vc, vt, math.Exp(l)) - d.Power }))
	return math.Ceil(n * (1 - 1e-12)), nil
}

func checkDelta(delta, sd float64) error {
	if delta == 0 || !finite(delta) || !(sd > 0) || math.IsInf(sd, 0) {
		return fmt.Errorf("%w: difference %g with a standard deviation of %g", ErrInput, delta, sd)
	}
	return nil
}

// SampleSizeMeans returns the units of the control arm (rounded up) at which a z-test finds a difference of delta
// between means of standard deviation sd with the wanted power.
func SampleSizeMeans(delta, sd float64, d Design) (float64, error) {
	d, err := d.withDefaults()
	if err != nil {
		return 0, err
	}
	if err := checkDelta(delta, sd); err != nil {
		return 0, err
	}
	return d.size(delta/sd, 1, 1)
}

// PowerMeans returns the power of the same test with n units in the control arm.
func PowerMeans(delta, sd, n float64, d Design) (float64, error) {
	d, err := d.withDefaults()
	if err != nil {
		return 0, err
	}
	if err := checkDelta(delta, sd); err != nil {
		return 0, err
	}
	if !(n > 0) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%w: %g units", ErrInput, n)
	}
	return d.power(delta/sd, 1, 1, n), nil
}

func proportionVariances(p, delta float64) (vc, vt float64, err error) {
	q := p + delta
	if !(p >= 0 && p <= 1 && q >= 0 && q <= 1) || delta == 0 {
		return 0, 0, fmt.Errorf("%w: proportions %g and %g", ErrInput, p, q)
	}
	return p * (1 - p), q * (1 - q), nil
}

// SampleSizeProportions returns the units of the control arm to tell proportion p from p+delta, with unpooled
// variances.
func SampleSizeProportions(p, delta float64, d Design) (float64, error) {
	d, err := d.withDefaults()
	if err != nil {
		return 0, err
	}
	vc, vt, err := proportionVariances(p, delta)
	if err != nil {
		return 0, err
	}
	return d.size(delta, vc, vt)
}

// PowerProportions returns the power of the same test with n units in the control arm.
func PowerProportions(p, delta, n float64, d Design) (float64, error) {
	d, err := d.withDefaults()
	if err != nil {
		return 0, err
	}
	vc, vt, err := proportionVariances(p, delta)
	if err != nil {
		return 0, err
	}
	if !(n > 0) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%w: %g units", ErrInput, n)
	}
	return d.power(delta, vc, vt, n), nil
}

package stats

import (
	"fmt"
	"math"
)

// ProportionDifference compares two success probabilities, sc of nc and st of nt, and may be looked at any time; it is
// exact for every count, none and all included.
//
// If p_treatment ≤ p_control + shift, then at p = p_control both P(success) ≥ p in the control and P(success) ≤ p + shift
// in the treatment. The product of the one-sided Bernoulli e-values against these two facts is an e-process, and its
// minimum over all p bounds it from below without knowing p, as in QuantileDifference. The interval holds the shifts
// that this test does not reject.
func ProportionDifference(sc, nc, st, nt int64, side Side, alpha float64) (Difference, error) {
	if err := checkLevel(side, alpha); err != nil {
		return Difference{}, err
	}
	if nc < 1 || nt < 1 || sc < 0 || st < 0 || sc > nc || st > nt {
		return Difference{}, fmt.Errorf("%w: proportions %d/%d and %d/%d", ErrInput, sc, nc, st, nt)
	}
	up := func(shift float64) float64 { return proportionLogE(sc, nc, st, nt, shift) }
	// The treatment is lower by as much as its failures are more frequent.
	down := func(shift float64) float64 { return proportionLogE(nc-sc, nc, nt-st, nt, shift) }
	d := Difference{Estimate: float64(st)/float64(nt) - float64(sc)/float64(nc), LogEUp: up(0), LogEDown: down(0), CI: Interval{math.Inf(-1), math.Inf(1)}}
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
	bound := func(logE func(float64) float64, estimate float64) float64 {
		if logE(-1) < limit {
			return -1
		}
		lo, hi := -1.0, estimate
		for range 48 {
			if mid := lo + (hi-lo)/2; logE(mid) >= limit {
				lo = mid
			} else {
				hi = mid
			}
		}
		return lo
	}
	if side != Less {
		d.CI.Low = bound(up, d.Estimate)
	}
	if side != Greater {
		d.CI.High = -bound(down, -d.Estimate)
	}
	return d, nil
}

// proportionLogE is the log e-value against p_treatment ≤ p_control + shift. The least favourable p lies between the two
// observed proportions or a little outside: below, the treatment's evidence grows faster than the control's falls.
func proportionLogE(sc, nc, st, nt int64, shift float64) float64 {
	return proportionLogEAbove(sc, nc, st, nt, shift, math.Inf(-1))
}

// proportionLogEAbove is proportionLogE if that is at least limit; else it stops at the first value below.
func proportionLogEAbove(sc, nc, st, nt int64, shift, limit float64) float64 {
	if shift <= -1 { // p_treatment ≤ p_control − 1 holds only for 0 and 1
		return BernoulliLogE(st, nt, 0) + BernoulliLogE(nc-sc, nc, 0)
	}
	f := func(p float64) float64 {
		return BernoulliLogE(st, nt, math.Min(1, math.Max(0, p+shift))) + BernoulliLogE(nc-sc, nc, 1-p)
	}
	const wide = 1e-9
	c, t := Wilson(float64(sc), float64(nc), wide), Wilson(float64(st), float64(nt), wide)
	least, most := math.Max(0, -shift), math.Min(1, 1-shift)
	clamp := func(p float64) float64 { return math.Min(most, math.Max(least, p)) }
	lo, hi := clamp(math.Min(c.Low, t.Low-shift)), clamp(math.Max(c.High, t.High-shift))
	if v := f(clamp(float64(sc+st)/float64(nc+nt) - shift*float64(nt)/float64(nc+nt))); v < limit {
		return v
	}
	// A grid, quadratic towards both ends where rare events have their structure, then golden sections around its best.
	const points = 40
	at := func(i int) float64 {
		x := math.Min(1, math.Max(0, float64(i)/points))
		return lo + (hi-lo)*x*x*(3-2*x)
	}
	best, k := math.Inf(1), 0
	for i := range points + 1 {
		if v := f(at(i)); v < best {
			best, k = v, i
		}
		if best < limit {
			return best
		}
	}
	a, b := at(k-1), at(k+1)
	const g = 0.6180339887498949
	x, y := b-g*(b-a), a+g*(b-a)
	fx, fy := f(x), f(y)
	for range 40 {
		best = math.Min(best, math.Min(fx, fy))
		if fx < fy {
			b, y, fy = y, x, fx
			x = b - g*(b-a)
			fx = f(x)
		} else {
			a, x, fx = x, y, fy
			y = a + g*(b-a)
			fy = f(y)
		}
		if b-a <= 1e-12*(a+b) {
			break
		}
	}
	return best
}

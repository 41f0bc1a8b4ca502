package stats

import (
	"fmt"
	"math"
)

// maxPeeks bounds the work of PeekingLevel; beyond it the level still grows, slowly, towards 1.
const maxPeeks = 500

// PeekingLevel returns the real level of a two-sided z-test at nominal level alpha that is repeated at equally spaced
// looks and stops at the first rejection (Armitage, McPherson, Rowe, JRSS A 132, 1969). More than 500 looks count as 500.
func PeekingLevel(alpha float64, looks int) (float64, error) {
	if err := checkLevel(TwoSided, alpha); err != nil {
		return 0, err
	}
	if looks < 1 {
		return 0, fmt.Errorf("%w: %d looks", ErrInput, looks)
	}
	c := normalUpper(alpha / 2)
	inside := 1 - alpha // P(no rejection so far)
	// The density of the sum after k looks on the event of no rejection, at the points of Simpson's rule on ±c√k.
	xs, fs := simpson(c, 1)
	for i, x := range xs {
		fs[i] *= math.Exp(-x*x/2) / math.Sqrt(2*math.Pi)
	}
	for k := 2; k <= min(looks, maxPeeks); k++ {
		ys, gs := simpson(c, k)
		inside = 0
		for i, y := range ys {
			sum := 0.0
			for j, x := range xs {
				if d := y - x; d > -9 && d < 9 {
					sum += fs[j] * math.Exp(-d*d/2)
				}
			}
			gs[i] *= sum / math.Sqrt(2*math.Pi)
			inside += gs[i]
		}
		xs, fs = ys, gs
	}
	return 1 - inside, nil
}

// simpson returns points on ±c√k, at most 1/4 apart, and their weights.
func simpson(c float64, k int) (xs, ws []float64) {
	r := c * math.Sqrt(float64(k))
	n := 2 * max(8, int(math.Ceil(4*r)))
	h := 2 * r / float64(n)
	for i := 0; i <= n; i++ {
		w := h / 3
		switch {
		case i == 0 || i == n:
		case i%2 == 1:
			w *= 4
		default:
			w *= 2
		}
		xs, ws = append(xs, -r+h*float64(i)), append(ws, w)
	}
	return xs, ws
}

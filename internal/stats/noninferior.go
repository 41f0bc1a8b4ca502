package stats

import (
	"fmt"
	"math"
)

// NonInferior reports whether sc of nc faults in the control and st of nt in the treatment show, at level alpha, that the
// treatment's probability of a fault exceeds the control's by less than margin. It is exact for every count, none
// included, and may be looked at any time: it is one point of the interval of ProportionDifference.
func NonInferior(sc, nc, st, nt int64, margin, alpha float64) (bool, error) {
	if nc < 0 || nt < 0 || sc < 0 || st < 0 || sc > nc || st > nt {
		return false, fmt.Errorf("%w: proportions %d/%d and %d/%d", ErrInput, sc, nc, st, nt)
	}
	if !(margin >= 0 && margin < 1) {
		return false, fmt.Errorf("%w: margin %g", ErrInput, margin)
	}
	if err := checkLevel(Less, alpha); err != nil {
		return false, err
	}
	if nc == 0 || nt == 0 {
		return false, nil
	}
	limit := -math.Log(alpha)
	return proportionLogEAbove(nc-sc, nc, nt-st, nt, -margin, limit) >= limit, nil
}

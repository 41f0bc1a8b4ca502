package stats

import (
	"math"
	"testing"
)

// The numbers of Armitage, McPherson and Rowe, table 2.
func TestPeekingLevel(t *testing.T) {
	for _, c := range []struct {
		looks int
		want  float64
	}{{1, 0.05}, {2, 0.083}, {3, 0.107}, {4, 0.126}, {5, 0.142}, {10, 0.193}, {50, 0.320}} {
		got, err := PeekingLevel(0.05, c.looks)
		if err != nil || math.Abs(got-c.want) > 6e-4 {
			t.Errorf("%d looks: %.4f, want %g (%v)", c.looks, got, c.want, err)
		}
	}
	a, _ := PeekingLevel(0.05, maxPeeks)
	b, _ := PeekingLevel(0.05, math.MaxInt)
	if a != b || !(a > 0.4 && a < 0.6) {
		t.Errorf("%g and %g", a, b)
	}
	if _, err := PeekingLevel(0.05, 0); err == nil {
		t.Error("0 looks pass")
	}
}

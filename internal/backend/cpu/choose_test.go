package cpu_test

import (
	"testing"

	"github.com/krserve/krserve/internal/backend/cpu"
)

// TestChoose: another variant wins when it is clearly faster twice, not by noise and not by one bad measurement.
func TestChoose(t *testing.T) {
	const def, other = "default", "other"
	for _, c := range []struct {
		name         string
		first, again [2]float64 // rates of def and other
		want         string
	}{
		{"the default is faster", [2]float64{20, 10}, [2]float64{20, 10}, def},
		{"within noise", [2]float64{20, 21}, [2]float64{20, 21}, def},
		{"clearly faster", [2]float64{20, 30}, [2]float64{20, 30}, other},
		{"the default was disturbed", [2]float64{5, 12}, [2]float64{20, 12}, def},
		{"never measured", [2]float64{0, 0}, [2]float64{0, 0}, def},
	} {
		rs := []cpu.Rate[string]{{K: other, Best: c.first[1]}, {K: def, Best: c.first[0]}}
		got := cpu.Choose(rs, def, func(rs []cpu.Rate[string]) {
			for i := range rs {
				v := c.again[0]
				if rs[i].K == other {
					v = c.again[1]
				}
				rs[i].Best = max(rs[i].Best, v)
			}
		})
		if got[0].K != c.want {
			t.Errorf("%s: the wrong one was chosen: %v", c.name, got)
		}
		if len(got) != 2 || got[0].K == got[1].K {
			t.Errorf("%s: rates lost: %v", c.name, got)
		}
	}
}

//go:build cgo && !purego && !windows

package cpu

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// TestChoose: another variant wins when it is clearly faster twice, not by noise and not by one bad measurement.
func TestChoose(t *testing.T) {
	def, err := kernels("")
	if err != nil {
		t.Fatal(err)
	}
	second := *def // machines may have one variant only
	other := &second
	for _, c := range []struct {
		name         string
		first, again [2]float64 // rates of def and other
		want         int
	}{
		{"the default is faster", [2]float64{20, 10}, [2]float64{20, 10}, 0},
		{"within noise", [2]float64{20, 21}, [2]float64{20, 21}, 0},
		{"clearly faster", [2]float64{20, 30}, [2]float64{20, 30}, 1},
		{"the default was disturbed", [2]float64{5, 12}, [2]float64{20, 12}, 0},
		{"never measured", [2]float64{0, 0}, [2]float64{0, 0}, 0},
	} {
		rs := []rate{{other, c.first[1]}, {def, c.first[0]}}
		got := choose(rs, def, func(rs []rate) {
			for i := range rs {
				v := c.again[0]
				if rs[i].k == other {
					v = c.again[1]
				}
				rs[i].best = max(rs[i].best, v)
			}
		})
		if want := [2]any{def, other}[c.want]; got[0].k != want {
			t.Errorf("%s: the wrong one was chosen: %v", c.name, got)
		}
		if len(got) != 2 || got[0].k == got[1].k {
			t.Errorf("%s: rates lost: %v", c.name, got)
		}
	}
}

// TestMeasure: every variant is timed for each number of rows on weights of any type, and the line says all of it.
func TestMeasure(t *testing.T) {
	k, err := kernels("")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, ty := range []quant.Type{quant.Q4_1, quant.Q6_K, quant.Affine4, quant.F16} {
		for _, rows := range []int{40, 200, 20} {
			w := backendtest.RandomWeight(r, "w", ty, rows, 512, 1, 64, quant.F16)
			var m model
			g := &graph.Graph{Weights: []graph.Weight{w}}
			c, _ := m.convert(g, &plan{ropeTab: []int{}, logits: 0, hidden: -1})
			p := picked{shape: shape{typ: ty, cols: 512, wide: ty > quant.BF16}, bytes: 1}
			p.measure(c.mats, k)
			for i, rs := range p.rates {
				if rows < 32 {
					if len(rs) != 1 || rs[0].k != forRows(k, i) {
						t.Errorf("%v of %d rows: too few to measure, but %v", ty, rows, rs)
					}
					continue
				}
				if len(rs) != max(1, len(candidates(i))) {
					t.Errorf("%v of %d rows: %d rates", ty, rows, len(rs))
				}
				for _, x := range rs {
					if x.best <= 0 {
						t.Errorf("%v of %d rows, class %d: no speed measured", ty, rows, i)
					}
				}
			}
			if rows >= 32 {
				line := p.String()
				for i, part := range strings.Split(line, "; ") {
					for _, c := range candidates(i) {
						if !strings.Contains(part, nameOf(c)+" ") {
							t.Errorf("%q does not name %s for number of rows %d", line, nameOf(c), i)
						}
					}
				}
				if strings.Contains(line, "Inf") || strings.Contains(line, "NaN") || strings.Contains(line, " 0 %") {
					t.Errorf("%q", line)
				}
			}
			freePlan(&c)
			m.pins.Unpin()
		}
	}
	if peakOf(k) <= 0 || peakOf(k) != peakOf(k) {
		t.Errorf("peak of the default: %v", peakOf(k))
	}
}

//go:build cgo && !purego && !windows

package cpu_test

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/backend/cpu"
	"github.com/krserve/krserve/internal/quant"
)

var speed = regexp.MustCompile(`([A-Z0-9]+) ([0-9.e+-]+)(?: GB/s| GMAC/s|,|\))`)

// TestMeasure: every variant is timed for each number of rows on weights of any type, and the line says all of it. Of
// matrices with too few rows it says nothing.
func TestMeasure(t *testing.T) {
	b, err := cpu.New()
	if err != nil {
		t.Fatal(err)
	}
	names, usable := cpu.Variants()
	measured := func(ty quant.Type, rows, cols int) []string {
		g := backendtest.Matrix(rand.New(rand.NewPCG(3, 4)), ty, rows, cols)
		m, err := b.Load(g, backend.Limits{Rows: 1, Blocks: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		return m.Stats().Kernels[1:] // the first names the default
	}
	types := []quant.Type{quant.Q4_1, quant.F16, quant.Q6_K, quant.Affine4}
	if testing.Short() { // to make ten million weights of a type takes an emulator half a minute
		types = types[:2]
	}
	for _, ty := range types {
		for _, shape := range [][2]int{{20480, 512}, {40, 1 << 18}, {20, 1 << 19}} {
			lines := measured(ty, shape[0], shape[1])
			if shape[0] < 32 {
				if len(lines) != 0 {
					t.Errorf("%v of %v: too few rows to measure, but %q", ty, shape, lines)
				}
				continue
			}
			if len(lines) != 1 {
				t.Fatalf("%v of %v: %q", ty, shape, lines)
			}
			parts := strings.Split(lines[0], "; ")
			if len(parts) != 3 || strings.Contains(lines[0], "Inf") || strings.Contains(lines[0], "NaN") || strings.Contains(lines[0], " 0 %") {
				t.Errorf("%q", lines[0])
			}
			for i, part := range parts {
				timed := map[string]bool{}
				for _, m := range speed.FindAllStringSubmatch(part, -1) {
					v, err := strconv.ParseFloat(m[2], 64)
					timed[m[1]] = err == nil && v > 0
				}
				for k, n := range names {
					few := n == "AMXINT8" && i < 2 // which it leaves to AVX512VNNI
					if want := usable[k] && n != "generic" && !few; want != timed[n] {
						t.Errorf("%q: %s timed: %v, want %v", part, n, timed[n], want)
					}
				}
			}
		}
	}
}

package reference

import (
	"math"
	"math/rand/v2"
	"testing"
)

func randoms(r *rand.Rand, n int, scale float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * scale)
	}
	return v
}

// TestMatmulBits: what runs equals the definition to the bit, for every tail, tile edge and magnitude.
func TestMatmulBits(t *testing.T) {
	t.Logf("kernel: %s", dotName())
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 7, 8, 9, 15, 16, 31, 33, 64, 100, 576, 1027} {
		for _, rows := range []int{1, 2, 3, 4, 5, 9} {
			for _, outs := range []int{1, 2, 3, 4, 5, 16} {
				for _, scale := range []float64{1, 1e-30, 1e18} {
					x, w := randoms(r, rows*n, scale), randoms(r, outs*n, 1/scale)
					ld := outs + 3
					got, want := make([]float32, rows*ld), make([]float32, rows*ld)
					for i := range got {
						got[i], want[i] = -7, -7
					}
					matmul(got, ld, x, w, rows, outs, n)
					matmulGeneric(want, ld, x, w, rows, outs, n)
					for i := range got {
						if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
							t.Fatalf("n=%d rows=%d outs=%d: element %d is %v, want %v", n, rows, outs, i, got[i], want[i])
						}
					}
				}
			}
		}
	}
}

func TestAxpyBits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 8, 31, 32, 64, 96, 128, 256} {
		for _, rows := range []int{1, 2, 31, 32} {
			w, v, out := randoms(r, rows, 1), randoms(r, rows*n, 1), randoms(r, n, 1)
			want := append([]float32(nil), out...)
			axpy(out, w, v)
			axpyGeneric(want, w, v)
			for i := range out {
				if math.Float32bits(out[i]) != math.Float32bits(want[i]) {
					t.Fatalf("n=%d rows=%d: element %d is %v, want %v", n, rows, i, out[i], want[i])
				}
			}
		}
	}
}

// TestDotOrder pins the order of the sum itself: 2^24 absorbs a single 1, so other orders give other answers.
func TestDotOrder(t *testing.T) {
	x := make([]float32, 17)
	w := make([]float32, 17)
	for i := range x {
		w[i] = 1
	}
	x[0], x[8], x[16] = 1<<24, 1, 1 // one lane: both ones are lost
	x[1], x[9] = 1, 1               // another lane: 2 survives the tree
	if got := dotGeneric(x, w); got != 1<<24+2 {
		t.Errorf("dot is %v, want %v", got, 1<<24+2)
	}
}

func BenchmarkMatmul(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, rows := range []int{1, 64} {
		const n, outs = 1536, 576
		x, w, dst := randoms(r, rows*n, 1), randoms(r, outs*n, 1), make([]float32, rows*outs)
		b.Run(map[int]string{1: "row", 64: "rows64"}[rows], func(b *testing.B) {
			for range b.N {
				for j := 0; j < outs; j += 16 {
					matmul(dst[j:], outs, x, w[j*n:], rows, 16, n)
				}
			}
			b.ReportMetric(float64(b.N)*float64(rows*n*outs)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		})
	}
}

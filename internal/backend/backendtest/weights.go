package backendtest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

var le = binary.LittleEndian

// halfAt says where a block keeps its binary16 scale and its offset (-1: none), and what one unit of the scale makes
// of the codes: their mean and rough spread.
var halfAt = map[quant.Type]struct {
	scale, offset int
	mean, spread  float64 // of codes, in units of the scale
	unit          float64 // mean of the offset's own multiplier
}{
	quant.Q4_0: {0, -1, 0, 4.6, 0}, quant.Q4_1: {0, 2, 7.5, 4.6, -1}, quant.Q5_0: {0, -1, 0, 9.2, 0}, quant.Q5_1: {0, 2, 15.5, 9.2, -1},
	quant.Q8_0: {0, -1, 0, 74, 0}, quant.Q2_K: {80, 82, 1.5 * 7.5, 10, 7.5}, quant.Q3_K: {108, -1, 0, 44, 0},
	quant.Q4_K: {0, 2, 7.5 * 31.5, 180, 31.5}, quant.Q5_K: {0, 2, 15.5 * 31.5, 360, 31.5}, quant.Q6_K: {208, -1, 0, 1360, 0}, quant.IQ4_NL: {0, -1, 0, 70, 0},
}

// RandomWeight makes a weight whose stored codes take every value and whose elements spread around zero by about amp.
// MLX affine types get groups of group, and scales of type aux or, when that is Invalid, of any.
func RandomWeight(r *rand.Rand, name string, t quant.Type, rows, cols int, amp float64, group int, aux quant.Type) graph.Weight {
	w := graph.Weight{Name: name, Type: t, Rows: rows, Cols: cols, Data: make([]byte, rows*t.RowBytes(cols))}
	FillRandom(r, w.Data)
	put := func(b []byte, x float64) { le.PutUint16(b, quant.F32ToF16(float32(x))) }
	wobble := func() float64 { return 0.5 + r.Float64() }
	size := t.BlockBytes()
	switch h, ok := halfAt[t]; {
	case ok:
		for b := w.Data; len(b) > 0; b = b[size:] {
			d := amp / h.spread * wobble()
			if r.IntN(2) == 0 && h.offset < 0 {
				d = -d
			}
			put(b[h.scale:], d)
			if h.offset >= 0 {
				put(b[h.offset:], d*h.mean/h.unit*wobble())
			}
		}
	case t == quant.MXFP4:
		for b := w.Data; len(b) > 0; b = b[size:] {
			b[0] = byte(127 + int(math.Round(math.Log2(amp/3))) + r.IntN(3) - 1)
		}
	case t.Affine():
		if w.Group, w.AuxType = group, aux; !aux.Valid() {
			w.AuxType = []quant.Type{quant.BF16, quant.F16, quant.F32}[r.IntN(3)]
		}
		w.Scales, w.Biases = RandomAffine(r, t, w.AuxType, rows*cols/group, amp)
	default:
		x := make([]float32, rows*cols)
		for i := range x {
			x[i] = float32(r.NormFloat64() * amp)
		}
		_ = quant.Quantize(w.Data, x, t) // the lengths are right by construction
	}
	return w
}

// FillRandom fills b with random bytes.
func FillRandom(r *rand.Rand, b []byte) {
	for len(b) >= 8 {
		le.PutUint64(b, r.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// RandomAffine makes the scales and biases of n groups of an MLX affine type, as elements of type aux.
func RandomAffine(r *rand.Rand, t, aux quant.Type, n int, amp float64) (scales, biases []byte) {
	s, b := make([]float32, n), make([]float32, n)
	most := math.Exp2(float64(t.Bits())) - 1
	for i := range s {
		x := amp * 3.4 / most * (0.5 + r.Float64())
		if r.IntN(2) == 0 {
			x = -x
		}
		s[i], b[i] = float32(x), float32(-x*most/2*(0.8+0.4*r.Float64()))
	}
	scales, biases = make([]byte, aux.RowBytes(n)), make([]byte, aux.RowBytes(n))
	_ = quant.Quantize(scales, s, aux) // the lengths are right by construction
	_ = quant.Quantize(biases, b, aux)
	return scales, biases
}

// Floats makes an F32 weight of given elements.
func Floats(name string, rows, cols int, x []float32) graph.Weight {
	w := graph.Weight{Name: name, Type: quant.F32, Rows: rows, Cols: cols, Data: make([]byte, 4*len(x))}
	_ = quant.Quantize(w.Data, x, quant.F32)
	return w
}

// Dequantized returns all elements of a weight.
func Dequantized(w *graph.Weight) ([]float32, error) {
	out := make([]float32, w.Rows*w.Cols)
	if w.Type.Affine() {
		return out, quant.DequantizeAffine(out, w.Data, w.Scales, w.Biases, w.Type, w.AuxType, w.Group)
	}
	return out, quant.Dequantize(out, w.Data, w.Type)
}

// normals are n normal numbers of spread amp.
func normals(r *rand.Rand, n int, amp float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * amp)
	}
	return x
}

// profiles are what activations are filled with, named for the failure that each one finds.
var profiles = []struct {
	name string
	fill func(r *rand.Rand, x []float32)
}{
	{"normal", func(r *rand.Rand, x []float32) { copy(x, normals(r, len(x), 1)) }},
	{"outlier", func(r *rand.Rand, x []float32) {
		copy(x, normals(r, len(x), 1))
		x[r.IntN(len(x))] = 3e4
	}},
	{"zero", func(r *rand.Rand, x []float32) {
		for i := range x { // both zeros, and whole blocks of them
			x[i] = float32(math.Copysign(0, r.Float64()-0.5))
		}
		if len(x) > 64 {
			x[len(x)-1] = 1
		}
	}},
	{"tiny", func(r *rand.Rand, x []float32) { copy(x, normals(r, len(x), 1e-30)) }},
	{"subnormal", func(r *rand.Rand, x []float32) { copy(x, normals(r, len(x), 1e-40)) }},
	{"huge", func(r *rand.Rand, x []float32) { copy(x, normals(r, len(x), 1e30)) }},
	{"mixed", func(r *rand.Rand, x []float32) {
		for i := range x {
			x[i] = float32(r.NormFloat64() * math.Pow(10, float64(r.IntN(16)-8)))
		}
	}},
	{"constant", func(r *rand.Rand, x []float32) {
		c := float32(r.NormFloat64())
		for i := range x {
			x[i] = c
		}
	}},
}

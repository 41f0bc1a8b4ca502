package quant

import (
	"fmt"
	"math"
)

// Bits returns the bits per weight of an MLX affine type, and 0 for other types.
func (t Type) Bits() int {
	if !t.Affine() {
		return 0
	}
	return layouts[t].bytes * 8 / layouts[t].size
}

// AffineOf returns the MLX affine type of that many bits per weight, or Invalid.
func AffineOf(bits int) Type {
	for t := Affine2; t <= Affine8; t++ {
		if t.Bits() == bits {
			return t
		}
	}
	return Invalid
}

// checkAffine checks that n weights, their packed codes and their groups' scales and biases belong together.
func checkAffine(n int, codes, scales, biases []byte, t, aux Type, group int) error {
	if !t.Affine() || aux != F32 && aux != F16 && aux != BF16 {
		return fmt.Errorf("%w: affine codes of %v with scales of %v", ErrType, t, aux)
	}
	if group <= 0 || group%32 != 0 || n%group != 0 {
		return fmt.Errorf("%w: %d weights in groups of %d", ErrSize, n, group)
	}
	if want := n / group * aux.BlockBytes(); len(codes) != t.RowBytes(n) || len(scales) != want || len(biases) != want {
		return fmt.Errorf("%w: %d weights of %v with %d bytes of codes, %d of scales and %d of biases", ErrSize, n, t, len(codes), len(scales), len(biases))
	}
	return nil
}

// DequantizeAffine expands len(dst) weights of MLX affine type t to float32: code*scale + bias, in float32. Codes are
// packed from the lowest bit up, across byte boundaries; each group of weights has one scale and one bias of type
// aux (F32, F16 or BF16).
//
// The result has the bits of mx.dequantize over scales and biases converted to float32.
func DequantizeAffine(dst []float32, codes, scales, biases []byte, t, aux Type, group int) error {
	if err := checkAffine(len(dst), codes, scales, biases, t, aux, group); err != nil {
		return err
	}
	n := t.Bits()
	mask := uint64(1)<<n - 1
	step := 32 * n / 8 // bytes of 32 codes
	for g := 0; len(dst) > 0; g++ {
		scale, bias := load(scales, aux, g), load(biases, aux, g)
		for range group / 32 {
			y := dst[:32]
			var acc uint64
			have, next := 0, 0
			for i := range y {
				if have < n {
					acc |= uint64(le.Uint32(codes[next:])) << have
					have += 32
					next += 4
				}
				y[i] = float32(scale*float32(acc&mask)) + bias
				acc >>= n
				have -= n
			}
			dst, codes = dst[32:], codes[step:]
		}
	}
	return nil
}

// load returns element i of a vector of F32, F16 or BF16.
func load(b []byte, t Type, i int) float32 {
	var y [1]float32
	n := t.BlockBytes()
	_ = Dequantize(y[:], b[i*n:(i+1)*n], t) // sizes are right by construction
	return y[0]
}

// QuantizeAffine packs weights as mx.quantize does: per group, the bound of larger magnitude is met exactly.
func QuantizeAffine(codes, scales, biases []byte, src []float32, t, aux Type, group int) error {
	if err := checkAffine(len(src), codes, scales, biases, t, aux, group); err != nil {
		return err
	}
	n := t.Bits()
	most := float32(int(1)<<n - 1)
	clear(codes)
	for at := 0; at < len(src); at += group {
		x := src[at : at+group]
		lo, hi := bounds(x)
		scale, edge := max((hi-lo)/most, 1e-7), hi
		if abs(lo) > abs(hi) {
			edge = lo
		} else {
			scale = -scale
		}
		var bias float32
		if q0 := float32(math.RoundToEven(float64(edge / scale))); q0 != 0 {
			scale, bias = edge/q0, edge
		}
		store(scales, aux, at/group, scale)
		store(biases, aux, at/group, bias)
		for i, v := range x {
			q := uint32(nearest(v-bias, scale, 0, int(most)))
			bit := (at + i) * n
			le.PutUint16(codes[bit/8&^1:], le.Uint16(codes[bit/8&^1:])|uint16(q<<(bit%16)))
			if bit%16+n > 16 {
				le.PutUint16(codes[bit/8&^1+2:], uint16(q>>(16-bit%16)))
			}
		}
	}
	return nil
}

func store(b []byte, t Type, i int, v float32) {
	n := t.BlockBytes()
	_ = Quantize(b[i*n:(i+1)*n], []float32{v}, t) // sizes are right by construction
}

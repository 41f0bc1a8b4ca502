package quant

import (
	"fmt"
	"math"
)

// encoders turn BlockSize floats into one block. Q4_0 to Q8_0 and MXFP4 follow ggml's reference quantisers; IQ4_NL and
// the k-quants take the largest weight for the scale without ggml's search for the least error.
var encoders = [numTypes]func(b []byte, x []float32){
	Q4_0: func(b []byte, x []float32) {
		d := extreme(x) / -8
		id := inverse(d)
		le.PutUint16(b, F32ToF16(d))
		for j := range 16 {
			b[2+j] = truncate(float32(x[j]*id)+8.5, 15) | truncate(float32(x[j+16]*id)+8.5, 15)<<4
		}
	},
	Q4_1: func(b []byte, x []float32) {
		lo, hi := bounds(x)
		d := (hi - lo) / 15
		id := inverse(d)
		le.PutUint16(b, F32ToF16(d))
		le.PutUint16(b[2:], F32ToF16(lo))
		for j := range 16 {
			b[4+j] = truncate(float32((x[j]-lo)*id)+0.5, 15) | truncate(float32((x[j+16]-lo)*id)+0.5, 15)<<4
		}
	},
	Q5_0: func(b []byte, x []float32) {
		d := extreme(x) / -16
		id := inverse(d)
		le.PutUint16(b, F32ToF16(d))
		pack5(b[2:], func(j int) byte { return truncate(float32(x[j]*id)+16.5, 31) })
	},
	Q5_1: func(b []byte, x []float32) {
		lo, hi := bounds(x)
		d := (hi - lo) / 31
		id := inverse(d)
		le.PutUint16(b, F32ToF16(d))
		le.PutUint16(b[2:], F32ToF16(lo))
		pack5(b[4:], func(j int) byte { return truncate(float32((x[j]-lo)*id)+0.5, 31) })
	},
	Q8_0: func(b []byte, x []float32) {
		d := abs(extreme(x)) / 127
		id := inverse(d)
		le.PutUint16(b, F32ToF16(d))
		for j, v := range x {
			b[2+j] = byte(int8(math.Round(float64(v * id))))
		}
	},
	IQ4_NL: func(b []byte, x []float32) {
		d := extreme(x) / codebook[0]
		le.PutUint16(b, F32ToF16(d))
		packNearest(b[2:], x, F16ToF32(le.Uint16(b)), &codebook)
	},
	MXFP4: func(b []byte, x []float32) {
		b[0] = 0
		if d := abs(extreme(x)); d > 0 {
			_, e := math.Frexp(float64(d)) // d = f·2^e with f in [0.5, 1)
			b[0] = byte(min(max(e-1-2+127, 0), 255))
		}
		packNearest(b[1:], x, e8m0Half(b[0]), &e2m1)
	},
	Q2_K: encodeQ2K,
	Q3_K: encodeQ3K,
	Q4_K: func(b []byte, x []float32) { encodeQ45K(b, x, false) },
	Q5_K: func(b []byte, x []float32) { encodeQ45K(b, x, true) },
	Q6_K: encodeQ6K,
}

// Quantize packs weights into blocks of type t, any but the MLX affine ones. It is meant for tests, benchmarks and
// models with random weights; its k-quants are less accurate than ggml's.
func Quantize(dst []byte, src []float32, t Type) error {
	if !t.Valid() || t.Affine() {
		return fmt.Errorf("%w: Quantize to %v", ErrType, t)
	}
	size, bytes := t.BlockSize(), t.BlockBytes()
	if len(src)%size != 0 || len(dst) != t.RowBytes(len(src)) {
		return fmt.Errorf("%w: %d bytes for %d weights of %v", ErrSize, len(dst), len(src), t)
	}
	switch t {
	case F32:
		for i, v := range src {
			le.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			le.PutUint16(dst[2*i:], F32ToF16(v))
		}
	case BF16:
		for i, v := range src {
			le.PutUint16(dst[2*i:], F32ToBF16(v))
		}
	default:
		for len(src) > 0 {
			encoders[t](dst[:bytes], src[:size])
			dst, src = dst[bytes:], src[size:]
		}
	}
	return nil
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// extreme returns the first element of the largest magnitude, with its sign.
func extreme(x []float32) float32 {
	m := x[0]
	for _, v := range x[1:] {
		if abs(v) > abs(m) {
			m = v
		}
	}
	return m
}

func bounds(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x[1:] {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// truncate converts to an integer towards zero, within 0 and most.
func truncate(v float32, most byte) byte {
	if !(v > 0) {
		return 0
	}
	if v >= float32(most) {
		return most
	}
	return byte(v)
}

// nearest rounds v/d to an integer within lo and hi.
func nearest(v, d float32, lo, hi int) int {
	if d == 0 {
		return min(max(0, lo), hi)
	}
	q := math.RoundToEven(float64(v / d))
	if !(q > float64(lo)) {
		return lo
	}
	return int(math.Min(q, float64(hi)))
}

// pack5 writes 32 codes of 5 bits: a word of high bits, then nibbles.
func pack5(b []byte, code func(int) byte) {
	var high uint32
	for j := range 16 {
		lo, hi := code(j), code(j+16)
		high |= uint32(lo>>4)<<j | uint32(hi>>4)<<(j+16)
		b[4+j] = lo&15 | hi<<4
	}
	le.PutUint32(b, high)
}

// packNearest writes for 32 weights the first of the codes whose value times d is nearest.
func packNearest(b []byte, x []float32, d float32, values *[16]float32) {
	code := func(v float32) byte {
		best := 0
		for i, c := range values {
			if abs(d*c-v) < abs(d*values[best]-v) {
				best = i
			}
		}
		return byte(best)
	}
	for j := range 16 {
		b[j] = code(x[j]) | code(x[j+16])<<4
	}
}

func encodeQ2K(b []byte, x []float32) {
	clear(b[:84])
	var scale, low [16]float32
	d, dmin := groupScales(x, scale[:], low[:], 3, 15)
	le.PutUint16(b[80:], F32ToF16(d))
	le.PutUint16(b[82:], F32ToF16(dmin))
	d, dmin = F16ToF32(le.Uint16(b[80:])), F16ToF32(le.Uint16(b[82:]))
	for g := range 16 {
		s, m := nearest(scale[g], d, 0, 15), nearest(low[g], dmin, 0, 15)
		b[g] = byte(s | m<<4)
		q := b[16+g/8*32+g%2*16:]
		for l, v := range x[g*16:][:16] {
			q[l] |= byte(nearest(v+dmin*float32(m), d*float32(s), 0, 3) << (g / 2 % 4 * 2))
		}
	}
}

func encodeQ45K(b []byte, x []float32, five bool) {
	head, most := 16, 15
	if five {
		head, most = 48, 31
	}
	clear(b[:head+128])
	var scale, low [8]float32
	d, dmin := groupScales(x, scale[:], low[:], most, 63)
	le.PutUint16(b, F32ToF16(d))
	le.PutUint16(b[2:], F32ToF16(dmin))
	d, dmin = F16ToF32(le.Uint16(b)), F16ToF32(le.Uint16(b[2:]))
	for g := range 8 {
		s, m := nearest(scale[g], d, 0, 63), nearest(low[g], dmin, 0, 63)
		if g < 4 {
			b[4+g] |= byte(s)
			b[8+g] |= byte(m)
		} else {
			b[8+g] = byte(s&15 | m&15<<4)
			b[g] |= byte(s >> 4 << 6)
			b[4+g] |= byte(m >> 4 << 6)
		}
		q := b[head+g/2*32:]
		for l, v := range x[g*32:][:32] {
			code := nearest(v+dmin*float32(m), d*float32(s), 0, most)
			q[l] |= byte(code & 15 << (g % 2 * 4))
			if five {
				b[16+l] |= byte(code >> 4 << g)
			}
		}
	}
}

// groupScales finds for every group of x the step between codes 0 to most and the minimum below zero, and with them
// the super-block's d and dmin for scales of 0 to mostScale.
func groupScales(x, scale, low []float32, most, mostScale int) (d, dmin float32) {
	n := len(x) / len(scale)
	for g := range scale {
		lo, hi := bounds(x[g*n : (g+1)*n])
		lo = min(lo, 0)
		scale[g], low[g] = (hi-lo)/float32(most), -lo
		d, dmin = max(d, scale[g]), max(dmin, low[g])
	}
	return d / float32(mostScale), dmin / float32(mostScale)
}

func encodeQ3K(b []byte, x []float32) {
	clear(b[:110])
	var scale [16]float32
	for g := range scale {
		scale[g] = extreme(x[g*16:][:16]) / -4
	}
	le.PutUint16(b[108:], F32ToF16(extreme(scale[:])/-32))
	d := F16ToF32(le.Uint16(b[108:]))
	for g := range 16 {
		s := nearest(scale[g], d, -32, 31)
		b[96+g%8] |= byte((s + 32) & 15 << (g / 8 * 4))
		b[104+g%4] |= byte((s + 32) >> 4 << (g / 4 * 2))
		q, h := b[32+g/8*32+g%2*16:], b[g%2*16:]
		for l, v := range x[g*16:][:16] {
			code := nearest(v, d*float32(s), -4, 3) + 4
			q[l] |= byte(code & 3 << (g / 2 % 4 * 2))
			h[l] |= byte(code >> 2 << (g / 2))
		}
	}
}

func encodeQ6K(b []byte, x []float32) {
	clear(b[:210])
	var scale [16]float32
	for g := range scale {
		scale[g] = extreme(x[g*16:][:16]) / -32
	}
	le.PutUint16(b[208:], F32ToF16(extreme(scale[:])/-128))
	d := F16ToF32(le.Uint16(b[208:]))
	for g := range 16 {
		s := nearest(scale[g], d, -128, 127)
		b[192+g] = byte(int8(s))
		half, part := g/8, g/2%4
		low, high := b[half*64+part%2*32+g%2*16:], b[128+half*32+g%2*16:]
		for l, v := range x[g*16:][:16] {
			code := nearest(v, d*float32(s), -32, 31) + 32
			low[l] |= byte(code & 15 << (part / 2 * 4))
			high[l] |= byte(code >> 4 << (part * 2))
		}
	}
}

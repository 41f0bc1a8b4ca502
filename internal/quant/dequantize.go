package quant

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrSize is wrapped when the lengths of source and destination do not belong together.
var ErrSize = errors.New("quant: sizes do not match")

// ErrType is wrapped when an operation does not know a storage type.
var ErrType = errors.New("quant: unsupported type")

var le = binary.LittleEndian

// codebook holds the values of IQ4_NL's 4-bit codes (kvalues_iq4nl in ggml-common.h).
var codebook = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// e2m1 holds twice the values of MXFP4's codes (OCP Microscaling Formats v1.0, table 5).
var e2m1 = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// decoders turn one block into BlockSize floats. Products are converted to float32 explicitly, which the language
// defines to forbid fusing them with the following sum: results have the same bits on every architecture, NaN
// payloads apart.
var decoders = [numTypes]func(y []float32, b []byte){
	Q4_0: func(y []float32, b []byte) {
		y, b = y[:32], b[:18]
		d := F16ToF32(le.Uint16(b))
		for j, q := range b[2:18] {
			y[j] = d * float32(int(q&15)-8)
			y[j+16] = d * float32(int(q>>4)-8)
		}
	},
	Q4_1: func(y []float32, b []byte) {
		y, b = y[:32], b[:20]
		d, m := F16ToF32(le.Uint16(b)), F16ToF32(le.Uint16(b[2:]))
		for j, q := range b[4:20] {
			y[j] = float32(d*float32(q&15)) + m
			y[j+16] = float32(d*float32(q>>4)) + m
		}
	},
	Q5_0: func(y []float32, b []byte) {
		y, b = y[:32], b[:22]
		d, h := F16ToF32(le.Uint16(b)), le.Uint32(b[2:])
		for j, q := range b[6:22] {
			y[j] = d * float32(int(uint32(q&15)|h>>j&1<<4)-16)
			y[j+16] = d * float32(int(uint32(q>>4)|h>>(j+16)&1<<4)-16)
		}
	},
	Q5_1: func(y []float32, b []byte) {
		y, b = y[:32], b[:24]
		d, m, h := F16ToF32(le.Uint16(b)), F16ToF32(le.Uint16(b[2:])), le.Uint32(b[4:])
		for j, q := range b[8:24] {
			y[j] = float32(d*float32(uint32(q&15)|h>>j&1<<4)) + m
			y[j+16] = float32(d*float32(uint32(q>>4)|h>>(j+16)&1<<4)) + m
		}
	},
	Q8_0: func(y []float32, b []byte) {
		y, b = y[:32], b[:34]
		d := F16ToF32(le.Uint16(b))
		for j, q := range b[2:34] {
			y[j] = d * float32(int8(q))
		}
	},
	IQ4_NL: func(y []float32, b []byte) {
		y, b = y[:32], b[:18]
		d := F16ToF32(le.Uint16(b))
		for j, q := range b[2:18] {
			y[j] = d * codebook[q&15]
			y[j+16] = d * codebook[q>>4]
		}
	},
	MXFP4: func(y []float32, b []byte) {
		y, b = y[:32], b[:17]
		d := e8m0Half(b[0])
		for j, q := range b[1:17] {
			y[j] = d * e2m1[q&15]
			y[j+16] = d * e2m1[q>>4]
		}
	},
	Q2_K: decodeQ2K,
	Q3_K: decodeQ3K,
	Q4_K: decodeQ4K,
	Q5_K: decodeQ5K,
	Q6_K: decodeQ6K,
}

// e8m0Half returns half of an E8M0 scale, 2^(e-128), as ggml does: e = 255 is no NaN.
func e8m0Half(e byte) float32 {
	if e < 2 {
		return math.Float32frombits(0x00200000 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

// Dequantize expands len(dst) weights of type t, stored in src as whole blocks, to float32. The result has the bits
// that gguf.quants.dequantize (PyPI gguf) gives, except that a NaN may have another sign or payload.
func Dequantize(dst []float32, src []byte, t Type) error {
	if !t.Valid() || t.Affine() {
		return fmt.Errorf("%w: Dequantize of %v", ErrType, t)
	}
	size, bytes := t.BlockSize(), t.BlockBytes()
	if len(dst)%size != 0 || len(src) != t.RowBytes(len(dst)) {
		return fmt.Errorf("%w: %d bytes for %d weights of %v", ErrSize, len(src), len(dst), t)
	}
	switch t {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = F16ToF32(le.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = BF16ToF32(le.Uint16(src[2*i:]))
		}
	default:
		decode := decoders[t]
		for len(dst) > 0 {
			decode(dst[:size], src[:bytes])
			dst, src = dst[size:], src[bytes:]
		}
	}
	return nil
}

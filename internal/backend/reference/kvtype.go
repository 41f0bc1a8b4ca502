package reference

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/quant"
)

// kvCodec stores one head's key or value of one position. Its forms are those that backend.KVType names; a row of
// width elements, dim padded with zeros, takes bytes bytes.
type kvCodec struct {
	kind       backend.KVType
	dim, width int
	bytes      int
}

func newCodec(kind backend.KVType, dim int) kvCodec {
	c := kvCodec{kind: kind, dim: dim, width: dim, bytes: kind.HeadBytes(dim) / 2}
	if kind != backend.KVF32 {
		c.width = backend.KVPad(dim)
	}
	return c
}

// rotated reports whether keys, values, queries and outputs go through a Hadamard matrix. It spreads outliers over all
// elements of a head, so that 4 bits reach further (QuaRot, arXiv 2404.00456).
func (c *kvCodec) rotated() bool { return c.kind == backend.KVQ4 }

// rotate multiplies x by the orthonormal, symmetric Hadamard matrix of the largest power of two that divides its
// length, part by part.
func rotate(x []float32) {
	n := len(x) & -len(x)
	for h := 1; h < n; h *= 2 {
		for i := 0; i < len(x); i += 2 * h {
			for j := i; j < i+h; j++ {
				x[j], x[j+h] = x[j]+x[j+h], x[j]-x[j+h]
			}
		}
	}
	norm := 1 / float32(math.Sqrt(float64(n)))
	for i := range x {
		x[i] *= norm
	}
}

// encode stores x, whose dim elements it pads and rotates in tmp.
func (c *kvCodec) encode(dst []byte, x, tmp []float32) {
	if c.kind == backend.KVF32 {
		copy(floats(dst), x)
		return
	}
	t := tmp[:c.width]
	clear(t[copy(t, x[:c.dim]):])
	if c.rotated() {
		rotate(t)
	}
	for i, v := range t { // binary16 ends here
		t[i] = max(-65504, min(65504, v))
	}
	put := func(i int, v float32) { binary.LittleEndian.PutUint16(dst[i:], quant.F32ToF16(v)) }
	switch c.kind {
	case backend.KVQ8: // codes, then scales
		for g := 0; g < len(t); g += 32 {
			top := largest(t[g : g+32])
			put(c.width+g/16, float32(math.Abs(float64(top)))/127)
			inv := float32(0)
			if top != 0 {
				inv = float32(127 / math.Abs(float64(top)))
			}
			for i, v := range t[g : g+32] {
				dst[g+i] = byte(int8(math.RoundToEven(float64(v * inv))))
			}
		}
	case backend.KVQ4: // the element of largest magnitude has code 0 of 16, zero has 8
		for g := 0; g < len(t); g += 32 {
			put(c.width/2+g/16, largest(t[g:g+32])*-0.125)
			d := quant.F16ToF32(binary.LittleEndian.Uint16(dst[c.width/2+g/16:]))
			for i, v := range t[g : g+32] {
				code := float32(8)
				if d != 0 {
					code = max(0, min(15, float32(v*(1/d))+8.5))
				}
				at := (g + i) / 2
				if i%2 == 0 {
					dst[at] = byte(code)
				} else {
					dst[at] |= byte(code) << 4
				}
			}
		}
	default: // elements, then the largest magnitude
		for i, v := range t {
			put(2*i, v)
		}
		put(2*c.width, float32(math.Abs(float64(largest(t)))))
	}
}

// decode reads rows that encode stored, width elements each.
func (c *kvCodec) decode(dst []float32, src []byte) {
	half := func(i int) float32 { return quant.F16ToF32(binary.LittleEndian.Uint16(src[i:])) }
	for ; len(dst) > 0; dst, src = dst[c.width:], src[c.bytes:] {
		for i := range dst[:c.width] {
			switch c.kind {
			case backend.KVQ8:
				dst[i] = float32(int8(src[i])) * half(c.width+i/32*2)
			case backend.KVQ4:
				dst[i] = float32(int(src[i/2]>>(i%2*4)&15)-8) * half(c.width/2+i/32*2)
			default:
				dst[i] = half(2 * i)
			}
		}
	}
}

// largest is the first element of largest magnitude.
func largest(x []float32) float32 {
	top := float32(0)
	for _, v := range x {
		if math.Abs(float64(v)) > math.Abs(float64(top)) {
			top = v
		}
	}
	return top
}

// floats views a block of KVF32 as its elements.
func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

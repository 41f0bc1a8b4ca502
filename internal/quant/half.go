package quant

import (
	"math"
	"math/bits"
)

// F16ToF32 returns the value of an IEEE 754 binary16 number. It is exact; a NaN keeps its sign and payload.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch {
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	case frac == 0:
		return math.Float32frombits(sign)
	}
	n := uint32(bits.LeadingZeros32(frac)) - 21 // subnormal: shift its first bit to the place of the hidden one
	return math.Float32frombits(sign | (113-n)<<23 | frac<<(13+n)&0x7fffff)
}

// F32ToF16 returns the nearest binary16 number, ties to even; what is too large becomes an infinity, and a NaN a quiet one.
func F32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x477ff000: // 65520, halfway between the largest number and what would be the next
		return sign | 0x7c00
	case b >= 0x38800000: // 2^-14, the smallest normal number
		return sign | uint16((b-0x38000000+0xfff+(b>>13&1))>>13)
	case b <= 0x33000000: // 2^-25, half of the smallest subnormal number
		return sign
	}
	shift := 126 - b>>23
	frac := b&0x7fffff | 0x800000
	half := uint32(1) << (shift - 1)
	return sign | uint16((frac+half-1+(frac>>shift&1))>>shift)
}

// BF16ToF32 returns the value of a bfloat16 number.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 returns the nearest bfloat16 number, ties to even; a NaN becomes a quiet one.
func F32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b >> 16 & 1)) >> 16)
}

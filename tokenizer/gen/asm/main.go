// Command asm writes the amd64 kernels of the tokenizer: go run . -out ../../kernels_amd64.s
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	hashK0 = 0xa0761d6478bd642f
	hashK1 = 0xe7037ed1a0b428db
)

func main() {
	ConstraintExpr("!purego")
	keysFactors = quads("keysFactors", hashK0, hashK1, hashK0, hashK1, hashK0, hashK1, hashK0, hashK1)
	keysBMI2()
	keysAVX512()
	emitHits()
	classifyAVX2()
	classifyAVX512()
	valid("validAVX2", 32)
	valid("validAVX512", 64)
	suspectsAVX2()
	suspectsAVX512()
	sixteenPlaces = GLOBL("sixteenPlaces", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(i))
	}
	mergeAVX512()
	emitPlaces()
	Generate()
}

// lane order in memory, and the lane of bytes that are not ASCII.
const laneH = 6

// classifyAVX2: one table look-up for each upper nibble of ASCII: x-16h+0x70 has its top bit clear only where the
// nibble is h, and VPSHUFB gives zero elsewhere. The lanes' bits then leave one by one through the top bit.
func classifyAVX2() {
	TEXT("classifyAVX2", NOSPLIT, "func(rows *byte, p *byte, m *uint64)")
	rows := Mem{Base: Load(Param("rows"), GP64()).(Register)}
	p := Mem{Base: Load(Param("p"), GP64()).(Register)}
	m := Mem{Base: Load(Param("m"), GP64()).(Register)}
	seventy, ten := all(0x70, YMM), all(0x10, YMM)
	var x, cls [2]VecVirtual
	lo, hi := GP64(), GP64()
	out := func(v [2]VecVirtual, lane int) {
		VPMOVMSKB(v[0], lo.As32())
		VPMOVMSKB(v[1], hi.As32())
		SHLQ(Imm(32), hi)
		ORQ(hi, lo)
		MOVQ(lo, m.Offset(8*lane))
	}
	for i := range x {
		x[i], cls[i] = YMM(), YMM()
		VMOVDQU(p.Offset(32*i), x[i])
	}
	out(x, laneH)
	row, at := YMM(), YMM()
	for h := range 8 {
		VBROADCASTI128(rows.Offset(16*h), row)
		for i := range x {
			VPADDUSB(seventy, x[i], at)
			if h == 0 {
				VPSHUFB(at, row, cls[i])
			} else {
				VPSHUFB(at, row, at)
				VPOR(at, cls[i], cls[i])
			}
			if h < 7 {
				VPSUBB(ten, x[i], x[i])
			}
		}
	}
	for lane := 7; lane >= 0; lane-- {
		if lane != laneH {
			out(cls, lane)
		}
		for i := range cls {
			VPADDB(cls[i], cls[i], cls[i])
		}
	}
	VZEROUPPER()
	RET()
}

// classifyAVX512: VPERMI2B looks a byte's lower seven bits up in 128 bytes at once (AVX-512 VBMI).
func classifyAVX512() {
	TEXT("classifyAVX512", NOSPLIT, "func(rows *byte, p *byte, m *uint64)")
	rows := Mem{Base: Load(Param("rows"), GP64()).(Register)}
	p := Mem{Base: Load(Param("p"), GP64()).(Register)}
	m := Mem{Base: Load(Param("m"), GP64()).(Register)}
	x, low := ZMM(), ZMM()
	VMOVDQU64(p, x)
	VMOVDQU64(rows, low)
	high, k := K(), K()
	VPMOVB2M(x, high)
	KMOVQ(high, m.Offset(8*laneH))
	KNOTQ(high, high)
	VPERMI2B_Z(rows.Offset(64), low, high, x)
	Comment("Lane after lane leaves through the top bit.")
	for lane := 7; lane >= 0; lane-- {
		if lane != laneH {
			VPMOVB2M(x, k)
			KMOVQ(k, m.Offset(8*lane))
		}
		if lane > 0 {
			VPADDB(x, x, x)
		}
	}
	VZEROUPPER()
	RET()
}

// all gives a vector of the kind that vec makes, with v in each byte.
func all(v uint64, vec func() VecVirtual) VecVirtual {
	g, x, y := GP64(), XMM(), vec()
	MOVQ(U64(v*0x0101010101010101), g)
	VMOVQ(g, x) // not MOVQ: that would mix with what wide registers hold
	VPBROADCASTQ(x, y)
	return y
}

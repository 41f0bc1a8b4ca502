package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Errors of UTF-8 by the upper and lower nibble of a byte and the upper nibble of the next (Keiser and Lemire,
// Validating UTF-8 In Less Than One Instruction Per Byte, 2021).
const (
	tooShort = 1 << iota
	tooLong
	overlong3
	tooLarge
	surrogate
	overlong2
	tooLarge1000 // and overlong of four bytes
	twoConts
	carry = tooShort | tooLong | twoConts
)

var (
	byte1High = [16]byte{tooLong, tooLong, tooLong, tooLong, tooLong, tooLong, tooLong, tooLong, twoConts, twoConts, twoConts, twoConts,
		tooShort | overlong2, tooShort, tooShort | overlong3 | surrogate, tooShort | tooLarge | tooLarge1000}
	byte1Low = [16]byte{carry | overlong3 | overlong2 | tooLarge1000, carry | overlong2, carry, carry, carry | tooLarge,
		carry | tooLarge | tooLarge1000, carry | tooLarge | tooLarge1000, carry | tooLarge | tooLarge1000, carry | tooLarge | tooLarge1000,
		carry | tooLarge | tooLarge1000, carry | tooLarge | tooLarge1000, carry | tooLarge | tooLarge1000, carry | tooLarge | tooLarge1000,
		carry | tooLarge | tooLarge1000 | surrogate, carry | tooLarge | tooLarge1000, carry | tooLarge | tooLarge1000}
	byte2High = [16]byte{tooShort, tooShort, tooShort, tooShort, tooShort, tooShort, tooShort, tooShort,
		tooLong | overlong2 | twoConts | overlong3 | tooLarge1000, tooLong | overlong2 | twoConts | overlong3 | tooLarge,
		tooLong | overlong2 | twoConts | surrogate | tooLarge, tooLong | overlong2 | twoConts | surrogate | tooLarge,
		tooShort, tooShort, tooShort, tooShort}
)

// valid reports errors of UTF-8 in n bytes, a multiple of 64; the three bytes before them are read, too, and a
// character that their end cuts off is no error.
func valid(name string, width int) {
	data := func(what string, b []byte) Mem {
		m := GLOBL(name+what, RODATA|NOPTR)
		for i, v := range b {
			DATA(i, U8(v))
		}
		return m
	}
	tables := []Mem{data("High", byte1High[:]), data("Low", byte1Low[:]), data("Next", byte2High[:])}
	TEXT(name, NOSPLIT, "func(p *byte, n int) uint64")
	p := Load(Param("p"), GP64())
	n := Load(Param("n"), GP64())
	vec := func() VecVirtual {
		if width == 64 {
			return ZMM()
		}
		return YMM()
	}
	load, or := VMOVDQU, func(a, b, c Op) { VPOR(a, b, c) }
	and, xor := func(a, b, c Op) { VPAND(a, b, c) }, func(a, b, c Op) { VPXOR(a, b, c) }
	if width == 64 {
		load = func(a, b Op) { VMOVDQU64(a, b) }
		or = func(a, b, c Op) { VPORQ(a, b, c) }
		and, xor = func(a, b, c Op) { VPANDQ(a, b, c) }, func(a, b, c Op) { VPXORQ(a, b, c) }
	}
	var t [3]VecVirtual
	for i := range t {
		t[i] = vec()
		if width == 64 {
			VBROADCASTI32X4(tables[i], t[i])
		} else {
			VBROADCASTI128(tables[i], t[i])
		}
	}
	nibble, third, fourth, top := all(0x0f, vec), all(0xe0-0x80, vec), all(0xf0-0x80, vec), all(0x80, vec)
	bad := all(0, vec)
	at := Mem{Base: p.(Register)}

	Label("loop")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	var x []VecVirtual
	for off := 0; off < 64; off += width {
		v := vec()
		load(at.Offset(off), v)
		x = append(x, v)
	}
	before := vec()
	load(at.Offset(-3), before)
	seen := vec()
	or(x[0], before, seen)
	if len(x) > 1 {
		or(x[1], seen, seen)
	}
	if width == 64 {
		k, g := K(), GP64()
		VPMOVB2M(seen, k)
		KMOVQ(k, g)
		TESTQ(g, g)
	} else {
		g := GP32()
		VPMOVMSKB(seen, g)
		TESTL(g, g)
	}
	JZ(LabelRef("next"))
	for i, x := range x {
		prev, a, b, c := vec(), vec(), vec(), vec()
		load(at.Offset(width*i-1), prev)
		VPSRLW(Imm(4), prev, a)
		and(nibble, a, a)
		VPSHUFB(a, t[0], a)
		and(nibble, prev, b)
		VPSHUFB(b, t[1], b)
		VPSRLW(Imm(4), x, c)
		and(nibble, c, c)
		VPSHUFB(c, t[2], c)
		and(a, b, a)
		and(a, c, a)
		load(at.Offset(width*i-2), b)
		VPSUBUSB(third, b, b)
		load(at.Offset(width*i-3), c)
		VPSUBUSB(fourth, c, c)
		or(b, c, b)
		and(top, b, b)
		xor(a, b, a)
		or(a, bad, bad)
	}
	Label("next")
	ADDQ(Imm(64), p)
	SUBQ(Imm(64), n)
	JMP(LabelRef("loop"))
	Label("done")
	out := GP64()
	if width == 64 {
		k := K()
		VPTESTMB(bad, bad, k)
		KMOVQ(k, out)
	} else {
		zero, g := YMM(), GP64()
		VPXOR(zero, zero, zero)
		VPCMPEQB(zero, bad, bad)
		VPMOVMSKB(bad, g.As32())
		XORL(U32(0xffffffff), g.As32())
		MOVQ(g, out)
	}
	VZEROUPPER()
	Store(out, ReturnIndex(0))
	RET()
}

// suspectsAVX2 looks for lead bytes whose row has a bit in common with that of the byte behind them: rows 0 to 3 are
// those of 0xC0 to 0xFF, 4 to 7 those of 0x80 to 0xBF. It gives the number of blocks of 64 bytes without one, up to n,
// and the mask of the block that has some. One byte behind the blocks is read.
func suspectsAVX2() {
	TEXT("suspectsAVX2", NOSPLIT, "func(rows *byte, p *byte, n int) (blocks int, mask uint64)")
	rows := Mem{Base: Load(Param("rows"), GP64()).(Register)}
	p := Load(Param("p"), GP64())
	n := Load(Param("n"), GP64())
	at := Mem{Base: p.(Register)}
	c0, top, seventy, ten := all(0xc0, YMM), all(0x80, YMM), all(0x70, YMM), all(0x10, YMM)
	blocks, mask, high := GP64(), GP64(), GP64()
	XORQ(blocks, blocks)
	XORQ(mask, mask)
	zero := YMM()
	VPXOR(zero, zero, zero)
	Label("suspectLoop")
	CMPQ(blocks, n)
	JEQ(LabelRef("suspectDone"))
	for half := range 2 {
		row, t := YMM(), YMM()
		var found [2]VecVirtual
		for side := range 2 { // the byte, and the one behind it
			v := YMM()
			VMOVDQU(at.Offset(32*half+side), v)
			if side == 0 {
				VPSUBB(c0, v, v)
			} else {
				VPSUBB(top, v, v)
			}
			found[side] = YMM()
			for h := range 4 {
				VBROADCASTI128(rows.Offset(64*side+16*h), row)
				VPADDUSB(seventy, v, t)
				if h == 0 {
					VPSHUFB(t, row, found[side])
				} else {
					VPSHUFB(t, row, t)
					VPOR(t, found[side], found[side])
				}
				if h < 3 {
					VPSUBB(ten, v, v)
				}
			}
		}
		VPAND(found[0], found[1], found[0])
		VPCMPEQB(zero, found[0], found[0])
		if half == 0 {
			VPMOVMSKB(found[0], mask.As32())
		} else {
			VPMOVMSKB(found[0], high.As32())
		}
	}
	SHLQ(Imm(32), high)
	ORQ(high, mask)
	NOTQ(mask)
	TESTQ(mask, mask)
	JNZ(LabelRef("suspectDone"))
	ADDQ(Imm(64), p)
	INCQ(blocks)
	JMP(LabelRef("suspectLoop"))
	Label("suspectDone")
	VZEROUPPER()
	Store(blocks, Return("blocks"))
	Store(mask, Return("mask"))
	RET()
}

// suspectsAVX512 is suspectsAVX2 by VPERMB (AVX-512 VBMI).
func suspectsAVX512() {
	TEXT("suspectsAVX512", NOSPLIT, "func(rows *byte, p *byte, n int) (blocks int, mask uint64)")
	rows := Mem{Base: Load(Param("rows"), GP64()).(Register)}
	p := Load(Param("p"), GP64())
	n := Load(Param("n"), GP64())
	at := Mem{Base: p.(Register)}
	first, second := ZMM(), ZMM()
	VMOVDQU64(rows, first)
	VMOVDQU64(rows.Offset(64), second)
	c0 := all(0xc0, ZMM)
	blocks, mask := GP64(), GP64()
	XORQ(blocks, blocks)
	XORQ(mask, mask)
	Label("suspect512Loop")
	CMPQ(blocks, n)
	JEQ(LabelRef("suspect512Done"))
	a, b := ZMM(), ZMM()
	lead, k := K(), K()
	VMOVDQU64(at, a)
	VPCMPUB(Imm(5), c0, a, lead)
	VPERMB_Z(first, a, lead, a)
	VMOVDQU64(at.Offset(1), b)
	VPERMB(second, b, b)
	VPTESTMB(a, b, k)
	KMOVQ(k, mask)
	TESTQ(mask, mask)
	JNZ(LabelRef("suspect512Done"))
	ADDQ(Imm(64), p)
	INCQ(blocks)
	JMP(LabelRef("suspect512Loop"))
	Label("suspect512Done")
	VZEROUPPER()
	Store(blocks, Return("blocks"))
	Store(mask, Return("mask"))
	RET()
}

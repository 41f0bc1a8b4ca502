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
	mergeAVX512()
	Generate()
}

// keysFactors holds hashK0 and hashK1 four times.
var keysFactors Mem

// quads is constant data.
func quads(name string, v ...uint64) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, x := range v {
		DATA(8*i, U64(x))
	}
	return m
}

// probeSlots is where the slots of probes begin.
const probeSlots = 128 * 16

// keyState is what the kernels of keys hold in registers.
type keyState struct {
	base, starts, n, key, slot Register
	tables, k0, k1             Mem
}

func newKeyState() (s keyState) {
	s.base, s.starts = Load(Param("base"), GP64()).(Register), Load(Param("starts"), GP64()).(Register)
	s.n, s.key = Load(Param("n"), GP64()).(Register), Load(Param("batch"), GP64()).(Register)
	s.tables = Mem{Base: Load(Param("t"), GP64()).(Register)}
	s.slot = GP64()
	LEAQ(Mem{Base: s.key, Disp: probeSlots}, s.slot)
	s.k0, s.k1 = keysFactors, keysFactors.Offset(8)
	return s
}

// keys is keysGo for n pieces, at least one, with a prefetch where Go must read. MULX is the one instruction of BMI2 that matters.
func keysBMI2() {
	TEXT("keysBMI2", NOSPLIT, "func(base *byte, starts *uint32, n int, t *byte, batch *byte)")
	s := newKeyState()
	s.each("keys", s.n)
	RET()
}

// each does n pieces one by one.
func (s *keyState) each(name string, n Register) {
	a := GP64()
	MOVL(Mem{Base: s.starts}, a.As32())
	hi, lo, x, y := GP64(), GP64(), GP64(), GP64()
	shift := GP64()
	entry := Mem{Base: s.key}

	Label(name + "Loop")
	ADDQ(Imm(4), s.starts)
	b, size := GP64(), GP64()
	MOVL(Mem{Base: s.starts}, b.As32())
	MOVQ(b, size)
	SUBQ(a, size)
	p := GP64()
	LEAQ(Mem{Base: s.base, Index: a, Scale: 1}, p)
	MOVQ(b, a)
	CMPQ(size, Imm(15))
	JHI(LabelRef(name + "Mid"))

	m := GP64()
	MOVQ(size, m)
	SHLQ(Imm(5), m)
	mask := GP64()
	LEAQ(NewDataAddr(Symbol{Name: "·keyMasks"}, 0), mask)
	ADDQ(mask, m)
	MOVQ(Mem{Base: p}, x)
	MOVQ(Mem{Base: p, Disp: 8}, y)
	ANDQ(Mem{Base: m}, x)
	ANDQ(Mem{Base: m, Disp: 8}, y)
	ORQ(Mem{Base: m, Disp: 16}, y)
	MOVQ(x, entry)
	MOVQ(y, entry.Offset(8))
	IMULQ(s.k0, x)
	IMULQ(s.k1, y)
	ADDQ(y, x)
	MOVQ(s.tables.Offset(8), shift)
	SHRXQ(shift, x, x)
	SHLQ(Imm(5), x)
	MOVQ(x, Mem{Base: s.slot})
	ADDQ(s.tables, x)
	PREFETCHT0(Mem{Base: x})
	Label(name + "Next")
	ADDQ(Imm(16), s.key)
	ADDQ(Imm(8), s.slot)
	DECQ(n)
	JNZ(LabelRef(name + "Loop"))
	JMP(LabelRef(name + "Done"))

	Label(name + "Mid")
	CMPQ(size, Imm(32))
	JHI(LabelRef(name + "Long"))
	MOVQ(Mem{Base: p}, x)
	XORQ(size, x)
	XORQ(s.k0, x)
	MOVQ(Mem{Base: p, Disp: 8}, RDX)
	XORQ(s.k1, RDX)
	MULXQ(x, lo, hi)
	XORQ(lo, hi)
	MOVQ(Mem{Base: p, Index: size, Scale: 1, Disp: -16}, x)
	XORQ(s.k1, x)
	MOVQ(Mem{Base: p, Index: size, Scale: 1, Disp: -8}, RDX)
	XORQ(s.k0, RDX)
	MULXQ(x, lo, y)
	XORQ(lo, hi)
	XORQ(y, hi)
	MOVQ(s.tables.Offset(24), shift)
	SHRXQ(shift, hi, hi)
	SHLQ(Imm(6), hi)
	MOVQ(hi, Mem{Base: s.slot})
	ADDQ(s.tables.Offset(16), hi)
	PREFETCHT0(Mem{Base: hi})
	MOVQ(U64(2<<60), x)
	Label(name + "Mark")
	MOVQ(x, entry.Offset(8))
	XORQ(x, x)
	MOVQ(x, entry)
	JMP(LabelRef(name + "Next"))

	Label(name + "Long")
	XORQ(x, x)
	MOVQ(x, Mem{Base: s.slot})
	MOVQ(U64(1<<60), x)
	JMP(LabelRef(name + "Mark"))
	Label(name + "Done")
}

// keysAVX512 makes the keys of four pieces at once where none has more than 15 bytes.
func keysAVX512() {
	const ones = 0x0101010101010101
	spread := quads("keysSpread", 0*ones, 0*ones, 4*ones, 4*ones, 8*ones, 8*ones, 12*ones, 12*ones)
	places := quads("keysPlaces", 0x0706050403020100, 0x0f0e0d0c0b0a0908, 0x0706050403020100, 0x0f0e0d0c0b0a0908,
		0x0706050403020100, 0x0f0e0d0c0b0a0908, 0x0706050403020100, 0x0f0e0d0c0b0a0908)
	even := quads("keysEven", 0, 2, 4, 6, 0, 0, 0, 0)
	fifteen := quads("keysFifteen", 15<<32|15, 15<<32|15)

	TEXT("keysAVX512", NOSPLIT, "func(base *byte, starts *uint32, n int, t *byte, batch *byte)")
	s := newKeyState()
	spreads, place, factor, evens, most, shift := ZMM(), ZMM(), ZMM(), ZMM(), XMM(), XMM()
	VMOVDQU64(spread, spreads)
	VMOVDQU64(places, place)
	VMOVDQU64(keysFactors, factor)
	VMOVDQU64(even, evens)
	VMOVDQU(fifteen, most)
	VMOVQ(s.tables.Offset(8), shift)
	last, tab, g := K(), GP64(), GP64()
	MOVQ(U64(0x8000800080008000), g)
	KMOVQ(g, last)
	MOVQ(s.tables, tab)
	n := GP64()

	Label("quadLoop")
	CMPQ(s.n, Imm(4))
	JLT(LabelRef("fourRest"))
	from, size := XMM(), XMM()
	VMOVDQU(Mem{Base: s.starts}, from)
	VMOVDQU(Mem{Base: s.starts, Disp: 4}, size)
	VPSUBD(from, size, size)
	long := K()
	VPCMPUD(Imm(6), most, size, long)
	KTESTB(long, long)
	JNZ(LabelRef("fourSingly"))
	var r [4]GPVirtual
	for i := range r {
		r[i] = GP64()
		MOVL(Mem{Base: s.starts, Disp: 4 * i}, r[i].As32())
	}
	x, y, sizes := ZMM(), YMM(), ZMM()
	VMOVDQU(Mem{Base: s.base, Index: r[0], Scale: 1}, x.AsX())
	VINSERTI128(Imm(1), Mem{Base: s.base, Index: r[1], Scale: 1}, x.AsY(), x.AsY())
	VMOVDQU(Mem{Base: s.base, Index: r[2], Scale: 1}, y.AsX())
	VINSERTI128(Imm(1), Mem{Base: s.base, Index: r[3], Scale: 1}, y, y)
	VINSERTI64X4(Imm(1), y, x, x)
	VPERMB(size.AsZ(), spreads, sizes)
	inside := K()
	VPCMPUB(Imm(1), sizes, place, inside)
	VMOVDQU8_Z(x, inside, x)
	VMOVDQU8(sizes, last, x)
	VMOVDQU64(x, Mem{Base: s.key})
	z := ZMM()
	VPMULLQ(factor, x, x)
	VPSHUFD(Imm(0x4e), x, z)
	VPADDQ(z, x, x)
	VPSRLQ(shift, x, x)
	VPSLLQ(Imm(5), x, x)
	VPERMQ(x, evens, x)
	VMOVDQU(x.AsY(), Mem{Base: s.slot})
	for i := range r {
		MOVQ(Mem{Base: s.slot, Disp: 8 * i}, r[i])
		PREFETCHT0(Mem{Base: tab, Index: r[i], Scale: 1})
	}
	ADDQ(Imm(16), s.starts)
	ADDQ(Imm(64), s.key)
	ADDQ(Imm(32), s.slot)
	SUBQ(Imm(4), s.n)
	JMP(LabelRef("quadLoop"))

	Label("fourRest")
	MOVQ(s.n, n)
	TESTQ(n, n)
	JNZ(LabelRef("fourRun"))
	VZEROUPPER()
	RET()
	Label("fourSingly")
	MOVQ(U32(4), n)
	Label("fourRun")
	SUBQ(n, s.n)
	s.each("four", n)
	JMP(LabelRef("quadLoop"))
}

// emitHits is emitHitsGo.
func emitHits() {
	TEXT("emitHitsAMD64", NOSPLIT, "func(q *byte, i int, n int, tab *byte, out *byte) (next int, end *byte)")
	q, i, n := Load(Param("q"), GP64()).(Register), Load(Param("i"), GP64()).(Register), Load(Param("n"), GP64()).(Register)
	tab, out := Load(Param("tab"), GP64()).(Register), Load(Param("out"), GP64()).(Register)
	key, slot, long := GP64(), GP64(), GP64()
	MOVQ(i, key)
	SHLQ(Imm(4), key)
	ADDQ(q, key)
	LEAQ(Mem{Base: q, Index: i, Scale: 8, Disp: probeSlots}, slot)
	MOVQ(U64(1<<60), long)
	want, e, k1, x, y := GP64(), GP64(), GP64(), GP64(), GP64()
	ids := XMM()
	compare := func(other string) {
		MOVQ(Mem{Base: e, Disp: 8}, k1)
		MOVQ(want, x)
		XORQ(k1, x)
		SHLQ(Imm(4), x)
		MOVQ(Mem{Base: key}, y)
		XORQ(Mem{Base: e}, y)
		ORQ(x, y)
		JNZ(LabelRef(other))
	}
	Label("hitLoop")
	CMPQ(i, n)
	JGE(LabelRef("hitDone"))
	MOVQ(Mem{Base: key, Disp: 8}, want)
	CMPQ(want, long)
	JCC(LabelRef("hitDone"))
	MOVQ(Mem{Base: slot}, e)
	ADDQ(tab, e)
	compare("hitOther")
	Label("hitCopy")
	SHRQ(Imm(60), k1)
	CMPQ(k1, Imm(15))
	JEQ(LabelRef("hitDone"))
	MOVUPS(Mem{Base: e, Disp: 16}, ids)
	MOVUPS(ids, Mem{Base: out})
	LEAQ(Mem{Base: out, Index: k1, Scale: 4}, out)
	INCQ(i)
	ADDQ(Imm(16), key)
	ADDQ(Imm(8), slot)
	JMP(LabelRef("hitLoop"))
	Label("hitOther")
	MOVQ(Mem{Base: slot}, e)
	XORQ(Imm(32), e)
	ADDQ(tab, e)
	compare("hitDone")
	JMP(LabelRef("hitCopy"))
	Label("hitDone")
	Store(i, Return("next"))
	Store(out, Return("end"))
	RET()
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
	all := func(v uint64) VecVirtual {
		g, x, y := GP64(), XMM(), YMM()
		MOVQ(U64(v), g)
		MOVQ(g, x)
		VPBROADCASTQ(x, y)
		return y
	}
	seventy, ten := all(0x7070707070707070), all(0x1010101010101010)
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
	all := func(v uint64) VecVirtual {
		g, x, y := GP64(), XMM(), vec()
		MOVQ(U64(v*0x0101010101010101), g)
		MOVQ(g, x)
		VPBROADCASTQ(x, y)
		return y
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
	nibble, third, fourth, top := all(0x0f), all(0xe0-0x80), all(0xf0-0x80), all(0x80)
	bad := all(0)
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
	all := func(v uint64) VecVirtual {
		g, x, y := GP64(), XMM(), YMM()
		MOVQ(U64(v*0x0101010101010101), g)
		MOVQ(g, x)
		VPBROADCASTQ(x, y)
		return y
	}
	c0, top, seventy, ten := all(0xc0), all(0x80), all(0x70), all(0x10)
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
	first, second, c0 := ZMM(), ZMM(), ZMM()
	VMOVDQU64(rows, first)
	VMOVDQU64(rows.Offset(64), second)
	g, x := GP64(), XMM()
	MOVQ(U64(0xc0c0c0c0c0c0c0c0), g)
	MOVQ(g, x)
	VPBROADCASTQ(x, c0)
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

// Fields of shortWork and mergeTables.
const (
	workRank = 100
	workN    = 200

	tableSlots  = 0
	tableFilter = 8
	tableOut    = 16 // nil: merged symbols are numbered from base on
	tableMask   = 24
	tableShift  = 32
	tableFshift = 40
	tableSym    = 48
	tableIdx    = 56
	tableBase   = 64

	fibonacci = 0x9e3779b97f4a7c15
)

// mergeAVX512 does all merges of a piece of up to 16 symbols. A lane holds rank<<4 | place of the pair that begins there; the smallest
// is the next merge. Symbols keep their places, and a mask says which are left. A pair is found as pairTable.find does it.
func mergeAVX512() {
	TEXT("mergeAVX512", NOSPLIT, "func(w *byte, t *byte)")
	w := Mem{Base: Load(Param("w"), GP64()).(Register)}
	t := Mem{Base: Load(Param("t"), GP64()).(Register)}
	n, alive, one := GP64(), GP64(), GP64()
	MOVQ(w.Offset(workN), n)
	MOVQ(U32(1), one)
	SHLXQ(n, one, alive)
	DECQ(alive)
	mask := GP64()
	MOVQ(alive, mask)
	SHRQ(Imm(1), mask)
	k := K()
	KMOVW(mask.As32(), k)
	lanes, ones := ZMM(), ZMM()
	VPTERNLOGD(Imm(0xff), ones, ones, ones)
	VMOVDQA64(ones, lanes)
	VMOVDQU32(w.Offset(workRank), k, lanes)
	VPSLLD(Imm(4), lanes, lanes)
	places := GLOBL("mergePlaces", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(i))
	}
	VPORD(places, lanes, lanes)
	fib := GP64()
	MOVQ(U64(fibonacci), fib)
	slots, filter := GP64(), GP64()
	MOVQ(t.Offset(tableSlots), slots)
	MOVQ(t.Offset(tableFilter), filter)

	key, at, id := GP64(), GP64(), GP64()
	x, y := ZMM(), XMM()
	// set writes a lane's key, or all ones.
	lane := K()
	bit := GP64()
	choose := func(place Register) {
		SHLXQ(place, one, bit)
		KMOVW(bit.(GPVirtual).As32(), lane)
	}
	// find leaves rank<<4 | place of the pair a, b in a, or goes to none.
	find := func(name string, a, b, place Register) {
		shift, hash, s, v := RCX, GP64(), GP64(), GP64()
		MOVQ(t.Offset(tableSym), shift)
		SHLXQ(shift, a, a)
		ORQ(b, a)
		MOVQ(t.Offset(tableIdx), shift)
		SHLXQ(shift, a, a)
		MOVQ(a, hash)
		IMULQ(fib, hash)
		MOVQ(t.Offset(tableFshift), shift)
		SHRXQ(shift, hash, v)
		MOVQ(v, s)
		SHRQ(Imm(6), s)
		MOVQ(Mem{Base: filter, Index: s, Scale: 8}, s)
		BTQ(v, s)
		JCC(LabelRef(name + "None"))
		MOVQ(t.Offset(tableShift), shift)
		SHRXQ(shift, hash, hash)
		Label(name + "Probe")
		ANDQ(t.Offset(tableMask), hash)
		MOVQ(Mem{Base: slots, Index: hash, Scale: 8}, s)
		TESTQ(s, s)
		JZ(LabelRef(name + "None"))
		MOVQ(s, v)
		XORQ(a, v)
		MOVQ(t.Offset(tableIdx), shift)
		SHRXQ(shift, v, v)
		TESTQ(v, v)
		JZ(LabelRef(name + "Found"))
		INCQ(hash)
		JMP(LabelRef(name + "Probe"))
		Label(name + "Found")
		Comment("What the pair and the slot differ in is the handle.")
		XORQ(a, s)
		DECQ(s)
		SHLQ(Imm(4), s)
		ORQ(place, s)
		VPBROADCASTD(s.As32(), lane, lanes)
		JMP(LabelRef(name + "Done"))
		Label(name + "None")
		VMOVDQA32(ones, lane, lanes)
		Label(name + "Done")
	}

	Label("mergeLoop")
	VEXTRACTI64X4(Imm(1), lanes, x.AsY())
	VPMINUD(lanes.AsY(), x.AsY(), x.AsY())
	VEXTRACTI128(Imm(1), x.AsY(), y)
	VPMINUD(x.AsX(), y, y)
	VPSHUFD(Imm(0x4e), y, x.AsX())
	VPMINUD(x.AsX(), y, y)
	VPSHUFD(Imm(0xb1), y, x.AsX())
	VPMINUD(x.AsX(), y, y)
	VMOVD(y, key.As32())
	CMPL(key.As32(), U32(0xfffffff0))
	JCC(LabelRef("mergeEnd"))
	MOVQ(key, at)
	ANDQ(Imm(15), at)
	SHRQ(Imm(4), key)
	out := GP64()
	MOVQ(t.Offset(tableOut), out)
	TESTQ(out, out)
	JNZ(LabelRef("mergeOut"))
	MOVQ(t.Offset(tableBase), id)
	ADDQ(key, id)
	JMP(LabelRef("mergeID"))
	Label("mergeOut")
	MOVL(Mem{Base: out, Index: key, Scale: 4}, id.As32())
	Label("mergeID")
	MOVL(id.As32(), w.Idx(at, 4))
	Comment("The symbol behind is gone.")
	next, rest := GP64(), GP64()
	after := func() {
		SHRXQ(at, alive, rest)
		SHRQ(Imm(1), rest)
	}
	after()
	TZCNTQ(rest, next)
	LEAQ(Mem{Base: at, Index: next, Scale: 1, Disp: 1}, next)
	BTRQ(next, alive)
	choose(next)
	VMOVDQA32(ones, lane, lanes)
	choose(at)
	after()
	TESTQ(rest, rest)
	JZ(LabelRef("mergeLast"))
	TZCNTQ(rest, next)
	ADDQ(at, next)
	a, b := GP64(), GP64()
	MOVL(w.Idx(next, 4).Offset(4), b.As32())
	MOVQ(id, a)
	find("right", a, b, at)
	JMP(LabelRef("mergeLeft"))
	Label("mergeLast")
	VMOVDQA32(ones, lane, lanes)
	Label("mergeLeft")
	BZHIQ(at, alive, rest)
	TESTQ(rest, rest)
	JZ(LabelRef("mergeLoop"))
	BSRQ(rest, next)
	choose(next)
	MOVL(w.Idx(next, 4), a.As32())
	find("left", a, id, next)
	JMP(LabelRef("mergeLoop"))

	Label("mergeEnd")
	KMOVW(alive.As32(), k)
	VMOVDQU32(w, x)
	VPCOMPRESSD_Z(x, k, x)
	VMOVDQU32(x, w)
	POPCNTQ(alive, n)
	MOVQ(n, w.Offset(workN))
	VZEROUPPER()
	RET()
}

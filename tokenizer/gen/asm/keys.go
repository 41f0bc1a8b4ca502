package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

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

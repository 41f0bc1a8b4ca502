package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

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

// sixteenPlaces holds 0 to 15 in 32 bits each.
var sixteenPlaces Mem

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
	VPORD(sixteenPlaces, lanes, lanes)
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

// emitPlaces writes pos plus the place of each bit of st to dst, sixteen places at a time; what it writes behind them is none.
func emitPlaces() {
	TEXT("emitPlacesAVX512", NOSPLIT, "func(dst *byte, pos uint32, st uint64)")
	dst := Load(Param("dst"), GP64()).(Register)
	pos, st := Load(Param("pos"), GP32()), Load(Param("st"), GP64()).(GPVirtual)
	n, k := GP64(), K()
	places, sixteen, at := ZMM(), ZMM(), ZMM()
	VPBROADCASTD(pos, places)
	VPADDD(sixteenPlaces, places, places)
	MOVL(U32(16), n.As32())
	VPBROADCASTD(n.As32(), sixteen)
	for i := range 4 {
		KMOVW(st.As32(), k)
		VPCOMPRESSD_Z(places, k, at)
		VMOVDQU32(at, Mem{Base: dst})
		if i < 3 {
			VPADDD(sixteen, places, places)
			MOVWLZX(st.As16(), n.As32())
			POPCNTL(n.As32(), n.As32())
			LEAQ(Mem{Base: dst, Index: n, Scale: 4}, dst)
			SHRQ(Imm(16), st)
		}
	}
	VZEROUPPER()
	RET()
}

package tokenizer

import (
	"math/bits"
	"sort"
)

// mergeRule joins neighbours a and b to out. Lower ranks go first, equal ranks leftmost first.
type mergeRule struct{ a, b, out, rank uint32 }

// bpeModel is what the merge engine needs to know; the parsers fill it in.
type bpeModel struct {
	vocab        *vocab
	merges       []mergeRule // each pair once; ids from vocab.size() on are pseudo symbols that stand for no piece
	symbols      int         // ids and pseudo symbols are below
	byteLevel    bool        // initial symbols are bytes, else characters (SentencePiece kind)
	byteID       [256]uint32 // byte level: id of each byte, noID where it is dropped. Else: id of <0xNN>, or noID
	ignoreMerges bool        // a piece that is in the vocabulary as a whole is not merged
	spaceMark    bool        // SentencePiece kind: ' ' in the text stands for U+2581
	unk          uint32      // SentencePiece kind: id of the unknown piece, or noID
	fuseUnk      bool        // neighbouring unknown characters are one unk
	byteFallback bool        // an unknown character is written as its bytes' <0xNN>
}

// noID marks the absence of an id.
const noID = ^uint32(0)

// noRank marks a pair of symbols that no merge joins.
const noRank = ^uint32(0)

// pairTable maps two neighbouring symbols to the handle of their merge. Handles are dense, in order of rank, so
// without ties of rank a handle is its own priority. A slot packs (a, b, handle+1) into one word; zero is empty.
type pairTable struct {
	slots  []uint64
	shift  uint8 // 64 - log2(len(slots))
	symBit uint8 // bits of a symbol
	idxBit uint8 // bits of handle+1
	filter []uint64
	fshift uint8             // 64 - log2(bits of filter)
	wide   map[uint64]uint32 // replaces slots where a slot's bits do not suffice
	out    []uint32          // handle -> merged symbol
	dense  bool              // which is base + handle for all
	base   uint32
	prio   []uint32 // handle -> priority; nil where ranks are distinct
}

// fibonacci is 2^64 divided by the golden ratio: Fibonacci hashing (Knuth, TAOCP 6.4).
const fibonacci = 0x9e3779b97f4a7c15

func newPairTable(merges []mergeRule, symbols int) *pairTable {
	n := len(merges)
	if !sort.SliceIsSorted(merges, func(i, j int) bool { return merges[i].rank < merges[j].rank }) {
		merges = append([]mergeRule(nil), merges...)
		sort.SliceStable(merges, func(i, j int) bool { return merges[i].rank < merges[j].rank })
	}
	p := &pairTable{out: make([]uint32, n)}
	for i := 1; i < n; i++ {
		if merges[i].rank == merges[i-1].rank {
			p.prio = make([]uint32, n)
			for i := 1; i < n; i++ {
				p.prio[i] = p.prio[i-1]
				if merges[i].rank != merges[i-1].rank {
					p.prio[i]++
				}
			}
			break
		}
	}
	lg := max(4, bits.Len(uint(n)))
	if n > 5<<lg/8 {
		lg++
	}
	p.size(symbols, lg)
	if bits.Len(uint(n)) > int(p.idxBit) || p.symBit >= 32 {
		p.wide = make(map[uint64]uint32, n)
		for i, e := range merges {
			p.out[i] = e.out
			p.wide[uint64(e.a)<<32|uint64(e.b)] = uint32(i)
		}
		p.densely()
		return p
	}
	p.slots, p.filter = touched[uint64](1<<lg), make([]uint64, 1<<(lg-3))
	mask := uint64(len(p.slots) - 1)
	for i, e := range merges {
		p.out[i] = e.out
		key := (uint64(e.a)<<p.symBit | uint64(e.b)) << p.idxBit
		h := key * fibonacci
		p.filter[h>>p.fshift>>6] |= 1 << (h >> p.fshift & 63)
		s := h >> p.shift
		for p.slots[s] != 0 && (p.slots[s]^key)>>p.idxBit != 0 {
			s = (s + 1) & mask
		}
		p.slots[s] = key | uint64(i+1)
	}
	p.densely()
	return p
}

// densely notes whether the merged symbols are numbered like the merges, as they are where training gave both: then out need not be read.
func (p *pairTable) densely() {
	p.dense = len(p.out) > 0
	for h, id := range p.out {
		p.dense = p.dense && id == p.out[0]+uint32(h)
	}
	if p.dense {
		p.base = p.out[0]
	}
}

// size sets what follows from the number of symbols and the logarithm of the number of slots.
func (p *pairTable) size(symbols, lg int) {
	p.symBit = uint8(max(1, bits.Len(uint(max(symbols, 1)-1))))
	p.idxBit = 64 - 2*p.symBit
	p.shift, p.fshift = uint8(64-lg), uint8(64-lg-3)
}

// find gives the handle of the merge of a and b, or noRank.
func (p *pairTable) find(a, b uint32) uint32 {
	if p.wide != nil {
		if h, ok := p.wide[uint64(a)<<32|uint64(b)]; ok {
			return h
		}
		return noRank
	}
	key := (uint64(a)<<(p.symBit&31) | uint64(b)) << (p.idxBit & 63)
	h := key * fibonacci
	f := h >> (p.fshift & 63)
	// Most look-ups end here: the filter has one bit in eight set and stays in the L2 cache.
	if p.filter[f>>6]>>(f&63)&1 == 0 {
		return noRank
	}
	slots := p.slots
	mask := uint64(len(slots) - 1)
	for i := h >> (p.shift & 63); ; i++ {
		s := slots[i&mask]
		if (s^key)>>(p.idxBit&63) == 0 && s != 0 {
			if idx := uint32(s & (1<<(p.idxBit&63) - 1)); idx != 0 {
				return idx - 1
			}
		}
		if s == 0 {
			return noRank
		}
	}
}

// rank gives the priority of the merge of a and b, lower first, or noRank.
func (p *pairTable) rank(a, b uint32) uint32 {
	h := p.find(a, b)
	if p.prio == nil || h == noRank {
		return h
	}
	return p.prio[h]
}

// merged gives what a and b, whose merge has priority r, become.
func (p *pairTable) merged(a, b, r uint32) uint32 {
	if p.prio != nil {
		r = p.find(a, b)
	}
	if p.dense {
		return p.base + r
	}
	return p.out[r]
}

// merger runs byte-pair encoding: while two neighbours have a merge, the one of lowest rank is done, leftmost first.
// Immutable.
type merger struct {
	pairs     *pairTable
	tables    mergeTables
	first     []uint32 // priority of two neighbouring bytes; nil unless byte level
	byteID    [256]uint32
	drops     bool   // some byte has no symbol
	whole     *vocab // a piece found here is not merged; nil unless ignore_merges
	treeRanks bool   // priorities fit the keys of tree
}

// mergesOnly is g without ignore_merges.
func (g *merger) mergesOnly() merger {
	m := *g
	m.whole = nil
	return m
}

func newMerger(m *bpeModel) *merger { return mergerOf(m, newPairTable(m.merges, m.symbols)) }

// mergerOf is newMerger where the table of merges is there.
func mergerOf(m *bpeModel, pairs *pairTable) *merger {
	g := &merger{pairs: pairs, tables: pairs.mergeTables(), byteID: m.byteID}
	g.treeRanks = len(pairs.out) < 1<<treeRankBits-1
	if m.ignoreMerges {
		g.whole = m.vocab
	}
	if !m.byteLevel {
		return g
	}
	g.first = make([]uint32, 1<<16)
	for i := range g.first {
		g.first[i] = noRank
	}
	for x, a := range m.byteID {
		if a == noID {
			g.drops = true
			continue
		}
		for y, b := range m.byteID {
			if b != noID {
				g.first[x<<8|y] = g.pairs.rank(a, b)
			}
		}
	}
	return g
}

// appendBytes appends the ids of one piece of byte-level text.
func (g *merger) appendBytes(dst []uint32, piece []byte) []uint32 {
	if g.whole != nil {
		if id, ok := g.whole.find(piece); ok {
			return append(dst, id)
		}
	}
	if g.drops {
		syms := make([]uint32, 0, len(piece))
		for _, b := range piece {
			if id := g.byteID[b]; id != noID {
				syms = append(syms, id)
			}
		}
		return g.appendSymbols(dst, syms)
	}
	switch n := len(piece); {
	case n == 0:
		return dst
	case n == 1:
		return append(dst, g.byteID[piece[0]])
	case n <= shortMax:
		var w shortWork
		w.bytes(g, piece)
		return g.short(dst, &w)
	}
	return g.long(dst, source{bytes: piece, n: len(piece)})
}

// appendSymbols appends the ids that a piece's initial symbols merge to.
func (g *merger) appendSymbols(dst, syms []uint32) []uint32 {
	switch n := len(syms); {
	case n <= 1:
		return append(dst, syms...)
	case n <= shortMax:
		var w shortWork
		copy(w.id[:], syms)
		w.symbols(g, n)
		return g.short(dst, &w)
	}
	return g.long(dst, source{syms: syms, n: len(syms)})
}

package tokenizer

import (
	"cmp"
	"slices"
)

// wholeTokens gives the set of tokens that their own text merges to: a piece that is one of them needs no merging. It may lack
// some. nil where ranks are not distinct. first are the symbols that merging begins with; noID is none.
//
// Let T come of a and b, which their texts A and B merge to, by merges of lower rank all the way down. Until a is there, the merges
// of A alone have a next one of rank at most a's; so of a and b the one of higher rank is made last, and likewise further
// down. Going back in time from (a, b), the neighbours x, y across the border are known at every moment, and A and B stay apart
// if no pair x, y has a rank below that of the merge that ends it (leftmost first among equals). rust-gems' crates/bpe makes the
// same walk for ids as ranks.
func wholeTokens(m *bpeModel, g *merger, first []uint32) []uint64 {
	p := g.pairs
	if p.prio != nil || p.wide != nil {
		return nil
	}
	// By token: when it is made, 0 for the first, late for what is not made; and of what.
	const late = 1<<32 - 1
	made, parts := make([]uint32, m.symbols), make([][2]uint32, m.symbols)
	for i := range made {
		made[i] = late
	}
	whole := make([]uint64, (m.symbols+63)/64)
	sorted := slices.IsSortedFunc(m.merges, func(x, y mergeRule) int { return cmp.Compare(x.rank, y.rank) })
	for _, id := range first {
		if id != noID {
			made[id] = 0
			whole[id>>6] |= 1 << (id & 63)
		}
	}
	apart := func(x, y uint32) bool {
		for made[x] > 0 || made[y] > 0 {
			if end := made[y]; end >= made[x] {
				y = parts[y][0]
				if r := p.find(x, y); r != noRank && r+1 <= end {
					return false
				}
			} else {
				end = made[x]
				x = parts[x][1]
				if r := p.find(x, y); r != noRank && r+1 < end {
					return false
				}
			}
		}
		return true
	}
	for i, e := range m.merges { // in order of rank
		if made[e.out] != late {
			continue
		}
		at := uint32(i)
		if !sorted {
			at = p.find(e.a, e.b)
		}
		if at == noRank || made[e.a] > at || made[e.b] > at || !apart(e.a, e.b) {
			continue
		}
		made[e.out], parts[e.out] = at+1, [2]uint32{e.a, e.b}
		whole[e.out>>6] |= 1 << (e.out & 63)
	}
	return whole
}

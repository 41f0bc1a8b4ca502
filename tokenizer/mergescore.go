package tokenizer

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// mergesByScore derives the merges of a SentencePiece BPE model: two neighbours join when their text is a piece, pieces of greater score
// first. skip tells the pieces that text does not reach. A part that is no piece itself, such as a character that occurs within longer
// pieces only, becomes a pseudo symbol.
func (m *bpeText) mergesByScore(scores []float32, skip func(uint32) bool) {
	v := m.vocab
	m.charID = map[rune]uint32{}
	known := make([]uint64, (utf8.MaxRune+1)/64) // characters that are pieces
	for id := range uint32(v.size()) {
		b := v.bytes(id)
		if r, n := utf8.DecodeRune(b); n > 0 && n == len(b) && !(r == utf8.RuneError && n == 1) {
			known[r>>6] &^= 1 << (r & 63)
			if !skip(id) {
				known[r>>6] |= 1 << (r & 63)
			}
		}
	}
	// Characters that no piece stands for alone.
	for id := range uint32(v.size()) {
		if skip(id) {
			continue
		}
		b := v.bytes(id)
		if utf8.RuneCount(b) < 2 {
			continue
		}
		for i := 0; i < len(b); {
			r, n := utf8.DecodeRune(b[i:])
			c := b[i : i+n]
			is := known[r>>6]>>(r&63)&1 != 0
			if r == utf8.RuneError && n == 1 {
				p, ok := v.find(c)
				is = ok && !skip(p)
			}
			if !is {
				if _, ok := m.charID[r]; !ok {
					m.charID[r] = uint32(v.size() + len(m.pseudo))
					m.pseudo = append(m.pseudo, append([]byte(nil), c...))
					m.final = append(m.final, noID)
				}
			}
			i += n
		}
	}
	table := newSplitTable(v.size()+len(m.pseudo), func(id uint32) []byte {
		if int(id) < v.size() {
			return v.bytes(id)
		}
		return m.pseudo[int(id)-v.size()]
	})
	shadowed := table.fill(v.size() + len(m.pseudo))
	// Ranks: pieces by score, equal scores equal ranks.
	order := make([]uint32, 0, v.size())
	for id := range uint32(v.size()) {
		if !skip(id) && len(v.bytes(id)) > 0 {
			order = append(order, id)
		}
	}
	if byScore := func(a, b uint32) int { return cmp.Compare(scores[b], scores[a]) }; !slices.IsSortedFunc(order, byScore) {
		slices.SortStableFunc(order, byScore)
	}
	ranks := make([]uint32, len(order))
	for i := 1; i < len(order); i++ {
		if ranks[i] = ranks[i-1]; scores[order[i]] != scores[order[i-1]] {
			ranks[i] = uint32(i)
		}
	}
	const stride = 1 << 13
	parts := make([][]mergeRule, (len(order)+stride-1)/stride)
	_ = inParallel(len(parts), func(k int) error { // never fails
		var hashes []uint64
		parts[k] = make([]mergeRule, 0, 3*stride)
		for i := k * stride; i < min(len(order), (k+1)*stride); i++ {
			id := order[i]
			if shadowed[id] {
				continue
			}
			hashes = table.each(v.bytes(id), hashes, func(left, right uint32) {
				if !skips(left, v, skip) && !skips(right, v, skip) {
					parts[k] = append(parts[k], mergeRule{left, right, id, ranks[i]})
				}
			})
		}
		return nil
	})
	m.merges = slices.Concat(parts...)
}

// skips reports that a symbol is a piece to be skipped.
func skips(id uint32, v *vocab, skip func(uint32) bool) bool { return int(id) < v.size() && skip(id) }

// resolvePseudo replaces pseudo symbols that merging left over by what their characters are without a piece: bytes or unk.
func (m *bpeText) resolvePseudo(ids []uint32, from int) []uint32 {
	if len(m.pseudo) == 0 {
		return ids
	}
	size := uint32(m.vocab.size())
	if !slices.ContainsFunc(ids[from:], func(id uint32) bool { return id >= size }) {
		return ids
	}
	in := slices.Clone(ids[from:])
	out := ids[:from]
	unk := false // the last token is unk
	for _, id := range in {
		if id >= size {
			k := id - size
			if id = m.final[k]; id == noID {
				if b := m.pseudo[k]; m.fallback(b) {
					for _, c := range b {
						out = append(out, m.byteID[c])
					}
					unk = false
					continue
				}
				id = m.unk
			}
		}
		if id == noID || id == m.unk && unk && m.fuseUnk {
			continue
		}
		out = append(out, id)
		unk = id == m.unk
	}
	return out
}

// freeze gives every user-defined symbol a pseudo symbol of its own, which no merge knows.
func (m *bpeText) freeze(user *addedMatcher) {
	if user == nil {
		return
	}
	m.user, m.frozen = user, map[uint32]uint32{}
	for _, t := range user.tokens {
		m.frozen[t.id] = uint32(m.vocab.size() + len(m.pseudo))
		m.pseudo = append(m.pseudo, []byte(t.content))
		m.final = append(m.final, t.id)
	}
}

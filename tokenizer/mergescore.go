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
	sym := func(b []byte) (uint32, bool) {
		if id, ok := v.find(b); ok && !skip(id) {
			return id, true
		}
		if r, n := utf8.DecodeRune(b); n == len(b) && n > 0 {
			id, ok := m.charID[r]
			return id, ok
		}
		return 0, false
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
			if p, ok := v.find(c); !ok || skip(p) {
				if _, ok := m.charID[r]; !ok {
					m.charID[r] = uint32(v.size() + len(m.pseudo))
					m.pseudo = append(m.pseudo, append([]byte(nil), c...))
					m.final = append(m.final, noID)
				}
			}
			i += n
		}
	}
	// Ranks: pieces by score, equal scores equal ranks.
	order := make([]uint32, 0, v.size())
	for id := range uint32(v.size()) {
		if !skip(id) && len(v.bytes(id)) > 0 {
			order = append(order, id)
		}
	}
	slices.SortStableFunc(order, func(a, b uint32) int { return cmp.Compare(scores[b], scores[a]) })
	rank := uint32(0)
	for i, id := range order {
		if i > 0 && scores[id] != scores[order[i-1]] {
			rank = uint32(i)
		}
		b := v.bytes(id)
		if got, ok := v.find(b); !ok || got != id {
			continue
		}
		for k := 1; k < len(b); k++ {
			if !utf8.RuneStart(b[k]) {
				continue
			}
			left, ok := sym(b[:k])
			if !ok {
				continue
			}
			if right, ok := sym(b[k:]); ok {
				m.merges = append(m.merges, mergeRule{left, right, id, rank})
			}
		}
	}
}

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

package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// bpeText is a bpeModel with what it takes to cut a piece into initial symbols.
type bpeText struct {
	*bpeModel
	prefix string            // continuing_subword_prefix
	suffix string            // end_of_word_suffix
	pseudo [][]byte          // texts of the symbols from vocab.size() on
	charID map[rune]uint32   // characters that are symbols but no pieces
	user   *addedMatcher     // user-defined symbols, which do not merge
	frozen map[uint32]uint32 // their pseudo symbols by id
	final  []uint32          // of the pseudo symbols, the id of a user-defined one, noID of a character
}

// token is a piece's id and its stretch of the piece's text.
type token struct {
	id     uint32
	lo, hi int
}

// A model turns one piece of text into tokens.
type model interface {
	appendIDs(dst []uint32, piece []byte) []uint32
	appendTokens(dst []token, piece []byte) []token
}

// hfBPE is the BPE model of tokenizer.json.
type hfBPE struct {
	*bpeText
	engine *merger
}

// initial appends the symbols of a piece with the byte length of each.
func (m *bpeText) initial(dst []token, piece []byte) []token {
	if m.byteLevel {
		for i, c := range piece {
			if id := m.byteID[c]; id != noID {
				dst = append(dst, token{id, i, i + 1})
			}
		}
		return dst
	}
	var key []byte
	unk := -1 // index of an open run of unknown characters
	var held token
	flush := func() {
		if unk >= 0 {
			dst = append(dst, held)
			unk = -1
		}
	}
	for i := 0; i < len(piece); {
		if m.user != nil {
			if t, n := m.user.longest(piece[i:]); t != nil {
				flush()
				dst = append(dst, token{m.frozen[t.id], i, i + n})
				i += n
				continue
			}
		}
		r, n := utf8.DecodeRune(piece[i:])
		last := i+n == len(piece)
		s := piece[i : i+n]
		if i > 0 && m.prefix != "" || last && m.suffix != "" {
			key = key[:0]
			if i > 0 {
				key = append(key, m.prefix...)
			}
			key = append(key, s...)
			if last {
				key = append(key, m.suffix...)
			}
			s = key
		}
		if id, ok := m.vocab.find(s); ok {
			flush()
			dst = append(dst, token{id, i, i + n})
		} else if id, ok := m.pseudoChar(r); ok {
			flush()
			dst = append(dst, token{id, i, i + n})
		} else if m.fallback(s) {
			// The reference leaves an open unknown run open here; it comes out behind the bytes.
			for k, c := range s {
				dst = append(dst, token{m.byteID[c], i + k, i + k + 1})
			}
			if len(s) == n {
				i += n
				continue
			}
		} else if m.unk != noID {
			if unk >= 0 && m.fuseUnk {
				held.hi += n
			} else {
				flush()
				held, unk = token{m.unk, i, i + n}, i
			}
		}
		i += n
	}
	flush()
	return dst
}

func (m *bpeText) pseudoChar(r rune) (uint32, bool) {
	id, ok := m.charID[r]
	return id, ok
}

// fallback reports that s can be spelled by byte pieces.
func (m *bpeModel) fallback(s []byte) bool {
	if !m.byteFallback {
		return false
	}
	for _, c := range s {
		if m.byteID[c] == noID {
			return false
		}
	}
	return true
}

func (m *hfBPE) appendIDs(dst []uint32, piece []byte) []uint32 {
	if len(piece) == 0 {
		return dst
	}
	if m.byteLevel {
		return m.engine.appendBytes(dst, piece)
	}
	if m.ignoreMerges {
		if id, ok := m.vocab.find(piece); ok {
			return append(dst, id)
		}
	}
	var buf [64]token
	toks := m.initial(buf[:0], piece)
	syms := make([]uint32, len(toks))
	for i, t := range toks {
		syms[i] = t.id
	}
	start := len(dst)
	return m.resolvePseudo(m.engine.appendSymbols(dst, syms), start)
}

func (m *hfBPE) appendTokens(dst []token, piece []byte) []token {
	if len(piece) == 0 {
		return dst
	}
	if m.ignoreMerges {
		if id, ok := m.vocab.find(piece); ok {
			return append(dst, token{id, 0, len(piece)})
		}
	}
	toks := m.initial(nil, piece)
	syms := make([]uint32, len(toks))
	for i, t := range toks {
		syms[i] = t.id
	}
	if m.byteLevel && len(toks) < len(piece) {
		return m.spelledTokens(dst, piece, toks, m.engine.appendSymbols(nil, syms))
	}
	out := m.engine.appendSymbols(nil, syms)
	// Every symbol's length follows from its initial symbols; unknown and added lengths are summed.
	k := 0
	pos := 0
	for _, id := range out {
		n := m.spanLen(id, toks[k:])
		hi := pos
		for _, t := range toks[k : k+n] {
			hi += t.hi - t.lo
		}
		if int(id) < m.vocab.size() {
			dst = append(dst, token{id, pos, hi})
		} else {
			dst = m.spellPseudo(dst, id, pos, hi)
		}
		pos = hi
		k += n
	}
	return dst
}

// spelledTokens places tokens of a byte-level piece of which bytes were dropped. The reference adds up lengths in the alphabet's spelling,
// so that what follows a dropped byte is placed too early.
func (m *hfBPE) spelledTokens(dst []token, piece []byte, toks []token, out []uint32) []token {
	var at []int // byte of the piece that each byte of its spelling belongs to
	width := func(c byte) int { return utf8.RuneLen(byteRune[c]) }
	for i, c := range piece {
		for range width(c) {
			at = append(at, i)
		}
	}
	pos := 0
	for _, id := range out {
		n := m.spanLen(id, toks)
		lo := pos
		for _, t := range toks[:n] {
			pos += width(piece[t.lo])
		}
		toks = toks[n:]
		dst = append(dst, token{id, at[lo], at[pos-1] + 1})
	}
	return dst
}

// spanLen is how many of the initial symbols toks the symbol id was merged from.
func (m *bpeText) spanLen(id uint32, toks []token) int {
	if toks[0].id == id {
		return 1
	}
	want := m.symbolLen(id)
	have := 0
	for i, t := range toks {
		have += m.symbolLen(t.id)
		if i > 0 {
			have -= len(m.prefix)
		}
		if have >= want {
			return i + 1
		}
	}
	return len(toks)
}

// spellPseudo writes a symbol that is no piece at lo:hi as its bytes or unk.
func (m *bpeText) spellPseudo(dst []token, id uint32, lo, hi int) []token {
	k := int(id) - m.vocab.size()
	b := m.pseudo[k]
	switch {
	case m.final[k] != noID:
		dst = append(dst, token{m.final[k], lo, hi})
	case m.fallback(b):
		for i, c := range b {
			dst = append(dst, token{m.byteID[c], lo + i, lo + i + 1})
		}
	case m.unk == noID:
	case m.fuseUnk && len(dst) > 0 && dst[len(dst)-1].id == m.unk && dst[len(dst)-1].hi == lo:
		dst[len(dst)-1].hi = hi
	default:
		dst = append(dst, token{m.unk, lo, hi})
	}
	return dst
}

// symbolLen is the length of a symbol's text in bytes.
func (m *bpeText) symbolLen(id uint32) int {
	if int(id) < m.vocab.size() {
		return len(m.vocab.bytes(id))
	}
	return len(m.pseudo[int(id)-m.vocab.size()])
}

// finish fills what follows from the vocabulary and the merges.
func (m *bpeText) finish() {
	for i := range m.byteID {
		m.byteID[i] = noID
		if m.byteLevel {
			if id, ok := m.vocab.find([]byte{byte(i)}); ok {
				m.byteID[i] = id
			}
		} else if id, ok := m.vocab.find(fmt.Appendf(nil, "<0x%02X>", i)); ok {
			m.byteID[i] = id
		}
	}
	m.symbols = m.vocab.size() + len(m.pseudo)
}

// dropDuplicates removes all but the last merge of every pair; merges stay in rank order.
func (m *bpeModel) dropDuplicates() {
	bits := 4
	for 1<<bits < 2*len(m.merges) {
		bits++
	}
	table := make([]uint64, 1<<bits) // pair + 1; an open-addressed set
	dup := map[uint64]bool{}
	for _, r := range m.merges {
		k := uint64(r.a)<<32 | uint64(r.b)
		i := k * 0x9e3779b97f4a7c15 >> (64 - bits)
		for table[i] != 0 && table[i] != k+1 {
			i = (i + 1) & (1<<bits - 1)
		}
		if table[i] != 0 {
			dup[k] = true
		}
		table[i] = k + 1
	}
	if len(dup) == 0 {
		return
	}
	last := map[uint64]int{}
	for i, r := range m.merges {
		if k := uint64(r.a)<<32 | uint64(r.b); dup[k] {
			last[k] = i
		}
	}
	out := m.merges[:0]
	for i, r := range m.merges {
		if k := uint64(r.a)<<32 | uint64(r.b); !dup[k] || last[k] == i {
			out = append(out, r)
		}
	}
	m.merges = out
}

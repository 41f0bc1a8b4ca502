package tokenizer

import "unicode/utf8"

// Counting up to a limit reads a prefix of the text: chunks that double in size, cut where all stages agree (see
// parallel_parts.go), each counted by itself.

const (
	countMin    = 1 << 10 // bytes of the first chunk
	countSearch = 1 << 20 // bytes in which a place to cut is looked for; beyond, all that is left is one chunk
)

// cuttable reports that all stages can be cut: of tokens that are looked for behind normalisation apart knows nothing,
// nor of those that must be single words.
func (p *fastPath) cuttable(t *Tokenizer) bool {
	return !p.normalize && (t.before == nil || !t.before.single) && (t.after == nil || !t.after.single && !p.prefix)
}

// countUpTo counts the ids of any bytes, and stops above a limit. read is the number of bytes that it went through.
func (p *fastPath) countUpTo(t *Tokenizer, text []byte, limit int) (ids, read int) {
	size := len(text)
	if len(text)/8 > limit { // else most of the text is wanted
		size = max(countMin, 4*limit)
	}
	for from := 0; from < len(text) && ids <= limit; size *= 2 {
		to := p.cutBehind(t, text, from, size)
		chunk := validUTF8(text[from:to])
		ids += p.count(t, nstring{text: chunk, hi: len(chunk)}, from > 0)
		from, read = to, to
	}
	return ids, read
}

// cutBehind gives a place at least size bytes behind from at which a text may be cut, or its end. The text need not be
// valid: an invalid part ends before every first byte of a character.
func (p *fastPath) cutBehind(t *Tokenizer, text []byte, from, size int) int {
	if size >= len(text)-from {
		return len(text)
	}
	for i, end := from+size, min(from+size+countSearch, len(text)); i < end; i++ {
		if !utf8.RuneStart(text[i]) || t.after != nil && t.after.beside(text[i-1], text[i]) {
			continue
		}
		if _, n := utf8.DecodeRune(text[i:]); n == 1 && text[i] >= utf8.RuneSelf {
			continue
		}
		if _, n := utf8.DecodeLastRune(text[:i]); n == 1 && text[i-1] >= utf8.RuneSelf {
			continue
		}
		if p.apart(t.before, text, i) {
			return i
		}
	}
	return len(text)
}

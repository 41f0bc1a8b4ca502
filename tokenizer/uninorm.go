package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// Hangul syllables (Unicode §3.12).
const (
	hangulS, hangulL, hangulV, hangulT     = 0xac00, 0x1100, 0x1161, 0x11a7
	hangulLs, hangulVs, hangulTs, hangulSs = 19, 21, 28, 19 * 21 * 28
)

// change is a character of a rewritten text with its relation to the old text: 0 replaces one character, above 0 is
// inserted, -n replaces one character and removes n more.
type change struct {
	r rune
	d int
}

type markChange struct {
	change
	ccc uint8
}

// decompose appends the canonical or compatible decomposition of text, in canonical order.
func decompose(dst []change, text []byte, compatible bool) []change {
	t := uni()
	var run []markChange // characters since the last starter, in text order
	flush := func() {
		slices.SortStableFunc(run, func(a, b markChange) int { return int(a.ccc) - int(b.ccc) })
		for _, m := range run {
			dst = append(dst, m.change)
		}
		run = run[:0]
	}
	push := func(r rune, first bool) {
		ccc := t.rec(r).ccc
		if ccc == 0 {
			if len(run) > 0 {
				flush()
			}
		}
		d := 1
		if first {
			d = 0
		}
		if ccc == 0 && len(run) == 0 {
			dst = append(dst, change{r, d})
			return
		}
		run = append(run, markChange{change{r, d}, ccc})
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		if r < 0xc0 && (!compatible || r < 0x80) {
			push(r, true)
			continue
		}
		if r >= hangulS && r < hangulS+hangulSs {
			s := r - hangulS
			push(hangulL+s/(hangulVs*hangulTs), true)
			push(hangulV+s%(hangulVs*hangulTs)/hangulTs, false)
			if f := s % hangulTs; f != 0 {
				push(hangulT+f, false)
			}
			continue
		}
		d, ok := []rune(nil), false
		if compatible {
			d, ok = t.compat[r]
		}
		if !ok {
			d, ok = t.canon[r]
		}
		if !ok {
			push(r, true)
			continue
		}
		for j, c := range d {
			push(c, j == 0)
		}
	}
	if len(run) > 0 {
		flush()
	}
	return dst
}

// composePair is the primary composite of two characters.
func composePair(t *uniTables, a, b rune) (rune, bool) {
	if a >= hangulL && a < hangulL+hangulLs && b >= hangulV && b < hangulV+hangulVs {
		return hangulS + ((a-hangulL)*hangulVs+(b-hangulV))*hangulTs, true
	}
	if a >= hangulS && a < hangulS+hangulSs && (a-hangulS)%hangulTs == 0 && b > hangulT && b < hangulT+hangulTs {
		return a + b - hangulT, true
	}
	r, ok := t.compose[[2]rune{a, b}]
	return r, ok
}

// compose recomposes a decomposed sequence (Unicode §3.11) in place.
func compose(in []change) []change {
	t := uni()
	out := in[:0]
	starter, last := -1, -1 // index in out of the composing starter; combining class of the last mark kept after it
	for _, c := range in {
		ccc := int(t.rec(c.r).ccc)
		if starter >= 0 && last < ccc || starter >= 0 && last < 0 {
			if r, ok := composePair(t, out[starter].r, c.r); ok {
				out[starter].r = r
				out[starter].d += c.d - 1
				continue
			}
		}
		if ccc == 0 {
			starter, last = len(out), -1
		} else {
			last = ccc
		}
		out = append(out, c)
	}
	return out
}

// appendNFC appends text, valid UTF-8, in Unicode normalisation form C as HF tokenizers computes it.
func appendNFC(dst, text []byte) []byte {
	for len(text) > 0 {
		n := nfcInertPrefix(text)
		dst = append(dst, text[:n]...)
		text = text[n:]
		if len(text) == 0 {
			break
		}
		// A cluster that may change reaches to the next inert character; the one before it takes part.
		if _, k := utf8.DecodeLastRune(dst); n > 0 {
			text2 := append(append([]byte(nil), dst[len(dst)-k:]...), text[:nfcActivePrefix(text)]...)
			text = text[len(text2)-k:]
			dst = dst[:len(dst)-k]
			dst = appendChanges(dst, compose(decompose(nil, text2, false)))
			continue
		}
		n = nfcActivePrefix(text)
		dst = appendChanges(dst, compose(decompose(nil, text[:n], false)))
		text = text[n:]
	}
	return dst
}

func appendChanges(dst []byte, cs []change) []byte {
	for _, c := range cs {
		dst = utf8.AppendRune(dst, c.r)
	}
	return dst
}

// nfcInertPrefix is the length of the longest prefix of characters that NFC leaves alone.
func nfcInertPrefix(text []byte) int {
	for i := 0; i < len(text); {
		if c := text[i]; c < 0xcc { // below U+0300
			if c < 0x80 {
				i++
			} else {
				i += 2
			}
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if !isNFCInert(r) {
			return i
		}
		i += n
	}
	return len(text)
}

// nfcActivePrefix is the length of the prefix up to the next inert character.
func nfcActivePrefix(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if isNFCInert(r) {
			return i
		}
		i += n
	}
	return len(text)
}

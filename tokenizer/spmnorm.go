package tokenizer

import (
	"bytes"
	"unicode/utf8"
)

// normSPM is SentencePiece's own normaliser: replacements by the longest prefix, user-defined symbols kept, spaces squeezed, a dummy
// prefix, "▁" for spaces (normalizer.cc of google/sentencepiece).
type normSPM struct {
	charsmap *normCharsmap // nil = none
	matcher  *addedMatcher // user-defined symbols
	user     []addedToken
	prefix   bool // add_dummy_prefix
	squeeze  bool // remove_extra_whitespaces
}

// next normalises what the text begins with: n bytes become s.
func (m *normSPM) next(text []byte) (s string, n int) {
	if m.matcher != nil {
		if t, n := m.matcher.longest(text); t != nil {
			return t.content, n
		}
	}
	if m.charsmap != nil {
		if s, n := m.charsmap.longest(text); n > 0 {
			return s, n
		}
	}
	_, n = utf8.DecodeRune(text)
	return string(text[:n]), n
}

func (m *normSPM) normalize(n *nstring) {
	at := 0
	if m.squeeze {
		for at < len(n.text) {
			s, k := m.next(n.text[at:])
			if s != " " {
				break
			}
			at += k
		}
	}
	w := n.rewrite()
	put := func(s string, from, to int) {
		w.text = append(w.text, s...)
		if n.track {
			lo, hi := n.original(from, to)
			for range len(s) {
				w.align = append(w.align, span{uint32(lo), uint32(hi)})
			}
		}
	}
	if at < len(n.text) {
		if m.prefix {
			put("▁", at, at)
		}
		space := m.squeeze
		for at < len(n.text) {
			s, k := m.next(n.text[at:])
			for space && len(s) > 0 && s[0] == ' ' {
				s = s[1:]
			}
			for i := 0; i < len(s); {
				if s[i] == ' ' {
					put("▁", at, at+k)
					i++
					continue
				}
				j := i
				for j < len(s) && s[j] != ' ' {
					j++
				}
				put(s[i:j], at, at+k)
				i = j
			}
			if s != "" {
				space = s[len(s)-1] == ' '
			}
			space = space && m.squeeze
			at += k
		}
		for m.squeeze && bytes.HasSuffix(w.text, []byte("▁")) {
			w.text = w.text[:len(w.text)-len("▁")]
			w.align = w.align[:min(len(w.align), len(w.text))]
		}
	}
	w.done()
}

// unigram installs a Unigram model as SentencePiece scores it: user-defined symbols are worth a tenth for each byte but one.
func (m *spmModel) unigram(t *Tokenizer, v *vocab, unk uint32, skip func(uint32) bool) error {
	scores := make([]float64, len(m.pieces))
	lo, any := float32(0), false
	for _, p := range m.pieces {
		if p.kind == spmNormal && (!any || p.score < lo) {
			lo, any = p.score, true
		}
	}
	var entries []trieEntry
	for i, p := range m.pieces {
		scores[i] = float64(p.score)
		if p.kind == spmUserDefined {
			scores[i] = float64(float32(0.1*float64(len(p.text)) - 0.1))
		}
		if !skip(uint32(i)) && p.kind != spmUnused && p.text != "" {
			entries = append(entries, trieEntry{p.text, uint32(i)})
		}
	}
	if err := t.setUnigram(v, scores, unk, m.byteFallback); err != nil {
		return err
	}
	u := t.model.(*unigram)
	u.trie = newPieceTrie(entries)
	u.plainUnk = true
	u.unkScore = float64(lo - unkPenalty)
	return nil
}

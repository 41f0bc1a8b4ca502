package tokenizer

import (
	"bytes"
	"unicode/utf8"
)

// A normalizer rewrites a stretch of text before it is cut into pieces.
type normalizer interface {
	normalize(n *nstring)
}

type (
	normSequence []normalizer
	normForm     struct{ compatible, compose bool }
	normLower    struct{}
	normNmt      struct{}
	normAccents  struct{}
	normBytes    struct{}
	normStrip    struct{ left, right bool }
	normPrepend  struct{ text string }
	normReplace  struct {
		re            *regex
		text, content string // text is set for a literal pattern
	}
	normBert struct{ clean, chinese, accents, lower bool }
)

func (s normSequence) normalize(n *nstring) {
	for _, x := range s {
		x.normalize(n)
	}
}

func (f normForm) normalize(n *nstring) {
	if isASCII(n.text) {
		return
	}
	if f.compose && !f.compatible {
		if nfcInertPrefix(n.text) == len(n.text) {
			return
		}
		if !n.track {
			n.text = appendNFC(make([]byte, 0, len(n.text)+16), n.text)
			return
		}
	}
	cs := decompose(nil, n.text, f.compatible)
	if f.compose {
		cs = compose(cs)
	}
	n.apply(cs)
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (normLower) normalize(n *nstring) {
	t := uni()
	w := n.rewrite()
	for _, r := range string(n.text) {
		if r < utf8.RuneSelf {
			if 'A' <= r && r <= 'Z' {
				r |= 0x20
			}
			w.emit(r, 0)
			continue
		}
		l, ok := t.lower[r]
		if !ok {
			w.emit(r, 0)
			continue
		}
		for i, c := range l {
			w.emit(c, min(i, 1))
		}
	}
	w.done()
}

// normNmt is SentencePiece's "nmt" cleaning.
func (normNmt) normalize(n *nstring) {
	n.filter(func(r rune) bool {
		return !(r >= 1 && r <= 8 || r == 0xb || r >= 0xe && r <= 0x1f || r == 0x7f || r == 0x8f || r == 0x9f)
	})
	n.mapRunes(func(r rune) rune {
		switch {
		case r == 9, r == 10, r == 12, r == 13, r == 0x1680, r >= 0x200b && r <= 0x200f, r == 0x2028, r == 0x2029, r == 0x2581,
			r == 0xfeff, r == 0xfffd:
			return ' '
		}
		return r
	})
}

func (normAccents) normalize(n *nstring) {
	t := uni()
	n.filter(func(r rune) bool { return !t.has(r, ufCombining) })
}

func (normBytes) normalize(n *nstring) {
	if len(n.text) == 0 {
		return
	}
	w := n.rewrite()
	for i, c := range n.text {
		d := 1
		if utf8.RuneStart(c) {
			d = 0
		}
		_ = i
		w.emit(byteRune[c], d)
	}
	w.done()
}

func (s normStrip) normalize(n *nstring)   { n.strip(s.left, s.right) }
func (p normPrepend) normalize(n *nstring) { n.prepend(p.text) }

func (r normReplace) normalize(n *nstring) {
	if r.text != "" && !n.track {
		if bytes.Contains(n.text, []byte(r.text)) {
			n.text = bytes.ReplaceAll(n.text, []byte(r.text), []byte(r.content))
		}
		return
	}
	n.replaceAll(r.re, r.content)
}

func (b normBert) normalize(n *nstring) {
	t := uni()
	if b.clean {
		n.filter(func(r rune) bool { return !t.has(r, ufClean) })
		n.mapRunes(func(r rune) rune {
			if t.has(r, ufToSpace) {
				return ' '
			}
			return r
		})
	}
	if b.chinese {
		w := n.rewrite()
		for _, r := range string(n.text) {
			if isChinese(r) {
				w.emit(' ', 0)
				w.emit(r, 1)
				w.emit(' ', 1)
			} else {
				w.emit(r, 0)
			}
		}
		w.done()
	}
	if b.accents {
		normForm{}.normalize(n)
		n.filter(func(r rune) bool { return !t.has(r, ufNonspacing) })
	}
	if b.lower {
		normLower{}.normalize(n)
	}
}

func isChinese(r rune) bool {
	return r >= 0x4e00 && r <= 0x9fff || r >= 0x3400 && r <= 0x4dbf || r >= 0x20000 && r <= 0x2a6df || r >= 0x2a700 && r <= 0x2b73f ||
		r >= 0x2b740 && r <= 0x2b81f || r >= 0x2b920 && r <= 0x2ceaf || r >= 0xf900 && r <= 0xfaff || r >= 0x2f800 && r <= 0x2fa1f
}

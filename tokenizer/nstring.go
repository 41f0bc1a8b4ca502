package tokenizer

import (
	"unicode/utf8"
)

// span is a stretch of the original text in bytes.
type span struct{ lo, hi uint32 }

// nstring is a text on its way through normalisation, with the relation of every byte to the original when offsets are wanted.
// With track set and align nil, text is still original[lo:hi].
type nstring struct {
	text   []byte
	align  []span // per byte of text
	lo, hi int    // the original stretch
	track  bool
}

// spanAt is the original stretch of the character that holds byte i.
func (n *nstring) spanAt(i int) span {
	if n.align != nil {
		return n.align[i]
	}
	lo, hi := i, i+1
	for lo > 0 && !utf8.RuneStart(n.text[lo]) {
		lo--
	}
	for hi < len(n.text) && !utf8.RuneStart(n.text[hi]) {
		hi++
	}
	return span{uint32(n.lo + lo), uint32(n.lo + hi)}
}

// original gives the original stretch of text[i:j]; the reference maps an empty stretch to itself.
func (n *nstring) original(i, j int) (lo, hi int) {
	if i >= j || len(n.text) == 0 {
		return n.lo + i, n.lo + j
	}
	return int(n.spanAt(i).lo), int(n.spanAt(j - 1).hi)
}

// slice is the part text[i:j].
func (n *nstring) slice(i, j int) nstring {
	s := nstring{text: n.text[i:j:j], track: n.track}
	if n.track {
		if n.align != nil {
			s.align = n.align[i:j:j]
		}
		s.lo, s.hi = n.original(i, j)
	}
	return s
}

// rewrite builds a new text from an old one, one character after another.
type rewrite struct {
	n     *nstring
	at    int // next byte of the old text
	text  []byte
	align []span
}

func (n *nstring) rewrite() rewrite {
	w := rewrite{n: n, text: make([]byte, 0, len(n.text)+len(n.text)/8+8)}
	if n.track {
		w.align = make([]span, 0, len(n.text))
	}
	return w
}

// skip drops the next k characters of the old text.
func (w *rewrite) skip(k int) {
	for ; k > 0 && w.at < len(w.n.text); k-- {
		_, n := utf8.DecodeRune(w.n.text[w.at:])
		w.at += n
	}
}

// copy takes text[w.at:to] over as it is.
func (w *rewrite) copy(to int) {
	w.text = append(w.text, w.n.text[w.at:to]...)
	if w.n.track {
		for i := w.at; i < to; i++ {
			w.align = append(w.align, w.n.spanAt(i))
		}
	}
	w.at = to
}

// emit writes one character; see change.
func (w *rewrite) emit(r rune, d int) {
	k := len(w.text)
	w.text = utf8.AppendRune(w.text, r)
	if w.n.track {
		s := span{uint32(w.n.lo), uint32(w.n.lo)}
		switch {
		case d > 0 && w.at > 0:
			s = w.n.spanAt(w.at - 1)
		case d <= 0 && w.at < len(w.n.text):
			s = w.n.spanAt(w.at)
		}
		for range len(w.text) - k {
			w.align = append(w.align, s)
		}
	}
	if d <= 0 {
		w.skip(1 - d)
	}
}

func (w *rewrite) done() {
	w.n.text, w.n.align = w.text, w.align
	if w.n.track && w.align == nil {
		w.n.align = []span{}
	}
}

// apply replaces the text by the changes.
func (n *nstring) apply(cs []change) {
	w := n.rewrite()
	for _, c := range cs {
		w.emit(c.r, c.d)
	}
	w.done()
}

// filter keeps the characters that keep accepts.
func (n *nstring) filter(keep func(rune) bool) {
	w := n.rewrite()
	removed, started := 0, false
	var last rune
	for _, r := range string(n.text) {
		if !keep(r) {
			removed++
			continue
		}
		if started {
			w.emit(last, -removed)
		} else {
			w.skip(removed)
		}
		last, started, removed = r, true, 0
	}
	if started {
		w.emit(last, -removed)
	}
	w.done()
}

// replace rewrites the characters one by one.
func (n *nstring) mapRunes(f func(rune) rune) {
	w := n.rewrite()
	for _, r := range string(n.text) {
		w.emit(f(r), 0)
	}
	w.done()
}

// prepend puts s before a text that is not empty.
func (n *nstring) prepend(s string) {
	if len(n.text) == 0 {
		return
	}
	w := n.rewrite()
	first, k := utf8.DecodeRune(n.text)
	for i, r := range s {
		if i == 0 {
			w.emit(r, 0)
		} else {
			w.emit(r, 1)
		}
	}
	if s == "" {
		// The reference still rewrites the first character as an inserted one.
		w.emit(first, 1)
		w.at = k
	} else {
		w.emit(first, 1)
	}
	w.copy(len(n.text))
	w.done()
}

// replaceAll replaces every match by content, whose characters take the place of the last character replaced.
func (n *nstring) replaceAll(re *regex, content string) {
	w := n.rewrite()
	re.findAll(n.text, func(i, j int, match bool) bool {
		if !match {
			w.copy(j)
			return true
		}
		w.at = j
		for _, r := range content {
			w.emit(r, 1)
		}
		return true
	})
	w.done()
}

// strip removes white space at the ends.
func (n *nstring) strip(left, right bool) {
	t := uni()
	i, j := 0, len(n.text)
	for left && i < j {
		r, k := utf8.DecodeRune(n.text[i:])
		if !t.has(r, ufWhite) {
			break
		}
		i += k
	}
	for right && i < j {
		r, k := utf8.DecodeLastRune(n.text[i:j])
		if !t.has(r, ufWhite) {
			break
		}
		j -= k
	}
	if i == 0 && j == len(n.text) {
		return
	}
	w := n.rewrite()
	w.at = i
	w.copy(j)
	w.done()
}

package tokenizer

import (
	"unicode/utf8"
)

// behavior says what becomes of the matches of a split.
type behavior uint8

const (
	behRemoved behavior = iota
	behIsolated
	behMergedPrev
	behMergedNext
	behContiguous
)

var behaviorNames = map[string]behavior{"Removed": behRemoved, "Isolated": behIsolated, "MergedWithPrevious": behMergedPrev,
	"MergedWithNext": behMergedNext, "Contiguous": behContiguous}

// A preTokenizer cuts a stretch into pieces, which it passes to yield in order, until that returns false. Pieces may be empty; the caller
// drops them.
type preTokenizer interface {
	split(n nstring, yield func(nstring) bool) bool
}

// A finder reports every stretch of a text in order, matches and what is between them, until f returns false.
type finder func(text []byte, f func(i, j int, match bool) bool)

// findRunes makes a finder whose matches are single characters.
func findRunes(is func(rune) bool) finder {
	return func(text []byte, f func(i, j int, match bool) bool) {
		if len(text) == 0 {
			f(0, 0, false)
		}
		last := 0
		for i := 0; i < len(text); {
			r, k := utf8.DecodeRune(text[i:])
			if is(r) {
				if last < i && !f(last, i, false) || !f(i, i+k, true) {
					return
				}
				last = i + k
			}
			i += k
		}
		if last < len(text) {
			f(last, len(text), false)
		}
	}
}

// cut applies a behaviour to what find reports. It returns false when yield did.
func cut(n nstring, find finder, b behavior, invert bool, yield func(nstring) bool) bool {
	more := true
	out := func(i, j int) bool {
		more = more && yield(n.slice(i, j))
		return more
	}
	switch b {
	case behIsolated:
		find(n.text, func(i, j int, _ bool) bool { return out(i, j) })
	case behRemoved:
		find(n.text, func(i, j int, m bool) bool { return m != invert || out(i, j) })
	case behContiguous, behMergedPrev:
		lo, hi, open, prev := 0, 0, false, false
		find(n.text, func(i, j int, m bool) bool {
			m = m != invert
			join := m == prev
			if b == behMergedPrev {
				join = m && !prev
			}
			prev = m
			if join && open {
				hi = j
				return true
			}
			ok := !open || out(lo, hi)
			lo, hi, open = i, j, true
			return ok
		})
		if open && more {
			out(lo, hi)
		}
	case behMergedNext:
		// Of neighbouring matches the last one joins what is behind it.
		type stretch struct{ i, j int }
		var run []stretch
		flush := func(i, j int) bool { // i, j: the stretch behind the run, empty at the end
			for k, m := range run {
				if k == len(run)-1 && i < j {
					i = m.i
				} else if !out(m.i, m.j) {
					return false
				}
			}
			run = run[:0]
			return i == j || out(i, j)
		}
		find(n.text, func(i, j int, m bool) bool {
			if m != invert {
				run = append(run, stretch{i, j})
				return true
			}
			return flush(i, j)
		})
		if more && len(run) > 0 {
			flush(0, 0)
		}
	}
	return more
}

type (
	preSequence []preTokenizer
	preSplit    struct {
		find     finder
		pattern  string // regex pattern, "" for a literal
		literal  string
		behavior behavior
		invert   bool
	}
	preByteLevel struct {
		prefixSpace, regex bool
		find               finder
		raw                bool // the model works on bytes: do not spell them in the alphabet
	}
	preMetaspace struct {
		replacement string
		space       *regex
		find        finder
		scheme      prependScheme
		split_      bool
	}
	preFixed   struct{ length int }
	preScripts struct{}
)

type prependScheme uint8

const (
	prependAlways prependScheme = iota
	prependFirst
	prependNever
)

func (s preSequence) split(n nstring, yield func(nstring) bool) bool {
	if len(s) == 0 {
		return yield(n)
	}
	return s[0].split(n, func(p nstring) bool {
		if len(p.text) == 0 {
			return true
		}
		if len(s) == 1 {
			return yield(p)
		}
		return s[1:].split(p, yield)
	})
}

func (s *preSplit) split(n nstring, yield func(nstring) bool) bool {
	return cut(n, s.find, s.behavior, s.invert, yield)
}

// gpt2Pattern is the pattern of the ByteLevel pre-tokenizer.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func (b *preByteLevel) split(n nstring, yield func(nstring) bool) bool {
	if b.prefixSpace && (len(n.text) == 0 || n.text[0] != ' ') {
		n.prepend(" ")
	}
	out := func(p nstring) bool {
		if !b.raw {
			normBytes{}.normalize(&p)
		}
		return yield(p)
	}
	if b.regex {
		return cut(n, b.find, behIsolated, false, out)
	}
	return out(n)
}

func (m *preMetaspace) split(n nstring, yield func(nstring) bool) bool {
	n.replaceAll(m.space, m.replacement)
	if m.scheme == prependAlways || m.scheme == prependFirst && n.lo == 0 {
		if len(n.text) < len(m.replacement) || string(n.text[:len(m.replacement)]) != m.replacement {
			n.prepend(m.replacement)
		}
	}
	if m.split_ {
		return cut(n, m.find, behMergedNext, false, yield)
	}
	return yield(n)
}

func (p preFixed) split(n nstring, yield func(nstring) bool) bool {
	from, k := 0, 0
	for i := 0; i < len(n.text); {
		_, w := utf8.DecodeRune(n.text[i:])
		i += w
		if k++; k == p.length || i == len(n.text) {
			if !yield(n.slice(from, i)) {
				return false
			}
			from, k = i, 0
		}
	}
	return true
}

func (preScripts) split(n nstring, yield func(nstring) bool) bool {
	t := uni()
	from, last := -1, uint8(0) // what stands before the first character of a script is dropped
	for i := 0; i < len(n.text); {
		r, w := utf8.DecodeRune(n.text[i:])
		if g := t.rec(r).group; g != 0 {
			if g != last {
				if from >= 0 && !yield(n.slice(from, i)) {
					return false
				}
				from = i
			}
			last = g
		}
		i += w
	}
	return from < 0 || yield(n.slice(from, len(n.text)))
}

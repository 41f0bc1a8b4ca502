package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
)

// Appender encodes a text that grows, such as a chat, turn by turn: after every Append its ids are those of the whole text. What stands
// before the last settled special token is not encoded again. It is not safe for concurrent use.
type Appender struct {
	t        *Tokenizer
	mode     SpecialMode
	text     []byte
	plain    []Span
	ids      []uint32
	barriers []barrier
	marks    []Mark // those that Undo takes
	given    uint64
}

// barrier is a place behind a special token, from which encoding does not depend on what stands before.
type barrier struct {
	text int // bytes before
	ids  int // ids before
	need int // bytes of text that settle it
}

// Mark is a state of an Appender to which it can go back.
type Mark struct {
	of          *Appender
	serial      uint64
	text, plain int
}

// NewAppender begins an empty text. mode must be Recognise or AsText.
func (t *Tokenizer) NewAppender(mode SpecialMode) (*Appender, error) {
	if mode != Recognise && mode != AsText {
		return nil, fmt.Errorf("%w: an Appender recognises special tokens or takes them as text", ErrOptions)
	}
	return &Appender{t: t, mode: mode}, nil
}

// Append adds text.
func (a *Appender) Append(text string) {
	a.text = append(a.text, text...)
	a.encode()
}

// AppendPlain adds text in which special tokens are text, such as the content of a message.
func (a *Appender) AppendPlain(text string) {
	if text != "" {
		a.plain = append(a.plain, Span{len(a.text), len(a.text) + len(text)})
	}
	a.Append(text)
}

// IDs are the ids of the text so far, valid until the next call.
func (a *Appender) IDs() []uint32 { return a.ids }

// Len is the length of the text in bytes.
func (a *Appender) Len() int { return len(a.text) }

// Mark notes the present state.
func (a *Appender) Mark() Mark {
	if n := len(a.marks); n > 0 && a.marks[n-1].text == len(a.text) && a.marks[n-1].plain == len(a.plain) {
		return a.marks[n-1]
	}
	a.given++
	m := Mark{a, a.given, len(a.text), len(a.plain)}
	a.marks = append(a.marks, m)
	return m
}

// Undo goes back to a mark, which stays good; those given later are void. A mark that is void or of another Appender is an error.
func (a *Appender) Undo(m Mark) error {
	k, found := slices.BinarySearchFunc(a.marks, m.serial, func(m Mark, serial uint64) int { return cmp.Compare(m.serial, serial) })
	if !found || m.of != a {
		return fmt.Errorf("%w: Undo to a mark that is void or of another Appender", ErrOptions)
	}
	a.marks = a.marks[:k+1]
	if m.text == len(a.text) && m.plain == len(a.plain) {
		return nil
	}
	a.text, a.plain = a.text[:m.text], a.plain[:m.plain]
	for n := len(a.barriers); n > 0 && a.barriers[n-1].need > m.text; n-- {
		a.barriers = a.barriers[:n-1]
	}
	a.encode()
	return nil
}

// encode brings ids up to date from the last barrier on.
func (a *Appender) encode() {
	t := a.t
	var b barrier
	if n := len(a.barriers); n > 0 {
		b = a.barriers[n-1]
	}
	a.ids = a.ids[:b.ids]
	rest := a.text[b.text:]
	n := traced(string(rest))
	shift(&n, b.text)
	o := &searchOptions{mode: a.mode, plain: a.plain}
	if !t.settles() {
		a.ids, _ = t.appendIDs(a.ids, n, o) // fails for Refuse alone
		return
	}
	n.track = true
	// Cut at the tokens of the raw text, so that each section goes the usual way.
	_ = t.before.split(&n, o, func(i, j int) bool {
		s := n.slice(i, j)
		a.ids, _ = t.betweenTokens(a.ids, s, o)
		return true
	}, func(k *addedToken, i, j int) bool {
		a.ids = append(a.ids, k.id)
		lo, hi := n.original(i, j)
		if need := lo + t.before.maxLen; !k.rstrip && !k.lstrip && need <= len(a.text) {
			a.barriers = append(a.barriers, barrier{hi, len(a.ids), need})
		}
		return true
	})
}

// settles reports that tokens of the raw text cut it into parts that do not depend on each other.
func (t *Tokenizer) settles() bool { return t.before != nil && !t.before.single }

// shift moves the original of n by d bytes.
func shift(n *nstring, d int) {
	n.lo += d
	n.hi += d
	for i := range n.align {
		n.align[i].lo += uint32(d)
		n.align[i].hi += uint32(d)
	}
}

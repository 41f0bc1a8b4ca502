package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
	"unsafe"
)

// ErrOptions is wrapped by errors about Options that cannot be met.
var ErrOptions = errors.New("tokenizer: invalid options")

// EncodeWith gives the ids of a text as o says. It fails for Special: Refuse, with *SpecialTokenError, and for options that cannot be
// met, with ErrOptions. Overflow and offsets are what EncodeFull is for.
func (t *Tokenizer) EncodeWith(text string, o Options) ([]uint32, error) {
	return t.AppendEncodeWith(nil, unsafe.Slice(unsafe.StringData(text), len(text)), o)
}

// AppendEncodeWith appends what EncodeWith gives for text, which it does not keep.
func (t *Tokenizer) AppendEncodeWith(dst []uint32, text []byte, o Options) ([]uint32, error) {
	if o.Truncate != nil || o.Pad != nil {
		e, err := t.encodeFull([]string{string(text)}, o)
		if err != nil {
			return dst, err
		}
		return append(dst, e.IDs...), nil
	}
	s, err := o.search(len(text))
	if err != nil {
		return dst, err
	}
	start, have := time.Now(), len(dst)
	defer func() { t.stats.add(len(text), len(dst)-have, start) }()
	for _, it := range t.post.items(false) {
		if it.seq < 0 {
			if o.AddSpecial {
				dst = append(dst, it.ids...)
			}
			continue
		}
		if dst, err = t.appendText(dst, text, s); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// search checks what concerns special tokens.
func (o *Options) search(n int) (*searchOptions, error) {
	if o.Special > AsText {
		return nil, fmt.Errorf("%w: Special is %d", ErrOptions, o.Special)
	}
	last := 0
	for i, s := range o.Plain {
		if s.Start < last || s.End < s.Start || s.End > n {
			return nil, fmt.Errorf("%w: Plain[%d] is %d to %d in a text of %d bytes", ErrOptions, i, s.Start, s.End, n)
		}
		last = s.End
	}
	if len(o.Plain) == 0 {
		return &searchModes[o.Special], nil
	}
	return &searchOptions{mode: o.Special, plain: o.Plain}, nil
}

// fullToken is a token with its place.
type fullToken struct {
	id   uint32
	span Span // in bytes of the original
	word int32
	text string // of an added token or an unknown one of Unigram: what it matched, white space included
}

// tokens runs the pipeline with offsets.
func (t *Tokenizer) tokens(text string, o *searchOptions) ([]fullToken, error) {
	n := traced(text)
	var out []fullToken
	var buf []token
	word := int32(0)
	unigram, _ := t.model.(*unigram)
	err := t.walk(n, o, func(id uint32, p nstring) bool {
		lo, hi := p.original(0, len(p.text))
		out = append(out, fullToken{id, Span{lo, hi}, word, string(p.text)})
		word++
		return true
	}, func(p nstring) bool {
		buf = t.model.appendTokens(buf[:0], p.text)
		for _, k := range buf {
			lo, hi := p.original(k.lo, min(k.hi, len(p.text)))
			text := ""
			if unigram != nil && k.id == unigram.unk { // the reference's token has the text, not the piece's name
				text = string(p.text[k.lo:k.hi])
			}
			out = append(out, fullToken{k.id, Span{lo, hi}, word, text})
		}
		word++
		return true
	})
	return out, err
}

// traced makes a text with its offsets; invalid parts become U+FFFD, which stand for the bytes that they replace.
func traced(text string) nstring {
	b := unsafe.Slice(unsafe.StringData(text), len(text))
	n := nstring{text: b, hi: len(b), track: true}
	if utf8.Valid(b) {
		return n
	}
	var out []byte
	align := make([]span, 0, len(b))
	for i := 0; i < len(b); {
		r, k := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && k == 1 {
			k, _ = invalidPrefix(b[i:])
		}
		from := len(out)
		out = utf8.AppendRune(out, r)
		for range len(out) - from {
			align = append(align, span{uint32(i), uint32(i + k)})
		}
		i += k
	}
	n.text, n.align = out, align
	return n
}

// EncodeFull encodes a text with all that Options can ask for.
func (t *Tokenizer) EncodeFull(text string, o Options) (*Encoding, error) {
	return t.encodeFull([]string{text}, o)
}

// EncodePair encodes two texts as one sequence, as the post-processor joins them. Plain and offsets count from the start of each text;
// Plain must be empty.
func (t *Tokenizer) EncodePair(a, b string, o Options) (*Encoding, error) {
	if len(o.Plain) > 0 {
		return nil, fmt.Errorf("%w: Plain with a pair", ErrOptions)
	}
	return t.encodeFull([]string{a, b}, o)
}

func (t *Tokenizer) encodeFull(texts []string, o Options) (*Encoding, error) {
	s, err := o.search(len(texts[0]))
	if err != nil {
		return nil, err
	}
	start, bytes, tokens := time.Now(), 0, 0
	defer func() { t.stats.add(bytes, tokens, start) }()
	parts := make([]*Encoding, len(texts))
	for i, text := range texts {
		toks, err := t.tokens(text, s)
		if err != nil {
			return nil, err
		}
		parts[i] = newEncoding(toks, uint32(i))
		bytes, tokens = bytes+len(text), tokens+len(toks)
		if o.Offsets == CharOffsets {
			toChars(text, parts[i].Offsets)
		}
		t.post.measure(t, toks, parts[i])
	}
	if o.Truncate != nil {
		if err := t.truncate(parts, *o.Truncate, o.AddSpecial); err != nil {
			return nil, err
		}
	}
	if len(parts) == 2 && parts[0].tokens()*(1+len(parts[1].Overflow))+parts[1].tokens()*(1+len(parts[0].Overflow)) > maxTokens {
		return nil, fmt.Errorf("%w: Truncate makes more than %d tokens of a pair", ErrOptions, maxTokens)
	}
	e := t.assemble(parts, o.AddSpecial)
	if o.Pad != nil {
		if err := padAll([]*Encoding{e}, *o.Pad); err != nil {
			return nil, err
		}
	}
	if o.Offsets == NoOffsets {
		e.each(func(e *Encoding) { e.Offsets = nil })
	}
	return e, nil
}

func newEncoding(toks []fullToken, typeID uint32) *Encoding {
	n := len(toks)
	e := &Encoding{IDs: make([]uint32, n), TypeIDs: make([]uint32, n), Offsets: make([]Span, n), Words: make([]int32, n),
		Special: make([]bool, n), Attention: make([]bool, n)}
	for i, k := range toks {
		e.IDs[i], e.TypeIDs[i], e.Offsets[i], e.Words[i], e.Attention[i] = k.id, typeID, k.span, k.word, true
	}
	return e
}

// toChars converts byte offsets to those of code points, of which an invalid part is one.
func toChars(text string, spans []Span) {
	at := make([]int32, len(text)+1)
	chars := int32(0)
	for i := 0; i < len(text); {
		r, k := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && k == 1 {
			k, _ = invalidPrefix([]byte(text[i:min(len(text), i+4)]))
		}
		for j := range k {
			at[i+j] = chars
		}
		i += k
		chars++
	}
	at[len(text)] = chars
	for i, s := range spans {
		spans[i] = Span{int(at[s.Start]), int(at[s.End])}
	}
}

// maxTokens bounds what truncation with a stride, pairs of parts and padding make of texts.
const maxTokens = 1 << 26

// tokens counts those of an encoding and its overflow.
func (e *Encoding) tokens() (n int) {
	e.each(func(e *Encoding) { n += len(e.IDs) })
	return n
}

// part is the stretch lo:hi of an encoding, without its overflow.
func (e *Encoding) part(lo, hi int) *Encoding {
	p := &Encoding{IDs: e.IDs[lo:hi], TypeIDs: e.TypeIDs[lo:hi], Words: e.Words[lo:hi], Special: e.Special[lo:hi],
		Attention: e.Attention[lo:hi]}
	if e.Offsets != nil {
		p.Offsets = e.Offsets[lo:hi]
	}
	if e.blanks != nil {
		p.blanks = e.blanks[lo:hi]
	}
	return p
}

// each calls f for an encoding and its overflow.
func (e *Encoding) each(f func(*Encoding)) {
	f(e)
	for _, o := range e.Overflow {
		o.each(f)
	}
}

// cut keeps n tokens and puts the rest into parts of n that share stride tokens with their neighbours.
func (e *Encoding) cut(n, stride int, left bool) {
	have := len(e.IDs)
	if n >= have {
		return
	}
	all := *e
	if n == 0 {
		*e = *all.part(0, 0)
		e.Overflow = []*Encoding{all.part(0, have)}
		return
	}
	var parts []*Encoding
	if left {
		for stop := have; ; stop -= n - stride {
			start := max(0, stop-n)
			parts = append(parts, all.part(start, stop))
			if start == 0 {
				break
			}
		}
	} else {
		for start := 0; ; start += n - stride {
			stop := min(start+n, have)
			parts = append(parts, all.part(start, stop))
			if stop == have {
				break
			}
		}
	}
	*e = *parts[0]
	e.Overflow = parts[1:]
}

// truncate shortens the parts of one sequence.
func (t *Tokenizer) truncate(parts []*Encoding, tr Truncation, addSpecial bool) error {
	limit := tr.Max
	if addSpecial {
		limit -= t.post.added(len(parts) == 2)
	}
	switch {
	case tr.Max < 0 || tr.Stride < 0 || tr.Strategy > OnlySecond:
		return fmt.Errorf("%w: Truncate %+v", ErrOptions, tr)
	case limit < 0:
		return fmt.Errorf("%w: Truncate.Max of %d has no room for the %d tokens of the post-processor", ErrOptions, tr.Max, tr.Max-limit)
	case tr.Stride > 0 && tr.Stride >= limit:
		return fmt.Errorf("%w: Truncate.Stride of %d is not below the %d tokens that are kept", ErrOptions, tr.Stride, limit)
	}
	cut := func(i, n int) error {
		if n > 0 && n < len(parts[i].IDs) && tr.Stride >= n {
			return fmt.Errorf("%w: Truncate.Stride of %d is not below the %d tokens that are kept", ErrOptions, tr.Stride, n)
		}
		if have := len(parts[i].IDs); tr.Stride > 0 && have > n && ((have-n)/max(1, n-tr.Stride)+1)*n > maxTokens {
			return fmt.Errorf("%w: Truncate.Stride of %d makes more than %d tokens of a text", ErrOptions, tr.Stride, maxTokens)
		}
		parts[i].cut(n, tr.Stride, tr.Left)
		return nil
	}
	total := 0
	for _, p := range parts {
		total += len(p.IDs)
	}
	if total <= limit {
		return nil
	}
	if limit == 0 {
		for i := range parts {
			if err := cut(i, 0); err != nil {
				return err
			}
		}
		return nil
	}
	remove := total - limit
	if tr.Strategy == LongestFirst {
		if len(parts) == 1 {
			return cut(0, limit)
		}
		n1, n2 := len(parts[0].IDs), len(parts[1].IDs)
		swap := n1 > n2
		if swap {
			n1, n2 = n2, n1
		}
		if n1 > limit {
			n2 = n1
		} else {
			n2 = max(n1, limit-n1)
		}
		if n1+n2 > limit {
			n1 = limit / 2
			n2 = n1 + limit%2
		}
		if swap {
			n1, n2 = n2, n1
		}
		if err := cut(0, n1); err != nil {
			return err
		}
		return cut(1, n2)
	}
	i := int(tr.Strategy - OnlyFirst)
	if i >= len(parts) {
		return fmt.Errorf("%w: Truncate.Strategy OnlySecond without a second text", ErrOptions)
	}
	if len(parts[i].IDs) <= remove {
		return fmt.Errorf("%w: Truncate: %d tokens cannot be taken from a text of %d", ErrOptions, remove, len(parts[i].IDs))
	}
	return cut(i, len(parts[i].IDs)-remove)
}

// assemble trims offsets and joins the parts by the template.
func (t *Tokenizer) assemble(parts []*Encoding, addSpecial bool) *Encoding {
	if t.post != nil {
		for k := range t.post.trims {
			for _, p := range parts {
				p.each(func(e *Encoding) {
					e.Offsets = append([]Span(nil), e.Offsets...)
					for i := range e.IDs {
						e.Offsets[i] = t.post.trims[k].trim(i, e.blanks[i], e.Offsets[i])
					}
				})
			}
		}
		if t.post.zeroTypes {
			for _, p := range parts {
				p.TypeIDs = make([]uint32, len(p.IDs))
				for _, o := range p.Overflow {
					if addSpecial {
						o.TypeIDs = make([]uint32, len(o.IDs))
					}
				}
			}
		}
	}
	out := &Encoding{}
	for _, it := range t.post.items(len(parts) == 2) {
		if it.seq >= len(parts) {
			continue
		}
		if it.seq >= 0 {
			p := parts[it.seq]
			p.TypeIDs = slices.Repeat([]uint32{it.typeID}, len(p.IDs)) // those of the overflow stay: so does the reference
			out.join(p)
		} else if addSpecial {
			a := &Encoding{}
			for _, id := range it.ids {
				a.IDs, a.TypeIDs, a.Offsets = append(a.IDs, id), append(a.TypeIDs, it.typeID), append(a.Offsets, Span{})
				a.Words, a.Special, a.Attention = append(a.Words, -1), append(a.Special, true), append(a.Attention, true)
			}
			out.join(a)
		}
	}
	return out
}

func (e *Encoding) clone() *Encoding {
	c := &Encoding{}
	c.extend(e)
	return c
}

func (e *Encoding) extend(p *Encoding) {
	e.IDs, e.TypeIDs, e.Offsets = append(e.IDs, p.IDs...), append(e.TypeIDs, p.TypeIDs...), append(e.Offsets, p.Offsets...)
	e.Words, e.Special = append(e.Words, p.Words...), append(e.Special, p.Special...)
	e.Attention = append(e.Attention, p.Attention...)
}

// join appends p; every part cut off is combined with every part of the other, as the reference does.
func (e *Encoding) join(p *Encoding) {
	var over []*Encoding
	for _, s := range e.Overflow {
		n := s.clone()
		n.extend(p)
		over = append(over, n)
		for _, o := range p.Overflow {
			n := s.clone()
			n.extend(o)
			over = append(over, n)
		}
	}
	for _, o := range p.Overflow {
		n := e.clone()
		n.extend(o)
		over = append(over, n)
	}
	e.extend(p)
	e.Overflow = over
}

// padAll fills encodings up to one length.
func padAll(all []*Encoding, p Padding) error {
	if p.To < 0 || p.MultipleOf < 0 {
		return fmt.Errorf("%w: Pad %+v", ErrOptions, p)
	}
	to := p.To
	if to == 0 {
		for _, e := range all {
			to = max(to, len(e.IDs))
		}
	}
	if p.MultipleOf > 0 && to%p.MultipleOf > 0 {
		to += p.MultipleOf - to%p.MultipleOf
	}
	parts := 0
	for _, e := range all {
		e.each(func(*Encoding) { parts++ })
	}
	if parts > 0 && to > maxTokens/parts {
		return fmt.Errorf("%w: Pad makes more than %d tokens", ErrOptions, maxTokens)
	}
	for _, e := range all {
		e.each(func(e *Encoding) {
			n := to - len(e.IDs)
			if n <= 0 {
				return
			}
			f := &Encoding{IDs: make([]uint32, n), TypeIDs: make([]uint32, n), Words: make([]int32, n), Special: make([]bool, n),
				Attention: make([]bool, n), Offsets: make([]Span, n)}
			for i := range n {
				f.IDs[i], f.TypeIDs[i], f.Words[i], f.Special[i] = p.ID, p.TypeID, -1, true
			}
			over := e.Overflow
			if p.Left {
				f.extend(e)
				*e = *f
			} else {
				e.extend(f)
			}
			e.Overflow = over
		})
	}
	return nil
}

package jinja

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// strBuilder collects text and the ranges of it that came from data.
type strBuilder struct {
	b []byte
	t []Span
}

func (b *strBuilder) lit(s string)   { b.b = append(b.b, s...) }
func (b *strBuilder) byte(c byte)    { b.b = append(b.b, c) }
func (b *strBuilder) mark(start int) { b.span(start, len(b.b)) }

func (b *strBuilder) span(start, end int) {
	if start >= end {
		return
	}
	if n := len(b.t); n > 0 && b.t[n-1].End >= start {
		b.t[n-1].End = end
		return
	}
	b.t = append(b.t, Span{start, end})
}

// add appends a string value with its taint.
func (b *strBuilder) add(v Value) {
	at := len(b.b)
	b.b = append(b.b, v.s...)
	if v.f&flagTainted != 0 {
		b.mark(at)
	} else if v.o != nil {
		for _, s := range v.o.(*spanSet).spans {
			b.span(at+s.Start, at+s.End)
		}
	}
}

// from returns the text from byte start on as a value.
func (b *strBuilder) from(start int) Value {
	v := Value{k: KindString, s: string(b.b[start:])}
	i := len(b.t)
	for i > 0 && b.t[i-1].End > start {
		i--
	}
	return v.withSpans(b.t[i:], start)
}

func (b *strBuilder) value() Value { return b.from(0) }

// cut drops the text from byte start on.
func (b *strBuilder) cut(start int) {
	b.b = b.b[:start]
	for n := len(b.t); n > 0 && b.t[n-1].End > start; n = len(b.t) {
		if b.t[n-1].Start >= start {
			b.t = b.t[:n-1]
		} else {
			b.t[n-1].End = start
		}
	}
}

// withSpans sets the taint of a string to spans shifted left by off and clipped.
func (v Value) withSpans(spans []Span, off int) Value {
	v.f &^= flagTainted
	v.o = nil
	if len(spans) == 0 || v.s == "" {
		return v
	}
	if s := spans[0]; s.Start <= off && s.End >= off+len(v.s) {
		v.f |= flagTainted
		return v
	}
	var set []Span
	for _, s := range spans {
		a, e := max(s.Start-off, 0), min(s.End-off, len(v.s))
		if a < e {
			if set == nil {
				set = make([]Span, 0, len(spans))
			}
			set = append(set, Span{a, e})
		}
	}
	if set != nil {
		v.o = &spanSet{set}
	}
	return v
}

// tainted reports whether any byte of a string came from data.
func (v Value) tainted() bool {
	return v.k == KindString && (v.f&flagTainted != 0 || v.o != nil)
}

// like returns s with the taint of v: wholly tainted if any byte of v is. For operations that move bytes about.
func (v Value) like(s string) Value {
	r := Value{k: KindString, s: s, f: v.f & flagMarkup}
	if s != "" && v.tainted() {
		r.f |= flagTainted
	}
	return r
}

// sub returns the bytes [a, b) of a string with their taint.
func (v Value) sub(a, b int) Value {
	r := Value{k: KindString, s: v.s[a:b], f: v.f & flagMarkup}
	if a == b {
		return r
	}
	if v.f&flagTainted != 0 {
		r.f |= flagTainted
	} else if v.o != nil {
		return r.withSpans(v.o.(*spanSet).spans, a)
	}
	return r
}

// concat joins two strings; the markup flag is the caller's affair.
func concat(a, b Value) Value {
	if a.s == "" {
		b.f &^= flagMarkup
		return b
	}
	if b.s == "" {
		a.f &^= flagMarkup
		return a
	}
	r := Value{k: KindString, s: a.s + b.s}
	if a.f&flagTainted != 0 && b.f&flagTainted != 0 {
		r.f = flagTainted
	} else if a.tainted() || b.tainted() {
		var sb strBuilder
		sb.b = make([]byte, 0, len(r.s))
		sb.add(a)
		sb.add(b)
		return r.withSpans(sb.t, 0)
	}
	return r
}

// Spans returns the ranges of a string that came from data, in order and disjoint.
func (v Value) Spans() []Span {
	if v.k != KindString {
		return nil
	}
	if v.f&flagTainted != 0 {
		return []Span{{0, len(v.s)}}
	}
	if v.o != nil {
		return v.o.(*spanSet).spans
	}
	return nil
}

// appendStr appends Python's str(v).
func appendStr(b *strBuilder, v Value) error {
	switch v.k {
	case KindString:
		b.add(v)
		return nil
	case KindUndefined, KindMissing:
		return nil
	case KindInt:
		b.b = strconv.AppendInt(b.b, v.int(), 10)
		return nil
	}
	return appendRepr(b, v, 0)
}

// maxNesting bounds recursion through nested data, as Python's recursion limit does.
const maxNesting = 400

func errRecursion() error {
	return errf("RecursionError", "maximum recursion depth exceeded")
}

// maxText bounds text that is built without a state at hand.
const maxText = 16 << 20

// appendRepr appends Python's repr(v).
func appendRepr(b *strBuilder, v Value, depth int) error {
	if depth > maxNesting {
		return errRecursion()
	}
	if len(b.b) > maxText {
		return budgetErr("the text of a value is too long")
	}
	switch v.k {
	case KindMissing, KindUndefined:
		b.lit("Undefined")
	case KindNone:
		b.lit("None")
	case KindBool:
		if v.n != 0 {
			b.lit("True")
		} else {
			b.lit("False")
		}
	case KindInt:
		b.b = strconv.AppendInt(b.b, v.int(), 10)
	case KindBig:
		s, err := bigText(v.big())
		if err != nil {
			return err
		}
		b.lit(s)
	case KindFloat:
		b.lit(pyFloat(v.float()))
	case KindString:
		if v.isMarkup() {
			b.lit("Markup(")
		}
		at := len(b.b) + 1
		b.b = appendPyString(b.b, v.s)
		if v.tainted() {
			b.span(at, len(b.b)-1)
		}
		if v.isMarkup() {
			b.lit(")")
		}
	case KindList:
		b.byte('[')
		if err := appendItems(b, v.items(), depth); err != nil {
			return err
		}
		b.byte(']')
	case KindTuple:
		b.byte('(')
		items := v.items()
		if err := appendItems(b, items, depth); err != nil {
			return err
		}
		if len(items) == 1 {
			b.byte(',')
		}
		b.byte(')')
	case KindDict:
		return appendDict(b, v.dict(), depth)
	case KindRange:
		b.lit(v.o.(*rangeObj).repr())
	default:
		return appendObject(b, v, depth)
	}
	return nil
}

func appendItems(b *strBuilder, items []Value, depth int) error {
	for i, x := range items {
		if i > 0 {
			b.lit(", ")
		}
		if err := appendRepr(b, x, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func appendDict(b *strBuilder, d *Dict, depth int) error {
	b.byte('{')
	for i := range d.entries {
		if i > 0 {
			b.lit(", ")
		}
		if err := appendRepr(b, d.entries[i].key, depth+1); err != nil {
			return err
		}
		b.lit(": ")
		if err := appendRepr(b, d.entries[i].val, depth+1); err != nil {
			return err
		}
	}
	b.byte('}')
	return nil
}

func appendObject(b *strBuilder, v Value, depth int) error {
	switch o := v.o.(type) {
	case *namespace:
		b.lit("<Namespace ")
		if err := appendDict(b, o.attrs, depth+1); err != nil {
			return err
		}
		b.lit(">")
	case *macro:
		if o.def.name == "" {
			b.lit("<Macro anonymous>")
		} else {
			b.lit("<Macro " + pyRepr(o.def.name) + ">")
		}
	case *loopCtx:
		n, err := o.length(nil)
		if err != nil {
			return err
		}
		b.lit("<LoopContext " + strconv.Itoa(o.index0+1) + "/" + strconv.Itoa(n) + ">")
	case *dictView:
		b.lit(typeName(v) + "([")
		for i := range o.d.entries {
			if i > 0 {
				b.lit(", ")
			}
			if err := appendRepr(b, o.at(i), depth+1); err != nil {
				return err
			}
		}
		b.lit("])")
	case *builtin:
		b.lit(o.repr)
	case *boundMethod:
		b.lit("<built-in method " + o.name + " of " + typeName(o.self) + " object at 0x7f0000000000>")
	case *selfRef:
		b.lit("<TemplateReference None>")
	default:
		b.lit("<" + typeName(v) + " object at 0x7f0000000000>")
	}
	return nil
}

// pyRepr is Python's repr of a str.
func pyRepr(s string) string { return string(appendPyString(nil, s)) }

const hexDigits = "0123456789abcdef"

func appendPyString(b []byte, s string) []byte {
	quote := byte('\'')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			quote = '\''
			break
		}
		if s[i] == '\'' {
			quote = '"'
		}
	}
	b = append(b, quote)
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '\\' && c != quote {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			if r, size = utf8.DecodeRuneInString(s[i:]); unicode.IsPrint(r) {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '\\' || c == quote:
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		default:
			b = appendRuneEscape(b, r)
		}
		i += size
		start = i
	}
	return append(append(b, s[start:]...), quote)
}

// appendRuneEscape appends \xhh, \uhhhh or \Uhhhhhhhh.
func appendRuneEscape(b []byte, r rune) []byte {
	n := 8
	switch {
	case r <= 0xff:
		b, n = append(b, '\\', 'x'), 2
	case r <= 0xffff:
		b, n = append(b, '\\', 'u'), 4
	default:
		b = append(b, '\\', 'U')
	}
	for s := 4 * (n - 1); s >= 0; s -= 4 {
		b = append(b, hexDigits[r>>s&15])
	}
	return b
}

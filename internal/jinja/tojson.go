package jinja

import (
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonStyle is the keyword arguments of Python's json.dumps.
type jsonStyle struct {
	ascii     bool
	sortKeys  bool
	pretty    bool
	indent    string
	item, key string // separators
}

// appendJSON appends Python's json.dumps(v). Text from data is marked, quotes and punctuation are not.
func appendJSON(st *state, b *strBuilder, v Value, style *jsonStyle, depth int) error {
	if depth > maxNesting {
		return errRecursion()
	}
	if err := st.spend(1, 0); err != nil {
		return err
	}
	if len(b.b) > st.maxBytes {
		return budgetErr("tojson: the text is too long")
	}
	switch v.k {
	case KindNone:
		b.lit("null")
	case KindBool:
		if v.n != 0 {
			b.lit("true")
		} else {
			b.lit("false")
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
		b.lit(jsonFloat(v.float()))
	case KindString:
		appendJSONString(b, v, style.ascii)
	case KindList, KindTuple:
		items := v.items()
		if len(items) == 0 {
			b.lit("[]")
			return nil
		}
		b.byte('[')
		for i, x := range items {
			if i > 0 {
				b.lit(style.item)
			}
			style.newline(b, depth+1)
			if err := appendJSON(st, b, x, style, depth+1); err != nil {
				return err
			}
		}
		style.newline(b, depth)
		b.byte(']')
	case KindDict:
		return appendJSONDict(st, b, v.dict(), style, depth)
	default:
		return typeErr("Object of type %s is not JSON serializable", typeName(v))
	}
	return nil
}

func (s *jsonStyle) newline(b *strBuilder, depth int) {
	if s.pretty {
		b.byte('\n')
		for ; depth > 0; depth-- {
			b.lit(s.indent)
		}
	}
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return pyFloat(f)
}

func appendJSONDict(st *state, b *strBuilder, d *Dict, style *jsonStyle, depth int) error {
	if d.Len() == 0 {
		b.lit("{}")
		return nil
	}
	entries := d.entries
	if style.sortKeys {
		entries = append([]entry(nil), entries...)
		var failed error
		sort.SliceStable(entries, func(i, j int) bool {
			less, err := lessThan(st, entries[i].key, entries[j].key, 0)
			if err != nil && failed == nil {
				failed = err
			}
			return less
		})
		if failed != nil {
			return failed
		}
	}
	b.byte('{')
	for i := range entries {
		if i > 0 {
			b.lit(style.item)
		}
		style.newline(b, depth+1)
		key := entries[i].key
		switch key.k {
		case KindString:
		case KindFloat:
			key = String(jsonFloat(key.float()))
		case KindNone, KindBool, KindInt, KindBig:
			var kb strBuilder
			if err := appendJSON(st, &kb, key, style, depth); err != nil {
				return err
			}
			key = String(string(kb.b))
		default:
			return typeErr("keys must be str, int, float, bool or None, not %s", typeName(key))
		}
		appendJSONString(b, key, style.ascii)
		b.lit(style.key)
		if err := appendJSON(st, b, entries[i].val, style, depth+1); err != nil {
			return err
		}
	}
	style.newline(b, depth)
	b.byte('}')
	return nil
}

func appendJSONString(b *strBuilder, v Value, ascii bool) {
	b.byte('"')
	at := len(b.b)
	s := v.s
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && (c < 0x7f || !ascii) {
			i++
			continue
		}
		b.b = append(b.b, s[start:i]...)
		size := 1
		switch {
		case c == '"' || c == '\\':
			b.b = append(b.b, '\\', c)
		case c == '\n':
			b.lit(`\n`)
		case c == '\r':
			b.lit(`\r`)
		case c == '\t':
			b.lit(`\t`)
		case c == '\b':
			b.lit(`\b`)
		case c == '\f':
			b.lit(`\f`)
		case c < ' ' || c == 0x7f:
			b.b = appendU16(b.b, uint16(c))
		default:
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if r > 0xffff {
				hi, lo := utf16.EncodeRune(r)
				b.b = appendU16(appendU16(b.b, uint16(hi)), uint16(lo))
			} else {
				b.b = appendU16(b.b, uint16(r))
			}
		}
		i += size
		start = i
	}
	b.lit(s[start:])
	if v.tainted() {
		b.mark(at)
	}
	b.byte('"')
}

func appendU16(b []byte, u uint16) []byte {
	return append(b, '\\', 'u', hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
}

// filterToJSON is transformers' tojson: json.dumps(x, ensure_ascii=False, indent=None, separators=None,
// sort_keys=False).
func filterToJSON(st *state, a args) (Value, error) {
	p, err := a.bind("tojson", 1, "x", "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return Value{}, err
	}
	style := jsonStyle{ascii: truth(p[1]), sortKeys: truth(p[4]), item: ", ", key: ": "}
	if ind := p[2]; ind.k != KindMissing && ind.k != KindNone {
		style.pretty, style.item = true, ","
		switch {
		case ind.k == KindString:
			style.indent = ind.s
		case ind.isIntegral() && ind.k != KindBig:
			n := ind.int()
			if n > 1000 {
				return Value{}, budgetErr("tojson: indent is too wide")
			}
			style.indent = strings.Repeat(" ", int(max(n, 0)))
		default:
			return Value{}, typeErr("can't multiply sequence by non-int of type '%s'", typeName(ind))
		}
	}
	if sep := p[3]; sep.k != KindMissing && sep.k != KindNone {
		pair, err := toList(st, sep)
		if err != nil {
			return Value{}, err
		}
		if len(pair) != 2 {
			return Value{}, valueErr("separators must be a pair, got %d items", len(pair))
		}
		if pair[0].k != KindString || pair[1].k != KindString {
			return Value{}, typeErr("separators must be strings")
		}
		style.item, style.key = pair[0].s, pair[1].s
	}
	var b strBuilder
	b.b = make([]byte, 0, 512)
	if err := appendJSON(st, &b, p[0], &style, 0); err != nil {
		return Value{}, err
	}
	if err := st.spend(len(b.b)>>8, len(b.b)); err != nil {
		return Value{}, err
	}
	return b.value(), nil
}

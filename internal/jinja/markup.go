package jinja

import (
	"strings"
	"unicode/utf8"
)

// escapeHTML is markupsafe.escape.
func escapeHTML(st *state, v Value) (Value, error) {
	if v.isMarkup() {
		return v, nil
	}
	if v.k != KindString {
		var err error
		if v, err = toStr(st, v); err != nil {
			return v, err
		}
	}
	if !strings.ContainsAny(v.s, `&<>'"`) {
		return v.withMarkup(), st.spendText(len(v.s), 0)
	}
	var b strBuilder
	at := 0
	for i := 0; i < len(v.s); i++ {
		var e string
		switch v.s[i] {
		case '&':
			e = "&amp;"
		case '<':
			e = "&lt;"
		case '>':
			e = "&gt;"
		case '\'':
			e = "&#39;"
		case '"':
			e = "&#34;"
		default:
			continue
		}
		b.add(v.sub(at, i))
		b.add(v.sub(i, i+1).like(e))
		at = i + 1
	}
	b.add(v.sub(at, len(v.s)))
	return b.value().withMarkup(), st.spendText(len(v.s), len(b.b))
}

// toStr is Python's str(v): a plain str.
func toStr(st *state, v Value) (Value, error) {
	if v.k == KindString {
		v.f &^= flagMarkup
		return v, nil
	}
	var b strBuilder
	if err := appendStr(&b, v); err != nil {
		return Value{}, err
	}
	return b.value(), st.spendText(len(b.b), len(b.b))
}

// softStr is markupsafe.soft_str: str(v) that keeps markup.
func softStr(st *state, v Value) (Value, error) {
	if v.k == KindString {
		return v, nil
	}
	return toStr(st, v)
}

// markup is Markup(v).
func markup(st *state, v Value) (Value, error) {
	v, err := softStr(st, v)
	return v.withMarkup(), err
}

// joinMarkup is a + b where one is markup: the other is escaped.
func joinMarkup(st *state, a, b Value) (Value, error) {
	a, err := escapeHTML(st, a)
	if err != nil {
		return a, err
	}
	if b, err = escapeHTML(st, b); err != nil {
		return b, err
	}
	return concat(a, b).withMarkup(), st.spendText(0, len(a.s)+len(b.s))
}

func firstRune(s string) rune { r, _ := utf8.DecodeRuneInString(s); return r }

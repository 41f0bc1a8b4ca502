package jinja

import (
	"strings"
	"unicode"
)

func filterReplace(st *state, a args) (Value, error) {
	p, err := a.bind("do_replace", 3, "s", "old", "new", "count")
	if err != nil {
		return Value{}, err
	}
	n := -1
	if p[3].k != KindMissing && p[3].k != KindNone {
		if n, err = toInt(p[3]); err != nil {
			return Value{}, err
		}
	}
	conv := toStr
	if st.autoescape {
		conv = softStr
		if p[1].isMarkup() || p[2].isMarkup() && !p[0].isMarkup() {
			if p[0], err = escapeHTML(st, p[0]); err != nil {
				return Value{}, err
			}
		}
	}
	for i := range 3 {
		if p[i], err = conv(st, p[i]); err != nil {
			return Value{}, err
		}
	}
	if p[0].isMarkup() {
		if p[2], err = escapeHTML(st, p[2]); err != nil {
			return Value{}, err
		}
	}
	return replace(st, p[0], p[1], p[2], n)
}

func filterTitle(st *state, a args) (Value, error) {
	p, err := a.bind("do_title", 1, "s")
	if err != nil {
		return Value{}, err
	}
	s, err := softStr(st, p[0])
	if err != nil {
		return Value{}, err
	}
	var b strings.Builder
	first := true
	word := 0
	flush := func(end int) {
		if w := s.s[word:end]; w != "" {
			n := runeLen(w)
			b.WriteString(pyUpper(w[:n]))
			b.WriteString(pyLower(w[n:]))
		}
	}
	// Words begin after runs of -, whitespace and opening brackets.
	sep := false
	for i, r := range s.s {
		is := isSpace(r) || strings.ContainsRune("-({[<", r)
		if first || is != sep {
			flush(i)
			word, sep, first = i, is, false
		}
	}
	flush(len(s.s))
	v := s.like(b.String())
	v.f &^= flagMarkup
	return v, st.spendText(4*len(s.s), b.Len())
}

func filterTrim(st *state, a args) (Value, error) {
	p, err := a.bind("do_trim", 1, "value", "chars")
	if err != nil {
		return Value{}, err
	}
	s, err := softStr(st, p[0])
	if err != nil {
		return Value{}, err
	}
	return trim(st, s, p[1], true, true)
}

func filterStripTags(st *state, a args) (Value, error) {
	p, err := a.bind("do_striptags", 1, "value")
	if err != nil {
		return Value{}, err
	}
	v, err := toStr(st, p[0])
	if err != nil {
		return Value{}, err
	}
	s := v.s
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		end := -1
		if strings.HasPrefix(s[i:], "<!--") {
			if end = strings.Index(s[min(i+4, len(s)):], "-->"); end >= 0 {
				end += i + 4 + 3
			}
		} else if end = strings.IndexByte(s[i:], '>'); end >= 0 {
			end += i + 1
		}
		if end < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[end:]
	}
	b.WriteString(s)
	text := strings.Join(strings.FieldsFunc(b.String(), isSpace), " ")
	return v.like(unescapeHTML(text)), st.spendText(4*len(v.s), len(text))
}

func filterIndent(st *state, a args) (Value, error) {
	p, err := a.bind("do_indent", 1, "s", "width", "first", "blank")
	if err != nil {
		return Value{}, err
	}
	indent := Value{k: KindString, s: "    "}
	switch w := p[1]; {
	case w.k == KindString:
		indent = w
	case w.k != KindMissing:
		n, err := toInt(w)
		if err != nil {
			return Value{}, typeErr("can't multiply sequence by non-int of type '%s'", typeName(w))
		}
		if err := st.spendProduct(max(n, 0), 1); err != nil {
			return Value{}, err
		}
		indent = String(strings.Repeat(" ", max(n, 0)))
	}
	s := p[0]
	if s.k != KindString {
		if s.k == KindUndefined {
			return Value{}, undefError(s)
		}
		if s.k == KindList {
			return Value{}, errf("AttributeError", "'list' object has no attribute 'splitlines'")
		}
		return Value{}, typeErr("unsupported operand type(s) for +=: '%s' and 'str'", typeName(s))
	}
	nl := concat(s, String("\n"))
	lines := splitLines(nl.s, false)
	if err := st.spendProduct(len(lines), len(indent.s)+1); err != nil {
		return Value{}, err
	}
	if s.isMarkup() && !indent.isMarkup() && p[1].k == KindString {
		indent = indent.withMarkup()
	}
	var b strBuilder
	if truth(p[2]) {
		b.add(indent)
	}
	for i, l := range lines {
		if i > 0 {
			b.byte('\n')
			if truth(p[3]) || l[0] < l[1] {
				b.add(indent)
			}
		}
		b.add(nl.sub(l[0], l[1]))
	}
	v := b.value()
	v.f |= s.f & flagMarkup
	return v, st.spendText(4*len(s.s), len(b.b))
}

func filterTruncate(st *state, a args) (Value, error) {
	p, err := a.bind("do_truncate", 1, "s", "length", "killwords", "end", "leeway")
	if err != nil {
		return Value{}, err
	}
	size, leeway, end := 255, 5, String("...")
	if p[1].k != KindMissing {
		if size, err = toInt(p[1]); err != nil {
			return Value{}, err
		}
	}
	if p[3].k != KindMissing {
		end = p[3]
		if err := wantStr(end, "end"); err != nil {
			return Value{}, err
		}
	}
	if p[4].k != KindMissing && p[4].k != KindNone {
		if leeway, err = toInt(p[4]); err != nil {
			return Value{}, err
		}
	}
	cut := size - runeCount(end.s)
	if cut < 0 {
		return Value{}, errf("AssertionError", "expected length >= %d, got %d", runeCount(end.s), size)
	}
	if leeway < 0 {
		return Value{}, errf("AssertionError", "expected leeway >= 0, got %d", leeway)
	}
	s := p[0]
	n, ok, err := length(st, s)
	if err != nil {
		return Value{}, err
	}
	if !ok {
		return Value{}, typeErr("object of type '%s' has no len()", typeName(s))
	}
	if n <= size+leeway {
		return s, nil
	}
	if s.k != KindString {
		return Value{}, typeErr("can't truncate a %s", typeName(s))
	}
	head := s.sub(0, byteOffset(s.s, cut))
	if !truth(p[2]) {
		if i := strings.LastIndexByte(head.s, ' '); i >= 0 {
			head = head.sub(0, i)
		}
	}
	if head.isMarkup() {
		return joinMarkup(st, head, end)
	}
	return concat(head, end), nil
}

func filterWordCount(st *state, a args) (Value, error) {
	p, err := a.bind("do_wordcount", 1, "s")
	if err != nil {
		return Value{}, err
	}
	s, err := softStr(st, p[0])
	if err != nil {
		return Value{}, err
	}
	words := strings.FieldsFunc(s.s, func(r rune) bool { return r != '_' && !pyIsAlnum(r) })
	return Int(int64(len(words))), st.spendText(4*len(s.s), 16*len(words))
}

func quoteURL(s string, query bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c|0x20 >= 'a' && c|0x20 <= 'z', decimal(c), c == '_', c == '.', c == '-', c == '~', c == '/' && !query:
			b.WriteByte(c)
		case c == ' ' && query:
			b.WriteByte('+')
		default:
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		}
	}
	return b.String()
}

func filterURLEncode(st *state, a args) (Value, error) {
	p, err := a.bind("do_urlencode", 1, "value")
	if err != nil {
		return Value{}, err
	}
	quote := func(v Value, query bool) (Value, error) {
		s, err := toStr(st, v)
		if err != nil {
			return s, err
		}
		q := s.like(quoteURL(s.s, query))
		q.f &^= flagMarkup
		return q, st.spendText(len(s.s), len(q.s))
	}
	v := p[0]
	it, err := iterate(st, v)
	if v.k == KindString || err != nil {
		return quote(v, false)
	}
	if v.k == KindDict {
		it, _ = iterate(st, object(&dictView{v.dict(), 2}))
	}
	var b strBuilder
	for i := 0; ; i++ {
		x, ok, err := it.next(st)
		if err != nil {
			return Value{}, err
		}
		if !ok {
			break
		}
		pair, err := toList(st, x)
		if err != nil {
			return Value{}, err
		}
		if len(pair) != 2 {
			return Value{}, valueErr("wrong number of values to unpack (expected 2, got %d)", len(pair))
		}
		if i > 0 {
			b.byte('&')
		}
		for j, y := range pair {
			q, err := quote(y, true)
			if err != nil {
				return Value{}, err
			}
			if j > 0 {
				b.byte('=')
			}
			b.add(q)
		}
	}
	return b.value(), nil
}

func filterXMLAttr(st *state, a args) (Value, error) {
	p, err := a.bind("do_xmlattr", 1, "d", "autospace")
	if err != nil {
		return Value{}, err
	}
	if p[0].k != KindDict {
		if p[0].k == KindUndefined {
			return Value{}, undefError(p[0])
		}
		return Value{}, errf("AttributeError", "'%s' object has no attribute 'items'", typeName(p[0]))
	}
	var b strBuilder
	space := p[1].k == KindMissing || truth(p[1])
	for _, e := range p[0].dict().entries {
		if e.val.k == KindNone || e.val.k == KindUndefined {
			continue
		}
		if e.key.k != KindString {
			return Value{}, typeErr("expected string or bytes-like object, got '%s'", typeName(e.key))
		}
		if strings.ContainsAny(e.key.s, " \t\n\r\f\v/>=") {
			return Value{}, valueErr("Invalid character in attribute name: %s", pyRepr(e.key.s))
		}
		if len(b.b) > 0 || space {
			b.byte(' ')
		}
		k, err := escapeHTML(st, e.key)
		if err != nil {
			return Value{}, err
		}
		v, err := escapeHTML(st, e.val)
		if err != nil {
			return Value{}, err
		}
		b.add(k)
		b.lit(`="`)
		b.add(v)
		b.byte('"')
	}
	v := b.value()
	if st.autoescape {
		v = v.withMarkup()
	}
	return v, nil
}

func filterWordWrap(st *state, a args) (Value, error) {
	p, err := a.bind("do_wordwrap", 1, "s", "width", "break_long_words", "wrapstring", "break_on_hyphens")
	if err != nil {
		return Value{}, err
	}
	width := 79
	if p[1].k != KindMissing {
		if width, err = toInt(p[1]); err != nil {
			return Value{}, err
		}
	}
	sep := "\n"
	if p[3].k == KindString {
		sep = p[3].s
	}
	if p[0].k == KindUndefined {
		return Value{}, undefError(p[0])
	}
	if p[0].k != KindString {
		return Value{}, errf("AttributeError", "'%s' object has no attribute 'splitlines'", typeName(p[0]))
	}
	if width <= 0 {
		return Value{}, valueErr("invalid width %d (must be > 0)", width)
	}
	if err := st.spend(4*len(p[0].s), 16*len(p[0].s)); err != nil {
		return Value{}, err
	}
	var out []string
	for _, l := range splitLines(p[0].s, false) {
		out = append(out, strings.Join(wrapLine(p[0].s[l[0]:l[1]], width, p[2].k == KindMissing || truth(p[2]), p[4].k == KindMissing || truth(p[4])), sep))
	}
	s := strings.Join(out, sep)
	return p[0].like(s), st.spendText(8*len(p[0].s), len(s))
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

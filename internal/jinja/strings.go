package jinja

import (
	"strings"
	"unicode"
)

// textMethod makes a method without arguments that maps the text.
func textMethod(name string, f func(string) string) method {
	return func(st *state, self Value, a args) (Value, error) {
		if _, err := a.plain(name, 0, 0); err != nil {
			return Value{}, err
		}
		if err := st.spendText(4*len(self.s), 2*len(self.s)); err != nil {
			return Value{}, err
		}
		return self.like(f(self.s)), nil
	}
}

// askMethod makes a method without arguments that answers a question about the text.
func askMethod(name string, f func(string) bool) method {
	return func(st *state, self Value, a args) (Value, error) {
		if _, err := a.plain(name, 0, 0); err != nil {
			return Value{}, err
		}
		return Bool(f(self.s)), st.spendText(4*len(self.s), 0)
	}
}

func runeMethod(name string, f func(rune) bool) method {
	return askMethod(name, func(s string) bool { return allRunes(s, f) })
}

var strMethods = map[string]method{
	"upper": textMethod("upper", pyUpper), "lower": textMethod("lower", pyLower), "casefold": textMethod("casefold", pyFold),
	"title": textMethod("title", pyTitle), "capitalize": textMethod("capitalize", pyCapitalize), "swapcase": textMethod("swapcase", pySwapCase),
	"isalnum": runeMethod("isalnum", pyIsAlnum), "isalpha": runeMethod("isalpha", unicode.IsLetter),
	"isdecimal": runeMethod("isdecimal", unicode.IsDigit), "isdigit": runeMethod("isdigit", pyIsDigit),
	"isnumeric": runeMethod("isnumeric", pyIsNumeric), "isspace": runeMethod("isspace", isSpace),
	"isascii":      askMethod("isascii", isASCII),
	"isprintable":  askMethod("isprintable", func(s string) bool { return s == "" || allRunes(s, unicode.IsPrint) }),
	"isidentifier": askMethod("isidentifier", isIdentifier),
	"istitle":      askMethod("istitle", pyIsTitle),
	"islower":      askMethod("islower", func(s string) bool { return oneCase(s, isLower) }),
	"isupper":      askMethod("isupper", func(s string) bool { return oneCase(s, isUpper) }),
	"strip":        stripMethod("strip", true, true), "lstrip": stripMethod("lstrip", true, false), "rstrip": stripMethod("rstrip", false, true),
	"find": findMethod("find", false, false), "index": findMethod("index", false, true),
	"rfind": findMethod("rfind", true, false), "rindex": findMethod("rindex", true, true),
	"startswith": affixMethod("startswith", strings.HasPrefix), "endswith": affixMethod("endswith", strings.HasSuffix),
	"ljust": justMethod("ljust", func(pad, _ int) (int, int) { return 0, pad }),
	"rjust": justMethod("rjust", func(pad, _ int) (int, int) { return pad, 0 }),
	"center": justMethod("center", func(pad, width int) (int, int) {
		left := pad/2 + pad&width&1
		return left, pad - left
	}),
	"split": strSplit, "rsplit": strRSplit, "splitlines": strSplitLines, "partition": strPartition, "rpartition": strRPartition,
	"count": strCount, "replace": strReplace, "join": strJoin, "zfill": strZfill, "expandtabs": strExpandTabs,
	"removeprefix": strRemovePrefix, "removesuffix": strRemoveSuffix, "format": strFormat, "format_map": strFormatMap,
	"encode": unsupportedMethod("encode"), "translate": unsupportedMethod("translate"), "maketrans": unsupportedMethod("maketrans"),
}

func unsupportedMethod(name string) method {
	return func(*state, Value, args) (Value, error) { return Value{}, typeErr("str.%s is not supported", name) }
}

func wantStr(v Value, what string) error {
	if v.k == KindString {
		return nil
	}
	return typeErr("%s must be str, not %s", what, typeName(v))
}

// trim strips characters of a set, or whitespace if chars is missing or None.
func trim(st *state, self, chars Value, left, right bool) (Value, error) {
	in := isSpace
	cost := len(self.s)
	if chars.k != KindMissing && chars.k != KindNone {
		if chars.k != KindString {
			return Value{}, typeErr("strip arg must be None or str")
		}
		set := chars.s
		in = func(r rune) bool { return strings.ContainsRune(set, r) }
		cost *= 1 + len(set)>>4
	}
	lo, hi := 0, len(self.s)
	if left {
		lo = hi - len(strings.TrimLeftFunc(self.s, in))
	}
	if right {
		hi = lo + len(strings.TrimRightFunc(self.s[lo:], in))
	}
	return self.sub(lo, hi), st.spendText(cost, 0)
}

func stripMethod(name string, left, right bool) method {
	return func(st *state, self Value, a args) (Value, error) {
		p, err := a.plain(name, 0, 1)
		if err != nil {
			return Value{}, err
		}
		return trim(st, self, p[0], left, right)
	}
}

// window returns the bytes of s between optional character positions. ok is false when start is past the end.
func window(s string, start, stop Value) (lo, hi, first int, ok bool, err error) {
	if start.k == KindMissing && stop.k == KindMissing {
		return 0, len(s), 0, true, nil
	}
	n := runeCount(s)
	if start.k != KindMissing {
		i, err := sliceIndex(start, 0)
		if err != nil || i > n {
			return 0, 0, 0, false, err
		}
	}
	first, last, err := bounds(start, stop, n)
	if err != nil || first > last {
		return 0, 0, 0, false, err
	}
	lo = byteOffset(s, first)
	return lo, lo + byteOffset(s[lo:], last-first), first, true, nil
}

func findMethod(name string, last, must bool) method {
	return func(st *state, self Value, a args) (Value, error) {
		p, err := a.plain(name, 1, 3)
		if err == nil {
			err = wantStr(p[0], name+"() argument")
		}
		if err == nil {
			err = st.spendText(4*len(self.s), 0)
		}
		if err != nil {
			return Value{}, err
		}
		lo, hi, first, ok, err := window(self.s, p[1], p[2])
		if err != nil {
			return Value{}, err
		}
		i := -1
		if ok {
			if last {
				i = strings.LastIndex(self.s[lo:hi], p[0].s)
			} else {
				i = strings.Index(self.s[lo:hi], p[0].s)
			}
		}
		if i < 0 {
			if must {
				return Value{}, valueErr("substring not found")
			}
			return Int(-1), nil
		}
		return Int(int64(first + runeCount(self.s[lo:lo+i]))), nil
	}
}

func affixMethod(name string, has func(s, x string) bool) method {
	return func(st *state, self Value, a args) (Value, error) {
		p, err := a.plain(name, 1, 3)
		if err != nil {
			return Value{}, err
		}
		lo, hi, _, ok, err := window(self.s, p[1], p[2])
		if err != nil {
			return Value{}, err
		}
		xs := []Value{p[0]}
		if p[0].k == KindTuple {
			xs = p[0].items()
		}
		for _, x := range xs {
			if x.k != KindString {
				if p[0].k == KindTuple {
					return Value{}, typeErr("tuple for %s must only contain str, not %s", name, typeName(x))
				}
				return Value{}, typeErr("%s first arg must be str or a tuple of str, not %s", name, typeName(x))
			}
			if err := st.spend(1+len(x.s)>>6, 0); err != nil {
				return Value{}, err
			}
			if ok && has(self.s[lo:hi], x.s) {
				return vTrue, nil
			}
		}
		return vFalse, nil
	}
}

func toInt(v Value) (int, error) {
	switch v.k {
	case KindInt, KindBool:
		return int(max(min(v.int(), 1<<40), -1<<40)), nil
	case KindBig:
		return v.big().Sign() << 40, nil
	case KindUndefined:
		return 0, undefError(v)
	}
	return 0, typeErr("'%s' object cannot be interpreted as an integer", typeName(v))
}

func justMethod(name string, sides func(pad, width int) (int, int)) method {
	return func(st *state, self Value, a args) (Value, error) {
		p, err := a.plain(name, 1, 2)
		if err != nil {
			return Value{}, err
		}
		return justify(st, self, p[0], p[1], sides)
	}
}

func justify(st *state, self, width, fill Value, sides func(pad, width int) (int, int)) (Value, error) {
	w, err := toInt(width)
	if err != nil {
		return Value{}, err
	}
	if fill.k == KindMissing {
		fill = String(" ")
	}
	if fill.k != KindString || runeCount(fill.s) != 1 {
		return Value{}, typeErr("The fill character must be exactly one character long")
	}
	pad := w - runeCount(self.s)
	if pad <= 0 {
		return self, nil
	}
	if err := st.spendProduct(pad, len(fill.s)); err != nil {
		return Value{}, err
	}
	l, r := sides(pad, w)
	f := strings.Repeat(fill.s, max(l, r))
	v := concat(concat(fill.like(f[:l*len(fill.s)]), self), fill.like(f[:r*len(fill.s)]))
	v.f |= self.f & flagMarkup
	return v, nil
}

func strCount(st *state, self Value, a args) (Value, error) {
	p, err := a.plain("count", 1, 3)
	if err == nil {
		err = wantStr(p[0], "argument")
	}
	if err != nil {
		return Value{}, err
	}
	lo, hi, _, ok, err := window(self.s, p[1], p[2])
	if err != nil || !ok {
		return Int(0), err
	}
	return Int(int64(strings.Count(self.s[lo:hi], p[0].s))), st.spendText(2*len(self.s), 0)
}

func strReplace(st *state, self Value, a args) (Value, error) {
	p, err := a.plain("replace", 2, 3)
	if err != nil {
		return Value{}, err
	}
	for i, v := range p[:2] {
		if v.k != KindString {
			return Value{}, typeErr("replace() argument %d must be str, not %s", i+1, typeName(v))
		}
	}
	n := -1
	if p[2].k != KindMissing {
		if n, err = toInt(p[2]); err != nil {
			return Value{}, err
		}
	}
	if self.isMarkup() {
		if p[1], err = escapeHTML(st, p[1]); err != nil {
			return Value{}, err
		}
	}
	return replace(st, self, p[0], p[1], n)
}

func replace(st *state, self, old, new Value, n int) (Value, error) {
	s := self.s
	if err := st.spendText(2*len(s), 0); err != nil {
		return Value{}, err
	}
	count := strings.Count(s, old.s)
	if n >= 0 {
		count = min(count, n)
	}
	if count == 0 {
		return self, nil
	}
	size := len(s)
	if grow := len(new.s) - len(old.s); grow > 0 {
		if err := st.spendProduct(count, grow); err != nil {
			return Value{}, err
		}
		size += count * grow
	}
	if err := st.spendText(len(s), len(s)); err != nil {
		return Value{}, err
	}
	if !self.tainted() && !new.tainted() {
		return self.like(strings.Replace(s, old.s, new.s, count)), nil
	}
	b := strBuilder{b: make([]byte, 0, size)}
	at := 0
	for range count {
		i := strings.Index(s[at:], old.s)
		if old.s == "" {
			if at == 0 && len(b.b) == 0 {
				i = 0
			} else {
				i = runeLen(s[at:])
			}
		}
		b.add(self.sub(at, at+i))
		b.add(new)
		at += i + len(old.s)
		if old.s == "" && at >= len(s) {
			break
		}
	}
	b.add(self.sub(at, len(s)))
	v := b.value()
	v.f |= self.f & flagMarkup
	return v, nil
}

func strJoin(st *state, self Value, a args) (Value, error) {
	p, err := a.plain("join", 1, 1)
	if err != nil {
		return Value{}, err
	}
	it, err := iterate(st, p[0])
	if err != nil {
		return Value{}, typeErr("can only join an iterable")
	}
	var b strBuilder
	for i := 0; ; i++ {
		v, ok, err := it.next(st)
		if err != nil {
			return Value{}, err
		}
		if !ok {
			break
		}
		if i > 0 {
			b.add(self)
		}
		if self.isMarkup() {
			if v, err = escapeHTML(st, v); err != nil {
				return Value{}, err
			}
		}
		if v.k != KindString {
			return Value{}, typeErr("sequence item %d: expected str instance, %s found", i, typeName(v))
		}
		b.add(v)
		if err := st.spendText(0, len(v.s)+len(self.s)); err != nil {
			return Value{}, err
		}
	}
	v := b.value()
	v.f |= self.f & flagMarkup
	return v, nil
}

func strZfill(st *state, self Value, a args) (Value, error) {
	p, err := a.plain("zfill", 1, 1)
	if err != nil {
		return Value{}, err
	}
	sign := 0
	if signAt(self.s, 0) != 0 {
		sign = 1
	}
	v, err := justify(st, self.sub(sign, len(self.s)), p[0], String("0"), func(pad, _ int) (int, int) { return max(0, pad-sign), 0 })
	if err != nil || sign == 0 {
		return v, err
	}
	return concat(self.sub(0, 1), v), nil
}

func strExpandTabs(st *state, self Value, a args) (Value, error) {
	p, err := a.bind("expandtabs", 0, "tabsize")
	if err != nil {
		return Value{}, err
	}
	size := 8
	if p[0].k != KindMissing {
		if size, err = toInt(p[0]); err != nil {
			return Value{}, err
		}
	}
	size = max(size, 0)
	if err := st.spendProduct(strings.Count(self.s, "\t"), size); err != nil {
		return Value{}, err
	}
	var b strings.Builder
	col := 0
	for _, r := range self.s {
		switch r {
		case '\t':
			if size > 0 {
				n := size - col%size
				col += n
				b.WriteString(strings.Repeat(" ", n))
			}
			continue
		case '\n', '\r':
			col = -1
		}
		col++
		b.WriteRune(r)
	}
	return self.like(b.String()), st.spendText(len(self.s), len(self.s))
}

func strRemovePrefix(st *state, self Value, a args) (Value, error) {
	p, err := a.plain("removeprefix", 1, 1)
	if err == nil {
		err = wantStr(p[0], "removeprefix() argument")
	}
	if err != nil || !strings.HasPrefix(self.s, p[0].s) {
		return self, err
	}
	return self.sub(len(p[0].s), len(self.s)), nil
}

func strRemoveSuffix(st *state, self Value, a args) (Value, error) {
	p, err := a.plain("removesuffix", 1, 1)
	if err == nil {
		err = wantStr(p[0], "removesuffix() argument")
	}
	if err != nil || !strings.HasSuffix(self.s, p[0].s) {
		return self, err
	}
	return self.sub(0, len(self.s)-len(p[0].s)), nil
}

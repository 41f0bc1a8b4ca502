package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// spec is a format specification, of str.format or of the % operator.
type spec struct {
	fill      string
	align     byte // < > = ^, or 0
	sign      byte // + - or space, or 0
	alt, zero bool
	width     int
	group     byte // , or _
	prec      int  // -1 is none
	typ       byte
}

// maxWidth bounds widths and precisions in formats.
const maxWidth = 1 << 16

func parseSpec(s string) (spec, error) {
	f := spec{prec: -1}
	full := s
	if s != "" {
		n := runeLen(s)
		if len(s) > n && strings.IndexByte("<>=^", s[n]) >= 0 {
			f.fill, f.align, s = s[:n], s[n], s[n+1:]
		} else if strings.IndexByte("<>=^", s[0]) >= 0 {
			f.align, s = s[0], s[1:]
		}
	}
	take := func(set string) byte {
		if s != "" && strings.IndexByte(set, s[0]) >= 0 {
			c := s[0]
			s = s[1:]
			return c
		}
		return 0
	}
	number := func() (int, bool, error) {
		n := 0
		for n < len(s) && decimal(s[n]) {
			n++
		}
		if n == 0 {
			return 0, false, nil
		}
		v, err := strconv.Atoi(s[:n])
		s = s[n:]
		if err != nil {
			return 0, false, valueErr("Too many decimal digits in format string")
		}
		if v > maxWidth {
			return 0, false, budgetErr("a format is too wide")
		}
		return v, true, nil
	}
	f.sign = take("+- ")
	take("z")
	f.alt = take("#") != 0
	if take("0") != 0 {
		f.zero = true
		if f.align == 0 {
			f.align = '='
		}
		if f.fill == "" {
			f.fill = "0"
		}
	}
	var err error
	if f.width, _, err = number(); err != nil {
		return f, err
	}
	f.group = take(",_")
	if take(".") != 0 {
		p, ok, err := number()
		if err != nil {
			return f, err
		}
		if !ok {
			return f, valueErr("Format specifier missing precision")
		}
		f.prec = p
	}
	if len(s) > 1 {
		return f, valueErr("Invalid format specifier '%s'", full)
	}
	if s != "" {
		f.typ = s[0]
	}
	return f, nil
}

// pad sets body, a sign or prefix and digits, into the width.
func (f *spec) pad(prefix string, body Value, def byte) Value {
	align, fill := f.align, f.fill
	if align == 0 {
		align = def
	}
	if fill == "" {
		fill = " "
	}
	n := max(0, f.width-runeCount(prefix)-runeCount(body.s))
	left := 0
	switch align {
	case '>', '=':
		left = n
	case '^':
		left = n / 2
	}
	l, r := String(strings.Repeat(fill, left)), String(strings.Repeat(fill, n-left))
	if align == '=' {
		return concat(concat(concat(String(prefix), l), body), r)
	}
	return concat(concat(concat(l, String(prefix)), body), r)
}

// formatValue is Python's format(v, s).
func formatValue(st *state, v Value, s string) (Value, error) {
	if s == "" {
		return toStr(st, v)
	}
	f, err := parseSpec(s)
	if err != nil {
		return Value{}, err
	}
	if err := st.spend(1, f.width+max(f.prec, 0)); err != nil {
		return Value{}, err
	}
	switch {
	case v.k == KindString:
		if f.typ != 0 && f.typ != 's' {
			return Value{}, valueErr("Unknown format code '%c' for object of type 'str'", f.typ)
		}
		if f.align == '=' && !f.zero || f.sign != 0 || f.alt || f.group != 0 {
			return Value{}, valueErr("format specifier is not allowed for strings")
		}
		if f.align == '=' {
			f.align = '<'
		}
		v.f &^= flagMarkup
		if f.prec >= 0 {
			v = v.sub(0, byteOffset(v.s, f.prec))
		}
		return f.pad("", v, '<'), nil
	case v.isNumber():
		return formatNumber(v, f)
	}
	return Value{}, typeErr("unsupported format string passed to %s.__format__", typeName(v))
}

func formatNumber(v Value, f spec) (Value, error) {
	if v.isIntegral() && strings.IndexByte("\x00bcdoxXn", f.typ) >= 0 {
		if f.prec >= 0 {
			return Value{}, valueErr("Precision not allowed in integer format specifier")
		}
		if f.typ == 'c' {
			n, err := toInt(v)
			if err != nil || n < 0 || n > 0x10ffff {
				return Value{}, errf("OverflowError", "%%c arg not in range(0x110000)")
			}
			return f.pad("", String(string(rune(n))), '<'), nil
		}
		b := toBig(v)
		base, prefix := 10, ""
		switch f.typ {
		case 'b':
			base, prefix = 2, "0b"
		case 'o':
			base, prefix = 8, "0o"
		case 'x':
			base, prefix = 16, "0x"
		case 'X':
			base, prefix = 16, "0X"
		}
		if base == 10 {
			if _, err := bigText(b); err != nil {
				return Value{}, err
			}
		}
		digits := new(big.Int).Abs(b).Text(base)
		if f.typ == 'X' {
			digits = strings.ToUpper(digits)
		}
		if !f.alt {
			prefix = ""
		}
		step := 3
		if base != 10 {
			step = 4
		}
		return f.number(b.Sign() < 0, prefix, digits, "", step), nil
	}
	if strings.IndexByte("\x00eEfFgGn%", f.typ) < 0 {
		return Value{}, valueErr("Unknown format code '%c' for object of type '%s'", f.typ, typeName(v))
	}
	x, err := toFloat(v)
	if err != nil {
		return Value{}, err
	}
	neg := math.Signbit(x) && !math.IsNaN(x)
	text := floatText(math.Abs(x), f)
	whole, rest := text, ""
	if i := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		whole, rest = text[:i], text[i:]
	}
	return f.number(neg, "", whole, rest, 3), nil
}

// number puts sign, prefix, grouped digits and the rest together.
func (f *spec) number(neg bool, prefix, digits, rest string, step int) Value {
	switch {
	case neg:
		prefix = "-" + prefix
	case f.sign == '+' || f.sign == ' ':
		prefix = string(f.sign) + prefix
	}
	if f.group != 0 && digits != "" {
		if f.fill == "0" && f.align == '=' {
			for want := f.width - len(prefix) - len(rest); len(digits)+(len(digits)-1)/step < want; {
				digits = "0" + digits
			}
		}
		digits = groupDigits(digits, f.group, step)
	}
	return f.pad(prefix, String(digits+rest), '>')
}

func groupDigits(s string, sep byte, step int) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		if i > 0 && (len(s)-i)%step == 0 {
			b = append(b, sep)
		}
		b = append(b, s[i])
	}
	return string(b)
}

// floatText formats a float that is not negative.
func floatText(x float64, f spec) string {
	typ, prec := f.typ, f.prec
	if typ == 0 && prec < 0 {
		return pyFloat(x)
	}
	upper := typ == 'E' || typ == 'F' || typ == 'G'
	var s string
	switch {
	case math.IsInf(x, 0):
		s = "inf"
	case math.IsNaN(x):
		s = "nan"
	default:
		if prec < 0 {
			prec = 6
		}
		switch typ {
		case 'e', 'E':
			s = strconv.FormatFloat(x, 'e', prec, 64)
			if f.alt && prec == 0 {
				s = strings.Replace(s, "e", ".e", 1)
			}
		case 'f', 'F':
			s = strconv.FormatFloat(x, 'f', prec, 64)
			if f.alt && prec == 0 {
				s += "."
			}
		case '%':
			return strconv.FormatFloat(x*100, 'f', prec, 64) + "%"
		default:
			s = generalFloat(x, max(prec, 1), f.alt, typ == 0)
		}
	}
	if typ == '%' {
		s += "%"
	}
	if upper {
		s = strings.ToUpper(s)
	}
	return s
}

// generalFloat is C's %g; with repr set it keeps one digit after the point, as Python's empty type does.
func generalFloat(x float64, prec int, alt, repr bool) string {
	e := strconv.FormatFloat(x, 'e', prec-1, 64)
	exp, _ := strconv.Atoi(e[strings.IndexByte(e, 'e')+1:])
	limit := prec
	if repr {
		limit-- // 'd.' needs a digit after the point
	}
	if exp < -4 || exp >= max(limit, 1) && !(repr && exp < limit) {
		m, tail, _ := strings.Cut(e, "e")
		if !alt && strings.Contains(m, ".") {
			m = strings.TrimRight(strings.TrimRight(m, "0"), ".")
		}
		return m + "e" + tail
	}
	s := strconv.FormatFloat(x, 'f', max(prec-1-exp, 0), 64)
	if !alt && strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if repr && !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func strFormat(st *state, self Value, a args) (Value, error) {
	f := formatter{st: st, a: a, markup: self.isMarkup()}
	return f.run(self)
}

func strFormatMap(st *state, self Value, a args) (Value, error) {
	if len(a.kw) > 0 {
		return Value{}, typeErr("format_map() takes no keyword arguments")
	}
	if len(a.pos) != 1 {
		return Value{}, typeErr("format_map() takes exactly one argument (%d given)", len(a.pos))
	}
	f := formatter{st: st, mapping: a.pos[0], isMap: true, markup: self.isMarkup()}
	return f.run(self)
}

// formatter is Python's string.Formatter with the lookups of the sandbox.
type formatter struct {
	st      *state
	a       args
	mapping Value
	isMap   bool
	markup  bool
	auto    int // next automatic field; -1 after a manual one
	manual  bool
}

func (f *formatter) run(self Value) (Value, error) {
	var b strBuilder
	if err := f.expand(&b, self, 2); err != nil {
		return Value{}, err
	}
	v := b.value()
	if f.markup {
		v = v.withMarkup()
	}
	return v, f.st.spendText(len(self.s), len(b.b))
}

func (f *formatter) expand(b *strBuilder, t Value, depth int) error {
	if depth < 0 {
		return valueErr("Max string recursion exceeded")
	}
	s := t.s
	for i := 0; i < len(s); {
		j := strings.IndexAny(s[i:], "{}")
		if j < 0 {
			b.add(t.sub(i, len(s)))
			break
		}
		b.add(t.sub(i, i+j))
		i += j
		if i+1 < len(s) && s[i+1] == s[i] {
			b.add(t.sub(i, i+1))
			i += 2
			continue
		}
		if s[i] == '}' {
			return valueErr("Single '}' encountered in format string")
		}
		if i+1 == len(s) {
			return valueErr("Single '{' encountered in format string")
		}
		end, level := i+1, 1
		for ; end < len(s) && level > 0; end++ {
			switch s[end] {
			case '{':
				level++
			case '}':
				level--
			}
		}
		if level > 0 {
			return valueErr("expected '}' before end of string")
		}
		if err := f.field(b, t.sub(i+1, end-1), depth); err != nil {
			return err
		}
		i = end
		if len(b.b) > f.st.maxBytes {
			return budgetErr("the template uses too much memory")
		}
	}
	return nil
}

func (f *formatter) field(b *strBuilder, t Value, depth int) error {
	s := t.s
	name, conv, format := s, byte(0), Value{k: KindString}
	bracket := false
	for i := 0; i < len(s); i++ {
		if s[i] == '[' {
			bracket = true
		} else if s[i] == ']' {
			bracket = false
		}
		if bracket || s[i] != ':' && s[i] != '!' {
			continue
		}
		name = s[:i]
		if s[i] == '!' {
			if i+1 >= len(s) {
				return valueErr("end of string while looking for conversion specifier")
			}
			conv = s[i+1]
			if i += 2; i < len(s) && s[i] != ':' {
				return valueErr("expected ':' after conversion specifier")
			}
		}
		if i < len(s) {
			format = t.sub(i+1, len(s))
		}
		break
	}
	v, err := f.lookup(name)
	if err != nil {
		return err
	}
	switch conv {
	case 0:
	case 's':
		v, err = toStr(f.st, v)
	case 'r', 'a':
		v, err = reprValue(f.st, v, conv == 'a')
	default:
		return valueErr("Unknown conversion specifier %c", conv)
	}
	if err != nil {
		return err
	}
	var fb strBuilder
	if err := f.expand(&fb, format, depth-1); err != nil {
		return err
	}
	if f.markup && v.isMarkup() {
		if len(fb.b) > 0 {
			return valueErr("Unsupported format specification for Markup.")
		}
	} else {
		if v, err = formatValue(f.st, v, string(fb.b)); err == nil && f.markup {
			v, err = escapeHTML(f.st, v)
		}
	}
	if err != nil {
		return err
	}
	b.add(v)
	return f.st.spendText(0, len(v.s))
}

func reprValue(st *state, v Value, ascii bool) (Value, error) {
	var b strBuilder
	if err := appendRepr(&b, v, 0); err != nil {
		return Value{}, err
	}
	r := b.value()
	if ascii && !isASCII(r.s) {
		var out []byte
		for _, c := range r.s {
			if c < 0x80 {
				out = append(out, byte(c))
			} else {
				out = appendRuneEscape(out, c)
			}
		}
		r = r.like(string(out))
	}
	return r, st.spendText(len(r.s), len(r.s))
}

// lookup resolves a field name: a first part and .attributes or [items].
func (f *formatter) lookup(name string) (Value, error) {
	end := strings.IndexAny(name, ".[")
	if end < 0 {
		end = len(name)
	}
	first, rest := name[:end], name[end:]
	var v Value
	if first == "" || isDecimal(first) {
		i := 0
		if first == "" {
			if f.manual {
				return v, valueErr("cannot switch from manual field specification to automatic field numbering")
			}
			i = f.auto
			f.auto++
		} else {
			if f.auto > 0 {
				return v, valueErr("cannot switch from manual field specification to automatic field numbering")
			}
			f.manual = true
			n, err := strconv.Atoi(first)
			if err != nil {
				return v, valueErr("Too many decimal digits in format string")
			}
			i = n
		}
		if f.isMap || i >= len(f.a.pos) {
			return v, errf("IndexError", "Replacement index %d out of range for positional args tuple", i)
		}
		v = f.a.pos[i]
	} else {
		found := false
		if f.isMap {
			var err error
			if f.mapping.k != KindDict {
				return v, typeErr("'%s' object is not subscriptable", typeName(f.mapping))
			}
			if v, found, err = f.mapping.dict().get(String(first)); err != nil {
				return v, err
			}
		}
		for _, k := range f.a.kw {
			if k.name == first {
				v, found = k.v, true
			}
		}
		if !found {
			return v, errf("KeyError", "%s", pyRepr(first))
		}
	}
	for rest != "" {
		var err error
		if rest[0] == '.' {
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			attr := rest[1 : 1+end]
			if attr == "" {
				return v, valueErr("Empty attribute in format string")
			}
			v, err = getattr(f.st, v, attr, methodsNamed[attr])
			rest = rest[1+end:]
		} else {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return v, valueErr("Missing ']' in format string")
			}
			key := rest[1:end]
			if key == "" {
				return v, valueErr("Empty attribute in format string")
			}
			k := String(key)
			if isDecimal(key) {
				n, err := strconv.Atoi(key)
				if err != nil {
					return v, valueErr("Too many decimal digits in format string")
				}
				k = Int(int64(n))
			}
			v, err = getitem(f.st, v, k)
			rest = rest[end+1:]
			if rest != "" && rest[0] != '.' && rest[0] != '[' {
				return v, valueErr("Only '.' or '[' may follow ']' in format field specifier")
			}
		}
		if err != nil {
			return v, err
		}
	}
	return v, nil
}

func isDecimal(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

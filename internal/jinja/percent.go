package jinja

import (
	"math"
	"strings"
)

// formatPercent is Python's text % arg.
func formatPercent(st *state, text, arg Value) (Value, error) {
	p := percent{st: st, text: text, one: arg}
	if arg.k == KindTuple {
		p.args, p.tuple = arg.items(), true
	}
	p.mapping = arg.k == KindDict || arg.k == KindList || arg.k == KindRange || arg.k == KindUndefined
	if err := p.run(); err != nil {
		return Value{}, err
	}
	v := p.b.value()
	if text.isMarkup() {
		v = v.withMarkup()
	}
	return v, st.spendText(len(text.s), len(p.b.b))
}

type percent struct {
	st      *state
	text    Value
	one     Value
	args    []Value
	tuple   bool
	mapping bool // the argument may stay unused
	used    int
	b       strBuilder
}

func (p *percent) next() (Value, error) {
	if p.tuple {
		if p.used >= len(p.args) {
			return Value{}, typeErr("not enough arguments for format string")
		}
		p.used++
		return p.args[p.used-1], nil
	}
	if p.used > 0 {
		return Value{}, typeErr("not enough arguments for format string")
	}
	p.used = 1
	return p.one, nil
}

func (p *percent) run() error {
	s := p.text.s
	named := false
	for i := 0; i < len(s); {
		j := strings.IndexByte(s[i:], '%')
		if j < 0 {
			p.b.add(p.text.sub(i, len(s)))
			break
		}
		p.b.add(p.text.sub(i, i+j))
		i += j + 1
		f := spec{prec: -1}
		var arg Value
		have := false
		if i < len(s) && s[i] == '(' {
			end, level := i+1, 1
			for ; end < len(s) && level > 0; end++ {
				if s[end] == '(' {
					level++
				} else if s[end] == ')' {
					level--
				}
			}
			if level > 0 {
				return valueErr("incomplete format key")
			}
			if p.one.k != KindDict {
				return typeErr("format requires a mapping")
			}
			v, ok := p.one.dict().getString(s[i+1 : end-1])
			if !ok {
				return errf("KeyError", "%s", pyRepr(s[i+1:end-1]))
			}
			arg, have, named = v, true, true
			i = end
		}
		left := false
	flags:
		for ; i < len(s); i++ {
			switch s[i] {
			case '-':
				left = true
			case '+':
				f.sign = '+'
			case ' ':
				if f.sign == 0 {
					f.sign = ' '
				}
			case '#':
				f.alt = true
			case '0':
				f.zero = true
			default:
				break flags
			}
		}
		number := func() (int, error) {
			if i < len(s) && s[i] == '*' {
				i++
				v, err := p.next()
				if err != nil {
					return 0, err
				}
				if !v.isIntegral() {
					return 0, typeErr("* wants int")
				}
				n, err := toInt(v)
				if err == nil && (n > maxWidth || n < -maxWidth) {
					err = budgetErr("a format is too wide")
				}
				return n, err
			}
			n := 0
			for ; i < len(s) && decimal(s[i]); i++ {
				if n = n*10 + int(s[i]-'0'); n > maxWidth {
					return 0, budgetErr("a format is too wide")
				}
			}
			return n, nil
		}
		var err error
		if f.width, err = number(); err != nil {
			return err
		}
		if f.width < 0 {
			left, f.width = true, -f.width
		}
		if i < len(s) && s[i] == '.' {
			i++
			if f.prec, err = number(); err != nil {
				return err
			}
			f.prec = max(f.prec, 0)
		}
		if i < len(s) && strings.IndexByte("hlL", s[i]) >= 0 {
			i++
		}
		if i >= len(s) {
			return valueErr("incomplete format")
		}
		c := s[i]
		at := i
		i += runeLen(s[i:])
		if c == '%' {
			p.b.byte('%')
			continue
		}
		if !have {
			if arg, err = p.next(); err != nil {
				return err
			}
		}
		f.typ = c
		v, err := p.convert(arg, f, at)
		if err != nil {
			return err
		}
		if err := p.st.spend(1, f.width+len(v.s)); err != nil {
			return err
		}
		if left {
			f.align = '<'
			f.fill = ""
		}
		numeric := strings.IndexByte("diuoxXeEfFgG", c) >= 0
		prefix := ""
		if numeric && f.zero && !left {
			n := 0
			for n < len(v.s) && strings.IndexByte("+- ", v.s[n]) >= 0 {
				n++
			}
			if strings.HasPrefix(v.s[n:], "0x") || strings.HasPrefix(v.s[n:], "0X") || strings.HasPrefix(v.s[n:], "0o") {
				n += 2
			}
			prefix, v = v.s[:n], v.sub(n, len(v.s))
			f.align, f.fill = '=', "0"
		}
		p.b.add(f.pad(prefix, v, '>'))
	}
	if p.tuple {
		if p.used < len(p.args) {
			return typeErr("not all arguments converted during string formatting")
		}
	} else if !named && !p.mapping && p.used == 0 {
		return typeErr("not all arguments converted during string formatting")
	}
	return nil
}

// convert formats one argument without its width.
func (p *percent) convert(v Value, f spec, at int) (Value, error) {
	switch f.typ {
	case 's', 'r', 'a':
		var err error
		if f.typ == 's' {
			if p.text.isMarkup() {
				v, err = escapeHTML(p.st, v)
			}
			if err == nil {
				v, err = toStr(p.st, v)
			}
		} else {
			v, err = reprValue(p.st, v, f.typ == 'a')
			if err == nil && p.text.isMarkup() {
				v, err = escapeHTML(p.st, v)
			}
		}
		if err == nil && f.prec >= 0 {
			v = v.sub(0, byteOffset(v.s, f.prec))
		}
		v.f &^= flagMarkup
		return v, err
	case 'c':
		if v.k == KindString && runeCount(v.s) == 1 {
			return v, nil
		}
		if !v.isIntegral() {
			return v, typeErr("%%c requires int or char")
		}
		n, err := toInt(v)
		if err == nil && (n < 0 || n > 0x10ffff) {
			err = errf("OverflowError", "%%c arg not in range(0x110000)")
		}
		return String(string(rune(n))), err
	case 'd', 'i', 'u', 'o', 'x', 'X':
		if v.k == KindUndefined && strings.IndexByte("diu", f.typ) >= 0 {
			return v, undefError(v)
		}
		if v.k == KindFloat && strings.IndexByte("diu", f.typ) >= 0 {
			i, err := truncate(v.float())
			if err != nil {
				return v, err
			}
			v = i
		}
		if !v.isIntegral() {
			if strings.IndexByte("oxX", f.typ) >= 0 {
				return v, typeErr("%%%c format: an integer is required, not %s", f.typ, typeName(v))
			}
			return v, typeErr("%%%c format: a real number is required, not %s", f.typ, typeName(v))
		}
		g := spec{prec: -1, sign: f.sign, alt: f.alt, typ: f.typ}
		if strings.IndexByte("iu", f.typ) >= 0 {
			g.typ = 'd'
		}
		r, err := formatNumber(v, g)
		if err != nil {
			return v, err
		}
		n := 0 // digits start after the sign and the prefix
		for n < len(r.s) && strings.IndexByte("+- ", r.s[n]) >= 0 {
			n++
		}
		if f.alt && g.typ != 'd' {
			n += 2
		}
		if missing := f.prec - (len(r.s) - n); missing > 0 {
			r = String(r.s[:n] + strings.Repeat("0", missing) + r.s[n:])
		}
		return r, nil
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if v.k == KindUndefined {
			return v, undefError(v)
		}
		if !v.isNumber() {
			return v, typeErr("must be real number, not %s", typeName(v))
		}
		x, err := toFloat(v)
		if err != nil {
			return v, err
		}
		text := floatText(math.Abs(x), f)
		switch {
		case math.Signbit(x) && !math.IsNaN(x):
			text = "-" + text
		case f.sign != 0:
			text = string(f.sign) + text
		}
		return String(text), nil
	}
	r := firstRune(p.text.s[at:])
	return v, valueErr("unsupported format character '%c' (0x%x) at index %d", r, r, runeCount(p.text.s[:at]))
}

// truncate is Python's int(f).
func truncate(f float64) (Value, error) {
	switch {
	case math.IsNaN(f):
		return Value{}, valueErr("cannot convert float NaN to integer")
	case math.IsInf(f, 0):
		return Value{}, errf("OverflowError", "cannot convert float infinity to integer")
	case math.Abs(f) < 1<<62:
		return Int(int64(f)), nil
	}
	b, _ := bigFloat(f).Int(nil)
	return bigInt(b), nil
}

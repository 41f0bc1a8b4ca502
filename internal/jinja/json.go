package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// FromJSON parses a JSON document as Python's json.loads does: objects keep the order of their keys (a repeated
// key keeps its first place and its last value), integers are exact, NaN and Infinity are accepted. All strings are
// tainted. Invalid UTF-8 and lone surrogates become U+FFFD. Values may refer to data, which must not change.
func FromJSON(data []byte) (Value, error) {
	p := jsonParser{s: string(data)}
	p.space()
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	p.space()
	if p.i < len(p.s) {
		return Value{}, p.fail("unexpected data after the document")
	}
	return v, nil
}

type jsonParser struct {
	s string
	i int
}

// maxJSONDepth bounds nesting in JSON; Python fails at its recursion limit as well.
const maxJSONDepth = 300

func (p *jsonParser) fail(what string) error {
	return fmt.Errorf("json: %s at byte %d", what, p.i)
}

func (p *jsonParser) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\n' || p.s[p.i] == '\t' || p.s[p.i] == '\r') {
		p.i++
	}
}

func (p *jsonParser) word(w string) bool {
	if strings.HasPrefix(p.s[p.i:], w) {
		p.i += len(w)
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) (Value, error) {
	if depth > maxJSONDepth {
		return Value{}, p.fail("nested too deeply")
	}
	if p.i >= len(p.s) {
		return Value{}, p.fail("unexpected end")
	}
	switch c := p.s[p.i]; c {
	case '"':
		s, err := p.str()
		return Tainted(s), err
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case 't':
		if p.word("true") {
			return vTrue, nil
		}
	case 'f':
		if p.word("false") {
			return vFalse, nil
		}
	case 'n':
		if p.word("null") {
			return None, nil
		}
	default:
		return p.number()
	}
	return Value{}, p.fail("expected a value")
}

func (p *jsonParser) object(depth int) (Value, error) {
	p.i++
	d := NewDict(4)
	p.space()
	if p.word("}") {
		return d.Value(), nil
	}
	for {
		p.space()
		if p.i >= len(p.s) || p.s[p.i] != '"' {
			return Value{}, p.fail("expected a key")
		}
		k, err := p.str()
		if err != nil {
			return Value{}, err
		}
		p.space()
		if !p.word(":") {
			return Value{}, p.fail("expected ':'")
		}
		p.space()
		v, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		d.setValue(Tainted(k), v)
		p.space()
		if p.word("}") {
			return d.Value(), nil
		}
		if !p.word(",") {
			return Value{}, p.fail("expected ',' or '}'")
		}
	}
}

func (p *jsonParser) array(depth int) (Value, error) {
	p.i++
	var items []Value
	p.space()
	if p.word("]") {
		return NewList(nil), nil
	}
	for {
		p.space()
		v, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		items = append(items, v)
		p.space()
		if p.word("]") {
			return NewList(items), nil
		}
		if !p.word(",") {
			return Value{}, p.fail("expected ',' or ']'")
		}
	}
}

func (p *jsonParser) number() (Value, error) {
	start := p.i
	if p.word("NaN") {
		return Float(nan), nil
	}
	neg := p.word("-")
	if p.word("Infinity") {
		if neg {
			return Float(-inf), nil
		}
		return Float(inf), nil
	}
	digits := func() bool {
		at := p.i
		for p.i < len(p.s) && p.s[p.i]-'0' < 10 {
			p.i++
		}
		return p.i > at
	}
	at := p.i
	if !digits() || p.s[at] == '0' && p.i > at+1 {
		p.i = start
		return Value{}, p.fail("expected a value")
	}
	float := false
	if end := p.i; p.word(".") {
		if float = digits(); !float {
			p.i = end
		}
	}
	if end := p.i; p.word("e") || p.word("E") {
		if !p.word("+") {
			p.word("-")
		}
		if digits() {
			float = true
		} else {
			p.i = end
		}
	}
	text := p.s[start:p.i]
	if float {
		f, _ := strconv.ParseFloat(text, 64) // out of range is an infinity, as in Python
		return Float(f), nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Int(n), nil
	}
	if len(text) > maxDigits {
		return Value{}, p.fail("an integer has too many digits")
	}
	b, _ := new(big.Int).SetString(text, 10)
	return bigInt(b), nil
}

func (p *jsonParser) str() (string, error) {
	p.i++
	start := p.i
	for p.i < len(p.s) && p.s[p.i] != '"' && p.s[p.i] != '\\' && p.s[p.i] >= ' ' {
		p.i++
	}
	if p.i < len(p.s) && p.s[p.i] == '"' {
		p.i++
		return strings.ToValidUTF8(p.s[start:p.i-1], "\ufffd"), nil
	}
	b := []byte(p.s[start:p.i])
	for {
		if p.i >= len(p.s) {
			return "", p.fail("unterminated string")
		}
		c := p.s[p.i]
		p.i++
		switch {
		case c == '"':
			return strings.ToValidUTF8(string(b), "\ufffd"), nil
		case c < ' ':
			p.i--
			return "", p.fail("control character in a string")
		case c != '\\':
			b = append(b, c)
			continue
		}
		if p.i >= len(p.s) {
			return "", p.fail("unterminated string")
		}
		c = p.s[p.i]
		p.i++
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, ok := p.hex4()
			if !ok {
				return "", p.fail("invalid \\u escape")
			}
			if utf16.IsSurrogate(r) {
				if save := p.i; p.word(`\u`) {
					if low, ok := p.hex4(); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
						r = utf16.DecodeRune(r, low)
					} else {
						p.i = save
					}
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			p.i -= 2
			return "", p.fail("invalid escape")
		}
	}
}

func (p *jsonParser) hex4() (rune, bool) {
	if p.i+4 > len(p.s) {
		return 0, false
	}
	n, err := strconv.ParseUint(p.s[p.i:p.i+4], 16, 32)
	if err != nil || p.s[p.i] == '+' {
		return 0, false
	}
	p.i += 4
	return rune(n), true
}

package tokenizer

import (
	"strconv"
	"strings"
)

// escape parses a backslash sequence that stands for a set or a character.
func (p *reParser) escape(inClass bool) (*runeSet, error) {
	s := newRuneSet()
	p.p++
	if !p.more() {
		return nil, p.fail("a trailing backslash")
	}
	flag := func(f uint16, negate bool) {
		s.addWhere(func(r *ucRecord) bool { return r.flags&f != 0 })
		if negate {
			s.invert()
		}
	}
	at := p.p
	c := p.rune()
	switch c {
	case 's', 'S':
		flag(ufSpace, c == 'S')
	case 'w', 'W':
		flag(ufWord, c == 'W')
	case 'd', 'D':
		flag(ufDigit, c == 'D')
	case 'h', 'H':
		flag(ufHex, c == 'H')
	case 'n':
		s.add('\n')
	case 'r':
		s.add('\r')
	case 't':
		s.add('\t')
	case 'f':
		s.add('\f')
	case 'v':
		s.add('\v')
	case 'a':
		s.add(7)
	case 'e':
		s.add(27)
	case 'p', 'P':
		if !p.has("{") {
			p.p = at
			return nil, p.fail(`\` + string(c) + " without braces")
		}
		end := strings.IndexByte(p.src[p.p:], '}')
		if end < 0 {
			return nil, p.fail("an unclosed property")
		}
		name := p.src[p.p : p.p+end]
		negate := c == 'P'
		if strings.HasPrefix(name, "^") {
			name, negate = name[1:], !negate
		}
		if !s.property(name) {
			return nil, p.fail("the property " + name)
		}
		p.p += end + 1
		if negate {
			s.invert()
		}
	case 'x':
		if p.has("{") {
			end := strings.IndexByte(p.src[p.p:], '}')
			if end < 0 {
				return nil, p.fail("an unclosed code point")
			}
			v, err := strconv.ParseUint(strings.TrimSpace(p.src[p.p:p.p+end]), 16, 32)
			if err != nil || v > 0x10ffff {
				return nil, p.fail("the code point " + p.src[p.p:p.p+end])
			}
			p.p += end + 1
			s.add(rune(v))
			break
		}
		v, n := 0, 0
		for n < 2 && p.more() && hexDigit(p.src[p.p]) >= 0 {
			v = v<<4 | hexDigit(p.src[p.p])
			p.p++
			n++
		}
		if n == 0 || v > 0x7f {
			return nil, p.fail(`\x with these digits`)
		}
		s.add(rune(v))
	case 'u':
		if p.p+4 > len(p.src) {
			return nil, p.fail(`\u without four digits`)
		}
		v, err := strconv.ParseUint(p.src[p.p:p.p+4], 16, 32)
		if err != nil {
			return nil, p.fail(`\u without four digits`)
		}
		p.p += 4
		s.add(rune(v))
	case '0':
		if p.more() && p.src[p.p] >= '0' && p.src[p.p] <= '7' {
			return nil, p.fail("an octal escape")
		}
		s.add(0)
	default:
		if c == 'b' && inClass {
			s.add('\b')
			break
		}
		if c < 128 && (c >= '1' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			p.p = at - 1
			return nil, p.fail(`\` + string(c))
		}
		s.add(c)
	}
	return s, nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// class parses what follows "[": ranges, nested classes, && and POSIX brackets.
func (p *reParser) class() (*runeSet, error) {
	if p.deep++; p.deep > 200 {
		return nil, p.fail("nesting deeper than 200")
	}
	defer func() { p.deep-- }()
	negate := p.has("^")
	s, left := newRuneSet(), (*runeSet)(nil)
	first := true
	for {
		if !p.more() {
			return nil, p.fail("an unclosed class")
		}
		switch {
		case p.src[p.p] == ']' && !first:
			p.p++
			if _, err := p.folded(s); err != nil {
				return nil, err
			}
			if left != nil {
				s.intersect(left)
			}
			s.normalize()
			if negate {
				s.invert()
			}
			return s, nil
		case p.has("&&"):
			if _, err := p.folded(s); err != nil {
				return nil, err
			}
			if left != nil {
				s.intersect(left)
			}
			left, s = s, newRuneSet()
			continue
		case strings.HasPrefix(p.src[p.p:], "[:"):
			if end := strings.Index(p.src[p.p:], ":]"); end > 0 {
				name := p.src[p.p+2 : p.p+end]
				neg := strings.HasPrefix(name, "^")
				sub := newRuneSet()
				if !sub.posix(strings.TrimPrefix(name, "^")) {
					return nil, p.fail("the bracket [:" + name + ":]")
				}
				if neg {
					sub.invert()
				}
				s.addSet(sub)
				p.p += end + 2
				first = false
				continue
			}
		}
		first = false
		if p.has("[") {
			sub, err := p.class()
			if err != nil {
				return nil, err
			}
			s.addSet(sub)
			continue
		}
		lo, one, err := p.classItem(s)
		if err != nil {
			return nil, err
		}
		if !one {
			continue
		}
		hi := lo
		if strings.HasPrefix(p.src[p.p:], "-") && p.p+1 < len(p.src) && p.src[p.p+1] != ']' {
			p.p++
			if p.src[p.p] == '[' || strings.HasPrefix(p.src[p.p:], "&&") {
				return nil, p.fail("this range")
			}
			tmp := newRuneSet()
			if hi, one, err = p.classItem(tmp); err != nil {
				return nil, err
			}
			if !one || hi < lo {
				return nil, p.fail("this range")
			}
		}
		s.addRange(lo, hi)
	}
}

// classItem parses a character (one is true) or a set, which it adds to s.
func (p *reParser) classItem(s *runeSet) (r rune, one bool, err error) {
	if p.src[p.p] != '\\' {
		return p.rune(), true, nil
	}
	e, err := p.escape(true)
	if err != nil {
		return 0, false, err
	}
	if len(e.ranges) == 1 && e.ranges[0][0] == e.ranges[0][1] {
		return e.ranges[0][0], true, nil
	}
	s.addSet(e)
	return 0, false, nil
}

func (s *runeSet) posix(name string) bool {
	switch name {
	case "ascii":
		s.addRange(0, 127)
		return true
	case "blank":
		s.property("zs")
		s.add('\t')
		return true
	case "digit":
		return s.property("digit")
	case "space":
		return s.property("space")
	case "word":
		return s.property("word")
	case "xdigit":
		return s.property("xdigit")
	case "cntrl":
		return s.property("cc")
	}
	return false
}

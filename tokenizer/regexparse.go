package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The pattern language of pre-tokenizers is the part of Oniguruma's Ruby syntax that has no captures and no memory:
// literals, classes with && and nesting, \p{…}, \s \d \w \h, alternation, groups, (?i) (?m) (?x) flags, greedy, lazy and possessive
// repetition, atomic groups, look-ahead, and the anchors \A \z \Z ^ $ \b \B \G. Everything else is refused by name.

type reKind uint8

const (
	reEmpty reKind = iota
	reSet
	reCat
	reAlt
	reRepeat
	reAtomic
	reLook
	reAssert
)

type reNode struct {
	kind     reKind
	set      *runeSet
	subs     []*reNode
	min, max int // reRepeat; max -1 = unbounded
	lazy     bool
	negate   bool // reLook
	assert   byte // reAssert: A z Z ^ $ b B G
}

type reParser struct {
	src  string
	p    int
	fold bool // (?i)
	dot  bool // (?m): . matches a line break
	ext  bool // (?x)
	deep int
}

func (p *reParser) fail(what string) error {
	return fmt.Errorf("pattern %q: %s at byte %d is not supported", p.src, what, p.p)
}

func (p *reParser) more() bool { return p.p < len(p.src) }
func (p *reParser) has(s string) bool {
	if strings.HasPrefix(p.src[p.p:], s) {
		p.p += len(s)
		return true
	}
	return false
}

func (p *reParser) rune() rune {
	r, n := utf8.DecodeRuneInString(p.src[p.p:])
	p.p += n
	return r
}

func (p *reParser) alt() (*reNode, error) {
	if p.deep++; p.deep > 200 {
		return nil, p.fail("nesting deeper than 200")
	}
	defer func() { p.deep-- }()
	fold, dot, ext := p.fold, p.dot, p.ext
	defer func() { p.fold, p.dot, p.ext = fold, dot, ext }()
	var alts []*reNode
	for {
		n, err := p.cat()
		if err != nil {
			return nil, err
		}
		alts = append(alts, n)
		if !p.has("|") {
			break
		}
	}
	if len(alts) == 1 {
		return alts[0], nil
	}
	return &reNode{kind: reAlt, subs: alts}, nil
}

func (p *reParser) cat() (*reNode, error) {
	n := &reNode{kind: reCat}
	for p.more() && p.src[p.p] != '|' && p.src[p.p] != ')' {
		if p.ext {
			if strings.IndexByte(" \t\r\n\f\v", p.src[p.p]) >= 0 {
				p.p++
				continue
			}
			if p.src[p.p] == '#' {
				for p.more() && p.src[p.p] != '\n' {
					p.p++
				}
				continue
			}
		}
		a, rest, err := p.atom()
		if err != nil {
			return nil, err
		}
		if rest { // (?i) applies up to the end of the enclosing group
			sub, err := p.restOfGroup()
			if err != nil {
				return nil, err
			}
			n.subs = append(n.subs, sub)
			return n, nil
		}
		if a, err = p.quantifiers(a); err != nil {
			return nil, err
		}
		n.subs = append(n.subs, a)
	}
	if len(n.subs) == 1 {
		return n.subs[0], nil
	}
	return n, nil
}

// restOfGroup parses what follows an isolated option such as (?i); in Ruby syntax it takes the alternatives with it.
func (p *reParser) restOfGroup() (*reNode, error) {
	var alts []*reNode
	for {
		n, err := p.cat()
		if err != nil {
			return nil, err
		}
		alts = append(alts, n)
		if !p.has("|") {
			break
		}
	}
	if len(alts) == 1 {
		return alts[0], nil
	}
	return &reNode{kind: reAlt, subs: alts}, nil
}

func (p *reParser) quantifiers(a *reNode) (*reNode, error) {
	for p.more() {
		lo, hi, braces := 0, -1, false
		switch p.src[p.p] {
		case '*':
			p.p++
		case '+':
			lo = 1
			p.p++
		case '?':
			hi = 1
			p.p++
		case '{':
			var ok bool
			var n int
			if lo, hi, n, ok = parseBraces(p.src[p.p:]); !ok {
				return a, nil // a literal brace
			}
			if lo > 1000 || hi > 1000 || hi >= 0 && lo > hi {
				return nil, p.fail("a repetition count outside of 0..1000")
			}
			p.p += n
			braces = true
		default:
			return a, nil
		}
		if a.kind == reAssert || a.kind == reLook {
			return nil, p.fail("repetition of an assertion")
		}
		r := &reNode{kind: reRepeat, subs: []*reNode{a}, min: lo, max: hi}
		switch {
		case p.has("?"):
			if braces && lo == hi { // Ruby: {n}? is an optional {n}
				return nil, p.fail("{n}?")
			}
			r.lazy = true
		case !braces && p.has("+"): // Ruby: {n,m}+ repeats, it is not possessive
			r = &reNode{kind: reAtomic, subs: []*reNode{r}}
		}
		a = r
	}
	return a, nil
}

// parseBraces reads {n}, {n,}, {,m} or {n,m}.
func parseBraces(s string) (lo, hi, n int, ok bool) {
	end := strings.IndexByte(s, '}')
	if end < 2 {
		return
	}
	a, b, comma := strings.Cut(s[1:end], ",")
	if a == "" && b == "" {
		return
	}
	num := func(s string, empty int) int {
		if s == "" {
			return empty
		}
		v, err := strconv.ParseUint(s, 10, 20)
		if err != nil {
			ok = false
		}
		return int(v)
	}
	ok = true
	lo, hi = num(a, 0), num(b, -1)
	if !comma {
		hi = lo
	}
	return lo, hi, end + 1, ok
}

// atom parses one element; rest reports an option that applies to the rest of the group.
func (p *reParser) atom() (n *reNode, rest bool, err error) {
	switch c := p.src[p.p]; c {
	case '(':
		return p.group()
	case '[':
		p.p++
		s, err := p.class()
		if err != nil {
			return nil, false, err
		}
		return &reNode{kind: reSet, set: s}, false, nil
	case '.':
		p.p++
		s := newRuneSet()
		s.addRange(0, 0x10ffff)
		if !p.dot {
			s.remove('\n')
		}
		return &reNode{kind: reSet, set: s}, false, nil
	case '^', '$':
		p.p++
		return &reNode{kind: reAssert, assert: c}, false, nil
	case '*', '+', '?':
		return nil, false, p.fail("a repetition of nothing")
	case '\\':
		if p.p+1 < len(p.src) {
			switch a := p.src[p.p+1]; a {
			case 'A', 'z', 'Z', 'b', 'B', 'G':
				p.p += 2
				return &reNode{kind: reAssert, assert: a}, false, nil
			}
		}
		s, err := p.escape(false)
		if err != nil {
			return nil, false, err
		}
		if p.fold && (len(s.ranges) != 1 || s.ranges[0][0] != s.ranges[0][1]) {
			return nil, false, p.fail("a class escape without case")
		}
		s, err = p.folded(s)
		return &reNode{kind: reSet, set: s}, false, err
	}
	for _, pair := range foldPairs {
		if rest := p.src[p.p:]; p.fold && len(rest) > 1 && strings.EqualFold(rest[:2], pair) {
			return nil, false, p.fail("the letters " + pair + " without case, which also stand for a ligature,")
		}
	}
	s := newRuneSet()
	s.add(p.rune())
	s, err = p.folded(s)
	return &reNode{kind: reSet, set: s}, false, err
}

// folded closes a set under case folding where the pattern ignores case.
func (p *reParser) folded(s *runeSet) (*runeSet, error) {
	if !p.fold {
		return s, nil
	}
	if s.several() {
		return nil, p.fail("a character without case that folds to several")
	}
	s.foldCase()
	return s, nil
}

func (p *reParser) group() (*reNode, bool, error) {
	start := p.p
	wrap := func(f func(*reNode) *reNode) (*reNode, bool, error) {
		n, err := p.alt()
		if err != nil {
			return nil, false, err
		}
		if !p.has(")") {
			p.p = start
			return nil, false, p.fail("an unclosed group")
		}
		return f(n), false, nil
	}
	same := func(n *reNode) *reNode { return n }
	switch {
	case p.has("(?:"):
		return wrap(same)
	case p.has("(?>"):
		return wrap(func(n *reNode) *reNode { return &reNode{kind: reAtomic, subs: []*reNode{n}} })
	case p.has("(?="):
		return wrap(func(n *reNode) *reNode { return &reNode{kind: reLook, subs: []*reNode{n}} })
	case p.has("(?!"):
		return wrap(func(n *reNode) *reNode { return &reNode{kind: reLook, subs: []*reNode{n}, negate: true} })
	case p.has("(?<=") || p.has("(?<!"):
		p.p = start
		return nil, false, p.fail("look-behind")
	case p.has("(?#"):
		end := strings.IndexByte(p.src[p.p:], ')')
		if end < 0 {
			return nil, false, p.fail("an unclosed comment")
		}
		p.p += end + 1
		return &reNode{kind: reEmpty}, false, nil
	case p.has("(?"):
		on, fold, dot, ext := true, p.fold, p.dot, p.ext
		for p.more() {
			switch c := p.src[p.p]; c {
			case 'i':
				fold = on
			case 'm':
				dot = on
			case 'x':
				ext = on
			case '-':
				on = false
			case ':', ')':
				p.p++
				if c == ')' {
					p.fold, p.dot, p.ext = fold, dot, ext
					return nil, true, nil
				}
				f, d, x := p.fold, p.dot, p.ext
				p.fold, p.dot, p.ext = fold, dot, ext
				n, rest, err := wrap(same)
				p.fold, p.dot, p.ext = f, d, x
				return n, rest, err
			default:
				return nil, false, p.fail("the group (?" + string(c))
			}
			p.p++
		}
		return nil, false, p.fail("an unclosed group")
	}
	p.p++ // a capturing group groups; nothing can refer to it
	return wrap(same)
}

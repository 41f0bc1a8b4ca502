package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrFormat is wrapped by every error about a damaged or unknown file.
var ErrFormat = errors.New("tokenizer: malformed file")

// ErrUnsupported is wrapped by errors about a well-formed file that asks for something this package lacks; they name it.
var ErrUnsupported = errors.New("tokenizer: unsupported")

// jsonScan walks over a JSON text. Vocabularies are read by it directly; small parts go through encoding/json.
type jsonScan struct {
	b    []byte
	p    int
	cuts []int // commas between members of the value that skip passed over, some cutEvery bytes apart
}

const cutEvery = 128 << 10

func (s *jsonScan) fail(want string) error {
	if s.p >= len(s.b) {
		return fmt.Errorf("%w: JSON ends at offset %d, want %s", ErrFormat, len(s.b), want)
	}
	return fmt.Errorf("%w: JSON offset %d: want %s, found %q", ErrFormat, s.p, want, s.b[s.p])
}

func (s *jsonScan) ws() {
	for s.p < len(s.b) {
		switch s.b[s.p] {
		case ' ', '\n', '\t', '\r':
			s.p++
		default:
			return
		}
	}
}

// eat takes c if it comes next.
func (s *jsonScan) eat(c byte) bool {
	s.ws()
	if s.p < len(s.b) && s.b[s.p] == c {
		s.p++
		return true
	}
	return false
}

func (s *jsonScan) need(c byte) error {
	if !s.eat(c) {
		return s.fail(string(c))
	}
	return nil
}

// raw returns the inside of a string that has no escapes, or plain = false to be parsed by str.
func (s *jsonScan) raw() (in []byte, plain bool, err error) {
	if err := s.need('"'); err != nil {
		return nil, false, err
	}
	for i := s.p; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			in = s.b[s.p:i]
			s.p = i + 1
			return in, true, nil
		case c == '\\':
			return nil, false, nil
		case c < ' ':
			s.p = i
			return nil, false, s.fail("a string without control characters")
		}
	}
	s.p = len(s.b)
	return nil, false, s.fail("the end of a string")
}

// str appends a string, escapes undone.
func (s *jsonScan) str(dst []byte) ([]byte, error) {
	in, plain, err := s.raw()
	if err != nil {
		return dst, err
	}
	if plain {
		return append(dst, in...), nil
	}
	for s.p < len(s.b) {
		c := s.b[s.p]
		switch {
		case c == '"':
			s.p++
			return dst, nil
		case c < ' ':
			return dst, s.fail("a string without control characters")
		case c != '\\':
			dst = append(dst, c)
			s.p++
		default:
			if dst, err = s.escape(dst); err != nil {
				return dst, err
			}
		}
	}
	return dst, s.fail("the end of a string")
}

func (s *jsonScan) escape(dst []byte) ([]byte, error) {
	if s.p+1 >= len(s.b) {
		return dst, s.fail("an escape")
	}
	c := s.b[s.p+1]
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), c); i >= 0 {
		s.p += 2
		return append(dst, "\"\\/\b\f\n\r\t"[i]), nil
	}
	r, ok := s.hex4()
	if !ok {
		return dst, s.fail("an escape")
	}
	s.p += 6
	if utf16.IsSurrogate(r) {
		r2, ok := s.hex4()
		if full := utf16.DecodeRune(r, r2); ok && full != utf8.RuneError {
			s.p += 6
			return utf8.AppendRune(dst, full), nil
		}
		s.p -= 6
		return dst, s.fail("a surrogate pair")
	}
	return utf8.AppendRune(dst, r), nil
}

// hex4 reads the value of a \uXXXX at p without taking it.
func (s *jsonScan) hex4() (rune, bool) {
	if s.p+6 > len(s.b) || s.b[s.p] != '\\' || s.b[s.p+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.b[s.p+2 : s.p+6] {
		h := hexDigit(c)
		if h < 0 {
			return 0, false
		}
		r = r<<4 | rune(h)
	}
	return r, true
}

// uint reads an unsigned integer below 2^32.
func (s *jsonScan) uint() (uint32, error) {
	s.ws()
	var n uint64
	p := s.p
	for s.p < len(s.b) && s.b[s.p]-'0' < 10 && s.p-p < 11 {
		n = n*10 + uint64(s.b[s.p]-'0')
		s.p++
	}
	if s.p == p || n >= 1<<32 {
		s.p = p
		return 0, s.fail("an unsigned 32-bit integer")
	}
	return uint32(n), nil
}

// skip passes over one value of any kind and returns its text.
func (s *jsonScan) skip() ([]byte, error) {
	s.ws()
	start := s.p
	if s.p >= len(s.b) {
		return nil, s.fail("a value")
	}
	depth := 0
	s.cuts = nil
	for cut := start + cutEvery; s.p < len(s.b); {
		switch c := s.b[s.p]; c {
		case '"':
			if err := s.skipString(); err != nil {
				return nil, err
			}
			if depth == 0 {
				return s.b[start:s.p], nil
			}
			continue
		case '{', '[':
			if depth++; depth > 10000 {
				return nil, s.fail("nesting below 10000")
			}
		case '}', ']':
			if depth == 0 {
				return s.b[start:s.p], nil
			}
			if depth--; depth == 0 {
				s.p++
				return s.b[start:s.p], nil
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return s.b[start:s.p], nil
			}
			if depth == 1 && c == ',' && s.p >= cut {
				s.cuts = append(s.cuts, s.p)
				cut = s.p + cutEvery
			}
		}
		s.p++
	}
	if depth > 0 {
		return nil, s.fail("the end of an object or array")
	}
	return s.b[start:s.p], nil
}

func (s *jsonScan) skipString() error {
	for i := s.p + 1; ; {
		k := bytes.IndexByte(s.b[i:], '"')
		if k < 0 {
			s.p = len(s.b)
			return s.fail("the end of a string")
		}
		i += k
		e := i
		for s.b[e-1] == '\\' {
			e--
		}
		i++
		if (i-1-e)&1 == 0 {
			s.p = i
			return nil
		}
	}
}

// stretch is a part of an object or array: members up to one of its commas, or to its end.
type stretch struct{ from, to int }

// stretches cuts an object or array, as skip gave it, at its cuts; none where it is empty.
func (v *jsonValue) stretches(b []byte, begin, end byte) (out []stretch, err error) {
	s := jsonScan{b: b, p: v.at}
	if err := s.need(begin); err != nil {
		return nil, err
	}
	if s.eat(end) {
		return nil, nil
	}
	from, last := s.p, v.at+len(v.text)-1
	if s.p = last; b[last] != end {
		return nil, s.fail(string(end))
	}
	for _, c := range v.cuts {
		out = append(out, stretch{from, c})
		from = c + 1
	}
	return append(out, stretch{from, last}), nil
}

// members calls f for every member of a stretch, separated by commas; f takes the member.
func (s *jsonScan) members(to int, f func() error) error {
	for {
		s.ws()
		if err := f(); err != nil {
			return err
		}
		if s.ws(); s.p == to {
			return nil
		}
		if s.p > to {
			return s.fail("a comma further before")
		}
		if err := s.need(','); err != nil {
			return err
		}
	}
}

// object calls f for every member of an object; f takes the value.
func (s *jsonScan) object(f func(key string) error) error {
	if err := s.need('{'); err != nil {
		return err
	}
	if s.eat('}') {
		return nil
	}
	for {
		k, err := s.str(nil)
		if err != nil {
			return err
		}
		if err := s.need(':'); err != nil {
			return err
		}
		s.ws()
		if err := f(string(k)); err != nil {
			return err
		}
		if s.eat(',') {
			continue
		}
		return s.need('}')
	}
}

// array calls f for every element of an array; f takes the value.
func (s *jsonScan) array(f func() error) error {
	if err := s.need('['); err != nil {
		return err
	}
	if s.eat(']') {
		return nil
	}
	for {
		s.ws()
		if err := f(); err != nil {
			return err
		}
		if s.eat(',') {
			continue
		}
		return s.need(']')
	}
}

package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scanner reads JSON token by token, so that duplicate keys are seen and nesting is bounded.
type scanner struct {
	dec  *json.Decoder
	base int64 // of the JSON text in its file
}

func newScanner(text []byte, base int64) *scanner {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return &scanner{dec, base}
}

func (s *scanner) at() int64 { return s.base + s.dec.InputOffset() }

func (s *scanner) fail(format string, args ...any) error {
	return &FormatError{s.at(), fmt.Sprintf(format, args...)}
}

func (s *scanner) token() (json.Token, error) {
	t, err := s.dec.Token()
	if err == nil {
		return t, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, s.fail("the JSON text ends early")
	}
	return nil, s.fail("%v", err)
}

func (s *scanner) delim(want json.Delim, what string) error {
	t, err := s.token()
	if err == nil && t != want {
		err = s.fail("%s must begin with %v", what, want)
	}
	return err
}

func (s *scanner) text(what string) (string, error) {
	t, err := s.token()
	if err != nil {
		return "", err
	}
	v, ok := t.(string)
	if !ok {
		return "", s.fail("%s must be a string", what)
	}
	return v, nil
}

// object reads an object and calls field for each key, which must read the value.
func (s *scanner) object(what string, field func(key string) error) error {
	if err := s.delim('{', what); err != nil {
		return err
	}
	seen := map[string]struct{}{}
	for s.dec.More() {
		key, err := s.text("a key of " + what)
		if err != nil {
			return err
		}
		if _, dup := seen[key]; dup {
			return s.fail("%s has %q twice", what, key)
		}
		seen[key] = struct{}{}
		if err := field(key); err != nil {
			return err
		}
	}
	_, err := s.token()
	return err
}

// sizes reads an array of at most most integers that are not negative and fit an int.
func (s *scanner) sizes(what string, most int) ([]int, error) {
	if err := s.delim('[', what); err != nil {
		return nil, err
	}
	out := []int{}
	for s.dec.More() {
		t, err := s.token()
		if err != nil {
			return nil, err
		}
		n, ok := t.(json.Number)
		v, err := strconv.ParseUint(n.String(), 10, strconv.IntSize-1)
		if !ok || err != nil {
			return nil, s.fail("%s must hold integers from 0 to %d", what, ^uint(0)>>1)
		}
		if len(out) == most {
			return nil, s.fail("%s has more than %d numbers", what, most)
		}
		out = append(out, int(v))
	}
	_, err := s.token()
	return out, err
}

// skip passes over one value, whose nesting encoding/json bounds.
func (s *scanner) skip() error {
	var v json.RawMessage
	if err := s.dec.Decode(&v); err != nil {
		return s.fail("%v", err)
	}
	return nil
}

// end wants nothing but white space behind the value.
func (s *scanner) end() error {
	if _, err := s.dec.Token(); !errors.Is(err, io.EOF) {
		return s.fail("text behind the JSON object")
	}
	return nil
}

func (f *File) parse(data []byte) error {
	if len(data) < 8 {
		return &FormatError{0, fmt.Sprintf("header length needs 8 bytes, the file has %d", len(data))}
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader || n > uint64(len(data)-8) {
		return &FormatError{0, fmt.Sprintf("header length is %d; the file has %d bytes, and at most %d are read", n, len(data), maxHeader)}
	}
	header, body := data[8:8+n], data[8+n:]
	if n == 0 || header[0] != '{' {
		return &FormatError{8, "the header must begin with {"}
	}
	if at := invalidUTF8(header); at >= 0 {
		return &FormatError{8 + int64(at), "the header is not UTF-8"}
	}
	s := newScanner(header, 8)
	err := s.object("the header", func(key string) error {
		if key == "__metadata__" {
			return s.object(key, func(k string) error {
				v, err := s.text("__metadata__." + k)
				f.meta[k] = v
				return err
			})
		}
		t, err := s.tensor(key)
		if err != nil {
			return err
		}
		f.tensors = append(f.tensors, t)
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return err
	}
	return f.place(body, 8+int(n))
}

// invalidUTF8 returns the index of the first byte that is no UTF-8, or -1.
func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}

// tensor reads a tensor's entry. Its off field counts from the start of the data until place.
func (s *scanner) tensor(name string) (Tensor, error) {
	t := Tensor{Name: name, pos: s.at()}
	what := fmt.Sprintf("tensor %q", name)
	var span []int
	err := s.object(what, func(key string) (err error) {
		switch key {
		case "dtype":
			var d string
			d, err = s.text("dtype of " + what)
			t.DType = DType(d)
		case "shape":
			t.Shape, err = s.sizes("shape of "+what, maxDims)
		case "data_offsets":
			span, err = s.sizes("data_offsets of "+what, 2)
		default:
			err = s.skip()
		}
		return err
	})
	if err != nil {
		return t, err
	}
	if t.DType == "" || t.Shape == nil || len(span) != 2 || span[0] > span[1] {
		return t, s.fail("%s needs dtype, shape and two ascending data_offsets", what)
	}
	elems, ok := uint64(1), true
	for _, d := range t.Shape {
		if elems, ok = mulFits(elems, uint64(d)); !ok {
			return t, s.fail("%s: shape %v is out of range", what, t.Shape)
		}
	}
	t.elems = int(elems)
	t.off = span[0]
	size := span[1] - span[0]
	if per := t.DType.bits(); per > 0 {
		total, ok := mulFits(elems, per)
		if !ok || total%8 != 0 || total/8 != uint64(size) {
			return t, s.fail("%s: shape %v of %s does not take the %d bytes of its data_offsets", what, t.Shape, t.DType, size)
		}
	}
	t.size = size
	return t, nil
}

// place gives every tensor its data. All data must be used once, without holes.
func (f *File) place(body []byte, base int) error {
	slices.SortFunc(f.tensors, func(a, b Tensor) int {
		switch {
		case a.off != b.off:
			return a.off - b.off
		case a.size != b.size: // empty tensors first
			return a.size - b.size
		}
		return strings.Compare(a.Name, b.Name)
	})
	end := 0
	for i := range f.tensors {
		t := &f.tensors[i]
		switch {
		case t.off < end:
			return &FormatError{t.pos, fmt.Sprintf("data of tensor %q at %d overlaps that of %q, which ends at %d", t.Name, t.off, f.tensors[i-1].Name, end)}
		case t.off > end:
			return &FormatError{t.pos, fmt.Sprintf("data of tensor %q begins at %d and leaves a hole behind %d", t.Name, t.off, end)}
		case t.size > len(body)-t.off:
			return &FormatError{t.pos, fmt.Sprintf("data of tensor %q ends at %d, but the file has %d bytes of data (truncated?)", t.Name, t.off+t.size, len(body))}
		}
		end = t.off + t.size
		t.data = body[t.off:end:end]
		t.off += base
		f.byName[t.Name] = i
	}
	if end != len(body) {
		return &FormatError{int64(base + end), fmt.Sprintf("%d bytes behind the last tensor", len(body)-end)}
	}
	return nil
}

package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
)

// Kind is the type of a metadata value, numbered as in the file format.
type Kind uint32

const (
	Uint8 Kind = iota
	Int8
	Uint16
	Int16
	Uint32
	Int32
	Float32
	Bool
	String
	Array
	Uint64
	Int64
	Float64
	numKinds
)

var kindNames = [numKinds]string{"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array", "uint64", "int64", "float64"}

// kindBytes is the size of a value; 0 for strings and arrays, whose sizes vary.
var kindBytes = [numKinds]int{Uint8: 1, Int8: 1, Uint16: 2, Int16: 2, Uint32: 4, Int32: 4, Float32: 4, Bool: 1, Uint64: 8, Int64: 8, Float64: 8}

// String returns the kind's name, such as "uint32".
func (k Kind) String() string {
	if k >= numKinds {
		return fmt.Sprintf("kind(%d)", uint32(k))
	}
	return kindNames[k]
}

var (
	// ErrMissing is wrapped when the metadata has no such key.
	ErrMissing = errors.New("no such key")
	// ErrKind is wrapped when a value is not of the kind, or not in the range, that was asked for.
	ErrKind = errors.New("value of another kind")
)

// Value is one metadata value. It refers to the bytes of the file and must not be used after File.Close; what its
// methods return is copied unless they say otherwise. The zero Value is of no kind, and every method fails on it.
type Value struct {
	kind Kind
	elem Kind   // of an array
	n    int    // elements of an array; 1 otherwise
	data []byte // payload: an array's elements, a string's bytes, a number's bytes
	key  string
	off  int64 // of data in the file
	ok   bool
}

// Kind returns the value's kind.
func (v Value) Kind() Kind { return v.kind }

// Elem returns the kind of an array's elements.
func (v Value) Elem() Kind { return v.elem }

// Len returns the number of an array's elements, and 1 for other kinds.
func (v Value) Len() int { return v.n }

// Offset returns the place of the value's payload in the file.
func (v Value) Offset() int64 { return v.off }

func (v Value) fail(want string) error {
	if !v.ok {
		return fmt.Errorf("gguf: %q: %w", v.key, ErrMissing)
	}
	have := v.kind.String()
	if v.kind == Array {
		have = fmt.Sprintf("array of %d %v", v.n, v.elem)
	}
	return fmt.Errorf("gguf: %q at offset %d is %s, want %s: %w", v.key, v.off, have, want, ErrKind)
}

// raw returns the bits of a number, sign- or zero-extended.
func raw(k Kind, b []byte) uint64 {
	switch k {
	case Uint8, Bool:
		return uint64(b[0])
	case Int8:
		return uint64(int8(b[0]))
	case Uint16:
		return uint64(binary.LittleEndian.Uint16(b))
	case Int16:
		return uint64(int16(binary.LittleEndian.Uint16(b)))
	case Uint32, Float32:
		return uint64(binary.LittleEndian.Uint32(b))
	case Int32:
		return uint64(int32(binary.LittleEndian.Uint32(b)))
	default:
		return binary.LittleEndian.Uint64(b)
	}
}

func signed(k Kind) bool   { return k == Int8 || k == Int16 || k == Int32 || k == Int64 }
func unsigned(k Kind) bool { return k == Uint8 || k == Uint16 || k == Uint32 || k == Uint64 }

// Uint returns an integer of any width that is not negative.
func (v Value) Uint() (uint64, error) {
	if v.ok && (unsigned(v.kind) || signed(v.kind)) {
		if u := raw(v.kind, v.data); unsigned(v.kind) || int64(u) >= 0 {
			return u, nil
		}
	}
	return 0, v.fail("an unsigned integer")
}

// Int returns an integer of any width that fits int64.
func (v Value) Int() (int64, error) {
	if v.ok && (unsigned(v.kind) || signed(v.kind)) {
		if u := raw(v.kind, v.data); signed(v.kind) || u <= math.MaxInt64 {
			return int64(u), nil
		}
	}
	return 0, v.fail("an integer")
}

// Float returns a float32 or float64.
func (v Value) Float() (float64, error) {
	if v.ok && v.kind == Float32 {
		return float64(math.Float32frombits(uint32(raw(Float32, v.data)))), nil
	}
	if v.ok && v.kind == Float64 {
		return math.Float64frombits(raw(Float64, v.data)), nil
	}
	return 0, v.fail("a float")
}

// Bool returns a bool. A byte other than 0 and 1 is an error.
func (v Value) Bool() (bool, error) {
	if v.ok && v.kind == Bool && v.data[0] <= 1 {
		return v.data[0] == 1, nil
	}
	return false, v.fail("a bool")
}

// Text returns a string, which need not be valid UTF-8.
func (v Value) Text() (string, error) {
	if v.ok && v.kind == String {
		return string(v.data), nil
	}
	return "", v.fail("a string")
}

// Strings returns an array of strings; all of them share one block of memory.
func (v Value) Strings() ([]string, error) {
	if !v.ok || v.kind != Array || v.elem != String {
		return nil, v.fail("an array of strings")
	}
	var text strings.Builder
	text.Grow(len(v.data) - 8*v.n)
	out := make([]string, v.n)
	rest := v.data
	for i := range out {
		n := 8 + binary.LittleEndian.Uint64(rest) // in range: checked by Parse
		start := text.Len()
		text.Write(rest[8:n])
		out[i] = text.String()[start:]
		rest = rest[n:]
	}
	return out, nil
}

// Bytes iterates over the indices and strings of an array of strings without copying: the strings are read-only parts
// of the file's memory, valid until File.Close.
func (v Value) Bytes() (iter.Seq2[int, []byte], error) {
	if !v.ok || v.kind != Array || v.elem != String {
		return nil, v.fail("an array of strings")
	}
	return func(yield func(int, []byte) bool) {
		rest := v.data
		for i := range v.n {
			n := binary.LittleEndian.Uint64(rest) + 8 // in range: checked by Parse
			if !yield(i, rest[8:n:n]) {
				return
			}
			rest = rest[n:]
		}
	}, nil
}

// Float32s returns an array of floats, float64 rounded to float32.
func (v Value) Float32s() ([]float32, error) {
	if !v.ok || v.kind != Array || v.elem != Float32 && v.elem != Float64 {
		return nil, v.fail("an array of floats")
	}
	out := make([]float32, v.n)
	for i := range out {
		if v.elem == Float32 {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.data[4*i:]))
		} else {
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(v.data[8*i:])))
		}
	}
	return out, nil
}

// Int32s returns an array of integers of any width that all fit int32.
func (v Value) Int32s() ([]int32, error) {
	return ints[int32](v, "an array of int32", func(k Kind, u uint64) bool {
		return (signed(k) || u <= math.MaxInt32) && int64(u) == int64(int32(u))
	})
}

// Uint32s returns an array of integers of any width that all fit uint32.
func (v Value) Uint32s() ([]uint32, error) {
	return ints[uint32](v, "an array of uint32", func(_ Kind, u uint64) bool { return u <= math.MaxUint32 })
}

// Bools returns an array of bools.
func (v Value) Bools() ([]bool, error) {
	if v.ok && v.kind == Array && v.elem == Bool {
		out := make([]bool, v.n)
		for i, b := range v.data {
			if b > 1 {
				return nil, v.fail("an array of bools")
			}
			out[i] = b == 1
		}
		return out, nil
	}
	return nil, v.fail("an array of bools")
}

func ints[T int32 | uint32](v Value, want string, fits func(Kind, uint64) bool) ([]T, error) {
	if !v.ok || v.kind != Array || !unsigned(v.elem) && !signed(v.elem) {
		return nil, v.fail(want)
	}
	size := kindBytes[v.elem]
	out := make([]T, v.n)
	for i := range out {
		u := raw(v.elem, v.data[i*size:])
		if !fits(v.elem, u) {
			return nil, v.fail(want)
		}
		out[i] = T(u)
	}
	return out, nil
}

// Elems iterates over an array's elements as Values; arrays may hold arrays. Other kinds yield nothing.
func (v Value) Elems() iter.Seq2[int, Value] {
	return func(yield func(int, Value) bool) {
		if v.kind != Array {
			return
		}
		r := reader{data: v.data}
		for i := range v.n {
			e, err := r.value(v.elem, 0) // cannot fail: Parse has walked the same bytes
			if err != nil {
				return
			}
			e.key = fmt.Sprintf("%s[%d]", v.key, i)
			e.off += v.off
			if !yield(i, e) {
				return
			}
		}
	}
}

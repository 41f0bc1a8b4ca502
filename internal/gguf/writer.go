package gguf

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/krserve/krserve/internal/quant"
)

// Writer collects metadata and tensors and writes them as a GGUF file of version 3. The zero Writer is empty and
// ready. Its methods keep the first error for WriteTo.
type Writer struct {
	keys    []byte
	nKeys   int
	infos   []byte
	tensors []pending
	size    uint64 // of the data section so far
	err     error
}

type pending struct {
	name  string
	size  int
	write func(io.Writer) error
}

const writerAlignment = 32

// Set adds a key. Values are bool, string, the sized integers and floats, slices of all of these, and [][]T or []any
// for arrays of arrays; the elements of a []any must be of one kind.
func (w *Writer) Set(key string, value any) {
	b := appendString(w.keys, key)
	b, err := appendValue(b, value, true)
	if err != nil {
		w.fail(fmt.Errorf("gguf: key %q: %w", key, err))
		return
	}
	w.keys = b
	w.nKeys++
}

// Add adds a tensor. shape is in GGUF's order, row length first; data is what is stored and is kept until WriteTo.
func (w *Writer) Add(name string, t quant.Type, shape []int, data []byte) {
	want, err := w.AddFunc(name, t, shape, func(out io.Writer) error {
		_, err := out.Write(data)
		return err
	})
	if err == nil && want != len(data) {
		w.fail(fmt.Errorf("gguf: tensor %q has %d bytes, its shape and type need %d", name, len(data), want))
	}
}

// AddFunc adds a tensor whose bytes write produces during WriteTo; it returns how many these must be.
func (w *Writer) AddFunc(name string, t quant.Type, shape []int, write func(io.Writer) error) (int, error) {
	id, ok := idOf(t)
	if !ok || len(shape) == 0 || len(shape) > maxDims {
		return 0, w.fail(fmt.Errorf("gguf: tensor %q: cannot be stored as %v with %d dimensions", name, t, len(shape)))
	}
	rows := uint64(1)
	for i, d := range shape {
		if d <= 0 {
			return 0, w.fail(fmt.Errorf("gguf: tensor %q: dimension %d is %d", name, i, d))
		}
		if i > 0 {
			if rows, ok = mulFits(rows, uint64(d)); !ok {
				return 0, w.fail(fmt.Errorf("gguf: tensor %q: shape %v is out of range", name, shape))
			}
		}
	}
	size, ok := mulFits(rows, uint64(t.RowBytes(shape[0])))
	if !ok || shape[0]%t.BlockSize() != 0 || w.size > math.MaxInt64/2 {
		return 0, w.fail(fmt.Errorf("gguf: tensor %q: shape %v does not fit %v", name, shape, t))
	}
	b := appendString(w.infos, name)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(shape)))
	for _, d := range shape {
		b = binary.LittleEndian.AppendUint64(b, uint64(d))
	}
	b = binary.LittleEndian.AppendUint32(b, id)
	w.infos = binary.LittleEndian.AppendUint64(b, w.size)
	w.size += padded(size)
	w.tensors = append(w.tensors, pending{name, int(size), write})
	return int(size), nil
}

// WriteTo writes the file.
func (w *Writer) WriteTo(out io.Writer) (int64, error) {
	if w.err != nil {
		return 0, w.err
	}
	c := &counter{w: bufio.NewWriterSize(out, 1<<20)}
	head := binary.LittleEndian.AppendUint32([]byte("GGUF"), 3)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(w.tensors)))
	head = binary.LittleEndian.AppendUint64(head, uint64(w.nKeys))
	for _, b := range [][]byte{head, w.keys, w.infos} {
		if _, err := c.Write(b); err != nil {
			return c.n, err
		}
	}
	var zeros [writerAlignment]byte
	for _, t := range w.tensors {
		if _, err := c.Write(zeros[:padded(uint64(c.n))-uint64(c.n)]); err != nil {
			return c.n, err
		}
		before := c.n
		if err := t.write(c); err != nil {
			return c.n, fmt.Errorf("gguf: tensor %q: %w", t.name, err)
		}
		if c.n-before != int64(t.size) {
			return c.n, fmt.Errorf("gguf: tensor %q: wrote %d bytes of %d", t.name, c.n-before, t.size)
		}
	}
	return c.n, c.w.Flush()
}

// Bytes returns the file as WriteTo writes it.
func (w *Writer) Bytes() ([]byte, error) {
	var b bytes.Buffer
	_, err := w.WriteTo(&b)
	return b.Bytes(), err
}

func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

type counter struct {
	w *bufio.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func padded(n uint64) uint64 { return (n + writerAlignment - 1) / writerAlignment * writerAlignment }

func idOf(t quant.Type) (uint32, bool) {
	for id, f := range ggmlTypes {
		if f.t == t && t.Valid() {
			return id, true
		}
	}
	return 0, false
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue appends a value, behind its kind if tagged.
func appendValue(b []byte, value any, tagged bool) ([]byte, error) {
	k, err := kindOf(value)
	if err != nil {
		return nil, err
	}
	if tagged {
		b = binary.LittleEndian.AppendUint32(b, uint32(k))
	}
	switch v := value.(type) {
	case string:
		return appendString(b, v), nil
	case []string:
		return appendArray(b, String, v)
	case []any:
		elem := Uint8 // of an empty array
		if len(v) > 0 {
			if elem, err = kindOf(v[0]); err != nil {
				return nil, err
			}
		}
		return appendArray(b, elem, v)
	case [][]string:
		return appendArray(b, Array, v)
	case [][]int32:
		return appendArray(b, Array, v)
	case [][]uint32:
		return appendArray(b, Array, v)
	case [][]float32:
		return appendArray(b, Array, v)
	}
	if k != Array {
		return binary.Append(b, binary.LittleEndian, value)
	}
	elem, n := numbers(value)
	b = binary.LittleEndian.AppendUint32(b, uint32(elem))
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	return binary.Append(b, binary.LittleEndian, value)
}

func appendArray[T any](b []byte, elem Kind, v []T) ([]byte, error) {
	b = binary.LittleEndian.AppendUint32(b, uint32(elem))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(v)))
	for i, e := range v {
		k, err := kindOf(e)
		if err == nil && k != elem {
			err = fmt.Errorf("%v in an array of %v", k, elem)
		}
		if err == nil {
			b, err = appendValue(b, e, false)
		}
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return b, nil
}

func kindOf(value any) (Kind, error) {
	switch value.(type) {
	case uint8:
		return Uint8, nil
	case int8:
		return Int8, nil
	case uint16:
		return Uint16, nil
	case int16:
		return Int16, nil
	case uint32:
		return Uint32, nil
	case int32:
		return Int32, nil
	case float32:
		return Float32, nil
	case bool:
		return Bool, nil
	case string:
		return String, nil
	case uint64:
		return Uint64, nil
	case int64:
		return Int64, nil
	case float64:
		return Float64, nil
	case []string, []any, [][]string, [][]int32, [][]uint32, [][]float32:
		return Array, nil
	}
	if _, n := numbers(value); n >= 0 {
		return Array, nil
	}
	return 0, fmt.Errorf("a %T cannot be a metadata value", value)
}

// numbers returns the element kind and length of a slice of numbers or bools, and -1 for anything else.
func numbers(value any) (Kind, int) {
	switch v := value.(type) {
	case []uint8:
		return Uint8, len(v)
	case []int8:
		return Int8, len(v)
	case []uint16:
		return Uint16, len(v)
	case []int16:
		return Int16, len(v)
	case []uint32:
		return Uint32, len(v)
	case []int32:
		return Int32, len(v)
	case []float32:
		return Float32, len(v)
	case []bool:
		return Bool, len(v)
	case []uint64:
		return Uint64, len(v)
	case []int64:
		return Int64, len(v)
	case []float64:
		return Float64, len(v)
	}
	return 0, -1
}

// Package gguf reads GGUF model files, versions 2 and 3, straight from memory-mapped bytes, and writes version 3.
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Opening checks every length, count and range of
// the file once, so that what comes after cannot fail; it allocates in proportion to the number of keys and tensors
// and copies no array. Any bytes at all give a File or an error.
package gguf

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"

	"github.com/krserve/krserve/internal/mem"
)

// Limits that no real file comes near, so that memory stays a small multiple of what a hostile file costs to send.
const (
	maxKeys      = 1 << 16
	maxTensors   = 1 << 18
	maxName      = 1<<16 - 1 // bytes of a key, as the specification has it, and of a tensor's name
	maxDims      = 4         // GGML_MAX_DIMS
	maxDepth     = 8         // arrays within arrays
	maxShards    = 1 << 10
	maxAlignment = 1 << 20
)

// ErrFormat is wrapped by every error about a damaged file, or one that is no GGUF file.
var ErrFormat = errors.New("malformed GGUF file")

// FormatError says where a file is malformed. It wraps ErrFormat.
type FormatError struct {
	Offset int64  // bytes from the start of the file
	Msg    string // what is wrong there
}

func (e *FormatError) Error() string { return fmt.Sprintf("gguf: offset %d: %s", e.Offset, e.Msg) }
func (e *FormatError) Unwrap() error { return ErrFormat }

func malformed(off int, format string, args ...any) error {
	return &FormatError{Offset: int64(off), Msg: fmt.Sprintf(format, args...)}
}

// File is an open GGUF file, or all shards of a split one. It is immutable and safe for concurrent use until Close.
type File struct {
	version   uint32
	alignment int
	keys      []Value
	byKey     map[string]int
	tensors   []Tensor
	byName    map[string]int
	header    []byte

	files mem.Files
}

// Open maps the file at path and parses it. When its metadata says that it is one of several shards, their files are
// found beside it by name (…-00001-of-0000N.gguf) and opened, too; the metadata is that of the first.
func Open(path string) (*File, error) {
	f, err := openOne(path)
	if err != nil {
		return nil, err
	}
	n, err := f.shards()
	if err == nil && n > 1 {
		f, err = openShards(f, path, n)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func openOne(path string) (*File, error) {
	m, err := mem.Map(path)
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	f, err := Parse(m.Bytes())
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.files.Add(m)
	return f, nil
}

// Parse parses the bytes of one file, which must stay unchanged while the File or any tensor is in use. Of a split
// model it gives that one shard.
func Parse(data []byte) (*File, error) {
	r := reader{data: data}
	return r.file()
}

// Close unmaps the file. Tensor data, and Values obtained before, must not be used afterwards. Further calls do nothing.
func (f *File) Close() error { return f.files.Close() }

// Stamp tells the files as they were when they were opened from what they were or will be.
func (f *File) Stamp() string { return f.files.Stamp() }

// Forget lets go of the memory of data, a part of the mapped files, until it is read again.
func (f *File) Forget(data []byte) { f.files.Forget(data) }

// Version returns the format version, 2 or 3.
func (f *File) Version() int { return int(f.version) }

// Alignment returns general.alignment in bytes.
func (f *File) Alignment() int { return f.alignment }

// Header returns the bytes of the file up to the end of its metadata and its list of tensors: what the rest is read by.
// It is nil for a split model. The bytes must not be used after Close.
func (f *File) Header() []byte { return f.header }

// Keys iterates over the metadata in the file's order.
func (f *File) Keys() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for _, v := range f.keys {
			if !yield(v.key, v) {
				return
			}
		}
	}
}

// Has reports whether the metadata has the key.
func (f *File) Has(key string) bool { _, ok := f.byKey[key]; return ok }

// Value returns the value of a key. For a missing key every accessor of the result fails with ErrMissing, so
// that f.Value("a.b").Uint() needs one check.
func (f *File) Value(key string) Value {
	if i, ok := f.byKey[key]; ok {
		return f.keys[i]
	}
	return Value{key: key}
}

// Text returns a string value.
func (f *File) Text(key string) (string, error) { return f.Value(key).Text() }

// Uint returns an integer that is not negative.
func (f *File) Uint(key string) (uint64, error) { return f.Value(key).Uint() }

// Int returns an integer.
func (f *File) Int(key string) (int64, error) { return f.Value(key).Int() }

// Float returns a floating-point value.
func (f *File) Float(key string) (float64, error) { return f.Value(key).Float() }

// Bool returns a bool value.
func (f *File) Bool(key string) (bool, error) { return f.Value(key).Bool() }

// Strings returns an array of strings, copied.
func (f *File) Strings(key string) ([]string, error) { return f.Value(key).Strings() }

// Float32s returns an array of floats, copied.
func (f *File) Float32s(key string) ([]float32, error) { return f.Value(key).Float32s() }

// Int32s returns an array of integers, copied.
func (f *File) Int32s(key string) ([]int32, error) { return f.Value(key).Int32s() }

// Uint32s returns an array of integers, copied.
func (f *File) Uint32s(key string) ([]uint32, error) { return f.Value(key).Uint32s() }

// Or returns v unless err says that the key is missing; then it returns def. It wraps an accessor of File:
//
//	eps, err := gguf.Or(1e-5)(f.Float("llama.attention.layer_norm_rms_epsilon"))
func Or[T any](def T) func(T, error) (T, error) {
	return func(v T, err error) (T, error) {
		if errors.Is(err, ErrMissing) {
			return def, nil
		}
		return v, err
	}
}

// Tensors returns all tensors in the file's order. The slice must not be changed.
func (f *File) Tensors() []Tensor { return f.tensors }

// Tensor returns the tensor of that name, or nil.
func (f *File) Tensor(name string) *Tensor {
	if i, ok := f.byName[name]; ok {
		return &f.tensors[i]
	}
	return nil
}

// mulFits returns a*b, and whether it fits an int.
func mulFits(a, b uint64) (uint64, bool) {
	hi, lo := bits.Mul64(a, b)
	return lo, hi == 0 && lo <= uint64(^uint(0)>>1)
}

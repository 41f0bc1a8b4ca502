// Package safetensors reads model weights in the safetensors format straight from memory-mapped files: one file, or
// shards with a model.safetensors.index.json as Hugging Face and MLX write them.
//
// Format: https://github.com/huggingface/safetensors#format. Like the reference implementation it refuses headers
// over 100 MB, duplicate names, and data that overlaps, leaves holes or does not fit its shape. Any bytes at all give
// a File or an error.
package safetensors

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/krserve/krserve/internal/mem"
	"github.com/krserve/krserve/internal/quant"
)

const (
	maxHeader = 100_000_000 // bytes, as in the reference implementation
	maxDims   = 32
	maxShards = 1 << 12
)

// ErrFormat is wrapped by every error about a damaged file, or one of another format.
var ErrFormat = errors.New("malformed safetensors file")

// ErrType is wrapped when a tensor's element type cannot be read.
var ErrType = errors.New("unsupported element type")

// FormatError says where a file is malformed. It wraps ErrFormat.
type FormatError struct {
	Offset int64  // bytes from the start of the file
	Msg    string // what is wrong there
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("safetensors: offset %d: %s", e.Offset, e.Msg)
}

func (e *FormatError) Unwrap() error { return ErrFormat }

// DType is the element type of a tensor, spelled as in the file.
type DType string

// The element types that can be read.
const (
	Bool DType = "BOOL"
	U8   DType = "U8"
	I8   DType = "I8"
	U16  DType = "U16"
	I16  DType = "I16"
	U32  DType = "U32"
	I32  DType = "I32"
	U64  DType = "U64"
	I64  DType = "I64"
	F16  DType = "F16"
	BF16 DType = "BF16"
	F32  DType = "F32"
	F64  DType = "F64"
)

// Bytes returns the size of an element, and 0 for a type that cannot be read.
func (d DType) Bytes() int {
	switch d {
	case Bool, U8, I8:
		return 1
	case U16, I16, F16, BF16:
		return 2
	case U32, I32, F32:
		return 4
	case U64, I64, F64:
		return 8
	}
	return 0
}

// unreadBits gives the bits per element of the types that are known but not read.
var unreadBits = map[DType]uint64{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
	"F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8, "C64": 64}

// bits returns the bits per element, and 0 for an unknown type.
func (d DType) bits() uint64 {
	if n := d.Bytes(); n > 0 {
		return 8 * uint64(n)
	}
	return unreadBits[d]
}

// Tensor is one tensor of a file.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // row-major: the elements of the last dimension are adjacent. Empty for a scalar

	elems int
	off   int // of the data in its file
	size  int
	data  []byte
	pos   int64 // of the tensor's entry in the header
}

// Cols returns the length of a row: the last size, or 1 for a scalar.
func (t *Tensor) Cols() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// Rows returns the number of rows: the product of all sizes but the last.
func (t *Tensor) Rows() int {
	if t.Cols() == 0 {
		return 0
	}
	return t.elems / t.Cols()
}

// Elems returns the number of elements.
func (t *Tensor) Elems() int { return t.elems }

// Offset returns the place of the data in the tensor's own file.
func (t *Tensor) Offset() int64 { return int64(t.off) }

// Type returns the weight storage type: F32, F16, BF16, or quant.Invalid. The U32 words of MLX's affine codes are
// quant.Invalid here, since only the model's config tells their width.
func (t *Tensor) Type() quant.Type {
	switch t.DType {
	case F32:
		return quant.F32
	case F16:
		return quant.F16
	case BF16:
		return quant.BF16
	}
	return quant.Invalid
}

// Data returns the elements, little-endian, read-only and valid until File.Close. They may start at any address, odd
// ones included: the format does not align them. A type that cannot be read gives an error which names the tensor and
// wraps ErrType.
func (t *Tensor) Data() ([]byte, error) {
	if t.DType.Bytes() == 0 {
		return nil, fmt.Errorf("safetensors: tensor %q is stored as %s: %w", t.Name, t.DType, ErrType)
	}
	return t.data, nil
}

// File is an open file, or all shards of a model. It is immutable and safe for concurrent use until Close.
type File struct {
	meta    map[string]string
	tensors []Tensor
	byName  map[string]int

	files mem.Files
}

// Parse parses the bytes of one file, which must stay unchanged while the File or any tensor is in use.
func Parse(data []byte) (*File, error) {
	f := &File{meta: map[string]string{}, byName: map[string]int{}}
	if err := f.parse(data); err != nil {
		return nil, err
	}
	return f, nil
}

// Close unmaps the files. Tensor data must not be used afterwards. Further calls do nothing.
func (f *File) Close() error { return f.files.Close() }

// Stamp tells the files as they were when they were opened from what they were or will be.
func (f *File) Stamp() string { return f.files.Stamp() }

// Forget lets go of the memory of data, a part of the mapped files, until it is read again.
func (f *File) Forget(data []byte) { f.files.Forget(data) }

// Metadata returns the file's __metadata__; of shards, the first's. The map must not be changed.
func (f *File) Metadata() map[string]string { return f.meta }

// Tensors returns all tensors in the order of their data. The slice must not be changed.
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

package gguf

import (
	"errors"
	"fmt"

	"github.com/krserve/krserve/internal/quant"
)

// ErrType is wrapped when a tensor's storage type cannot be read.
var ErrType = errors.New("unsupported storage type")

// Tensor is one tensor of a file.
type Tensor struct {
	Name string
	// Type is the storage type, or quant.Invalid when it is none that this package reads; see Data.
	Type quant.Type
	// Shape has the sizes in GGUF's order: Shape[0] is the length of a row, whose elements are adjacent.
	Shape []int

	id    uint32 // ggml's number of the type
	elems int
	size  int // bytes; 0 when the type is unknown
	off   int // of the data in its file
	pos   int // of the tensor's header in its file
	data  []byte
}

// Cols returns the length of a row.
func (t *Tensor) Cols() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[0]
}

// Rows returns the number of rows: the product of all sizes but the first.
func (t *Tensor) Rows() int { return t.elems / t.Cols() }

// Elems returns the number of elements.
func (t *Tensor) Elems() int { return t.elems }

// Offset returns the place of the data in the tensor's own file.
func (t *Tensor) Offset() int64 { return int64(t.off) }

// TypeName returns ggml's name of the storage type, also of one that cannot be read.
func (t *Tensor) TypeName() string {
	if f := ggmlTypes[t.id]; f.name != "" {
		return f.name
	}
	return fmt.Sprintf("type %d", t.id)
}

// Data returns the stored bytes: Rows() rows of Type.RowBytes(Cols()) bytes, read-only and valid until File.Close.
// A tensor of a type that cannot be read gives an error which names it and wraps ErrType.
func (t *Tensor) Data() ([]byte, error) {
	if !t.Type.Valid() {
		return nil, fmt.Errorf("gguf: tensor %q is stored as %s: %w", t.Name, t.TypeName(), ErrType)
	}
	return t.data, nil
}

// ggmlType describes a storage type by ggml's number (enum ggml_type); the quants of quant are a part of them.
type ggmlType struct {
	name         string
	block, bytes int
	t            quant.Type
}

var ggmlTypes = func() map[uint32]ggmlType {
	m := map[uint32]ggmlType{
		9: {name: "Q8_1", block: 32, bytes: 40}, 15: {name: "Q8_K", block: 256, bytes: 292},
		16: {name: "IQ2_XXS", block: 256, bytes: 66}, 17: {name: "IQ2_XS", block: 256, bytes: 74},
		18: {name: "IQ3_XXS", block: 256, bytes: 98}, 19: {name: "IQ1_S", block: 256, bytes: 50},
		21: {name: "IQ3_S", block: 256, bytes: 110}, 22: {name: "IQ2_S", block: 256, bytes: 82},
		23: {name: "IQ4_XS", block: 256, bytes: 136}, 24: {name: "I8", block: 1, bytes: 1},
		25: {name: "I16", block: 1, bytes: 2}, 26: {name: "I32", block: 1, bytes: 4},
		27: {name: "I64", block: 1, bytes: 8}, 28: {name: "F64", block: 1, bytes: 8},
		29: {name: "IQ1_M", block: 256, bytes: 56}, 34: {name: "TQ1_0", block: 256, bytes: 54},
		35: {name: "TQ2_0", block: 256, bytes: 66}, 40: {name: "NVFP4", block: 64, bytes: 36},
	}
	for id, t := range map[uint32]quant.Type{
		0: quant.F32, 1: quant.F16, 2: quant.Q4_0, 3: quant.Q4_1, 6: quant.Q5_0, 7: quant.Q5_1, 8: quant.Q8_0,
		10: quant.Q2_K, 11: quant.Q3_K, 12: quant.Q4_K, 13: quant.Q5_K, 14: quant.Q6_K, 20: quant.IQ4_NL,
		30: quant.BF16, 39: quant.MXFP4,
	} {
		m[id] = ggmlType{t.String(), t.BlockSize(), t.BlockBytes(), t}
	}
	return m
}()

func storage(id uint32) quant.Type { return ggmlTypes[id].t }

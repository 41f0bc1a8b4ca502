// Package quant names the storage types of model weights and says how their blocks are laid out.
//
// A row of a weight matrix is stored as consecutive blocks; every block holds BlockSize weights in BlockBytes bytes.
// The layouts are those of GGUF (ggml-common.h) and of MLX's affine quantisation.
package quant

import "fmt"

// Type is the storage type of a weight.
type Type uint8

const (
	Invalid Type = iota
	F32
	F16
	BF16
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q8_0
	Q2_K
	Q3_K
	Q4_K
	Q5_K
	Q6_K
	IQ4_NL
	MXFP4
	Affine2 // MLX affine: packed unsigned integers, with a scale and a bias per group in tensors of their own
	Affine3
	Affine4
	Affine5
	Affine6
	Affine8
	numTypes
)

// A layout says how the blocks of a type are made.
type layout struct {
	name  string
	size  int // weights per block
	bytes int // bytes per block
}

var layouts = [numTypes]layout{
	Invalid: {"invalid", 1, 0},
	F32:     {"F32", 1, 4},
	F16:     {"F16", 1, 2},
	BF16:    {"BF16", 1, 2},
	Q4_0:    {"Q4_0", 32, 18},
	Q4_1:    {"Q4_1", 32, 20},
	Q5_0:    {"Q5_0", 32, 22},
	Q5_1:    {"Q5_1", 32, 24},
	Q8_0:    {"Q8_0", 32, 34},
	Q2_K:    {"Q2_K", 256, 84},
	Q3_K:    {"Q3_K", 256, 110},
	Q4_K:    {"Q4_K", 256, 144},
	Q5_K:    {"Q5_K", 256, 176},
	Q6_K:    {"Q6_K", 256, 210},
	IQ4_NL:  {"IQ4_NL", 32, 18},
	MXFP4:   {"MXFP4", 32, 17},
	Affine2: {"AFFINE2", 32, 8},
	Affine3: {"AFFINE3", 32, 12},
	Affine4: {"AFFINE4", 32, 16},
	Affine5: {"AFFINE5", 32, 20},
	Affine6: {"AFFINE6", 32, 24},
	Affine8: {"AFFINE8", 32, 32},
}

// layout returns that of Invalid for a number that names no type.
func (t Type) layout() layout {
	if t >= numTypes {
		t = Invalid
	}
	return layouts[t]
}

// String returns the type's usual name, such as "Q4_K".
func (t Type) String() string {
	if t >= numTypes {
		return fmt.Sprintf("Type(%d)", uint8(t))
	}
	return layouts[t].name
}

// Valid reports whether t names a storage type.
func (t Type) Valid() bool { return t > Invalid && t < numTypes }

// BlockSize returns the number of weights in one block, and 1 for a type that is not valid.
func (t Type) BlockSize() int { return t.layout().size }

// BlockBytes returns the number of bytes of one block, and 0 for a type that is not valid.
func (t Type) BlockBytes() int { return t.layout().bytes }

// RowBytes returns the bytes of a row of n weights; n must be a multiple of BlockSize.
func (t Type) RowBytes(n int) int {
	l := t.layout()
	return n / l.size * l.bytes
}

// Affine reports whether t is an MLX affine type, whose scales and biases are stored apart.
func (t Type) Affine() bool { return t >= Affine2 && t <= Affine8 }

// Package graph describes a decoder-only transformer as data: a flat list of operations in execution order over
// named activations and weights. internal/model builds graphs from model configs; backends run them.
package graph

import "github.com/krserve/krserve/internal/quant"

// Kind names an operation.
type Kind uint8

const (
	Embed      Kind = iota // Out[r] = Scale * W[token of row r]
	RMSNorm                // Out = In / rms(In) * W, over each group of Dim elements (a whole row, or one head for q/k norms)
	Linear                 // Out = W·In, plus Bias if there is one
	Rope                   // Out = In, each head of Dim elements rotated by the row's position with Ropes[Rope]
	KVWrite                // stores In as K and In2 as V of the row's position in layer Layer
	Attention              // Out = softmax(Scale * In·K) V over positions ≤ the row's own, within Window, in layer Layer
	Gate                   // Out = act(In) * In2, with Act
	Add                    // Out = In + In2
	Scale                  // Out = In * Scale
	Softcap                // Out = Cap * tanh(In/Cap)
	SelectRows             // Out = the rows of In whose logits are wanted; every op after the SelectRows runs on these rows only
	numKinds
)

// Activation is the function that Gate applies to In.
type Activation uint8

const (
	SiLU Activation = iota
	GELU            // tanh approximation, as gelu_pytorch_tanh
)

// None marks an unused value or weight reference.
const None = -1

// Op is one operation. Value and weight fields are indices into Graph.Values and Graph.Weights, or None.
type Op struct {
	Kind    Kind
	Layer   int // layer the op belongs to; None for embedding and head
	In, In2 int
	Out     int // may equal In
	W, Bias int
	Dim     int     // RMSNorm: group length; Rope: head length
	Rope    int     // index into Graph.Ropes
	Eps     float32 // RMSNorm
	Scale   float32 // Embed, Attention, Scale
	Cap     float32 // Softcap; on Attention a cap on the scores, 0 = none
	Window  int     // Attention: a row at position p sees positions > p-Window; 0 = all
	Act     Activation
}

// Value is an activation: Width float32 elements per row.
type Value struct {
	Name  string
	Width int
}

// Weight is a parameter tensor as the model file stores it, Rows×Cols in row-major order. A vector (a norm's weight,
// a bias) has Rows = 1 and is F32.
type Weight struct {
	Name string // the graph's own name, such as "layers.3.ffn.down"
	Type quant.Type
	Rows int // outputs
	Cols int // inputs
	// Data is the stored bytes, usually mapped from the model file; valid while the model is open.
	Data []byte
	// Scales and Biases belong to MLX affine weights: Rows × Cols/Group elements of AuxType.
	Scales, Biases []byte
	AuxType        quant.Type
	Group          int
}

// Bytes is how many stored bytes a product with the whole weight reads, scales and biases included.
func (w *Weight) Bytes() int64 {
	n := int64(w.Rows) * int64(w.Type.RowBytes(w.Cols))
	if w.Type.Affine() {
		n += 2 * int64(w.Rows) * int64(w.AuxType.RowBytes(w.Cols/w.Group))
	}
	return n
}

// RopeSpec is one table of rotary frequencies.
type RopeSpec struct {
	Base        float64
	Dims        int  // rotated elements per head, ≤ head length
	Interleaved bool // pairs are (2i, 2i+1), as in GGUF llama; otherwise (i, i+Dims/2)
	// Freqs are the Dims/2 inverse frequencies in radians per position, scaling (linear, llama3, yarn) folded in.
	Freqs []float32
	// Mscale multiplies sin and cos; 0 means 1.
	Mscale float32
}

// Graph is a program for one model.
type Graph struct {
	Arch    string
	Vocab   int
	Width   int // elements of the residual stream
	Layers  int
	Heads   int
	KVHeads int
	HeadDim int // of K and of V
	Context int // longest trained context in tokens
	Values  []Value
	Weights []Weight
	Ropes   []RopeSpec
	Ops     []Op
	Logits  int // the value that holds the logits
	Hidden  int // the value that holds the selected rows' final normalised hidden state
}

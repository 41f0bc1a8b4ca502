// Package backend defines how a graph is run. A Backend turns a graph into a Model; a Model runs steps.
//
// A row's logits depend on its own sequence only: the same bits come out whatever else is in the batch, however a
// prompt is cut into chunks, with any number of threads, and with or without a cached prefix.
package backend

import "github.com/krserve/krserve/internal/graph"

// BlockTokens is the number of positions in one KV block.
const BlockTokens = 32

// BlockID names one KV block of a Model: 0 ≤ id < Model.Blocks().
type BlockID = uint32

// KVType is the storage type of keys and values.
type KVType uint8

const (
	KVF16 KVType = iota
	KVQ8         // 8-bit integers with one scale per 32 elements
	KVQ4         // 4-bit, keys rotated by a Hadamard matrix
	KVF32        // the reference backend's own
)

// Limits are what a Model must be ready for. All memory is planned from them at Load.
type Limits struct {
	Rows    int // most rows in one step
	Blocks  int // KV blocks of address space; memory is committed as blocks are first written
	Threads int // 0 = one per physical core that the process may use
	KV      KVType
	// Kernel forces a kernel variant by name ("AVX2", "AVX512VNNI", "AMXINT8", …); empty chooses by CPU and measurement.
	Kernel string
	// ActivationBits is 8 or 16: what matmuls of quantised weights round activations to; 0 is 16.
	ActivationBits int
	// Packed is the path of a file, with PackedSuffix, in which a backend may keep the weights once more, as its kernels take them; "" keeps
	// none. It is made where it was not made from Source, which tells the model's files as they are now from others.
	Packed, Source string
	// Forget, if not nil, lets go of the memory of a weight's data that will hardly be read again.
	Forget func(data []byte)
}

// PackedSuffix ends the names of such files, by which those that nobody wants are found.
const PackedSuffix = ".packed"

// Batch is one step's work: rows are tokens of many sequences, prefill chunks and decodes mixed.
type Batch struct {
	Tokens []uint32 // per row
	Pos    []int32  // per row: absolute position in its sequence
	Seq    []int32  // per row: index into Tables, ascending. Rows of one sequence are adjacent, positions consecutive
	// Tables holds per sequence its KV blocks: block i keeps positions [i*BlockTokens, (i+1)*BlockTokens).
	Tables [][]BlockID
	// Sample lists, ascending, the rows whose logits are wanted.
	Sample []int32
	// Hidden asks for the final hidden state (Graph.Hidden) of the Sample rows instead of their logits.
	Hidden bool
}

// Logits is the outcome of a step: len(Sample) rows of Width float32, valid until the Model's next Step.
type Logits struct {
	Width int
	Data  []float32
}

// Row returns the i-th sampled row.
func (l Logits) Row(i int) []float32 { return l.Data[i*l.Width : (i+1)*l.Width] }

// Stats says what a Model holds and how fast it has been.
type Stats struct {
	Backend      string
	Kernels      []string // chosen kernel per weight type, and per shape with its measured speed
	Threads      int
	WeightBytes  int64
	KVBytes      int64 // committed
	ScratchBytes int64
	Steps        int64
	Rows         int64
	StepSeconds  float64
	DecodeGBps   float64 // 10⁹ bytes per second of the matmuls' weights in steps of one row: at most Bandwidth where caches hold none
	// Identity names what decides the bits of a KV block besides graph and storage type: the kernels and their version.
	// Blocks are exchanged between models of equal identities. Empty never exchanges any.
	Identity string
}

// Backend loads graphs. It is safe for concurrent use.
type Backend interface {
	Name() string
	// Load plans and reserves all memory that Model needs within the limits. The graph's weight data must stay
	// valid and unchanged until Model.Close.
	Load(g *graph.Graph, l Limits) (Model, error)
}

// Model is a loaded graph with its KV arena. One goroutine at a time may call it.
type Model interface {
	// Step runs a batch. It allocates nothing after the first calls.
	Step(b *Batch) (Logits, error)
	// Blocks and BlockBytes give the arena's shape. A block that was never written, or was released, reads as zeros.
	Blocks() int
	BlockBytes() int
	// CopyBlocks copies whole blocks of every layer: copy-on-write.
	CopyBlocks(dst, src []BlockID) error
	// ReadBlocks and WriteBlocks move the arena's exact bytes out and in: len(ids)*BlockBytes() bytes.
	ReadBlocks(dst []byte, ids []BlockID) error
	WriteBlocks(ids []BlockID, src []byte) error
	// ReleaseBlocks gives the blocks' memory back to the system; their contents are lost.
	ReleaseBlocks(ids []BlockID) error
	Stats() Stats
	// Bandwidth is how many 10⁹ bytes per second a plain read of the weights by all threads reaches; 0 where it is not
	// known. The first call measures that, in milliseconds: nobody pays for it who does not ask.
	Bandwidth() float64
	Close() error
}

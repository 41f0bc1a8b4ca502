// Package reference is the backend that says what is right: float32 throughout, weights dequantised as their types
// define, keys and values kept as Limits.KV says, float32 at best, plain Go. It is also what runs where cgo does not.
//
// Every sum has one order that depends on its own operands only, so a row's bits do not depend on its batch, the chunks of
// its prompt, the number of threads or the layout of its KV blocks.
package reference

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// cacheBytes bounds the weights kept as float32; those beyond it are dequantised again in every step.
const cacheBytes = 2 << 30

var errClosed = errors.New("reference: model is closed")

func init() { backend.Register(Backend{}, 0) }

// Backend loads graphs for execution in plain Go. The zero value is ready.
type Backend struct {
	// CacheBytes bounds the weights kept as float32; 0 is 2 GiB, negative keeps none. It does not change results.
	CacheBytes int64
}

// Name returns "reference".
func (Backend) Name() string { return "reference" }

// Load implements backend.Backend. Limits.Kernel is ignored.
func (b Backend) Load(g *graph.Graph, l backend.Limits) (backend.Model, error) {
	if err := g.Check(); err != nil {
		return nil, err
	}
	if l.Rows <= 0 || l.Blocks <= 0 || l.Threads < 0 {
		return nil, fmt.Errorf("reference: limits of %d rows, %d blocks, %d threads", l.Rows, l.Blocks, l.Threads)
	}
	if l.KV > backend.KVF32 {
		return nil, fmt.Errorf("reference: KV storage %v: %w", l.KV, backend.ErrUnsupported)
	}
	if int64(l.Blocks) > math.MaxUint32 {
		return nil, fmt.Errorf("reference: %d blocks", l.Blocks)
	}
	threads := l.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	m := &Model{g: g, limits: l, pool: newPool(threads), kv: newArena(l.KV, g.Layers, g.KVHeads, g.HeadDim, l.Blocks)}
	if err := m.plan(b.cache(), threads); err != nil {
		m.pool.close()
		return nil, err
	}
	return m, nil
}

func (b Backend) cache() int64 {
	switch {
	case b.CacheBytes == 0:
		return cacheBytes
	case b.CacheBytes < 0:
		return 0
	}
	return b.CacheBytes
}

// Model is a loaded graph. It implements backend.Model.
type Model struct {
	g       *graph.Graph
	limits  backend.Limits
	pool    *pool
	kv      *arena
	weights []weight
	vectors [][]float32 // per weight: norms and biases, nil for matrices
	values  [][]float32 // Limits.Rows × width each
	cos     [][]float32 // per rope: rows × Dims/2
	sin     [][]float32
	scratch []scratch // per worker

	// The step under way.
	batch    *backend.Batch
	op       *graph.Op
	rows     int  // rows that the current op runs on
	gathered bool // they are the batch's Sample rows
	tasks    [graph.NumKinds]func(worker, item int)
	failure  atomic.Pointer[error]

	hiddenEnd int // ops up to here make the hidden state

	closed bool
	stats  backend.Stats
}

// scratch is one worker's own memory.
type scratch struct {
	strip  []float32 // stripRows rows of a weight
	scores []float32
	kv     []float32 // 32 keys or values of one head
	heads  []float32 // queries, then outputs, of one KV head
}

func (m *Model) plan(cache int64, threads int) error {
	g, rows := m.g, m.limits.Rows
	m.values = make([][]float32, len(g.Values))
	scratchFloats := 0
	for i, v := range g.Values {
		m.values[i] = make([]float32, rows*v.Width)
		scratchFloats += rows * v.Width
	}
	m.cos, m.sin = make([][]float32, len(g.Ropes)), make([][]float32, len(g.Ropes))
	for i, r := range g.Ropes {
		m.cos[i] = make([]float32, rows*r.Dims/2)
		m.sin[i] = make([]float32, rows*r.Dims/2)
		scratchFloats += rows * r.Dims
	}
	for i, op := range g.Ops {
		if op.Kind != graph.KVWrite && op.Out == g.Hidden {
			m.hiddenEnd = i + 1
		}
	}
	m.weights, m.vectors = make([]weight, len(g.Weights)), make([][]float32, len(g.Weights))
	longest := 0
	for i := range g.Weights {
		w := &g.Weights[i]
		m.weights[i].Weight = w
		longest = max(longest, w.Cols)
		if w.Rows == 1 && w.Type == quant.F32 {
			m.vectors[i] = make([]float32, w.Cols)
			if err := m.weights[i].dequantize(m.vectors[i], 0, 1); err != nil {
				return err
			}
			continue
		}
		size := int64(w.Rows) * int64(w.Cols) * 4
		if size <= cache {
			cache -= size
			m.weights[i].keep = true
		}
		m.stats.WeightBytes += int64(w.Rows) * int64(w.Type.RowBytes(w.Cols))
	}
	m.scratch = make([]scratch, threads)
	for i := range m.scratch {
		m.scratch[i] = scratch{strip: make([]float32, stripRows*longest), kv: make([]float32, backend.BlockTokens*m.kv.width),
			heads: make([]float32, g.Heads/g.KVHeads*m.kv.width)}
	}
	m.bind()
	m.stats.Backend, m.stats.Threads = "reference", threads
	m.stats.ScratchBytes = int64(scratchFloats+threads*stripRows*longest) * 4
	m.stats.Kernels = []string{dotName()}
	return nil
}

// Step implements backend.Model.
func (m *Model) Step(b *backend.Batch) (backend.Logits, error) {
	if m.closed {
		return backend.Logits{}, errClosed
	}
	bounds := backend.Bounds{Rows: m.limits.Rows, Vocab: m.g.Vocab, Blocks: m.limits.Blocks}
	if err := b.Check(bounds); err != nil {
		return backend.Logits{}, err
	}
	start := time.Now()
	m.batch, m.rows, m.gathered = b, len(b.Tokens), false
	defer func() { m.batch, m.op = nil, nil }()
	m.commitBlocks()
	m.angles()
	out, ops := m.g.Logits, m.g.Ops
	if b.Hidden {
		out, ops = m.g.Hidden, ops[:m.hiddenEnd]
	}
	for i := range ops {
		if err := m.run(&ops[i]); err != nil {
			return backend.Logits{}, err
		}
		if m.gathered && m.rows == 0 {
			break
		}
	}
	m.stats.Steps++
	m.stats.Rows += int64(len(b.Tokens))
	m.stats.StepSeconds += time.Since(start).Seconds()
	width := m.g.Values[out].Width
	return backend.Logits{Width: width, Data: m.values[out][:len(b.Sample)*width]}, nil
}

// commitBlocks gives memory to the blocks that the batch's rows are written to, and to those before them that were
// never written, so that attention reads zeros there.
func (m *Model) commitBlocks() {
	b := m.batch
	for r := range b.Tokens {
		if r+1 < len(b.Tokens) && b.Seq[r+1] == b.Seq[r] {
			continue
		}
		for _, id := range b.Tables[b.Seq[r]][:int(b.Pos[r])/backend.BlockTokens+1] {
			m.kv.commit(id)
		}
	}
}

// angles fills the rotary tables for the batch's positions.
func (m *Model) angles() {
	for i := range m.g.Ropes {
		spec := &m.g.Ropes[i]
		scale := 1.0
		if spec.Mscale != 0 {
			scale = float64(spec.Mscale)
		}
		half := spec.Dims / 2
		for r, p := range m.batch.Pos {
			for j, f := range spec.Freqs {
				s, c := math.Sincos(float64(p) * float64(f))
				m.cos[i][r*half+j], m.sin[i][r*half+j] = float32(c*scale), float32(s*scale)
			}
		}
	}
}

// Stats implements backend.Model.
func (m *Model) Stats() backend.Stats {
	s := m.stats
	s.KVBytes = m.kv.committed
	s.Identity = identity()
	for i := range m.weights {
		s.ScratchBytes += int64(len(m.weights[i].f32)) * 4
	}
	return s
}

// Bandwidth implements backend.Model; it is not measured here.
func (m *Model) Bandwidth() float64 { return 0 }

// Close implements backend.Model.
func (m *Model) Close() error {
	if !m.closed {
		m.closed = true
		m.pool.close()
		m.weights, m.vectors, m.values, m.kv.blocks = nil, nil, nil, nil
	}
	return nil
}

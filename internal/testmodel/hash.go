// Package testmodel holds a model without weights for tests of what stands above a backend.
package testmodel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/krserve/krserve/internal/backend"
)

// Hash is a backend.Model whose logits are a hash of everything that a row attends to, read from its KV blocks: a wrong
// block, position or copy changes every later token. It writes KV and reads it as a real model does, and fails a step
// that reads a place that nobody wrote.
type Hash struct {
	Vocab int
	Rows  int
	// OnStep is called before each step; its error fails the step.
	OnStep func(*backend.Batch) error

	arena  [][backend.BlockTokens]uint64
	logits []float32
	steps  atomic.Int64
	rows   atomic.Int64
	closed atomic.Bool
	inside atomic.Bool
}

// NewHash returns a model with the given vocabulary, rows per step and blocks.
func NewHash(vocab, rows, blocks int) *Hash {
	return &Hash{Vocab: vocab, Rows: rows, arena: make([][backend.BlockTokens]uint64, blocks)}
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// Step implements backend.Model.
func (m *Hash) Step(b *backend.Batch) (backend.Logits, error) {
	if !m.inside.CompareAndSwap(false, true) {
		return backend.Logits{}, errors.New("testmodel: two steps at once")
	}
	defer m.inside.Store(false)
	if m.closed.Load() {
		return backend.Logits{}, errors.New("testmodel: step after Close")
	}
	if err := b.Check(backend.Bounds{Rows: m.Rows, Vocab: m.Vocab, Blocks: len(m.arena)}); err != nil {
		return backend.Logits{}, err
	}
	if m.OnStep != nil {
		if err := m.OnStep(b); err != nil {
			return backend.Logits{}, err
		}
	}
	m.steps.Add(1)
	m.rows.Add(int64(len(b.Tokens)))
	for r, id := range b.Tokens {
		p := int(b.Pos[r])
		m.arena[b.Tables[b.Seq[r]][p/backend.BlockTokens]][p%backend.BlockTokens] = mix(uint64(id)<<32|uint64(p)) | 1
	}
	width := m.Vocab
	if b.Hidden {
		width = Width
	}
	if n := len(b.Sample) * width; len(m.logits) < n {
		m.logits = make([]float32, n)
	}
	for i, r := range b.Sample {
		h := uint64(0)
		for p := range int(b.Pos[r]) + 1 {
			v := m.arena[b.Tables[b.Seq[r]][p/backend.BlockTokens]][p%backend.BlockTokens]
			if v == 0 {
				return backend.Logits{}, fmt.Errorf("testmodel: row %d reads position %d, which nobody wrote", r, p)
			}
			h = mix(h ^ v)
		}
		fill(m.logits[i*width:(i+1)*width], h)
	}
	return backend.Logits{Width: width, Data: m.logits[:len(b.Sample)*width]}, nil
}

// fill makes logits between -4 and 4, equal for equal h.
func fill(x []float32, h uint64) {
	for v := range x {
		x[v] = float32(mix(h+uint64(v))>>40)*(8.0/(1<<24)) - 4
	}
}

// Width is the number of elements of a hidden state.
const Width = 16

// Hidden returns the hidden state that a correct run gives after the tokens.
func (m *Hash) Hidden(tokens []uint32) []float32 { return after(tokens, Width) }

// Logits returns what a correct run gives after the tokens.
func (m *Hash) Logits(tokens []uint32) []float32 { return after(tokens, m.Vocab) }

func after(tokens []uint32, width int) []float32 {
	h := uint64(0)
	for p, id := range tokens {
		h = mix(h ^ (mix(uint64(id)<<32|uint64(p)) | 1))
	}
	x := make([]float32, width)
	fill(x, h)
	return x
}

// Blocks implements backend.Model.
func (m *Hash) Blocks() int { return len(m.arena) }

// BlockBytes implements backend.Model.
func (m *Hash) BlockBytes() int { return backend.BlockTokens * 8 }

// CopyBlocks implements backend.Model.
func (m *Hash) CopyBlocks(dst, src []backend.BlockID) error {
	for i := range dst {
		m.arena[dst[i]] = m.arena[src[i]]
	}
	return nil
}

// ReadBlocks implements backend.Model.
func (m *Hash) ReadBlocks(dst []byte, ids []backend.BlockID) error {
	for _, id := range ids {
		for _, v := range m.arena[id] {
			binary.LittleEndian.PutUint64(dst, v)
			dst = dst[8:]
		}
	}
	return nil
}

// WriteBlocks implements backend.Model.
func (m *Hash) WriteBlocks(ids []backend.BlockID, src []byte) error {
	for _, id := range ids {
		for i := range m.arena[id] {
			m.arena[id][i] = binary.LittleEndian.Uint64(src)
			src = src[8:]
		}
	}
	return nil
}

// ReleaseBlocks implements backend.Model.
func (m *Hash) ReleaseBlocks(ids []backend.BlockID) error {
	for _, id := range ids {
		m.arena[id] = [backend.BlockTokens]uint64{}
	}
	return nil
}

// Stats implements backend.Model.
func (m *Hash) Stats() backend.Stats {
	return backend.Stats{Backend: "hash", Threads: 1, Steps: m.steps.Load(), Rows: m.rows.Load()}
}

// Bandwidth implements backend.Model.
func (m *Hash) Bandwidth() float64 { return 0 }

// Close implements backend.Model.
func (m *Hash) Close() error {
	m.closed.Store(true)
	return nil
}

package backendtest

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
)

// kvLimits are, for normal keys and values, the most that an output of attention and the root mean square of all may
// be off, in units of the values' spread.
var kvLimits = map[backend.KVType]struct{ most, mean float64 }{
	backend.KVF32: {5e-5, 5e-6}, backend.KVF16: {6e-3, 8e-4}, backend.KVQ8: {5e-2, 8e-3}, backend.KVQ4: {0.8, 0.15},
}

// sameKVLimits are the same against the reference with the same storage: what arithmetic alone may cost. A lone key
// shows a value's rounding to 13 bits of its head's largest, 1e-4 in the mean, as it is.
var sameKVLimits = map[backend.KVType]struct{ most, mean float64 }{
	backend.KVF32: {5e-5, 5e-6}, backend.KVF16: {2e-3, 2e-4}, backend.KVQ8: {2e-3, 2e-4}, backend.KVQ4: {2e-3, 2e-4},
}

// attnProbe is one attention layer whose token brings its own query, key and value.
func attnProbe(r *rand.Rand, kvHeads, group, dim, window int, limit float32, sharp float64) *probe {
	w, kw := kvHeads*group*dim, kvHeads*dim
	p := newProbe(w)
	p.g.Heads, p.g.KVHeads, p.g.HeadDim = kvHeads*group, kvHeads, dim
	q := p.input("q", w, normals(r, w*w, sharp))
	k, v := p.input("k", kw, normals(r, w*kw, 1)), p.input("v", kw, normals(r, w*kw, 1))
	out := p.value("out", w)
	p.op(graph.Op{Kind: graph.KVWrite, In: k, In2: v, Out: graph.None})
	p.op(graph.Op{Kind: graph.Attention, In: q, Out: out, Scale: float32(1 / math.Sqrt(float64(dim))), Window: window, Cap: limit})
	p.finish(q, out)
	return p
}

func (s *suite) attention(t *testing.T) {
	cases(t, "random", 18, func(t *testing.T, r *rand.Rand) {
		dims := []int{32, 64, 96, 128, 256, 8, 16, 80, 112}
		sharps := []float64{1, 0.01, 20}
		dim, sharp := dims[r.IntN(len(dims))], sharps[r.IntN(len(sharps))]
		kvHeads, group := 1+r.IntN(3), 1+r.IntN(4)
		if dim == 256 {
			kvHeads, group = 1, min(group, 4)
		}
		window := []int{0, 0, 1, 5, 16, 33, 100}[r.IntN(7)]
		limit := []float32{0, 0, 20}[r.IntN(3)]
		p := attnProbe(r, kvHeads, group, dim, window, limit, sharp)
		lens := []int{1 + r.IntN(150), 1 + r.IntN(40)}
		if r.IntN(3) == 0 && (!testing.Short() || kvHeads*group*dim <= 384) { // several partial sums
			lens[0] += 500
		}
		a, b := s.load(t, p.g, 64, 32)
		_, same := s.loadKV(t, p.g, 64, 32, s.Limits.KV)
		tables := [][]backend.BlockID{{9, 2, 5, 11, 0, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16}, {7, 3}}
		toks := [][]uint32{tokens(r, lens[0], p.g.Vocab), tokens(r, lens[1], p.g.Vocab)}
		done := []int{0, 0}
		tol, tight := kvLimits[s.Limits.KV], sameKVLimits[s.Limits.KV]
		blur := math.Max(1, sharp)
		var sum, sumSame, n float64
		for done[0] < lens[0] || done[1] < lens[1] {
			batch := &backend.Batch{Tables: tables}
			for q := range lens {
				take := min(lens[q]-done[q], 1+r.IntN(32))
				for range take {
					batch.Sample = append(batch.Sample, int32(len(batch.Tokens)))
					batch.Tokens = append(batch.Tokens, toks[q][done[q]])
					batch.Pos, batch.Seq = append(batch.Pos, int32(done[q])), append(batch.Seq, int32(q))
					done[q]++
				}
			}
			got, want, near := step(t, a, batch), step(t, b, batch), step(t, same, batch)
			what := fmt.Sprintf("attention of %d×%d heads of %d, window %d, cap %v, queries of %v", kvHeads, group, dim, window, limit, sharp)
			if sharp <= 1 || s.Limits.KV == backend.KVF16 || s.Limits.KV == backend.KVF32 { // else keys change places
				compare(t, what, got, want, func(int) float64 { return tol.most * blur })
			}
			compare(t, what+", storage alike", got, near, func(int) float64 { return tight.most * blur })
			for i := range got {
				d, e := float64(got[i]-want[i]), float64(got[i]-near[i])
				sum, sumSame, n = sum+d*d, sumSame+e*e, n+1
			}
		}
		if e := math.Sqrt(sum / n); sharp == 1 && !(e <= tol.mean) {
			t.Errorf("root mean square error %.3g, at most %.3g", e, tol.mean)
		}
		if e := math.Sqrt(sumSame / n); sharp <= 1 && !(e <= tight.mean) {
			t.Errorf("root mean square error with storage alike %.3g, at most %.3g", e, tight.mean)
		}
	})
}

// blocks moves keys and values around and expects attention to follow.
func (s *suite) blocks(t *testing.T) {
	r := random(t)
	p := attnProbe(r, 2, 2, 64, 0, 0, 1)
	m, _ := s.load(t, p.g, 80, 12)
	if m.Blocks() != 12 || m.BlockBytes() <= 0 {
		t.Fatalf("%d blocks of %d bytes, want 12", m.Blocks(), m.BlockBytes())
	}
	size := m.BlockBytes()
	toks := tokens(r, 71, p.g.Vocab)
	step(t, m, one(toks[:70], 0, ids(0, 3)))
	last := func(table ...backend.BlockID) []float32 { return step(t, m, one(toks[70:], 70, table)) }
	want := last(0, 1, 2)

	t.Run("copy", func(t *testing.T) {
		if err := m.CopyBlocks([]backend.BlockID{8, 9, 10}, []backend.BlockID{0, 1, 2}); err != nil {
			t.Fatal(err)
		}
		sameBits(t, "copies", last(8, 9, 10), want)
		sameBits(t, "a mixture", last(0, 9, 2), want)
		step(t, m, one(tokens(r, 32, p.g.Vocab), 32, []backend.BlockID{8, 9})) // overwrites the copy only
		sameBits(t, "the original after a write to the copy", last(0, 1, 2), want)
	})
	t.Run("read and write", func(t *testing.T) {
		buf := make([]byte, 3*size)
		if err := m.ReadBlocks(buf, ids(0, 3)); err != nil {
			t.Fatal(err)
		}
		if err := m.WriteBlocks([]backend.BlockID{5, 4, 11}, buf); err != nil {
			t.Fatal(err)
		}
		sameBits(t, "written blocks", last(5, 4, 11), want)
		again := make([]byte, size)
		if err := m.ReadBlocks(again, []backend.BlockID{4}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, buf[size:2*size]) {
			t.Error("a block reads otherwise than it was written")
		}
	})
	t.Run("release", func(t *testing.T) {
		before := m.Stats().KVBytes
		if err := m.ReleaseBlocks([]backend.BlockID{5, 4, 11}); err != nil {
			t.Fatal(err)
		}
		if after := m.Stats().KVBytes; after > before {
			t.Errorf("%d bytes of KV after a release, %d before", after, before)
		}
		buf := bytes.Repeat([]byte{1}, size)
		if err := m.ReadBlocks(buf, []backend.BlockID{4}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf, make([]byte, size)) {
			t.Error("a released block does not read as zeros")
		}
		sameBits(t, "the others after a release", last(0, 1, 2), want)
		step(t, m, one(toks[:70], 0, []backend.BlockID{11, 5, 4}))
		sameBits(t, "blocks used again", last(11, 5, 4), want)
	})
	for _, c := range []struct {
		name string
		err  error
	}{
		{"copy to an unknown block", m.CopyBlocks([]backend.BlockID{12}, []backend.BlockID{0})},
		{"copy from an unknown block", m.CopyBlocks([]backend.BlockID{0}, []backend.BlockID{1 << 31})},
		{"copy of unequal lists", m.CopyBlocks(ids(0, 2), ids(3, 1))},
		{"read of an unknown block", m.ReadBlocks(make([]byte, size), []backend.BlockID{99})},
		{"read into a short buffer", m.ReadBlocks(make([]byte, size-1), ids(0, 1))},
		{"write of an unknown block", m.WriteBlocks([]backend.BlockID{12}, make([]byte, size))},
		{"write from a long buffer", m.WriteBlocks(ids(0, 1), make([]byte, size+1))},
		{"release of an unknown block", m.ReleaseBlocks([]backend.BlockID{12})},
	} {
		if c.err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
	sameBits(t, "the model after errors", last(0, 1, 2), want)
}

// errors feeds bad limits, graphs and batches: each is an error, and the model works on.
func (s *suite) errors(t *testing.T) {
	r := random(t)
	p := attnProbe(r, 1, 2, 32, 0, 0, 1)
	for _, l := range []backend.Limits{{Rows: 0, Blocks: 1}, {Rows: 1, Blocks: 0}, {Rows: -1, Blocks: 1}, {Rows: 1, Blocks: 1, Threads: -1}} {
		l.KV = s.Limits.KV
		if m, err := s.b.Load(p.g, l); err == nil {
			m.Close()
			t.Errorf("limits %+v: no error", l)
		}
	}
	bad := *p.g
	bad.Weights = append([]graph.Weight(nil), p.g.Weights...)
	bad.Weights[0].Data = bad.Weights[0].Data[:10]
	if m, err := s.b.Load(&bad, backend.Limits{Rows: 1, Blocks: 1, KV: s.Limits.KV}); err == nil {
		m.Close()
		t.Error("a weight without its data: no error")
	}
	m, _ := s.load(t, p.g, 8, 4)
	good := one(tokens(r, 8, p.g.Vocab), 0, ids(0, 1))
	want := step(t, m, good)
	vocab := uint32(p.g.Vocab)
	for name, b := range map[string]*backend.Batch{
		"empty":                 {},
		"too many rows":         one(tokens(r, 9, p.g.Vocab), 0, ids(0, 1)),
		"token out of range":    one([]uint32{vocab}, 0, ids(0, 1)),
		"negative position":     one([]uint32{0}, -1, ids(0, 1)),
		"short table":           one([]uint32{0}, 32, ids(0, 1)),
		"unknown block":         one([]uint32{0}, 0, ids(4, 1)),
		"no table":              {Tokens: []uint32{0}, Pos: []int32{0}, Seq: []int32{0}},
		"no positions":          {Tokens: []uint32{0}, Tables: [][]backend.BlockID{{0}}},
		"a gap":                 {Tokens: []uint32{0, 0}, Pos: []int32{0, 2}, Seq: []int32{0, 0}, Tables: [][]backend.BlockID{{0}}},
		"a sequence twice":      {Tokens: []uint32{0, 0, 0}, Pos: []int32{0, 0, 1}, Seq: []int32{0, 1, 0}, Tables: [][]backend.BlockID{{0}, {1}}},
		"sample out of range":   {Tokens: []uint32{0}, Pos: []int32{0}, Seq: []int32{0}, Tables: [][]backend.BlockID{{0}}, Sample: []int32{1}},
		"sample twice":          {Tokens: []uint32{0}, Pos: []int32{0}, Seq: []int32{0}, Tables: [][]backend.BlockID{{0}}, Sample: []int32{0, 0}},
		"negative sequence":     {Tokens: []uint32{0}, Pos: []int32{0}, Seq: []int32{-1}, Tables: [][]backend.BlockID{{0}}},
		"position out of range": one([]uint32{0}, math.MaxInt32, ids(0, 1)),
	} {
		if _, err := m.Step(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	sameBits(t, "a step after errors", step(t, m, good), want)
	if err := m.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := m.Step(good); err == nil {
		t.Error("step after close: no error")
	}
	if err := m.CopyBlocks(ids(0, 1), ids(1, 1)); err == nil {
		t.Error("copy after close: no error")
	}
}

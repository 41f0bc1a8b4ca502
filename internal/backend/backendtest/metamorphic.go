package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// rotate gives Tiny another first type for every seed, so that the seeds together use all types in all places.
func rotate(types []quant.Type, i int) []quant.Type {
	n := i * 7 % len(types)
	return slices.Concat(types[n:], types[:n])
}

// models compares whole models with the reference: wiring, not rounding.
func (s *suite) models(t *testing.T) {
	i := 0
	cases(t, "tiny", 6, func(t *testing.T, r *rand.Rand) {
		g := Tiny(r, rotate(s.Types, i))
		i++
		a, b := s.load(t, g, 64, 8)
		toks := tokens(r, 100, g.Vocab)
		most := 2e-4
		switch {
		case s.Limits.KV == backend.KVQ4:
			most = 0.5
		case s.ActBlock > 0 || s.Limits.KV != backend.KVF32:
			most = 0.1
		}
		for lo := 0; lo < len(toks); lo += 50 {
			batch := one(toks[lo:lo+50], lo, ids(0, 4))
			got, want := step(t, a, batch), step(t, b, batch)
			var sum, mass float64
			for i := range got {
				d := float64(got[i] - want[i])
				sum, mass = sum+d*d, mass+float64(want[i])*float64(want[i])
			}
			if e := math.Sqrt(sum / mass); !(e <= most) {
				t.Fatalf("positions %d…: logits are off by %.3g of their size, at most %.3g\n%v", lo, e, most, g)
			}
		}
	})
}

func (s *suite) metamorphic(t *testing.T) {
	n := 3
	if s.brief() {
		n = 1
	}
	for i := range n {
		t.Run(fmt.Sprintf("tiny/%d", i), func(t *testing.T) {
			r := random(t)
			s.sameBitsOf(t, Tiny(r, rotate(s.Types, i)))
		})
	}
}

func (s *suite) brief() bool { return s.Brief || testing.Short() }

// sameBitsOf checks that the logits of g keep their bits whatever the chunks, the batch, the number of threads, the
// place of the KV blocks and the part of a prompt that was computed before.
func (s *suite) sameBitsOf(t *testing.T, g *graph.Graph) {
	t.Helper()
	l := s.Limits
	r := random(t)
	const rows, blocks = 96, 24
	l.Rows, l.Blocks, l.Threads = rows, blocks, 1
	open := func(t *testing.T, threads int) backend.Model {
		l := l
		l.Threads = threads
		m, err := s.b.Load(g, l)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	seqs := [][]uint32{tokens(r, 71, g.Vocab), tokens(r, 40, g.Vocab), tokens(r, 3, g.Vocab)}
	want := make([][]float32, len(seqs)) // every sequence alone, in one chunk, on one thread
	m := open(t, 1)
	for i, toks := range seqs {
		want[i] = step(t, m, one(toks, 0, ids(0, 3)))
	}
	row := func(seq, pos int) []float32 { return want[seq][pos*g.Vocab:][:g.Vocab] }

	// run feeds all sequences with the given number of rows of each per step and checks every row.
	run := func(t *testing.T, m backend.Model, tables [][]backend.BlockID, take func(seq int) int) {
		t.Helper()
		done := make([]int, len(seqs))
		for {
			batch := &backend.Batch{Tables: tables}
			for q, toks := range seqs {
				for n := min(take(q), len(toks)-done[q], rows-len(batch.Tokens)); n > 0; n-- {
					batch.Sample = append(batch.Sample, int32(len(batch.Tokens)))
					batch.Tokens = append(batch.Tokens, toks[done[q]])
					batch.Pos, batch.Seq = append(batch.Pos, int32(done[q])), append(batch.Seq, int32(q))
					done[q]++
				}
			}
			if len(batch.Tokens) == 0 {
				return
			}
			got := step(t, m, batch)
			for i := range batch.Tokens {
				what := fmt.Sprintf("sequence %d, position %d, in a batch of %d", batch.Seq[i], batch.Pos[i], len(batch.Tokens))
				sameBits(t, what, got[i*g.Vocab:][:g.Vocab], row(int(batch.Seq[i]), int(batch.Pos[i])))
			}
		}
	}
	apart := [][]backend.BlockID{{0, 1, 2}, {3, 4}, {5}}
	for _, n := range s.Threads {
		t.Run(fmt.Sprintf("threads/%d", n), func(t *testing.T) {
			run(t, open(t, n), apart, func(int) int { return 30 })
		})
	}
	chunks := []int{1, 2, 3, 5, 8, 16, 17, 31, 32}
	if s.brief() {
		chunks = []int{1, 7, 32}
	}
	for _, n := range chunks {
		t.Run(fmt.Sprintf("chunks/%d", n), func(t *testing.T) { run(t, m, apart, func(int) int { return n }) })
	}
	t.Run("batches", func(t *testing.T) { run(t, m, apart, func(int) int { return r.IntN(20) + r.IntN(2) }) })
	t.Run("decode beside prefill", func(t *testing.T) { run(t, m, apart, func(seq int) int { return []int{1, 29, 2}[seq] }) })
	t.Run("tables", func(t *testing.T) {
		p := r.Perm(blocks)
		var tables [][]backend.BlockID
		for q := range apart {
			tables = append(tables, nil)
			for range apart[q] {
				tables[q] = append(tables[q], backend.BlockID(p[0]))
				p = p[1:]
			}
		}
		run(t, m, tables, func(int) int { return 13 })
	})
	t.Run("prefix", func(t *testing.T) {
		toks := seqs[0]
		step(t, m, one(toks, 0, []backend.BlockID{10, 11, 12}))
		for _, from := range []int{32, 64, 33, 70} { // whole blocks shared, then a copied tail
			table := []backend.BlockID{10, 13, 14}
			if from >= 64 {
				table[1] = 11
			}
			tail := from / backend.BlockTokens
			if from%backend.BlockTokens > 0 {
				if err := m.CopyBlocks(table[tail:tail+1], []backend.BlockID{10, 11, 12}[tail:tail+1]); err != nil {
					t.Fatal(err)
				}
			}
			got := step(t, m, one(toks[from:], from, table))
			sameBits(t, fmt.Sprintf("after a prefix of %d", from), got, want[0][from*g.Vocab:])
		}
	})
	t.Run("moved blocks", func(t *testing.T) {
		toks := seqs[0]
		step(t, m, one(toks[:50], 0, []backend.BlockID{15, 16}))
		buf := make([]byte, 2*m.BlockBytes())
		if err := m.ReadBlocks(buf, []backend.BlockID{15, 16}); err != nil {
			t.Fatal(err)
		}
		if err := m.ReleaseBlocks([]backend.BlockID{15, 16}); err != nil {
			t.Fatal(err)
		}
		other := open(t, 2) // a snapshot goes to another model of the same graph
		if err := other.WriteBlocks([]backend.BlockID{20, 7}, buf); err != nil {
			t.Fatal(err)
		}
		sameBits(t, "from a snapshot", step(t, other, one(toks[50:], 50, []backend.BlockID{20, 7, 3})), want[0][50*g.Vocab:])
	})
	t.Run("samples", func(t *testing.T) {
		batch := one(seqs[0], 0, ids(0, 3))
		batch.Sample = []int32{0, 5, 31, 70}
		got := step(t, m, batch)
		for i, p := range batch.Sample {
			sameBits(t, fmt.Sprintf("sample %d", i), got[i*g.Vocab:][:g.Vocab], row(0, int(p)))
		}
		batch.Sample = nil
		if got := step(t, m, batch); len(got) != 0 {
			t.Errorf("%d logits of no sample", len(got))
		}
		batch = one(seqs[0][70:], 70, ids(0, 3))
		sameBits(t, "after a step without samples", step(t, m, batch), row(0, 70))
	})
	t.Run("hidden", func(t *testing.T) {
		batch := one(seqs[1], 0, ids(0, 2))
		batch.Hidden = true
		all := step(t, m, batch)
		if len(all) != len(seqs[1])*g.Width {
			t.Fatalf("%d floats of hidden state for %d rows of %d", len(all), len(seqs[1]), g.Width)
		}
		batch.Sample = []int32{39}
		sameBits(t, "hidden state of one row", step(t, m, batch), all[39*g.Width:])
		batch.Hidden = false
		sameBits(t, "logits after it", step(t, m, batch), row(1, 39))
	})
	t.Run("long", func(t *testing.T) { // several partial softmaxes, by several threads
		const n, last = 560, 4
		toks := tokens(r, n, g.Vocab)
		feed := func(m backend.Model, chunk, upTo int) (got []float32) {
			for lo := 0; lo < upTo; lo += chunk {
				hi := min(lo+chunk, upTo)
				batch := one(toks[lo:hi], lo, ids(0, blocksFor(n)))
				batch.Sample = batch.Sample[:0]
				for p := max(lo, n-last); p < hi; p++ {
					batch.Sample = append(batch.Sample, int32(p-lo))
				}
				got = append(got, step(t, m, batch)...)
			}
			return got
		}
		want := feed(m, rows, n)
		for i, threads := range s.Threads {
			other := open(t, threads)
			feed(other, 50+7*i, n-last)
			for p := n - last; p < n; p++ {
				got := step(t, other, one(toks[p:p+1], p, ids(0, blocksFor(n))))
				sameBits(t, fmt.Sprintf("position %d decoded by %d threads", p, threads), got, want[(p-n+last)*g.Vocab:][:g.Vocab])
			}
		}
	})
}

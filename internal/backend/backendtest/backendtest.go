// Package backendtest is the conformance suite that every backend passes: each operation on random shapes, storage
// types and extreme values against the reference backend, and metamorphic tests of whole models, whose logits must
// keep their bits whatever the batch, the chunks, the threads or the place of the KV blocks.
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, cpu.Backend{}, backendtest.Options{ActBlock: 32, Limits: backend.Limits{KV: backend.KVF16}})
//	}
//
// The test binary must import internal/backend/reference.
package backendtest

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// Options fit the suite to a backend. The zero value expects float32 arithmetic throughout.
type Options struct {
	// Reference is what is right; nil is the registered backend "reference".
	Reference backend.Backend
	// Limits gives Threads, KV and Kernel; the suite sets the rest.
	Limits backend.Limits
	// Types are the weight types to test; nil is all of quant.
	Types []quant.Type
	// ActBlock is the number of elements of an activation that share one 8-bit scale in products with quantised
	// weights; 0 when activations stay float32.
	ActBlock int
	// ActFloat lists weight types whose activations stay float32 despite ActBlock; nil is F32, F16 and BF16.
	ActFloat []quant.Type
	// Threads are the numbers of threads whose logits must agree; nil is 1, 2, 3 and 5.
	Threads []int
	// Brief takes a third of the metamorphic tests, as -short does, for a backend that is slow.
	Brief bool
	// Inexact leaves out the metamorphic tests, for a backend that promises closeness only.
	Inexact bool
}

// Run runs the suite. With -short it takes a third of the random shapes.
func Run(t *testing.T, b backend.Backend, o Options) {
	t.Helper()
	s := newSuite(t, b, o)
	t.Run("Embed", s.embed)
	t.Run("Linear", s.linear)
	t.Run("RMSNorm", s.norm)
	t.Run("Rope", s.rope)
	t.Run("Pointwise", s.pointwise)
	t.Run("Errors", s.errors)
	s.kv(t)
	t.Run("Models", s.models)
}

// RunKV runs the part of the suite that the storage of keys and values concerns: for the types of Limits.KV other than
// the one that Run was given.
func RunKV(t *testing.T, b backend.Backend, o Options) {
	t.Helper()
	newSuite(t, b, o).kv(t)
}

func (s *suite) kv(t *testing.T) {
	t.Run("Attention", s.attention)
	t.Run("Blocks", s.blocks)
	if !s.Inexact {
		t.Run("Metamorphic", s.metamorphic)
	}
}

func newSuite(t *testing.T, b backend.Backend, o Options) *suite {
	t.Helper()
	if o.Reference == nil {
		ref, ok := backend.Lookup("reference")
		if !ok {
			t.Fatal("backendtest: the test binary does not import internal/backend/reference")
		}
		o.Reference = ref
	}
	if o.Types == nil {
		for ty := quant.F32; ty.Valid(); ty++ {
			o.Types = append(o.Types, ty)
		}
	}
	if o.ActFloat == nil {
		o.ActFloat = []quant.Type{quant.F32, quant.F16, quant.BF16}
	}
	if o.Threads == nil {
		o.Threads = []int{1, 2, 3, 5}
	}
	return &suite{b: b, Options: o}
}

type suite struct {
	b backend.Backend
	Options
}

// random returns a generator that depends on the test's name alone.
func random(t *testing.T) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(t.Name()))
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// load loads g on both backends for steps of up to rows rows. The reference keeps keys and values in float32.
func (s *suite) load(t *testing.T, g *graph.Graph, rows, blocks int) (got, want backend.Model) {
	t.Helper()
	return s.loadKV(t, g, rows, blocks, backend.KVF32)
}

func (s *suite) loadKV(t *testing.T, g *graph.Graph, rows, blocks int, kv backend.KVType) (got, want backend.Model) {
	t.Helper()
	l := s.Limits
	l.Rows, l.Blocks = rows, blocks
	got, err := s.b.Load(g, l)
	if err != nil {
		t.Fatalf("load: %v\n%v", err, g)
	}
	t.Cleanup(func() { got.Close() })
	l.Kernel, l.KV = "", kv
	if want, err = s.Reference.Load(g, l); err != nil {
		t.Fatalf("load reference: %v", err)
	}
	t.Cleanup(func() { want.Close() })
	return got, want
}

// step runs a batch and copies the logits.
func step(t *testing.T, m backend.Model, b *backend.Batch) []float32 {
	t.Helper()
	l, err := m.Step(b)
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if len(l.Data) != len(b.Sample)*l.Width {
		t.Fatalf("step: %d floats for %d rows of %d", len(l.Data), len(b.Sample), l.Width)
	}
	return slices.Clone(l.Data)
}

// one is a batch of one sequence from position pos on, all rows sampled.
func one(tokens []uint32, pos int, table []backend.BlockID) *backend.Batch {
	b := &backend.Batch{Tokens: tokens, Tables: [][]backend.BlockID{table}}
	for i := range tokens {
		b.Pos, b.Seq, b.Sample = append(b.Pos, int32(pos+i)), append(b.Seq, 0), append(b.Sample, int32(i))
	}
	return b
}

// ids are the first n blocks from first on.
func ids(first, n int) []backend.BlockID {
	t := make([]backend.BlockID, n)
	for i := range t {
		t[i] = backend.BlockID(first + i)
	}
	return t
}

func blocksFor(tokens int) int { return (tokens + backend.BlockTokens - 1) / backend.BlockTokens }

func tokens(r *rand.Rand, n, vocab int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(r.IntN(vocab))
	}
	return out
}

// compare fails when an element differs from want by more than limit says; limit gets the element's index.
func compare(t *testing.T, what string, got, want []float32, limit func(i int) float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range got {
		g, w := float64(got[i]), float64(want[i])
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if d, l := math.Abs(g-w), limit(i); !(d <= l) {
			t.Fatalf("%s: element %d is %v, want %v: off by %.3g, at most %.3g", what, i, g, w, d, l)
		}
	}
}

// sameBits fails at the first element whose bits differ.
func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v (%#x), want %v (%#x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// cases runs n random cases as subtests, a third of them with -short.
func cases(t *testing.T, name string, n int, f func(t *testing.T, r *rand.Rand)) {
	if testing.Short() {
		n = (n + 2) / 3
	}
	for i := range n {
		t.Run(fmt.Sprintf("%s/%d", name, i), func(t *testing.T) { f(t, random(t)) })
	}
}

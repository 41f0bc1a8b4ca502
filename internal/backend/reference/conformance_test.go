package reference

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/quant"
)

// TestConformance runs the suite on the reference itself. Products are checked against float64 sums there.
func TestConformance(t *testing.T) {
	backendtest.Run(t, Backend{}, backendtest.Options{Limits: backend.Limits{KV: backend.KVF32}})
	for _, kv := range []backend.KVType{backend.KVF16, backend.KVQ8, backend.KVQ4} {
		t.Run(kv.String(), func(t *testing.T) {
			backendtest.RunKV(t, Backend{}, backendtest.Options{Limits: backend.Limits{KV: kv}, Threads: []int{2}})
		})
	}
}

// TestCacheBits: kept weights, none kept and some kept give the same bits.
func TestCacheBits(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	g := backendtest.Tiny(r, []quant.Type{quant.Q4_K, quant.Affine4, quant.BF16, quant.Q8_0})
	b := &backend.Batch{Tokens: []uint32{1, 2, 3}, Pos: []int32{0, 1, 2}, Seq: []int32{0, 0, 0}, Tables: [][]backend.BlockID{{0}}, Sample: []int32{0, 1, 2}}
	var want []float32
	for _, bytes := range []int64{0, -1, 1 << 20} {
		m, err := Backend{CacheBytes: bytes}.Load(g, backend.Limits{Rows: 4, Blocks: 1, Threads: 2, KV: backend.KVF32})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second step finds the cache filled
			l, err := m.Step(b)
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = append(want, l.Data...)
			}
			for i, v := range l.Data {
				if math.Float32bits(v) != math.Float32bits(want[i]) {
					t.Fatalf("%d bytes kept: logit %d is %v, want %v", bytes, i, v, want[i])
				}
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStepAllocates: after the first steps a step takes no memory from the heap.
func TestStepAllocates(t *testing.T) {
	g := backendtest.Tiny(rand.New(rand.NewPCG(9, 10)), []quant.Type{quant.Q4_0})
	m, err := Backend{}.Load(g, backend.Limits{Rows: 40, Blocks: 2, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b := &backend.Batch{Tables: [][]backend.BlockID{{0, 1}}, Sample: []int32{39}}
	for i := range 40 {
		b.Tokens, b.Pos, b.Seq = append(b.Tokens, uint32(i)), append(b.Pos, int32(i)), append(b.Seq, 0)
	}
	if n := testing.AllocsPerRun(5, func() {
		if _, err := m.Step(b); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations per step", n)
	}
}

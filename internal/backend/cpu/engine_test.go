//go:build cgo && !purego && !windows

package cpu_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/backend/cpu"
	"github.com/krserve/krserve/internal/model"
	"github.com/krserve/krserve/internal/quant"
	"github.com/krserve/krserve/internal/testenv"
)

func tiny(t testing.TB, l backend.Limits) backend.Model {
	t.Helper()
	b, err := cpu.New()
	if err != nil {
		t.Fatal(err)
	}
	types := []quant.Type{quant.Q4_1, quant.Q8_0, quant.Q5_0, quant.Affine4, quant.MXFP4, quant.Q6_K, quant.BF16}
	m, err := b.Load(backendtest.Tiny(rand.New(rand.NewPCG(1, 2)), types), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestVariantsAgree: every kernel variant of this machine gives the same bits, with any number of threads, and from
// packed weights.
func TestVariantsAgree(t *testing.T) {
	names, usable := cpu.Variants()
	var want []float32
	var first string
	for i, name := range names {
		for _, threads := range []int{1, 2, 7} {
			if !usable[i] {
				continue
			}
			l := backend.Limits{Rows: 40, Blocks: 3, Threads: threads, Kernel: name}
			if threads == 2 {
				l.Packed = filepath.Join(t.TempDir(), "w"+backend.PackedSuffix)
			}
			m := tiny(t, l)
			out, err := m.Step(rows([]uint32{5, 3, 9, 1, 7, 2, 2, 8, 30, 31, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 4, 5, 6, 7}, 0, blockTable(2), true))
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want, first = append(want, out.Data...), name
				continue
			}
			for k := range want {
				if math.Float32bits(want[k]) != math.Float32bits(out.Data[k]) {
					t.Fatalf("%s with %d threads: logit %d is %v, %s has %v", name, threads, k, out.Data[k], first, want[k])
				}
			}
		}
	}
}

// TestIdle: a loaded model that nobody calls takes no processor time.
func TestIdle(t *testing.T) {
	m := tiny(t, backend.Limits{Rows: 8, Blocks: 2, Threads: 4})
	if _, err := m.Step(rows([]uint32{1, 2, 3}, 0, blockTable(1), false)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // past the spin
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	time.Sleep(500 * time.Millisecond)
	if d := used() - before; d > 25*time.Millisecond {
		t.Errorf("%v of processor time in 500 ms of idling", d)
	}
}

// TestStepAllocates nothing.
func TestStepAllocates(t *testing.T) {
	m := tiny(t, backend.Limits{Rows: 8, Blocks: 2, Threads: 2})
	b := rows([]uint32{1, 2, 3}, 0, blockTable(1), false)
	if n := testing.AllocsPerRun(20, func() {
		if _, err := m.Step(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per step", n)
	}
}

func TestLoadErrors(t *testing.T) {
	b, err := cpu.New()
	if err != nil {
		t.Fatal(err)
	}
	g := backendtest.Tiny(rand.New(rand.NewPCG(1, 2)), []quant.Type{quant.Q8_0})
	for _, c := range []struct {
		l    backend.Limits
		want error
	}{
		{backend.Limits{Rows: 1, Blocks: 1, Kernel: "SSE9"}, backend.ErrUnsupported},
		{backend.Limits{Rows: 1, Blocks: 1, KV: backend.KVF32}, backend.ErrUnsupported},
	} {
		if m, err := b.Load(g, c.l); !errors.Is(err, c.want) {
			if err == nil {
				m.Close()
			}
			t.Errorf("%+v: %v, want %v", c.l, err, c.want)
		}
	}
	big, err := model.Open(testenv.SmolLM2(t))
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	for _, l := range []backend.Limits{{Rows: 1, Blocks: 1 << 28}} {
		if m, err := b.Load(big.Graph, l); !errors.Is(err, backend.ErrMemory) {
			if err == nil {
				m.Close()
			}
			t.Errorf("%+v: %v, want %v", l, err, backend.ErrMemory)
		}
	}
	m := tiny(t, backend.Limits{Rows: 2, Blocks: 1})
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := m.Step(rows([]uint32{1}, 0, blockTable(1), true)); err == nil {
		t.Error("Step after Close: no error")
	}
	if err := m.ReleaseBlocks([]backend.BlockID{0}); err == nil {
		t.Error("ReleaseBlocks after Close: no error")
	}
}

// TestPicksKeepBits: what measurement chose per shape and number of rows gives the bits of every variant.
func TestPicksKeepBits(t *testing.T) {
	sizes := []int{1, 2, 15, 16, 40}
	if testing.Short() {
		sizes = sizes[:1]
	}
	limits := backend.Limits{Rows: 40, Blocks: 3, Threads: 2}
	_, m := open(t, testenv.SmolLM2(t), limits)
	s := m.Stats()
	lines := 0
	for _, k := range s.Kernels {
		if strings.Contains(k, "of a plain read") {
			lines++
		}
	}
	if lines == 0 || m.Bandwidth() <= 0 {
		t.Errorf("nothing measured: %q, %v GB/s", s.Kernels, m.Bandwidth())
	}
	names, usable := cpu.Variants()
	for i, name := range names {
		if !usable[i] || name == "generic" {
			continue
		}
		limits.Kernel = name
		_, forced := open(t, testenv.SmolLM2(t), limits)
		if got := forced.Stats().Kernels; len(got) == 0 || strings.Contains(strings.Join(got, ""), "GB/s") {
			t.Errorf("%s was asked for, yet something was chosen: %q", name, got)
		}
		for _, n := range sizes {
			want, err := m.Step(rows(tokens(n), 0, blockTable(2), true))
			if err != nil {
				t.Fatal(err)
			}
			got, err := forced.Step(rows(tokens(n), 0, blockTable(2), true))
			if err != nil {
				t.Fatal(err)
			}
			for k := range want.Data {
				if math.Float32bits(want.Data[k]) != math.Float32bits(got.Data[k]) {
					t.Fatalf("%d rows: logit %d is %v, %s has %v", n, k, want.Data[k], name, got.Data[k])
				}
			}
		}
		forced.Close()
	}
	if m.Stats().DecodeGBps <= 0 {
		t.Error("steps of one row were not timed")
	}
}

//go:build cgo && !purego && !windows

package cpu

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// packedGraph is the same for the same seed.
func packedGraph(seed uint64) *graph.Graph {
	return backendtest.Tiny(rand.New(rand.NewPCG(seed, 2)), []quant.Type{quant.Q4_1, quant.Q8_0, quant.Affine6, quant.Q4_K, quant.MXFP4, quant.Q6_K, quant.BF16})
}

// answer loads the graph and returns its logits for a few tokens, and whether packed weights were used.
func answer(t *testing.T, g *graph.Graph, path, source string) ([]float32, bool) {
	t.Helper()
	bm, err := cpuBackend{}.Load(g, backend.Limits{Rows: 8, Blocks: 1, Threads: 2, Packed: path, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	defer bm.Close()
	l, err := bm.Step(&backend.Batch{Tokens: []uint32{3, 1, 4}, Pos: []int32{0, 1, 2}, Seq: []int32{0, 0, 0}, Tables: [][]backend.BlockID{{0}}, Sample: []int32{0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Contains(bm.Stats().Kernels[0], "packed weights")
	if said != (bm.(*model).packs != nil) {
		t.Errorf("%q", bm.Stats().Kernels[0])
	}
	return slices.Clone(l.Data), said
}

// TestPacked: a file is made once and used while it holds good; whatever else lies there is made anew; where nothing can
// be written the weights are read as they are stored. The answer is the same every time.
func TestPacked(t *testing.T) {
	g := packedGraph(1)
	want, used := answer(t, g, "", "")
	if used {
		t.Fatal("packed weights without a path")
	}
	dir := filepath.Join(t.TempDir(), "new", "folder")
	path := filepath.Join(dir, "a"+backend.PackedSuffix)
	if k, err := kernels(""); err != nil || nameOf(k) == "generic" { // portable C takes weights as they are stored
		if got, used := answer(t, g, path, "s"); used || !slices.Equal(got, want) {
			t.Error("packed weights for portable C")
		}
		return
	}
	same := func(what string, g *graph.Graph, path, source string, want []float32) []byte {
		t.Helper()
		got, used := answer(t, g, path, source)
		if !used {
			t.Errorf("%s: not packed", what)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: another answer", what)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%s: %v", what, entries)
		}
		return b
	}
	good := same("made", g, path, "s", want)
	before, _ := os.Stat(path)
	if same("used", g, path, "s", want); true {
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
			t.Error("made again though it held good")
		}
	}

	damage := map[string]func() []byte{
		"empty":           func() []byte { return nil },
		"short":           func() []byte { return good[:len(good)-1] },
		"half":            func() []byte { return good[:len(good)/2] },
		"long":            func() []byte { return append(slices.Clone(good), 0) },
		"another version": func() []byte { b := slices.Clone(good); b[8]++; return b },
		"another key":     func() []byte { b := slices.Clone(good); b[30]++; return b },
		"a sum":           func() []byte { b := slices.Clone(good); b[packedHead]++; return b },
		"first byte":      func() []byte { b := slices.Clone(good); b[4096] ^= 1; return b },
		"last byte":       func() []byte { b := slices.Clone(good); b[len(b)-1] ^= 0x80; return b },
		"some byte":       func() []byte { b := slices.Clone(good); b[4096+len(b[4096:])/3] ^= 8; return b },
	}
	for what, f := range damage {
		if err := os.WriteFile(path, f(), 0o600); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(same(what, g, path, "s", want), good) {
			t.Errorf("%s: not made anew", what)
		}
	}
	if bytes.Equal(same("changed files", g, path, "later", want), good) {
		t.Error("the file of other sources was used")
	}
	other := packedGraph(5)
	wantOther, _ := answer(t, other, "", "")
	same("another model", other, path, "later", wantOther)

	// Not to be written: a folder in place of the file, a file in place of the folder.
	blocked := filepath.Join(t.TempDir(), "b"+backend.PackedSuffix)
	if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{blocked, filepath.Join(path, "c"+backend.PackedSuffix)} {
		if got, used := answer(t, g, p, "s"); used || !slices.Equal(got, want) {
			t.Errorf("%s: packed: %v", p, used)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(blocked), "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestPackedTogether: many that open one model at once, and another at the same place, all get their own answers.
func TestPackedTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a"+backend.PackedSuffix)
	var wg sync.WaitGroup
	for i := range 6 {
		g := packedGraph(uint64(1 + i%2))
		want, _ := answer(t, g, "", "")
		wg.Go(func() {
			for range 5 {
				if got, _ := answer(t, g, path, "s"); !slices.Equal(got, want) {
					t.Error("another answer")
				}
			}
		})
	}
	wg.Wait()
}

// TestPackedSweep: what was not wanted for long and what a killed process left is removed, and nothing else.
func TestPackedSweep(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	for name, age := range map[string]time.Duration{
		"old" + backend.PackedSuffix: packedKept + time.Hour, "new" + backend.PackedSuffix: time.Hour, "a" + backend.PackedSuffix + ".1.tmp": 2 * time.Hour,
		"b" + backend.PackedSuffix + ".1.tmp": time.Minute, "else": 2 * packedKept, "else.tmp": 2 * packedKept,
	} {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(p, nil, 0o600), os.Chtimes(p, now.Add(-age), now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	sweepPacked(dir, now)
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{"b" + backend.PackedSuffix + ".1.tmp", "else", "else.tmp", "new" + backend.PackedSuffix}; !slices.Equal(left, want) {
		t.Errorf("%q", left)
	}
}

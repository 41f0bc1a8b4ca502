package krserve

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/testenv"
	"github.com/krserve/krserve/kvcache"
)

// warm opens an engine on a pool with a file, answers r, and closes both.
func warm(t *testing.T, path string, c Config, r Request) (Result, Stats) {
	t.Helper()
	pool, err := NewKVPool(kvcache.Options{File: path, FileBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	c.Pool, c.ContextTokens = pool, 512
	if c.Tokenizer, err = fakeTokenizer(); err != nil {
		t.Fatal(err)
	}
	e, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Generate(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	return got, e.Stats()
}

// TestWarmFile: an engine started again with the same file finds its prefixes there and answers with the same bits.
// Another tenant, backend or model finds nothing, be it different in a single bit of its weights.
func TestWarmFile(t *testing.T) {
	for _, name := range []string{"gemma3-4bit-g64", "qwen3-8bit-g64"} {
		t.Run(name, func(t *testing.T) {
			path, dir := filepath.Join(t.TempDir(), "kv"), testenv.Golden("mlx", name)
			prompt := make([]uint32, 300)
			for i := range prompt {
				prompt[i] = uint32(3 + (i*i*7+i)%900)
			}
			r := Request{Prompt: prompt, MaxTokens: 12, IgnoreEOS: true, Temperature: 1, Seed: 9, TopLogProbs: 5, LogProbs: true}
			answers := map[string]Result{}
			for _, b := range backend.Names() {
				cold, _ := warm(t, path, Config{Model: dir, Backend: b}, r)
				if cold.Usage.CachedTokens != 0 {
					t.Errorf("%s: a cold start found %d tokens", b, cold.Usage.CachedTokens)
				}
				answers[b] = cold
			}
			for _, b := range backend.Names() {
				got, st := warm(t, path, Config{Model: dir, Backend: b}, r)
				if got.Usage.CachedTokens != 288 || st.RestoredTokens != 288 {
					t.Errorf("%s: a warm start found %d tokens and restored %d, want 288", b, got.Usage.CachedTokens, st.RestoredTokens)
				}
				if !reflect.DeepEqual(got.Tokens, answers[b].Tokens) {
					t.Errorf("%s: another answer from the file", b)
				}
			}
			other := r
			other.Tenant = "other"
			if got, _ := warm(t, path, Config{Model: dir, Backend: "reference"}, other); got.Usage.CachedTokens != 0 {
				t.Errorf("another tenant found %d tokens", got.Usage.CachedTokens)
			}
			tuned := filepath.Join(t.TempDir(), "tuned")
			if err := os.CopyFS(tuned, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			weights := filepath.Join(tuned, "model.safetensors")
			data, err := os.ReadFile(weights)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2+len(data)/7] ^= 1
			if err := os.WriteFile(weights, data, fs.FileMode(0o600)); err != nil {
				t.Fatal(err)
			}
			if got, _ := warm(t, path, Config{Model: tuned, Backend: "reference"}, r); got.Usage.CachedTokens != 0 {
				t.Errorf("a model of other weights found %d tokens", got.Usage.CachedTokens)
			}
		})
	}
}

package krserve

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

// TestPackedWeights: CacheDir keeps a model's weights packed unless that is not wanted, anew where the model's file is
// another, and the answers are the same.
func TestPackedWeights(t *testing.T) {
	data, err := os.ReadFile(testenv.SmolLM2(t))
	if err != nil {
		t.Fatal(err)
	}
	path, cache := filepath.Join(t.TempDir(), "m[1].gguf"), t.TempDir()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	answer := func(c Config) (ids []uint32, packed bool) {
		t.Helper()
		c.Model, c.ContextTokens, c.Backend = path, 64, "cpu"
		e, err := Open(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		s, err := e.Start(context.Background(), Request{Raw: "One, two, three,", MaxTokens: 12, Temperature: 0})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for {
			tok, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, tok.ID)
		}
		return ids, strings.Contains(strings.Join(e.Stats().Kernels, "\n"), "packed weights")
	}
	files := func() []string {
		names, err := filepath.Glob(filepath.Join(cache, "*.packed"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	want, packed := answer(Config{})
	if packed {
		t.Error("packed weights without a CacheDir")
	}
	if got, packed := answer(Config{CacheDir: cache, NoPackedWeights: true}); packed || len(files()) != 0 || !slices.Equal(got, want) {
		t.Errorf("NoPackedWeights: %v, %v", packed, files())
	}
	if got, packed := answer(Config{CacheDir: cache}); !packed || len(files()) != 1 || !slices.Equal(got, want) {
		t.Fatalf("packed: %v, %v, ids %v, want %v", packed, files(), got, want)
	}
	info := func() os.FileInfo {
		s, err := os.Stat(files()[0])
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := info()
	if got, packed := answer(Config{CacheDir: cache, ActivationBits: 16}); !packed || !slices.Equal(got, want) || !os.SameFile(first, info()) {
		t.Error("a second Open made the file again, or answers otherwise")
	}
	link := filepath.Join(t.TempDir(), "link.gguf")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	place := path
	path = link
	if got, packed := answer(Config{CacheDir: cache}); !packed || !slices.Equal(got, want) || len(files()) != 1 || !os.SameFile(first, info()) {
		t.Error("through a link: made again, or twice")
	}
	path = place
	if err := os.WriteFile(path, data, 0o600); err != nil { // the same bytes at another time
		t.Fatal(err)
	}
	if got, packed := answer(Config{CacheDir: cache}); !packed || len(files()) != 1 || os.SameFile(first, info()) || !slices.Equal(got, want) {
		t.Error("a file of other sources was used, or left lying")
	}
}

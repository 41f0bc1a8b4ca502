// Package testenv finds what tests need: the repository root, golden files and fetched models.
package testenv

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Root returns the repository's root folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Golden returns the path of a committed file below testdata/goldens.
func Golden(elem ...string) string {
	return filepath.Join(append([]string{Root(), "testdata", "goldens"}, elem...)...)
}

// Fetched returns the path of a file that `make testdata` fetches, and fails the test when it is absent.
func Fetched(tb testing.TB, elem ...string) string {
	tb.Helper()
	p := filepath.Join(append([]string{Root(), ".testdata"}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		tb.Fatalf("%v (run `make testdata` first)", err)
	}
	return p
}

// SmolLM2 returns the path of SmolLM2-135M-Instruct.Q4_1.gguf.
func SmolLM2(tb testing.TB) string { tb.Helper(); return Fetched(tb, "smollm2.gguf") }

// Gemma3 returns the path of gemma-3-270m-q4_k_m.gguf.
func Gemma3(tb testing.TB) string { tb.Helper(); return Fetched(tb, "gemma3-270m.gguf") }

// Tokenizer returns the path of the tokenizer.json of one of the eight golden tokenizers.
func Tokenizer(tb testing.TB, name string) string {
	tb.Helper()
	return Fetched(tb, "tok", name, "tokenizer.json")
}

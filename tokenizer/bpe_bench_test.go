package tokenizer

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func BenchmarkMergeRuns(b *testing.B) {
	for _, name := range []string{"qwen3", "llama3_1"} {
		g := newMerger(realModel(b, name))
		r := rand.New(rand.NewPCG(1, 1))
		random := make([]byte, 10<<20)
		for i := range random {
			random[i] = byte('a' + r.IntN(26))
		}
		for _, c := range []struct {
			name string
			text []byte
		}{{"a100K", bytes.Repeat([]byte("a"), 100<<10)}, {"a10M", bytes.Repeat([]byte("a"), 10<<20)},
			{"random100K", random[:100<<10]}, {"random10M", random}} {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				b.SetBytes(int64(len(c.text)))
				dst := make([]uint32, 0, len(c.text))
				for b.Loop() {
					dst = g.appendBytes(dst[:0], c.text)
				}
			})
		}
	}
}

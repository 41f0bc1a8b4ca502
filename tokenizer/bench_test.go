package tokenizer

import (
	"os"
	"slices"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

func BenchmarkLoad(b *testing.B) {
	for _, name := range []string{"smollm2", "qwen3", "gemma3"} {
		b.Run(name, func(b *testing.B) {
			data, err := os.ReadFile(testenv.Tokenizer(b, name))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("smollm2.gguf", func(b *testing.B) {
		for b.Loop() {
			if _, err := Open(testenv.SmolLM2(b)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEncode times the whole pipeline on one goroutine: cold with an empty cache, warm into the caller's buffer, and
// warm into a fresh slice.
func BenchmarkEncode(b *testing.B) {
	texts := benchTexts(b)
	for name := range fastSpecs {
		b.Run(name, func(b *testing.B) {
			tok, err := OpenConfig(testenv.Tokenizer(b, name), Config{Threads: 1})
			if err != nil {
				b.Fatal(err)
			}
			for tn, text := range texts {
				dst := make([]uint32, 0, len(text))
				b.Run(tn+"/cold", func(b *testing.B) {
					b.SetBytes(int64(len(text)))
					for b.Loop() {
						tok.fast.forget()
						dst = tok.AppendEncode(dst[:0], text)
					}
				})
				b.Run(tn+"/warm", func(b *testing.B) {
					b.SetBytes(int64(len(text)))
					b.ReportAllocs()
					dst = tok.AppendEncode(dst[:0], text)
					for b.Loop() {
						dst = tok.AppendEncode(dst[:0], text)
					}
				})
				b.Run(tn+"/fresh", func(b *testing.B) {
					b.SetBytes(int64(len(text)))
					for b.Loop() {
						dst = tok.AppendEncode(nil, text)
					}
				})
				b.Run(tn+"/count", func(b *testing.B) {
					b.SetBytes(int64(len(text)))
					s := string(text)
					for b.Loop() {
						tok.Count(s)
					}
				})
			}
		})
	}
}

// BenchmarkBatch encodes a text as a batch of pieces of 20 KB.
func BenchmarkBatch(b *testing.B) {
	for tn, text := range benchTexts(b) {
		b.Run(tn, func(b *testing.B) {
			tok := open(b, "qwen3")
			var batch []string
			for part := range slices.Chunk(text, 20_000) {
				batch = append(batch, string(part))
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tok.EncodeBatch(b.Context(), batch, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"qwen3", "gemma3", "llama2"} {
		b.Run(name, func(b *testing.B) {
			tok := open(b, name)
			text := ""
			for _, c := range readGolden(b, name) {
				text += c.Text + "\n"
			}
			ids := tok.Encode(text)
			var buf []byte
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				buf = tok.AppendDecode(buf[:0], ids, false)
			}
		})
	}
}

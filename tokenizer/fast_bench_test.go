package tokenizer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

// benchTexts gives texts by name: the files of the folder KRSERVE_CORPUS, or the golden texts, repeated.
func benchTexts(b *testing.B) map[string][]byte {
	texts := map[string][]byte{}
	if dir := os.Getenv("KRSERVE_CORPUS"); dir != "" {
		names, _ := filepath.Glob(filepath.Join(dir, "*.txt"))
		for _, n := range names {
			data, err := os.ReadFile(n)
			if err != nil {
				b.Fatal(err)
			}
			if len(data) > 7_000_000 {
				data = data[:7_000_000]
			}
			texts[strings.TrimSuffix(filepath.Base(n), ".txt")] = bytes.ToValidUTF8(data, nil)
		}
		return texts
	}
	f, err := os.Open(testenv.Golden("tokenizer", "qwen3.jsonl.gz"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		b.Fatal(err)
	}
	var all []byte
	s := bufio.NewScanner(z)
	s.Buffer(nil, 1<<24)
	for s.Scan() {
		var c struct{ Text string }
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			b.Fatal(err)
		}
		all = append(all, c.Text...)
	}
	for len(all) < 2_000_000 {
		all = append(all, all...)
	}
	texts["golden"] = bytes.ToValidUTF8(all, nil)
	return texts
}

func BenchmarkSection(b *testing.B) {
	texts := benchTexts(b)
	for name, spec := range fastSpecs {
		l := loadReal(b, name)
		for tn, text := range texts {
			b.Run(name+"/"+tn+"/cold", func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				dst := make([]uint32, 0, len(text))
				for b.Loop() {
					b.StopTimer()
					f := newFast(l.m, l.mg, spec, Config{Threads: 1})
					b.StartTimer()
					dst = f.appendSection(dst[:0], text, false)
				}
			})
			b.Run(name+"/"+tn+"/warm", func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				f := newFast(l.m, l.mg, spec, Config{Threads: 1})
				dst := f.appendSection(make([]uint32, 0, len(text)), text, false)
				for b.Loop() {
					dst = f.appendSection(dst[:0], text, false)
				}
				h, m := f.stats()
				b.ReportMetric(float64(m)/float64(h+m)*100*float64(b.N+1), "first-miss-%")
			})
			b.Run(name+"/"+tn+"/two", func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				f := newFast(l.m, l.mg, spec, Config{Threads: 2})
				dst := f.appendSection(make([]uint32, 0, len(text)), text, false)
				dst = f.appendSection(dst[:0], text, false)
				for b.Loop() {
					dst = f.appendSection(dst[:0], text, false)
				}
			})
		}
	}
}

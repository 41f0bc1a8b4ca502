//go:build cgo && !purego && !windows

package cpu_test

import (
	"testing"
	"time"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/testenv"
)

var models = []struct {
	name string
	path func(testing.TB) string
}{{"smollm2", testenv.SmolLM2}, {"gemma3", testenv.Gemma3}}

func tokens(n int) []uint32 {
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = uint32(i*7919%40000 + 100)
	}
	return ids
}

// meter runs steps and keeps the fastest, which other processes disturb least.
type meter struct {
	best time.Duration
	rows int
}

func (x *meter) step(b *testing.B, m backend.Model, batch *backend.Batch) {
	t := time.Now()
	if _, err := m.Step(batch); err != nil {
		b.Fatal(err)
	}
	if d := time.Since(t); x.best == 0 || d < x.best {
		x.best, x.rows = d, len(batch.Tokens)
	}
}

func (x *meter) report(b *testing.B, rows int) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "tok/s")
	b.ReportMetric(float64(x.rows)/x.best.Seconds(), "best-tok/s")
}

// BenchmarkPrefill is 512 tokens in one step, the last row sampled.
func BenchmarkPrefill(b *testing.B) {
	for _, c := range models {
		b.Run(c.name, func(b *testing.B) {
			_, m := open(b, c.path(b), backend.Limits{Rows: 512, Blocks: 17})
			var x, warm meter
			batch := rows(tokens(512), 0, blockTable(17), false)
			warm.step(b, m, batch)
			for b.Loop() {
				x.step(b, m, batch)
			}
			x.report(b, 512)
		})
	}
}

// BenchmarkDecode is one token at a time from an empty context, 64 in all.
func BenchmarkDecode(b *testing.B) {
	for _, c := range models {
		b.Run(c.name, func(b *testing.B) {
			_, m := open(b, c.path(b), backend.Limits{Rows: 512, Blocks: 17})
			var x meter
			ids, table := tokens(64), blockTable(17)
			for b.Loop() {
				for i := range ids {
					x.step(b, m, rows(ids[i:i+1], i, table, true))
				}
			}
			x.report(b, 64)
		})
	}
}

// BenchmarkDecode10 is ten sequences decoding together, each 128 tokens deep.
func BenchmarkDecode10(b *testing.B) {
	_, m := open(b, testenv.SmolLM2(b), backend.Limits{Rows: 512, Blocks: 60})
	var x, warm meter
	batch := &backend.Batch{}
	for s := range 10 {
		var t []backend.BlockID
		for k := range 6 {
			t = append(t, backend.BlockID(s*6+k))
		}
		batch.Tables = append(batch.Tables, t)
		for p := 0; p < 128; p += 128 {
			warm.step(b, m, rows(tokens(128), p, t, false))
		}
		batch.Tokens, batch.Seq = append(batch.Tokens, uint32(s+100)), append(batch.Seq, int32(s))
		batch.Pos, batch.Sample = append(batch.Pos, 128), append(batch.Sample, int32(s))
	}
	for b.Loop() {
		x.step(b, m, batch)
	}
	x.report(b, 10)
}

// BenchmarkDeep is decoding at the end of a 7,000-token context.
func BenchmarkDeep(b *testing.B) {
	_, m := open(b, testenv.SmolLM2(b), backend.Limits{Rows: 512, Blocks: 256})
	var x, warm meter
	table := blockTable(256)
	for p := 0; p < 7000; p += 500 {
		warm.step(b, m, rows(tokens(500), p, table, false))
	}
	for b.Loop() {
		for i := range 16 {
			x.step(b, m, rows(tokens(1), 7000+i, table, true))
		}
	}
	x.report(b, 16)
}

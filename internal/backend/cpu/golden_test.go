//go:build cgo && !purego && !windows

package cpu_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/cpu"
	"github.com/krserve/krserve/internal/model"
	"github.com/krserve/krserve/internal/testenv"
)

type goldenCase struct {
	IDs    []uint32     `json:"ids"`
	Top    [][2]float64 `json:"top"`
	Greedy []uint32     `json:"greedy"`
	Margin []float64    `json:"margin"`
}

func open(t testing.TB, path string, l backend.Limits) (*model.Model, backend.Model) {
	t.Helper()
	m, err := model.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cpu.New()
	if err != nil {
		t.Fatal(err)
	}
	bm, err := b.Load(m.Graph, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bm.Close(); m.Close() })
	return m, bm
}

func logSoftmax(logits []float32) []float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range logits {
		top = max(top, float64(v))
	}
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	out := make([]float64, len(logits))
	for i, v := range logits {
		out[i] = float64(v) - top - math.Log(sum)
	}
	return out
}

// rows is a batch of one sequence: ids from position pos, with the logits of the last row, or of all.
func rows(ids []uint32, pos int, table []backend.BlockID, all bool) *backend.Batch {
	b := &backend.Batch{Tokens: ids, Tables: [][]backend.BlockID{table}}
	for i := range ids {
		b.Pos, b.Seq = append(b.Pos, int32(pos+i)), append(b.Seq, 0)
		if all || i == len(ids)-1 {
			b.Sample = append(b.Sample, int32(i))
		}
	}
	return b
}

func blockTable(n int) []backend.BlockID {
	t := make([]backend.BlockID, n)
	for i := range t {
		t[i] = backend.BlockID(i)
	}
	return t
}

// TestGoldens holds the distance to float32 below llama.cpp's on the same cases (testdata/goldens/README.md), and
// greedy steps to the golden's tokens unless the two best lie within half a logit; a thirtieth of it with activations of
// 16 bits.
func TestGoldens(t *testing.T) {
	for _, c := range []struct {
		name, path string
		bits       int
		most       float64
	}{
		{"smollm2", testenv.SmolLM2(t), 16, 0.003}, {"gemma3-270m", testenv.Gemma3(t), 16, 0.004},
		{"smollm2", testenv.SmolLM2(t), 8, 0.09}, {"gemma3-270m", testenv.Gemma3(t), 8, 0.12},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.name, c.bits), func(t *testing.T) {
			data, err := os.ReadFile(testenv.Golden("engine", c.name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var f struct{ Cases []goldenCase }
			if err := json.Unmarshal(data, &f); err != nil {
				t.Fatal(err)
			}
			_, bm := open(t, c.path, backend.Limits{Rows: 128, Blocks: 64, ActivationBits: c.bits})
			sum, n, worst := 0.0, 0, 0.0
			for i, g := range f.Cases {
				if testing.Short() && len(g.IDs)+len(g.Greedy) > 70 { // emulated processors are slow
					continue
				}
				ids := append(append([]uint32(nil), g.IDs...), g.Greedy[:len(g.Greedy)-1]...)
				for lo := 0; lo < len(ids); lo += 128 {
					hi := min(len(ids), lo+128)
					l, err := bm.Step(rows(ids[lo:hi], lo, blockTable(64), true))
					if err != nil {
						t.Fatal(err)
					}
					for p := max(lo, len(g.IDs)-1); p < hi; p++ {
						lp := logSoftmax(l.Row(p - lo))
						step := p - len(g.IDs) + 1
						if step == 0 {
							for _, e := range g.Top[:10] {
								d := math.Abs(lp[int(e[0])] - e[1])
								sum, n, worst = sum+d, n+1, max(worst, d)
							}
						}
						best := 0
						for k := range lp {
							if lp[k] > lp[best] {
								best = k
							}
						}
						if g.Margin[step] >= 0.5 && uint32(best) != g.Greedy[step] {
							t.Errorf("case %d, greedy step %d: token %d, golden %d (margin %.3f)", i, step, best, g.Greedy[step], g.Margin[step])
						}
					}
				}
			}
			t.Logf("mean |Δlogprob| of the top 10: %.4f, worst %.4f", sum/float64(n), worst)
			if testing.Short() { // few cases scatter
				c.most *= 2
			}
			if !(sum/float64(n) <= c.most) || len(f.Cases) == 0 {
				t.Errorf("mean |Δlogprob| %.4f, at most %.2f", sum/float64(n), c.most)
			}
		})
	}
}

package model

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/reference"
	"github.com/krserve/krserve/internal/testenv"
)

// goldenCase is one case of testdata/goldens/engine: see the README there.
type goldenCase struct {
	Text     string       `json:"text"`
	IDs      []uint32     `json:"ids"`
	LogProbs []float64    `json:"logprobs"`
	Top      [][2]float64 `json:"top"`
	Greedy   []uint32     `json:"greedy"`
	Margin   []float64    `json:"margin"`
}

func readCases(t *testing.T, name string) []goldenCase {
	t.Helper()
	data, err := os.ReadFile(testenv.Golden("engine", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Cases []goldenCase `json:"cases"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Cases) == 0 {
		t.Fatal("no cases")
	}
	return f.Cases
}

// logSoftmax turns logits into log-probabilities in place of a copy.
func logSoftmax(logits []float32) []float64 {
	top := math.Inf(-1)
	for _, v := range logits {
		top = max(top, float64(v))
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	lse := top + math.Log(sum)
	out := make([]float64, len(logits))
	for i, v := range logits {
		out[i] = float64(v) - lse
	}
	return out
}

func argmax(v []float64) int {
	best := 0
	for i := range v {
		if v[i] > v[best] {
			best = i
		}
	}
	return best
}

func table(n int) []backend.BlockID {
	t := make([]backend.BlockID, (n+backend.BlockTokens-1)/backend.BlockTokens)
	for i := range t {
		t[i] = backend.BlockID(i)
	}
	return t
}

// forward runs ids from position 0 in chunks and calls visit with the log-probabilities after each.
func forward(t *testing.T, m backend.Model, ids []uint32, chunk int, visit func(pos int, lp []float64)) {
	t.Helper()
	tab := table(len(ids))
	for lo := 0; lo < len(ids); lo += chunk {
		hi := min(lo+chunk, len(ids))
		b := &backend.Batch{Tokens: ids[lo:hi], Tables: [][]backend.BlockID{tab}}
		for p := lo; p < hi; p++ {
			b.Pos, b.Seq, b.Sample = append(b.Pos, int32(p)), append(b.Seq, 0), append(b.Sample, int32(p-lo))
		}
		l, err := m.Step(b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Sample {
			visit(lo+i, logSoftmax(l.Row(i)))
		}
	}
}

// minMargin is the gap in logits between the two best tokens below which a greedy step may go either way.
const minMargin = 0.01

// checkGolden compares every log-probability of a case and every step of its greedy text: the golden's own tokens are
// fed, so that one pass shows all steps and one near tie does not hide the rest.
func checkGolden(t *testing.T, m backend.Model, c goldenCase) (mean float64) {
	t.Helper()
	ids := append(append([]uint32(nil), c.IDs...), c.Greedy[:len(c.Greedy)-1]...)
	ties := 0
	n, sum := 0, 0.0
	worst := 0.0
	diff := func(got, want float64) {
		d := math.Abs(got - want)
		sum, n, worst = sum+d, n+1, max(worst, d)
	}
	forward(t, m, ids, 128, func(pos int, lp []float64) {
		switch last := len(c.IDs) - 1; {
		case pos < last:
			diff(lp[c.IDs[pos+1]], c.LogProbs[pos])
		case pos == last:
			for _, e := range c.Top {
				diff(lp[int(e[0])], e[1])
			}
			fallthrough
		default:
			step := pos - last
			if c.Margin[step] < minMargin {
				ties++
			} else if got := argmax(lp); uint32(got) != c.Greedy[step] {
				t.Errorf("greedy step %d: token %d, golden %d (margin %.3f)", step, got, c.Greedy[step], c.Margin[step])
			}
		}
	})
	t.Logf("%d ids, %d greedy steps (%d near ties): mean |Δlogprob| %.6f, worst %.6f", len(c.IDs), len(c.Greedy), ties, sum/float64(n), worst)
	return sum / float64(n)
}

// testGoldens runs all cases, with -short the first with that many greedy steps.
func testGoldens(t *testing.T, path, name string, short int) {
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	bm, err := reference.Backend{}.Load(m.Graph, backend.Limits{Rows: 128, Blocks: 64, KV: backend.KVF32})
	if err != nil {
		t.Fatal(err)
	}
	defer bm.Close()
	for i, c := range readCases(t, name) {
		if testing.Short() {
			if i > 0 {
				break
			}
			c.Greedy, c.Margin = c.Greedy[:short], c.Margin[:short]
		}
		if mean := checkGolden(t, bm, c); !(mean <= 0.002) {
			t.Errorf("case %d: mean |Δlogprob| is %.6f, at most 0.002", i, mean)
		}
	}
	t.Logf("%+v", bm.Stats())
}

func TestGoldenSmolLM2(t *testing.T) { testGoldens(t, testenv.SmolLM2(t), "smollm2", 8) }
func TestGoldenGemma3(t *testing.T)  { testGoldens(t, testenv.Gemma3(t), "gemma3-270m", 4) }

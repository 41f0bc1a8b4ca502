package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/reference"
	"github.com/krserve/krserve/internal/testenv"
)

// TestGoldenMLX compares every log-probability of mlx-lm's float32 evaluation of the tiny models.
func TestGoldenMLX(t *testing.T) {
	dirs, err := filepath.Glob(testenv.Golden("mlx", "*"))
	if err != nil || len(dirs) < 8 {
		t.Fatalf("%d directories, %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
			if err != nil {
				t.Fatal(err)
			}
			var golden struct {
				IDs      []uint32     `json:"ids"`
				LogProbs []float64    `json:"logprobs"`
				Top      [][2]float64 `json:"top"`
				Logits   []float64    `json:"logits_last_first64"`
			}
			if err := json.Unmarshal(data, &golden); err != nil {
				t.Fatal(err)
			}
			m, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			bm, err := reference.Backend{}.Load(m.Graph, backend.Limits{Rows: 128, Blocks: 4, KV: backend.KVF32})
			if err != nil {
				t.Fatal(err)
			}
			defer bm.Close()
			worst := 0.0
			diff := func(got, want float64) {
				worst = max(worst, math.Abs(got-want))
			}
			forward(t, bm, golden.IDs, 40, func(pos int, lp []float64) {
				if pos+1 < len(golden.IDs) {
					diff(lp[golden.IDs[pos+1]], golden.LogProbs[pos])
					return
				}
				for _, e := range golden.Top {
					diff(lp[int(e[0])], e[1])
				}
				shift := lp[0] - golden.Logits[0] // logits and log-probabilities differ by a constant
				for i, l := range golden.Logits {
					diff(lp[i], l+shift)
				}
			})
			t.Logf("worst |Δlogprob| %.6f", worst)
			if !(worst <= 0.002) {
				t.Errorf("worst |Δlogprob| is %.6f, at most 0.002", worst)
			}
		})
	}
}

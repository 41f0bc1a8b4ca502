package model

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/reference"
	"github.com/krserve/krserve/internal/model/modelgen"
	"github.com/krserve/krserve/internal/quant"
)

// writePeers keeps the generated directories, for testdata/eval_mlx.py to evaluate.
var writePeers = flag.String("write-peers", "", "write the generated models below this folder")

// generated are models with random weights that mlx-lm has evaluated (testdata/mlx_lm.json). Together they cover what
// the committed directories do not: 2 and 5 bits, float types, yarn and linear scaling, odd group and head counts.
func generated() map[string]modelgen.Spec {
	base := modelgen.Spec{Vocab: 512, Width: 256, Layers: 3, FFN: 384, Heads: 4, KVHeads: 2, Context: 1024, RopeBase: 1e4, Type: quant.Affine4}
	spec := func(arch string, t quant.Type, group int, edit func(*modelgen.Spec)) modelgen.Spec {
		s := base
		s.Arch, s.Type, s.Group = arch, t, group
		if edit != nil {
			edit(&s)
		}
		return s
	}
	return map[string]modelgen.Spec{
		"llama-2bit-g32": spec("llama", quant.Affine2, 32, nil),
		"llama-5bit-g128-llama3": spec("llama", quant.Affine5, 128, func(s *modelgen.Spec) {
			s.Scaling, s.Factor, s.Original, s.RopeBase, s.Tied = "llama3", 32, 64, 5e5, true
		}),
		"llama-f32-linear": spec("llama", quant.F32, 0, func(s *modelgen.Spec) { s.Scaling, s.Factor = "linear", 4 }),
		"qwen2-f16-yarn": spec("qwen2", quant.F16, 0, func(s *modelgen.Spec) {
			s.Scaling, s.Factor, s.Original, s.RopeBase = "yarn", 4, 32, 1e6
		}),
		"qwen2-mixed-bits": spec("qwen2", quant.Affine3, 64, func(s *modelgen.Spec) { s.EmbedType, s.Heads, s.KVHeads = quant.Affine6, 8, 1 }),
		"qwen3-4bit-yarn":  spec("qwen3", quant.Affine4, 32, func(s *modelgen.Spec) { s.HeadDim, s.Scaling, s.Factor, s.Original = 128, "yarn", 8, 128 }),
		"qwen3-bf16":       spec("qwen3", quant.BF16, 0, func(s *modelgen.Spec) { s.HeadDim, s.Tied = 32, true }),
		"gemma3-8bit-linear": spec("gemma3", quant.Affine8, 64, func(s *modelgen.Spec) {
			s.Layers, s.Window, s.Pattern, s.HeadDim, s.Tied, s.Scaling, s.Factor, s.RopeBase = 7, 24, 6, 64, true, "linear", 8, 1e6
		}),
	}
}

// peerGolden is what a peer made of a generated model: ids are fixed by peerIDs.
type peerGolden struct {
	LogProbs []float64    `json:"logprobs"`
	Top      [][2]float64 `json:"top"`
}

func peerIDs(vocab int) []uint32 {
	ids := make([]uint32, 96)
	for i := range ids {
		ids[i] = uint32((i*7919 + 13) % vocab)
	}
	return ids
}

// comparePeer returns the largest difference of a log-probability.
func comparePeer(t *testing.T, m *Model, want peerGolden) (worst float64) {
	t.Helper()
	ids := peerIDs(m.Graph.Vocab)
	if len(want.LogProbs) != len(ids)-1 || len(want.Top) == 0 {
		t.Fatalf("a golden of %d log-probabilities and %d best", len(want.LogProbs), len(want.Top))
	}
	bm, err := reference.Backend{}.Load(m.Graph, backend.Limits{Rows: 64, Blocks: 4, KV: backend.KVF32})
	if err != nil {
		t.Fatal(err)
	}
	defer bm.Close()
	forward(t, bm, ids, 64, func(pos int, lp []float64) {
		if pos+1 < len(ids) {
			worst = max(worst, math.Abs(lp[ids[pos+1]]-want.LogProbs[pos]))
			return
		}
		for _, e := range want.Top {
			worst = max(worst, math.Abs(lp[int(e[0])]-e[1]))
		}
	})
	return worst
}

// generatedGGUF are models whose float32 weights llama.cpp has evaluated (testdata/llama_cpp.json), so that no
// quantised activation blurs the comparison: every architecture and every kind of scaling that GGUF can say.
func generatedGGUF() map[string]modelgen.Spec {
	spec := func(arch string, edit func(*modelgen.Spec)) modelgen.Spec {
		s := modelgen.Spec{Arch: arch, Vocab: 512, Width: 256, Layers: 3, FFN: 384, Heads: 4, KVHeads: 2, Context: 1024, RopeBase: 1e4, Type: quant.F32}
		edit(&s)
		return s
	}
	scaled := func(kind string, factor float64, original int) func(*modelgen.Spec) {
		return func(s *modelgen.Spec) { s.Scaling, s.Factor, s.Original = kind, factor, original }
	}
	return map[string]modelgen.Spec{
		"llama":        spec("llama", func(s *modelgen.Spec) { s.KVHeads = 4 }),
		"llama-llama3": spec("llama", scaled("llama3", 8, 64)),
		"llama-linear": spec("llama", scaled("linear", 4, 0)),
		"llama-yarn":   spec("llama", scaled("yarn", 4, 32)),
		"qwen2":        spec("qwen2", func(s *modelgen.Spec) { s.Tied = true }),
		"qwen2-yarn":   spec("qwen2", scaled("yarn", 4, 64)),
		"qwen3":        spec("qwen3", func(s *modelgen.Spec) { s.HeadDim, s.RopeBase = 128, 1e6 }),
		"gemma3": spec("gemma3", func(s *modelgen.Spec) {
			s.Layers, s.Window, s.Pattern, s.Tied, s.RopeBase = 7, 24, 6, true, 1e6
		}),
		"gemma3-linear": spec("gemma3", func(s *modelgen.Spec) {
			s.Layers, s.Window, s.Pattern, s.Tied, s.Scaling, s.Factor, s.RopeBase = 6, 16, 3, true, "linear", 8, 1e6
		}),
	}
}

func TestGeneratedMLX(t *testing.T) {
	testGenerated(t, "mlx_lm.json", generated(), func(s modelgen.Spec, dir string) (string, error) {
		return dir, s.WriteDir(dir)
	})
}

func TestGeneratedGGUF(t *testing.T) {
	testGenerated(t, "llama_cpp.json", generatedGGUF(), func(s modelgen.Spec, path string) (string, error) {
		return path + ".gguf", s.WriteGGUF(path + ".gguf")
	})
}

// testGenerated compares generated models with what a peer made of them in float32: mlx-lm 0.32.2, and the llama.cpp
// of llama-cpp-python 0.3.36.
func testGenerated(t *testing.T, file string, specs map[string]modelgen.Spec, write func(modelgen.Spec, string) (string, error)) {
	var goldens map[string]peerGolden
	if *writePeers == "" {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &goldens); err != nil {
			t.Fatal(err)
		}
	}
	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if *writePeers != "" {
				dir = *writePeers
			}
			path, err := write(spec, filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			m, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if *writePeers != "" {
				return
			}
			worst := comparePeer(t, m, goldens[name])
			t.Logf("worst |Δlogprob| %.6f", worst)
			if !(worst <= 0.002) {
				t.Errorf("worst |Δlogprob| is %.6f, at most 0.002", worst)
			}
		})
	}
}

// Package modelgen writes models of any shape with random weights, as GGUF files and as Hugging Face or MLX
// directories, for tests and benchmarks. The same Spec gives the same bytes. A tensor's weights spread around zero so
// that activations stay of order one through any number of layers.
package modelgen

import (
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/quant"
)

// Spec describes a model.
type Spec struct {
	Arch                                      string // "llama", "qwen2", "qwen3" or "gemma3"
	Vocab, Width, Layers, FFN, Heads, KVHeads int
	HeadDim                                   int // 0 = Width/Heads
	Context                                   int
	RopeBase                                  float64
	Scaling                                   string  // "", "linear", "llama3" or "yarn"
	Factor                                    float64 // of the scaling
	Original                                  int     // context before scaling
	Window, Pattern                           int     // gemma3
	Tied                                      bool
	Type                                      quant.Type // of the matrices
	EmbedType                                 quant.Type // of the embedding and the head; Invalid = Type
	Group                                     int        // of MLX affine types; 0 = 64
	Seed                                      uint64
	Tokenizer                                 string // a tokenizer.json: copied into a directory, the vocabulary of a GGUF file; "" for none
}

// Shapes are published models' shapes, without a storage type.
var Shapes = map[string]Spec{
	"qwen2.5-7b":   {Arch: "qwen2", Vocab: 152064, Width: 3584, Layers: 28, FFN: 18944, Heads: 28, KVHeads: 4, Context: 32768, RopeBase: 1e6},
	"qwen2.5-0.5b": {Arch: "qwen2", Vocab: 151936, Width: 896, Layers: 24, FFN: 4864, Heads: 14, KVHeads: 2, Context: 32768, RopeBase: 1e6, Tied: true},
	"qwen3-0.6b":   {Arch: "qwen3", Vocab: 151936, Width: 1024, Layers: 28, FFN: 3072, Heads: 16, KVHeads: 8, HeadDim: 128, Context: 40960, RopeBase: 1e6, Tied: true},
	"llama-3.2-1b": {Arch: "llama", Vocab: 128256, Width: 2048, Layers: 16, FFN: 8192, Heads: 32, KVHeads: 8, Context: 131072, RopeBase: 5e5, Tied: true, Scaling: "llama3", Factor: 32, Original: 8192},
	"llama-3.1-8b": {Arch: "llama", Vocab: 128256, Width: 4096, Layers: 32, FFN: 14336, Heads: 32, KVHeads: 8, Context: 131072, RopeBase: 5e5, Scaling: "llama3", Factor: 8, Original: 8192},
	"gemma3-1b":    {Arch: "gemma3", Vocab: 262144, Width: 1152, Layers: 26, FFN: 6912, Heads: 4, KVHeads: 1, HeadDim: 256, Context: 32768, RopeBase: 1e6, Window: 512, Pattern: 6, Tied: true},
}

// tensor is one tensor of a model, under both kinds of name.
type tensor struct {
	gguf, hf   string
	rows, cols int // rows = 0 for a vector
	kind       kind
}

type kind uint8

const (
	matrix kind = iota
	embedding
	head
	norm
	bias
	ropeDivisors
)

func (s Spec) withDefaults() (Spec, error) {
	if s.HeadDim == 0 && s.Heads > 0 {
		s.HeadDim = s.Width / s.Heads
	}
	if s.Group == 0 {
		s.Group = 64
	}
	if s.EmbedType == quant.Invalid {
		s.EmbedType = s.Type
	}
	if !slices.Contains([]string{"llama", "qwen2", "qwen3", "gemma3"}, s.Arch) {
		return s, fmt.Errorf("modelgen: architecture %q", s.Arch)
	}
	for _, n := range []int{s.Vocab, s.Width, s.Layers, s.FFN, s.Heads, s.KVHeads, s.HeadDim, s.Context} {
		if n <= 0 {
			return s, fmt.Errorf("modelgen: a size of %+v is not positive", s)
		}
	}
	for _, t := range []quant.Type{s.Type, s.EmbedType} {
		for _, cols := range []int{s.Width, s.FFN, s.Heads * s.HeadDim} {
			if !t.Valid() || cols%t.BlockSize() != 0 || t.Affine() && cols%s.Group != 0 {
				return s, fmt.Errorf("modelgen: rows of %d as %v", cols, t)
			}
		}
	}
	return s, nil
}

// tensors lists the model's tensors in file order.
func (s Spec) tensors() []tensor {
	gemma := s.Arch == "gemma3"
	out := []tensor{{"token_embd.weight", "model.embed_tokens.weight", s.Vocab, s.Width, embedding}}
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	for l := range s.Layers {
		add := func(gguf, hf string, rows, cols int, k kind) {
			out = append(out, tensor{fmt.Sprintf("blk.%d.%s", l, gguf), fmt.Sprintf("model.layers.%d.%s", l, hf), rows, cols, k})
		}
		add("attn_norm.weight", "input_layernorm.weight", 0, s.Width, norm)
		for _, p := range []struct {
			name string
			rows int
		}{{"q", q}, {"k", kv}, {"v", kv}} {
			add("attn_"+p.name+".weight", "self_attn."+p.name+"_proj.weight", p.rows, s.Width, matrix)
			if s.Arch == "qwen2" {
				add("attn_"+p.name+".bias", "self_attn."+p.name+"_proj.bias", 0, p.rows, bias)
			}
		}
		if gemma || s.Arch == "qwen3" {
			add("attn_q_norm.weight", "self_attn.q_norm.weight", 0, s.HeadDim, norm)
			add("attn_k_norm.weight", "self_attn.k_norm.weight", 0, s.HeadDim, norm)
		}
		add("attn_output.weight", "self_attn.o_proj.weight", s.Width, q, matrix)
		ffnNorm := "post_attention_layernorm.weight"
		if gemma {
			add("post_attention_norm.weight", ffnNorm, 0, s.Width, norm)
			ffnNorm = "pre_feedforward_layernorm.weight"
		}
		add("ffn_norm.weight", ffnNorm, 0, s.Width, norm)
		add("ffn_gate.weight", "mlp.gate_proj.weight", s.FFN, s.Width, matrix)
		add("ffn_up.weight", "mlp.up_proj.weight", s.FFN, s.Width, matrix)
		add("ffn_down.weight", "mlp.down_proj.weight", s.Width, s.FFN, matrix)
		if gemma {
			add("post_ffw_norm.weight", "post_feedforward_layernorm.weight", 0, s.Width, norm)
		}
	}
	out = append(out, tensor{"output_norm.weight", "model.norm.weight", 0, s.Width, norm})
	if !s.Tied {
		out = append(out, tensor{"output.weight", "lm_head.weight", s.Vocab, s.Width, head})
	}
	return out
}

func (s Spec) typeOf(t tensor) quant.Type {
	if t.kind == embedding || t.kind == head {
		return s.EmbedType
	}
	return s.Type
}

// source returns the generator of a tensor's part.
func (s Spec) source(name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name) // never fails
	return rand.New(rand.NewPCG(s.Seed, h.Sum64()))
}

// vector returns the elements of a norm or a bias; minusOne is how Gemma's directories store norms.
func (s Spec) vector(t tensor, minusOne bool) []float32 {
	r := s.source(t.gguf)
	mean, amp := 1.0, 0.1
	if t.kind == bias {
		mean, amp = 0, 0.3
	}
	out := make([]float32, t.cols)
	for i := range out {
		out[i] = float32(mean + amp*r.NormFloat64())
		if minusOne {
			out[i]--
		}
	}
	return out
}

// amp is the spread of a matrix: outputs of order one for inputs of order one, smaller where results are added up.
func (s Spec) amp(t tensor) float64 {
	if t.kind == embedding {
		if s.Arch == "gemma3" {
			return 1 / math.Sqrt(float64(s.Width))
		}
		return 1
	}
	return 1 / math.Sqrt(float64(t.cols))
}

// chunkRows is how many rows are made at a time.
const chunkRows = 256

// codes streams the stored rows of a matrix.
func (s Spec) codes(t tensor) func(io.Writer) error {
	return s.stream(t, func(r *rand.Rand, rows int) []byte {
		ty := s.typeOf(t)
		if ty.Affine() {
			b := make([]byte, rows*ty.RowBytes(t.cols))
			backendtest.FillRandom(r, b)
			return b
		}
		return backendtest.RandomWeight(r, t.gguf, ty, rows, t.cols, s.amp(t), s.Group, quant.BF16).Data
	})
}

// scales and biases stream those of an affine matrix.
func (s Spec) scales(t tensor) func(io.Writer) error {
	return s.stream(t, func(r *rand.Rand, rows int) []byte { b, _ := s.affine(r, t, rows); return b })
}

func (s Spec) biases(t tensor) func(io.Writer) error {
	return s.stream(t, func(r *rand.Rand, rows int) []byte { _, b := s.affine(r, t, rows); return b })
}

func (s Spec) affine(r *rand.Rand, t tensor, rows int) (scales, biases []byte) {
	return backendtest.RandomAffine(r, s.typeOf(t), quant.BF16, rows*t.cols/s.Group, s.amp(t))
}

// stream writes chunks of rows, each from a generator of its own, so that scales and biases see the same numbers.
func (s Spec) stream(t tensor, chunk func(r *rand.Rand, rows int) []byte) func(io.Writer) error {
	return func(out io.Writer) error {
		for lo := 0; lo < t.rows; lo += chunkRows {
			b := chunk(s.source(fmt.Sprintf("%s/%d", t.gguf, lo)), min(chunkRows, t.rows-lo))
			if _, err := out.Write(b); err != nil {
				return err
			}
		}
		return nil
	}
}

// Parse reads a spec's short form "SHAPE:TYPE", such as "qwen2.5-7b:Q4_K" or "qwen2.5-7b:AFFINE4".
func Parse(text string) (Spec, error) {
	shape, name, ok := strings.Cut(text, ":")
	s, known := Shapes[shape]
	if !ok || !known {
		return s, fmt.Errorf("modelgen: %q is not SHAPE:TYPE with a known shape", text)
	}
	for t := quant.F32; t.Valid(); t++ {
		if strings.EqualFold(t.String(), name) {
			s.Type = t
			return s, nil
		}
	}
	return s, fmt.Errorf("modelgen: unknown type %q", name)
}

package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/krserve/krserve/internal/gguf"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// ggufNames are GGUF's names of the graph's weights (gguf-py's tensor_mapping.py); layers have the prefix "blk.N.".
var ggufNames = map[string]string{
	"embed": "token_embd", "norm": "output_norm", "head": "output",
	"attn.norm": "attn_norm", "attn.q": "attn_q", "attn.k": "attn_k", "attn.v": "attn_v", "attn.o": "attn_output",
	"attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm", "attn.post_norm": "post_attention_norm",
	"ffn.norm": "ffn_norm", "ffn.gate": "ffn_gate", "ffn.up": "ffn_up", "ffn.down": "ffn_down", "ffn.post_norm": "post_ffw_norm",
}

func openGGUF(path string) (*Model, error) {
	f, err := gguf.Open(path)
	if errors.Is(err, gguf.ErrFormat) {
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	m, err := fromGGUF(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("model: %s: %w", path, err)
	}
	m.Path, m.Tokenizer, m.Source = path, path, f.Stamp()
	m.close, m.forget = f.Close, f.Forget
	return m, nil
}

// fromGGUF builds the model of an open file, which must stay open as long as the model.
func fromGGUF(f *gguf.File) (*Model, error) {
	name, err := f.Text("general.architecture")
	if err != nil {
		return nil, fmt.Errorf("%w: general.architecture: %w", ErrFormat, err)
	}
	a, err := archOf(name)
	if err != nil {
		return nil, err
	}
	p := &ggufParams{f: f, prefix: name + "."}
	c, err := readConfig(p, a)
	if err != nil {
		return nil, err
	}
	src := &ggufSource{f: f, used: map[string]bool{}}
	if c.Rope.Divisors, err = src.ropeDivisors(c.Rope.Dims); err != nil {
		return nil, err
	}
	g, err := build(a, c, src)
	if err != nil {
		return nil, err
	}
	m := &Model{Graph: g, Arch: a.name, Context: g.Context, Format: "gguf"}
	if m.Name, err = gguf.Or(name)(f.Text("general.name")); err != nil {
		return nil, fmt.Errorf("%w: general.name: %w", ErrFormat, err)
	}
	return m, nil
}

// ggufParams reads parameters from GGUF metadata, whose keys start with the architecture's name.
type ggufParams struct {
	f      *gguf.File
	prefix string
	first  error
}

func (p *ggufParams) kind() string { return "gguf" }
func (p *ggufParams) err() error   { return p.first }

func (p *ggufParams) has(f field) bool { return f.gguf != "" && p.f.Has(p.prefix+f.gguf) }

func (p *ggufParams) fail(f field, format string, args ...any) {
	if p.first == nil {
		p.first = fmt.Errorf("%w: %s%s: %w", ErrFormat, p.prefix, f.gguf, fmt.Errorf(format, args...))
	}
}

// ggufGet reads a key with an accessor of gguf.Value; def stands for a missing one.
func ggufGet[T any](p *ggufParams, f field, get func(gguf.Value) (T, error), def []T) T {
	var zero T
	if f.gguf == "" || len(def) > 0 && !p.has(f) {
		if len(def) > 0 {
			return def[0]
		}
		return zero
	}
	v, err := get(p.f.Value(p.prefix + f.gguf))
	if err != nil {
		p.fail(f, "%w", err)
		return zero
	}
	return v
}

func (p *ggufParams) integer(f field, def ...int) int {
	return ggufGet(p, f, func(v gguf.Value) (int, error) {
		if v.Kind() == gguf.Array { // one per layer; only equal ones are understood
			all, err := v.Int32s()
			if err != nil {
				return 0, err
			}
			for _, e := range all {
				if e != all[0] {
					return 0, fmt.Errorf("%w: layers differ: %d and %d", ErrUnsupported, all[0], e)
				}
			}
			if len(all) > 0 {
				return int(all[0]), nil
			}
			return 0, errors.New("empty array")
		}
		n, err := v.Int()
		if err == nil && (n > math.MaxInt32 || n < math.MinInt32) {
			err = fmt.Errorf("%d is out of range", n)
		}
		return int(n), err
	}, def)
}

func (p *ggufParams) number(f field, def ...float64) float64 {
	v := ggufGet(p, f, gguf.Value.Float, def)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		p.fail(f, "%v", v)
	}
	return v
}

func (p *ggufParams) text(f field, def ...string) string { return ggufGet(p, f, gguf.Value.Text, def) }
func (p *ggufParams) flag(f field, def ...bool) bool     { return ggufGet(p, f, gguf.Value.Bool, def) }

func (p *ggufParams) windowed(layers, def int) []bool {
	f := field{gguf: "attention.sliding_window_pattern"}
	out := make([]bool, layers)
	if n := p.integer(fWindow, 0); n == 0 {
		return out
	}
	if v := p.f.Value(p.prefix + f.gguf); v.Kind() == gguf.Array {
		on, err := v.Bools()
		if err != nil {
			p.fail(f, "%w", err)
		} else if len(on) < layers {
			p.fail(f, "%d entries for %d layers", len(on), layers)
		} else {
			copy(out, on)
		}
		return out
	}
	return everyNth(out, p.integer(f, def))
}

// everyNth marks all layers but the n-th, 2n-th, …; n = 0 marks none, as in llama.cpp.
func everyNth(out []bool, n int) []bool {
	for i := range out {
		out[i] = n > 0 && i%n != n-1
	}
	return out
}

// rope reads rotary parameters with llama.cpp's defaults (llama_model_base::load_hparams).
func (p *ggufParams) rope(dims int, _ ...float64) ropeConfig {
	c := ropeConfig{Dims: p.integer(field{gguf: "rope.dimension_count"}, dims), Base: p.number(field{gguf: "rope.freq_base"}, 10000)}
	if c.Dims <= 0 || c.Dims > dims || c.Dims%2 != 0 {
		p.fail(field{gguf: "rope.dimension_count"}, "%d, heads have %d", c.Dims, dims)
	}
	kind := field{gguf: "rope.scaling.type"}
	c.Scaling = p.text(kind, "linear")
	c.Factor = p.number(field{gguf: "rope.scaling.factor"}, p.number(field{gguf: "rope.scale_linear"}, 0))
	if c.Factor == 0 {
		c.Factor = 1
	}
	switch c.Scaling {
	case "none":
		c.Scaling, c.Factor = "", 1
	case "linear":
		if c.Factor == 1 {
			c.Scaling = ""
		}
	case "yarn":
		c.Original = p.numeric(field{gguf: "rope.scaling.original_context_length"}, float64(p.integer(fContext, 0)))
		c.BetaFast = p.number(field{gguf: "rope.scaling.yarn_beta_fast"}, 32)
		c.BetaSlow = p.number(field{gguf: "rope.scaling.yarn_beta_slow"}, 1)
		c.Mscale = yarnMscale(c.Factor, 1)
		if all := p.number(field{gguf: "rope.scaling.yarn_log_multiplier"}, 0); all != 0 {
			c.Mscale /= yarnMscale(c.Factor, all)
		}
		c.Mscale *= p.number(field{gguf: "rope.scaling.attn_factor"}, 1)
	default:
		p.fail(kind, "%w: %q", ErrUnsupported, c.Scaling)
	}
	return c
}

// numeric reads a number that may be stored as an integer.
func (p *ggufParams) numeric(f field, def float64) float64 {
	if k := p.f.Value(p.prefix + f.gguf).Kind(); k == gguf.Float32 || k == gguf.Float64 {
		return p.number(f, def)
	}
	return float64(p.integer(f, int(def)))
}

// ggufSource finds tensors in a GGUF file.
type ggufSource struct {
	f    *gguf.File
	used map[string]bool
}

// fileName turns "layers.3.attn.q" into "blk.3.attn_q".
func (s *ggufSource) fileName(name string) string {
	if rest, ok := strings.CutPrefix(name, "layers."); ok {
		l, n, _ := strings.Cut(rest, ".")
		return "blk." + l + "." + ggufNames[n]
	}
	return ggufNames[name]
}

func (s *ggufSource) missing(name string) error {
	return fmt.Errorf("%w: no tensor %q", ErrFormat, s.fileName(name)+".weight")
}

func (s *ggufSource) interleaved(a *arch) bool { return a == &llama }

func (s *ggufSource) matrix(name string, rows, cols int) (graph.Weight, bool, error) {
	file := s.fileName(name) + ".weight"
	t := s.f.Tensor(file)
	if t == nil {
		return graph.Weight{}, false, nil
	}
	s.used[file] = true
	data, err := s.data(t)
	if err != nil {
		return graph.Weight{}, false, err
	}
	if rows == 0 && len(t.Shape) == 2 {
		rows = t.Rows()
	}
	if len(t.Shape) != 2 || t.Cols() != cols || t.Rows() != rows || rows > maxVocab {
		return graph.Weight{}, false, fmt.Errorf("%w: tensor %q has shape %v, want [%d %d]", ErrFormat, file, t.Shape, cols, rows)
	}
	return graph.Weight{Name: name, Type: t.Type, Rows: rows, Cols: cols, Data: data}, true, nil
}

func (s *ggufSource) vector(name, part string, n int) ([]byte, bool, error) {
	file := s.fileName(name) + "." + part
	t := s.f.Tensor(file)
	if t == nil {
		return nil, false, nil
	}
	s.used[file] = true
	v, err := s.floats(t, n)
	return v, err == nil, err
}

func (s *ggufSource) data(t *gguf.Tensor) ([]byte, error) {
	data, err := t.Data()
	if errors.Is(err, gguf.ErrType) {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return data, err
}

// floats copies a vector as little-endian float32.
func (s *ggufSource) floats(t *gguf.Tensor, n int) ([]byte, error) {
	data, err := s.data(t)
	if err != nil {
		return nil, err
	}
	if t.Elems() != n || t.Cols() != n {
		return nil, fmt.Errorf("%w: tensor %q has shape %v, want [%d]", ErrFormat, t.Name, t.Shape, n)
	}
	return toFloat32(t.Name, t.Type, data, n, 0)
}

// toFloat32 converts n stored elements to little-endian float32, plus offset.
func toFloat32(name string, t quant.Type, data []byte, n int, offset float32) ([]byte, error) {
	switch t {
	case quant.F32, quant.F16, quant.BF16:
	default:
		return nil, fmt.Errorf("%w: tensor %q is %v, want a float type", ErrFormat, name, t)
	}
	v := make([]float32, n)
	if err := quant.Dequantize(v, data, t); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	out := make([]byte, 4*n)
	for i, x := range v {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(x+offset))
	}
	return out, nil
}

// ropeDivisors reads rope_freqs.weight, llama3's scaling as a table.
func (s *ggufSource) ropeDivisors(dims int) ([]float32, error) {
	const file = "rope_freqs.weight"
	t := s.f.Tensor(file)
	if t == nil {
		return nil, nil
	}
	s.used[file] = true
	data, err := s.floats(t, dims/2)
	if err != nil {
		return nil, err
	}
	out := make([]float32, dims/2)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		if !(out[i] > 0) || math.IsInf(float64(out[i]), 0) {
			return nil, fmt.Errorf("%w: tensor %q: element %d is %v", ErrFormat, file, i, out[i])
		}
	}
	return out, nil
}

func (s *ggufSource) unused(*arch) string {
	for i := range s.f.Tensors() {
		if t := &s.f.Tensors()[i]; !s.used[t.Name] {
			return t.Name
		}
	}
	return ""
}

package model

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
	"github.com/krserve/krserve/internal/safetensors"
)

// hfNames are Hugging Face's names of the graph's weights; layers have the prefix "layers.N.".
var hfNames = map[string]string{
	"embed": "embed_tokens", "norm": "norm",
	"attn.norm": "input_layernorm", "attn.q": "self_attn.q_proj", "attn.k": "self_attn.k_proj", "attn.v": "self_attn.v_proj",
	"attn.o": "self_attn.o_proj", "attn.q_norm": "self_attn.q_norm", "attn.k_norm": "self_attn.k_norm",
	"ffn.norm": "post_attention_layernorm", "ffn.gate": "mlp.gate_proj", "ffn.up": "mlp.up_proj", "ffn.down": "mlp.down_proj",
}

// hfRoots are where the decoder and its head live: alone, in MLX's and in transformers' multimodal models.
var hfRoots = []struct{ decoder, head string }{
	{"model.", "lm_head"}, {"language_model.model.", "language_model.lm_head"}, {"model.language_model.", "lm_head"},
}

func openDir(path string) (*Model, error) {
	m, err := fromDir(path)
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", path, err)
	}
	return m, nil
}

func fromDir(path string) (*Model, error) {
	top, err := readObject(filepath.Join(path, "config.json"))
	if err != nil {
		return nil, err
	}
	p, err := newHFParams(top)
	if err != nil {
		return nil, err
	}
	outer := &hfParams{top: top, inner: top}
	name := outer.text(field{hf: "model_type"})
	if outer.first != nil {
		return nil, outer.first
	}
	a, err := archOf(name)
	if err != nil {
		return nil, err
	}
	c, err := readConfig(p, a)
	if err != nil {
		return nil, err
	}
	q, err := readQuantization(top)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Open(path)
	if err != nil {
		if errors.Is(err, safetensors.ErrFormat) {
			err = fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return nil, err
	}
	m, err := fromTensors(f, a, c, q)
	if err == nil {
		m.EndIDs, err = endIDs(path, p)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	m.Path, m.Tokenizer, m.Source = path, path, f.Stamp()
	m.close, m.forget = f.Close, f.Forget
	if m.Name = filepath.Base(filepath.Clean(path)); m.Name == "." {
		m.Name = a.name
	}
	return m, nil
}

func fromTensors(f *safetensors.File, a *arch, c *config, q *quantization) (*Model, error) {
	src := &hfSource{f: f, arch: a, quant: q, used: map[string]bool{}, root: hfRoots[0], tied: c.Head == headTied}
	for _, r := range hfRoots {
		if f.Tensor(r.decoder+"embed_tokens.weight") != nil {
			src.root = r
			break
		}
	}
	g, err := build(a, c, src)
	if err != nil {
		return nil, err
	}
	return &Model{Graph: g, Arch: a.name, Context: g.Context, Format: "safetensors"}, nil
}

// endIDs reads eos_token_id of generation_config.json, else of config.json.
func endIDs(path string, p *hfParams) ([]uint32, error) {
	f := field{hf: "eos_token_id"}
	o, err := readObject(filepath.Join(path, "generation_config.json"))
	if err == nil {
		gen := &hfParams{top: o, inner: o}
		if ids := gen.ids(f); ids != nil || gen.first != nil {
			return ids, gen.first
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return p.ids(f), p.first
}

// quantization is the "quantization" object of an MLX config.
type quantization struct {
	group, bits int
	modules     map[string]object // settings of single modules
	off         map[string]bool   // modules that are not quantised
}

// readQuantization returns nil for a model that is not quantised.
func readQuantization(top object) (*quantization, error) {
	key := "quantization"
	if null(top[key]) {
		if key = "quantization_config"; null(top[key]) {
			return nil, nil
		}
	}
	o, err := parseObject(top[key])
	if err != nil {
		return nil, fmt.Errorf("%w: config.json: %s: %w", ErrFormat, key, err)
	}
	p := &hfParams{top: o, inner: o}
	if method := p.text(field{hf: "quant_method"}, ""); method != "" && key == "quantization_config" {
		return nil, fmt.Errorf("%w: config.json: %s: quant_method %q", ErrUnsupported, key, method)
	}
	q := &quantization{modules: map[string]object{}, off: map[string]bool{}}
	q.group, q.bits, err = affineSettings(p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	for name, v := range o {
		if on, err := parseJSON[bool](v); err == nil && !null(v) {
			q.off[name] = !on
		} else if sub, err := parseObject(v); err == nil {
			q.modules[name] = sub
		}
	}
	return q, nil
}

// affineSettings reads group_size, bits and mode.
func affineSettings(p *hfParams) (group, bits int, err error) {
	group, bits = p.integer(field{hf: "group_size"}), p.integer(field{hf: "bits"})
	mode := p.text(field{hf: "mode"}, "affine")
	switch {
	case p.first != nil:
		return 0, 0, p.first
	case mode != "affine":
		return 0, 0, fmt.Errorf("%w: config.json: mode %q", ErrUnsupported, mode)
	case group != 32 && group != 64 && group != 128:
		return 0, 0, fmt.Errorf("%w: config.json: group_size %d", ErrUnsupported, group)
	case !quant.AffineOf(bits).Valid():
		return 0, 0, fmt.Errorf("%w: config.json: bits %d", ErrUnsupported, bits)
	}
	return group, bits, nil
}

// hfSource finds tensors in safetensors files.
type hfSource struct {
	f     *safetensors.File
	arch  *arch
	quant *quantization
	used  map[string]bool
	root  struct{ decoder, head string }
	tied  bool
}

// fileName turns "layers.3.attn.q" into "model.layers.3.self_attn.q_proj".
func (s *hfSource) fileName(name string) string {
	if name == "head" {
		return s.root.head
	}
	prefix := s.root.decoder
	if rest, ok := strings.CutPrefix(name, "layers."); ok {
		l, n, _ := strings.Cut(rest, ".")
		prefix, name = prefix+"layers."+l+".", n
	}
	if n, ok := s.arch.hfNames[name]; ok {
		return prefix + n
	}
	return prefix + hfNames[name]
}

func (s *hfSource) missing(name string) error {
	return fmt.Errorf("%w: no tensor %q", ErrFormat, s.fileName(name)+".weight")
}

func (s *hfSource) interleaved(*arch) bool { return false }

// tensor returns a tensor and its data, nil when it is absent.
func (s *hfSource) tensor(name string) (*safetensors.Tensor, []byte, error) {
	t := s.f.Tensor(name)
	if t == nil {
		return nil, nil, nil
	}
	s.used[name] = true
	data, err := t.Data()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return t, data, nil
}

func (s *hfSource) matrix(name string, rows, cols int) (graph.Weight, bool, error) {
	module := s.fileName(name)
	t, data, err := s.tensor(module + ".weight")
	if t == nil || err != nil {
		return graph.Weight{}, false, err
	}
	if len(t.Shape) != 2 || rows > 0 && t.Rows() != rows {
		return graph.Weight{}, false, fmt.Errorf("%w: tensor %q has shape %v, want %d rows", ErrFormat, t.Name, t.Shape, rows)
	}
	w := graph.Weight{Name: name, Type: t.Type(), Rows: t.Rows(), Cols: cols, Data: data}
	if s.f.Tensor(module+".scales") != nil {
		err = s.affine(&w, module, t)
		return w, err == nil, err
	}
	if t.Cols() != cols {
		return w, false, fmt.Errorf("%w: tensor %q has shape %v, want [%d %d]", ErrFormat, t.Name, t.Shape, w.Rows, cols)
	}
	if !w.Type.Valid() {
		return w, false, fmt.Errorf("%w: tensor %q is %s and has no scales", ErrUnsupported, t.Name, t.DType)
	}
	return w, true, nil
}

// affine completes a weight of MLX's affine quantisation. The shapes say how it was packed, as mlx-lm takes it too;
// settings for this very module must agree with them.
func (s *hfSource) affine(w *graph.Weight, module string, t *safetensors.Tensor) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: tensor %q: %w", ErrFormat, t.Name, fmt.Errorf(format, args...))
	}
	if t.DType != safetensors.U32 {
		return wrong("is %s, packed codes are U32", t.DType)
	}
	scales, sd, err := s.tensor(module + ".scales")
	if err != nil {
		return err
	}
	biases, bd, err := s.tensor(module + ".biases")
	if err != nil {
		return err
	}
	if biases == nil {
		return fmt.Errorf("%w: tensor %q has scales of %s but no biases: not affine quantisation", ErrUnsupported, t.Name, scales.DType)
	}
	for _, x := range []*safetensors.Tensor{scales, biases} {
		if len(x.Shape) != 2 || x.Rows() != w.Rows || x.Cols() != scales.Cols() || x.DType != scales.DType || x.Cols() == 0 {
			return wrong("%q is %s of shape %v, %q %s of %v", x.Name, x.DType, x.Shape, scales.Name, scales.DType, scales.Shape)
		}
	}
	if w.AuxType = scales.Type(); !w.AuxType.Valid() {
		return fmt.Errorf("%w: tensor %q is %s", ErrUnsupported, scales.Name, scales.DType)
	}
	w.Group = w.Cols / scales.Cols()
	bits := t.Cols() * 32 / w.Cols
	w.Type = quant.AffineOf(bits)
	switch {
	case !w.Type.Valid() || t.Cols()*32 != bits*w.Cols:
		return wrong("%d words for rows of %d weights: no width of affine quantisation", t.Cols(), w.Cols)
	case w.Group*scales.Cols() != w.Cols || w.Group != 32 && w.Group != 64 && w.Group != 128:
		return wrong("%d scales for rows of %d weights: groups are of 32, 64 or 128", scales.Cols(), w.Cols)
	case s.quant == nil:
		return wrong("is quantised, but config.json has no quantization")
	case s.quant.off[module]:
		return wrong("is quantised, but config.json says it is not")
	}
	if o, ok := s.quant.modules[module]; ok {
		group, width, err := affineSettings(&hfParams{top: o, inner: o})
		if err != nil {
			return fmt.Errorf("quantization: %s: %w", module, err)
		}
		if group != w.Group || width != bits {
			return wrong("holds %d bits in groups of %d, config.json says %d and %d", bits, w.Group, width, group)
		}
	}
	w.Scales, w.Biases = sd, bd
	return nil
}

func (s *hfSource) vector(name, part string, n int) ([]byte, bool, error) {
	t, data, err := s.tensor(s.fileName(name) + "." + part)
	if t == nil || err != nil {
		return nil, false, err
	}
	if len(t.Shape) != 1 || t.Elems() != n {
		return nil, false, fmt.Errorf("%w: tensor %q has shape %v, want [%d]", ErrFormat, t.Name, t.Shape, n)
	}
	offset := float32(0)
	if part == "weight" && s.arch.normBias1 { // of the vectors only norms have a weight
		offset = 1
	}
	v, err := toFloat32(t.Name, t.Type(), data, n, offset)
	return v, err == nil, err
}

func (s *hfSource) unused(a *arch) string {
	for i := range s.f.Tensors() {
		name := s.f.Tensors()[i].Name
		if s.used[name] || strings.HasSuffix(name, ".rotary_emb.inv_freq") || s.tied && strings.HasPrefix(name, s.root.head+".") {
			continue
		}
		other := false
		for _, prefix := range a.ignore {
			other = other || strings.HasPrefix(name, prefix)
		}
		if !other {
			return name
		}
	}
	return ""
}

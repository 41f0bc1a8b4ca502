package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
)

// maxConfig bounds config.json; the largest published ones are some tens of kilobytes.
const maxConfig = 16 << 20

// object is a JSON object whose values are still text.
type object map[string]json.RawMessage

// hfParams reads parameters from a Hugging Face config.json. Multimodal models keep the text model's in text_config.
type hfParams struct {
	top   object
	inner object // text_config, or top
	first error
}

// readObject reads a file that holds one JSON object.
func readObject(path string) (object, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfig {
		return nil, fmt.Errorf("%w: %s: over %d bytes", ErrFormat, filepath.Base(path), maxConfig)
	}
	o, err := parseObject(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, filepath.Base(path), err)
	}
	return o, nil
}

func parseObject(data []byte) (object, error) {
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("not an object")
	}
	return o, nil
}

// newHFParams lays out a config: text_config first, and rope_parameters (transformers 5) as the older keys.
func newHFParams(top object) (*hfParams, error) {
	p := &hfParams{top: top, inner: top}
	if v, ok := top["text_config"]; ok && !null(v) {
		o, err := parseObject(v)
		if err != nil {
			return nil, fmt.Errorf("%w: config.json: text_config: %w", ErrFormat, err)
		}
		p.inner = o
	}
	v, ok := p.get("rope_parameters")
	if !ok {
		return p, nil
	}
	rope, err := parseObject(v)
	if err != nil {
		return nil, fmt.Errorf("%w: config.json: rope_parameters: %w", ErrFormat, err)
	}
	set := func(key string, v json.RawMessage) {
		if _, ok := p.get(key); !ok && !null(v) {
			p.inner[key] = v
		}
	}
	if full, ok := rope["full_attention"]; ok { // one set per kind of layer
		local, err := parseObject(rope["sliding_attention"])
		if err != nil {
			return nil, fmt.Errorf("%w: config.json: rope_parameters.sliding_attention: %w", ErrFormat, err)
		}
		set("rope_local_base_freq", local["rope_theta"])
		if rope, err = parseObject(full); err != nil {
			return nil, fmt.Errorf("%w: config.json: rope_parameters.full_attention: %w", ErrFormat, err)
		}
		v = full
	}
	set("rope_theta", rope["rope_theta"])
	set("rope_scaling", v)
	return p, nil
}

func null(v json.RawMessage) bool {
	return len(v) == 0 || bytes.Equal(bytes.TrimSpace(v), []byte("null"))
}

func (p *hfParams) get(key string) (json.RawMessage, bool) {
	for _, o := range []object{p.inner, p.top} {
		if v, ok := o[key]; ok && !null(v) {
			return v, true
		}
	}
	return nil, false
}

func (p *hfParams) kind() string     { return "hf" }
func (p *hfParams) err() error       { return p.first }
func (p *hfParams) has(f field) bool { _, ok := p.get(f.hf); return ok && f.hf != "" }

func (p *hfParams) fail(f field, format string, args ...any) {
	if p.first == nil {
		p.first = fmt.Errorf("%w: config.json: %s: %w", ErrFormat, f.hf, fmt.Errorf(format, args...))
	}
}

// hfGet reads a value; def stands for a missing one or null.
func hfGet[T any](p *hfParams, f field, parse func(json.RawMessage) (T, error), def []T) T {
	var zero T
	v, ok := p.get(f.hf)
	if f.hf == "" || !ok {
		if len(def) > 0 {
			return def[0]
		}
		if f.hf != "" {
			p.fail(f, "missing")
		}
		return zero
	}
	x, err := parse(v)
	if err != nil {
		p.fail(f, "%w", err)
		return zero
	}
	return x
}

// clip shortens a value for an error's text.
func clip(v json.RawMessage) string {
	if len(v) > 40 {
		return string(v[:40]) + "…"
	}
	return string(v)
}

func parseNumber(v json.RawMessage) (float64, error) {
	x, err := strconv.ParseFloat(string(bytes.TrimSpace(v)), 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("%s is no finite number", clip(v))
	}
	return x, nil
}

func parseInt(v json.RawMessage) (int, error) {
	x, err := parseNumber(v)
	if err != nil || x != math.Trunc(x) || math.Abs(x) > math.MaxInt32 {
		return 0, fmt.Errorf("%s is no integer in range", clip(v))
	}
	return int(x), nil
}

func parseJSON[T any](v json.RawMessage) (T, error) {
	var x T
	err := json.Unmarshal(v, &x)
	return x, err
}

func (p *hfParams) integer(f field, def ...int) int        { return hfGet(p, f, parseInt, def) }
func (p *hfParams) number(f field, def ...float64) float64 { return hfGet(p, f, parseNumber, def) }
func (p *hfParams) text(f field, def ...string) string {
	return hfGet(p, f, parseJSON[string], def)
}
func (p *hfParams) flag(f field, def ...bool) bool { return hfGet(p, f, parseJSON[bool], def) }

func (p *hfParams) windowed(layers, def int) []bool {
	out := make([]bool, layers)
	if f := (field{hf: "layer_types"}); p.has(f) {
		kinds := hfGet(p, f, parseJSON[[]string], nil)
		if len(kinds) != layers {
			p.fail(f, "%d entries for %d layers", len(kinds), layers)
			return out
		}
		for i, k := range kinds {
			switch k {
			case "sliding_attention":
				out[i] = true
			case "full_attention":
			default:
				p.fail(f, "%w: entry %d is %q", ErrUnsupported, i, k)
			}
		}
		return out
	}
	f := field{hf: "sliding_window_pattern"}
	if alt := (field{hf: "_sliding_window_pattern"}); !p.has(f) && p.has(alt) {
		f = alt
	}
	n := p.integer(f, def)
	if n < 0 {
		p.fail(f, "%d", n)
	}
	return everyNth(out, n)
}

// rope reads rope_theta, rope_scaling and partial_rotary_factor.
func (p *hfParams) rope(dims int, base ...float64) ropeConfig {
	c := ropeConfig{Dims: dims, Base: p.number(field{hf: "rope_theta"}, base...), Factor: 1}
	if f := (field{hf: "partial_rotary_factor"}); p.has(f) {
		part := p.number(f)
		if c.Dims = int(float64(dims) * part); !(part > 0) || part > 1 || c.Dims%2 != 0 || c.Dims == 0 {
			p.fail(f, "%v of %d", part, dims)
		}
	}
	f := field{hf: "rope_scaling"}
	if !p.has(f) {
		return c
	}
	o := hfGet(p, f, func(v json.RawMessage) (object, error) { return parseObject(v) }, nil)
	s := &hfParams{top: o, inner: o}
	kind := field{hf: "rope_type"}
	if !s.has(kind) {
		kind.hf = "type"
	}
	num := func(key string, def ...float64) float64 { return s.number(field{hf: key}, def...) }
	c.Scaling = s.text(kind, "default")
	switch c.Scaling {
	case "default":
		c.Scaling = ""
	case "linear":
		c.Factor = num("factor")
	case "llama3":
		c.Factor, c.Low, c.High = num("factor"), num("low_freq_factor", 1), num("high_freq_factor", 4)
		c.Original = num("original_max_position_embeddings", 8192)
		if !(c.Original > 0) || !(c.Low > 0) || !(c.High > c.Low) {
			s.fail(kind, "llama3 with low_freq_factor %v, high_freq_factor %v, original_max_position_embeddings %v", c.Low, c.High, c.Original)
		}
	case "yarn":
		c.Factor = num("factor")
		c.Original = num("original_max_position_embeddings", float64(p.integer(fContext, 1)))
		c.BetaFast, c.BetaSlow = num("beta_fast", 32), num("beta_slow", 1)
		if !(c.Original > 0) || !(c.BetaFast > 0) || !(c.BetaSlow > 0) {
			s.fail(kind, "yarn with beta_fast %v, beta_slow %v, original_max_position_embeddings %v", c.BetaFast, c.BetaSlow, c.Original)
		}
		// transformers: attention_factor, else the quotient of both mscales, else the paper's value.
		c.Mscale = yarnMscale(c.Factor, 1)
		if m, all := num("mscale", 0), num("mscale_all_dim", 0); m != 0 && all != 0 {
			c.Mscale = yarnMscale(c.Factor, m) / yarnMscale(c.Factor, all)
		}
		c.Mscale = num("attention_factor", c.Mscale)
		if !(c.Mscale > 0) {
			s.fail(kind, "yarn with attention factor %v", c.Mscale)
		}
		if t := (field{hf: "truncate"}); !s.flag(t, true) {
			s.fail(t, "%w: yarn without truncation", ErrUnsupported)
		}
	default:
		s.fail(kind, "%w: %q", ErrUnsupported, c.Scaling)
	}
	if s.first != nil && p.first == nil {
		p.first = fmt.Errorf("rope_scaling: %w", s.first)
	}
	if c.Scaling != "" && (!(c.Factor >= 1) || c.Factor > 1e6) {
		p.fail(f, "factor %v", c.Factor)
	}
	return c
}

// ids reads a token id or a list of them.
func (p *hfParams) ids(f field) []uint32 {
	v, ok := p.get(f.hf)
	if !ok {
		return nil
	}
	if id, err := parseJSON[uint32](v); err == nil {
		return []uint32{id}
	}
	list, err := parseJSON[[]uint32](v)
	if err != nil {
		p.fail(f, "%s is neither a token id nor a list of them", clip(v))
	}
	return list
}

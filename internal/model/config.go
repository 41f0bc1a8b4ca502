package model

import (
	"fmt"
	"math"
)

// Bounds on what a config may claim, so that damage is told apart from a big model before anything is allocated.
const (
	maxLayers = 1024
	maxWidth  = 1 << 20
	maxVocab  = 1 << 24
	maxHeads  = 4096
)

// config is what a model file says about a decoder-only transformer, in one form for every kind of file.
type config struct {
	Vocab   int
	Context int
	Width   int
	Layers  int
	FFN     int
	Heads   int
	KVHeads int
	HeadDim int
	Eps     float64

	Rope       ropeConfig // of layers without a window, and of all layers when there is one kind
	LocalRope  ropeConfig // of layers with a window, when the architecture has two kinds
	Windows    []int      // per layer; 0 sees everything
	EmbedScale float32    // 1 is none
	AttnScale  float64    // on the scores
	LogitCap   float64    // 0 is none
	Head       head
}

// head says where the output matrix is.
type head uint8

const (
	headAuto head = iota // a tensor of its own when there is one, else the embedding
	headTied             // the embedding
	headOwn              // a tensor of its own
)

// field is one parameter by the key of each kind of file; "" where that kind has none.
type field struct{ gguf, hf string }

// params reads parameters. The first failure is kept; later reads return zeros.
type params interface {
	// kind is "gguf" or "hf".
	kind() string
	// integer, number, text and flag read a required parameter, or return def when it is absent and has one.
	integer(f field, def ...int) int
	number(f field, def ...float64) float64
	text(f field, def ...string) string
	flag(f field, def ...bool) bool
	has(f field) bool
	// windowed reads which layers have a sliding window: a list per layer, or all but each n-th; def 0 is none.
	windowed(layers, def int) []bool
	// rope reads a rotary embedding with its scaling.
	rope(dims int, base ...float64) ropeConfig
	// fail keeps an error about a parameter.
	fail(f field, format string, args ...any)
	err() error
}

var (
	fContext  = field{"context_length", "max_position_embeddings"}
	fWidth    = field{"embedding_length", "hidden_size"}
	fLayers   = field{"block_count", "num_hidden_layers"}
	fFFN      = field{"feed_forward_length", "intermediate_size"}
	fHeads    = field{"attention.head_count", "num_attention_heads"}
	fKVHeads  = field{"attention.head_count_kv", "num_key_value_heads"}
	fKeyLen   = field{"attention.key_length", "head_dim"}
	fValueLen = field{"attention.value_length", ""}
	fEps      = field{"attention.layer_norm_rms_epsilon", "rms_norm_eps"}
	fVocab    = field{"vocab_size", "vocab_size"}
	fWindow   = field{"attention.sliding_window", "sliding_window"}
	fTied     = field{"", "tie_word_embeddings"}
)

// readConfig reads what every architecture shares.
func readConfig(p params, a *arch) (*config, error) {
	c := &config{EmbedScale: 1}
	c.Width = p.integer(fWidth)
	c.Layers = p.integer(fLayers)
	c.FFN = p.integer(fFFN)
	c.Heads = p.integer(fHeads, a.heads...)
	c.KVHeads = p.integer(fKVHeads, max(c.Heads, 1))
	c.Context = p.integer(fContext, a.context...)
	c.Eps = p.number(fEps, a.eps...)
	for _, b := range []struct {
		f      field
		v, max int
	}{
		{fWidth, c.Width, maxWidth}, {fLayers, c.Layers, maxLayers}, {fFFN, c.FFN, maxWidth}, {fHeads, c.Heads, maxHeads},
		{fKVHeads, c.KVHeads, maxHeads}, {fContext, c.Context, math.MaxInt32},
	} {
		if b.v <= 0 || b.v > b.max {
			p.fail(b.f, "%d, want 1 to %d", b.v, b.max)
		}
	}
	if p.err() != nil {
		return nil, p.err()
	}
	if c.Heads%c.KVHeads != 0 {
		p.fail(fKVHeads, "%d does not divide %d heads", c.KVHeads, c.Heads)
	}
	headDim := c.Width / c.Heads
	if a.headDim > 0 && p.kind() == "hf" {
		headDim = a.headDim
	}
	c.HeadDim = p.integer(fKeyLen, headDim)
	if c.HeadDim <= 0 || c.HeadDim > maxWidth || c.HeadDim%2 != 0 {
		p.fail(fKeyLen, "%d", c.HeadDim)
	}
	if v := p.integer(fValueLen, c.HeadDim); v != c.HeadDim {
		p.fail(fValueLen, "%d, want the length of keys, %d", v, c.HeadDim)
	}
	if c.Heads*c.HeadDim > maxWidth {
		p.fail(fHeads, "%d of length %d", c.Heads, c.HeadDim)
	}
	if !(c.Eps > 0) || c.Eps > 1 {
		p.fail(fEps, "%v", c.Eps)
	}
	if p.has(fVocab) {
		if c.Vocab = p.integer(fVocab); c.Vocab <= 0 || c.Vocab > maxVocab {
			p.fail(fVocab, "%d, want 1 to %d", c.Vocab, maxVocab)
		}
	} else if p.kind() == "hf" {
		p.integer(fVocab)
	}
	if p.has(fTied) {
		if c.Head = headOwn; p.flag(fTied) {
			c.Head = headTied
		}
	}
	if p.err() != nil {
		return nil, p.err()
	}
	c.AttnScale = 1 / math.Sqrt(float64(c.HeadDim))
	c.Windows = make([]int, c.Layers)
	if err := a.config(c, p); err != nil {
		return nil, err
	}
	return c, p.err()
}

// setWindows gives layers their windows and checks them.
func (c *config) setWindows(p params, windowed []bool) {
	window := 0
	for i, on := range windowed {
		if !on || i >= c.Layers {
			continue
		}
		if window == 0 {
			if window = p.integer(fWindow); window <= 0 {
				p.fail(fWindow, "%d", window)
				return
			}
		}
		c.Windows[i] = window
	}
}

// arch is one architecture: how its config is read and how a layer is put together.
type arch struct {
	name      string   // as in Graph.Arch
	aliases   []string // other values of general.architecture or model_type
	heads     []int    // defaults, for files that leave them out
	context   []int
	eps       []float64
	headDim   int               // default when it is not Width/Heads
	qkvBias   bool              // q, k and v have biases
	ignore    []string          // prefixes of tensors that belong to other parts of the model
	hfNames   map[string]string // tensor names that differ from the common ones
	normBias1 bool              // Hugging Face files store norm weights minus one
	config    func(c *config, p params) error
	layer     func(b *builder, l int)
}

var archs = []*arch{&llama, &qwen2, &qwen3, &gemma3}

func archOf(name string) (*arch, error) {
	for _, a := range archs {
		if a.name == name {
			return a, nil
		}
		for _, n := range a.aliases {
			if n == name {
				return a, nil
			}
		}
	}
	names := ""
	for _, a := range archs {
		names += " " + a.name
	}
	return nil, fmt.Errorf("%w: architecture %q (known:%s)", ErrUnsupported, name, names)
}

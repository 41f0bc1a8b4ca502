package model

import (
	"math"

	"github.com/krserve/krserve/internal/graph"
)

// gemma3 covers the text part of Gemma 3: five layers with a sliding window to each full one, a rotary base for either
// kind, norms over each head of q and k and after each sub-layer, and a scaled embedding.
var gemma3 = arch{
	name:    "gemma3",
	aliases: []string{"gemma3_text"},
	context: []int{131072},
	eps:     []float64{1e-6},
	headDim: 256,
	ignore:  []string{"vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."},
	hfNames: map[string]string{
		"attn.post_norm": "post_attention_layernorm",
		"ffn.norm":       "pre_feedforward_layernorm",
		"ffn.post_norm":  "post_feedforward_layernorm",
	},
	normBias1: true,
	config: func(c *config, p params) error {
		c.Rope = p.rope(c.HeadDim, 1000000)
		c.LocalRope = ropeConfig{Dims: c.HeadDim, Base: p.number(field{"rope.freq_base_swa", "rope_local_base_freq"}, 10000)}
		c.setWindows(p, p.windowed(c.Layers, 6))
		c.LogitCap = p.number(field{"final_logit_softcapping", "final_logit_softcapping"}, 0)
		scale := math.Sqrt(float64(c.Width))
		if p.kind() == "gguf" {
			// Gemma 3 27B alone divides by Width/Heads; GGUF has no key for it.
			if c.Layers == 62 {
				c.AttnScale = 1 / math.Sqrt(float64(c.Width/c.Heads))
			}
			c.EmbedScale = float32(scale)
			return nil
		}
		f := field{"", "query_pre_attn_scalar"}
		s := p.number(f, 256)
		if !(s > 0) {
			p.fail(f, "%v", s)
		}
		c.AttnScale = 1 / math.Sqrt(s)
		// The published weights are bfloat16, and so is the factor they were trained with.
		c.EmbedScale = bfloat16(scale)
		return nil
	},
	layer: func(b *builder, l int) {
		rope := b.Rope
		if b.Windows[l] > 0 {
			rope = b.LocalRope
		}
		b.qkv(l)
		b.qkNorm(l)
		b.attend(l, rope)
		b.norm(l, "attn.post_norm", b.h, b.h)
		b.residual(l)
		b.mlp(l, graph.GELU)
		b.norm(l, "ffn.post_norm", b.h, b.h)
		b.residual(l)
	},
}

// bfloat16 rounds to the nearest bfloat16, ties to even.
func bfloat16(x float64) float32 {
	b := math.Float32bits(float32(x))
	return math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
}

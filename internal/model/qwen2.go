package model

import "github.com/krserve/krserve/internal/graph"

// qwen2 covers Qwen2 and Qwen2.5: llama with biases on q, k and v.
var qwen2 = arch{
	name:    "qwen2",
	context: []int{32768},
	qkvBias: true,
	config: func(c *config, p params) error {
		c.Rope = p.rope(c.HeadDim)
		noSliding(p)
		return nil
	},
	layer: func(b *builder, l int) {
		b.qkv(l)
		b.attend(l, b.Rope)
		b.residual(l)
		b.mlp(l, graph.SiLU)
		b.residual(l)
	},
}

// noSliding refuses Qwen configs whose later layers slide: no released model does, and none checks the result.
func noSliding(p params) {
	if f := (field{"", "use_sliding_window"}); p.flag(f, false) {
		p.fail(f, "sliding windows are not supported here")
	}
}

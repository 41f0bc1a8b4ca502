package model

import "github.com/krserve/krserve/internal/graph"

// qwen3 covers the dense Qwen3 models: norms over each head of q and k instead of biases.
var qwen3 = arch{
	name: "qwen3",
	config: func(c *config, p params) error {
		c.Rope = p.rope(c.HeadDim)
		noSliding(p)
		return nil
	},
	layer: func(b *builder, l int) {
		b.qkv(l)
		b.qkNorm(l)
		b.attend(l, b.Rope)
		b.residual(l)
		b.mlp(l, graph.SiLU)
		b.residual(l)
	},
}

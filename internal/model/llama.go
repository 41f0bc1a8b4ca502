package model

import "github.com/krserve/krserve/internal/graph"

// llama covers Llama 2 and 3, SmolLM2, and Mistral models without a sliding window.
var llama = arch{
	name:    "llama",
	aliases: []string{"mistral"},
	context: []int{2048},
	config: func(c *config, p params) error {
		c.Rope = p.rope(c.HeadDim, 10000)
		if p.kind() == "hf" {
			on := p.windowed(c.Layers, 0)
			if p.text(field{hf: "model_type"}) == "mistral" && !p.has(field{hf: "layer_types"}) && p.has(fWindow) {
				for i := range on { // Mistral 7B v0.1: every layer slides
					on[i] = true
				}
			}
			c.setWindows(p, on)
		}
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

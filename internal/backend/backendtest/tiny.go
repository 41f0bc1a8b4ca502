package backendtest

import (
	"math"
	"math/rand/v2"

	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// Tiny makes a two-layer decoder with random weights that go through the types in turn. Its features (biases, norms
// over heads, norms after sub-layers, windows, rotary kind, gate, caps, tied head) come from r, so that a few seeds
// cover what the architectures use.
func Tiny(r *rand.Rand, types []quant.Type) *graph.Graph {
	const width, ffn, heads, kvHeads, dim, vocab = 256, 512, 4, 2, 64, 300
	g := &graph.Graph{Arch: "tiny", Vocab: vocab, Width: width, Layers: 2, Heads: heads, KVHeads: kvHeads, HeadDim: dim, Context: 4096}
	value := func(name string, w int) int {
		g.Values = append(g.Values, graph.Value{Name: name, Width: w})
		return len(g.Values) - 1
	}
	add := func(w graph.Weight) int {
		g.Weights = append(g.Weights, w)
		return len(g.Weights) - 1
	}
	op := func(o graph.Op) { g.Ops = append(g.Ops, o) }
	next := 0
	matrix := func(name string, rows, cols int, amp float64) int {
		t := types[next%len(types)]
		next++
		return add(RandomWeight(r, name, t, rows, cols, amp, []int{32, 64, 128}[r.IntN(3)], quant.Invalid))
	}
	vector := func(name string, n int, mean, amp float64) int {
		x := normals(r, n, amp)
		for i := range x {
			x[i] += float32(mean)
		}
		return add(Floats(name, 1, n, x))
	}
	flip := func() bool { return r.IntN(2) == 0 }
	biased, headNorms, postNorms, gelu, tied := flip(), flip(), flip(), flip(), flip()
	spec := graph.RopeSpec{Base: 1e4, Dims: dim, Interleaved: flip(), Freqs: make([]float32, dim/2)}
	for i := range spec.Freqs {
		spec.Freqs[i] = float32(math.Pow(1e4, -2*float64(i)/dim))
	}
	g.Ropes = []graph.RopeSpec{spec}

	x, h := value("x", width), value("h", width)
	q, k, v, att := value("q", heads*dim), value("k", kvHeads*dim), value("v", kvHeads*dim), value("att", heads*dim)
	gate, up := value("gate", ffn), value("up", ffn)
	norm := func(l int, in, out, n int) {
		op(graph.Op{Kind: graph.RMSNorm, Layer: l, In: in, Out: out, W: vector("norm", n, 1, 0.1), Dim: n, Eps: 1e-5})
	}
	linear := func(l int, in, out int, bias bool) {
		rows, cols := g.Values[out].Width, g.Values[in].Width
		o := graph.Op{Kind: graph.Linear, Layer: l, In: in, Out: out, W: matrix("w", rows, cols, 1/math.Sqrt(float64(cols))), Bias: graph.None}
		if bias {
			o.Bias = vector("b", rows, 0, 0.3)
		}
		op(o)
	}
	embed := matrix("embed", vocab, width, 1)
	op(graph.Op{Kind: graph.Embed, Layer: graph.None, Out: x, W: embed, Scale: 1})
	for l := range g.Layers {
		norm(l, x, h, width)
		linear(l, h, q, biased)
		linear(l, h, k, biased)
		linear(l, h, v, biased)
		if headNorms {
			norm(l, q, q, dim)
			norm(l, k, k, dim)
		}
		op(graph.Op{Kind: graph.Rope, Layer: l, In: q, Out: q, Dim: dim})
		op(graph.Op{Kind: graph.Rope, Layer: l, In: k, Out: k, Dim: dim})
		op(graph.Op{Kind: graph.KVWrite, Layer: l, In: k, In2: v, Out: graph.None})
		op(graph.Op{Kind: graph.Attention, Layer: l, In: q, Out: att, Scale: 0.125, Window: []int{0, 20}[l%2]})
		linear(l, att, h, false)
		if postNorms {
			norm(l, h, h, width)
		}
		op(graph.Op{Kind: graph.Add, Layer: l, In: x, In2: h, Out: x})
		norm(l, x, h, width)
		linear(l, h, gate, false)
		linear(l, h, up, false)
		act := graph.SiLU
		if gelu {
			act = graph.GELU
		}
		op(graph.Op{Kind: graph.Gate, Layer: l, In: gate, In2: up, Out: gate, Act: act})
		linear(l, gate, h, false)
		op(graph.Op{Kind: graph.Add, Layer: l, In: x, In2: h, Out: x})
	}
	last, hidden, logits := value("last", width), value("hidden", width), value("logits", vocab)
	op(graph.Op{Kind: graph.SelectRows, Layer: graph.None, In: x, Out: last})
	norm(graph.None, last, hidden, width)
	head := embed
	if !tied {
		head = matrix("head", vocab, width, 1/math.Sqrt(float64(width)))
	}
	op(graph.Op{Kind: graph.Linear, Layer: graph.None, In: hidden, Out: logits, W: head, Bias: graph.None})
	if flip() {
		op(graph.Op{Kind: graph.Softcap, Layer: graph.None, In: logits, Out: logits, Cap: 30})
	}
	g.Hidden, g.Logits = hidden, logits
	return g
}

// Matrix makes a graph that embeds a token by a row of one random matrix and multiplies it with the whole of it: what
// a backend says of its speed is about that matrix alone.
func Matrix(r *rand.Rand, t quant.Type, rows, cols int) *graph.Graph {
	g := &graph.Graph{Arch: "matrix", Vocab: rows, Width: cols, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 1, Context: 32}
	g.Weights = []graph.Weight{RandomWeight(r, "w", t, rows, cols, 1, 64, quant.F16)}
	g.Values = []graph.Value{{Name: "x", Width: cols}, {Name: "hidden", Width: cols}, {Name: "logits", Width: rows}}
	g.Ops = []graph.Op{
		{Kind: graph.Embed, Layer: graph.None, Out: 0, W: 0, Scale: 1},
		{Kind: graph.SelectRows, Layer: graph.None, In: 0, Out: 1},
		{Kind: graph.Linear, Layer: graph.None, In: 1, Out: 2, W: 0, Bias: graph.None},
	}
	g.Hidden, g.Logits = 1, 2
	return g
}

package model

import (
	"fmt"
	"strconv"

	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// source finds tensors by the graph's own names, such as "layers.3.attn.q".
type source interface {
	// matrix returns a weight of rows × cols as stored; rows = 0 takes what the file has. ok is false when it is absent.
	matrix(name string, rows, cols int) (w graph.Weight, ok bool, err error)
	// vector returns a weight or bias of n elements as float32. part is "weight" or "bias".
	vector(name, part string, n int) (v []byte, ok bool, err error)
	// missing is the error for an absent tensor, by the file's own name.
	missing(name string) error
	// interleaved reports whether rotary pairs are neighbours in this file's q and k of architecture a.
	interleaved(a *arch) bool
	// unused returns a tensor that nothing asked for and that is not in a's list of other parts, if there is one.
	unused(a *arch) string
}

// builder puts a graph together. The first failure is kept.
type builder struct {
	*config
	g    *graph.Graph
	src  source
	arch *arch
	fail error

	// Values that every layer reuses.
	x, h, q, k, v, att, gate, up int
	ropes                        map[string]int
}

func build(a *arch, c *config, src source) (*graph.Graph, error) {
	b := &builder{config: c, src: src, arch: a, g: &graph.Graph{
		Arch: a.name, Vocab: c.Vocab, Width: c.Width, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads,
		HeadDim: c.HeadDim, Context: c.Context,
	}}
	g := b.g
	b.x, b.h = b.value("x", c.Width), b.value("h", c.Width)
	b.q, b.k, b.v = b.value("q", c.Heads*c.HeadDim), b.value("k", c.KVHeads*c.HeadDim), b.value("v", c.KVHeads*c.HeadDim)
	b.att = b.value("att", c.Heads*c.HeadDim)
	b.gate, b.up = b.value("gate", c.FFN), b.value("up", c.FFN)

	embed := b.matrix("embed", c.Vocab, c.Width)
	if b.fail != nil {
		return nil, b.fail
	}
	if c.Vocab == 0 {
		c.Vocab = g.Weights[embed].Rows
		g.Vocab = c.Vocab
	}
	b.op(graph.Op{Kind: graph.Embed, Layer: graph.None, Out: b.x, W: embed, Scale: c.EmbedScale})
	for l := 0; l < c.Layers && b.fail == nil; l++ {
		a.layer(b, l)
	}
	b.finish(embed)
	if b.fail != nil {
		return nil, b.fail
	}
	if name := src.unused(a); name != "" {
		return nil, fmt.Errorf("%w: architecture %s has no use for tensor %q", ErrUnsupported, a.name, name)
	}
	if err := g.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return g, nil
}

// finish appends the final norm and the head.
func (b *builder) finish(embed int) {
	g := b.g
	last, hidden, logits := b.value("last", b.Width), b.value("hidden", b.Width), b.value("logits", b.Vocab)
	b.op(graph.Op{Kind: graph.SelectRows, Layer: graph.None, In: b.x, Out: last})
	b.norm(graph.None, "norm", last, hidden)
	head := embed
	w, ok, err := b.src.matrix("head", b.Vocab, b.Width)
	switch {
	case err != nil:
		b.failed(err)
	case ok && b.Head != headTied:
		head = b.add(w)
	case !ok && b.Head == headOwn:
		b.failed(b.src.missing("head"))
	}
	b.op(graph.Op{Kind: graph.Linear, Layer: graph.None, In: hidden, Out: logits, W: head, Bias: b.vector("head", "bias", b.Vocab)})
	if b.LogitCap > 0 {
		b.op(graph.Op{Kind: graph.Softcap, Layer: graph.None, In: logits, Out: logits, Cap: float32(b.LogitCap)})
	}
	g.Hidden, g.Logits = hidden, logits
}

func (b *builder) failed(err error) {
	if b.fail == nil {
		b.fail = err
	}
}

func (b *builder) value(name string, width int) int {
	b.g.Values = append(b.g.Values, graph.Value{Name: name, Width: width})
	return len(b.g.Values) - 1
}

func (b *builder) op(o graph.Op) { b.g.Ops = append(b.g.Ops, o) }

func (b *builder) add(w graph.Weight) int {
	b.g.Weights = append(b.g.Weights, w)
	return len(b.g.Weights) - 1
}

// matrix adds a required weight of rows × cols.
func (b *builder) matrix(name string, rows, cols int) int {
	w, ok, err := b.src.matrix(name, rows, cols)
	switch {
	case err != nil:
		b.failed(err)
	case !ok:
		b.failed(b.src.missing(name))
	default:
		return b.add(w)
	}
	return graph.None
}

// vector adds a weight or bias of n elements, None when it is absent.
func (b *builder) vector(name, part string, n int) int {
	v, ok, err := b.src.vector(name, part, n)
	if err != nil {
		b.failed(err)
	}
	if !ok || err != nil {
		return graph.None
	}
	return b.add(graph.Weight{Name: name + "." + part, Type: quant.F32, Rows: 1, Cols: n, Data: v})
}

func layerName(l int, name string) string { return "layers." + strconv.Itoa(l) + "." + name }

// norm appends an RMSNorm over whole rows; l is None outside the layers.
func (b *builder) norm(l int, name string, in, out int) {
	b.normOver(l, name, in, out, b.g.Values[in].Width)
}

// normOver appends an RMSNorm over groups of dim elements.
func (b *builder) normOver(l int, name string, in, out, dim int) {
	if l != graph.None {
		name = layerName(l, name)
	}
	w := b.vector(name, "weight", dim)
	if w == graph.None {
		b.failed(b.src.missing(name))
	}
	b.op(graph.Op{Kind: graph.RMSNorm, Layer: l, In: in, Out: out, W: w, Dim: dim, Eps: float32(b.Eps)})
}

// linear appends a matrix product of layer l, with the bias when the file has one.
func (b *builder) linear(l int, name string, in, out int) {
	name = layerName(l, name)
	n := b.g.Values[out].Width
	w := b.matrix(name, n, b.g.Values[in].Width)
	b.op(graph.Op{Kind: graph.Linear, Layer: l, In: in, Out: out, W: w, Bias: b.vector(name, "bias", n)})
}

// rope appends the rotation of q and k of layer l.
func (b *builder) rope(l int, c ropeConfig) {
	key := fmt.Sprint(c)
	i, ok := b.ropes[key]
	if !ok {
		spec, err := c.spec(b.src.interleaved(b.arch))
		if err != nil {
			b.failed(err)
		}
		if b.ropes == nil {
			b.ropes = map[string]int{}
		}
		i = len(b.g.Ropes)
		b.g.Ropes, b.ropes[key] = append(b.g.Ropes, spec), i
	}
	for _, v := range []int{b.q, b.k} {
		b.op(graph.Op{Kind: graph.Rope, Layer: l, In: v, Out: v, Dim: b.HeadDim, Rope: i})
	}
}

// qkv appends the three projections of the normalised residual.
func (b *builder) qkv(l int) {
	b.norm(l, "attn.norm", b.x, b.h)
	b.linear(l, "attn.q", b.h, b.q)
	b.linear(l, "attn.k", b.h, b.k)
	b.linear(l, "attn.v", b.h, b.v)
	if !b.arch.qkvBias {
		return
	}
	for i, name := range []string{"attn.q", "attn.k", "attn.v"} {
		if b.g.Ops[len(b.g.Ops)-3+i].Bias == graph.None {
			b.failed(fmt.Errorf("%w (its bias)", b.src.missing(layerName(l, name))))
		}
	}
}

// qkNorm appends the norms over each head of q and k.
func (b *builder) qkNorm(l int) {
	b.normOver(l, "attn.q_norm", b.q, b.q, b.HeadDim)
	b.normOver(l, "attn.k_norm", b.k, b.k, b.HeadDim)
}

// attend appends the rotation, the cache write, attention and the output projection into h.
func (b *builder) attend(l int, rope ropeConfig) {
	b.rope(l, rope)
	b.op(graph.Op{Kind: graph.KVWrite, Layer: l, In: b.k, In2: b.v, Out: graph.None})
	b.op(graph.Op{Kind: graph.Attention, Layer: l, In: b.q, Out: b.att, Scale: float32(b.AttnScale), Window: b.Windows[l]})
	b.linear(l, "attn.o", b.att, b.h)
}

// mlp appends the gated feed-forward of in, into h.
func (b *builder) mlp(l int, act graph.Activation) {
	b.norm(l, "ffn.norm", b.x, b.h)
	b.linear(l, "ffn.gate", b.h, b.gate)
	b.linear(l, "ffn.up", b.h, b.up)
	b.op(graph.Op{Kind: graph.Gate, Layer: l, In: b.gate, In2: b.up, Out: b.gate, Act: act})
	b.linear(l, "ffn.down", b.gate, b.h)
}

// residual appends x += h.
func (b *builder) residual(l int) {
	b.op(graph.Op{Kind: graph.Add, Layer: l, In: b.x, In2: b.h, Out: b.x})
}

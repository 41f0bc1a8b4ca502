package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// probe is a graph of one operation: embeddings bring its inputs in, and the logits are its output.
type probe struct {
	g      *graph.Graph
	inputs [][]float32 // per input: vocabulary × width
}

// newProbe makes a graph whose token t brings row t of every input; the output is as wide as the vocabulary.
func newProbe(vocab int) *probe {
	return &probe{g: &graph.Graph{Arch: "probe", Vocab: vocab, Width: 1, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 1, Context: 1 << 20}}
}

func (p *probe) value(name string, width int) int {
	p.g.Values = append(p.g.Values, graph.Value{Name: name, Width: width})
	return len(p.g.Values) - 1
}

func (p *probe) weight(w graph.Weight) int {
	p.g.Weights = append(p.g.Weights, w)
	return len(p.g.Weights) - 1
}

func (p *probe) op(o graph.Op) { p.g.Ops = append(p.g.Ops, o) }

// input adds a value of the given rows, one per token.
func (p *probe) input(name string, width int, rows []float32) int {
	v := p.value(name, width)
	p.op(graph.Op{Kind: graph.Embed, Layer: graph.None, Out: v, W: p.weight(Floats(name, p.g.Vocab, width, rows)), Scale: 1})
	p.inputs = append(p.inputs, rows)
	return v
}

// finish makes out the logits and in the hidden state.
func (p *probe) finish(in, out int) {
	l, h := p.value("logits", p.g.Values[out].Width), p.value("hidden", p.g.Values[in].Width)
	p.g.Width = p.g.Values[in].Width
	p.op(graph.Op{Kind: graph.SelectRows, Layer: graph.None, In: out, Out: l})
	p.op(graph.Op{Kind: graph.SelectRows, Layer: graph.None, In: in, Out: h})
	p.g.Logits, p.g.Hidden = l, h
}

// both runs one batch of n random tokens on both backends.
func (s *suite) both(t *testing.T, r *rand.Rand, p *probe, n int) (batch *backend.Batch, got, want []float32) {
	t.Helper()
	nb := blocksFor(n)
	a, b := s.load(t, p.g, n, nb)
	batch = one(tokens(r, n, p.g.Vocab), 0, ids(0, nb))
	if n <= p.g.Vocab { // every row once
		for i := range batch.Tokens {
			batch.Tokens[i] = uint32(i)
		}
	}
	return batch, step(t, a, batch), step(t, b, batch)
}

// width returns a row length for a type: whole blocks and groups, or any length for floats.
func width(r *rand.Rand, t quant.Type, group int) int {
	unit := t.BlockSize()
	if t.Affine() {
		unit = group
	}
	switch {
	case unit == 1:
		return 1 + r.IntN(200)
	case unit >= 256:
		return unit * (1 + r.IntN(3))
	}
	return unit * (1 + r.IntN(9))
}

func (s *suite) embed(t *testing.T) {
	for _, ty := range s.Types {
		cases(t, ty.String(), 2, func(t *testing.T, r *rand.Rand) {
			group := []int{32, 64, 128}[r.IntN(3)]
			w := width(r, ty, group)
			p := newProbe(w) // the embedding is the output
			p.g.Width = w
			x := p.value("x", w)
			p.op(graph.Op{Kind: graph.Embed, Layer: graph.None, Out: x, W: p.weight(RandomWeight(r, "w", ty, w, w, 1, group, quant.Invalid)), Scale: []float32{1, 25.25}[r.IntN(2)]})
			p.finish(x, x)
			_, got, want := s.both(t, r, p, 1+r.IntN(2*w))
			compare(t, "embed", got, want, func(i int) float64 { return 2e-6 * (math.Abs(float64(want[i])) + 1) })
		})
	}
}

// linear checks products against sums in float64, with the bound that the arithmetic allows element by element, and
// against the reference. For normal numbers the mean error must be far below that bound.
func (s *suite) linear(t *testing.T) {
	for _, ty := range s.Types {
		for i, pr := range profiles {
			n := 1
			if i == 0 {
				n = 6
			}
			cases(t, ty.String()+"/"+pr.name, n, func(t *testing.T, r *rand.Rand) {
				s.linearCase(t, r, ty, pr.name == "normal", pr.fill)
			})
		}
	}
}

func (s *suite) linearCase(t *testing.T, r *rand.Rand, ty quant.Type, normal bool, fill func(*rand.Rand, []float32)) {
	group := []int{32, 64, 128}[r.IntN(3)]
	cols := width(r, ty, group)
	outs := []int{1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257}[r.IntN(13)]
	rows := []int{1, 1, 2, 3, 4, 5, 8, 16, 17, 33, 70}[r.IntN(11)]
	if testing.Short() {
		outs, rows = min(outs, 64), min(rows, 17)
	}
	p := newProbe(outs)
	x := make([]float32, outs*cols)
	for v := range outs {
		fill(r, x[v*cols:][:cols])
	}
	in := p.input("x", cols, x)
	y := p.value("y", outs)
	w := RandomWeight(r, "w", ty, outs, cols, 0.5, group, quant.Invalid)
	bias, b := graph.None, make([]float32, outs)
	if r.IntN(2) == 0 {
		copy(b, normals(r, outs, 1))
		bias = p.weight(Floats("b", 1, outs, b))
	}
	p.op(graph.Op{Kind: graph.Linear, Layer: graph.None, In: in, Out: y, W: p.weight(w), Bias: bias})
	p.finish(in, y)
	batch, got, ref := s.both(t, r, p, rows)
	fw, err := Dequantized(&w)
	if err != nil {
		t.Fatal(err)
	}
	block := s.ActBlock
	if slices.Contains(s.ActFloat, ty) {
		block = 0
	}
	what := fmt.Sprintf("%v %d×%d, %d rows", ty, outs, cols, rows)
	var sumErr, sumWant float64
	for i, tok := range batch.Tokens {
		row := x[int(tok)*cols:][:cols]
		for j := range outs {
			want, limit := exact(row, fw[j*cols:][:cols], b[j], block)
			g := float64(got[i*outs+j])
			if d := math.Abs(g - want); !(d <= limit) {
				t.Fatalf("%s: row %d output %d is %v, exactly %v: off by %.3g, at most %.3g", what, i, j, g, want, d, limit)
			}
			if d := math.Abs(float64(ref[i*outs+j]) - want); !(d <= limit) {
				t.Fatalf("%s: reference row %d output %d is %v, exactly %v", what, i, j, ref[i*outs+j], want)
			}
			sumErr += (g - want) * (g - want)
			sumWant += want * want
		}
	}
	most := 1e-5
	if block > 0 {
		most = 0.012
	}
	if e := math.Sqrt(sumErr / sumWant); normal && rows*outs > 64 && !(e <= most) {
		t.Errorf("%s: root mean square error is %.3g of the outputs', at most %.3g", what, e, most)
	}
}

// exact returns x·w + b and the most that float32 sums, and 8-bit activations with one scale per block, may be off.
func exact(x, w []float32, b float32, block int) (sum, limit float64) {
	mass := math.Abs(float64(b))
	sum = float64(b)
	var top, weight float64
	for i := range x {
		v, u := float64(x[i]), float64(w[i])
		sum += v * u
		mass += math.Abs(v * u)
		top, weight = max(top, math.Abs(v)), weight+math.Abs(u)
		if block > 0 && (i%block == block-1 || i == len(x)-1) {
			limit += top / 254 * weight
			top, weight = 0, 0
		}
	}
	// Rounding of a float32 sum in any reasonable order, of a scale kept as binary16, and of subnormal results.
	limit += 4e-6*mass + 1e-37
	if block > 0 {
		limit += 1e-3 * limit
	}
	return sum, limit
}

func (s *suite) norm(t *testing.T) {
	for _, pr := range profiles {
		cases(t, pr.name, 3, func(t *testing.T, r *rand.Rand) {
			dim := []int{1, 2, 7, 8, 31, 64, 96, 128, 576, 640}[r.IntN(10)]
			groups := 1
			if dim < 200 {
				groups = 1 + r.IntN(4)
			}
			w := dim * groups
			p := newProbe(w)
			x := make([]float32, w*w)
			for v := range w {
				pr.fill(r, x[v*w:][:w])
			}
			if pr.name == "huge" { // squares must still be finite in float32
				for i := range x {
					x[i] *= 1e-14
				}
			}
			in := p.input("x", w, x)
			y := p.value("y", w)
			if r.IntN(2) == 0 {
				y = in
			}
			scale := normals(r, dim, 1)
			p.op(graph.Op{Kind: graph.RMSNorm, Layer: graph.None, In: in, Out: y, W: p.weight(Floats("w", 1, dim, scale)), Dim: dim, Eps: []float32{1e-5, 1e-6}[r.IntN(2)]})
			p.finish(in, y)
			_, got, want := s.both(t, r, p, 1+r.IntN(40))
			compare(t, "norm", got, want, func(i int) float64 { return 1e-5*math.Abs(float64(want[i])) + 1e-37 })
		})
	}
}

func (s *suite) rope(t *testing.T) {
	cases(t, "random", 12, func(t *testing.T, r *rand.Rand) {
		dim := []int{2, 4, 32, 64, 80, 128, 256}[r.IntN(7)]
		dims := dim
		if r.IntN(3) == 0 {
			dims = 2 * (1 + r.IntN(dim/2))
		}
		w := dim * (1 + r.IntN(3))
		p := newProbe(w)
		spec := graph.RopeSpec{Dims: dims, Base: 1e4, Interleaved: r.IntN(2) == 0, Freqs: make([]float32, dims/2), Mscale: []float32{0, 1, 1.25}[r.IntN(3)]}
		for i := range spec.Freqs {
			spec.Freqs[i] = float32(math.Pow(1e4, -2*float64(i)/float64(dims)))
		}
		p.g.Ropes = []graph.RopeSpec{spec}
		x := normals(r, w*w, 1)
		in := p.input("x", w, x)
		y := in
		if r.IntN(2) == 0 {
			y = p.value("y", w)
		}
		p.op(graph.Op{Kind: graph.Rope, Layer: 0, In: in, Out: y, Dim: dim})
		p.finish(in, y)
		rows := 1 + r.IntN(40)
		start := []int{0, 1, 31, 1000, 8191, 131000}[r.IntN(6)]
		nb := blocksFor(start + rows)
		a, b := s.load(t, p.g, rows, 2)
		table := make([]backend.BlockID, nb) // block 0 again and again: nothing is stored
		batch := one(tokens(r, rows, w), start, table)
		got, want := step(t, a, batch), step(t, b, batch)
		for i, tok := range batch.Tokens {
			row := x[int(tok)*w:][:w]
			top := 0.0
			for _, v := range row {
				top = max(top, math.Abs(float64(v)))
			}
			compare(t, fmt.Sprintf("rope of %d in %d at %d", dims, dim, start+i), got[i*w:][:w], want[i*w:][:w], func(int) float64 { return 1e-5 * top })
		}
	})
}

func (s *suite) pointwise(t *testing.T) {
	kinds := []graph.Op{
		{Kind: graph.Gate, Act: graph.SiLU}, {Kind: graph.Gate, Act: graph.GELU}, {Kind: graph.Add},
		{Kind: graph.Scale, Scale: 0.37}, {Kind: graph.Softcap, Cap: 30},
	}
	for _, o := range kinds {
		for _, pr := range profiles {
			if pr.name == "huge" && o.Kind == graph.Gate {
				continue // its product overflows
			}
			cases(t, fmt.Sprintf("%v%d/%s", o.Kind, o.Act, pr.name), 1, func(t *testing.T, r *rand.Rand) {
				w := 1 + r.IntN(150)
				p := newProbe(w)
				x, y := make([]float32, w*w), normals(r, w*w, 1)
				for v := range w {
					pr.fill(r, x[v*w:][:w])
				}
				for i := range min(len(x), 8) { // where exp over- and underflows
					x[i] = []float32{-1e4, -104, -88.8, -87, -20, 20, 88.8, 1e4}[i]
				}
				op := o
				op.Layer, op.In = graph.None, p.input("x", w, x)
				op.In2 = p.input("y", w, y)
				op.Out = []int{op.In, p.value("z", w)}[r.IntN(2)]
				p.op(op)
				p.finish(op.In2, op.Out)
				batch, got, want := s.both(t, r, p, 1+r.IntN(70))
				compare(t, "element", got, want, func(i int) float64 {
					at := int(batch.Tokens[i/w])*w + i%w
					scale := math.Abs(float64(want[i]))
					if o.Kind == graph.Gate { // tanh and exp cancel near zero
						scale += math.Min(math.Abs(float64(x[at])), 1) * math.Abs(float64(y[at]))
					}
					return 2e-6*scale + 1e-37
				})
			})
		}
	}
}

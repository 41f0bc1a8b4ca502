package graph

//lint:file-ignore ST1005 messages begin with the name of an operation

import (
	"fmt"
	"math"

	"github.com/krserve/krserve/internal/quant"
)

// Elements beyond which a shape is taken for damage; every product of two stays within an int64.
const maxDim = 1 << 28

// Check reports the first thing wrong with a graph: a reference out of range, shapes that do not fit, a weight whose
// data is too short, a value read before it is written. A backend may rely on all of it after a nil.
func (g *Graph) Check() error {
	for _, f := range []struct {
		name string
		n    int
	}{{"Vocab", g.Vocab}, {"Width", g.Width}, {"Layers", g.Layers}, {"Heads", g.Heads}, {"KVHeads", g.KVHeads}, {"HeadDim", g.HeadDim}, {"Context", g.Context}} {
		if f.n <= 0 || f.n > maxDim {
			return fmt.Errorf("graph: %s is %d", f.name, f.n)
		}
	}
	if g.Heads%g.KVHeads != 0 {
		return fmt.Errorf("graph: %d heads over %d key-value heads", g.Heads, g.KVHeads)
	}
	for i := range g.Values {
		if w := g.Values[i].Width; w <= 0 || w > maxDim {
			return fmt.Errorf("graph: value %q has width %d", g.Values[i].Name, w)
		}
	}
	for i := range g.Weights {
		if err := g.Weights[i].Check(); err != nil {
			return fmt.Errorf("graph: %w", err)
		}
	}
	for i := range g.Ropes {
		s := &g.Ropes[i]
		if s.Dims <= 0 || s.Dims%2 != 0 || len(s.Freqs) != s.Dims/2 {
			return fmt.Errorf("graph: rope %d: %d frequencies for %d dimensions", i, len(s.Freqs), s.Dims)
		}
		for j, f := range s.Freqs {
			if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
				return fmt.Errorf("graph: rope %d: frequency %d is %v", i, j, f)
			}
		}
	}
	c := checker{g: g, state: make([]rowState, len(g.Values))}
	for i := range g.Ops {
		if err := c.op(&g.Ops[i]); err != nil {
			return fmt.Errorf("graph: op %d (%v, layer %d): %w", i, g.Ops[i].Kind, g.Ops[i].Layer, err)
		}
	}
	for _, v := range []struct {
		name     string
		i, width int
	}{{"Logits", g.Logits, g.Vocab}, {"Hidden", g.Hidden, g.Width}} {
		switch {
		case v.i < 0 || v.i >= len(g.Values):
			return fmt.Errorf("graph: %s is value %d of %d", v.name, v.i, len(g.Values))
		case g.Values[v.i].Width != v.width:
			return fmt.Errorf("graph: %s has width %d, want %d", v.name, g.Values[v.i].Width, v.width)
		case c.state[v.i] != selected:
			return fmt.Errorf("graph: %s is not made of the selected rows", v.name)
		}
	}
	return nil
}

// Check reports whether the weight's shape, type and data agree.
func (w *Weight) Check() error {
	switch {
	case !w.Type.Valid():
		return fmt.Errorf("weight %q: type %v", w.Name, w.Type)
	case w.Rows <= 0 || w.Cols <= 0 || w.Rows > maxDim || w.Cols > maxDim:
		return fmt.Errorf("weight %q: shape %d×%d", w.Name, w.Rows, w.Cols)
	case w.Cols%w.Type.BlockSize() != 0:
		return fmt.Errorf("weight %q: rows of %d are not whole blocks of %v (%d)", w.Name, w.Cols, w.Type, w.Type.BlockSize())
	}
	if need := w.Rows * w.Type.RowBytes(w.Cols); len(w.Data) < need {
		return fmt.Errorf("weight %q: %d bytes of data, %d×%d of %v need %d", w.Name, len(w.Data), w.Rows, w.Cols, w.Type, need)
	}
	if !w.Type.Affine() {
		return nil
	}
	switch w.AuxType {
	case quant.F32, quant.F16, quant.BF16:
	default:
		return fmt.Errorf("weight %q: scales of type %v", w.Name, w.AuxType)
	}
	switch w.Group {
	case 32, 64, 128:
	default:
		return fmt.Errorf("weight %q: groups of %d", w.Name, w.Group)
	}
	if w.Cols%w.Group != 0 {
		return fmt.Errorf("weight %q: rows of %d are not whole groups of %d", w.Name, w.Cols, w.Group)
	}
	if need := w.Rows * w.AuxType.RowBytes(w.Cols/w.Group); len(w.Scales) < need || len(w.Biases) < need {
		return fmt.Errorf("weight %q: %d bytes of scales and %d of biases, want %d", w.Name, len(w.Scales), len(w.Biases), need)
	}
	return nil
}

// rowState says which rows a value holds at a point of the program.
type rowState uint8

const (
	unset rowState = iota
	all
	selected
)

type checker struct {
	g      *Graph
	state  []rowState
	phase  rowState // what ops run on: all, then selected
	closed bool     // an op other than SelectRows ran after a SelectRows
}

func (c *checker) value(name string, i int) (int, error) {
	if i < 0 || i >= len(c.g.Values) {
		return 0, fmt.Errorf("%s is value %d of %d", name, i, len(c.g.Values))
	}
	return c.g.Values[i].Width, nil
}

func (c *checker) input(name string, i, width int) error {
	w, err := c.value(name, i)
	if err != nil {
		return err
	}
	if width > 0 && w != width {
		return fmt.Errorf("%s (%s) has width %d, want %d", name, c.g.Values[i].Name, w, width)
	}
	if c.state[i] != c.phase {
		return fmt.Errorf("%s (%s) does not hold the rows that the op runs on", name, c.g.Values[i].Name)
	}
	return nil
}

func (c *checker) weight(name string, i, rows, cols int, vector bool) error {
	if i < 0 || i >= len(c.g.Weights) {
		return fmt.Errorf("%s is weight %d of %d", name, i, len(c.g.Weights))
	}
	w := &c.g.Weights[i]
	if w.Rows != rows || w.Cols != cols {
		return fmt.Errorf("%s (%s) is %d×%d, want %d×%d", name, w.Name, w.Rows, w.Cols, rows, cols)
	}
	if vector && w.Type != quant.F32 {
		return fmt.Errorf("%s (%s) is %v; a vector is F32", name, w.Name, w.Type)
	}
	return nil
}

func (c *checker) op(o *Op) error {
	g := c.g
	if c.phase == unset {
		c.phase = all
	}
	if o.Kind >= numKinds {
		return fmt.Errorf("unknown kind")
	}
	for _, f := range []float32{o.Eps, o.Scale, o.Cap} {
		if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
			return fmt.Errorf("a parameter is %v", f)
		}
	}
	if o.Kind == SelectRows {
		return c.selectRows(o)
	}
	c.closed = c.phase == selected
	out := 0
	if o.Kind != KVWrite {
		var err error
		if out, err = c.value("Out", o.Out); err != nil {
			return err
		}
	}
	err := c.shapes(o, out)
	if err != nil {
		return err
	}
	if o.Kind == KVWrite || o.Kind == Attention {
		if o.Layer < 0 || o.Layer >= g.Layers {
			return fmt.Errorf("layer of %d", g.Layers)
		}
	}
	if o.Kind != KVWrite {
		c.state[o.Out] = c.phase
	}
	return nil
}

func (c *checker) selectRows(o *Op) error {
	w, err := c.value("Out", o.Out)
	if err != nil {
		return err
	}
	if c.closed {
		return fmt.Errorf("after an op that runs on selected rows")
	}
	c.phase = all
	if err := c.input("In", o.In, w); err != nil {
		return err
	}
	if o.In == o.Out {
		return fmt.Errorf("In and Out are the same value")
	}
	c.phase, c.state[o.Out] = selected, selected
	return nil
}

func (c *checker) shapes(o *Op, out int) error {
	g := c.g
	switch o.Kind {
	case Embed:
		if c.phase != all {
			return fmt.Errorf("after SelectRows")
		}
		return c.weight("W", o.W, g.Vocab, out, false)
	case RMSNorm:
		if o.Dim <= 0 || out%o.Dim != 0 {
			return fmt.Errorf("groups of %d in rows of %d", o.Dim, out)
		}
		if err := c.weight("W", o.W, 1, o.Dim, true); err != nil {
			return err
		}
		return c.input("In", o.In, out)
	case Linear:
		in, err := c.value("In", o.In)
		if err != nil {
			return err
		}
		if o.In == o.Out {
			return fmt.Errorf("In and Out are the same value")
		}
		if err := c.weight("W", o.W, out, in, false); err != nil {
			return err
		}
		if o.Bias != None {
			if err := c.weight("Bias", o.Bias, 1, out, true); err != nil {
				return err
			}
		}
		return c.input("In", o.In, 0)
	case Rope:
		if o.Rope < 0 || o.Rope >= len(g.Ropes) {
			return fmt.Errorf("rope %d of %d", o.Rope, len(g.Ropes))
		}
		if o.Dim <= 0 || out%o.Dim != 0 || g.Ropes[o.Rope].Dims > o.Dim {
			return fmt.Errorf("%d rotated dimensions in heads of %d in rows of %d", g.Ropes[o.Rope].Dims, o.Dim, out)
		}
		return c.input("In", o.In, out)
	case KVWrite:
		if c.phase != all {
			return fmt.Errorf("after SelectRows")
		}
		if err := c.input("In", o.In, g.KVHeads*g.HeadDim); err != nil {
			return err
		}
		return c.input("In2", o.In2, g.KVHeads*g.HeadDim)
	case Attention:
		if out != g.Heads*g.HeadDim {
			return fmt.Errorf("Out has width %d, want %d", out, g.Heads*g.HeadDim)
		}
		if o.Window < 0 || o.Cap < 0 {
			return fmt.Errorf("window %d, cap %v", o.Window, o.Cap)
		}
		if o.In == o.Out {
			return fmt.Errorf("In and Out are the same value")
		}
		return c.input("In", o.In, out)
	case Gate, Add:
		if o.Kind == Gate && o.Act > GELU {
			return fmt.Errorf("activation %d", o.Act)
		}
		if err := c.input("In", o.In, out); err != nil {
			return err
		}
		return c.input("In2", o.In2, out)
	case Softcap:
		if o.Cap <= 0 {
			return fmt.Errorf("cap %v", o.Cap)
		}
	}
	return c.input("In", o.In, out)
}

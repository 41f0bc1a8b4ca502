package cpu

import (
	"fmt"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
)

// The operations and phases that C runs; the numbers are those of model.h.
const (
	opRopeTab = iota
	opEmbed
	opNorm
	opRope
	opKVWrite
	opGate
	opAdd
	opScale
	opSoftcap
	opSelect
	opBias
	opQuant
	opQuantWide
	opLinear
	opLinearWide
	opAttn
)

const (
	phaseRows = iota
	phaseMatmul
	phaseAttend
)

// node is one operation over single-assignment registers.
type node struct {
	kind         int
	a, b, o      int // registers, or -1
	x            int // register of floats of a matmul whose a is quantised; -1
	w            int // index into Graph.Weights (embed, linear, norm, bias) or Graph.Ropes; -1
	n, dim       int
	layer        int
	window, act  int
	eps, scale   float32
	cap          float32
	after        []int // nodes that must have run: keys written before they are read
	sel, placed  bool
	matrix, rows bool // kind of phase: matmul, row operation
}

// reg is the value of one node: rows of width floats, or of quantised blocks.
type reg struct {
	width       int
	quant       bool
	wide        bool // quantised in two terms: twice the blocks
	sel         bool // over the sampled rows only
	def, last   int  // phases
	local       bool // lives and dies within one row of one phase
	off, stride int
	size        int // bytes of all rows
}

type phase struct {
	kind int
	ops  []int // nodes
	sel  bool
}

// plan is a graph cut into phases with all memory placed.
type plan struct {
	nodes          []node
	regs           []reg
	phases         []phase
	logits, hidden int   // registers
	ropeTab        []int // register of each rope's table
	hiddenPhase    int   // number of phases that make the hidden state
	work, local    int   // bytes
}

const maxHeadDim = 1 << 12

// newPlan orders the graph's operations into phases: runs of row operations, groups of matmuls that are ready at the
// same time, attention. Whatever only sampled rows need is computed for these rows only. With floats, matmuls keep their
// activations as floats, too; narrow rounds them to 8 bits where that is wanted for speed.
func newPlan(g *graph.Graph, rows int, floats, narrow bool) (*plan, error) {
	if err := g.Check(); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	if g.HeadDim > maxHeadDim {
		return nil, fmt.Errorf("cpu: heads of %d elements, at most %d: %w", g.HeadDim, maxHeadDim, backend.ErrUnsupported)
	}
	p := &plan{logits: -1, hidden: -1}
	if err := p.lift(g); err != nil {
		return nil, err
	}
	p.place(g, floats, narrow)
	p.schedule()
	return p, p.allocate(g, rows)
}

func (p *plan) newReg(width int) int {
	p.regs = append(p.regs, reg{width: width, def: -1, last: -1})
	return len(p.regs) - 1
}

func (p *plan) emit(n node) int {
	n.matrix = n.kind == opLinear || n.kind == opLinearWide
	n.rows = !n.matrix && n.kind != opAttn
	p.nodes = append(p.nodes, n)
	return len(p.nodes) - 1
}

// lift turns operations over named values into nodes over registers that are written once.
func (p *plan) lift(g *graph.Graph) error {
	cur := make([]int, len(g.Values)) // register that holds each value now
	for i := range cur {
		cur[i] = -1
	}
	p.ropeTab = make([]int, len(g.Ropes))
	for i := range p.ropeTab {
		p.ropeTab[i] = -1
	}
	keys := map[int]int{} // layer -> node that last wrote or read its keys
	for i := range g.Ops {
		op := &g.Ops[i]
		n := node{a: -1, b: -1, o: -1, w: -1, layer: op.Layer, dim: op.Dim, eps: op.Eps, scale: op.Scale, cap: op.Cap, window: op.Window, act: int(op.Act)}
		for k, v := range [2]int{op.In, op.In2} {
			if v == graph.None || op.Kind == graph.Embed || k == 1 && op.Kind != graph.KVWrite && op.Kind != graph.Gate && op.Kind != graph.Add {
				continue
			}
			if cur[v] < 0 {
				return fmt.Errorf("cpu: op %d (%v) reads value %q before it is written", i, op.Kind, g.Values[v].Name)
			}
			if k == 0 {
				n.a = cur[v]
			} else {
				n.b = cur[v]
			}
		}
		if op.Kind == graph.SelectRows { // rows are chosen by place
			cur[op.Out] = n.a
			if op.Out == g.Hidden {
				p.hidden = n.a
			}
			continue
		}
		if op.Kind != graph.KVWrite {
			n.n = g.Values[op.Out].Width
			n.o = p.newReg(n.n)
		}
		switch op.Kind {
		case graph.Embed:
			n.kind, n.w, n.a = opEmbed, op.W, -1
		case graph.RMSNorm:
			n.kind, n.w = opNorm, op.W
		case graph.Linear:
			n.kind, n.w = opLinear, op.W
		case graph.Rope:
			n.kind, n.w = opRope, op.Rope
			if p.ropeTab[op.Rope] < 0 {
				t := p.newReg(g.Ropes[op.Rope].Dims)
				p.ropeTab[op.Rope] = t
				p.emit(node{kind: opRopeTab, a: -1, b: -1, o: t, w: op.Rope, n: g.Ropes[op.Rope].Dims, layer: -1})
			}
		case graph.KVWrite:
			n.kind = opKVWrite
		case graph.Attention:
			n.kind = opAttn
		case graph.Gate:
			n.kind = opGate
		case graph.Add:
			n.kind = opAdd
		case graph.Scale:
			n.kind = opScale
		case graph.Softcap:
			n.kind = opSoftcap
		}
		if n.kind == opKVWrite || n.kind == opAttn {
			if k, ok := keys[op.Layer]; ok {
				n.after = append(n.after, k)
			}
		}
		id := p.emit(n)
		if n.kind == opKVWrite || n.kind == opAttn {
			keys[op.Layer] = id
		}
		out := n.o
		if n.kind == opLinear && op.Bias != graph.None {
			out = p.newReg(n.n)
			p.emit(node{kind: opBias, a: n.o, b: -1, o: out, w: op.Bias, n: n.n, layer: op.Layer})
		}
		if op.Out != graph.None && n.kind != opKVWrite {
			cur[op.Out] = out
			if op.Out == g.Hidden {
				p.hidden = out
			}
		}
	}
	if cur[g.Logits] < 0 {
		return fmt.Errorf("cpu: the logits value %q is never written", g.Values[g.Logits].Name)
	}
	p.logits = cur[g.Logits]
	return nil
}

// place decides which nodes run for every row (whatever keys, values and attention depend on) and which for sampled
// rows only; it gathers rows at the border and quantises what matmuls read.
func (p *plan) place(g *graph.Graph, floats, narrow bool) {
	def := make([]int, len(p.regs))
	for i := range def {
		def[i] = -1
	}
	for i := range p.nodes {
		if o := p.nodes[i].o; o >= 0 {
			def[o] = i
		}
	}
	all := make([]bool, len(p.nodes))
	for i := len(p.nodes) - 1; i >= 0; i-- { // nodes stand in an order of execution
		n := &p.nodes[i]
		if n.kind == opKVWrite || n.kind == opAttn || n.kind == opRopeTab {
			all[i] = true
		}
		if all[i] {
			for _, r := range []int{n.a, n.b} {
				if r >= 0 {
					all[def[r]] = true
				}
			}
		}
	}
	// Activations in two terms of 8 bits, 15 bits together, keep logits within 0.002 of float32's; one term moves them by
	// 0.1, and a small model's answers with them. Even then two matrices have both: they make half of the error's variance
	// and are a thirtieth of the work: the value projection, whose output attention averages without any softmax
	// between, and the head, which is the logits. docs/rationale.md.
	wide := make([]bool, len(p.nodes))
	for i := range p.nodes {
		if wide[i] = !narrow && p.nodes[i].kind == opLinear; !narrow {
			continue
		}
		r := p.logits
		if p.nodes[i].kind == opKVWrite {
			r = p.nodes[i].b
		} else if p.nodes[i].o != r {
			continue
		}
		for k := def[r]; ; k = def[p.nodes[k].a] {
			if wide[k] = p.nodes[k].kind == opLinear; wide[k] || p.nodes[k].a < 0 || p.nodes[k].b >= 0 {
				break
			}
		}
	}
	old := p.nodes
	p.nodes = nil
	moved := make([]int, len(old))
	gathered, quantised := map[int]int{}, map[[2]int]int{}
	for i, n := range old {
		n.x = -1
		n.sel = !all[i]
		for _, r := range []*int{&n.a, &n.b} {
			if *r < 0 || !n.sel || p.regs[*r].sel {
				continue
			}
			q, ok := gathered[*r]
			if !ok {
				q = p.newReg(p.regs[*r].width)
				p.regs[q].sel = true
				p.emit(node{kind: opSelect, a: *r, b: -1, x: -1, o: q, w: -1, n: p.regs[*r].width, sel: true, layer: -1})
				gathered[*r] = q
			}
			*r = q
		}
		if n.kind == opLinear && floats {
			n.x = n.a
		}
		if n.kind == opLinear && quantised8(g.Weights[n.w].Type) {
			kind := opQuant
			if wide[i] {
				kind, n.kind = opQuantWide, opLinearWide
			}
			q, ok := quantised[[2]int{n.a, kind}]
			if !ok {
				q = p.newReg(p.regs[n.a].width)
				p.regs[q].quant, p.regs[q].wide, p.regs[q].sel = true, wide[i], n.sel
				p.emit(node{kind: kind, a: n.a, b: -1, x: -1, o: q, w: -1, n: p.regs[n.a].width, sel: n.sel, layer: -1})
				quantised[[2]int{n.a, kind}] = q
			}
			n.a = q
		}
		if n.o >= 0 {
			p.regs[n.o].sel = n.sel
		}
		for k := range n.after {
			n.after[k] = moved[n.after[k]]
		}
		moved[i] = p.emit(n)
	}
}

// schedule cuts the nodes into phases, each as large as readiness allows.
func (p *plan) schedule() {
	made := make([]bool, len(p.regs))
	ready := func(n *node) bool {
		if n.placed || n.a >= 0 && !made[n.a] || n.b >= 0 && !made[n.b] {
			return false
		}
		if n.kind == opRope && !made[p.ropeTab[n.w]] {
			return false
		}
		for _, k := range n.after {
			if !p.nodes[k].placed {
				return false
			}
		}
		return true
	}
	take := func(kind int, sel, chain bool, want func(*node) bool) bool {
		f := phase{kind: kind, sel: sel}
		for i := range p.nodes {
			n := &p.nodes[i]
			if n.sel != sel || !want(n) || !ready(n) {
				continue
			}
			n.placed = true
			f.ops = append(f.ops, i)
			if chain && n.o >= 0 {
				made[n.o] = true
			}
			if kind == phaseAttend {
				break
			}
		}
		for _, i := range f.ops {
			if o := p.nodes[i].o; o >= 0 {
				made[o] = true
			}
		}
		if len(f.ops) > 0 {
			p.phases = append(p.phases, f)
		}
		return len(f.ops) > 0
	}
	for {
		ok := false
		for _, sel := range []bool{false, true} {
			ok = ok || take(phaseRows, sel, true, func(n *node) bool { return n.rows })
		}
		for _, sel := range []bool{false, true} {
			ok = ok || take(phaseMatmul, sel, false, func(n *node) bool { return n.matrix })
		}
		if !ok && !take(phaseAttend, false, false, func(n *node) bool { return n.kind == opAttn }) {
			return
		}
	}
}

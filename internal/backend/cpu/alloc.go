package cpu

import (
	"fmt"
	"math"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

const (
	blockBytes = 64 // sizeof(kr_xblk)
	wideBytes  = 96 // sizeof(kr_xblk2)
	align      = 64
)

func roundUp(n, to int) int { return (n + to - 1) / to * to }

func quantised8(t quant.Type) bool { return t > quant.BF16 }

// allocate finds each register's lifetime in phases and gives those that live at different times the same memory.
func (p *plan) allocate(g *graph.Graph, rows int) error {
	p.hiddenPhase = len(p.phases)
	use := func(r, f int) {
		if r >= 0 {
			p.regs[r].last = max(p.regs[r].last, f)
		}
	}
	for f := range p.phases {
		for _, i := range p.phases[f].ops {
			n := &p.nodes[i]
			if n.o >= 0 {
				p.regs[n.o].def = f
				use(n.o, f)
				if n.o == p.hidden {
					p.hiddenPhase = f + 1
				}
			}
			use(n.a, f)
			use(n.b, f)
			use(n.x, f)
			if n.kind == opRope {
				use(p.ropeTab[n.w], f)
			}
		}
	}
	for r := range p.regs {
		v := &p.regs[r]
		v.stride = roundUp(v.width*4, align)
		if v.quant {
			v.stride = v.width / 32 * blockBytes
			if v.wide {
				v.stride = v.width / 32 * wideBytes
			}
		}
		if rows > (math.MaxInt/4-align)/v.stride {
			return fmt.Errorf("cpu: %d rows of %d bytes: %w", rows, v.stride, backend.ErrMemory)
		}
		v.size = roundUp(v.stride*rows, align)
		if v.def < 0 {
			continue
		}
		v.local = v.def == v.last && p.phases[v.def].kind == phaseRows && r != p.hidden && r != p.logits
		for _, t := range p.ropeTab {
			v.local = v.local && r != t
		}
	}
	if v := &p.regs[p.logits]; v.def < 0 {
		return fmt.Errorf("cpu: the logits are never computed")
	} else { // also the place where hidden states are handed out
		v.size = roundUp(max(v.stride, g.Width*4)*rows, align)
		v.last = len(p.phases)
	}
	var live []int // registers in memory now, by offset
	for f := range p.phases {
		keep := live[:0]
		for _, r := range live {
			if p.regs[r].last >= f {
				keep = append(keep, r)
			}
		}
		live = keep
		local := 0
		for _, i := range p.phases[f].ops {
			r := p.nodes[i].o
			if r < 0 || r == p.logits {
				continue
			}
			v := &p.regs[r]
			if v.local {
				v.off = local
				local += roundUp(v.stride, align)
				continue
			}
			off, at := 0, 0
			for at < len(live) && p.regs[live[at]].off < off+v.size {
				off = max(off, p.regs[live[at]].off+p.regs[live[at]].size)
				at++
			}
			v.off = off
			for at = 0; at < len(live) && p.regs[live[at]].off < off; at++ {
			}
			live = append(live[:at], append([]int{r}, live[at:]...)...)
			p.work = max(p.work, off+v.size)
		}
		p.local = max(p.local, local)
	}
	if p.work > math.MaxInt/4 || p.regs[p.logits].size > math.MaxInt/4 {
		return fmt.Errorf("cpu: activations of %d rows: %w", rows, backend.ErrMemory)
	}
	p.regs[p.logits].off = roundUp(p.work, 1<<16)
	p.work = p.regs[p.logits].off + p.regs[p.logits].size
	return nil
}

// linear is how many bytes of weights the matmuls of one row read.
func (p *plan) linear(g *graph.Graph) int64 {
	var n int64
	for i := range p.nodes {
		if p.nodes[i].matrix {
			n += g.Weights[p.nodes[i].w].Bytes()
		}
	}
	return n
}

package graph

import (
	"fmt"
	"strings"
)

var kindNames = [numKinds]string{"embed", "rmsnorm", "linear", "rope", "kvwrite", "attention", "gate", "add", "scale", "softcap", "select"}

// String returns the operation's name, such as "linear".
func (k Kind) String() string {
	if k >= numKinds {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// NumKinds is the number of operations, for tables indexed by Kind.
const NumKinds = int(numKinds)

// String lists the program, one op per line, for golden files and logs.
func (g *Graph) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s vocab=%d width=%d layers=%d heads=%d/%d×%d context=%d\n", g.Arch, g.Vocab, g.Width, g.Layers, g.Heads, g.KVHeads, g.HeadDim, g.Context)
	name := func(i int) string {
		if i < 0 || i >= len(g.Values) {
			return "?"
		}
		return g.Values[i].Name
	}
	for i := range g.Ops {
		o := &g.Ops[i]
		if o.Kind == KVWrite {
			fmt.Fprintf(&b, "%v.%d %s %s\n", o.Kind, o.Layer, name(o.In), name(o.In2))
			continue
		}
		fmt.Fprintf(&b, "%s = %v", name(o.Out), o.Kind)
		if o.Kind != Embed {
			fmt.Fprintf(&b, " %s", name(o.In))
		}
		switch o.Kind {
		case Embed, RMSNorm, Linear:
			if o.W >= 0 && o.W < len(g.Weights) {
				w := &g.Weights[o.W]
				fmt.Fprintf(&b, " %s:%v[%d×%d]", w.Name, w.Type, w.Rows, w.Cols)
			}
			if o.Kind == Linear && o.Bias >= 0 && o.Bias < len(g.Weights) {
				fmt.Fprintf(&b, " + %s", g.Weights[o.Bias].Name)
			}
			if o.Kind == RMSNorm {
				fmt.Fprintf(&b, " eps=%g", o.Eps)
			}
			if o.Kind == Embed && o.Scale != 1 {
				fmt.Fprintf(&b, " ×%g", o.Scale)
			}
		case Rope:
			fmt.Fprintf(&b, " rope%d", o.Rope)
		case Attention:
			fmt.Fprintf(&b, ".%d scale=%g window=%d", o.Layer, o.Scale, o.Window)
		case Gate:
			fmt.Fprintf(&b, " %s %s", [...]string{"silu", "gelu"}[min(o.Act, GELU)], name(o.In2))
		case Add:
			fmt.Fprintf(&b, " %s", name(o.In2))
		case Scale:
			fmt.Fprintf(&b, " ×%g", o.Scale)
		case Softcap:
			fmt.Fprintf(&b, " cap=%g", o.Cap)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

package reference

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// mutant is a backend with one fault, which the conformance suite must find.
type mutant struct {
	Backend
	op   func(*graph.Op)                            // changes every operation at Load
	rope func(*graph.RopeSpec)                      // changes every rotary table at Load
	step func(b *backend.Batch, data []float32)     // changes the logits
	copy func(m *Model, dst, src []backend.BlockID) // replaces CopyBlocks
}

type mutantModel struct {
	*Model
	f *mutant
}

func (f *mutant) Load(g *graph.Graph, l backend.Limits) (backend.Model, error) {
	c := *g
	c.Ops, c.Ropes = append([]graph.Op(nil), g.Ops...), append([]graph.RopeSpec(nil), g.Ropes...)
	for i := range c.Ops {
		if f.op != nil {
			f.op(&c.Ops[i])
		}
	}
	for i := range c.Ropes {
		if f.rope != nil {
			f.rope(&c.Ropes[i])
		}
	}
	m, err := f.Backend.Load(&c, l)
	if err != nil {
		return nil, err
	}
	return &mutantModel{m.(*Model), f}, nil
}

func (m *mutantModel) Step(b *backend.Batch) (backend.Logits, error) {
	l, err := m.Model.Step(b)
	if err == nil && m.f.step != nil {
		m.f.step(b, l.Data)
	}
	return l, err
}

func (m *mutantModel) CopyBlocks(dst, src []backend.BlockID) error {
	if m.f.copy != nil {
		m.f.copy(m.Model, dst, src)
		return nil
	}
	return m.Model.CopyBlocks(dst, src)
}

// onKind changes operations of one kind.
func onKind(k graph.Kind, change func(*graph.Op)) func(*graph.Op) {
	return func(o *graph.Op) {
		if o.Kind == k {
			change(o)
		}
	}
}

// mutants are faults of the sorts that kernels have had elsewhere: off by one, a dropped term, a swapped layout, a sum
// whose order depends on the batch. The part says where in the suite each must show; with no fault it passes.
var mutants = map[string]struct {
	f    mutant
	part string
}{
	"none":                      {mutant{}, ""},
	"window one too wide":       {mutant{op: onKind(graph.Attention, func(o *graph.Op) { o.Window += min(o.Window, 1) })}, "Attention"},
	"scores off by 1 %":         {mutant{op: onKind(graph.Attention, func(o *graph.Op) { o.Scale *= 1.01 })}, "Attention"},
	"cap on scores forgotten":   {mutant{op: onKind(graph.Attention, func(o *graph.Op) { o.Cap = 0 })}, "Attention"},
	"bias forgotten":            {mutant{op: onKind(graph.Linear, func(o *graph.Op) { o.Bias = graph.None })}, "Linear"},
	"epsilon forgotten":         {mutant{op: onKind(graph.RMSNorm, func(o *graph.Op) { o.Eps = 1e-12 })}, "RMSNorm"},
	"activations swapped":       {mutant{op: onKind(graph.Gate, func(o *graph.Op) { o.Act = graph.GELU - o.Act })}, "Pointwise"},
	"embedding unscaled":        {mutant{op: onKind(graph.Embed, func(o *graph.Op) { o.Scale = 1 })}, "Embed"},
	"rotary pairs swapped":      {mutant{rope: func(s *graph.RopeSpec) { s.Interleaved = !s.Interleaved }}, "Rope"},
	"mscale forgotten":          {mutant{rope: func(s *graph.RopeSpec) { s.Mscale = 0 }}, "Rope"},
	"copies that do nothing":    {mutant{copy: func(*Model, []backend.BlockID, []backend.BlockID) {}}, "Blocks"},
	"copies that share a block": {mutant{copy: func(m *Model, dst, src []backend.BlockID) { m.kv.blocks[dst[0]] = m.kv.blocks[src[0]] }}, "Blocks"},
	"last bit of a big batch": {mutant{step: func(b *backend.Batch, data []float32) {
		if len(b.Tokens) > 16 && len(data) > 0 {
			data[len(data)-1] *= 1 + 1.0/(1<<23)
		}
	}}, "Metamorphic"},
	"last bit of decoding": {mutant{step: func(b *backend.Batch, data []float32) {
		if len(b.Tokens) == 1 && b.Pos[0] > 0 && len(data) > 0 {
			data[0] *= 1 + 1.0/(1<<23)
		}
	}}, "Metamorphic"},
}

const mutantEnv = "KRSERVE_TEST_MUTANT"

// TestMutants runs the suite on each mutant in a process of its own and expects the named part to fail.
func TestMutants(t *testing.T) {
	if name := os.Getenv(mutantEnv); name != "" {
		f := mutants[name].f
		backendtest.Run(t, &f, backendtest.Options{Reference: Backend{}, Limits: backend.Limits{KV: backend.KVF32}, Types: []quant.Type{quant.F32, quant.Q4_0}})
		return
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			none := m.part == ""
			if none {
				m.part = "(Rope|Blocks|Pointwise|RMSNorm)" // the rest is TestConformance
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestMutants$/^"+m.part+"$", "-test.v", "-test.short")
			cmd.Env = append(os.Environ(), mutantEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if none {
				if err != nil {
					t.Errorf("the suite fails without a fault: %v\n%s", err, tail(out))
				}
				return
			}
			if fail := fmt.Sprintf("--- FAIL: TestMutants/%s", m.part); err == nil || !bytes.Contains(out, []byte(fail)) {
				t.Errorf("the suite does not find it: %v\n%s", err, tail(out))
			}
		})
	}
}

// tail is the end of a long output.
func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

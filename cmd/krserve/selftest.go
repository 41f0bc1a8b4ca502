package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/backend/backendtest"
	"github.com/krserve/krserve/internal/backend/cpu"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/quant"
)

// A variant is one set of kernels of a backend; the empty name lets the backend choose.
type variant struct {
	name   string
	usable bool
}

// deviationLimit bounds the distance of a backend's logits to the reference's, relative to their spread. Activations
// in 8 bits stay well below it; a wrong scale, sign or order is near 1.
const deviationLimit = 0.1

// selfTest runs a tiny random model of every weight type on one variant and on the reference.
func selfTest(name string, v variant) kernelReport {
	r := kernelReport{Backend: name, Kernel: v.name, Usable: v.usable}
	if !v.usable {
		return r
	}
	b, _ := backend.Lookup(name)
	ref, ok := backend.Lookup("reference")
	if !ok {
		r.Errors = append(r.Errors, "this build has no reference backend")
		return r
	}
	for t := quant.F32; t.Valid(); t++ {
		g := backendtest.Tiny(rand.New(rand.NewPCG(7, uint64(t))), []quant.Type{t})
		got, stats, err := logits(b, g, v.name)
		if errors.Is(err, backend.ErrUnsupported) {
			continue
		}
		var want []float32
		if err == nil {
			want, _, err = logits(ref, g, "")
		}
		if err != nil {
			r.Errors = append(r.Errors, fmt.Sprintf("%v: %v", t, err))
			continue
		}
		r.Types++
		r.Chosen = stats.Kernels
		d := deviation(got, want)
		r.Worst = max(r.Worst, d)
		if !(d <= deviationLimit) { // NaN, too
			r.Errors = append(r.Errors, fmt.Sprintf("%v: deviation %.3g", t, d))
		}
	}
	if r.Types == 0 && len(r.Errors) == 0 {
		r.Errors = append(r.Errors, "no weight type is supported")
	}
	return r
}

// logits runs a prompt of 40 tokens in two chunks and returns the logits of the last three.
func logits(b backend.Backend, g *graph.Graph, kernel string) (out []float32, stats backend.Stats, err error) {
	m, err := b.Load(g, backend.Limits{Rows: 32, Blocks: 4, Kernel: kernel, KV: backend.DefaultKV(b)})
	if err != nil {
		return nil, stats, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	table := [][]backend.BlockID{{3, 1}}
	for _, chunk := range []struct {
		from, to int
		sample   []int32
	}{{0, 32, []int32{}}, {32, 40, []int32{5, 6, 7}}} {
		batch := &backend.Batch{Tables: table, Sample: chunk.sample}
		for p := chunk.from; p < chunk.to; p++ {
			batch.Tokens = append(batch.Tokens, uint32((p*37+11)%g.Vocab))
			batch.Pos = append(batch.Pos, int32(p))
			batch.Seq = append(batch.Seq, 0)
		}
		l, err := m.Step(batch)
		if err != nil {
			return nil, stats, err
		}
		out = append(out, l.Data...)
	}
	return out, m.Stats(), nil
}

// deviation is the root mean square of the differences over that of what is right.
func deviation(got, want []float32) float64 {
	if len(got) != len(want) || len(want) == 0 {
		return math.Inf(1)
	}
	var diff, size float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff += d * d
		size += float64(w) * float64(w)
	}
	return math.Sqrt(diff / size)
}

// variants lists the kernel variants of a backend, those that this CPU cannot run included.
func variants(name string) []variant {
	if name != "cpu" {
		return []variant{{"", true}}
	}
	var vs []variant
	names, usable := cpu.Variants()
	for i, n := range names {
		vs = append(vs, variant{n, usable[i]})
	}
	return vs
}

// speeds lists what a backend chooses for a matrix of several MB of each common weight type, and how fast that is.
func speeds(name string) (list []string) {
	b, ok := backend.Lookup(name)
	if !ok {
		return nil
	}
	for _, t := range []quant.Type{quant.Q4_0, quant.Q4_1, quant.Q8_0, quant.Q4_K, quant.Q6_K, quant.Affine4, quant.F16} {
		g := backendtest.Matrix(rand.New(rand.NewPCG(7, uint64(t))), t, 6144, 2048)
		m, err := b.Load(g, backend.Limits{Rows: 1, Blocks: 1, KV: backend.DefaultKV(b)})
		if err != nil {
			continue // the self-tests say why
		}
		for _, k := range m.Stats().Kernels {
			if strings.Contains(k, "GB/s") {
				list = append(list, k)
			}
		}
		m.Close()
	}
	return list
}

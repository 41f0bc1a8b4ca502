//go:build cgo && !purego && !windows

package cpu

/*
// -g1 keeps line tables; where variables are after so much inlining takes gcc as long as all else.
#cgo CFLAGS: -O3 -g1 -std=c11 -Wall -Wextra
#cgo LDFLAGS: -lm -lpthread
#include <stdlib.h>
#include "model.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/mem"
	"github.com/krserve/krserve/internal/quant"
)

func init() { backend.Register(cpuBackend{}, 100) }

// New returns the backend. It is also in backend's registry, as "cpu".
func New() (backend.Backend, error) { return cpuBackend{}, nil }

type cpuBackend struct{}

func (cpuBackend) Name() string { return "cpu" }

// Variants lists the kernel variants of this binary, fastest first, and whether this machine can run them.
func Variants() (names []string, usable []bool) {
	for _, k := range variants() {
		names, usable = append(names, nameOf(k)), append(usable, supported(nameOf(k)))
	}
	return names, usable
}

// variants are the tables of this binary, in the order of Variants.
func variants() []*C.kr_kernels {
	p := (*[64]*C.kr_kernels)(unsafe.Pointer(&C.kr_variants))
	return p[:slices.Index(p[:], nil)]
}

func nameOf(k *C.kr_kernels) string { return C.GoString(k.name) }

func kernels(name string) (*C.kr_kernels, error) {
	if name == Accelerate {
		return accelerated()
	}
	names, usable := Variants()
	for i, n := range names {
		if name != "" && n != name || name == "" && !usable[i] {
			continue
		}
		if !usable[i] {
			return nil, fmt.Errorf("cpu: kernel %q: this machine lacks its instructions, or its system withholds them: %w", name, backend.ErrUnsupported)
		}
		return variants()[i], nil
	}
	return nil, fmt.Errorf("cpu: no kernel %q; there are %q: %w", name, names, backend.ErrUnsupported)
}

type model struct {
	c     *C.kr_model
	b     backend.Bounds
	vocab int
	width int
	block int // bytes, as ReadBlocks has them
	pins  runtime.Pinner
	packs *mem.Mapping // or nil
	stats backend.Stats
	took  time.Duration
	graph *graph.Graph
	// steps of one row with logits, their time, and the bytes of weights that one reads
	one, linear int64
	oneTook     time.Duration
	bandwidth   float64
	closed      bool
}

func (cpuBackend) Load(g *graph.Graph, l backend.Limits) (backend.Model, error) {
	if l.Rows <= 0 || l.Rows > 1<<20 || l.Blocks <= 0 || l.Blocks > 1<<28 || l.Threads < 0 {
		return nil, fmt.Errorf("cpu: limits of %d rows, %d blocks, %d threads", l.Rows, l.Blocks, l.Threads)
	}
	if l.KV > backend.KVQ4 {
		return nil, fmt.Errorf("cpu: KV storage type %v: %w", l.KV, backend.ErrUnsupported)
	}
	if a := l.ActivationBits; a != 0 && a != 8 && a != 16 {
		return nil, fmt.Errorf("cpu: activations of %d bits: %w", a, backend.ErrUnsupported)
	}
	k, err := kernels(l.Kernel)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(g, l.Rows, l.Kernel == Accelerate, l.ActivationBits == 8)
	if err != nil {
		return nil, err
	}
	threads := l.Threads
	if threads <= 0 {
		threads = defaultThreads()
	}
	threads = min(threads, maxThreads)
	m := &model{vocab: g.Vocab, width: g.Width, block: l.KV.BlockBytes(g)}
	m.b = backend.Bounds{Rows: l.Rows, Vocab: g.Vocab, Blocks: l.Blocks}
	c, weightBytes := m.convert(g, p)
	name := C.GoString(k.name)
	if l.Packed != "" && name != "generic" && name != Accelerate {
		m.packs = packed(l, g, p, unsafe.Slice(c.mats, len(g.Weights)), threads)
	}
	measured := tune(g, p, &c, k, l.Kernel != "")
	c.rows, c.blocks, c.threads = C.int32_t(l.Rows), C.int32_t(l.Blocks), C.int32_t(threads)
	c.block, c.kv = C.uint64_t(m.block), C.int32_t(l.KV)
	var need C.uint64_t
	var what *C.char
	if m.c = C.kr_load(&c, k, &need, &what); m.c == nil {
		freePlan(&c)
		m.release()
		return nil, fmt.Errorf("cpu: %s: %w: %d bytes needed (%d rows, %d KV blocks of %d bytes, %d threads)", C.GoString(what), backend.ErrMemory, uint64(need), l.Rows, l.Blocks, m.block, threads)
	}
	if l.ActivationBits == 8 {
		name += ", 8-bit activations"
	}
	if m.packs != nil {
		name += ", packed weights"
	}
	m.stats = backend.Stats{Backend: "cpu", Threads: threads, WeightBytes: weightBytes, ScratchBytes: int64(p.work), Identity: identity(l.Kernel == Accelerate, l.ActivationBits == 8)}
	m.stats.Kernels = chosen(g, name, measured)
	m.graph, m.linear = g, p.linear(g)
	return m, nil
}

// chosen lists per weight type the variant that is used where nothing was measured, then what was measured.
func chosen(g *graph.Graph, name string, measured []picked) []string {
	var list []string
	seen := map[quant.Type]bool{}
	for i := range g.Weights {
		if t := g.Weights[i].Type; g.Weights[i].Rows > 1 && !seen[t] {
			seen[t] = true
			list = append(list, t.String()+": "+name)
		}
	}
	for i := range measured {
		list = append(list, measured[i].String())
	}
	return list
}

// array makes a C array of n zeroed elements and a slice over it.
func array[T any](n int) (*T, []T) {
	var z T
	p := (*T)(C.calloc(C.size_t(max(n, 1)), C.size_t(unsafe.Sizeof(z))))
	return p, unsafe.Slice(p, max(n, 1))
}

// convert copies the plan into C memory. Weight data stays where it is, pinned while the model lives.
func (m *model) convert(g *graph.Graph, p *plan) (c C.kr_plan, weightBytes int64) {
	var ops []C.kr_op
	var phases []C.kr_phase
	var bufs []C.kr_buf
	var mats []C.kr_weight
	var vecs []*C.float
	var ropes []C.kr_rope
	c.ops, ops = array[C.kr_op](len(p.nodes))
	c.phases, phases = array[C.kr_phase](len(p.phases))
	c.bufs, bufs = array[C.kr_buf](len(p.regs))
	c.mats, mats = array[C.kr_weight](len(g.Weights))
	c.vecs, vecs = array[*C.float](len(g.Weights))
	c.picks, _ = array[C.kr_pick](len(g.Weights))
	c.ropes, ropes = array[C.kr_rope](len(g.Ropes))
	c.nvecs, c.nphases = C.int32_t(len(g.Weights)), C.int32_t(len(p.phases))
	i := 0
	for f := range p.phases {
		ph := &p.phases[f]
		phases[f] = C.kr_phase{kind: C.int32_t(ph.kind), op0: C.int32_t(i), op1: C.int32_t(i + len(ph.ops)), sel: cbool(ph.sel)}
		for _, id := range ph.ops {
			n := &p.nodes[id]
			ops[i] = C.kr_op{kind: C.int32_t(n.kind), a: C.int32_t(n.a), b: C.int32_t(n.b), o: C.int32_t(n.o), w: C.int32_t(n.w),
				n: C.int32_t(n.n), dim: C.int32_t(n.dim), layer: C.int32_t(n.layer), window: C.int32_t(n.window), act: C.int32_t(n.act), x: C.int32_t(n.x),
				eps: C.float(n.eps), scale: C.float(n.scale), cap: C.float(n.cap)}
			if (n.kind == opNorm || n.kind == opBias) && n.w >= 0 && vecs[n.w] == nil {
				vecs[n.w] = vector(&g.Weights[n.w])
			}
			i++
		}
	}
	for r := range p.regs {
		v := &p.regs[r]
		bufs[r] = C.kr_buf{off: C.uint64_t(v.off), stride: C.uint32_t(v.stride), local: cbool(v.local)}
	}
	for i := range g.Weights {
		w := &g.Weights[i]
		mats[i] = C.kr_weight{data: m.pin(w.Data), _type: C.int32_t(w.Type), rows: C.int32_t(w.Rows), cols: C.int32_t(w.Cols), stride: C.size_t(w.Type.RowBytes(w.Cols))}
		weightBytes += w.Bytes()
		if w.Type.Affine() {
			mats[i].scales, mats[i].biases = m.pin(w.Scales), m.pin(w.Biases)
			mats[i].group, mats[i].aux = C.int32_t(w.Group), C.int32_t(w.AuxType)
			mats[i].astride = C.size_t(w.AuxType.RowBytes(w.Cols / w.Group))
		}
	}
	for i := range g.Ropes {
		r := &g.Ropes[i]
		mscale := r.Mscale
		if mscale == 0 {
			mscale = 1
		}
		ropes[i] = C.kr_rope{freqs: (*C.float)(unsafe.Pointer(m.pin(floatBytes(r.Freqs)))), dims: C.int32_t(r.Dims), interleaved: cbool(r.Interleaved),
			tab: C.int32_t(p.ropeTab[i]), mscale: C.float(mscale)}
	}
	c.hidden_phase, c.logits, c.hidden = C.int32_t(p.hiddenPhase), C.int32_t(p.logits), C.int32_t(p.hidden)
	c.hidden_sel = cbool(p.hidden >= 0 && p.regs[p.hidden].sel)
	c.vocab, c.width, c.layers, c.heads = C.int32_t(g.Vocab), C.int32_t(g.Width), C.int32_t(g.Layers), C.int32_t(g.Heads)
	c.kvheads, c.dim = C.int32_t(g.KVHeads), C.int32_t(g.HeadDim)
	c.work, c.local = C.uint64_t(p.work), C.uint64_t(p.local)
	return c, weightBytes
}

func cbool(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}

func floatBytes(f []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f))), 4*len(f))
}

func (m *model) pin(b []byte) *C.uint8_t {
	p := unsafe.SliceData(b)
	m.pins.Pin(p)
	return (*C.uint8_t)(unsafe.Pointer(p))
}

// vector is a weight of one row as float32, padded to whole vectors.
func vector(w *graph.Weight) *C.float {
	p, s := array[C.float](roundUp(w.Cols, 16))
	var cw C.kr_weight
	var pins runtime.Pinner
	defer pins.Unpin()
	d := unsafe.SliceData(w.Data)
	pins.Pin(d)
	cw.data, cw._type, cw.rows, cw.cols = (*C.uint8_t)(unsafe.Pointer(d)), C.int32_t(w.Type), 1, C.int32_t(w.Cols)
	C.kr_dequant_row(&cw, 0, &s[0])
	return p
}

func freePlan(c *C.kr_plan) {
	for _, v := range unsafe.Slice(c.vecs, c.nvecs) {
		C.free(unsafe.Pointer(v))
	}
	for _, p := range []unsafe.Pointer{unsafe.Pointer(c.ops), unsafe.Pointer(c.phases), unsafe.Pointer(c.bufs), unsafe.Pointer(c.mats), unsafe.Pointer(c.vecs), unsafe.Pointer(c.ropes), unsafe.Pointer(c.picks)} {
		C.free(p)
	}
}

var errClosed = fmt.Errorf("cpu: the model is closed")

func (m *model) Step(b *backend.Batch) (backend.Logits, error) {
	if m.closed {
		return backend.Logits{}, errClosed
	}
	if err := b.Check(m.b); err != nil {
		return backend.Logits{}, err
	}
	start := time.Now()
	total := 0
	for _, t := range b.Tables {
		total += len(t)
	}
	if len(b.Tables) > m.b.Rows {
		return backend.Logits{}, fmt.Errorf("cpu: %d block tables for at most %d rows", len(b.Tables), m.b.Rows)
	}
	cb := C.kr_model_batch(m.c, C.uint64_t(total))
	if cb == nil {
		return backend.Logits{}, fmt.Errorf("cpu: no memory for tables of %d blocks", total)
	}
	n := len(b.Tokens)
	copy(unsafe.Slice((*uint32)(cb.tokens), n), b.Tokens)
	copy(unsafe.Slice((*int32)(cb.pos), n), b.Pos)
	copy(unsafe.Slice((*int32)(cb.seq), n), b.Seq)
	copy(unsafe.Slice((*int32)(cb.sample), len(b.Sample)), b.Sample)
	at := 0
	for s, t := range b.Tables {
		unsafe.Slice((*uint64)(cb.tab), s+1)[s] = uint64(at)
		copy(unsafe.Slice((*uint32)(cb.table), total)[at:], t)
		at += len(t)
	}
	cb.rows, cb.nsample, cb.hidden = C.int32_t(n), C.int32_t(len(b.Sample)), cbool(b.Hidden)
	out := C.kr_step(m.c)
	d := time.Since(start)
	m.took += d
	if n == 1 && len(b.Sample) == 1 && !b.Hidden {
		m.one++
		m.oneTook += d
	}
	m.stats.Steps++
	m.stats.Rows += int64(n)
	width := m.vocab
	if b.Hidden {
		width = m.width
	}
	return backend.Logits{Width: width, Data: unsafe.Slice((*float32)(out), len(b.Sample)*width)}, nil
}

func (m *model) Blocks() int     { return m.b.Blocks }
func (m *model) BlockBytes() int { return m.block }

func (m *model) blocks(ids ...[]backend.BlockID) error {
	if m.closed {
		return errClosed
	}
	for _, s := range ids {
		for i, id := range s {
			if uint64(id) >= uint64(m.b.Blocks) {
				return fmt.Errorf("cpu: block %d is %d of %d", i, id, m.b.Blocks)
			}
		}
	}
	return nil
}

func (m *model) bytes(id backend.BlockID) []byte {
	return unsafe.Slice((*byte)(C.kr_block(m.c, C.uint32_t(id))), m.block)
}

func (m *model) CopyBlocks(dst, src []backend.BlockID) error {
	if len(dst) != len(src) {
		return fmt.Errorf("cpu: copy of %d blocks to %d", len(src), len(dst))
	}
	if err := m.blocks(dst, src); err != nil {
		return err
	}
	for i := range dst {
		C.kr_touch(m.c, C.uint32_t(dst[i]))
		copy(m.bytes(dst[i]), m.bytes(src[i]))
	}
	return nil
}

func (m *model) ReadBlocks(dst []byte, ids []backend.BlockID) error {
	if err := m.blocks(ids); err != nil {
		return err
	}
	if len(dst) != len(ids)*m.block {
		return fmt.Errorf("cpu: %d bytes for %d blocks of %d", len(dst), len(ids), m.block)
	}
	for i, id := range ids {
		copy(dst[i*m.block:], m.bytes(id))
	}
	return nil
}

func (m *model) WriteBlocks(ids []backend.BlockID, src []byte) error {
	if err := m.blocks(ids); err != nil {
		return err
	}
	if len(src) != len(ids)*m.block {
		return fmt.Errorf("cpu: %d bytes for %d blocks of %d", len(src), len(ids), m.block)
	}
	for i, id := range ids {
		C.kr_touch(m.c, C.uint32_t(id))
		copy(m.bytes(id), src[i*m.block:(i+1)*m.block])
	}
	return nil
}

func (m *model) ReleaseBlocks(ids []backend.BlockID) error {
	if err := m.blocks(ids); err != nil {
		return err
	}
	for _, id := range ids {
		C.kr_release(m.c, C.uint32_t(id))
	}
	return nil
}

func (m *model) Stats() backend.Stats {
	s := m.stats
	s.StepSeconds = m.took.Seconds()
	if !m.closed {
		s.KVBytes = int64(C.kr_kv_bytes(m.c))
	}
	if m.oneTook > 0 {
		s.DecodeGBps = float64(m.one) * float64(m.linear) / m.oneTook.Seconds() / 1e9
	}
	return s
}

func (m *model) Bandwidth() float64 {
	if m.bandwidth == 0 && !m.closed {
		m.bandwidth = readSpeed(m.largest(), m.stats.Threads)
	}
	return m.bandwidth
}

// largest is the largest matrix as it is read.
func (m *model) largest() []byte {
	var b []byte
	for i := range m.graph.Weights {
		if d := m.graph.Weights[i].Data; len(d) > len(b) {
			b = d
		}
	}
	if m.packs != nil && len(m.packs.Bytes()) > len(b) {
		b = m.packs.Bytes()
	}
	return b
}

func (m *model) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	C.kr_free(m.c)
	return m.release()
}

// release lets go of the weights.
func (m *model) release() error {
	m.pins.Unpin()
	if m.packs == nil {
		return nil
	}
	return m.packs.Close()
}

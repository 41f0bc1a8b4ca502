//go:build cgo && !purego && !windows

package cpu

/*
#include "model.h"
*/
import "C"

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/graph"
	"github.com/krserve/krserve/internal/mem"
)

// A file of packed weights: the matrices that matmuls read, as pack.c orders them. It is a copy that can be made again:
// it is used only if it was made by this version from these weights, and only if every byte is as it was written.
//
//	magic, version uint32, chunks uint32, size of the file uint64, key [32]byte, a checksum of each chunk, one of all before
//
// and, from the next page on, the matrices, each at a multiple of 64. Numbers are little-endian.
const (
	packedMagic   = "krpacked"
	packedVersion = 1
	packedHead    = 56
	packedChunk   = 1 << 20 // bytes, about: what is packed, written and checked as one
	packedKept    = 30 * 24 * time.Hour
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// packedMat is a matrix's place in the file, packedPart strips [s0, s1) of it.
type packedMat struct {
	w          *C.kr_weight
	id, off, n int
}
type packedPart struct {
	mat    *packedMat
	s0, s1 int
	off, n int
}

type packedLayout struct {
	mats  []packedMat
	parts []packedPart
	body  int // where the matrices begin
	size  int
	key   [sha256.Size]byte
}

// layoutPacked places the matrices that matmuls read. source tells the model's files as they are now from others.
func layoutPacked(g *graph.Graph, p *plan, mats []C.kr_weight, source string) *packedLayout {
	l := &packedLayout{}
	var ids []int
	for i := range p.nodes {
		if n := &p.nodes[i]; n.matrix && quantised8(g.Weights[n.w].Type) && g.Weights[n.w].Rows >= C.KR_STRIP {
			ids = append(ids, n.w)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	h := sha256.New()
	fmt.Fprintf(h, "%d %q %d\n", packedVersion, source, len(ids))
	at := 0
	for _, id := range ids {
		w := &g.Weights[id]
		strips, strip := (w.Rows+C.KR_STRIP-1)/C.KR_STRIP, C.KR_STRIP*int(mats[id].stride)
		l.mats = append(l.mats, packedMat{&mats[id], id, at, strips * strip})
		at = roundUp(at+strips*strip, 64)
		fmt.Fprintf(h, "%q %v %d %d ", w.Name, w.Type, w.Rows, w.Cols)
		for k := range 2 { // what sizes and times do not tell
			from := (k + 1) * max(0, len(w.Data)-64) / 2
			h.Write(w.Data[from:min(from+64, len(w.Data))])
		}
	}
	h.Sum(l.key[:0])
	for i := range l.mats {
		m := &l.mats[i]
		strip := C.KR_STRIP * int(m.w.stride)
		for s, per := 0, max(1, packedChunk/strip); s < m.n/strip; s += per {
			n := min(per, m.n/strip-s)
			l.parts = append(l.parts, packedPart{m, s, s + n, m.off + s*strip, n * strip})
		}
	}
	l.body = roundUp(packedHead+4*len(l.parts)+4, 4096)
	l.size = l.body + at
	return l
}

// each calls f for every part on several goroutines until one fails.
func (l *packedLayout) each(threads int, f func(i int, p *packedPart) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(l.parts) {
					return
				}
				if err := f(i, &l.parts[i]); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

var errPacked = errors.New("packed weights are damaged, or of another model")

// open maps a file that holds good.
func (l *packedLayout) open(path string, threads int) (*mem.Mapping, error) {
	m, err := mem.Map(path)
	if err != nil {
		return nil, err
	}
	b := m.Bytes()
	sums := packedHead + 4*len(l.parts)
	if len(b) != l.size || !bytes.Equal(b[:packedHead], l.head()) || crc32.Checksum(b[:sums], castagnoli) != binary.LittleEndian.Uint32(b[sums:]) {
		return nil, errors.Join(errPacked, m.Close())
	}
	err = l.each(threads, func(i int, p *packedPart) error {
		if crc32.Checksum(b[l.body+p.off:l.body+p.off+p.n], castagnoli) != binary.LittleEndian.Uint32(b[packedHead+4*i:]) {
			return errPacked
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (l *packedLayout) head() []byte {
	b := append([]byte(nil), packedMagic...)
	b = binary.LittleEndian.AppendUint32(b, packedVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l.parts)))
	b = binary.LittleEndian.AppendUint64(b, uint64(l.size))
	return append(b, l.key[:]...)
}

// make writes the file beside its place and then puts it there. It lets go of weights as it goes.
func (l *packedLayout) make(path string, g *graph.Graph, threads int, forget func([]byte)) error {
	dir, base := filepath.Split(path)
	return mem.Replace(path, base+".*.tmp", func(f *os.File) error {
		sweepPacked(dir, time.Now())
		if free := mem.DiskFree(dir); free >= 0 && free < 2*int64(l.size) {
			return fmt.Errorf("%d bytes free in %s: want %d", free, dir, 2*l.size)
		}
		sums := make([]uint32, len(l.parts))
		bufs := sync.Pool{New: func() any { return new([]byte) }}
		err := l.each(threads, func(i int, p *packedPart) error {
			buf := bufs.Get().(*[]byte)
			defer bufs.Put(buf)
			*buf = slices.Grow((*buf)[:0], p.n)[:p.n]
			for s := p.s0; s < p.s1; s++ {
				C.kr_pack(p.mat.w, C.int(s), (*C.uint8_t)(unsafe.Pointer(&(*buf)[(s-p.s0)*p.n/(p.s1-p.s0)])))
			}
			data, strip := g.Weights[p.mat.id].Data, C.KR_STRIP*int(p.mat.w.stride)
			forget(data[p.s0*strip : min(p.s1*strip, len(data))])
			sums[i] = crc32.Checksum(*buf, castagnoli)
			_, err := f.WriteAt(*buf, int64(l.body+p.off))
			return err
		})
		if err != nil {
			return err
		}
		b := l.head()
		for _, s := range sums {
			b = binary.LittleEndian.AppendUint32(b, s)
		}
		if _, err := f.WriteAt(binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), 0); err != nil {
			return err
		}
		return f.Truncate(int64(l.size))
	})
}

// sweepPacked removes what nobody has opened for a month, and what a process left that ended while it wrote.
func sweepPacked(dir string, now time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		age := now.Sub(info.ModTime())
		if strings.HasSuffix(e.Name(), backend.PackedSuffix) && age > packedKept || strings.Contains(e.Name(), backend.PackedSuffix+".") && strings.HasSuffix(e.Name(), ".tmp") && age > time.Hour {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// packed gives the matrices the weights of the limits' file, which is made if need be; it is no error if it cannot.
func packed(limits backend.Limits, g *graph.Graph, p *plan, mats []C.kr_weight, threads int) *mem.Mapping {
	path := limits.Packed
	l := layoutPacked(g, p, mats, limits.Source)
	if len(l.mats) == 0 {
		return nil
	}
	forget := limits.Forget
	if forget == nil {
		forget = func([]byte) {}
	}
	m, err := l.open(path, threads)
	if err != nil {
		if l.make(path, g, threads, forget) != nil {
			return nil
		}
		if m, err = l.open(path, threads); err != nil {
			return nil
		}
	}
	for i := range l.mats { // what the key was made from
		forget(g.Weights[l.mats[i].id].Data)
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // when it was last wanted
	b := m.Bytes()
	for i := range l.mats {
		l.mats[i].w.packed = (*C.uint8_t)(unsafe.Pointer(&b[l.body+l.mats[i].off]))
	}
	return m
}

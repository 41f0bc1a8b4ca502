package tokenizer

import (
	"bytes"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// longEntry caches a piece of 33 to maxLong bytes.
type longEntry struct {
	hash     uint64
	off, len uint32 // key in keys
	ids, n   uint32 // ids in arena
}

const (
	maxLong = 1024
	idSlack = 8 // ids that are stored at a time
)

// keyMasks holds, by length, the masks of a key's two words and the length tag.
var keyMasks = func() (m [16][4]uint64) {
	for n := range m {
		m[n] = [4]uint64{1<<(8*min(n, 8)) - 1, 1<<(8*max(n-8, 0)) - 1, uint64(n) << 56}
		if n >= 8 {
			m[n][0] = ^uint64(0)
		}
	}
	return
}()

type probe struct {
	k0, k1 uint64
	slot   uintptr // byte offset of the home entry in its table
}

// worker is the mutable state of one goroutine at a time: scratch, and a cache of long pieces.
type worker struct {
	f      *fast
	long   []longEntry
	lused  int
	keys   []byte
	arena  []uint32
	tmp    []uint32
	sink   uint64
	span   [4096]uint32
	batch  [128]probe
	tail   [blockRead + blockBytes]byte
	out    []uint32
	pre    []byte
	rooms  [][]uint32 // ids of the parts of a text that this worker took on
	hits   uint64
	misses uint64
}

func newWorker(f *fast) *worker {
	return &worker{f: f, long: make([]longEntry, 1<<min(10, f.bounds.log))}
}

// missed writes the ids of a piece of at most 15 bytes that is not at home to dst[o:], and gives where they end.
func (w *worker) missed(c *pieceCache, dst []uint32, o uintptr, k0, k1 uint64) uintptr {
	hash := foldHash(k0, k1)
	if e := c.find(k0, k1, hash); e != nil {
		return o + uintptr(copy(dst[o:cap(dst)], c.idsOf(e)))
	}
	w.tmp = w.tmp[:0]
	if old := c.old.Load(); old != nil {
		if e := old.find(k0, k1, hash); e != nil {
			w.tmp = append(w.tmp, old.idsOf(e)...)
		}
	}
	if len(w.tmp) == 0 {
		w.misses++
		key := [2]uint64{k0, k1}
		w.tmp = w.f.encodePiece(w.tmp, keyBytes(&key))
	}
	c.put(k0, k1, hash, w.tmp)
	return o + uintptr(copy(dst[o:cap(dst)], w.tmp))
}

// missedMid is missed for the piece of n bytes at p, 16 to 32.
func (w *worker) missedMid(c *pieceCache, dst []uint32, o uintptr, k *[4]uint64, p unsafe.Pointer, n uintptr) uintptr {
	hash := midHash(k, uint64(n))
	if e := c.findMid(k, uint32(n), hash); e != nil {
		return o + uintptr(copy(dst[o:cap(dst)], c.idsOfMid(e)))
	}
	w.tmp = w.tmp[:0]
	if old := c.old.Load(); old != nil {
		if e := old.findMid(k, uint32(n), hash); e != nil {
			w.tmp = append(w.tmp, old.idsOfMid(e)...)
		}
	}
	if len(w.tmp) == 0 {
		w.misses++
		w.tmp = w.f.encodePiece(w.tmp, unsafe.Slice((*byte)(p), n))
	}
	c.putMid(k, uint32(n), hash, w.tmp)
	return o + uintptr(copy(dst[o:cap(dst)], w.tmp))
}

func hashKey(b []byte) uint64 {
	h := uint64(len(b)) * hashK1
	for ; len(b) >= 8; b = b[8:] {
		hi, lo := bits.Mul64(h^load64(unsafe.Pointer(unsafe.SliceData(b))), hashK0)
		h = hi ^ lo
	}
	var last [8]byte
	copy(last[:], b)
	hi, lo := bits.Mul64(h^load64(unsafe.Pointer(&last)), hashK1)
	return hi ^ lo
}

// piece appends the ids of a piece of more than midBytes bytes.
func (w *worker) piece(dst []uint32, b []byte) []uint32 {
	if len(b) > maxLong {
		w.misses++
		return w.f.encodePiece(dst, b)
	}
	h := hashKey(b)
	mask := uint64(len(w.long) - 1)
	i := h & mask
	for range maxProbe {
		e := &w.long[i]
		if e.hash == h && int(e.len) == len(b) && bytes.Equal(w.keys[e.off:][:e.len], b) {
			return append(dst, w.arena[e.ids:][:e.n]...)
		}
		if e.len == 0 {
			break
		}
		i = (i + 1) & mask
	}
	w.misses++
	from := len(dst)
	dst = w.f.encodePiece(dst, b)
	switch {
	case len(w.arena) > w.f.bounds.arena || len(w.keys) > w.f.bounds.arena*4:
		w.arena, w.keys, w.lused = w.arena[:0], w.keys[:0], 0
		clear(w.long)
	case w.lused > len(w.long)/2:
		w.growLong()
	}
	i = h & uint64(len(w.long)-1)
	for range maxProbe {
		if w.long[i].len == 0 {
			w.lused++
			break
		}
		i = (i + 1) & uint64(len(w.long)-1)
	}
	w.long[i] = longEntry{h, uint32(len(w.keys)), uint32(len(b)), uint32(len(w.arena)), uint32(len(dst) - from)}
	w.keys = append(w.keys, b...)
	w.arena = append(w.arena, dst[from:]...)
	return dst
}

func (w *worker) growLong() {
	if len(w.long)*4*int(unsafe.Sizeof(longEntry{})) > w.f.bounds.arena*4 {
		clear(w.long)
		w.lused = 0
		return
	}
	old := w.long
	w.long = make([]longEntry, 4*len(old))
	w.lused = 0
	mask := uint64(len(w.long) - 1)
	for _, e := range old {
		if e.len == 0 {
			continue
		}
		i := e.hash & mask
		for range maxProbe {
			if w.long[i].len == 0 {
				w.long[i] = e
				w.lused++
				break
			}
			i = (i + 1) & mask
		}
	}
}

// emit appends the ids of the pieces between neighbouring starts, which are relative to base; 16 bytes from each start
// must be readable.
func (w *worker) emit(dst []uint32, base unsafe.Pointer, starts []uint32) []uint32 {
	c := w.f.pieces()
	// A piece has at most one id per byte.
	if room := int(starts[len(starts)-1]-starts[0]) + idSlack; cap(dst)-len(dst) < room {
		dst = append(make([]uint32, 0, max(2*cap(dst), len(dst)+room)), dst...)
	}
	w.hits += uint64(len(starts) - 1)
	out, o := unsafe.Pointer(unsafe.SliceData(dst)), uintptr(len(dst))
	batch := &w.batch
	t := tables{unsafe.Pointer(unsafe.SliceData(c.tab)), uint64(c.shift), unsafe.Pointer(unsafe.SliceData(c.mid)), uint64(c.mshift)}
	for len(starts) > 1 {
		// First pass: keys and home entries, and a read of each, so that the cache misses overlap.
		n := min(len(starts)-1, len(batch))
		w.sink |= keys(base, starts[:n+1], &t, batch)
		// Second pass: compare and copy.
		for i := range n {
			q := &batch[i&127]
			if q.k1 == isMid {
				p, n := unsafe.Add(base, starts[i]), uintptr(starts[i+1]-starts[i])
				k := midKey(p, n)
				e := (*midEntry)(unsafe.Add(t.mid, q.slot))
				if tag := atomic.LoadUint32(&e.tag); tag&0xff == uint32(n) && tag>>8 != spilled && e.k == k {
					*(*[7]uint32)(unsafe.Add(out, o*4)) = e.ids
					o += uintptr(tag >> 8)
				} else {
					o = w.missedMid(c, dst, o, &k, p, n)
				}
				continue
			}
			e := (*entry)(unsafe.Add(t.tab, q.slot))
			k1 := atomic.LoadUint64(&e.k1)
			if k1&countMask != q.k1 || e.k0 != q.k0 {
				e = (*entry)(unsafe.Add(t.tab, q.slot^32))
				k1 = atomic.LoadUint64(&e.k1)
				if k1&countMask != q.k1 || e.k0 != q.k0 {
					if q.k1 == isLong {
						p := unsafe.Add(base, starts[i])
						dst = w.piece(dst[:o], unsafe.Slice((*byte)(p), int(starts[i+1]-starts[i])))
						out, o = unsafe.Pointer(unsafe.SliceData(dst)), uintptr(len(dst))
					} else {
						o = w.missed(c, dst, o, q.k0, q.k1)
					}
					continue
				}
			}
			*(*[4]uint32)(unsafe.Add(out, o*4)) = e.ids
			n := uintptr(k1 >> 60)
			if n == spilled {
				n = uintptr(copy(dst[o:cap(dst)], c.idsOf(e)))
			}
			o += n
		}
		starts = starts[n:]
	}
	return dst[:o]
}

// tables are where pieces are looked up: the tables of entries and middle entries, and 64 less their logarithms.
type tables struct {
	tab    unsafe.Pointer
	shift  uint64
	mid    unsafe.Pointer
	mshift uint64
}

// keysGo fills batch with the keys and home entries of the pieces between starts.
func keysGo(base unsafe.Pointer, starts []uint32, t *tables, batch *[128]probe) (sink uint64) {
	a := uintptr(starts[0])
	for i, s := range starts[1:] {
		b := uintptr(s)
		p, n, q := unsafe.Add(base, a), b-a, &batch[i&127]
		a = b
		if n > midBytes {
			q.k0, q.k1, q.slot = 0, isLong, 0
			continue
		}
		if n > 15 {
			k := midKey(p, n)
			q.k0, q.k1, q.slot = 0, isMid, uintptr(midHash(&k, uint64(n))>>(t.mshift&63))<<6
			sink |= uint64(atomic.LoadUint32(&(*midEntry)(unsafe.Add(t.mid, q.slot)).tag))
			continue
		}
		m := &keyMasks[n]
		q.k0 = load64(p) & m[0]
		q.k1 = load64(unsafe.Add(p, 8))&m[1] | m[2]
		q.slot = uintptr(foldHash(q.k0, q.k1)>>(t.shift&63)) << 5
		sink |= atomic.LoadUint64(&(*entry)(unsafe.Add(t.tab, q.slot)).k1)
	}
	return sink
}

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

// probes are the keys of some pieces, and where their home entries stand, in bytes from the begin of their table. k1 of a piece that has
// no key is isMid or isLong.
type probes struct {
	key  [probesMost][2]uint64
	slot [probesMost]uint64
}

const probesMost = 128

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
	batch  probes
	tail   [blockRead + blockBytes]byte
	out    []uint32
	pre    []byte
	norm   []byte
	rooms  [][]uint32 // ids of the parts of a text that this worker took on
	hits   uint64
	misses uint64
}

func newWorker(f *fast) *worker {
	return &worker{f: f, long: make([]longEntry, 1<<min(10, f.bounds.log))}
}

// missed appends the ids of a piece of at most 15 bytes that is not at home.
func (w *worker) missed(c *pieceCache, dst []uint32, k *[2]uint64) []uint32 {
	hash := pieceHash(k[0], k[1])
	if e := c.find(k[0], k[1], hash); e != nil {
		return append(dst, c.idsOf(e)...)
	}
	w.tmp = w.tmp[:0]
	if old := c.old.Load(); old != nil {
		if e := old.find(k[0], k[1], hash); e != nil {
			w.tmp = append(w.tmp, old.idsOf(e)...)
		}
	}
	if len(w.tmp) == 0 {
		w.misses++
		w.tmp = w.f.encodePiece(w.tmp, keyBytes(k))
	}
	c.put(k[0], k[1], hash, w.tmp)
	return append(dst, w.tmp...)
}

// mid appends the ids of the piece b, 16 to 32 bytes, whose home entry is e.
func (w *worker) mid(c *pieceCache, dst []uint32, b []byte, e *midEntry) []uint32 {
	p, n := unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))
	k := midKey(p, uintptr(n))
	if tag := atomic.LoadUint32(&e.tag); tag&0xff == n && tag>>8 != spilled && e.k == k {
		*(*[7]uint32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(dst)), 4*len(dst))) = e.ids
		return dst[:len(dst)+int(tag>>8)]
	}
	hash := midHash(&k, uint64(n))
	if e := c.findMid(&k, n, hash); e != nil {
		return append(dst, c.idsOfMid(e)...)
	}
	w.tmp = w.tmp[:0]
	if old := c.old.Load(); old != nil {
		if e := old.findMid(&k, n, hash); e != nil {
			w.tmp = append(w.tmp, old.idsOfMid(e)...)
		}
	}
	if len(w.tmp) == 0 {
		w.misses++
		w.tmp = w.f.encodePiece(w.tmp, b)
	}
	c.putMid(&k, n, hash, w.tmp)
	return append(dst, w.tmp...)
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
	batch := &w.batch
	t := tables{unsafe.Pointer(unsafe.SliceData(c.tab)), uint64(c.shift), unsafe.Pointer(unsafe.SliceData(c.mid)), uint64(c.mshift)}
	for len(starts) > 1 {
		// First pass: keys and home entries, and a read of each, so that the cache misses overlap.
		n := min(len(starts)-1, probesMost)
		w.sink |= keys(base, starts[:n+1], &t, batch)
		// Second pass: compare and copy.
		for i := 0; ; i++ {
			from := unsafe.Pointer(unsafe.SliceData(dst))
			var to unsafe.Pointer
			i, to = emitHits(batch, i, n, t.tab, unsafe.Add(from, 4*len(dst)))
			dst = dst[:(uintptr(to)-uintptr(from))/4]
			if i == n {
				break
			}
			k, b := &batch.key[i&(probesMost-1)], unsafe.Slice((*byte)(unsafe.Add(base, starts[i])), int(starts[i+1]-starts[i]))
			switch k[1] {
			case isMid:
				dst = w.mid(c, dst, b, (*midEntry)(unsafe.Add(t.mid, batch.slot[i])))
			case isLong:
				dst = w.piece(dst, b)
			default:
				dst = w.missed(c, dst, k)
			}
		}
		starts = starts[n:]
	}
	return dst
}

// emitHitsGo writes to out the ids of the pieces i up to n, until one is in neither of the two entries of its home, and gives that piece and
// the end of what is written. At most idSlack ids are written behind that end.
func emitHitsGo(q *probes, i, n int, tab, out unsafe.Pointer) (int, unsafe.Pointer) {
	for ; i < n; i++ {
		k := &q.key[i&(probesMost-1)]
		if k[1] >= isLong {
			break
		}
		e := (*entry)(unsafe.Add(tab, q.slot[i&(probesMost-1)]))
		k1 := atomic.LoadUint64(&e.k1)
		if k1&countMask != k[1] || e.k0 != k[0] {
			e = (*entry)(unsafe.Add(tab, q.slot[i&(probesMost-1)]^32))
			if k1 = atomic.LoadUint64(&e.k1); k1&countMask != k[1] || e.k0 != k[0] {
				break
			}
		}
		if k1>>60 == spilled {
			break
		}
		*(*[4]uint32)(out) = e.ids
		out = unsafe.Add(out, k1>>60*4)
	}
	return i, out
}

// tables are where pieces are looked up: the tables of entries and middle entries, and 64 less their logarithms.
type tables struct {
	tab    unsafe.Pointer
	shift  uint64
	mid    unsafe.Pointer
	mshift uint64
}

// keysGo fills batch with the keys and home entries of the pieces between starts.
func keysGo(base unsafe.Pointer, starts []uint32, t *tables, batch *probes) (sink uint64) {
	a := uintptr(starts[0])
	for i, s := range starts[1:] {
		b := uintptr(s)
		p, n, k, slot := unsafe.Add(base, a), b-a, &batch.key[i&(probesMost-1)], &batch.slot[i&(probesMost-1)]
		a = b
		switch {
		case n > midBytes:
			*k, *slot = [2]uint64{0, isLong}, 0
		case n > 15:
			m := midKey(p, n)
			*k, *slot = [2]uint64{0, isMid}, midHash(&m, uint64(n))>>(t.mshift&63)<<6
			sink |= uint64(atomic.LoadUint32(&(*midEntry)(unsafe.Add(t.mid, *slot)).tag))
		default:
			m := &keyMasks[n]
			k[0] = load64(p) & m[0]
			k[1] = load64(unsafe.Add(p, 8))&m[1] | m[2]
			*slot = pieceHash(k[0], k[1]) >> (t.shift & 63) << 5
			sink |= atomic.LoadUint64(&(*entry)(unsafe.Add(t.tab, *slot)).k1)
		}
	}
	return sink
}

package tokenizer

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"unsafe"
)

// entry caches one piece of at most 15 bytes, zero padded. k1's top byte holds the piece's length (low nibble) and the
// number of ids (high nibble; spilled: in the arena).
type entry struct {
	k0, k1 uint64
	ids    [4]uint32
}

// midEntry caches a piece of 16 to 32 bytes: a cache line with its first 16 bytes and its last 16.
type midEntry struct {
	k   [4]uint64
	tag uint32 // the piece's length, and the number of ids << 8 (spilled: in the arena); 0 = empty
	ids [7]uint32
}

// longEntry caches a piece of 33 to maxLong bytes.
type longEntry struct {
	hash     uint64
	off, len uint32 // key in keys
	ids, n   uint32 // ids in arena
}

const (
	midBytes  = 32
	isLong    = 1 << 60 // k1 of pieces too long for an entry, which no entry has
	isMid     = 2 << 60 // k1 of pieces of 16 to 32 bytes
	maxLong   = 1024
	countMask = 1<<60 - 1
	spilled   = 15
	maxProbe  = 12
	minLog    = 12 // entries of a new table
	hashK0    = 0xa0761d6478bd642f
	hashK1    = 0xe7037ed1a0b428db
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

// worker is the mutable state of one goroutine at a time: the cache of pieces and scratch. When the table is full, a
// newcomer takes its home entry, so that old entries go and those in use come back.
type worker struct {
	f      *fast
	tab    []entry
	shift  uint
	maxLog int
	used   int
	mid    []midEntry
	mshift uint
	mused  int
	mlog   int // bound of mid
	long   []longEntry
	lused  int
	keys   []byte
	arena  []uint32
	arenas int // bound of keys and arena, in entries
	tmp    []uint32
	sink   uint64
	span   [4096]uint32
	batch  [128]probe
	tail   [blockRead + blockBytes]byte
	out    []uint32
	pre    []byte
	parts  []uint32 // ids of the parts of a text that this worker took on
	hits   uint64
	misses uint64
}

func newWorker(f *fast, cacheBytes int64) *worker {
	// One half is the table of short pieces, a quarter that of middle ones, the rest keys and ids.
	w := &worker{f: f}
	w.maxLog = max(6, bits.Len64(uint64(max(cacheBytes, 0)/2)/32)-1)
	w.mlog = max(6, w.maxLog-2)
	w.arenas = int(max(cacheBytes, 1<<16) / 64)
	lg := min(minLog, w.maxLog)
	w.tab, w.shift = make([]entry, 1<<lg), uint(64-lg)
	lg = min(minLog-2, w.mlog)
	w.mid, w.mshift = make([]midEntry, 1<<lg), uint(64-lg)
	w.long = make([]longEntry, 1<<min(10, w.maxLog))
	return w
}

func foldHash(k0, k1 uint64) uint64 {
	hi, lo := bits.Mul64(k0^hashK0, k1^hashK1)
	return hi ^ lo
}

// grow makes the tables larger, by two or four, while they fill and may be.
func (w *worker) grow() {
	if w.used > len(w.tab)*3/8 {
		lg := 64 - int(w.shift)
		if lg += 2; lg > 17 {
			lg--
		}
		w.resize(lg)
	}
	if w.mused > len(w.mid)*3/8 {
		w.resizeMid(64 - int(w.mshift) + 2)
	}
}

// reserve makes the tables as large as a text of n bytes will have them. The number of different words grows with a
// power of the number of words (Heaps' law).
func (w *worker) reserve(n int) {
	if n < 1<<12 {
		return
	}
	lg := bits.Len(uint(18 * math.Pow(float64(n)/5, 0.62)))
	w.resize(lg)
	w.resizeMid(lg - 3)
}

func (w *worker) resize(lg int) {
	if lg = min(lg, w.maxLog); lg <= 64-int(w.shift) {
		return
	}
	old := w.tab
	w.tab, w.shift, w.used = make([]entry, 1<<lg), uint(64-lg), 0
	hugePages(w.tab)
next:
	for i := range old {
		e := &old[i]
		if e.k1 == 0 {
			continue
		}
		h := foldHash(e.k0, e.k1&countMask) >> w.shift
		for j := range uint64(maxProbe) {
			if at := probeAt(h, j, len(w.tab)); w.tab[at].k1 == 0 {
				w.tab[at] = *e
				w.used++
				continue next
			}
		}
	}
}

// probeAt gives the j-th of n entries to look at: the home entry, the one beside it, then pair by pair.
func probeAt(home, j uint64, n int) uint64 {
	return ((home + j&^1) ^ j&1) & uint64(n-1)
}

// slow looks beyond the home entry, and encodes the piece when it is in none.
func (w *worker) slow(k0, k1, home uint64) *entry {
	i := home
	for j := range uint64(maxProbe) {
		i = probeAt(home, j, len(w.tab))
		e := &w.tab[i]
		if e.k0 == k0 && e.k1&countMask == k1 {
			return e
		}
		if e.k1 == 0 {
			break
		}
	}
	w.misses++
	var key [16]byte
	binary.LittleEndian.PutUint64(key[:8], k0)
	binary.LittleEndian.PutUint64(key[8:], k1)
	w.tmp = w.f.encodePiece(w.tmp[:0], key[:k1>>56&15])
	if w.tab[i].k1 != 0 {
		i = home
	} else {
		w.used++
	}
	e := &w.tab[i]
	*e = entry{k0: k0, k1: k1 | uint64(len(w.tmp))<<60}
	if copy(e.ids[:], w.tmp) < len(w.tmp) {
		*e = entry{k0: k0, k1: k1 | spilled<<60}
		e.ids[0], e.ids[1] = w.spill()
	}
	return e
}

// spill puts tmp in the arena. The entry that is to refer to it must not be in a table when the arena is full.
func (w *worker) spill() (at, n uint32) {
	at, n = uint32(len(w.arena)), uint32(len(w.tmp))
	w.arena = append(w.arena, w.tmp...)
	return at, n
}

func midHash(k *[4]uint64, n uint64) uint64 {
	return foldHash(k[0]^n, k[1]) ^ foldHash(k[2]^(hashK0^hashK1), k[3]^(hashK0^hashK1))
}

// midKey gives the words of a piece of 16 to 32 bytes.
func midKey(p unsafe.Pointer, n uintptr) [4]uint64 {
	return [4]uint64{load64(p), load64(unsafe.Add(p, 8)), load64(unsafe.Add(p, n-16)), load64(unsafe.Add(p, n-8))}
}

// slowMid is slow for the piece of n bytes at p.
func (w *worker) slowMid(k *[4]uint64, p unsafe.Pointer, n uintptr, home uint64) *midEntry {
	i := home
	for j := range uint64(maxProbe) {
		i = probeAt(home, j, len(w.mid))
		e := &w.mid[i]
		if e.tag&0xff == uint32(n) && e.k == *k {
			return e
		}
		if e.tag == 0 {
			break
		}
	}
	w.misses++
	w.tmp = w.f.encodePiece(w.tmp[:0], unsafe.Slice((*byte)(p), n))
	if w.mid[i].tag != 0 {
		i = home
	} else {
		w.mused++
	}
	e := &w.mid[i]
	e.k = *k
	e.tag = uint32(n) | uint32(len(w.tmp))<<8
	if copy(e.ids[:], w.tmp) < len(w.tmp) {
		e.tag = uint32(n) | spilled<<8
		e.ids[0], e.ids[1] = w.spill()
	}
	return e
}

func (w *worker) resizeMid(lg int) {
	if lg = min(lg, w.mlog); lg <= 64-int(w.mshift) {
		return
	}
	old := w.mid
	w.mid, w.mshift, w.mused = make([]midEntry, 1<<lg), uint(64-lg), 0
	hugePages(w.mid)
next:
	for i := range old {
		e := &old[i]
		if e.tag == 0 {
			continue
		}
		h := midHash(&e.k, uint64(e.tag&0xff)) >> w.mshift
		for j := range uint64(maxProbe) {
			if at := probeAt(h, j, len(w.mid)); w.mid[at].tag == 0 {
				w.mid[at] = *e
				w.mused++
				continue next
			}
		}
	}
}

// forget empties the cache, when the arena of ids is full.
func (w *worker) forget() {
	w.arena, w.keys = w.arena[:0], w.keys[:0]
	clear(w.tab)
	clear(w.mid)
	clear(w.long)
	w.used, w.mused, w.lused = 0, 0, 0
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
	case len(w.arena) > w.arenas || len(w.keys) > w.arenas*4:
		w.forget()
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
	if len(w.long)*4*int(unsafe.Sizeof(longEntry{})) > w.arenas*4 {
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
	w.grow()
	// A piece has at most one id per byte; up to eight are stored at a time.
	if room := int(starts[len(starts)-1]-starts[0]) + 8; cap(dst)-len(dst) < room {
		dst = append(make([]uint32, 0, max(cap(dst)*2, len(dst)+room)), dst...)
	}
	w.hits += uint64(len(starts) - 1)
	out, o := unsafe.Pointer(unsafe.SliceData(dst)), uintptr(len(dst))
	batch := &w.batch
	for len(starts) > 1 {
		if len(w.arena) > w.arenas {
			w.forget()
		}
		t := tables{unsafe.Pointer(unsafe.SliceData(w.tab)), uint64(w.shift), unsafe.Pointer(unsafe.SliceData(w.mid)), uint64(w.mshift)}
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
				if e.tag&0xff != uint32(n) || e.k != k {
					e = w.slowMid(&k, p, n, uint64(q.slot>>6))
				}
				*(*[7]uint32)(unsafe.Add(out, o*4)) = e.ids
				c := uintptr(e.tag >> 8)
				if c == spilled {
					c = uintptr(copy(dst[o:cap(dst)], w.arena[e.ids[0]:][:e.ids[1]]))
				}
				o += c
				continue
			}
			e := (*entry)(unsafe.Add(t.tab, q.slot))
			if e.k0 != q.k0 || e.k1&countMask != q.k1 {
				e = (*entry)(unsafe.Add(t.tab, q.slot^32))
			}
			if e.k0 != q.k0 || e.k1&countMask != q.k1 {
				if q.k1 == isLong {
					p := unsafe.Add(base, starts[i])
					dst = w.piece(dst[:o], unsafe.Slice((*byte)(p), int(starts[i+1]-starts[i])))
					out, o = unsafe.Pointer(unsafe.SliceData(dst)), uintptr(len(dst))
					continue
				}
				e = w.slow(q.k0, q.k1, uint64(q.slot>>5))
			}
			*(*[4]uint32)(unsafe.Add(out, o*4)) = e.ids
			c := uintptr(e.k1 >> 60)
			if c == spilled {
				c = uintptr(copy(dst[o:cap(dst)], w.arena[e.ids[0]:][:e.ids[1]]))
			}
			o += c
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
			sink |= *(*uint64)(unsafe.Add(t.mid, q.slot))
			continue
		}
		m := &keyMasks[n]
		q.k0 = load64(p) & m[0]
		q.k1 = load64(unsafe.Add(p, 8))&m[1] | m[2]
		q.slot = uintptr(foldHash(q.k0, q.k1)>>(t.shift&63)) << 5
		sink |= *(*uint64)(unsafe.Add(t.tab, q.slot))
	}
	return sink
}

package tokenizer

import (
	"math"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// entry caches one piece of at most 15 bytes, zero padded. k1's top byte holds the piece's length (low nibble) and the
// number of ids (high nibble; spilled: in the arena). k1 is zero while the entry is free, claimed while it is written.
type entry struct {
	k0, k1 uint64
	ids    [4]uint32
}

// midEntry caches a piece of 16 to 32 bytes: a cache line with its first 16 bytes and its last 16.
type midEntry struct {
	k   [4]uint64
	tag uint32 // the piece's length, and the number of ids << 8 (spilled: in the arena); 0 is free, claimedMid being written
	ids [7]uint32
}

const (
	midBytes   = 32
	isLong     = 1 << 60 // k1 of pieces too long for an entry, which no entry has
	isMid      = 2 << 60 // k1 of pieces of 16 to 32 bytes
	countMask  = 1<<60 - 1
	claimed    = countMask // bytes that are in no UTF-8
	claimedMid = 0xff
	spilled    = 15
	maxProbe   = 12
	minLog     = 12 // entries of a new table
	hashK0     = 0xa0761d6478bd642f
	hashK1     = 0xe7037ed1a0b428db
)

// pieceCache maps pieces of up to midBytes bytes to their ids. All threads of a tokenizer share one: an entry is claimed,
// written and published once, and never changes, so readers need no lock, and no thread merges what another has merged.
type pieceCache struct {
	tab    []entry
	mid    []midEntry
	shift  uint // 64 - log2(len(tab))
	mshift uint
	used   atomic.Int64
	mused  atomic.Int64
	arena  *idArena
	old    atomic.Pointer[pieceCache] // the generation before: what is found there comes over
}

// idArena holds the ids of pieces that have more than fit their entries.
type idArena struct {
	ids  []uint32
	used atomic.Int64
}

// add gives where ids stand; not ok when the arena is full.
func (a *idArena) add(ids []uint32) (at uint32, ok bool) {
	end := a.used.Add(int64(len(ids)))
	if end > int64(len(a.ids)) {
		return 0, false
	}
	at = uint32(end) - uint32(len(ids))
	copy(a.ids[at:], ids)
	return at, true
}

// cacheBounds are the largest tables of one generation. There are two at most: when one is full, an empty one begins,
// and the one before it goes.
type cacheBounds struct{ log, mlog, arena int }

func boundsOf(cacheBytes int64) cacheBounds {
	// Of each half, one half is the table of short pieces, a quarter that of middle ones, the rest ids and what each
	// thread keeps of long ones.
	n := uint64(max(cacheBytes, 0))
	log := max(6, bits.Len64(n/4/32)-1)
	return cacheBounds{log, max(6, log-2), int(max(cacheBytes, 1<<16) / 64)}
}

func newPieceCache(log, mlog int, arena *idArena) *pieceCache {
	c := &pieceCache{shift: uint(64 - log), mshift: uint(64 - mlog), arena: arena}
	c.tab, c.mid = touched[entry](1<<log), touched[midEntry](1<<mlog)
	return c
}

func firstPieceCache(b cacheBounds) *pieceCache {
	return newPieceCache(min(minLog, b.log), min(minLog-2, b.mlog), &idArena{ids: make([]uint32, b.arena)})
}

// pieceHash is for keys of pieces; its upper bits are used.
func pieceHash(k0, k1 uint64) uint64 { return k0*hashK0 + k1*hashK1 }

func foldHash(k0, k1 uint64) uint64 {
	hi, lo := bits.Mul64(k0^hashK0, k1^hashK1)
	return hi ^ lo
}

func midHash(k *[4]uint64, n uint64) uint64 {
	return foldHash(k[0]^n, k[1]) ^ foldHash(k[2]^(hashK0^hashK1), k[3]^(hashK0^hashK1))
}

// midKey gives the words of a piece of 16 to 32 bytes.
func midKey(p unsafe.Pointer, n uintptr) [4]uint64 {
	return [4]uint64{load64(p), load64(unsafe.Add(p, 8)), load64(unsafe.Add(p, n-16)), load64(unsafe.Add(p, n-8))}
}

// probeAt gives the j-th of n entries to look at: the home entry, the one beside it, then pair by pair.
func probeAt(home, j uint64, n int) uint64 {
	return ((home + j&^1) ^ j&1) & uint64(n-1)
}

// find gives the entry of a key, or nil.
func (c *pieceCache) find(k0, k1, hash uint64) *entry {
	for j := range uint64(maxProbe) {
		e := &c.tab[probeAt(hash>>c.shift, j, len(c.tab))]
		switch k := atomic.LoadUint64(&e.k1); {
		case k == 0:
			return nil
		case k&countMask == k1 && e.k0 == k0:
			return e
		}
	}
	return nil
}

// idsOf gives the ids of an entry that was found.
func (c *pieceCache) idsOf(e *entry) []uint32 {
	if n := atomic.LoadUint64(&e.k1) >> 60; n != spilled {
		return e.ids[:n]
	}
	return c.arena.ids[e.ids[0]:][:e.ids[1]]
}

// put enters a piece that was not found. Where its neighbourhood is full it is left out.
func (c *pieceCache) put(k0, k1, hash uint64, ids []uint32) {
	v := entry{k0: k0, k1: k1 | uint64(len(ids))<<60}
	if copy(v.ids[:], ids) < len(ids) {
		at, ok := c.arena.add(ids)
		if !ok {
			return
		}
		v = entry{k0: k0, k1: k1 | spilled<<60, ids: [4]uint32{at, uint32(len(ids))}}
	}
	c.place(&v, hash)
}

func (c *pieceCache) place(v *entry, hash uint64) {
	c.used.Add(1)
	for j := range uint64(maxProbe) {
		e := &c.tab[probeAt(hash>>c.shift, j, len(c.tab))]
		if atomic.LoadUint64(&e.k1) == 0 && atomic.CompareAndSwapUint64(&e.k1, 0, claimed) {
			atomic.StoreUint64(&e.k0, v.k0)
			e.ids = v.ids
			atomic.StoreUint64(&e.k1, v.k1)
			return
		}
	}
}

// findMid is find for a piece of n bytes, 16 to 32.
func (c *pieceCache) findMid(k *[4]uint64, n uint32, hash uint64) *midEntry {
	for j := range uint64(maxProbe) {
		e := &c.mid[probeAt(hash>>c.mshift, j, len(c.mid))]
		switch tag := atomic.LoadUint32(&e.tag); {
		case tag == 0:
			return nil
		case tag&0xff == n && e.k == *k:
			return e
		}
	}
	return nil
}

func (c *pieceCache) idsOfMid(e *midEntry) []uint32 {
	if n := atomic.LoadUint32(&e.tag) >> 8; n != spilled {
		return e.ids[:n]
	}
	return c.arena.ids[e.ids[0]:][:e.ids[1]]
}

func (c *pieceCache) putMid(k *[4]uint64, n uint32, hash uint64, ids []uint32) {
	v := midEntry{k: *k, tag: n | uint32(len(ids))<<8}
	if copy(v.ids[:], ids) < len(ids) {
		at, ok := c.arena.add(ids)
		if !ok {
			return
		}
		v.tag, v.ids = n|spilled<<8, [7]uint32{at, uint32(len(ids))}
	}
	c.placeMid(&v, hash)
}

func (c *pieceCache) placeMid(v *midEntry, hash uint64) {
	c.mused.Add(1)
	for j := range uint64(maxProbe) {
		e := &c.mid[probeAt(hash>>c.mshift, j, len(c.mid))]
		if atomic.LoadUint32(&e.tag) == 0 && atomic.CompareAndSwapUint32(&e.tag, 0, claimedMid) {
			e.k, e.ids = v.k, v.ids
			atomic.StoreUint32(&e.tag, v.tag)
			return
		}
	}
}

// most is how many entries a table of n takes. A small one gives way early; to copy a large one, and to touch the memory of
// the next, takes longer than to look a little further.
func most(n int) int64 {
	if n >= 1<<15 {
		return int64(n) * 3 / 4
	}
	return int64(n) * 3 / 8
}

// full reports which tables have too many entries.
func (c *pieceCache) full() (tab, mid, arena bool) {
	return c.used.Load() > most(len(c.tab)), c.mused.Load() > most(len(c.mid)), c.arena.used.Load() > int64(len(c.arena.ids))
}

// next gives the cache that follows a full one: a larger one with its entries, or the next generation.
func (c *pieceCache) next(b cacheBounds) *pieceCache {
	tab, mid, arena := c.full()
	log, mlog := 64-int(c.shift), 64-int(c.mshift)
	if !arena && !(tab && log == b.log) && !(mid && mlog == b.mlog) {
		if tab {
			if log += 2; log > 17 {
				log--
			}
		}
		if mid {
			mlog += 2
		}
		return c.resized(min(log, b.log), min(mlog, b.mlog))
	}
	n := newPieceCache(log, mlog, &idArena{ids: make([]uint32, b.arena)})
	c.old.Store(nil)
	n.old.Store(c)
	return n
}

// resized copies what is published to larger tables. What others publish meanwhile is merged once more.
func (c *pieceCache) resized(log, mlog int) *pieceCache {
	n := newPieceCache(log, mlog, c.arena)
	n.old.Store(c.old.Load())
	for i := range c.tab {
		e := &c.tab[i]
		if k := atomic.LoadUint64(&e.k1); k != 0 && k != claimed {
			n.place(&entry{e.k0, k, e.ids}, pieceHash(e.k0, k&countMask))
		}
	}
	for i := range c.mid {
		e := &c.mid[i]
		if tag := atomic.LoadUint32(&e.tag); tag != 0 && tag != claimedMid {
			n.placeMid(&midEntry{e.k, tag, e.ids}, midHash(&e.k, uint64(tag&0xff)))
		}
	}
	return n
}

// pieces gives the cache, or what follows it when it is full.
func (f *fast) pieces() *pieceCache {
	c := f.cache.Load()
	if tab, mid, arena := c.full(); (tab || mid || arena) && f.growing.TryLock() {
		if c == f.cache.Load() {
			c = c.next(f.bounds)
			f.cache.Store(c)
		}
		f.growing.Unlock()
	}
	return c
}

// reserve makes the tables as large as a text of n bytes will have them. The number of different words grows with a
// power of the number of words (Heaps' law).
func (f *fast) reserve(n int) {
	if n < 1<<12 {
		return
	}
	log := bits.Len(uint(18 * math.Pow(float64(n)/5, 0.62)))
	log, mlog := min(log, f.bounds.log), min(log-3, f.bounds.mlog)
	small := func(c *pieceCache) bool { return len(c.tab) < 1<<log || len(c.mid) < 1<<mlog }
	if !small(f.cache.Load()) {
		return
	}
	f.growing.Lock()
	if c := f.cache.Load(); small(c) {
		f.cache.Store(c.resized(max(log, 64-int(c.shift)), max(mlog, 64-int(c.mshift))))
	}
	f.growing.Unlock()
}

// forget empties the cache.
func (f *fast) forget() { f.cache.Store(firstPieceCache(f.bounds)) }

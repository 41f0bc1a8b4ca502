package kvcache

import (
	"os"
	"sync"

	"github.com/krserve/krserve/internal/mem"
)

// host is the tier in main memory, outside the Go heap, and the place through which records pass to and from the tiers
// below. Records are evicted least recently used first; those that somebody reads or writes stay.
type host struct {
	mu      sync.Mutex
	limit   int64 // bytes of memory
	keep    bool  // records stay when nobody uses them
	used    int64
	classes map[int]*class // by record size
	entries map[Key]*entry
	lru     entry // ring of entries that nobody uses; lru.next is the oldest
	held    int   // entries that somebody uses
	waiting []func()
	closed  bool
	hits    uint64
	evicted uint64
}

// class has the memory of records of one size.
type class struct {
	size  int // of a record
	slot  int // of its place, in whole pages
	slabs []*mem.Region
	warm  []place // with memory
	cold  []place // without
}

type place struct {
	slab *mem.Region
	off  int
}

// entry is a record in memory.
type entry struct {
	key        Key
	rec        []byte
	at         place
	class      *class
	refs       int
	listed     bool  // entries has it
	written    int64 // seconds since 1970
	prev, next *entry
}

// slabSlots is how many records one reservation of address space holds.
const slabSlots = 32

func newHost(limit int64, keep bool) *host {
	h := &host{limit: limit, keep: keep, classes: map[int]*class{}, entries: map[Key]*entry{}}
	h.lru.prev, h.lru.next = &h.lru, &h.lru
	return h
}

func (e *entry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}

// alloc returns an entry for a record of size bytes with one reference, or nil when all memory is in use; free, if not
// nil, is then called, once and with locks held, when that changes.
func (h *host) alloc(size int, free func()) *entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	c := h.classes[size]
	if c == nil {
		page := os.Getpagesize()
		c = &class{size: size, slot: (size + page - 1) / page * page}
		h.classes[size] = c
	}
	for len(c.warm) == 0 {
		if h.used+int64(c.slot) <= h.limit {
			if len(c.cold) == 0 && !c.reserve() {
				return nil
			}
			c.warm = append(c.warm, c.cold[len(c.cold)-1])
			c.cold = c.cold[:len(c.cold)-1]
			h.used += int64(c.slot)
			break
		}
		if h.steal(c) {
			continue
		}
		if free != nil {
			h.waiting = append(h.waiting, free)
		}
		return nil
	}
	at := c.warm[len(c.warm)-1]
	c.warm = c.warm[:len(c.warm)-1]
	h.held++
	return &entry{rec: at.slab.Bytes()[at.off : at.off+size : at.off+size], at: at, class: c, refs: 1}
}

func (c *class) reserve() bool {
	r, err := mem.Reserve(slabSlots * c.slot)
	if err != nil {
		return false
	}
	c.slabs = append(c.slabs, r)
	for i := range slabSlots {
		c.cold = append(c.cold, place{r, (slabSlots - 1 - i) * c.slot})
	}
	return true
}

// steal makes memory available for class c: from another class's free records, else from the oldest record.
func (h *host) steal(c *class) bool {
	for _, o := range h.classes {
		if o != c && len(o.warm) > 0 {
			h.chill(o, o.warm[len(o.warm)-1])
			o.warm = o.warm[:len(o.warm)-1]
			return true
		}
	}
	e := h.lru.next
	if e == &h.lru {
		return false
	}
	e.unlink()
	delete(h.entries, e.key)
	h.evicted++
	if e.class == c {
		c.warm = append(c.warm, e.at)
	} else {
		h.chill(e.class, e.at)
	}
	return true
}

// chill gives a place's memory back to the system.
func (h *host) chill(c *class, at place) {
	if at.slab.Discard(at.off, c.slot) != nil {
		return // its memory stays counted and unused
	}
	c.cold = append(c.cold, at)
	h.used -= int64(c.slot)
}

// publish makes an entry known under its key, unless another that is as recent is. An older one may be past its TTL.
func (h *host) publish(e *entry, key Key, written int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.key, e.written = key, written
	old := h.entries[key]
	if !h.keep || old != nil && old.written >= written {
		return
	}
	if old != nil {
		old.listed = false
		if old.refs == 0 {
			old.unlink()
			old.class.warm = append(old.class.warm, old.at)
		}
	}
	h.entries[key] = e
	e.listed = true
}

// get returns the record of key with a reference, nil if there is none written at since or later.
func (h *host) get(key Key, since int64) *entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entries[key]
	if e == nil || e.written < since || h.closed {
		return nil
	}
	h.hits++
	h.hold(e)
	return e
}

func (h *host) has(key Key, since int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entries[key]
	return e != nil && e.written >= since && !h.closed
}

func (h *host) hold(e *entry) {
	if e.refs++; e.refs == 1 {
		e.unlink()
		h.held++
	}
}

func (h *host) ref(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold(e)
}

// unref gives a reference up.
func (h *host) unref(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.refs--; e.refs > 0 {
		return
	}
	h.held--
	if e.listed && !h.closed {
		e.prev, e.next = h.lru.prev, &h.lru
		e.prev.next, e.next.prev = e, e
	} else {
		e.class.warm = append(e.class.warm, e.at)
	}
	for _, f := range h.waiting {
		f()
	}
	h.waiting = h.waiting[:0]
	if h.closed && h.held == 0 {
		h.release()
	}
}

// close forgets all records. Memory that somebody still uses is given back when the last of them has finished.
func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	clear(h.entries)
	for _, f := range h.waiting {
		f()
	}
	h.waiting = nil
	if h.held == 0 {
		h.release()
	}
}

func (h *host) release() {
	for _, c := range h.classes {
		for _, r := range c.slabs {
			_ = r.Close() // only a wrong address makes munmap fail
		}
	}
	clear(h.classes)
}

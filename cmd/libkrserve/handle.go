package main

import (
	"sync"
)

// kind says what a handle stands for.
type kind uint8

const (
	kindTokenizer kind = iota + 1
	kindEngine
	kindStream
	kindDecoder
	kindAppender
	kindPool
	numKinds
)

// A handle is an id shown to C as a pointer:
//
//	bits  0–3   tag: never that of an aligned pointer
//	bits  4–7   kind
//	bits  8–27  slot
//	bits 28–55  generation, counted per slot from 1
//
// The top byte stays zero, so that a handle is a plausible user-space address to every language's pointer type.
type handle uint64

const (
	handleTag = 0x5
	slotBits  = 20
	genBits   = 28
	maxSlots  = 1 << slotBits
	maxGen    = 1<<genBits - 1
)

func makeHandle(k kind, slot, gen uint32) handle {
	return handleTag | handle(k)<<4 | handle(slot)<<8 | handle(gen)<<(8+slotBits)
}

func (h handle) kind() kind   { return kind(h >> 4 & 0xf) }
func (h handle) slot() uint32 { return uint32(h >> 8 & (maxSlots - 1)) }
func (h handle) gen() uint32  { return uint32(h >> (8 + slotBits) & maxGen) }

// table maps handles to what they stand for. A slot is reused under a new generation, and given up once its
// generations are spent: an id never comes back.
type table struct {
	mu    sync.RWMutex
	slots []slot
	free  []uint32
}

type slot struct {
	gen   uint32
	kind  kind
	value any // nil when closed
}

var handles table

// put returns a new handle of v, or errInvalid when there are too many.
func (t *table) put(k kind, v any) (handle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		if len(t.slots) == maxSlots {
			return 0, invalid("more than %d handles; close some", maxSlots)
		}
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
	}
	s := &t.slots[i]
	s.gen++
	s.kind, s.value = k, v
	return makeHandle(k, i, s.gen), nil
}

// check finds the live slot of h. The caller holds the lock.
func (t *table) check(h handle, k kind) (*slot, error) {
	if h == 0 {
		return nil, invalid("%s handle is NULL", k)
	}
	if h&0xf != handleTag || h>>56 != 0 || int(h.slot()) >= len(t.slots) {
		return nil, invalid("not a krserve handle: %#x", uint64(h))
	}
	s := &t.slots[h.slot()]
	if h.gen() == 0 || h.gen() > s.gen || h.kind() == 0 || h.kind() >= numKinds {
		return nil, invalid("not a krserve handle: %#x", uint64(h))
	}
	if h.kind() != k {
		return nil, invalid("a %s handle where a %s is wanted", h.kind(), k)
	}
	if h.gen() != s.gen || s.value == nil {
		return nil, closed("%s handle is closed", k)
	}
	if s.kind != k { // a made-up id: right slot and generation, wrong kind
		return nil, invalid("not a krserve handle: %#x", uint64(h))
	}
	return s, nil
}

// take removes h and returns what it stood for.
func (t *table) take(h handle, k kind) (any, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.check(h, k)
	if err != nil {
		return nil, err
	}
	v := s.value
	s.value = nil
	if s.gen < maxGen {
		t.free = append(t.free, h.slot())
	}
	return v, nil
}

// get returns what h stands for.
func get[T any](t *table, h handle, k kind) (v T, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s, err := t.check(h, k)
	if err != nil {
		return v, err
	}
	return s.value.(T), nil
}

func (k kind) String() string {
	switch k {
	case kindTokenizer:
		return "kr_tokenizer"
	case kindEngine:
		return "kr_engine"
	case kindStream:
		return "kr_stream"
	case kindDecoder:
		return "kr_decoder"
	case kindAppender:
		return "kr_appender"
	case kindPool:
		return "kr_pool"
	}
	return "unknown"
}

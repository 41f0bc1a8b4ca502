package sched

import (
	"errors"
	"slices"
	"sync"

	"github.com/krserve/krserve/kvcache"
)

// Kept is what a chat holds between its turns: the blocks of its last one. They outlast any number of other prefixes in
// the cache, and give way, the oldest first, before a task is kept waiting, preempted or failed for want of blocks. It
// is safe for concurrent use.
type Kept struct {
	s      *Scheduler
	h      *hold
	closed bool
}

// hold is shared by a chat and its forks.
type hold struct {
	snap   kvcache.Snapshot
	tenant string
	refs   int
}

// keeper holds all that is kept, the oldest first. Its mutex guards every Kept and hold.
type keeper struct {
	mu     sync.Mutex
	holds  []*hold
	closed bool
}

// Keep returns an empty Kept, for Task.Keep.
func (s *Scheduler) Keep() *Kept { return &Kept{s: s} }

// set replaces what is kept by the lease's positions.
func (k *Kept) set(l *kvcache.Lease, tenant string) {
	q := &k.s.keeper
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(k.h)
	k.h = nil
	if k.closed || q.closed || l.Len() == 0 {
		return
	}
	h := &hold{refs: 1, tenant: tenant}
	if l.Snapshot(&h.snap) != nil {
		return
	}
	k.h = h
	q.holds = append(q.holds, h)
}

// Fork returns another Kept of the same blocks.
func (k *Kept) Fork() *Kept {
	q := &k.s.keeper
	q.mu.Lock()
	defer q.mu.Unlock()
	if k.h != nil {
		k.h.refs++
	}
	return &Kept{s: k.s, h: k.h, closed: k.closed}
}

// Close lets the blocks go; tasks that end later leave none. It is idempotent.
func (k *Kept) Close() {
	q := &k.s.keeper
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(k.h)
	k.h, k.closed = nil, true
}

// drop gives one reference up.
func (q *keeper) drop(h *hold) {
	if h == nil {
		return
	}
	if h.refs--; h.refs == 0 {
		h.snap.Release()
		q.holds = slices.DeleteFunc(q.holds, func(o *hold) bool { return o == h })
	}
}

// giveWay frees the oldest of what is kept, of one tenant only when its quota is at fault, and reports whether there was
// any.
func (s *Scheduler) giveWay(tenant string, err error) bool {
	if !errors.Is(err, kvcache.ErrFull) && !errors.Is(err, kvcache.ErrQuota) || errors.Is(err, kvcache.ErrSequences) {
		return false
	}
	q := &s.keeper
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, h := range q.holds {
		if h.tenant == tenant || errors.Is(err, kvcache.ErrFull) {
			h.snap.Release()
			q.holds = slices.Delete(q.holds, i, i+1)
			return true
		}
	}
	return false
}

// close frees everything and keeps nothing any more.
func (q *keeper) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, h := range q.holds {
		h.snap.Release()
	}
	q.holds, q.closed = nil, true
}

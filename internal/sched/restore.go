package sched

import (
	"errors"
	"time"

	"github.com/krserve/krserve/kvcache"
)

// Bounds of what the owner moves between the arena and the pool's lower tiers in one turn, in bytes. A turn in which
// others wait for their next step moves less.
const (
	moveBusy = 8 << 20
	moveIdle = 64 << 20
)

// looked reports whether the lower tiers have been searched for a waiting task's prompt, and sees to it that they are.
func (s *Scheduler) looked(t *Task) bool {
	if t.Each != nil {
		return true
	}
	if !t.asked {
		s.ask(t)
	}
	return t.fetch.Found()
}

// errLost says that the arena holds less of a task than when the lower tiers were searched for the rest.
var errLost = errors.New("sched: evicted while waiting")

// lost reports whether that is so of a lease that was just acquired, and has the tiers searched again then. That happens
// once for every block at most.
func (s *Scheduler) lost(t *Task) bool {
	if !t.asked || !s.o.Pool.Tiered() || s.o.Identity == "" {
		return false
	}
	if t.held < 0 {
		t.held = (len(t.tokens) - 1) / kvcache.BlockTokens // no search was needed
		if t.fetch != nil {
			from, _ := t.fetch.Span()
			t.held = from / kvcache.BlockTokens
		}
	}
	have := t.lease.Len() / kvcache.BlockTokens
	if have >= t.held {
		return false
	}
	s.drop(t)
	s.ask(t)
	t.held = have
	return true
}

// ask starts the search of the lower tiers for a waiting task's prompt.
func (s *Scheduler) ask(t *Task) {
	tokens := t.all()
	t.asked, t.held = true, -1
	t.fetch = s.space.Fetch(t.Tenant, tokens[:len(tokens)-1], s.perRow)
}

// aim prepares a lease that was just acquired for what the lower tiers hold beyond it.
func (s *Scheduler) aim(t *Task) error {
	from, to := t.fetch.Span()
	whole := t.lease.Len() / kvcache.BlockTokens * kvcache.BlockTokens
	if from > whole || to <= t.lease.Len() {
		s.drop(t)
		return nil
	}
	t.loading = true
	return t.lease.Rollback(whole)
}

// drop ends a task's search and restoration.
func (s *Scheduler) drop(t *Task) {
	t.fetch.Close()
	t.fetch, t.loading = nil, false
}

// restore moves blocks that have arrived from lower tiers into the arena, and reports whether any did.
func (s *Scheduler) restore() bool {
	budget := moveBusy
	if s.loading() == len(s.running) {
		budget = moveIdle
	}
	moved := false
	for _, t := range s.running {
		if !t.loading {
			continue
		}
		for budget > 0 {
			data, more := t.fetch.Next()
			if data == nil {
				if !more {
					s.drop(t)
					s.started(t)
				}
				break
			}
			budget -= len(data)
			moved = true
			from, began := t.lease.Len(), time.Now()
			to := from + kvcache.BlockTokens
			err := s.o.Model.WriteBlocks(t.lease.Table()[from/kvcache.BlockTokens:to/kvcache.BlockTokens], data)
			took := time.Since(began)
			if err == nil {
				err = t.lease.Commit(t.tokens[from:to])
			}
			if err != nil {
				s.end(t, Outcome{Failed, err})
				break
			}
			t.fetch.Moved(took)
			s.restored += kvcache.BlockTokens
		}
	}
	s.sweep()
	return moved
}

// loading counts the running tasks that wait for lower tiers.
func (s *Scheduler) loading() int {
	n := 0
	for _, t := range s.running {
		if t.loading {
			n++
		}
	}
	return n
}

// started tells a task's sink how much of the prompt need not be computed.
func (s *Scheduler) started(t *Task) {
	if t.started || t.loading {
		return
	}
	t.started = true
	cached := t.lease.Len()
	s.mu.Lock()
	s.stats.PromptTokens += uint64(len(t.Prompt))
	s.stats.CachedTokens += uint64(cached)
	s.mu.Unlock()
	t.Sink.Start(cached)
}

// spill copies filled blocks to the lower tiers, and reports whether some are left that it could copy now.
func (s *Scheduler) spill(budget int) bool {
	n := max(1, budget/s.o.Model.BlockBytes())
	more, err := s.space.Spill(s.o.Model.ReadBlocks, n)
	return more && err == nil
}

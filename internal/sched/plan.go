package sched

import (
	"cmp"
	"errors"
	"slices"

	"github.com/krserve/krserve/kvcache"
)

// minChunk is the smallest prompt chunk that a slow backend gets.
const minChunk = 16

// calm is how many times longer a step may last in which no sequence decodes.
const calm = 4

// plan builds the batch: one row of every task that decodes and has room, with drafts where they pay, then prompt
// chunks. Chunks go to tasks of higher priority, then to the tenant that has been served least, then by the earliest
// deadline.
func (s *Scheduler) plan() {
	b := &s.batch
	b.Tokens, b.Pos, b.Seq, b.Tables, b.Sample = b.Tokens[:0], b.Pos[:0], b.Seq[:0], b.Tables[:0], b.Sample[:0]
	s.planned = s.planned[:0]
	s.turn++
	s.order = append(s.order[:0], s.running...)
	b.Hidden = s.statesTurn()
	order, n := s.order, uint64(len(s.running))
	decoding := 0
	for _, t := range order {
		if s.ready(t) && t.pending() == 1 {
			decoding++
		}
	}
	spec := s.drafting(decoding)
	for i := range n { // whoever comes first changes from step to step, in case not all fit
		if t := order[(i+s.turn)%n]; s.ready(t) && t.pending() == 1 && len(b.Tokens) < s.o.Rows {
			decoding--
			t.draft = t.draft[:0]
			if t.Max > 0 {
				s.propose(t, spec, s.o.Rows-len(b.Tokens)-1-decoding)
			}
			s.add(t, 1+len(t.draft))
		}
	}
	s.chunked = false
	budget := s.o.Rows - len(b.Tokens)
	if s.perRow > 0 {
		limit := s.o.StepTime.Seconds()
		if len(b.Tokens) == 0 {
			limit *= calm // nobody waits for the next token of an answer, and larger chunks are cheaper
		}
		budget = min(budget, max(minChunk, int(limit/s.perRow)))
	} else {
		budget = min(budget, 2*minChunk) // speed is not known yet
	}
	slices.SortStableFunc(order, func(x, y *Task) int {
		if x.Priority != y.Priority {
			return cmp.Compare(y.Priority, x.Priority)
		}
		if c := cmp.Compare(s.served[x.Tenant], s.served[y.Tenant]); c != 0 {
			return c
		}
		return x.due.Compare(y.due)
	})
	for _, t := range order {
		if k := t.pending(); k > 1 && budget > 0 && s.ready(t) {
			k = min(k, budget)
			if t.Each != nil && !t.States && t.EachFrom < t.lease.Len()+k {
				k = min(k, minChunk) // each row's logits are wanted
			}
			t.draft = t.draft[:0]
			if k = s.add(t, k); k > 0 {
				s.chunked = true
				budget -= k
			}
		}
	}
	s.sweep()
}

// ready reports whether a running task can have rows in this step.
func (s *Scheduler) ready(t *Task) bool {
	return !t.finished && !t.loading && t.States == s.batch.Hidden && t.Sink.Room() > 0
}

// statesTurn decides what the step's rows give: hidden states or logits, in turn while both are wanted.
func (s *Scheduler) statesTurn() bool {
	var wanted [2]bool
	for _, t := range s.running {
		if !t.finished && !t.loading && t.Sink.Room() > 0 {
			if t.States {
				wanted[1] = true
			} else {
				wanted[0] = true
			}
		}
	}
	return wanted[1] && (!wanted[0] || s.turn%2 == 0)
}

// add puts k rows of a task into the batch, its drafts last, and returns how many it did. Tasks that came later give way
// when there is no block.
func (s *Scheduler) add(t *Task, k int) int {
	if !slices.Contains(s.running, t) {
		return 0 // it gave way
	}
	from := t.lease.Len()
	for {
		err := t.lease.Grow(from + k)
		if err == nil {
			if err = s.copies(t); err != nil {
				s.end(t, Outcome{Failed, err})
				return 0
			}
			break
		}
		if !errors.Is(err, kvcache.ErrFull) && !errors.Is(err, kvcache.ErrQuota) {
			s.end(t, Outcome{Failed, err})
			return 0
		}
		if len(t.draft) > 0 { // a guess pushes nobody out
			k -= len(t.draft)
			t.draft = t.draft[:0]
			continue
		}
		if s.giveWay(t.Tenant, err) {
			continue
		}
		if v := s.victim(t); v != nil {
			s.preempt(v)
			continue
		}
		if len(s.running) == 1 && len(s.planned) == 0 && !s.shared() {
			s.end(t, Outcome{Failed, noBlocks(from+k, err)})
		}
		return 0
	}
	b := &s.batch
	seq := int32(len(b.Tables))
	b.Tables = append(b.Tables, t.lease.Table())
	t.from, t.rows, t.sampled = from, k, -1
	for i := range k {
		row, id := int32(len(b.Tokens)), uint32(0)
		if p := from + i; p < len(t.tokens) {
			id = t.tokens[p]
		} else {
			id = t.draft[p-len(t.tokens)]
		}
		b.Tokens = append(b.Tokens, id)
		b.Pos = append(b.Pos, int32(from+i))
		b.Seq = append(b.Seq, seq)
		if t.Each != nil && from+i >= t.EachFrom || from+i >= len(t.tokens)-1 && t.Max > 0 {
			if t.sampled < 0 {
				t.sampled = len(b.Sample)
			}
			b.Sample = append(b.Sample, row)
		}
	}
	s.planned = append(s.planned, t)
	s.served[t.Tenant] += float64(k - len(t.draft))
	return k
}

package sched

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/krserve/krserve/kvcache"
)

// run is the owner.
func (s *Scheduler) run() {
	defer close(s.done)
	defer func() {
		if r := recover(); r != nil {
			s.shut(fmt.Errorf("sched: internal failure: %v\n%s", r, debug.Stack()))
		}
	}()
	for {
		if !s.collect() {
			s.shut(ErrClosed)
			return
		}
		s.handBack()
		s.admit()
		moved := s.restore()
		s.plan()
		if len(s.planned) == 0 {
			s.publish()
			if !moved && !s.spill(moveIdle) {
				s.sleep()
			}
			continue
		}
		s.step()
		s.spill(moveBusy)
		s.publish()
	}
}

// sleep waits for news. While tasks wait for blocks that another engine holds, or for a store that may never answer, it
// also looks by itself.
func (s *Scheduler) sleep() {
	if len(s.waiting) == 0 && s.loading() == 0 {
		<-s.wake
		return
	}
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-s.wake:
	case <-t.C:
	}
}

// collect takes new tasks in and ends cancelled ones. It reports whether the scheduler goes on.
func (s *Scheduler) collect() bool {
	s.mu.Lock()
	for _, t := range s.inbox {
		s.arrive(t)
	}
	clear(s.inbox)
	s.inbox = s.inbox[:0]
	closed, calls := s.closed, s.calls
	s.calls = nil
	s.mu.Unlock()
	if closed {
		return false
	}
	for _, f := range calls {
		f()
	}
	for _, list := range []*[]*Task{&s.waiting, &s.running} {
		for _, t := range *list {
			if cause := t.cancelled(); cause != nil {
				s.end(t, Outcome{Cancelled, cause})
			}
		}
	}
	s.sweep()
	return true
}

// end releases what a task holds and tells its sink. sweep takes it off the lists.
func (s *Scheduler) end(t *Task, o Outcome) {
	if t.finished {
		return
	}
	t.finished = true
	s.drop(t)
	if t.Keep != nil && o.Reason != Failed {
		t.Keep.set(&t.lease, t.Tenant)
	}
	t.lease.Release()
	t.Sink.Done(o)
}

func (s *Scheduler) sweep() {
	over := func(t *Task) bool { return t.finished }
	n := len(s.waiting)
	s.waiting = slices.DeleteFunc(s.waiting, over)
	s.running = slices.DeleteFunc(s.running, over)
	if n != len(s.waiting) {
		s.mu.Lock()
		s.queued -= n - len(s.waiting)
		s.mu.Unlock()
	}
}

// shut ends everything.
func (s *Scheduler) shut(cause error) {
	s.mu.Lock()
	s.closed = true
	s.waiting = append(s.waiting, s.inbox...)
	s.inbox = nil
	s.mu.Unlock()
	o := Outcome{Failed, cause}
	if errors.Is(cause, ErrClosed) {
		o.Reason = Cancelled
	}
	for _, t := range slices.Concat(s.waiting, s.running) {
		s.end(t, o)
	}
	s.sweep()
	s.space.Drain(s.o.Model.ReadBlocks, 5*time.Second)
	s.publish()
}

// handBack returns blocks that another space's need has taken from this one, and drops what the TTL has passed.
func (s *Scheduler) handBack() {
	s.release = s.space.TakeReleased(s.release[:0])
	if len(s.release) > 0 {
		if err := s.o.Model.ReleaseBlocks(s.release); err == nil {
			s.space.Released(s.release)
		}
	}
	if s.space.Pressed() {
		s.giveWay("", kvcache.ErrFull) // one each time: whoever lacks blocks asks again
	}
	if now := time.Now(); now.Sub(s.expired) > time.Second {
		s.expired = now
		s.space.Expire()
	}
}

// admit moves tasks from waiting to running: by priority, then to the tenant that has been served least, then by the
// earliest deadline, then in order of arrival. Where there is no place or no block, tasks of lower priority give way. A
// task whose prompt shares a prefix with one that is being computed right now waits for that prefix.
func (s *Scheduler) admit() {
	for len(s.waiting) > 0 && (len(s.running) < s.o.MaxRunning || s.outranked()) {
		at := -1
		for i, t := range s.waiting {
			if t.skip != s.turn && t.Sink.Room() > 0 && (at < 0 || s.before(t, s.waiting[at])) && !s.comes(t) && s.looked(t) {
				at = i
			}
		}
		if at < 0 {
			return
		}
		t := s.waiting[at]
		if len(s.running) >= s.o.MaxRunning {
			if s.outrank(t) {
				continue
			}
			return
		}
		if err := s.begin(t); err != nil {
			switch {
			case errors.Is(err, errLost): // it is looked for anew
			case s.giveWay(t.Tenant, err):
			case errors.Is(err, kvcache.ErrQuota) && s.runningOf(t.Tenant) > 0:
				t.skip = s.turn // its tenant's other tasks will end; other tenants go on
			case s.o.Pool.NoWait() && !t.started:
				s.end(t, Outcome{Failed, noBlocks(len(t.tokens), err)})
				s.sweep()
			case errors.Is(err, kvcache.ErrFull) && (s.yield() || s.outrank(t)):
			case errors.Is(err, kvcache.ErrFull) && (len(s.running) > 0 || s.shared()):
				return // blocks will come free; nobody overtakes
			default:
				s.end(t, Outcome{Failed, noBlocks(len(t.tokens), err)})
				s.sweep()
			}
			continue
		}
		s.waiting = slices.Delete(s.waiting, at, at+1)
		s.running = append(s.running, t)
		s.mu.Lock()
		s.queued--
		s.mu.Unlock()
	}
}

func (s *Scheduler) before(a, b *Task) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	if a.Tenant != b.Tenant {
		if x, y := s.claim(a.Tenant), s.claim(b.Tenant); x != y {
			return x < y
		}
	}
	return b.after(a)
}

// after is the order in which tasks of one rank come: by deadline, then by arrival. It never changes, so that of those
// that push each other out the first always gets on.
func (t *Task) after(u *Task) bool {
	if c := t.due.Compare(u.due); c != 0 {
		return c > 0
	}
	return t.place > u.place
}

func (s *Scheduler) runningOf(tenant string) int {
	n := 0
	for _, t := range s.running {
		if t.Tenant == tenant {
			n++
		}
	}
	return n
}

// comes reports whether a running task is about to compute at least a block of t's prompt that is not there yet.
func (s *Scheduler) comes(t *Task) bool {
	if t.Each != nil {
		return false
	}
	for _, r := range s.running {
		if r.Tenant != t.Tenant || r.pending() <= 1 {
			continue
		}
		n := 0
		a, b := t.all(), r.tokens
		for n < len(a) && n < len(b) && a[n] == b[n] {
			n++
		}
		if n >= r.lease.Len()+kvcache.BlockTokens {
			return true
		}
	}
	return false
}

// shared reports whether other spaces compete for the budget.
func (s *Scheduler) shared() bool {
	st := s.space.Stats()
	return st.Committed < st.Blocks
}

func (t *Task) all() []uint32 {
	if t.tokens != nil {
		return t.tokens
	}
	return t.Prompt
}

// pending is the number of tokens whose keys and values are still to be computed.
func (t *Task) pending() int { return len(t.tokens) - t.lease.Len() }

// begin takes a lease with room for all tokens that are known.
func (s *Scheduler) begin(t *Task) error {
	if t.tokens == nil {
		t.tokens = make([]uint32, len(t.Prompt), len(t.Prompt)+min(t.Max, 4096))
		copy(t.tokens, t.Prompt)
		t.odds = odds{rate: s.odds.rate}
	}
	limit := len(t.tokens) - 1 // the last row gives the logits
	if t.Each != nil {
		limit = min(limit, t.EachFrom)
	}
	_, err := s.space.Acquire(&t.lease, t.Tenant, t.tokens, limit)
	if err == nil && s.lost(t) {
		err = errLost
	}
	if err == nil {
		err = s.copies(t)
	}
	if err == nil {
		err = s.aim(t)
	}
	if err == nil {
		err = t.lease.Grow(len(t.tokens))
	}
	if err == nil {
		err = s.copies(t)
	}
	if err == nil && len(s.running) > 0 && s.space.Available() < len(s.running) {
		err = kvcache.ErrFull // a block to grow for each that runs, or they would push each other out
	}
	if err != nil {
		t.loading = false
		t.lease.Release()
		return err
	}
	if t.loading {
		t.fetch.Load(t.lease.Len())
	}
	s.started(t)
	return nil
}

// noBlocks says how long a sequence could not grow; other errors pass.
func noBlocks(tokens int, err error) error {
	if errors.Is(err, kvcache.ErrFull) || errors.Is(err, kvcache.ErrQuota) {
		return fmt.Errorf("%w: %d tokens: %w", ErrNoBlocks, tokens, err)
	}
	return err
}

// copies performs a lease's copies on the model.
func (s *Scheduler) copies(t *Task) error {
	for _, c := range t.lease.Copies() {
		if err := s.o.Model.CopyBlocks([]uint32{c.Dst}, []uint32{c.Src}); err != nil {
			return err
		}
	}
	t.lease.Copied()
	return nil
}

// victim chooses who gives its blocks to t: a task that cannot go on because nobody reads it, else the last in order, if
// after t. Tasks of this step are left alone.
func (s *Scheduler) victim(t *Task) *Task {
	var v *Task
	for _, r := range s.running {
		if r == t || r.finished || slices.Contains(s.planned, r) {
			continue
		}
		if paused := r.Sink.Room() == 0; paused && (v == nil || v.Sink.Room() > 0 || r.after(v)) {
			v = r
		} else if !paused && r.after(t) && r.Priority <= t.Priority && (v == nil || v.Sink.Room() > 0 && r.after(v)) {
			v = r
		}
	}
	return v
}

// yield preempts the last in order among the tasks whose sink has no room.
func (s *Scheduler) yield() bool {
	var v *Task
	for _, r := range s.running {
		if r.Sink.Room() == 0 && (v == nil || r.after(v)) {
			v = r
		}
	}
	if v != nil {
		s.preempt(v)
	}
	return v != nil
}

// outranked reports whether some task that waits has a higher priority than one that runs.
func (s *Scheduler) outranked() bool {
	byPriority := func(a, b *Task) int { return cmp.Compare(a.Priority, b.Priority) }
	return slices.MaxFunc(s.waiting, byPriority).Priority > slices.MinFunc(s.running, byPriority).Priority
}

// outrank preempts, among the running tasks of lower priority than t's, the last in order of the lowest.
func (s *Scheduler) outrank(t *Task) bool {
	var v *Task
	for _, r := range s.running {
		if r.Priority < t.Priority && (v == nil || r.Priority < v.Priority || r.Priority == v.Priority && r.after(v)) {
			v = r
		}
	}
	if v != nil {
		s.preempt(v)
	}
	return v != nil
}

// preempt sends a task back to the queue. What it computed stays in the arena as long as there is room, and where there
// are lower tiers it comes back from them if that is faster than computing it again.
func (s *Scheduler) preempt(t *Task) {
	s.drop(t)
	t.asked = false
	t.lease.Release()
	s.running = slices.DeleteFunc(s.running, func(r *Task) bool { return r == t })
	s.waiting = append(s.waiting, t)
	s.mu.Lock()
	s.queued++
	s.stats.Preemptions++
	s.mu.Unlock()
}

// publish updates the counts that Stats shows.
func (s *Scheduler) publish() {
	paused := 0
	for _, t := range s.running {
		if t.Sink.Room() == 0 {
			paused++
		}
	}
	s.mu.Lock()
	s.stats.Running, s.stats.Paused, s.stats.RestoredTokens = len(s.running), paused, s.restored
	s.mu.Unlock()
}

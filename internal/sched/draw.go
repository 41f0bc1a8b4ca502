package sched

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/krserve/krserve/internal/sample"
)

// step runs the batch, draws and delivers.
func (s *Scheduler) step() {
	began := time.Now()
	logits, err := s.o.Model.Step(&s.batch)
	if err == nil && len(logits.Data) < len(s.batch.Sample)*logits.Width {
		err = errors.New("sched: the backend returned too few logits")
	}
	if err != nil {
		for _, t := range s.planned {
			s.end(t, Outcome{Failed, err})
		}
		s.sweep()
		return
	}
	s.measure(time.Since(began).Seconds(), len(s.batch.Tokens))
	s.draw(logits.Row)
	if !s.chunked && !s.batch.Hidden {
		s.costs.learn(len(s.batch.Tokens), time.Since(began).Seconds())
	}
	s.settle()
	s.sweep()
}

// measure keeps the time per row of steps with prompt rows; the smallest chunk is enough for an estimate.
func (s *Scheduler) measure(seconds float64, rows int) {
	if rows < minChunk {
		return
	}
	x := seconds / float64(rows)
	if s.perRow == 0 {
		s.perRow = x
	} else {
		s.perRow += (x - s.perRow) / 4
	}
}

// draw hands out rows and samples for all tasks of the step, in parallel when that is worth a goroutine.
func (s *Scheduler) draw(row func(int) []float32) {
	workers := min(runtime.GOMAXPROCS(0), len(s.planned))
	if len(s.batch.Sample)*s.o.Vocab < 1<<18 {
		workers = 1
	}
	for len(s.pool) < workers {
		s.pool = append(s.pool, sample.Scratch{})
	}
	var wg sync.WaitGroup
	work := func(w int) {
		for i := w; i < len(s.planned); i += workers {
			s.planned[i].guarded(row, s.o.Vocab, &s.pool[w])
		}
	}
	for w := 1; w < workers; w++ {
		wg.Go(func() { work(w) })
	}
	work(0)
	wg.Wait()
}

// guarded is sample whose panic, such as one of the task's Mask, fails the task and no other.
func (t *Task) guarded(row func(int) []float32, vocab int, tmp *sample.Scratch) {
	defer func() {
		if r := recover(); r != nil {
			t.err = fmt.Errorf("sched: internal failure: %v", r)
		}
	}()
	t.sample(row, vocab, tmp)
}

// sample shows a task its rows and draws: one token after the last known one, and one after every draft that equals the
// draw before it.
func (t *Task) sample(row func(int) []float32, vocab int, tmp *sample.Scratch) {
	t.draws = t.draws[:0]
	if t.finished || t.sampled < 0 {
		return
	}
	base, at := t.rows-len(t.draft), t.sampled
	for p := t.from; p < t.from+base; p++ {
		if t.Each != nil && p >= t.EachFrom {
			if p >= t.shown { // a task that was preempted has shown some already
				if t.err = t.Each(p, row(at)); t.err != nil {
					return
				}
				t.shown = p + 1
			}
			if p < len(t.tokens)-1 {
				at++
			}
		}
	}
	if t.from+base < len(t.tokens) || t.Max == 0 {
		return
	}
	for i := 0; ; i++ {
		var mask []uint64
		if t.Mask != nil {
			if mask, t.err = t.masked(vocab); t.err != nil {
				return
			}
		}
		d, err := t.Sampler.Sample(row(at+i), uint64(len(t.tokens)), mask, tmp)
		if err != nil {
			t.err = err
			return
		}
		t.Sampler.Accept(d.ID)
		t.tokens = append(t.tokens, d.ID)
		t.draws = append(t.draws, d)
		if i == len(t.draft) || t.draft[i] != d.ID {
			return
		}
	}
}

// masked asks the task's mask which tokens may come next.
func (t *Task) masked(vocab int) ([]uint64, error) {
	n := (vocab + 63) / 64
	if t.mask == nil {
		t.mask = make([]uint64, n)
	}
	for i := range t.mask {
		t.mask[i] = ^uint64(0)
	}
	if r := vocab % 64; r > 0 {
		t.mask[n-1] = 1<<r - 1
	}
	answer := t.tokens[len(t.Prompt):]
	return t.mask, t.Mask(answer[:len(answer):len(answer)], t.mask)
}

// settle commits what the step computed, in so far as it stands, and delivers what was drawn, in the order of the batch.
func (s *Scheduler) settle() {
	drawn, drafted, accepted := 0, 0, 0
	for _, t := range s.planned {
		if t.finished {
			continue
		}
		d, a := s.judge(t)
		drafted, accepted = drafted+d, accepted+a
		to := t.from + t.rows - len(t.draft) + max(0, len(t.draws)-1)
		if err := t.lease.Commit(t.tokens[t.from:to]); err != nil {
			s.end(t, Outcome{Failed, err})
			continue
		}
		for _, x := range t.draws {
			drawn++
			if !s.deliver(t, x) {
				break
			}
		}
		switch {
		case t.finished:
		case t.err != nil:
			s.end(t, Outcome{Failed, t.err})
		case t.Max == 0 && t.pending() == 0:
			s.end(t, Outcome{Stopped, nil})
		}
	}
	s.mu.Lock()
	s.stats.Steps++
	s.stats.Rows += uint64(len(s.batch.Tokens))
	s.stats.DrawnTokens += uint64(drawn)
	s.stats.DraftTokens += uint64(drafted)
	s.stats.AcceptedTokens += uint64(accepted)
	s.stats.Largest = max(s.stats.Largest, len(s.planned))
	s.mu.Unlock()
}

// deliver hands a token to its sink and reports whether the task goes on.
func (s *Scheduler) deliver(t *Task, d sample.Draw) bool {
	t.drawn++
	last := t.drawn >= t.Max
	switch more := t.Sink.Token(d, last); {
	case !more:
		s.end(t, Outcome{Stopped, nil})
	case last:
		s.end(t, Outcome{Exhausted, nil})
	}
	return !t.finished
}

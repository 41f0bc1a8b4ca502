package sched

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

// dueIn is a context with a deadline that never passes, however slow the machine is.
type dueIn struct {
	context.Context
	at time.Time
}

func (d dueIn) Deadline() (time.Time, bool) { return d.at, true }

// dues submits tasks and says in which order they end.
type dues struct {
	t     *testing.T
	m     *testmodel.Hash
	s     *Scheduler
	order []int // the owner alone writes
	sinks []*sink
	tasks []*Task
}

// submit adds a task that is due after d, or has no deadline when d is 0.
func (d *dues) submit(tokens, priority int, tenant string, after time.Duration) {
	i, k := len(d.tasks), newSink()
	task := &Task{Prompt: randomPrompt(rand.New(rand.NewPCG(uint64(i), 11)), nil, 40), Max: tokens, Sampler: sampler(d.t, sample.Params{}, nil),
		Sink: k, Priority: priority, Tenant: tenant}
	if after != 0 {
		task.Context = dueIn{context.Background(), time.Now().Add(after)}
	}
	k.at, k.then = tokens, func() { d.order = append(d.order, i) }
	d.tasks, d.sinks = append(d.tasks, task), append(d.sinks, k)
	if err := d.s.Submit(task); err != nil {
		d.t.Fatal(err)
	}
}

// wait returns the order after all have ended with their own tokens.
func (d *dues) wait() []int {
	d.t.Helper()
	for i, k := range d.sinks {
		if o := k.wait(d.t); o.Reason != Exhausted || !slices.Equal(k.ids, alone(d.t, d.m, sample.Params{}, d.tasks[i].Prompt, len(k.ids))) {
			d.t.Errorf("task %d: %+v", i, o)
		}
	}
	d.s.Close()
	return d.order
}

func newDues(t *testing.T, blocks int, o Options) (d *dues, begun, goOn chan struct{}) {
	begun, goOn = make(chan struct{}, 1), make(chan struct{})
	d = &dues{t: t, m: testmodel.NewHash(vocab, 64, blocks)}
	d.m.OnStep = func(*backend.Batch) error {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-goOn
		return nil
	}
	o.NoSpeculation = true
	d.s = start(t, d.m, o, kvcache.Options{})
	return d, begun, goOn
}

// TestDeadlineOrder: of requests of one priority and tenant the one that is due first comes first; one without a deadline
// is overtaken for a minute. Priority and fairness come before.
func TestDeadlineOrder(t *testing.T) {
	d, begun, goOn := newDues(t, 1000, Options{MaxRunning: 1})
	d.submit(3, 9, "", 0) // holds the only place
	<-begun
	for _, x := range []struct {
		priority int
		after    time.Duration
	}{{0, 3 * time.Hour}, {0, 0}, {0, 30 * time.Second}, {0, time.Hour}, {1, 9 * time.Hour}, {0, 10 * time.Second}, {1, 8 * time.Hour}} {
		d.submit(3, x.priority, "", x.after)
	}
	close(goOn)
	if got, want := d.wait(), []int{0, 7, 5, 6, 3, 2, 4, 1}; !slices.Equal(got, want) {
		t.Errorf("they end in the order %v, want %v", got, want)
	}

	d, begun, goOn = newDues(t, 1000, Options{MaxRunning: 1})
	d.submit(50, 9, "busy", 0)
	<-begun
	d.submit(3, 0, "busy", time.Second) // its tenant has been served
	d.submit(3, 0, "idle", time.Hour)
	close(goOn)
	if got, want := d.wait(), []int{0, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("with two tenants they end in the order %v, want %v", got, want)
	}
}

// TestDeadlineKeepsBlocks: when blocks run out, the request that is due later gives way although it came first.
func TestDeadlineKeepsBlocks(t *testing.T) {
	d, begun, goOn := newDues(t, 14, Options{})
	d.submit(9*kvcache.BlockTokens, 0, "", 2*time.Hour)
	<-begun
	d.submit(9*kvcache.BlockTokens, 0, "", time.Hour)
	close(goOn)
	if got := d.wait(); !slices.Equal(got, []int{1, 0}) || d.s.Stats().Preemptions == 0 {
		t.Errorf("they end in the order %v after %d preemptions", got, d.s.Stats().Preemptions)
	}
}

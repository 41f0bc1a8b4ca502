// Package sched runs many sequences through one model: continuous batching (Yu et al., "Orca", OSDI 2022) with prompts
// cut into chunks that share steps with decoding (Agrawal et al., "Sarathi-Serve", OSDI 2024), over paged KV blocks.
//
// One goroutine owns the model. Everything it calls back (Sink, Each) must not block. The backend gives a row the same
// bits in any batch, so scheduling never changes a token.
package sched

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/kvcache"
)

var (
	// ErrClosed ends the tasks of a scheduler that closes.
	ErrClosed = errors.New("sched: closed")
	// ErrBusy is returned by Submit when the queue is full.
	ErrBusy = errors.New("sched: the queue is full")
	// ErrNoBlocks ends a task that does not fit although it has all blocks to itself.
	ErrNoBlocks = errors.New("sched: the KV cache is too small for the sequence")
)

// Reason says why a task ended.
type Reason uint8

const (
	Stopped   Reason = iota // the sink asked for it, or there was nothing to draw
	Exhausted               // Max tokens were drawn
	Cancelled
	Failed
)

// Outcome is a task's end.
type Outcome struct {
	Reason Reason
	Err    error // the cause of Cancelled and Failed
}

// Sink receives what a task draws, in the owner's goroutine.
type Sink interface {
	// Token takes a token; last says that no more will follow. It reports whether the task goes on.
	Token(d sample.Draw, last bool) (more bool)
	// Room returns how many more calls of Token it can take. A sink without room pauses its own task until
	// Scheduler.Wake.
	Room() int
	// Start is called when the prompt's first rows are about to run; cached positions of it were held already.
	Start(cached int)
	// Done is called once, last.
	Done(Outcome)
}

// Task is one sequence. Its fields are not changed after Submit.
type Task struct {
	Prompt   []uint32 // at least one token
	Max      int      // draw at most this many; 0 = none, run the prompt only
	Sampler  *sample.Sampler
	Sink     Sink
	Tenant   string // prefixes are shared within a tenant only
	Priority int    // higher is admitted first
	// Context, if set, ends the task at the border of the step in which it is done; whoever sets it calls Cancel then,
	// too, in case no step runs. Its deadline orders the queue.
	Context context.Context
	// Each, when set, is called with the logits after every position of the prompt from EachFrom on, none of which is
	// then taken from the cache. With States it gets the final hidden states, and Max is 0.
	Each     func(position int, row []float32) error
	EachFrom int
	States   bool
	// Mask, when set, clears the bits of the tokens that may not follow the answer; all are set when it is called. It is
	// asked about the same answer again or about one that is then not drawn, never twice at once.
	Mask func(answer []uint32, allowed []uint64) error
	// Keep, when set, holds the task's blocks when it has ended, unless it failed.
	Keep *Kept

	cancel atomic.Pointer[error]
	place  uint64    // order of arrival
	due    time.Time // Context's deadline, or arrival and patience

	// The owner's.
	tokens   []uint32 // prompt and what was drawn
	drawn    int
	lease    kvcache.Lease
	fetch    *kvcache.Fetch // what lower tiers hold of it, while that is looked for or loaded
	asked    bool           // fetch was begun since it last waited
	held     int            // blocks that the arena had of it then; -1 = as fetch says
	loading  bool           // its next positions come from fetch
	started  bool
	finished bool
	from     int      // position of its first row of this step
	rows     int      // of this step, drafts included
	sampled  int      // index of its first row in Batch.Sample, or -1
	draft    []uint32 // the tokens of its last rows
	guess    []uint32 // what may follow, whether or not it is in the batch
	match    int      // the length of the match behind guess, 0 = no guess
	odds     odds
	draws    []sample.Draw // of this step
	mask     []uint64
	shown    int // Each has had the positions before
	err      error
	skip     uint64 // the turn in which it is not to be admitted
}

// Options configure a Scheduler.
type Options struct {
	Model backend.Model
	Pool  *kvcache.Pool
	// Identity names everything that decides the bits of the model's blocks, so that the pool's lower tiers can be shared
	// by engines and outlive them. Empty keeps its blocks in the arena.
	Identity string
	Rows     int // most rows in one step; the model's own limit
	Vocab    int
	// StepTime is what a step with prompt rows should last at most while others decode, and a quarter of it while none
	// does; chunks shrink to keep to it. 0 = 100 ms.
	StepTime time.Duration
	// MaxRunning bounds the sequences in flight; 0 = Rows.
	MaxRunning int
	// MaxQueue bounds those that wait; 0 = 1024.
	MaxQueue int
	// NoSpeculation turns drafts off.
	NoSpeculation bool
	// AlwaysDraft verifies every guess, whether or not that pays; for tests.
	AlwaysDraft bool
}

// Stats counts since New.
type Stats struct {
	Running, Waiting, Paused int
	Steps, Rows              uint64
	PromptTokens             uint64 // of admitted tasks
	CachedTokens             uint64 // of those, found in the cache or a lower tier
	RestoredTokens           uint64 // written to the arena from lower tiers
	DrawnTokens              uint64
	DraftTokens              uint64 // guessed and verified
	AcceptedTokens           uint64 // of these, drawn as guessed
	Preemptions              uint64
	Largest                  int // most sequences in one step
}

// Scheduler owns a model. It is safe for concurrent use.
type Scheduler struct {
	o     Options
	space *kvcache.Space
	wake  chan struct{}
	done  chan struct{}

	mu     sync.Mutex
	inbox  []*Task
	calls  []func()
	queued int // tasks submitted and not running
	next   uint64
	closed bool
	stats  Stats

	// The owner's.
	waiting  []*Task
	running  []*Task
	planned  []*Task
	order    []*Task // scratch of plan
	turn     uint64
	batch    backend.Batch
	pool     []sample.Scratch
	release  []uint32
	perRow   float64 // seconds per row, a moving average
	expired  time.Time
	restored uint64
	chunked  bool // the step has prompt chunks
	costs    costs
	odds     odds
	served   map[string]float64 // rows by tenant

	keeper keeper
}

// New attaches the model's blocks to the pool and starts a scheduler. It alone uses the model until Close returns.
func New(o Options) (*Scheduler, error) {
	if o.Model == nil || o.Pool == nil || o.Rows <= 0 || o.Vocab <= 0 || o.MaxRunning < 0 || o.MaxQueue < 0 {
		return nil, fmt.Errorf("sched: incomplete options: rows %d, vocabulary %d", o.Rows, o.Vocab)
	}
	if o.StepTime == 0 {
		o.StepTime = 100 * time.Millisecond
	}
	if o.MaxRunning == 0 || o.MaxRunning > o.Rows {
		o.MaxRunning = o.Rows
	}
	if o.MaxQueue == 0 {
		o.MaxQueue = 1024
	}
	s := &Scheduler{o: o, turn: 1, wake: make(chan struct{}, 1), done: make(chan struct{}), served: map[string]float64{},
		odds: odds{rate: [3]float64{0.3, 0.5, 0.7}}}
	var err error
	s.space, err = o.Pool.Attach(kvcache.SpaceOptions{Blocks: o.Model.Blocks(), BlockBytes: int64(o.Model.BlockBytes()),
		Identity: o.Identity, Wake: s.Wake})
	if err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

// patience is when a task without a deadline counts as due: those that have one overtake it no longer than that.
const patience = time.Minute

// Submit hands tasks over, all or none. Each Sink's Done is called exactly once unless Submit fails.
func (s *Scheduler) Submit(tasks ...*Task) error {
	for _, t := range tasks {
		if len(t.Prompt) == 0 || t.Sink == nil || t.Max > 0 && t.Sampler == nil || t.Max < 0 || t.States && (t.Max > 0 || t.Each == nil) {
			return errors.New("sched: incomplete task")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.queued+len(tasks) > s.o.MaxQueue:
		return ErrBusy
	}
	now := time.Now()
	for _, t := range tasks {
		s.next++
		t.place, t.due = s.next, now.Add(patience)
		if t.Context != nil {
			if d, ok := t.Context.Deadline(); ok {
				t.due = d
			}
		}
		s.inbox = append(s.inbox, t)
	}
	s.queued += len(tasks)
	s.Wake()
	return nil
}

// Cancel ends a task at the next step's border. Only the first cause counts; after the end it does nothing.
func (s *Scheduler) Cancel(t *Task, cause error) {
	if t.cancel.CompareAndSwap(nil, &cause) {
		s.Wake()
	}
}

// Wake tells the owner that a sink has room again. It never blocks.
func (s *Scheduler) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// cancelled returns why a task is to end, or nil.
func (t *Task) cancelled() error {
	if cause := t.cancel.Load(); cause != nil {
		return *cause
	}
	if t.Context != nil && t.Context.Err() != nil {
		return context.Cause(t.Context)
	}
	return nil
}

// Do runs f in the owner's goroutine between two steps, where the model may be used, and waits for it.
func (s *Scheduler) Do(f func()) error {
	ran := make(chan struct{})
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.calls = append(s.calls, func() { f(); close(ran) })
	s.mu.Unlock()
	s.Wake()
	select {
	case <-ran:
		return nil
	case <-s.done:
	}
	select {
	case <-ran: // it was the last thing done
		return nil
	default:
		return ErrClosed
	}
}

// Close ends all tasks and waits for the owner. It is idempotent.
func (s *Scheduler) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.Wake()
	<-s.done
	s.keeper.close()
	_ = s.space.Close() // it fails never: all leases have ended
}

// Stats returns a snapshot.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Waiting = s.queued
	return st
}

// Cache returns the statistics of the model's blocks.
func (s *Scheduler) Cache() kvcache.Stats { return s.space.Stats() }

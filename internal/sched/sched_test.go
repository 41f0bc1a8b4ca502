package sched

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

// sink collects a task's tokens; limit bounds what it takes before someone reads.
type sink struct {
	mu     sync.Mutex
	ids    []uint32
	read   int
	limit  int
	stop   int // ask to stop after this many; 0 = never
	at     int // call then after this many
	then   func()
	cached int
	out    Outcome
	ended  int
	done   chan struct{}
}

func newSink() *sink { return &sink{limit: 1 << 30, done: make(chan struct{})} }

func (k *sink) Token(d sample.Draw, last bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids = append(k.ids, d.ID)
	if k.then != nil && len(k.ids) == k.at {
		k.then()
	}
	return k.stop == 0 || len(k.ids) < k.stop
}
func (k *sink) Room() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.limit - (len(k.ids) - k.read)
}
func (k *sink) Start(cached int) { k.cached = cached }
func (k *sink) Done(o Outcome) {
	k.out = o
	if k.ended++; k.ended == 1 {
		close(k.done)
	}
}

func (k *sink) wait(t testing.TB) Outcome {
	t.Helper()
	select {
	case <-k.done:
		return k.out
	case <-time.After(30 * time.Second):
		buf := make([]byte, 1<<16)
		t.Fatalf("the task does not end\n%s", buf[:runtime.Stack(buf, true)])
		return Outcome{}
	}
}

const vocab = 50

func start(t testing.TB, m *testmodel.Hash, o Options, po kvcache.Options) *Scheduler {
	t.Helper()
	pool, err := kvcache.New(po)
	if err != nil {
		t.Fatal(err)
	}
	o.Model, o.Pool, o.Vocab = m, pool, vocab
	if o.Rows == 0 {
		o.Rows = m.Rows
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func sampler(t testing.TB, p sample.Params, prompt []uint32) *sample.Sampler {
	t.Helper()
	s, err := sample.New(p, vocab)
	if err != nil {
		t.Fatal(err)
	}
	s.Prompt(prompt)
	return s
}

// alone is the plainest decoder: no cache, no batch.
func alone(t testing.TB, m *testmodel.Hash, p sample.Params, prompt []uint32, n int) []uint32 {
	t.Helper()
	s := sampler(t, p, prompt)
	tokens := slices.Clone(prompt)
	var tmp sample.Scratch
	for range n {
		d, err := s.Sample(m.Logits(tokens), uint64(len(tokens)), nil, &tmp)
		if err != nil {
			t.Fatal(err)
		}
		s.Accept(d.ID)
		tokens = append(tokens, d.ID)
	}
	return tokens[len(prompt):]
}

func randomPrompt(r *rand.Rand, base []uint32, n int) []uint32 {
	p := slices.Clone(base)
	for range n {
		p = append(p, r.Uint32N(vocab))
	}
	return p
}

func randomParams(r *rand.Rand) sample.Params {
	if r.IntN(2) == 0 {
		return sample.Params{}
	}
	return sample.Params{Temperature: 0.9, TopK: r.IntN(20), TopP: 0.9, Repetition: 1.1, Seed: r.Uint64()}
}

// TestMatchesAlone runs many tasks in all kinds of company: tight block budgets that force preemption, small steps,
// shared prefixes, cancelled neighbours. Every finished task has the tokens that it has when it runs alone.
func TestMatchesAlone(t *testing.T) {
	for _, c := range []struct {
		rows, blocks int
		o            Options
		po           kvcache.Options
		long         int
	}{
		{rows: 64, blocks: 1000},
		{rows: 5, blocks: 400},
		{rows: 32, blocks: 14, long: 150},
		{rows: 33, blocks: 14, long: 150, o: Options{Identity: "hash"}, po: kvcache.Options{HostBytes: 1 << 20}},
		{rows: 200, blocks: 30, o: Options{MaxRunning: 3}},
		{rows: 64, blocks: 1000, po: kvcache.Options{Bytes: 20 * 256}},
		{rows: 64, blocks: 40, po: kvcache.Options{TenantBytes: 18 * 256}},
	} {
		t.Run(fmt.Sprintf("rows=%d,blocks=%d", c.rows, c.blocks), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(c.rows), uint64(c.blocks)))
			m := testmodel.NewHash(vocab, c.rows, c.blocks)
			all := make(chan struct{}) // no step runs before all tasks are there
			m.OnStep = func(*backend.Batch) error { <-all; return nil }
			s := start(t, m, c.o, c.po)
			system := randomPrompt(r, nil, 70)
			type job struct {
				k      *sink
				task   *Task
				p      sample.Params
				cancel bool
			}
			var jobs []*job
			for range 60 {
				base := system[:r.IntN(len(system)+1)]
				j := &job{k: newSink(), p: randomParams(r), cancel: r.IntN(5) == 0}
				prompt := randomPrompt(r, base, 1+r.IntN(60))
				j.task = &Task{Prompt: prompt, Max: 1 + r.IntN(max(50, c.long)), Sampler: sampler(t, j.p, prompt), Sink: j.k,
					Tenant: []string{"a", "b"}[r.IntN(2)], Priority: r.IntN(2)}
				if r.IntN(3) == 0 {
					j.k.stop = 1 + r.IntN(20)
				}
				if j.cancel { // at some token, perhaps before the first or never
					j.k.at, j.k.then = r.IntN(2*j.task.Max), func() { s.Cancel(j.task, context.Canceled) }
				}
				if err := s.Submit(j.task); err != nil {
					t.Fatal(err)
				}
				if j.cancel && j.k.at == 0 {
					j.k.then()
				}
				jobs = append(jobs, j)
			}
			close(all)
			for i, j := range jobs {
				o := j.k.wait(t)
				if o.Reason == Failed || o.Reason == Cancelled && !j.cancel {
					t.Fatalf("job %d: %+v", i, o)
				}
				want := alone(t, m, j.p, j.task.Prompt, len(j.k.ids))
				if !slices.Equal(j.k.ids, want) {
					t.Fatalf("job %d: %v, alone %v", i, j.k.ids, want)
				}
				switch {
				case o.Reason == Exhausted && len(j.k.ids) != j.task.Max:
					t.Fatalf("job %d: exhausted after %d of %d", i, len(j.k.ids), j.task.Max)
				case o.Reason == Stopped && len(j.k.ids) != j.k.stop:
					t.Fatalf("job %d: stopped after %d, not %d", i, len(j.k.ids), j.k.stop)
				}
			}
			s.Close()
			if st := s.Cache(); st.Leased != 0 {
				t.Errorf("%d blocks leaked", st.Leased)
			}
			st := s.Stats()
			t.Logf("%+v", st)
			if c.po.HostBytes > 0 && st.RestoredTokens == 0 {
				t.Error("nothing came back from the host tier")
			}
			if c.blocks == 14 && st.Preemptions == 0 {
				t.Error("a tight cache preempted nobody")
			}
			if st.Running != 0 || st.Waiting != 0 {
				t.Errorf("after Close: %+v", st)
			}
		})
	}
}

// TestPreemption: two tasks that fit alone but not together both end with their own tokens, one after giving its blocks
// back.
func TestPreemption(t *testing.T) {
	m := testmodel.NewHash(vocab, 32, 14)
	both := make(chan struct{})
	m.OnStep = func(*backend.Batch) error { <-both; return nil }
	s := start(t, m, Options{}, kvcache.Options{})
	var tasks []*Task
	for i := range uint32(2) {
		p := []uint32{i, 7, 7}
		task := &Task{Prompt: p, Max: 9 * kvcache.BlockTokens, Sampler: sampler(t, sample.Params{}, nil), Sink: newSink()}
		if err := s.Submit(task); err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
	}
	close(both)
	for i, task := range tasks {
		k := task.Sink.(*sink)
		if o := k.wait(t); o.Reason != Exhausted || !slices.Equal(k.ids, alone(t, m, sample.Params{}, task.Prompt, task.Max)) {
			t.Errorf("task %d: %+v", i, o)
		}
	}
	if st := s.Stats(); st.Preemptions == 0 {
		t.Error("18 blocks of work in 14 blocks preempted nobody")
	}
}

// TestSharedPromptRunsOnce: ten users that arrive together with one system prompt compute it once.
func TestSharedPromptRunsOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	m := testmodel.NewHash(vocab, 64, 1000)
	gate := make(chan struct{})
	var once sync.Once
	m.OnStep = func(*backend.Batch) error { once.Do(func() { <-gate }); return nil }
	s := start(t, m, Options{}, kvcache.Options{})
	first := newSink()
	if err := s.Submit(&Task{Prompt: []uint32{1}, Max: 1, Sampler: sampler(t, sample.Params{}, nil), Sink: first}); err != nil {
		t.Fatal(err)
	}
	system := randomPrompt(r, nil, 400)
	var sinks []*sink
	for range 10 {
		k := newSink()
		p := randomPrompt(r, system, 10)
		if err := s.Submit(&Task{Prompt: p, Max: 5, Sampler: sampler(t, sample.Params{}, nil), Sink: k}); err != nil {
			t.Fatal(err)
		}
		sinks = append(sinks, k)
	}
	close(gate)
	for i, k := range sinks {
		k.wait(t)
		if i > 0 && k.cached < 400 {
			t.Errorf("user %d found %d of 400 shared tokens", i, k.cached)
		}
	}
	if rows := m.Stats().Rows; rows > 400+10*(10+5)+1 {
		t.Errorf("%d rows", rows)
	}
}

// TestUnreadSinkPausesAlone: a task whose sink is full neither blocks others nor draws on.
func TestUnreadSinkPausesAlone(t *testing.T) {
	m := testmodel.NewHash(vocab, 16, 100)
	s := start(t, m, Options{}, kvcache.Options{})
	slow := newSink()
	slow.limit = 4
	task := &Task{Prompt: []uint32{1, 2}, Max: 20, Sampler: sampler(t, sample.Params{}, nil), Sink: slow}
	if err := s.Submit(task); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		k := newSink()
		if err := s.Submit(&Task{Prompt: []uint32{3}, Max: 30, Sampler: sampler(t, sample.Params{}, nil), Sink: k}); err != nil {
			t.Fatal(err)
		}
		if o := k.wait(t); o.Reason != Exhausted {
			t.Fatal(o)
		}
	}
	slow.mu.Lock()
	if len(slow.ids) != 4 {
		t.Errorf("the full sink has %d tokens", len(slow.ids))
	}
	slow.read, slow.limit = 4, 100
	slow.mu.Unlock()
	s.Wake()
	if o := slow.wait(t); o.Reason != Exhausted || !slices.Equal(slow.ids, alone(t, m, sample.Params{}, task.Prompt, 20)) {
		t.Errorf("after the pause: %+v, %v", o, slow.ids)
	}
}

// TestPausedGivesBlocks: paused tasks that fill the cache do not keep others out, and go on correctly afterwards.
func TestPausedGivesBlocks(t *testing.T) {
	m := testmodel.NewHash(vocab, 64, 8)
	s := start(t, m, Options{}, kvcache.Options{})
	var paused []*sink
	var tasks []*Task
	for i := range 3 {
		k := newSink()
		k.limit = 2
		task := &Task{Prompt: randomPrompt(rand.New(rand.NewPCG(uint64(i), 1)), nil, 70), Max: 6, Sampler: sampler(t, sample.Params{}, nil), Sink: k}
		if err := s.Submit(task); err != nil {
			t.Fatal(err)
		}
		paused, tasks = append(paused, k), append(tasks, task)
	}
	k := newSink()
	if err := s.Submit(&Task{Prompt: randomPrompt(rand.New(rand.NewPCG(9, 1)), nil, 150), Max: 20, Sampler: sampler(t, sample.Params{}, nil), Sink: k}); err != nil {
		t.Fatal(err)
	}
	if o := k.wait(t); o.Reason != Exhausted {
		t.Fatal(o)
	}
	for i, p := range paused {
		p.mu.Lock()
		p.limit = 100
		p.mu.Unlock()
		s.Wake()
		if o := p.wait(t); o.Reason != Exhausted || !slices.Equal(p.ids, alone(t, m, sample.Params{}, tasks[i].Prompt, 6)) {
			t.Errorf("paused task %d: %+v", i, o)
		}
	}
}

func TestCancelWithinOneStep(t *testing.T) {
	m := testmodel.NewHash(vocab, 32, 1000)
	entered, leave := make(chan int), make(chan struct{})
	m.OnStep = func(b *backend.Batch) error { entered <- len(b.Tokens); <-leave; return nil }
	s := start(t, m, Options{}, kvcache.Options{})
	k := newSink()
	task := &Task{Prompt: randomPrompt(rand.New(rand.NewPCG(1, 1)), nil, 5000), Max: 5, Sampler: sampler(t, sample.Params{}, nil), Sink: k}
	if err := s.Submit(task); err != nil {
		t.Fatal(err)
	}
	if n := <-entered; n > 32 {
		t.Errorf("the first chunk has %d rows", n)
	}
	cause := errors.New("enough")
	s.Cancel(task, cause)
	leave <- struct{}{}
	if o := k.wait(t); o.Reason != Cancelled || o.Err != cause {
		t.Errorf("outcome %+v", o)
	}
	if n := m.Stats().Steps; n != 1 {
		t.Errorf("%d steps", n)
	}
	if st := s.Cache(); st.Cached == 0 || st.Leased != 0 {
		t.Errorf("what was computed is not kept: %+v", st)
	}
	close(leave)
}

func TestFailures(t *testing.T) {
	m := testmodel.NewHash(vocab, 32, 6)
	boom := errors.New("boom")
	m.OnStep = func(b *backend.Batch) error {
		if slices.Contains(b.Tokens, 13) {
			return boom
		}
		if slices.Contains(b.Tokens, 14) {
			panic("out of the blue")
		}
		return nil
	}
	s := start(t, m, Options{MaxQueue: 2}, kvcache.Options{})
	run := func(p []uint32, max int) Outcome {
		k := newSink()
		if err := s.Submit(&Task{Prompt: p, Max: max, Sampler: sampler(t, sample.Params{Bias: []sample.Bias{{ID: 13, Value: -100}, {ID: 14, Value: -100}}}, nil), Sink: k}); err != nil {
			t.Fatal(err)
		}
		return k.wait(t)
	}
	if o := run([]uint32{1, 13}, 3); o.Reason != Failed || !errors.Is(o.Err, boom) {
		t.Errorf("failing step: %+v", o)
	}
	if o := run([]uint32{1, 2}, 3); o.Reason != Exhausted {
		t.Errorf("after a failing step: %+v", o)
	}
	if o := run(make([]uint32, 300), 3); o.Reason != Failed || !errors.Is(o.Err, ErrNoBlocks) {
		t.Errorf("prompt larger than the cache: %+v", o)
	}
	if o := run(make([]uint32, 180), 30); o.Reason != Failed || !errors.Is(o.Err, ErrNoBlocks) {
		t.Errorf("answer larger than the cache: %+v", o)
	}
	if o := run([]uint32{14}, 3); o.Reason != Failed {
		t.Errorf("panic in a step: %+v", o)
	}
	if err := s.Submit(&Task{Prompt: []uint32{1}, Sink: newSink()}); !errors.Is(err, ErrClosed) {
		t.Errorf("Submit after a panic: %v", err)
	}
}

func TestBusyAndClose(t *testing.T) {
	m := testmodel.NewHash(vocab, 8, 100)
	gate := make(chan struct{})
	m.OnStep = func(*backend.Batch) error { <-gate; return nil }
	s := start(t, m, Options{MaxQueue: 3, MaxRunning: 1}, kvcache.Options{})
	var sinks []*sink
	var err error
	for range 10 {
		k := newSink()
		if err = s.Submit(&Task{Prompt: []uint32{1}, Max: 1000, Sampler: sampler(t, sample.Params{}, nil), Sink: k}); err != nil {
			break
		}
		sinks = append(sinks, k)
	}
	if !errors.Is(err, ErrBusy) || len(sinks) < 3 || len(sinks) > 4 {
		t.Errorf("%d tasks taken, then %v", len(sinks), err)
	}
	go func() { time.Sleep(10 * time.Millisecond); close(gate) }()
	s.Close()
	s.Close()
	for _, k := range sinks {
		if o := k.wait(t); o.Reason != Cancelled || !errors.Is(o.Err, ErrClosed) || k.ended != 1 {
			t.Errorf("outcome %+v, ended %d times", o, k.ended)
		}
	}
}

// TestEach: scoring sees every row of the prompt once, in order, whatever is cached.
func TestEach(t *testing.T) {
	m := testmodel.NewHash(vocab, 64, 100)
	s := start(t, m, Options{}, kvcache.Options{})
	p := randomPrompt(rand.New(rand.NewPCG(1, 1)), nil, 150)
	for range 2 {
		next := 0
		k := newSink()
		err := s.Submit(&Task{Prompt: p, Sink: k, Each: func(pos int, logits []float32) error {
			if pos != next || !slices.Equal(logits, m.Logits(p[:pos+1])) {
				return fmt.Errorf("row %d, expected %d", pos, next)
			}
			next++
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if o := k.wait(t); o.Reason != Stopped || o.Err != nil || next != len(p) {
			t.Errorf("%+v after %d rows", o, next)
		}
	}
}

package sched

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/krserve/krserve/internal/backend"
	"github.com/krserve/krserve/internal/sample"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/kvcache"
)

// turn runs one task that keeps its blocks, and returns how much of its prompt was cached.
func turn(t *testing.T, s *Scheduler, m *testmodel.Hash, keep *Kept, prompt []uint32) (cached int) {
	t.Helper()
	k := newSink()
	if err := s.Submit(&Task{Prompt: prompt, Max: 4, Sampler: sampler(t, sample.Params{}, nil), Sink: k, Keep: keep}); err != nil {
		t.Fatal(err)
	}
	if o := k.wait(t); o.Reason != Exhausted || !slices.Equal(k.ids, alone(t, m, sample.Params{}, prompt, 4)) {
		t.Fatalf("%+v, other tokens than alone", o)
	}
	return k.cached
}

// TestKept: what a chat keeps outlives any number of other prompts, also in its fork, and gives way to a prompt that
// needs the room.
func TestKept(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	m := testmodel.NewHash(vocab, 64, 30)
	s := start(t, m, Options{}, kvcache.Options{})
	chat := s.Keep()
	prompt := randomPrompt(r, nil, 300)
	turn(t, s, m, chat, prompt)
	scan := func() {
		for range 20 {
			turn(t, s, m, nil, randomPrompt(r, nil, 400))
		}
	}
	scan()
	if c := turn(t, s, m, chat, prompt); c != 299 {
		t.Errorf("%d of 300 tokens cached", c)
	}
	fork := chat.Fork()
	chat.Close()
	chat.Close()
	scan()
	if c := turn(t, s, m, chat, prompt); c != 299 {
		t.Errorf("the fork holds %d of 300 tokens", c)
	}
	turn(t, s, m, nil, randomPrompt(r, nil, 900)) // 29 blocks
	if c := turn(t, s, m, fork, prompt); c > 32 {
		t.Errorf("%d tokens are held against a task that needs the room", c)
	}
	fork.Close()
	for s.Cache().Leased > 0 { // the task's own lease ends with it
		if err := s.Do(func() {}); err != nil {
			t.Fatal(err)
		}
	}
	late := s.Keep()
	turn(t, s, m, late, prompt)
	s.Close()
	late.Fork().Close()
	if n := s.Cache().Leased; n != 0 {
		t.Errorf("%d blocks are held after Close", n)
	}
}

// TestKeptAcrossEngines: what an idle engine's chats keep gives way to another engine of the same pool.
func TestKeptAcrossEngines(t *testing.T) {
	pool, err := kvcache.New(kvcache.Options{Bytes: 20 * backend.BlockTokens * 8})
	if err != nil {
		t.Fatal(err)
	}
	var s [2]*Scheduler
	var m [2]*testmodel.Hash
	for i := range s {
		m[i] = testmodel.NewHash(vocab, 64, 20)
		if s[i], err = New(Options{Model: m[i], Pool: pool, Rows: 64, Vocab: vocab}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s[i].Close)
	}
	r := rand.New(rand.NewPCG(2, 7))
	for range 3 {
		turn(t, s[0], m[0], s[0].Keep(), randomPrompt(r, nil, 150))
	}
	turn(t, s[1], m[1], nil, randomPrompt(r, nil, 500))
}

// TestPriorityPushesOut: a task of higher priority takes the place, and the blocks, of those that run with a lower one.
func TestPriorityPushesOut(t *testing.T) {
	for _, c := range []struct{ blocks, running int }{{100, 2}, {14, 0}} {
		m := testmodel.NewHash(vocab, 64, c.blocks)
		gate := make(chan struct{})
		m.OnStep = func(*backend.Batch) error { <-gate; return nil }
		s := start(t, m, Options{MaxRunning: c.running, NoSpeculation: true}, kvcache.Options{})
		r := rand.New(rand.NewPCG(3, 7))
		var order []int // in which tasks end; the owner alone writes
		var sinks []*sink
		var tasks []*Task
		submit := func(priority, tokens int) {
			k := newSink()
			i := len(sinks)
			task := &Task{Prompt: randomPrompt(r, nil, 150), Max: tokens, Sampler: sampler(t, sample.Params{}, nil), Sink: k, Priority: priority}
			k.at, k.then = task.Max, func() { order = append(order, i) }
			sinks, tasks = append(sinks, k), append(tasks, task)
			if err := s.Submit(task); err != nil {
				t.Fatal(err)
			}
		}
		submit(0, 60)
		submit(0, 60)
		for s.Stats().Running < 2 { // the first step may begin with the first task alone
			gate <- struct{}{}
		}
		submit(1, 20)
		close(gate)
		for i, k := range sinks {
			if o := k.wait(t); o.Reason != Exhausted || !slices.Equal(k.ids, alone(t, m, sample.Params{}, tasks[i].Prompt, tasks[i].Max)) {
				t.Errorf("task %d: %+v", i, o)
			}
		}
		s.Close()
		if order[0] != 2 && c.running > 0 || s.Stats().Preemptions == 0 {
			t.Errorf("%+v: they end in the order %v after %d preemptions", c, order, s.Stats().Preemptions)
		}
	}
}

package router

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/krserve/krserve/canary"
	"github.com/krserve/krserve/canary/journal"
)

// stepped is a clock whose timers fire when a test moves it past them.
type stepped struct {
	manual
	timers []timer
	slept  chan struct{} // one for every After
}

type timer struct {
	at time.Time
	c  chan time.Time
}

func newStepped() *stepped {
	return &stepped{manual: manual{now: newManual().now}, slept: make(chan struct{}, 100)}
}

func (s *stepped) After(d time.Duration) <-chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := timer{s.now.Add(d), make(chan time.Time, 1)}
	s.timers = append(s.timers, t)
	s.slept <- struct{}{}
	return t.c
}

func (s *stepped) add(d time.Duration) {
	s.manual.add(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.timers[:0]
	for _, t := range s.timers {
		if t.at.After(s.now) {
			rest = append(rest, t)
			continue
		}
		t.c <- s.now
	}
	s.timers = rest
}

// TestRollbackAtOnce puts a rollout into every state and breaks the canary: the loop rolls back by the outcomes alone,
// while the clock stands still. A hook that never returned from an earlier call does not matter.
func TestRollbackAtOnce(t *testing.T) {
	for name, to := range map[string]struct {
		do    []canary.Command
		phase canary.Phase
	}{
		"progressing": {nil, canary.Progressing},
		"waiting":     {[]canary.Command{""}, canary.Waiting},
		"paused":      {[]canary.Command{canary.Pause}, canary.Paused},
		"last stage":  {[]canary.Command{canary.Promote, canary.Promote}, canary.Progressing},
		"holdback":    {[]canary.Command{canary.Promote, canary.Promote, canary.Promote}, canary.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			clock, free := newStepped(), make(chan struct{})
			r, _, can, _ := setup(t, func(c *config) {
				c.Clock, c.Policy.Manual, c.Policy.Holdback, c.Policy.Interval = clock, true, 0.2, 10*time.Second
				c.OnDecision = func(canary.Decision) { <-free }
			})
			t.Cleanup(func() { close(free) }) // before setup's Close
			<-clock.slept
			serve(t, r, 0, 300)
			if to.phase == canary.Waiting {
				clock.add(time.Minute)
				<-clock.slept
			}
			for _, cmd := range to.do {
				if cmd == "" {
					continue
				}
				if _, err := r.Do(cmd); err != nil {
					t.Fatal(err)
				}
			}
			if s := r.Status().State; s.Phase != to.phase {
				t.Fatalf("%+v", s)
			}
			can.fail.Store(true)
			before := can.tried.Load()
			for i := 1000; can.tried.Load()-before < 60; i++ {
				serve(t, r, i, 1)
				if r.Status().State.Phase == canary.Failed {
					break
				}
			}
			await(t, "the rollback", func() bool { return r.Status().State.Phase == canary.Failed })
			if s := r.Status(); s.Weight != 0 || s.Last.To.Phase != canary.Failed {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestDueAtStart: a rollout whose journal already calls for a rollback gets one before any traffic and any interval.
func TestDueAtStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	c, err := canary.New(canary.Policy{}, newManual().now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		c.Observe(canary.Outcome{Arm: canary.Canary, Session: fmt.Sprint(i), Weight: 0.1, Error: true})
	}
	j, _, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Snapshot()
	if err := errors.Join(j.Append(journal.Record{Snapshot: &s}), j.Close()); err != nil {
		t.Fatal(err)
	}
	r, _, _, _ := setup(t, func(c *config) { c.Journal, c.Policy = path, canary.Policy{} })
	await(t, "the rollback", func() bool { return r.Status().State.Phase == canary.Failed })
}

// TestLeavers: readers who give up on a canary that does not answer are evidence against it.
func TestLeavers(t *testing.T) {
	r, _, _, clock := setup(t, nil)
	clock.add(time.Minute / 10) // the warm-up is over
	for i := range 200 {
		s, err := r.Start(context.Background(), fmt.Sprint("s", i), "")
		if err != nil {
			t.Fatal(err)
		}
		clock.add(time.Millisecond)
		if err := drain(s, 5); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; r.Status().State.Phase != canary.Failed; i++ {
		if i == 500 {
			t.Fatalf("no rollback: %+v", r.Status().Reports)
		}
		s, err := r.Start(context.Background(), fmt.Sprint("l", i), "")
		if err != nil {
			t.Fatal(err)
		}
		if s.Arm() == canary.Canary {
			clock.add(time.Second)
		}
		s.Close()
	}
	if why := r.Status().State.Reason; !strings.HasPrefix(why, canary.GateTTFT) {
		t.Error(why)
	}
}

// TestWarmup: late first tokens at a stage's begin, when sessions find nothing of theirs in the canary's cache, are no
// evidence; later ones are.
func TestWarmup(t *testing.T) {
	r, _, _, clock := setup(t, nil)
	serve := func(n int, name string, late time.Duration) {
		for i := range n {
			s, err := r.Start(context.Background(), fmt.Sprint(name, i), "")
			if err != nil {
				t.Fatal(err)
			}
			if s.Arm() == canary.Canary {
				clock.add(late)
			}
			clock.add(time.Millisecond)
			if err := drain(s, 5); err != nil {
				t.Fatal(err)
			}
		}
	}
	serve(200, "cold", 10*time.Millisecond)
	judged := func() int64 { return r.Status().Reports[2].Requests[canary.Canary] }
	if s := r.Status(); s.State.Phase != canary.Progressing || judged() > 0 || s.Reports[2].Gate != canary.GateTTFT {
		t.Fatalf("%s: %s, %d judged", s.State.Phase, s.State.Reason, judged())
	}
	clock.add(time.Minute / 20)
	serve(200, "warm", 0)
	if n := judged(); n < 20 {
		t.Errorf("%d judged after the warm-up", n)
	}
	serve(200, "slow", 10*time.Millisecond)
	await(t, "the rollback", func() bool { return r.Status().State.Phase == canary.Failed })
	if why := r.Status().State.Reason; !strings.HasPrefix(why, canary.GateTTFT) {
		t.Error(why)
	}
}

// TestShadowsAreBounded: a canary that never answers keeps a bounded number of shadow requests, and Close ends them.
func TestShadowsAreBounded(t *testing.T) {
	r, _, can, _ := setup(t, func(c *config) { c.Shadow, c.Policy.Stages = true, []canary.Stage{{Weight: 1e-9}, {Weight: 1}} })
	can.hang.Store(true)
	serve(t, r, 0, 1000)
	if n := r.Status().Active[canary.Canary]; n < 1 || n > maxShadows {
		t.Errorf("%d shadow requests", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := can.live.Load(); n != 0 {
		t.Errorf("%d left after Close", n)
	}
}

// TestArmPanics: a Start that panics is its caller's to bear, and leaves nothing that Close waits for; so does a function
// that ends its goroutine.
func TestArmPanics(t *testing.T) {
	r, stable, can, _ := setup(t, func(c *config) { c.Custom = func(string, string) []string { runtime.Goexit(); return nil } })
	for _, f := range []func(){
		func() { stable.panics.Store(true); can.panics.Store(true) },
		func() { stable.panics.Store(false); can.panics.Store(false) },
	} {
		f()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer func() { recover() }()
			s, err := r.Start(context.Background(), "", "")
			if err != nil {
				t.Error(err)
				return
			}
			drain(s, 5)
			t.Error("Goexit did not")
		}()
		<-ended
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestHooks: they are told every change in order, also those of the last moment, and may call the router; one that
// panics does no harm.
func TestHooks(t *testing.T) {
	var told []string
	var r *Router[string, string, *fakeStream]
	var ready sync.WaitGroup
	ready.Add(1)
	r, _, _, _ = setup(t, func(c *config) {
		c.OnDecision = func(d canary.Decision) {
			ready.Wait()
			told = append(told, fmt.Sprint(d.To.Phase, d.To.Stage))
			r.Status()
			if _, err := r.Tick(); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			panic("hook")
		}
	})
	ready.Done()
	for _, cmd := range []canary.Command{canary.Promote, canary.Pause, canary.Resume, canary.Rollback} {
		if _, err := r.Do(cmd); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(told) != "[progressing1 paused1 progressing1 failed1]" {
		t.Error(told)
	}
	if s := r.Status(); !strings.Contains(s.Callback, "OnDecision panicked: hook") {
		t.Errorf("status says %q", s.Callback)
	}
}

// TestCallbacksPanic: a request whose judgement panics reaches its reader, counts for nothing, and is not left running.
func TestCallbacksPanic(t *testing.T) {
	for name, spoil := range map[string]func(*config){
		"Text":          func(c *config) { c.Text = func(string) string { panic("text") } },
		"Cut":           func(c *config) { c.Cut = func(*fakeStream) bool { panic("cut") } },
		"Custom":        func(c *config) { c.Custom = func(string, string) []string { panic("custom") } },
		"Fault":         func(c *config) { c.Fault = func(error) bool { panic("fault") } },
		"ShadowOutcome": func(c *config) { c.Shadow, c.ShadowOutcome = true, func(canary.Outcome) { panic("shadow") } },
	} {
		r, stable, can, _ := setup(t, spoil)
		stable.fail.Store(name == "Fault")
		can.fail.Store(name == "Fault")
		serve(t, r, 0, 20)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		s := r.Status()
		want := int64(0)
		if name == "ShadowOutcome" {
			want = 20
		}
		if n := requests(r); n != want || s.Active != [2]int{} || !strings.Contains(s.Callback, strings.ToLower(name[:3])) {
			t.Errorf("%s: %d outcomes, %v active, %q", name, n, s.Active, s.Callback)
		}
	}
}

// TestSticky: a session stays on the canary from its first request there, through every stage, but not after a rollback.
func TestSticky(t *testing.T) {
	r, _, _, _ := setup(t, nil)
	on := map[string]bool{}
	for stage := range 3 {
		for i := range 100 {
			key := fmt.Sprint("user ", i)
			s, err := r.Start(context.Background(), key, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := drain(s, 5); err != nil {
				t.Fatal(err)
			}
			if got := s.Arm() == canary.Canary; on[key] && !got {
				t.Fatalf("stage %d: %s has left the canary", stage, key)
			} else if got {
				on[key] = true
			}
		}
		if stage < 2 {
			if _, err := r.Do(canary.Promote); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(on) != 100 {
		t.Errorf("%d of 100 on the canary at full weight", len(on))
	}
}

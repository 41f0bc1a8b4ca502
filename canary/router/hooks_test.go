package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/krserve/krserve/canary"
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

// TestRollbackWithinOneInterval puts a rollout into every state, breaks the canary, and moves the clock by one interval:
// the loop has rolled back, and the decision says so. A hook that never returned from an earlier call does not matter.
func TestRollbackWithinOneInterval(t *testing.T) {
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
			serve(t, r, 1000, 60)
			if s := r.Status().State; s.Phase != to.phase {
				t.Fatalf("decided before the interval was over: %+v", s)
			}
			clock.add(10 * time.Second)
			<-clock.slept // the loop has decided and sleeps again
			if s := r.Status(); s.State.Phase != canary.Failed || s.Weight != 0 {
				t.Errorf("%+v", s)
			}
		})
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

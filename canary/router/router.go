// Package router puts two engines behind one Start while a rollout moves traffic from one to the other.
//
// A stream finishes on the arm where it started, whatever happens to the weights; the router drops and mixes none. The
// package owns all goroutines of a rollout: one that decides, every Policy.Interval and as soon as an outcome calls for a
// rollback, one that calls the hook, and shadow requests. Close joins them.
package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/krserve/krserve/canary"
	"github.com/krserve/krserve/canary/journal"
)

// Sentinel errors, to be tested with errors.Is.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("canary/router: closed")
	// ErrConfig is returned when a field of Config is missing; the text names it.
	ErrConfig = errors.New("canary/router: invalid config")
)

// Stream is what an engine returns: tokens until io.EOF.
type Stream[T any] interface {
	Next() (T, error)
	Close() error
}

// Arm is an engine. *krserve.Engine is an Arm[krserve.Request, *krserve.Stream].
type Arm[Req any, S any] interface {
	Start(context.Context, Req) (S, error)
	Close() error
}

// Clock tells the time and wakes the decision loop.
type Clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Config says what a Router routes. Stable, Canary and Text are required.
//
// A function of the caller's that panics does no harm: its request is no outcome, and Status tells.
type Config[Req, T any, S Stream[T]] struct {
	Stable, Canary Arm[Req, S]
	Policy         canary.Policy
	// Text returns a token's text; answers are judged by it.
	Text func(T) string
	// Cut reports whether a finished stream was truncated where it should have ended; nil never.
	Cut func(S) bool
	// Custom names further faults of a finished answer; nil none.
	Custom func(Req, string) []string
	// Journal is the file that keeps decisions and evidence over restarts; "" keeps them in memory only.
	Journal string
	// Fault reports whether an error is the engine's fault; one that is not, such as an invalid request, is no outcome.
	// It is not asked about the caller's own cancellation or deadline. nil blames the engine for every error.
	Fault func(error) bool
	// Shadow sends each request of a stable session also to the canary and discards the answer, but for its outcome,
	// which is given to ShadowOutcome. It doubles the work. While 64 of them run, further ones are left out.
	Shadow        bool
	ShadowOutcome func(canary.Outcome)
	// OnDecision is called after a decision that changes the state, once it is durable and in force: one call at a time,
	// in order, by a goroutine of its own, so that a slow hook delays no decision. Close waits for it. It may call the
	// Router, except Close.
	OnDecision func(canary.Decision)
	Clock      Clock // nil is the system's
}

// Router is safe for concurrent use. Streams never wait for the journal: deciding holds one lock, requests another.
type Router[Req, T any, S Stream[T]] struct {
	cfg   Config[Req, T, S]
	clock Clock

	deciding sync.Mutex // held while a decision is made, written and applied; taken before mu
	journal  *journal.Journal

	mu       sync.Mutex
	ctl      *canary.Controller // its state changes under both locks, its evidence under mu
	last     canary.Decision
	active   [2]int // streams per arm
	shadows  int    // of the canary's
	released [2]bool
	closed   bool
	err      error // the journal's failure, if any
	callback error // the last panic of a function in Config
	idle     *sync.Cond
	hooks    []canary.Decision // for the hook, oldest first
	hooked   *sync.Cond        // hooks or settled has changed
	settled  bool              // no decision will follow

	closing  sync.Once
	closeErr error

	due  chan struct{} // an outcome calls for a rollback
	stop context.CancelFunc
	ctx  context.Context
	wg   sync.WaitGroup // decision loop, hook, shadow requests and releases
}

// New starts a rollout, or continues the one in Config.Journal.
func New[Req, T any, S Stream[T]](cfg Config[Req, T, S]) (*Router[Req, T, S], error) {
	switch {
	case cfg.Stable == nil:
		return nil, fmt.Errorf("%w: Stable is nil", ErrConfig)
	case cfg.Canary == nil:
		return nil, fmt.Errorf("%w: Canary is nil", ErrConfig)
	case cfg.Text == nil:
		return nil, fmt.Errorf("%w: Text is nil", ErrConfig)
	}
	if err := cfg.Policy.Validate(); err != nil {
		return nil, err
	}
	r := &Router[Req, T, S]{cfg: cfg, clock: cfg.Clock, due: make(chan struct{}, 1)}
	if r.clock == nil {
		r.clock = systemClock{}
	}
	r.idle, r.hooked = sync.NewCond(&r.mu), sync.NewCond(&r.mu)
	now := r.clock.Now()
	rec := &journal.Recovered{}
	if cfg.Journal != "" {
		var err error
		if r.journal, rec, err = journal.Open(cfg.Journal); err != nil {
			return nil, err
		}
	}
	ctl, err := journal.Rebuild(cfg.Policy, rec, now)
	if err != nil {
		if r.journal != nil {
			r.journal.Close()
		}
		return nil, err
	}
	r.ctl = ctl
	r.ctx, r.stop = context.WithCancel(context.Background())
	if err := r.persist(); err != nil {
		r.stop()
		r.journal.Close()
		return nil, err
	}
	r.wakeLocked()
	r.wg.Add(2)
	go r.loop()
	go r.callHooks()
	return r, nil
}

// persist writes a snapshot. The caller holds deciding or owns r.
func (r *Router[Req, T, S]) persist() error {
	if r.journal == nil {
		return nil
	}
	r.mu.Lock()
	s := r.ctl.Snapshot()
	r.mu.Unlock()
	return r.journal.Append(journal.Record{Time: r.clock.Now(), Snapshot: &s})
}

// wakeLocked lets the loop decide at once if that would roll back.
func (r *Router[Req, T, S]) wakeLocked() {
	if r.ctl.Due() {
		select {
		case r.due <- struct{}{}:
		default:
		}
	}
}

// loop decides until Close.
func (r *Router[Req, T, S]) loop() {
	defer r.wg.Done()
	interval := r.ctl.Policy().Interval
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.due:
		case <-r.clock.After(interval):
		}
		r.Tick()
	}
}

// Tick decides now. The decision loop calls it; tests and operators may too.
func (r *Router[Req, T, S]) Tick() (canary.Decision, error) {
	return r.commit(func(now time.Time) (canary.Decision, error) { return r.ctl.Decide(now), nil })
}

// Do carries out an operator's command.
func (r *Router[Req, T, S]) Do(cmd canary.Command) (canary.Decision, error) {
	return r.commit(func(now time.Time) (canary.Decision, error) {
		if cmd == canary.Rollback && r.released[canary.Stable] {
			return canary.Decision{}, fmt.Errorf("%w: rollback after stable was released; keep a Holdback for that", canary.ErrPhase)
		}
		return r.ctl.Do(cmd, now)
	})
}

// commit makes a decision, durable first and then current. A rollback takes effect even when the journal fails; nothing
// else does. The decision that it returns is in force.
func (r *Router[Req, T, S]) commit(decide func(time.Time) (canary.Decision, error)) (canary.Decision, error) {
	r.deciding.Lock()
	defer r.deciding.Unlock()
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return canary.Decision{}, ErrClosed
	}
	d, err := decide(r.clock.Now())
	failed := r.err
	r.mu.Unlock()
	if err != nil {
		return canary.Decision{}, err
	}
	if d.Changed() {
		if r.journal != nil && failed == nil {
			failed = r.journal.Append(journal.Record{Time: d.Time, Decision: &d})
		}
		if failed != nil && d.To.Phase != canary.Failed {
			r.fail(failed)
			return canary.Decision{}, failed
		}
	}
	r.mu.Lock()
	r.ctl.Apply(d)
	r.last = d
	if d.Changed() && r.cfg.OnDecision != nil {
		r.hooks = append(r.hooks, d)
		r.hooked.Signal()
	}
	r.releaseLocked()
	r.mu.Unlock()
	if failed == nil {
		failed = r.persist()
	}
	r.fail(failed)
	return d, failed
}

// callHooks calls the hook until the router is closed and every decision has been told.
func (r *Router[Req, T, S]) callHooks() {
	defer r.wg.Done()
	for {
		r.mu.Lock()
		for len(r.hooks) == 0 && !r.settled {
			r.hooked.Wait()
		}
		if len(r.hooks) == 0 {
			r.mu.Unlock()
			return
		}
		d := r.hooks[0]
		r.hooks = r.hooks[1:]
		r.mu.Unlock()
		r.guard("OnDecision", func() { r.cfg.OnDecision(d) })
	}
}

// guard calls a function of the caller's and reports whether it returned; a panic ends there.
func (r *Router[Req, T, S]) guard(name string, f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			r.mu.Lock()
			r.callback = fmt.Errorf("canary/router: %s panicked: %v", name, p)
			r.mu.Unlock()
		}
	}()
	f()
	return true
}

// fail remembers the journal's first error: from then on only a rollback is possible.
func (r *Router[Req, T, S]) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// releaseLocked closes an arm that a finished rollout no longer needs, once its last stream has ended.
func (r *Router[Req, T, S]) releaseLocked() {
	s := r.ctl.State()
	if !s.Phase.Done() {
		return
	}
	arm := canary.Canary // after a rollback
	if s.Phase == canary.Succeeded {
		if r.ctl.Weight() < 1 {
			return // the holdback keeps stable in use
		}
		arm = canary.Stable
	}
	if r.released[arm] || r.active[arm] > 0 {
		return
	}
	r.released[arm] = true
	a := r.arm(arm)
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		a.Close()
	}()
}

func (r *Router[Req, T, S]) arm(a canary.Arm) Arm[Req, S] {
	if a == canary.Canary {
		return r.cfg.Canary
	}
	return r.cfg.Stable
}

// Start sends a request to the arm of its session. Requests without a session key are assigned each by itself.
func (r *Router[Req, T, S]) Start(ctx context.Context, session string, req Req) (*Routed[Req, T, S], error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, ErrClosed
	}
	if session == "" {
		session = anonymous()
	}
	arm, weight := r.ctl.Assign(session)
	now := r.clock.Now()
	warming := r.ctl.Warming(now)
	r.active[arm]++
	r.mu.Unlock()
	if arm == canary.Stable && r.cfg.Shadow {
		r.shadow(session, req)
	}
	s := &Routed[Req, T, S]{router: r, ctx: ctx, req: req, start: now, warming: warming, out: canary.Outcome{Arm: arm, Session: session, Weight: weight}}
	err := errStart
	defer func() {
		if err != nil { // also when Start panics: Close must not wait for this one
			s.finish(err)
		}
	}()
	if s.stream, err = r.arm(arm).Start(ctx, req); err != nil {
		return nil, err
	}
	return s, nil
}

var errStart = errors.New("canary/router: Start panicked")

// maxShadows bounds what a canary that hangs can keep.
const maxShadows = 64

// shadow runs a request on the canary for its outcome only.
func (r *Router[Req, T, S]) shadow(session string, req Req) {
	r.mu.Lock()
	if r.closed || r.shadows == maxShadows || r.released[canary.Canary] || r.ctl.State().Phase.Done() {
		r.mu.Unlock()
		return
	}
	r.shadows++
	r.active[canary.Canary]++
	r.wg.Add(1)
	r.mu.Unlock()
	s := &Routed[Req, T, S]{router: r, ctx: r.ctx, req: req, start: r.clock.Now(), shadow: true, out: canary.Outcome{Arm: canary.Canary, Session: session}}
	go func() {
		defer r.wg.Done()
		st, err := r.cfg.Canary.Start(r.ctx, req)
		if err != nil {
			s.finish(err)
			return
		}
		s.stream = st
		defer s.Close()
		for err == nil {
			_, err = s.Next()
		}
	}()
}

// done records a finished stream.
func (r *Router[Req, T, S]) done(o canary.Outcome, counts, shadow bool) {
	r.mu.Lock()
	r.active[o.Arm]--
	switch {
	case shadow:
		r.shadows--
	case counts:
		r.ctl.Observe(o)
		r.wakeLocked()
	}
	r.releaseLocked()
	if r.active == [2]int{} {
		r.idle.Broadcast()
	}
	r.mu.Unlock()
	if counts && shadow && r.cfg.ShadowOutcome != nil {
		r.guard("ShadowOutcome", func() { r.cfg.ShadowOutcome(o) })
	}
}

// Status is a rollout's state and evidence.
type Status struct {
	State   canary.State    `json:"state"`
	Last    canary.Decision `json:"last"` // what the latest look concluded, in a dry run too
	Weight  float64         `json:"weight"`
	Active  [2]int          `json:"active"` // streams on stable and canary
	Reports []canary.Report `json:"reports"`
	Journal string          `json:"journal_error,omitempty"`
	// Callback is the last panic of a function in Config.
	Callback string `json:"callback_error,omitempty"`
}

// Status returns where the rollout stands.
func (r *Router[Req, T, S]) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{State: r.ctl.State(), Last: r.last, Weight: r.ctl.Weight(), Active: r.active, Reports: r.ctl.Reports()}
	if r.err != nil {
		s.Journal = r.err.Error()
	}
	if r.callback != nil {
		s.Callback = r.callback.Error()
	}
	return s
}

// Close stops deciding, cancels shadow requests, waits for running streams, and closes the journal and any arm that the
// rollout had released. The other arms stay open: they are the caller's. It is idempotent.
func (r *Router[Req, T, S]) Close() error {
	r.closing.Do(func() {
		r.stop()
		r.mu.Lock()
		r.closed = true
		for r.active != [2]int{} {
			r.idle.Wait()
		}
		failed := r.err
		r.mu.Unlock()
		r.deciding.Lock() // a decision that was under way has ended
		r.mu.Lock()
		r.settled = true
		r.hooked.Signal()
		r.mu.Unlock()
		r.deciding.Unlock()
		r.wg.Wait()
		r.deciding.Lock()
		defer r.deciding.Unlock()
		if failed == nil {
			failed = r.persist()
		}
		if r.journal != nil {
			failed = errors.Join(failed, r.journal.Close())
		}
		r.closeErr = failed
	})
	return r.closeErr
}

// eof reports a normal end of a stream.
func eof(err error) bool { return errors.Is(err, io.EOF) }

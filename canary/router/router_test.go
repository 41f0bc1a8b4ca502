package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/krserve/krserve/canary"
	"github.com/krserve/krserve/canary/journal"
)

var errEngine = errors.New("engine failed")

// fakeArm answers with n tokens that carry the arm's and the stream's name.
type fakeArm struct {
	name    string
	n       int
	fail    atomic.Bool
	panics  atomic.Bool // in Start
	hang    atomic.Bool // tokens come only with the end of the context
	tried   atomic.Int64
	live    atomic.Int64
	started atomic.Int64
	closed  atomic.Bool
	early   atomic.Bool // closed while streams ran, or started after Close
}

type fakeStream struct {
	arm  *fakeArm
	ctx  context.Context
	id   int64
	at   int
	once sync.Once
}

func (a *fakeArm) Start(ctx context.Context, req string) (*fakeStream, error) {
	if a.closed.Load() {
		a.early.Store(true)
		return nil, errors.New("closed")
	}
	a.tried.Add(1)
	if a.panics.Load() {
		panic("arm")
	}
	if a.fail.Load() {
		return nil, errEngine
	}
	a.live.Add(1)
	return &fakeStream{arm: a, ctx: ctx, id: a.started.Add(1)}, nil
}

func (a *fakeArm) Close() error {
	if a.live.Load() > 0 {
		a.early.Store(true)
	}
	a.closed.Store(true)
	return nil
}

// Next ends the stream's use of its arm with its last token, as an Engine does: Close may come after the arm's.
func (s *fakeStream) Next() (string, error) {
	if s.arm.hang.Load() {
		<-s.ctx.Done()
	}
	if err := s.ctx.Err(); err != nil {
		s.Close()
		return "", err
	}
	if s.arm.closed.Load() {
		s.arm.early.Store(true)
	}
	if s.at >= s.arm.n {
		s.Close()
		return "", io.EOF
	}
	s.at++
	runtime.Gosched()
	return fmt.Sprintf("%s/%d/%d ", s.arm.name, s.id, s.at), nil
}

func (s *fakeStream) Close() error {
	s.once.Do(func() { s.arm.live.Add(-1) })
	return nil
}

// manual is a clock that only a test moves; its decision loop sleeps for ever.
type manual struct {
	mu  sync.Mutex
	now time.Time
}

func newManual() *manual { return &manual{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }
func (m *manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}
func (m *manual) After(time.Duration) <-chan time.Time { return nil }
func (m *manual) add(d time.Duration) {
	m.mu.Lock()
	m.now = m.now.Add(d)
	m.mu.Unlock()
}

type config = Config[string, string, *fakeStream]

func setup(t *testing.T, change func(*config)) (*Router[string, string, *fakeStream], *fakeArm, *fakeArm, *manual) {
	t.Helper()
	stable, can, clock := &fakeArm{name: "stable", n: 5}, &fakeArm{name: "canary", n: 5}, newManual()
	cfg := config{Stable: stable, Canary: can, Clock: clock, Text: func(s string) string { return s },
		Policy: canary.Policy{MinRequests: 20, ErrorMargin: 0.5, SlowMargin: 0.9, LatencyBaseline: 20,
			Stages: []canary.Stage{{Weight: 0.3, Window: time.Minute}, {Weight: 0.6, Window: time.Minute}, {Weight: 1}}}}
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if stable.early.Load() || can.early.Load() {
			t.Error("an arm was closed under a stream, or used after its Close")
		}
	})
	return r, stable, can, clock
}

// drain reads a stream to its end and reports a dropped or mixed one.
func drain(s *Routed[string, string, *fakeStream], want int) error {
	defer s.Close()
	for i := 1; ; i++ {
		tok, err := s.Next()
		if err == io.EOF {
			if i != want+1 {
				return fmt.Errorf("%d tokens of %d", i-1, want)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if exp := fmt.Sprintf("%s/%d/%d ", s.Arm(), s.Stream().id, i); tok != exp {
			return fmt.Errorf("token %q in place of %q", tok, exp)
		}
	}
}

func serve(t *testing.T, r *Router[string, string, *fakeStream], from, n int) {
	t.Helper()
	for i := range n {
		s, err := r.Start(context.Background(), fmt.Sprint("s", from+i), "")
		if errors.Is(err, errEngine) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := drain(s, 5); err != nil {
			t.Fatal(err)
		}
	}
}

// patience is how long a test waits for an event before it calls it missing.
const patience = 5 * time.Minute

// await polls until the event has happened.
func await(t *testing.T, what string, event func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !event(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("waited %s for %s", patience, what)
			return
		}
	}
}

// TestLoad moves the weight from stage to stage, and for half the rounds back, under concurrent load. The clock moves by
// leaps, so latencies are multiples of a minute or none: the margins let any of them pass.
func TestLoad(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, end := range []canary.Phase{canary.Succeeded, canary.Failed} {
		r, stable, can, clock := setup(t, func(c *config) { c.Policy.Alpha, c.Policy.SlowMargin = 1e-9, 0.99 })
		stop := make(chan struct{})
		var wg sync.WaitGroup
		var served atomic.Int64
		for g := range 16 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					s, err := r.Start(context.Background(), fmt.Sprint(g, "-", i), "")
					if err == nil {
						err = drain(s, 5)
					}
					if err != nil {
						t.Error(err)
						return
					}
					served.Add(1)
				}
			}()
		}
		await(t, string(end), func() bool {
			clock.add(time.Minute)
			if _, err := r.Tick(); err != nil {
				t.Error(err)
			}
			st := r.Status().State
			if end == canary.Failed && st.Stage == 1 && st.Phase != end {
				if _, err := r.Do(canary.Rollback); err != nil {
					t.Error(err)
				}
			}
			return st.Phase == end
		})
		enough := served.Load() + 200 // streams go on after the end
		await(t, "200 more requests", func() bool { return served.Load() >= enough || t.Failed() })
		close(stop)
		wg.Wait()
		if st := r.Status(); st.State.Phase != end || st.Active != [2]int{} {
			t.Errorf("%+v, %v active; want %s", st.State, st.Active, end)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if gone, kept := (end == canary.Succeeded), (end == canary.Failed); stable.closed.Load() != gone || can.closed.Load() != kept {
			t.Errorf("%s: stable closed %v, canary closed %v", end, stable.closed.Load(), can.closed.Load())
		}
		if _, err := r.Start(context.Background(), "", ""); !errors.Is(err, ErrClosed) {
			t.Errorf("Start after Close: %v", err)
		}
	}
	await(t, fmt.Sprint(before, " goroutines"), func() bool { return runtime.NumGoroutine() <= before })
}

// TestDrain holds one stream of the losing arm: the arm stays until the stream has ended.
func TestDrain(t *testing.T) {
	r, _, can, _ := setup(t, nil)
	var held *Routed[string, string, *fakeStream]
	for i := 0; held == nil; i++ {
		s, err := r.Start(context.Background(), fmt.Sprint(i), "")
		if err != nil {
			t.Fatal(err)
		}
		if s.Arm() == canary.Canary {
			held = s
		} else {
			s.Close()
		}
	}
	if _, err := r.Do(canary.Rollback); err != nil {
		t.Fatal(err)
	}
	serve(t, r, 0, 100) // all on stable now
	if can.started.Load() != 1 || can.closed.Load() {
		t.Errorf("canary started %d, closed %v", can.started.Load(), can.closed.Load())
	}
	if err := drain(held, 5); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if !can.closed.Load() {
		t.Error("the drained arm still holds its memory")
	}
}

func TestRollbackNeedsStable(t *testing.T) {
	r, stable, _, _ := setup(t, nil)
	for range 3 {
		if _, err := r.Do(canary.Promote); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Do(canary.Rollback); !errors.Is(err, canary.ErrPhase) {
		t.Errorf("rollback to a released arm: %v", err)
	}
	serve(t, r, 0, 20)
	if stable.started.Load() != 0 {
		t.Error("stable was used after success")
	}
}

func requests(r *Router[string, string, *fakeStream]) int64 {
	g := r.Status().Reports[0]
	return g.Requests[0] + g.Requests[1]
}

// TestOutcomes says what counts: ends and failures do, readers who leave and errors that are the caller's do not.
func TestOutcomes(t *testing.T) {
	bad := errors.New("invalid request")
	r, stable, can, _ := setup(t, func(c *config) { c.Fault = func(err error) bool { return !errors.Is(err, bad) } })
	serve(t, r, 0, 10)
	if n := requests(r); n != 10 {
		t.Fatalf("%d outcomes of 10", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := r.Start(ctx, "x", "")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.Next(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Close()
	s, _ = r.Start(context.Background(), "y", "")
	s.Next()
	s.Close()
	s.Close()
	s, _ = r.Start(context.Background(), "z", "")
	s.Close()
	s.finish(bad)
	if n := requests(r); n != 10 {
		t.Errorf("%d outcomes after cancelled ones", n)
	}
	s, _ = r.Start(context.Background(), "w", "")
	s.finish(bad)
	s.Close()
	if n := requests(r); n != 10 {
		t.Errorf("%d outcomes after an invalid request", n)
	}
	late, done := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer done()
	s, _ = r.Start(late, "late", "")
	s.Next()
	s.Close()
	stable.fail.Store(true)
	can.fail.Store(true)
	if _, err := r.Start(context.Background(), "f", ""); !errors.Is(err, errEngine) {
		t.Error(err)
	}
	st := r.Status()
	faults := func(gate string) (n int64) {
		for _, g := range st.Reports {
			if g.Gate == gate {
				n = g.Faults[0] + g.Faults[1]
			}
		}
		return n
	}
	if n := requests(r); n != 12 || faults(canary.GateTimeout) != 1 || faults(canary.GateErrors) != 1 {
		t.Errorf("%d outcomes, %d timeouts, %d errors", n, faults(canary.GateTimeout), faults(canary.GateErrors))
	}
	if st.Active != [2]int{} {
		t.Errorf("active %v", st.Active)
	}
}

// TestCloseFromElsewhere ends streams while another goroutine reads them.
func TestCloseFromElsewhere(t *testing.T) {
	r, stable, can, _ := setup(t, nil)
	stable.n, can.n = 1<<30, 1<<30
	var wg sync.WaitGroup
	for i := range 20 {
		s, err := r.Start(context.Background(), fmt.Sprint(i), "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		s.stream.ctx = ctx
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				if _, err := s.Next(); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Millisecond)
		s.Close()
		cancel()
	}
	wg.Wait()
	if n := requests(r); n != 0 {
		t.Errorf("%d outcomes of closed streams", n)
	}
}

func TestShadow(t *testing.T) {
	var mu sync.Mutex
	seen := 0
	r, stable, can, _ := setup(t, func(c *config) {
		c.Shadow = true
		c.ShadowOutcome = func(o canary.Outcome) {
			mu.Lock()
			seen++
			mu.Unlock()
		}
	})
	for i := range 200 { // one after another: were 64 shadows to pile up, the next would be left out
		serve(t, r, i, 1)
		await(t, "the shadow's end", func() bool { return r.Status().Active == [2]int{} })
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if can.started.Load() != 200 {
		t.Errorf("the canary saw %d of 200 requests", can.started.Load())
	}
	if int64(seen) > stable.started.Load() || seen == 0 {
		t.Errorf("%d shadow outcomes of %d stable requests", seen, stable.started.Load())
	}
	if n := requests(r); n != 200 {
		t.Errorf("%d outcomes: shadows are no evidence", n)
	}
}

func TestAnonymousSessions(t *testing.T) {
	r, stable, can, _ := setup(t, nil)
	for range 1000 {
		s, err := r.Start(context.Background(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := drain(s, 5); err != nil {
			t.Fatal(err)
		}
	}
	if c := can.started.Load(); c < 230 || c > 370 || stable.started.Load()+c != 1000 { // 30 %, five standard errors
		t.Errorf("%d of 1000 on the canary", c)
	}
}

// TestRestart closes and reopens a rollout between requests; evidence, stage and hooks go on where they were.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	var hooks []canary.Phase
	with := func(c *config) {
		c.Journal = path
		c.OnDecision = func(d canary.Decision) { hooks = append(hooks, d.To.Phase) }
	}
	r, _, _, clock := setup(t, with)
	serve(t, r, 0, 300)
	clock.add(time.Minute)
	if _, err := r.Tick(); err != nil {
		t.Fatal(err)
	}
	if st := r.Status(); st.State.Stage != 1 {
		t.Fatalf("%+v", st.State)
	}
	serve(t, r, 300, 10) // not yet seen by any decision
	want := r.Status()
	if _, err := New(config{Stable: r.cfg.Stable, Canary: r.cfg.Canary, Text: r.cfg.Text, Journal: path}); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("two routers on one journal: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r, _, can, _ := setup(t, with)
	got := r.Status()
	if got.State != want.State || got.Weight != want.Weight || fmt.Sprint(got.Reports) != fmt.Sprint(want.Reports) {
		t.Errorf("after a restart %+v, before %+v", got, want)
	}
	can.fail.Store(true)
	serve(t, r, 400, 50)
	if d, err := r.Tick(); err != nil || d.To.Phase != canary.Failed {
		t.Errorf("%+v, %v", d.To, err)
	}
	if fmt.Sprint(hooks) != "[progressing failed]" {
		t.Errorf("hooks %v", hooks)
	}
}

// TestJournalFails breaks the journal: promotions stop, a rollback still takes effect.
func TestJournalFails(t *testing.T) {
	stable, can, clock := &fakeArm{name: "stable", n: 5}, &fakeArm{name: "canary", n: 5}, newManual()
	r, err := New(config{Stable: stable, Canary: can, Clock: clock, Text: func(s string) string { return s },
		Journal: filepath.Join(t.TempDir(), "journal")})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Do(canary.Promote); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("promote: %v", err)
	}
	if st := r.Status(); st.State.Stage != 0 || st.Journal == "" {
		t.Errorf("%+v", st)
	}
	if d, err := r.Do(canary.Rollback); !errors.Is(err, journal.ErrClosed) || d.To.Phase != canary.Failed {
		t.Errorf("rollback: %+v, %v", d.To, err)
	}
	if st := r.Status(); st.Weight != 0 {
		t.Errorf("weight %g", st.Weight)
	}
	if err := r.Close(); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Close: %v", err)
	}
}

func TestRepetitive(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "a plain answer": false, "no no no no no no no no no no no no no no no no no no no no no no no no ": true,
		"It begins well, then: " + fmt.Sprintf("%0100d", 0): true,
		fmt.Sprintf("%100s", ""):                            false,
	} {
		if Repetitive(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

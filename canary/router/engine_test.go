package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/canary"
	"github.com/krserve/krserve/canary/router"
)

var _ router.Arm[krserve.Request, *krserve.Stream] = (*krserve.Engine)(nil)

// rollout is what a serving process is told: TestRollout starts it, kills it, and starts it again.
type rollout struct {
	Model, Cache, Journal string
	Fault                 string // of the canary: "", errors, slow, empty
	Life                  int
	Start                 time.Time       // of the accelerated clock, which goes on over restarts
	Texts                 [2][]string     // what each arm alone answers to prompts
	Canary                map[string]bool // sessions that the canary has served in earlier lives
}

// event is one line of what the process reports.
type event struct {
	Kind  string        // recovered, decision, evidence, served, ended or failed
	State *canary.State `json:",omitempty"`
	N     int64         `json:",omitempty"` // outcomes that are durable
	Key   string        `json:",omitempty"`
	Text  string        `json:",omitempty"`
}

var report sync.Mutex

func emit(e event) {
	b, _ := json.Marshal(e)
	report.Lock()
	defer report.Unlock()
	os.Stdout.Write(append(b, '\n'))
}

var prompts = []string{"The sea", "My old friend", "Bread"}

// versions make the same model answer differently on both arms, by as many tokens.
var versions = [2]string{" is like", " was not"}

func request(i int, version string) krserve.Request {
	return krserve.Request{Raw: prompts[i] + version, MaxTokens: 3, IgnoreEOS: true}
}

// arm and stream pass an Engine through, as a version of its own and with a fault; "spread" is none, but answers that
// begin later or sooner.
type arm struct {
	*krserve.Engine
	version, fault string
	closed         atomic.Bool
}

type stream struct {
	*krserve.Stream
	fault string
	n     int
	start time.Time
}

func (a *arm) Start(ctx context.Context, req krserve.Request) (*stream, error) {
	start := time.Now()
	req.Raw += a.version
	s, err := a.Engine.Start(ctx, req)
	if err != nil {
		return nil, err
	}
	return &stream{Stream: s, fault: a.fault, start: start}, nil
}

func (a *arm) Close() error {
	defer a.closed.Store(true)
	return a.Engine.Close()
}

func (s *stream) Next() (krserve.Token, error) {
	tok, err := s.Stream.Next()
	s.n++
	switch {
	case err == nil && s.fault == "errors" && s.n == 2:
		return krserve.Token{}, krserve.ErrBackend
	case err == nil && s.fault == "empty":
		tok.Text = ""
	case s.fault == "slow" && s.n == 1:
		time.Sleep(max(500*time.Millisecond, 10*time.Since(s.start))) // slow on a slow machine too
	case s.fault == "spread" && s.n == 1:
		time.Sleep(rand.N(200 * time.Millisecond)) // wide enough that what else the machine does changes it little
	}
	return tok, err
}

// fast is a clock whose hours pass in milliseconds. Its decision loop wakes in step with what it reports as durable: the
// outcomes that were known when a tick began are on disk when the next sleep begins.
type fast struct {
	start   time.Time
	known   *atomic.Int64
	durable atomic.Int64
}

const speed = 10000

func (f *fast) Now() time.Time { return f.start.Add(time.Since(f.start) * speed) }

func (f *fast) After(d time.Duration) <-chan time.Time {
	emit(event{Kind: "evidence", N: f.durable.Load()})
	c := make(chan time.Time)
	go func() {
		time.Sleep(max(20*time.Millisecond, d/speed))
		n := f.known.Load()
		c <- f.Now() // for ever if the loop was woken otherwise
		f.durable.Store(n)
	}()
	return c
}

type routed = router.Routed[krserve.Request, krserve.Token, *stream]

// process is a serving process of a rollout.
type process struct {
	rollout
	arms  [2]*arm
	r     *router.Router[krserve.Request, krserve.Token, *stream]
	known atomic.Int64 // outcomes
	mu    sync.Mutex
}

// serveRollout serves until the rollout has ended, under load from several callers.
func serveRollout(spec string) error {
	p := &process{}
	if err := json.Unmarshal([]byte(spec), &p.rollout); err != nil {
		return err
	}
	for i := range p.arms {
		e, err := krserve.Open(context.Background(), krserve.Config{Model: p.Model, CacheDir: p.Cache, ContextTokens: 64, Threads: 1})
		if err != nil {
			return err
		}
		defer e.Close()
		p.arms[i] = &arm{Engine: e, version: versions[i]}
	}
	p.arms[canary.Canary].fault = p.Fault
	slowMargin := 0.9
	if p.Fault == "slow" {
		p.arms[canary.Stable].fault, slowMargin = "spread", 0.5
	}
	if p.rollout.Canary == nil {
		p.rollout.Canary = map[string]bool{}
	}
	clock := &fast{start: p.Start, known: &p.known}
	r, err := router.New(router.Config[krserve.Request, krserve.Token, *stream]{
		Stable: p.arms[canary.Stable], Canary: p.arms[canary.Canary], Clock: clock, Journal: p.Journal,
		Text:  func(t krserve.Token) string { return t.Text },
		Fault: func(err error) bool { return !errors.Is(err, krserve.ErrInvalid) },
		// Few requests fit a test: the default stages with wide margins; and the noise of no machine rolls back.
		Policy:     canary.Policy{MinRequests: 8, LatencyBaseline: 20, ErrorMargin: 0.6, SlowMargin: slowMargin, ErrorObjective: -1, Alpha: 1e-6},
		OnDecision: func(d canary.Decision) { emit(event{Kind: "decision", State: &d.To}) },
	})
	if err != nil {
		return err
	}
	p.r = r
	s := r.Status()
	p.known.Store(s.Reports[0].Requests[0] + s.Reports[0].Requests[1])
	emit(event{Kind: "recovered", State: &s.State, N: p.known.Load()})

	ended := make(chan struct{})
	errs := make(chan error, 16)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; ; i += 4 {
				select {
				case <-ended:
					return
				default:
				}
				if err := p.request(i); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	held := p.hold(errs)
	for !r.Status().State.Phase.Done() {
		select {
		case err := <-errs:
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
	time.Sleep(50 * time.Millisecond) // traffic goes on over the end
	close(ended)
	wg.Wait()
	if err := p.finish(held); err != nil {
		return err
	}
	select {
	case err := <-errs:
		return err
	default:
	}
	emit(event{Kind: "ended"})
	return nil
}

// request serves one session and compares its answer with that of its arm alone.
func (p *process) request(i int) error {
	key := fmt.Sprint(p.Life, "-", i)
	if i%5 == 0 {
		key = fmt.Sprint("regular ", i%40)
	}
	p.mu.Lock()
	was := p.Canary[key]
	p.mu.Unlock()
	s, err := p.r.Start(context.Background(), key, request(i%len(prompts), ""))
	if err != nil {
		return err
	}
	if was && s.Arm() != canary.Canary && p.Fault == "" {
		return fmt.Errorf("%s has left the canary", key)
	}
	if err := p.read(s, i%len(prompts), ""); err != nil {
		return err
	}
	p.known.Add(1)
	if s.Arm() == canary.Canary {
		p.mu.Lock()
		p.Canary[key] = true
		p.mu.Unlock()
	}
	emit(event{Kind: "served", Key: key, Text: s.Arm().String()})
	return nil
}

// read reads a stream to its end; text is what was read before.
func (p *process) read(s *routed, prompt int, text string) error {
	defer s.Close()
	want, end := p.Texts[s.Arm()][prompt], io.EOF
	if s.Arm() == canary.Canary {
		switch p.Fault {
		case "errors":
			end = krserve.ErrBackend
		case "empty":
			want = ""
		}
	}
	for {
		tok, err := s.Next()
		text += tok.Text
		switch {
		case err == nil:
		case !errors.Is(err, end), end == io.EOF && text != want, end != io.EOF && !strings.HasPrefix(want, text):
			return fmt.Errorf("%s answers %q and %v in place of %q and %v", s.Arm(), text, err, want, end)
		default:
			return nil
		}
	}
}

// hold starts a stream on each arm that stays there, and reads the first token.
func (p *process) hold(errs chan error) (held [2]*heldStream) {
	for i := 0; p.r.Status().Weight < 1 && (held[0] == nil || held[1] == nil); i++ {
		key := fmt.Sprint("held ", p.Life, " ", i)
		b := canary.Bucket("", key)
		if b >= 0.1 && b < 0.5 || b >= 0.5 && held[0] != nil || b < 0.1 && held[1] != nil {
			continue // would move, or is not needed
		}
		s, err := p.r.Start(context.Background(), key, request(0, ""))
		if err != nil {
			errs <- err
			return held
		}
		if held[s.Arm()] != nil {
			s.Close() // the weight has changed meanwhile
			return held
		}
		tok, err := s.Next()
		if err != nil {
			errs <- err
			return held
		}
		held[s.Arm()] = &heldStream{s, tok.Text}
	}
	return held
}

// heldStream is a stream of prompt 0 whose reader pauses after the first token.
type heldStream struct {
	*routed
	text string
}

// finish lets the held streams end after the rollout: the arm that lost stays until then, answers as ever, and is closed
// with all its memory afterwards.
func (p *process) finish(held [2]*heldStream) error {
	won, lost := canary.Stable, canary.Canary
	if p.r.Status().State.Phase == canary.Succeeded {
		won, lost = lost, won
	}
	winner, loser := p.arms[won], p.arms[lost]
	before, err := memory(p.Model)
	if err != nil {
		return err
	}
	size := loser.Stats().WeightBytes
	if held[lost] != nil && loser.closed.Load() {
		return fmt.Errorf("%s was closed under a stream", lost)
	}
	for _, s := range held {
		if s == nil {
			continue
		}
		if err := p.read(s.routed, 0, s.text); err != nil {
			return err
		}
	}
	if err := p.r.Close(); err != nil {
		return err
	}
	if !loser.closed.Load() || winner.closed.Load() {
		return fmt.Errorf("%s has lost: closed %v, the other %v", lost, loser.closed.Load(), winner.closed.Load())
	}
	if _, err := loser.Engine.Start(context.Background(), request(0, "")); !errors.Is(err, krserve.ErrClosed) {
		return fmt.Errorf("a closed engine: %v", err)
	}
	after, err := memory(p.Model)
	switch {
	case err != nil || before == usage{} || held[lost] == nil:
		return err // the system does not tell, or the loser was gone before this life began
	case after.mapped > before.mapped/2:
		return fmt.Errorf("%d bytes of the model are mapped, of %d before", after.mapped, before.mapped)
	case before.resident-after.resident < size/2:
		return fmt.Errorf("%d bytes are resident, %d before, %d of weights", after.resident, before.resident, size)
	}
	return nil
}

// usage is a process's memory in bytes: all that is resident, and what is mapped of the model. It is zero where the system
// does not tell.
type usage struct{ mapped, resident int64 }

func memory(model string) (usage, error) {
	var u usage
	debug.FreeOSMemory()
	real, err := filepath.EvalSymlinks(model)
	if err != nil {
		return u, err
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if errors.Is(err, os.ErrNotExist) {
		return u, nil
	}
	mine := false
	for _, line := range strings.Split(string(maps), "\n") {
		var lo, hi, kb int64
		if n, _ := fmt.Sscanf(line, "%x-%x", &lo, &hi); n == 2 {
			mine = strings.HasSuffix(line, real)
			if mine {
				u.mapped += hi - lo
			}
		} else if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kb); n == 1 {
			u.resident += kb << 10
		}
	}
	return u, err
}
